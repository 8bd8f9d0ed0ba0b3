"""Battery and temperature of the box, for `device_presence`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.hardware.side import SideThread

log = logging.getLogger(__name__)

READ_S = 3.0
PREFERRED = ("cpu-thermal", "cpu_thermal", "soc-thermal", "x86_pkg_temp", "coretemp")
"""Types of thermal zones that are the processor's, the best first."""
COLDEST_C, HOTTEST_C = -60.0, 200.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """Percent and °C; None: the box has no such thing."""

    battery: int | None = None
    temperature: int | None = None


class VitalsReader:
    """Reads from `sysfs`, beside the event loop: a driver may not return."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs
        self._thread: SideThread | None = SideThread("vitals")

    async def read(self) -> Vitals:
        """The present values. A driver that does not answer is not asked again."""
        if self._thread is None:
            return Vitals()
        try:
            return await self._thread.call(lambda: Vitals(battery(self._sysfs), temperature(self._sysfs)), READ_S)
        except TimeoutError:
            log.warning("battery and temperature cannot be read; given up deadline_s=%g", READ_S)
            self.close()
            return Vitals()

    def close(self) -> None:
        """Ends its thread."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None


def battery(sysfs: Path) -> int | None:
    """Percent of the first battery that powers the box itself."""
    for supply in _sorted(sysfs / "class/power_supply"):
        if _text(supply / "type").lower() == "battery" and _text(supply / "scope").lower() != "device":
            with contextlib.suppress(ValueError):
                return max(0, min(100, int(_text(supply / "capacity"))))
    return None


def temperature(sysfs: Path) -> int | None:
    """Of the processor, in °C."""
    zones = [zone for zone in _sorted(sysfs / "class/thermal") if zone.name.startswith("thermal_zone")]
    found: dict[str, int] = {}
    for zone in zones:
        with contextlib.suppress(ValueError):
            degrees = int(_text(zone / "temp")) / 1000
            if COLDEST_C < degrees < HOTTEST_C:
                found.setdefault(_text(zone / "type"), round(degrees))
    return next((found[kind] for kind in (*PREFERRED, *found) if kind in found), None)


def _sorted(directory: Path) -> Iterable[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return ()


def _text(path: Path) -> str:
    """What a file of sysfs says; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
