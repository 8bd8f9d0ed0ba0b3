"""Battery and temperature from sysfs (camera contract, section 1)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.links.camera import vitals
from agent.links.camera.vitals import Vitals, VitalsReader, battery, temperature


def put(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(f"{text}\n")


async def test_a_box_with_both(tmp_path: Path) -> None:
    """A UPS hat and a Raspberry Pi's processor."""
    put(tmp_path / "class/power_supply/AC", type="Mains", online="1")
    put(tmp_path / "class/power_supply/BAT0", type="Battery", capacity="85")
    put(tmp_path / "class/thermal/thermal_zone0", type="cpu-thermal", temp="45277")
    reader = VitalsReader(tmp_path)
    assert await reader.read() == Vitals(85, 45)
    reader.close()


async def test_a_box_with_neither(tmp_path: Path) -> None:
    """Nothing is made up."""
    reader = VitalsReader(tmp_path)
    assert await reader.read() == Vitals(None, None)
    reader.close()
    assert await reader.read() == Vitals()


def test_which_battery(tmp_path: Path) -> None:
    """A mouse's battery is not the box's; nonsense is none; the value stays within 0 to 100."""
    put(tmp_path / "class/power_supply/hid-mouse", type="Battery", scope="Device", capacity="10")
    assert battery(tmp_path) is None
    put(tmp_path / "class/power_supply/test0", type="Battery", capacity="full")
    put(tmp_path / "class/power_supply/test1", type="Battery", scope="System", capacity="103")
    assert battery(tmp_path) == 100


def test_which_thermal_zone(tmp_path: Path) -> None:
    """The processor's if it is known, else the first that makes sense."""
    put(tmp_path / "class/thermal/thermal_zone0", type="battery", temp="-274000")
    put(tmp_path / "class/thermal/thermal_zone1", type="wifi", temp="51600")
    assert temperature(tmp_path) == 52
    put(tmp_path / "class/thermal/thermal_zone2", type="x86_pkg_temp", temp="61000")
    put(tmp_path / "class/thermal/cooling_device0", type="x86_pkg_temp", temp="99000")
    assert temperature(tmp_path) == 61


async def test_a_driver_that_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given up after a while, said once, and not asked again."""
    put(tmp_path / "class/thermal/thermal_zone0", type="cpu-thermal")
    os.mkfifo(tmp_path / "class/thermal/thermal_zone0/temp")
    monkeypatch.setattr(vitals, "READ_S", 0.1)
    reader = VitalsReader(tmp_path)
    assert [await reader.read() for _ in range(3)] == [Vitals()] * 3
    assert caplog.text.count("cannot be read") == 1
    reader.close()
