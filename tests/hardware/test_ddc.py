"""Monitors over DDC/CI, with a stand-in for `monitorcontrol` that behaves as its documentation and source say."""

from __future__ import annotations

import inspect
from pathlib import Path

import monitorcontrol
import pytest
from monitorcontrol.vcp import vcp_codes

from agent.hardware import ddc
from agent.hardware.backlight import BrightnessError
from agent.hardware.ddc import Ddc, display_buses
from tests.hardware.fakes import FakeMonitor, FakeMonitors


@pytest.fixture
def monitors(monkeypatch: pytest.MonkeyPatch) -> FakeMonitors:
    monkeypatch.setattr(ddc, "PAUSE_S", 0.001)
    return FakeMonitors(monkeypatch)


def test_the_stand_in_is_faithful() -> None:
    """What is used of the library exists there, called the same way."""
    for name in ("get_luminance", "set_luminance", "__enter__", "__exit__"):
        real = inspect.signature(getattr(monitorcontrol.Monitor, name))
        assert list(real.parameters) == list(inspect.signature(getattr(FakeMonitor, name)).parameters), name
    assert issubclass(monitorcontrol.VCPIOError, monitorcontrol.VCPError)
    assert issubclass(monitorcontrol.VCPPermissionError, monitorcontrol.VCPError)
    assert vcp_codes.image_luminance.value == ddc.LUMINANCE


def test_all_monitors_are_set(monitors: FakeMonitors, tmp_path: Path) -> None:
    """Each on its own scale; the first one's value is reported."""
    first, second = monitors.add(bus=20, current=5, most=100), monitors.add(bus=21, current=5, most=50)
    panel = Ddc(tmp_path, 0, only_displays=False)
    assert panel.write(80) == 80
    assert (first.current, second.current) == (80, 40)
    assert panel.percent(80) == 80
    assert first.entered == first.left


def test_one_of_two_is_off(monitors: FakeMonitors, tmp_path: Path) -> None:
    """The other one is set all the same."""
    first, second = monitors.add(bus=20, current=5, most=100), monitors.add(bus=21, current=5, most=100)
    panel = Ddc(tmp_path, 0, only_displays=False)
    first.off = True
    assert panel.write(80) == 80
    assert (first.current, second.current) == (5, 80)


def test_other_buses_are_left_alone(monitors: FakeMonitors, tmp_path: Path) -> None:
    """Unless DDC was asked for by name, only buses of display connectors are used."""
    pins, display = monitors.add(bus=1, current=5, most=100), monitors.add(bus=20, current=5, most=100)
    monitors.connect(tmp_path, "card0-HDMI-A-1", 20)
    assert display_buses(tmp_path) == {20}
    Ddc(tmp_path, 0, only_displays=True).write(60)
    assert (pins.current, display.current) == (5, 60)


def test_nothing_is_probed_without_a_display(monitors: FakeMonitors, tmp_path: Path) -> None:
    """The library's own search reads from every bus, so it is not even called."""
    monitors.add(bus=1, current=5, most=100)
    with pytest.raises(BrightnessError, match="no display has a DDC bus"):
        Ddc(tmp_path, 0, only_displays=True)
    assert monitors.searches == 0


def test_a_busy_monitor_is_asked_again(monitors: FakeMonitors, tmp_path: Path) -> None:
    """Two failures in a row are usual."""
    monitor = monitors.add(bus=20, current=5, most=100)
    panel = Ddc(tmp_path, 0, only_displays=False)
    monitor.failures = 2
    assert panel.write(30) == 30
    monitor.failures = 3
    with pytest.raises(BrightnessError, match="does not answer over DDC/CI"):
        panel.write(40)
    assert monitor.entered == monitor.left


def test_a_television_without_ddc(monitors: FakeMonitors, tmp_path: Path) -> None:
    """Nothing answers: that is said."""
    with pytest.raises(BrightnessError, match="no monitor answers"):
        Ddc(tmp_path, 0, only_displays=False)
    assert monitors.searches == 1


def test_no_permission(monitors: FakeMonitors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus exists but may not be opened: the udev rule is named."""
    monitor = monitors.add(bus=20, current=5, most=100)
    monitor.denied = True
    monkeypatch.setattr(ddc, "_denied", lambda: " (the udev rule gives it)")
    with pytest.raises(BrightnessError, match=r"permission error for /dev/i2c-20 \(the udev rule gives it\)"):
        Ddc(tmp_path, 0, only_displays=False)
