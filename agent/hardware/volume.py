"""The device's volume: a mixer control where there is one, else the player's own volume."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.hardware.mixer import Mixer, MixerError, MixerTimers
from agent.hardware.mixer_messages import Reading
from agent.hardware.turns import Turns
from agent.system.state import State

log = logging.getLogger(__name__)

PERCENT_KEY = "volume"
MUTED_KEY = "muted"
FULL = (100, False)
"""What the player stands at while a mixer does the work: percent, muted."""
SETTLED_PERCENT = 3
"""A driver that rounds what was written to it lands this near."""


@dataclass(frozen=True, slots=True)
class VolumeTimers:
    """Seconds."""

    reopen_first_s: float = 0.5
    reopen_most_s: float = 10.0
    settle_s: float = 0.5
    """How long after a write a small difference is the hardware's rounding and not somebody's wish."""
    fresh_s: float = 300.0
    """How long a worker that finds no mixer is asked again before one takes its place that reads asound.conf anew."""
    mixer: MixerTimers = MixerTimers()  # noqa: RUF009 - frozen


class Volume:
    """Volume and mute of the box, for all links. `run` is to be running.

    Reported is the value last set while the hardware still holds what was written for it, else what is measured. A value that
    was never set by anybody leaves the hardware as it is. Mute and 0 % are two things.

    `card` and `control` are as in the configuration; `connector` gives the first screen's, such as "HDMI-A-1", or "".
    `apply_to_player` takes percent (0-100, mpv's own scale) and muted for all screens.
    """

    def __init__(
        self,
        state: State,
        *,
        card: str = "auto",
        control: str = "auto",
        connector: Callable[[], str] = str,
        apply_to_player: Callable[[float, bool], None] | None = None,
        timers: VolumeTimers = VolumeTimers(),
    ) -> None:
        self.percent = 100
        self.muted = False
        self.hangs = False
        """The sound server or card does not answer, or is suspected not to: whoever plays through it would be held up."""
        self._state = state
        self._card = card
        self._control = control
        self._connector = connector
        self._apply_to_player = apply_to_player
        self._timers = timers
        self._mixer = Mixer(on_change=self._changed_outside, on_lost=self._lost, timers=timers.mixer)
        self._turns = Turns()
        self._listeners: list[Callable[[], None]] = []
        self._started = asyncio.Event()
        self._again = asyncio.Event()
        self._suspected = asyncio.Event()
        self._player = FULL
        self._wanted: int | None = None
        self._wanted_mute: bool | None = None
        self._held_raw: int | None = None
        self._written_at = float("-inf")
        self._name = ""
        self._hangs = False
        self._problem = ""
        self._told: tuple[object, ...] = ()

    @property
    def backend(self) -> str:
        """`alsa:<card>/<control>`, `player` or `none`."""
        if self._mixer.opened is not None or self._hangs:
            return f"alsa:{self._name}"
        return "none" if self._apply_to_player is None else "player"

    @property
    def audio_device(self) -> str:
        """mpv's name of the card that sound is to go to; empty: its own choice.

        To be used for playing also while the card has no volume: some get theirs from the first sound only.
        """
        return self._mixer.audio_device

    @property
    def player(self) -> tuple[int, bool]:
        """Percent and mute that a player which has just started is to be given."""
        return self._player

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls `callback` whenever percent, mute, backend or audio device have changed, whoever changed them."""
        self._listeners.append(callback)

    async def run(self) -> None:
        """Applies what was set last, keeps the mixer open and takes the turns, for ever."""
        self._wanted = _stored_percent(await self._state.get(PERCENT_KEY))
        stored_mute = await self._state.get(MUTED_KEY)
        self._wanted_mute = stored_mute if isinstance(stored_mute, bool) else None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mixer.run(), name="volume: mixer")
            group.create_task(self._turns.run(), name="volume: turns")
            group.create_task(self._keep_open(), name="volume: keeps the mixer open")
            group.create_task(self._check_suspicions(), name="volume: checks whether sound hangs")

    async def started(self) -> None:
        """Waits until the value last set is applied, or was found not to be applicable yet."""
        await self._started.wait()

    async def set(self, percent: int) -> None:
        """Sets the volume (clamped to 0-100): at once on the hardware, on disk when this returns.

        Raises StateError if it could not be stored; it is in force all the same until the agent ends.
        """
        percent = min(100, max(0, percent))

        async def work() -> None:
            self._wanted = percent
            await self._attempt(self._write_percent)
            await self._state.put(PERCENT_KEY, percent)

        await self._turns.do(work)

    async def set_muted(self, muted: bool) -> None:
        """Mutes or unmutes; as `set`."""

        async def work() -> None:
            self._wanted_mute = muted
            await self._attempt(self._write_mute)
            await self._state.put(MUTED_KEY, muted)

        await self._turns.do(work)

    def look(self) -> None:
        """Looks for a mixer now if none is open: sound has begun to play, and a softvol makes its control then."""
        if self._mixer.opened is None:
            self._again.set()

    def suspect(self) -> None:
        """Somebody who plays sound was held up: `hangs` until the mixer has answered."""
        self.hangs = True
        self._suspected.set()
        self._tell()

    async def _check_suspicions(self) -> None:
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            await self._turns.do(self._open)
            self._tell()

    async def _keep_open(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s, fresh_at = self._timers.reopen_first_s, loop.time()
        while True:
            self._again.clear()
            is_open = await self._turns.do(self._open)
            self._started.set()
            if is_open:
                await self._again.wait()
                self._again.clear()
                pause_s = self._timers.reopen_first_s
            elif loop.time() - fresh_at > self._timers.fresh_s:
                self._mixer.drop()
                fresh_at = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._again.wait()
            pause_s = min(self._timers.reopen_most_s, pause_s * 2)

    async def _open(self) -> bool:
        try:
            reading = await self._mixer.open(self._card, self._control, self._connector())
        except MixerError as error:
            self._failed(error)
            return False
        assert self._mixer.opened is not None
        self._name = f"{self._mixer.opened.device.removeprefix('hw:CARD=')}/{self._mixer.opened.control}"
        self._problem, self._hangs, self._held_raw = "", False, None
        self.hangs = False
        self._take(reading)
        log.info("mixer opened backend=%s percent=%d muted=%s", self.backend, self.percent, self.muted)
        if self._mixer.scale.is_switch:
            log.warning("mixer control has too few steps for a volume backend=%s", self.backend)

        async def apply() -> None:
            if self._wanted is not None:
                await self._write_percent()
            await self._write_mute()

        await self._attempt(apply)
        return self._mixer.opened is not None

    async def _attempt(self, write: Callable[[], Awaitable[None]]) -> None:
        """Writes to the mixer; without one, or if that fails, the value waits for it and the player stands in."""
        if self._mixer.opened is None:
            self._stand_in()
            return
        try:
            await write()
        except MixerError as error:
            self._lost(error)
        else:
            self._tell()

    async def _write_percent(self) -> None:
        assert self._wanted is not None
        reading = await self._mixer.write(self._wanted)
        self._held_raw = reading.raw
        self._written_at = asyncio.get_running_loop().time()
        self._take(reading)

    async def _write_mute(self) -> None:
        """The switch, or the player where the control has none. A mute that nobody set is left alone."""
        assert self._mixer.opened is not None
        if not self._mixer.opened.has_switch:
            self.muted = bool(self._wanted_mute)
            self._to_player(100, self.muted)
            return
        if self._wanted_mute is not None:
            self._take(await self._mixer.mute(self._wanted_mute))
        self._to_player(*FULL)

    def _changed_outside(self, reading: Reading) -> None:
        if self._mixer.opened is None:
            return
        since_s = asyncio.get_running_loop().time() - self._written_at
        if self._wanted is not None and self._held_raw is not None and since_s < self._timers.settle_s:
            apart = abs(self._mixer.percent(reading) - self._wanted)
            if apart <= SETTLED_PERCENT:
                self._held_raw = reading.raw
        before = self.percent, self.muted
        self._take(reading)
        if (self.percent, self.muted) != before:
            log.info("volume was changed outside percent=%d muted=%s", self.percent, self.muted)
        self._tell()

    def _take(self, reading: Reading) -> None:
        assert self._mixer.opened is not None
        measured = self._mixer.percent(reading)
        ours = self._wanted is not None and reading.raw == self._held_raw
        self.percent = self._wanted if ours and self._wanted is not None else measured
        if self._mixer.opened.has_switch:
            self.muted = reading.muted

    def _lost(self, error: MixerError) -> None:
        self._failed(error)
        self._again.set()

    def _failed(self, error: MixerError) -> None:
        """A mixer that hangs still holds its value; one that is gone, or was never there, is stood in for by the player."""
        self.hangs = error.hangs
        self._hangs = error.hangs and bool(self._name)
        reason = str(error)
        if error.hangs or reason == self._problem:  # Mixer warns of a hang
            level = logging.DEBUG
        elif self._problem or (self._card == "auto" and not self._name):
            level = logging.INFO
        else:
            level = logging.WARNING
        log.log(level, "no mixer; will be looked for again reason=%s", reason)
        self._problem = reason
        self._held_raw = None
        self._stand_in()

    def _stand_in(self) -> None:
        if not self._hangs:
            self._to_player(100 if self._wanted is None else self._wanted, bool(self._wanted_mute))
        if self._wanted is not None or not self._hangs:
            self.percent = 100 if self._wanted is None else self._wanted
            self.muted = bool(self._wanted_mute)
        self._tell()

    def _to_player(self, percent: int, muted: bool) -> None:
        if self._apply_to_player is not None and (percent, muted) != self._player:
            self._player = (percent, muted)
            self._apply_to_player(percent, muted)

    def _tell(self) -> None:
        now = (self.percent, self.muted, self.backend, self.audio_device, self.hangs)
        if now != self._told:
            self._told = now
            for listener in self._listeners:
                listener()


def _stored_percent(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= 100 else None
