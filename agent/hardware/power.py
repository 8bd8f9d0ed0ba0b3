"""Battery and mains from sysfs (class/power_supply), and how long the box has been up."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from agent.hardware.side import SideThread

log = logging.getLogger(__name__)

READ_S = 2.0
"""For a gauge on a slow bus, or one that hangs."""
_LEVELS = {"full": 100, "high": 80, "normal": 50, "low": 15, "critical": 5}
"""Percent for `capacity_level`, which is all that some fuel gauges know (Documentation/ABI/testing/sysfs-class-power)."""
_MAINS = ("mains", "usb", "wireless", "ups")


@dataclass(frozen=True, slots=True)
class Supply:
    """One reading. `battery_percent` None: no battery."""

    battery_percent: int | None = None
    on_mains: bool = True


class Power:
    """What feeds the box, read from the kernel when somebody asks."""

    def __init__(self, *, sysfs: Path = Path("/sys")) -> None:
        self._sysfs = sysfs
        self._supply = Supply()
        self._thread = SideThread("power")
        self._hangs = False

    async def battery_percent(self) -> int:
        """0-100; 100 without a battery, and what was read last while the kernel does not answer."""
        await self.refresh()
        return 100 if self._supply.battery_percent is None else self._supply.battery_percent

    @property
    def has_battery(self) -> bool:
        """Whether the box itself has a battery, as last read."""
        return self._supply.battery_percent is not None

    @property
    def on_mains(self) -> bool:
        """Whether something else than a battery feeds the box, as last read."""
        return self._supply.on_mains

    @staticmethod
    def uptime_s() -> float:
        """Since the machine started, time asleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def refresh(self) -> None:
        """Reads now; what cannot be read in time stays as it was."""
        try:
            supply = await self._thread.call(lambda: read(self._sysfs), READ_S)
        except TimeoutError:
            log.log(logging.DEBUG if self._hangs else logging.WARNING, "power supply cannot be read deadline_s=%g", READ_S)
            self._hangs = True
            return
        self._hangs = False
        if supply.on_mains != self._supply.on_mains:
            log.info("power changed on_mains=%s battery_percent=%s", "yes" if supply.on_mains else "no", supply.battery_percent)
        self._supply = supply


def read(sysfs: Path) -> Supply:
    """Reads every supply once. Blocks."""
    charges: list[tuple[float, float]] = []
    online: list[bool] = []
    discharging = False
    for path in sorted((sysfs / "class/power_supply").glob("*")):
        kind = _text(path / "type").lower()
        if _text(path / "scope").lower() == "device":  # of a mouse, a headset, a stylus
            continue
        if kind == "battery":
            charge = None if _text(path / "present") == "0" else _charge(path)
            if charge is not None:
                charges.append((charge, _number(path, "energy_full") or _number(path, "charge_full") or 0.0))
                discharging = discharging or _text(path / "status").lower() == "discharging"
        elif kind.startswith(_MAINS) and (text := _text(path / "online")):
            online.append(text != "0")
    on_mains = any(online) if online else not discharging
    if not charges:
        return Supply(None, on_mains=True)
    weights = [full for _, full in charges] if all(full > 0 for _, full in charges) else [1.0] * len(charges)
    percent = sum(charge * weight for (charge, _), weight in zip(charges, weights, strict=True)) / sum(weights)
    return Supply(round(min(100.0, max(0.0, percent))), on_mains)


def _charge(path: Path) -> float | None:
    """Percent of one battery; None if it does not say."""
    capacity = _number(path, "capacity")
    if capacity is not None:
        return capacity
    for what in ("energy", "charge"):
        now, full = _number(path, f"{what}_now"), _number(path, f"{what}_full")
        if now is not None and full:
            return 100 * now / full
    return _LEVELS.get(_text(path / "capacity_level").lower())


def _number(path: Path, name: str) -> float | None:
    try:
        return float(int(_text(path / name)))
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
