"""Brightness of monitors over DDC/CI, through the `monitorcontrol` library, loaded only when it is used."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from agent.hardware.backlight import UDEV_RULES, BrightnessError

log = logging.getLogger(__name__)
T = TypeVar("T")

LUMINANCE = 0x10
"""VCP code of the luminance (VESA MCCS)."""
TRIES = 3
PAUSE_S = 0.1
"""Monitors that are busy answer nothing or nonsense; the standard asks for 50 ms between commands."""


class Ddc:
    """All monitors that answer. Calls block, and each takes a tenth of a second and more.

    With `only_displays`, buses that do not belong to a display connector are left alone: a probe of the address may
    upset something else on a bus of a board's pin header.
    """

    name = "ddc"

    def __init__(self, sysfs: Path, minimum: int, *, only_displays: bool) -> None:
        self._minimum = minimum
        self._most = 100
        buses = display_buses(sysfs)
        if only_displays and not buses:
            raise BrightnessError("no display has a DDC bus")
        try:
            import monitorcontrol  # noqa: PLC0415 - 25 ms and pyudev, seldom needed
        except ImportError:
            raise BrightnessError("DDC/CI needs the package monitorcontrol") from None
        self._library: Any = monitorcontrol
        found = self._library.get_monitors()
        self._monitors = [monitor for monitor in found if not only_displays or _bus(monitor) in buses]
        if not self._monitors:
            raise BrightnessError("no monitor answers over DDC/CI" + _denied())
        self.read()

    def write(self, percent: int) -> int:
        """Sets all monitors; returns the raw value of the first that answers. Raises BrightnessError if none does."""
        self._each(lambda monitor: self._write(monitor, percent))
        return self.read()

    def read(self) -> int:
        """The raw value of the first monitor that answers. Raises BrightnessError if none does."""
        current, self._most = self._each(_luminance)[0]
        return current

    def percent(self, raw: int) -> int:
        """What `raw` is between `minimum` and the monitor's most."""
        least = self._least(self._most)
        return min(100, max(0, round(100 * (raw - least) / (self._most - least)))) if self._most > least else 100

    def _write(self, monitor: Any, percent: int) -> None:
        _, most = _luminance(monitor)
        least = self._least(most)
        with monitor:
            monitor.set_luminance(least + round(percent / 100 * (most - least)))

    def _least(self, most: int) -> int:
        return -(-most * self._minimum // 100)

    def _each(self, action: Callable[[Any], T]) -> list[T]:
        """What `action` gives for each monitor that answers: one that is off does not keep the others from being set."""
        results, problem = [], BrightnessError("no monitor")
        for monitor in self._monitors:
            try:
                results.append(self._try(lambda monitor=monitor: action(monitor)))  # type: ignore[misc]
            except BrightnessError as error:
                problem = error
        if not results:
            raise problem
        return results

    def _try(self, action: Callable[[], T]) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                return action()
            except self._library.VCPPermissionError as error:
                raise BrightnessError(f"{error}{_denied()}") from None
            except (self._library.VCPError, OSError, ValueError) as error:
                log.debug("monitor did not answer attempt=%d error=%s", attempt, error)
                problem = str(error)
            time.sleep(PAUSE_S)
        raise BrightnessError(f"the monitor does not answer over DDC/CI: {problem}")


def display_buses(sysfs: Path) -> set[int]:
    """The I2C buses that lead to display connectors."""
    buses = set()
    for link in (sysfs / "class/drm").glob("card*-*/ddc"):
        number = link.resolve().name.removeprefix("i2c-")
        if number.isdecimal():
            buses.add(int(number))
    return buses


def _luminance(monitor: Any) -> tuple[int, int]:
    with monitor:
        current, most = monitor.vcp.get_vcp_feature(LUMINANCE)
    if most <= 0:
        raise ValueError("the monitor says its most luminance is 0")
    return current, most


def _bus(monitor: Any) -> int | None:
    number = getattr(monitor.vcp, "bus_number", None)
    return int(number) if number is not None else None


def _denied() -> str:
    """What to do if it is for want of a permission."""
    unreadable = [path for path in Path("/dev").glob("i2c-*") if not _accessible(path)]
    if not unreadable:
        return ""
    return f" (no permission for {unreadable[0]}: the udev rule in {UDEV_RULES} gives it to the group i2c)"


def _accessible(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)
