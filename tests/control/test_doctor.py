"""What the doctor finds on boxes made of files."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.control.doctor import Finding, examine, report


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A root with one graphics card, one sound card and one backlight."""
    for name, content in {
        "dev/dri/card1": "",
        "sys/class/drm/card1-HDMI-A-1/status": "connected\n",
        "sys/class/drm/card1-HDMI-A-1/modes": "1920x1080\n",
        "sys/class/drm/card1-HDMI-A-2/status": "disconnected\n",
        "sys/class/drm/card1-HDMI-A-2/modes": "",
        "sys/class/backlight/panel/brightness": "10",
        "proc/asound/cards": " 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0\n                      vc4-hdmi-0\n",
        "etc/group": "root:x:0:\nvideo:x:44:\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "agent.toml").write_text(f"[hardware]\nsysfs = '{tmp_path}/sys'\n[device]\nstate_dir = '{tmp_path}/state'\n")
    return tmp_path


def _examine(box: Path, more: str = "", environ: dict[str, str] | None = None) -> dict[str, list[Finding]]:
    config = box / "agent.toml"
    if more:
        config.write_text(config.read_text() + more)
    found: dict[str, list[Finding]] = {}
    for finding in examine(config, None, environ={"XDG_RUNTIME_DIR": str(box), **(environ or {})}, root=box):
        found.setdefault(finding.subject, []).append(finding)
    return found


def test_a_good_box(box: Path) -> None:
    """Display, sound, light and disk are named."""
    found = _examine(box)
    assert found["screen front"] == [Finding("screen front", "good", "display at HDMI-A-1")]
    assert found["sound"] == [Finding("sound", "good", "sound cards: vc4hdmi0")]
    assert found["brightness"][0] == Finding("brightness", "good", "backlight panel")
    assert found["disk"][0].text.endswith(f"at {box}")


def test_screens(box: Path) -> None:
    """A display that is off, a connector that is not there, a display server that is not there."""
    found = _examine(
        box,
        "[screens.off]\noutput = 'drm:HDMI-A-2'\n[screens.x]\noutput = 'x11'\n[screens.w]\noutput = 'wayland'\n"
        "[screens.none]\noutput = 'null'\n",
    )
    assert (found["screen off"][0].verdict, found["screen off"][0].text) == ("note", "no display is on: HDMI-A-2 disconnected")
    assert (found["screen x"][0].verdict, found["screen x"][0].text) == ("bad", "output is x11, but DISPLAY is not set")
    assert found["screen w"][0].verdict == "bad"
    assert found["screen none"][0].verdict == "note"


def test_a_connector_that_is_not_there(box: Path) -> None:
    """The ones that are there are named."""
    found = _examine(box, "[screens.a]\noutput = 'drm:DP-1'\n")
    assert (found["screen a"][0].text, found["screen a"][0].advice) == (
        "there is no connector DP-1",
        "there are: HDMI-A-1, HDMI-A-2",
    )


def test_display_servers(box: Path) -> None:
    """X and Wayland are found by their sockets."""
    (box / "wayland-7").touch()
    (box / "tmp/.X11-unix").mkdir(parents=True)
    assert _examine(box, environ={"WAYLAND_DISPLAY": "wayland-7"})["screen front"][0].verdict == "good"
    assert _examine(box, environ={"DISPLAY": ":3"})["screen front"][0].verdict == "bad"
    (box / "tmp/.X11-unix/X3").touch()
    assert _examine(box, environ={"DISPLAY": ":3.0"})["screen front"][0].verdict == "good"


def test_an_empty_box(tmp_path: Path) -> None:
    """No graphics card, no sound: both come with advice."""
    (tmp_path / "agent.toml").write_text(
        f"[hardware]\nsysfs = '{tmp_path}'\n[brightness]\nbackend = 'backlight'\n[media]\nreserve = '900TB'\n"
    )
    found = _examine(tmp_path)
    assert found["screen front"][0].verdict == "bad"
    assert "vc4-kms-v3d" in found["screen front"][0].advice
    assert (found["sound"][0].verdict, bool(found["sound"][0].advice)) == ("note", True)
    assert found["brightness"][0].verdict == "bad"
    assert found["disk"][0].verdict == "bad"
    assert "fonts-noto-core" in found["fonts"][0].advice


def test_the_daemon(box: Path) -> None:
    """Whether it answers."""
    path = box / "control.sock"

    def verdict() -> str:
        return next(finding.verdict for finding in examine(None, path, environ={}, root=box) if finding.subject == "daemon")

    assert verdict() == "note"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert verdict() == "good"


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, the advice below; one bad finding is enough for exit code 1."""
    good = Finding("clock", "good", "it is late")
    assert report([good]) == 0
    assert report([good, Finding("libmpv", "bad", "not found", "install it")]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "BAD  libmpv         not found",
        "                    → install it",
    ]
