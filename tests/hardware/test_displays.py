"""Display connectors in a fake class/drm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.hardware import displays as module
from agent.hardware.displays import Connector, Displays, read_connectors
from tests.hardware.fakes import until

NO_WINDOWS: dict[str, str] = {}
UNDER_X = {"DISPLAY": ":0"}


def plug(sysfs: Path, name: str, *, status: str = "connected", modes: str = "1920x1080\n1280x720\n", edid: bytes = b"TV") -> Path:
    """A connector in a state, such as card1-HDMI-A-1."""
    path = sysfs / "class/drm" / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "status").write_text(status + "\n")
    (path / "modes").write_text(modes)
    (path / "edid").write_bytes(edid)
    (path / "enabled").write_text("enabled\n" if modes else "disabled\n")
    return path


def unplug(sysfs: Path, name: str) -> None:
    """Nothing is connected any more."""
    plug(sysfs, name, status="disconnected", modes="", edid=b"")


@contextlib.asynccontextmanager
async def running(displays: Displays) -> AsyncIterator[Displays]:
    """Watches as in the daemon."""
    task = asyncio.create_task(displays.run(), name="displays")
    try:
        await asyncio.wait_for(displays.started(), 10)
        yield displays
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


def test_the_default_of_the_look() -> None:
    """A look every 2 s."""
    assert Displays()._look_s == 2.0


def test_what_is_read(tmp_path: Path) -> None:
    """Connectors by name without the card's number; what is none is left out."""
    plug(tmp_path, "card1-HDMI-A-1")
    unplug(tmp_path, "card1-HDMI-A-2")
    plug(tmp_path, "card0-Writeback-1", status="unknown", modes="")
    (tmp_path / "class/drm/card0").mkdir()
    (tmp_path / "class/drm/renderD128").mkdir()
    (tmp_path / "class/drm/version").write_text("drm 1.1.0 20060810")
    found = read_connectors(tmp_path / "class/drm")
    assert list(found) == ["HDMI-A-1", "HDMI-A-2"]
    assert found["HDMI-A-1"].modes == ("1920x1080", "1280x720")
    assert found["HDMI-A-1"].enabled
    assert found["HDMI-A-2"] == Connector("HDMI-A-2", "disconnected")


def test_one_name_on_two_cards(tmp_path: Path) -> None:
    """The one with a display counts."""
    unplug(tmp_path, "card0-HDMI-A-1")
    plug(tmp_path, "card1-HDMI-A-1")
    unplug(tmp_path, "card2-HDMI-A-1")
    assert read_connectors(tmp_path / "class/drm")["HDMI-A-1"].shows


async def test_off_at_night_and_on_in_the_morning(tmp_path: Path) -> None:
    """The display goes, comes back without modes, then with them: each step is told, usable only at the end."""
    plug(tmp_path, "card1-HDMI-A-1")
    changes: list[tuple[bool, str]] = []
    async with running(Displays(tmp_path, look_s=0.02)) as displays:
        displays.on_change(lambda: changes.append(displays.usable("auto", NO_WINDOWS)))
        assert displays.usable("drm:HDMI-A-1") == (True, "")
        assert displays.connectors()["HDMI-A-1"].generation == 1
        unplug(tmp_path, "card1-HDMI-A-1")
        await until(lambda: displays.connectors()["HDMI-A-1"] == Connector("HDMI-A-1", "disconnected", generation=1))
        assert displays.usable("drm:HDMI-A-1") == (False, "no display is connected to HDMI-A-1")
        assert displays.usable("auto", NO_WINDOWS) == (False, "no display is connected (HDMI-A-1)")
        assert displays.usable("x11") == (False, "no display is connected (HDMI-A-1)")
        (tmp_path / "class/drm/card1-HDMI-A-1/status").write_text("connected\n")
        await until(lambda: displays.connectors()["HDMI-A-1"].status == "connected")
        assert displays.usable("drm:HDMI-A-1") == (False, "the display on HDMI-A-1 offers no modes yet")
        assert displays.usable("auto", NO_WINDOWS) == (False, "the display on HDMI-A-1 offers no modes yet")
        plug(tmp_path, "card1-HDMI-A-1")
        await until(lambda: displays.usable("drm:HDMI-A-1")[0])
        await until(lambda: displays.connectors()["HDMI-A-1"].generation >= 2)
    assert not changes[0][0]
    assert changes[-1] == (True, "")


async def test_a_swapped_display(tmp_path: Path) -> None:
    """Another EDID between two looks is another display, though it was never seen unplugged."""
    plug(tmp_path, "card1-HDMI-A-1", edid=b"one")
    async with running(Displays(tmp_path, look_s=0.02)) as displays:
        (tmp_path / "class/drm/card1-HDMI-A-1/edid").write_bytes(b"two")
        await until(lambda: displays.connectors()["HDMI-A-1"].generation == 2)
        (tmp_path / "class/drm/card1-HDMI-A-1/modes").write_text("3840x2160\n")
        await until(lambda: displays.connectors()["HDMI-A-1"].generation == 3)


async def test_a_machine_without_connectors(tmp_path: Path) -> None:
    """A virtual machine, or one with Xvfb: nothing speaks against showing a picture."""
    async with running(Displays(tmp_path, look_s=0.02)) as displays:
        for output in ("auto", "x11", "wayland", "drm:HDMI-A-1", "null"):
            assert displays.usable(output, NO_WINDOWS) == (True, "")
        assert displays.first() == ""


async def test_an_x_server_that_draws_elsewhere(tmp_path: Path) -> None:
    """Xvfb or VNC on a machine with a graphics card and no display: usable; not so once a display was there and went."""
    unplug(tmp_path, "card0-DP-1")
    async with running(Displays(tmp_path, look_s=0.02)) as displays:
        assert displays.usable("x11", UNDER_X) == (True, "")
        assert displays.usable("auto", UNDER_X) == (True, "")
        assert not displays.usable("auto", NO_WINDOWS)[0]
        assert not displays.usable("drm:DP-1", UNDER_X)[0]
        plug(tmp_path, "card0-DP-1")
        await until(lambda: displays.connectors()["DP-1"].shows)
        unplug(tmp_path, "card0-DP-1")
        await until(lambda: not displays.connectors()["DP-1"].shows)
        assert displays.usable("x11", UNDER_X) == (False, "no display is connected (DP-1)")


async def test_a_connector_that_does_not_exist(tmp_path: Path) -> None:
    """The reason names those that do."""
    plug(tmp_path, "card1-HDMI-A-1")
    unplug(tmp_path, "card1-HDMI-A-2")
    async with running(Displays(tmp_path)) as displays:
        assert displays.usable("drm:HDMI-A-3") == (False, "there is no connector HDMI-A-3; there are HDMI-A-1, HDMI-A-2")
        assert displays.usable("null") == (True, "")
        assert (displays.first(), displays.first("drm:HDMI-A-2")) == ("HDMI-A-1", "HDMI-A-2")


async def test_a_panel_that_never_says_connected(tmp_path: Path) -> None:
    """Composite and some panels say `unknown` for ever; modes are enough."""
    plug(tmp_path, "card1-Composite-1", status="unknown", modes="720x576i\n", edid=b"")
    async with running(Displays(tmp_path)) as displays:
        assert displays.usable("drm:Composite-1") == (True, "")


async def test_kernel_events_need_no_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drm event brings the look forward; other devices' events do not."""
    import socket  # noqa: PLC0415

    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    monkeypatch.setattr(module, "_event_socket", lambda: ours)
    plug(tmp_path, "card1-HDMI-A-1")
    async with running(Displays(tmp_path, look_s=60)) as displays:
        unplug(tmp_path, "card1-HDMI-A-1")
        kernel.send(b"change@/devices/x\0ACTION=change\0SUBSYSTEM=block\0")
        await asyncio.sleep(0.1)
        assert displays.connectors()["HDMI-A-1"].shows
        kernel.send(b"change@/devices/platform/gpu/drm/card1\0ACTION=change\0HOTPLUG=1\0SUBSYSTEM=drm\0")
        began = time.monotonic()
        await until(lambda: not displays.connectors()["HDMI-A-1"].shows)
        assert time.monotonic() - began < 1
    kernel.close()


async def test_the_kernels_event_socket_opens() -> None:
    """Without privileges, and closed without a trace; a sandbox may forbid it."""
    events = module._event_socket()
    if events is not None:
        assert not events.getblocking()
        events.close()


async def test_a_connector_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that does not return leaves the last state, and the daemon alone."""
    monkeypatch.setattr(module, "READ_S", 0.1)
    path = plug(tmp_path, "card1-HDMI-A-1")
    async with running(Displays(tmp_path, look_s=0.02)) as displays:
        (path / "status").unlink()
        os.mkfifo(path / "status")
        await asyncio.sleep(0.3)
        assert displays.usable("drm:HDMI-A-1") == (True, "")
        stuck = os.open(path / "status", os.O_RDWR | os.O_NONBLOCK)
        (path / "status").unlink()
        os.close(stuck)
        unplug(tmp_path, "card1-HDMI-A-1")
        await until(lambda: not displays.usable("drm:HDMI-A-1")[0])


async def test_idle_costs_next_to_nothing(tmp_path: Path) -> None:
    """A look at four connectors takes well under a thousandth of the two seconds between looks."""
    for number in range(4):
        plug(tmp_path, f"card1-HDMI-A-{number}")
    read_connectors(tmp_path / "class/drm")
    before = time.process_time()
    for _ in range(20):
        read_connectors(tmp_path / "class/drm")
    assert (time.process_time() - before) / 20 < 0.010
