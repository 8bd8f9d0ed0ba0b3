"""Battery and mains, from fake trees."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from agent.hardware import power as power_module
from agent.hardware.power import Power, Supply, read


def supply(sysfs: Path, name: str, **files: object) -> None:
    """A power supply as the kernel shows it."""
    path = sysfs / "class/power_supply" / name
    path.mkdir(parents=True, exist_ok=True)
    for key, value in files.items():
        (path / key).write_text(f"{value}\n")


async def test_without_a_battery(tmp_path: Path) -> None:
    """A box at the mains is full, whatever sysfs has."""
    power = Power(sysfs=tmp_path)
    assert await power.battery_percent() == 100
    assert (power.has_battery, power.on_mains) == (False, True)
    supply(tmp_path, "AC", type="Mains", online=1)
    assert await power.battery_percent() == 100
    supply(tmp_path, "rpi-usb", type="USB", online=0)
    assert read(tmp_path) == Supply(None, on_mains=True)


async def test_a_battery(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its capacity, looked at anew each time; leaving the mains is said."""
    caplog.set_level(logging.INFO)
    supply(tmp_path, "BAT0", type="Battery", capacity=83, status="Charging", present=1)
    supply(tmp_path, "AC", type="Mains", online=1)
    power = Power(sysfs=tmp_path)
    assert await power.battery_percent() == 83
    assert (power.has_battery, power.on_mains) == (True, True)
    supply(tmp_path, "BAT0", capacity=79, status="Discharging")
    supply(tmp_path, "AC", online=0)
    assert await power.battery_percent() == 79
    assert not power.on_mains
    assert "on_mains=no battery_percent=79" in caplog.text


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"capacity": 0, "status": "Discharging"}, Supply(0, on_mains=False)),
        ({"capacity": 104, "status": "Full"}, Supply(100, on_mains=True)),
        ({"capacity": -3, "status": "Unknown"}, Supply(0, on_mains=True)),
        ({"energy_now": 25_000_000, "energy_full": 50_000_000, "status": "Discharging"}, Supply(50, on_mains=False)),
        ({"charge_now": 900_000, "charge_full": 1_200_000, "status": "Not charging"}, Supply(75, on_mains=True)),
        ({"capacity": "", "capacity_level": "Low", "status": "Discharging"}, Supply(15, on_mains=False)),
        ({"capacity_level": "Full"}, Supply(100, on_mains=True)),
        ({"capacity": 50, "present": 0}, Supply(None, on_mains=True)),
        ({"status": "Discharging"}, Supply(None, on_mains=True)),
        ({"capacity": 40, "scope": "Device", "status": "Discharging"}, Supply(None, on_mains=True)),
        ({"capacity": 40, "scope": "System", "status": "Discharging"}, Supply(40, on_mains=False)),
    ],
)
def test_what_fuel_gauges_say(tmp_path: Path, files: dict[str, object], expected: Supply) -> None:
    """Percent, or what it can be worked out from; a mouse's battery is not the box's, an empty bay is none."""
    supply(tmp_path, "BAT0", **{"type": "Battery", **files})
    assert read(tmp_path) == expected


def test_two_batteries(tmp_path: Path) -> None:
    """Weighted by what they hold where both say it, else evenly."""
    supply(tmp_path, "BAT0", type="Battery", capacity=100, energy_full=10_000_000)
    supply(tmp_path, "BAT1", type="Battery", capacity=0, energy_full=30_000_000, status="Discharging")
    assert read(tmp_path) == Supply(25, on_mains=False)
    (tmp_path / "class/power_supply/BAT1/energy_full").unlink()
    assert read(tmp_path) == Supply(50, on_mains=False)


def test_mains_win_over_what_the_battery_says(tmp_path: Path) -> None:
    """A battery that supports a weak adapter discharges at the mains; USB-C counts as mains."""
    supply(tmp_path, "BAT0", type="Battery", capacity=50, status="Discharging")
    supply(tmp_path, "ucsi", type="USB", online=1)
    assert read(tmp_path) == Supply(50, on_mains=True)
    supply(tmp_path, "ucsi", type="USB_PD", online=0)
    assert not read(tmp_path).on_mains


async def test_a_gauge_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What was read last is said, in time; one warning however often it hangs."""
    supply(tmp_path, "BAT0", type="Battery", capacity=83)
    power = Power(sysfs=tmp_path)
    assert await power.battery_percent() == 83
    release = threading.Event()

    def hang(_: Path) -> Supply:
        release.wait(10)
        return Supply()

    monkeypatch.setattr(power_module, "read", hang)
    monkeypatch.setattr(power_module, "READ_S", 0.05)
    for _ in range(2):
        assert await power.battery_percent() == 83
    release.set()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    monkeypatch.undo()
    supply(tmp_path, "BAT0", capacity=20)
    assert await power.battery_percent() == 20


def test_uptime() -> None:
    """Since the machine started."""
    first = Power.uptime_s()
    assert first > 0
    assert abs(first - float(Path("/proc/uptime").read_text().split()[0])) < 2
    time.sleep(0.01)
    assert Power.uptime_s() > first
