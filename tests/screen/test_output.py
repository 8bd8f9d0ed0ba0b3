"""What the command line's outputs mean for libmpv."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.screen.output import Output, OutputError


@pytest.mark.parametrize(
    ("environment", "kind"),
    [({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, "wayland"), ({"DISPLAY": ":0"}, "x11"), ({}, "drm")],
)
def test_auto(environment: dict[str, str], kind: str) -> None:
    """The compositor, else the X server, else the console."""
    assert Output.parse("auto", "auto", "", environment).kind == kind


def test_unknown() -> None:
    """Said so."""
    with pytest.raises(OutputError, match="'hdmi'"):
        Output.parse("hdmi", "auto", "", {})


def test_drm_finds_the_card(tmp_path: Path) -> None:
    """The card that has the connector, whatever its number."""
    for name in ("card0", "card1", "card1-HDMI-A-1", "card1-HDMI-A-2"):
        (tmp_path / "class/drm" / name).mkdir(parents=True)
    options = Output.parse("drm:HDMI-A-2", "1920x1080@60", "", {}).options(tmp_path)
    assert options["drm-connector"] == "HDMI-A-2"
    assert options["drm-device"] == "/dev/dri/card1"
    assert options["drm-mode"] == "1920x1080@60"
    assert options["gpu-context"] == "drm"
    assert "drm-mode" not in Output.parse("drm:", "auto", "", {}).options(tmp_path)


def test_window_or_full_screen() -> None:
    """Full screen unless a size is given; only where there is a window system."""
    assert Output.parse("x11", "auto", "", {}).options()["fullscreen"] == "yes"
    assert Output.parse("wayland", "auto", "800x600", {}).options()["geometry"] == "800x600"


def test_null() -> None:
    """Presents nothing, and has the size it was told."""
    output = Output.parse("null", "1280x720@60", "", {})
    assert output.options() == {"vo": "null"}
    assert output.null_size() == (1280, 720)
    assert Output.parse("null", "auto", "", {}).null_size() == (1920, 1080)
