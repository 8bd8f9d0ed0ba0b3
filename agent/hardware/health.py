"""What the hardware says about its own health, in sentences for a technician."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.hardware.side import SideThread
from agent.system import clock
from agent.system.logs import Trouble
from agent.system.state import State, StateError

log = logging.getLogger(__name__)

UNDER_VOLTAGE_KEY = "health.under_voltage_boot"
READ_S = 10.0
EMMC_WORN = 0x0A
"""`life_time` in tenths of the estimated life: 90 to 100 % are used (JESD84-B50)."""
UNDER_VOLTAGE = "under-voltage since the last boot: the power supply or its cable is too weak"
CLOCK_NOT_SET = "the clock is not set: it stands before this version was built; check the network's time service"


@dataclass(frozen=True, slots=True)
class Findings:
    """One reading. `boot_id` tells the boots apart, because the kernel wipes the under-voltage flag when it is read."""

    boot_id: str
    under_voltage: bool
    warnings: tuple[str, ...]


class Health:
    """Reads the hardware's own alarms every `look_s` seconds. `clock_is_set` tells whether the wall clock can be believed."""

    def __init__(
        self,
        state: State,
        *,
        sysfs: Path = Path("/sys"),
        root: Path = Path("/"),
        look_s: float = 60.0,
        clock_is_set: Callable[[], bool] = clock.is_set,
    ) -> None:
        self._state = state
        self._sysfs = sysfs
        self._root = root
        self._look_s = look_s
        self._clock_is_set = clock_is_set
        self._thread = SideThread("health")
        self._found: tuple[str, ...] = ()
        self._latched = ""
        self._storing = Trouble(log)
        self._listeners: list[Callable[[], None]] = []

    def warnings(self) -> list[str]:
        """What is wrong now, one sentence each; the clock is looked at in this moment."""
        return [*self._found, *([] if self._clock_is_set() else [CLOCK_NOT_SET])]

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls `callback` after the hardware's warnings have changed."""
        self._listeners.append(callback)

    async def run(self) -> None:
        """Looks, for ever."""
        kept = await self._state.get(UNDER_VOLTAGE_KEY)
        self._latched = kept if isinstance(kept, str) else ""
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._look_s)
        finally:
            self._thread.close()

    async def _look(self) -> None:
        try:
            findings = await self._thread.call(lambda: read(self._sysfs, self._root), READ_S)
        except TimeoutError:
            log.debug("hardware health cannot be read deadline_s=%g", READ_S)
            return
        if findings.under_voltage and self._latched != findings.boot_id:
            self._latched = findings.boot_id
            try:
                await self._state.put(UNDER_VOLTAGE_KEY, findings.boot_id, durable=False)
            except StateError as error:  # it holds until the agent ends
                self._storing.is_("under-voltage could not be recorded", error)
        latched = bool(findings.boot_id) and self._latched == findings.boot_id
        now = (*((UNDER_VOLTAGE,) if latched or findings.under_voltage else ()), *findings.warnings)
        before, self._found = self._found, now
        for warning in now:
            if warning not in before:
                log.warning("health: %s", warning)
        for warning in before:
            if warning not in now:
                log.info("health: over: %s", warning)
        if now != before:
            for listener in self._listeners:
                listener()


def read(sysfs: Path, root: Path = Path("/")) -> Findings:
    """Reads everything once. Blocks."""
    return Findings(
        boot_id=_text(root / "proc/sys/kernel/random/boot_id"),
        under_voltage=_under_voltage(sysfs),
        warnings=(*_file_system_errors(sysfs), *_worn_emmc(sysfs)),
    )


def _under_voltage(sysfs: Path) -> bool:
    return any(
        _text(path / "name") == "rpi_volt" and _text(path / "in0_lcrit_alarm") == "1"
        for path in (sysfs / "class/hwmon").glob("hwmon*")
    )


def _file_system_errors(sysfs: Path) -> list[str]:
    found = []
    for path in sorted((sysfs / "fs/ext4").glob("*/errors_count")):
        count = _text(path)
        if count.isdecimal() and int(count) > 0:
            found.append(f"the file system on {path.parent.name} has recorded {count} errors: check it, the card may be failing")
    return found


def _worn_emmc(sysfs: Path) -> list[str]:
    found = []
    for path in sorted((sysfs / "class/mmc_host").glob("mmc*/mmc*:*")):
        used = max((_hex(word) for word in _text(path / "life_time").split()), default=0)
        end_of_life = _hex(_text(path / "pre_eol_info"))
        if used >= EMMC_WORN or end_of_life >= 2:
            share = "all" if used > EMMC_WORN else f"{max(0, used - 1) * 10} %"
            state = {2: "warning", 3: "urgent"}.get(end_of_life, "normal")
            found.append(f"the eMMC {path.name} is worn: {share} of its life is used, reserve blocks: {state}")
    return found


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
