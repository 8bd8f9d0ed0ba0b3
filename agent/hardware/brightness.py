"""The device's brightness: a panel's backlight, a monitor's own over DDC/CI, or a dimming layer over the picture."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from agent.hardware.backlight import Backlight, BrightnessError
from agent.hardware.ddc import Ddc
from agent.hardware.side import SideThread
from agent.hardware.turns import Turns
from agent.system.state import State

log = logging.getLogger(__name__)
T = TypeVar("T")

KEY = "brightness"
BACKENDS = ("auto", "backlight", "ddc", "software", "none")


class Panel(Protocol):
    """What a hardware backend does; its calls block and raise BrightnessError."""

    name: str

    def write(self, percent: int) -> int: ...
    def read(self) -> int: ...
    def percent(self, raw: int) -> int: ...


@dataclass(frozen=True, slots=True)
class BrightnessTimers:
    """Seconds."""

    call_s: float = 5.0
    probe_s: float = 10.0
    look_s: float = 5.0
    """Between two looks at a backlight, which others may turn. A monitor is asked only when it is set."""
    retry_first_s: float = 5.0
    retry_most_s: float = 300.0


class Brightness:
    """Brightness of the box, for all links. `run` is to be running.

    Reported is the value last set while the hardware still holds what was written for it, else what is measured. A value that
    was never set by anybody leaves the hardware as it is. `minimum` is percent of the hardware's range: where 0 % stands.
    `apply_to_screens` takes how much the picture is dimmed, in percent: 0 not at all, 100 black.
    """

    def __init__(
        self,
        state: State,
        *,
        backend: str = "auto",
        minimum: int = 0,
        sysfs: Path = Path("/sys"),
        apply_to_screens: Callable[[float], None] | None = None,
        timers: BrightnessTimers = BrightnessTimers(),
    ) -> None:
        self.percent = 100
        self.warning = ""
        """What keeps the hardware's brightness from being set, and the way out; empty if nothing does."""
        self._state = state
        self._setting = backend
        self._minimum = minimum
        self._sysfs = sysfs
        self._apply_to_screens = apply_to_screens
        self._timers = timers
        self._thread = SideThread("brightness")
        self._turns = Turns()
        self._listeners: list[Callable[[], None]] = []
        self._started = asyncio.Event()
        self._again = asyncio.Event()
        self._panel: Panel | None = None
        self._wanted: int | None = None
        self._held_raw: int | None = None
        self._applied = False
        self._used = ""
        self._dim = 0.0
        self._told: tuple[object, ...] = ()

    @property
    def backend(self) -> str:
        """`backlight`, `ddc`, `software` or `none`: what brightness is turned with now."""
        if self._panel is not None:
            return self._panel.name
        return "software" if self._may_dim() else "none"

    @property
    def dim(self) -> float:
        """How much a screen that has just started is to be dimmed, in percent."""
        return self._dim

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls `callback` whenever percent or backend have changed, whoever changed them."""
        self._listeners.append(callback)

    async def run(self) -> None:
        """Applies what was set last, looks for changes by others and takes the turns, for ever."""
        stored = await self._state.get(KEY)
        self._wanted = stored if type(stored) is int and 0 <= stored <= 100 else None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._turns.run(), name="brightness: turns")
                group.create_task(self._watch(), name="brightness: watches the hardware")
        finally:
            self._thread.close()

    async def started(self) -> None:
        """Waits until the value last set is applied, or was found not to be applicable yet."""
        await self._started.wait()

    async def set(self, percent: int) -> None:
        """Sets the brightness (clamped to 0-100): at once on the hardware, on disk when this returns.

        Raises StateError if it could not be stored; it is in force all the same until the agent ends.
        """
        percent = min(100, max(0, percent))

        async def work() -> None:
            self._wanted = percent
            await self._apply()
            if not self._applied:
                self._again.set()
            await self._state.put(KEY, percent)

        await self._turns.do(work)

    def look(self) -> None:
        """A display came or went: looks for the hardware again and applies the value to it."""
        self._applied = False
        self._again.set()

    async def _watch(self) -> None:
        pause_s = self._timers.retry_first_s
        while True:
            self._again.clear()
            await self._turns.do(self._check)
            self._started.set()
            if self._applied and self._panel is not None:
                pause_s = self._timers.retry_first_s
                wait_s = self._timers.look_s if self._panel.name == "backlight" else None
            elif self._applied:
                wait_s = None
            else:
                wait_s = pause_s
                pause_s = min(self._timers.retry_most_s, pause_s * 2)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._again.wait()

    async def _check(self) -> None:
        """Finds the hardware and applies the value; later reads back what it stands at."""
        if self._panel is None or not self._applied:
            self._panel = await self._find()
            await self._apply()
        if self._panel is None:
            return
        panel = self._panel
        try:
            raw, measured = await self._call(lambda: _measure(panel))
        except BrightnessError as error:
            self._failed(error)
            return
        percent = self._wanted if self._wanted is not None and raw == self._held_raw else measured
        if self._told and percent != self.percent:
            log.info("brightness was changed outside percent=%d backend=%s", percent, panel.name)
        self.percent = percent
        self._tell()

    async def _find(self) -> Panel | None:
        kinds: dict[str, Callable[[], Panel]] = {
            "backlight": lambda: Backlight(self._sysfs, self._minimum),
            "ddc": lambda: Ddc(self._sysfs, self._minimum, only_displays=self._setting == "auto"),
        }
        for name, make in kinds.items():
            if self._setting not in (name, "auto"):
                continue
            try:
                panel = await self._call(make, self._timers.probe_s)
            except BrightnessError as error:
                if self._setting == "auto":
                    log.debug("brightness backend is out backend=%s reason=%s", name, error)
                else:
                    self._failed(error)
            else:
                return panel
        return None

    async def _apply(self) -> None:
        panel, wanted = self._panel, self._wanted
        if panel is not None and wanted is not None:
            try:
                self._held_raw = await self._call(lambda: panel.write(wanted))
            except BrightnessError as error:
                self._failed(error)
            else:
                self._recovered()
        elif panel is not None or not self.warning:
            self._recovered()
        self._dim_screens()
        if wanted is not None:
            self.percent = wanted
        self._tell()

    async def _call(self, function: Callable[[], T], deadline_s: float | None = None) -> T:
        try:
            return await self._thread.call(function, self._timers.call_s if deadline_s is None else deadline_s)
        except TimeoutError:
            raise BrightnessError("the hardware does not answer") from None

    def _failed(self, error: BrightnessError) -> None:
        """Said once; tried again with growing pauses. With `auto` the picture is dimmed instead meanwhile."""
        self._applied = False
        self._held_raw = None
        repeated = logging.DEBUG if str(error) == self.warning else logging.INFO
        log.log(repeated if self.warning else logging.WARNING, "brightness cannot be set reason=%s", error)
        self.warning = str(error)
        if self._setting == "auto":
            self._panel = None
        self._dim_screens()
        self._tell()

    def _recovered(self) -> None:
        self._applied = True
        if self.warning or self._used != self.backend:
            log.info("brightness can be set backend=%s", self.backend)
        self.warning, self._used = "", self.backend

    def _may_dim(self) -> bool:
        return self._setting in ("auto", "software") and self._apply_to_screens is not None

    def _dim_screens(self) -> None:
        """The dimming layer, only while no hardware does the work."""
        dim = 0.0
        if self._panel is None and self._may_dim() and self._wanted is not None:
            dim = (100 - self._wanted) * (100 - self._minimum) / 100
        if dim != self._dim and self._apply_to_screens is not None:
            self._dim = dim
            self._apply_to_screens(dim)

    def _tell(self) -> None:
        now = (self.percent, self.backend)
        if now != self._told:
            self._told = now
            for listener in self._listeners:
                listener()


def _measure(panel: Panel) -> tuple[int, int]:
    raw = panel.read()
    return raw, panel.percent(raw)
