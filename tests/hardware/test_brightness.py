"""The device's brightness, on fake sysfs trees and a fake DDC library."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.hardware.backlight import Backlight, BrightnessError
from agent.hardware.brightness import Brightness, BrightnessTimers
from agent.system.state import State
from tests.hardware.fakes import FakeMonitors, until

QUICK = BrightnessTimers(look_s=0.05, retry_first_s=0.05, retry_most_s=0.1)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    (tmp_path / "sys").mkdir()
    return tmp_path / "sys"


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


@contextlib.asynccontextmanager
async def running(brightness: Brightness) -> AsyncIterator[Brightness]:
    """Runs it as the daemon does."""
    task = asyncio.create_task(brightness.run(), name="brightness")
    try:
        await asyncio.wait_for(brightness.started(), 10)
        yield brightness
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


def panel(sysfs: Path, name: str = "rpi_backlight", *, most: int = 255, now: int = 200, kind: str = "raw") -> Path:
    """A backlight."""
    path = sysfs / "class/backlight" / name
    path.mkdir(parents=True)
    for file, value in (("max_brightness", most), ("brightness", now), ("type", kind), ("bl_power", 0)):
        (path / file).write_text(f"{value}\n")
    return path


def raw(path: Path) -> int:
    """What the panel stands at; -1 while it is being written."""
    return int((path / "brightness").read_text() or -1)


async def test_a_backlight_over_its_whole_range(sysfs: Path, state: State) -> None:
    """0-100 become 0 to the most, every value is reported as set and on disk; bl_power is left alone."""
    light = panel(sysfs)
    async with running(Brightness(state, sysfs=sysfs, timers=QUICK)) as brightness:
        assert (brightness.backend, brightness.percent) == ("backlight", 78)
        for percent, expected in ((0, 0), (1, 3), (50, 128), (100, 255)):
            await brightness.set(percent)
            assert raw(light) == expected
            assert brightness.percent == percent
            assert await state.get("brightness") == percent
    assert (light / "bl_power").read_text() == "0\n"


async def test_the_minimum_is_respected(sysfs: Path, state: State) -> None:
    """0 % stands at the configured share of the range, and what is measured is counted from there."""
    light = panel(sysfs, most=200)
    async with running(Brightness(state, minimum=10, sysfs=sysfs, timers=QUICK)) as brightness:
        await brightness.set(0)
        assert raw(light) == 20
        await brightness.set(50)
        assert raw(light) == 110
        (light / "brightness").write_text("20")
        await until(lambda: brightness.percent == 0)


async def test_a_coarse_backlight(sysfs: Path, state: State) -> None:
    """With eight steps 75 stays 75; a change by somebody else is measured."""
    light = panel(sysfs, most=7, now=7)
    changes: list[int] = []
    async with running(Brightness(state, sysfs=sysfs, timers=QUICK)) as brightness:
        brightness.on_change(lambda: changes.append(brightness.percent))
        await brightness.set(75)
        assert raw(light) == 5
        await asyncio.sleep(0.12)  # two looks
        assert brightness.percent == 75
        (light / "brightness").write_text("1")
        await until(lambda: brightness.percent == 14)
        assert changes == [75, 14]


async def test_nothing_persisted_leaves_it_alone_and_a_restart_applies(sysfs: Path, state: State) -> None:
    """A value nobody set is not written; one that was set is back after the restart."""
    light = panel(sysfs, now=99)
    async with running(Brightness(state, sysfs=sysfs, timers=QUICK)):
        assert raw(light) == 99
    async with running(Brightness(state, sysfs=sysfs, timers=QUICK)) as brightness:
        await brightness.set(20)
    (light / "brightness").write_text("250")
    async with running(Brightness(state, sysfs=sysfs, timers=QUICK)) as brightness:
        assert (raw(light), brightness.percent) == (51, 20)


def test_the_preferred_of_several_backlights(sysfs: Path) -> None:
    """Firmware before platform before raw, as the kernel's documentation says; all of one type together."""
    panel(sysfs, "intel_backlight", kind="raw")
    panel(sysfs, "acpi_video0", kind="firmware")
    panel(sysfs, "vendor", kind="platform")
    assert [path.name for path in Backlight(sysfs, 0).panels] == ["acpi_video0"]


def test_two_panels(sysfs: Path) -> None:
    """Two panels on a board are turned together, each on its own scale."""
    first, second = panel(sysfs, "10-0045", most=31), panel(sysfs, "11-0045", most=255)
    Backlight(sysfs, 0).write(100)
    assert (raw(first), raw(second)) == (31, 255)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
def test_a_missing_permission_names_the_udev_rule(sysfs: Path) -> None:
    """Who reads the log knows what to do."""
    light = panel(sysfs)
    (light / "brightness").chmod(0o644)
    for path in (*light.parents, *light.iterdir()):
        if path.is_relative_to(tempfile.gettempdir()) and path != Path(tempfile.gettempdir()):
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
    program = f"""
        import os, sys
        from pathlib import Path
        from agent.hardware.backlight import Backlight, BrightnessError
        backlight = Backlight(Path({str(sysfs)!r}), 0)
        os.setresuid(65534, 65534, 65534)
        try:
            backlight.write(50)
        except BrightnessError as error:
            print(error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert "/etc/udev/rules.d/60-signage-agent.rules" in result.stdout
    assert "group video" in result.stdout


async def test_dims_the_picture_while_the_hardware_refuses(
    sysfs: Path, state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, dimmed instead, and back on the hardware when it can be written."""
    caplog.set_level(logging.INFO)
    light = panel(sysfs)
    dims: list[float] = []
    write_text = Path.write_text

    def denied(path: Path, *values: str) -> int:
        if path.name == "brightness":
            raise PermissionError(13, "Permission denied")
        return write_text(path, *values)

    async with running(Brightness(state, sysfs=sysfs, apply_to_screens=dims.append, timers=QUICK)) as brightness:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", denied)
            await brightness.set(60)
            assert (brightness.backend, brightness.percent, dims) == ("software", 60, [40.0])
            assert "60-signage-agent.rules" in brightness.warning
            await asyncio.sleep(0.3)  # some tries
            await brightness.set(50)
            assert (brightness.backend, brightness.percent, dims) == ("software", 50, [40.0, 50.0])
        await until(lambda: raw(light) == 128)
        await until(lambda: brightness.backend == "backlight" and dims[-1] == 0)
        assert brightness.warning == ""
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1


async def test_software_dimming(sysfs: Path, state: State) -> None:
    """Without hardware the picture is dimmed, down to the minimum; after a restart again."""
    dims: list[float] = []
    async with running(Brightness(state, sysfs=sysfs, minimum=20, apply_to_screens=dims.append, timers=QUICK)) as brightness:
        assert (brightness.backend, brightness.percent, dims) == ("software", 100, [])
        await brightness.set(0)
        await brightness.set(50)
        await brightness.set(100)
        assert dims == [80.0, 40.0, 0.0]
        await brightness.set(30)
    dims.clear()
    async with running(Brightness(state, sysfs=sysfs, apply_to_screens=dims.append, timers=QUICK)) as brightness:
        assert dims == [70.0]
        assert brightness.dim == 70.0


async def test_software_ignores_the_hardware(sysfs: Path, state: State) -> None:
    """Who asks for software gets it, though there is a backlight; `none` only remembers."""
    light = panel(sysfs)
    dims: list[float] = []
    async with running(Brightness(state, backend="software", sysfs=sysfs, apply_to_screens=dims.append)) as brightness:
        await brightness.set(10)
        assert (dims, raw(light)) == ([90.0], 200)
    async with running(Brightness(state, backend="none", sysfs=sysfs, apply_to_screens=dims.append)) as brightness:
        await brightness.set(40)
        assert (brightness.backend, brightness.percent, dims, raw(light)) == ("none", 40, [90.0], 200)


async def test_a_backlight_that_comes_later(sysfs: Path, state: State) -> None:
    """A configured backlight whose driver loads late is found and given the value."""
    async with running(Brightness(state, backend="backlight", sysfs=sysfs, timers=QUICK)) as brightness:
        assert brightness.warning == "there is no backlight"
        await brightness.set(40)
        light = panel(sysfs)
        await until(lambda: raw(light) == 102)
        await until(lambda: brightness.backend == "backlight" and not brightness.warning)


async def test_a_backlight_that_vanishes(sysfs: Path, state: State) -> None:
    """Its value is kept for when it is back."""
    light = panel(sysfs)
    async with running(Brightness(state, backend="backlight", sysfs=sysfs, timers=QUICK)) as brightness:
        await brightness.set(40)
        hidden = light.rename(sysfs / "hidden")
        await until(lambda: bool(brightness.warning))
        assert brightness.percent == 40
        (hidden / "brightness").write_text("1")
        hidden.rename(light)
        await until(lambda: raw(light) == 102)


async def test_a_driver_that_hangs(sysfs: Path, state: State) -> None:
    """A write that does not return keeps its thread, not the daemon."""
    light = panel(sysfs)
    timers = BrightnessTimers(call_s=0.2, look_s=60)
    async with running(Brightness(state, sysfs=sysfs, timers=timers)) as brightness:
        (light / "brightness").unlink()
        os.mkfifo(light / "brightness")
        await asyncio.wait_for(brightness.set(40), 5)
        assert await state.get("brightness") == 40
        assert brightness.warning == "the hardware does not answer"
        os.close(os.open(light / "brightness", os.O_RDWR | os.O_NONBLOCK))


async def test_concurrent_sets(sysfs: Path, state: State) -> None:
    """The last one wins, on the hardware and on disk."""
    light = panel(sysfs, most=100)
    async with running(Brightness(state, sysfs=sysfs, timers=QUICK)) as brightness:
        await asyncio.gather(*(brightness.set(percent) for percent in (10, 90, -5, 300, 45)))
        assert (brightness.percent, raw(light), await state.get("brightness")) == (45, 45, 45)


async def test_ddc_is_loaded_only_when_used(sysfs: Path, state: State) -> None:
    """Neither the library nor a bus is touched where no display has a DDC bus."""
    program = f"""
        import asyncio, sys
        from pathlib import Path
        from agent.hardware.brightness import Brightness
        from agent.system.state import State
        async def main():
            state = await State.open(Path({str(sysfs / "state.db")!r}))
            brightness = Brightness(state, sysfs=Path({str(sysfs)!r}))
            task = asyncio.create_task(brightness.run())
            await brightness.started()
            await brightness.set(50)
            task.cancel()
            await state.close()
        asyncio.run(main())
        print("loaded", "monitorcontrol" in sys.modules, "alsaaudio" in sys.modules)
    """
    result = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert "loaded False False" in result.stdout


async def test_a_monitor_over_ddc(sysfs: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The luminance is set on the monitor's own scale, respects the minimum and is read back."""
    monitors = FakeMonitors(monkeypatch)
    monitor = monitors.add(bus=20, current=40, most=80)
    monitors.connect(sysfs, "card1-HDMI-A-1", 20)
    async with running(Brightness(state, sysfs=sysfs, minimum=25, timers=QUICK)) as brightness:
        assert (brightness.backend, brightness.percent) == ("ddc", 33)
        await brightness.set(0)
        assert monitor.current == 20
        await brightness.set(50)
        assert (monitor.current, brightness.percent) == (50, 50)


async def test_a_monitor_off_and_on(sysfs: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor that is off keeps nobody waiting; when a display is back, it is given the value."""
    monitors = FakeMonitors(monkeypatch)
    monitor = monitors.add(bus=20, current=40, most=100)
    monitors.connect(sysfs, "card1-HDMI-A-1", 20)
    slow = BrightnessTimers(retry_first_s=60, retry_most_s=60)
    async with running(Brightness(state, backend="ddc", sysfs=sysfs, timers=slow)) as brightness:
        monitor.off = True
        await brightness.set(70)
        assert (brightness.percent, await state.get("brightness")) == (70, 70)
        assert "over DDC/CI" in brightness.warning
        monitor.off = False
        brightness.look()
        await until(lambda: monitor.current == 70 and not brightness.warning)


def test_an_unknown_panel_value_is_an_error(sysfs: Path) -> None:
    """A backlight that says nonsense is named."""
    light = panel(sysfs)
    (light / "brightness").write_text("bright")
    with pytest.raises(BrightnessError, match="brightness cannot be read"):
        Backlight(sysfs, 0).read()
