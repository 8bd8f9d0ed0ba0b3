"""Which decoder on which board."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.screen.decoders import BOARDS, GENERIC, SOFTWARE, choose, detect, explicit


@pytest.mark.parametrize(
    ("board", "codec", "hwdec"),
    [
        ("brcm,bcm2711", "h264", "v4l2m2m-copy"),
        ("brcm,bcm2711", "hevc", "drm-copy"),
        ("brcm,bcm2711", "vp9", "no"),
        ("brcm,bcm2712", "hevc", "drm-copy"),
        ("brcm,bcm2712", "h264", "no"),
        ("brcm,bcm2837", "h264", "v4l2m2m-copy"),
        ("brcm,bcm2837", "hevc", "no"),
    ],
)
def test_table(board: str, codec: str, hwdec: str) -> None:
    """As each board's documentation has it."""
    assert choose("auto", codec, BOARDS[board]) == hwdec


def test_setting_wins() -> None:
    """Anything but auto is taken as it is."""
    assert choose("no", "h264", BOARDS["brcm,bcm2711"]) == "no"
    assert choose("vaapi", "h264", SOFTWARE) == "vaapi"
    assert explicit("drm-copy")
    assert not explicit("auto-safe")


def test_detection(tmp_path: Path) -> None:
    """From the device tree; without one, by whether there is a graphics device."""
    tree = tmp_path / "compatible"
    assert detect(tree, tmp_path) == SOFTWARE
    (tmp_path / "renderD128").touch()
    assert detect(tree, tmp_path) == GENERIC
    tree.write_bytes(b"raspberrypi,4-model-b\0brcm,bcm2711\0")
    assert detect(tree, tmp_path).name == "Raspberry Pi 4"
