"""The daemon's end of the mixer: calls with a deadline, made by a worker process that is replaced when it hangs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.hardware.loudness import Scale
from agent.hardware.mixer_messages import TO_DAEMON, Card, Lost, Mute, Open, Opened, Reading, Write
from agent.system.wire import Ping
from agent.system.worker import Worker, WorkerGoneError, WorkerTimers

log = logging.getLogger(__name__)

MODULE = "agent.hardware.mixer_worker"


class MixerError(Exception):
    """The mixer cannot be used now. `hangs`: it did not answer in time, so it may well still hold its value."""

    def __init__(self, reason: str, *, hangs: bool = False) -> None:
        super().__init__(reason)
        self.hangs = hangs


@dataclass(frozen=True, slots=True)
class MixerTimers:
    """Seconds."""

    call_s: float = 2.0
    start_s: float = 10.0
    """For the worker's interpreter to start, from a slow card."""
    worker: WorkerTimers = WorkerTimers(ping_s=5.0, pings_lost=1, leave_s=0.1, term_s=0.3)  # noqa: RUF009 - frozen


class Mixer:
    """One control of one card. `run` is to be running while it is used; calls must not overlap."""

    def __init__(
        self,
        *,
        on_change: Callable[[Reading], None],
        on_lost: Callable[[MixerError], None],
        timers: MixerTimers = MixerTimers(),
    ) -> None:
        self.opened: Opened | None = None
        self.audio_device = ""
        """mpv's name of the card chosen last, whether or not it has a volume; empty: mpv's own choice."""
        self.scale = Scale(0, 100)
        self._on_change = on_change
        self._on_lost = on_lost
        self._timers = timers
        self._reading: Reading | None = None
        self._worker: Worker | None = None
        self._life: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._hanging: set[str] = set()
        self._running = asyncio.Event()

    async def run(self) -> None:
        """Owns the worker process. Cancelled: ends it."""
        async with asyncio.TaskGroup() as self._group:
            self._running.set()
            await asyncio.get_running_loop().create_future()

    async def open(self, card: str, control: str, connector: str) -> Reading:
        """Finds the control and says what it stands at; closes what was open before. Raises MixerError."""
        self.opened = None
        worker = self._worker or await self._start()
        reading = await self._ask(worker, Open(card, control, connector))
        opened: Opened | None = self.opened  # set by the worker's message
        if opened is None:
            raise MixerError("the mixer worker opened nothing")
        cdb = None if opened.low_cdb is None or opened.high_cdb is None else (opened.low_cdb, opened.high_cdb)
        self.scale = Scale(opened.minimum, opened.maximum, cdb)
        return reading

    async def write(self, percent: int) -> Reading:
        """Sets the volume and reads it back. Raises MixerError."""
        in_db = self.scale.cdb is not None and percent > 0
        value = self.scale.level(percent) if in_db else self.scale.raw(percent)
        return await self._ask(self._open_worker(), Write(value, in_db))

    async def mute(self, muted: bool) -> Reading:
        """Turns the switch and reads it back. Raises MixerError."""
        return await self._ask(self._open_worker(), Mute(muted))

    def percent(self, reading: Reading) -> int:
        """What `reading` is on the open control's scale."""
        return self.scale.percent(reading.raw, reading.cdb)

    def drop(self) -> None:
        """Ends the worker; the next `open` starts another, which reads the ALSA configuration again."""
        self.opened = None
        if self._life is not None:
            self._life.cancel()
        self._worker = self._life = None

    def _open_worker(self) -> Worker:
        if self._worker is None or self.opened is None:
            raise MixerError("no mixer is open")
        return self._worker

    async def _start(self) -> Worker:
        await self._running.wait()
        assert self._group is not None
        ready = asyncio.Event()
        worker = Worker(
            "mixer",
            MODULE,
            [],
            expected=TO_DAEMON,
            on_message=lambda message: self._heard(worker, message),
            on_open=ready.set,
            timers=self._timers.worker,
        )
        self._worker = worker
        life = self._life = self._group.create_task(self._live(worker), name="mixer worker")
        started = asyncio.create_task(ready.wait(), name="mixer worker: starts")
        await asyncio.wait({started, life}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        await self._request(worker, Ping(), self._timers.start_s)
        return worker

    async def _live(self, worker: Worker) -> None:
        try:
            reason = await worker.run()
        except OSError as error:
            reason = f"it cannot be started: {error}"
        if self._worker is worker:
            self._worker = self._life = None
            was_open, self.opened = self.opened is not None, None
            if was_open:
                self._on_lost(MixerError(f"mixer worker {reason}", hangs=reason.startswith("hung")))

    async def _ask(self, worker: Worker, message: Open | Write | Mute) -> Reading:
        self._reading = None
        await self._request(worker, message, self._timers.call_s)
        reading: Reading | None = self._reading  # set by the worker's message
        if reading is None:
            raise MixerError("the mixer worker read nothing back")
        return reading

    async def _request(self, worker: Worker, message: Any, deadline_s: float) -> None:
        call = type(message).__name__
        try:
            await worker.request(message, deadline_s)
        except TimeoutError:
            if self._worker is worker:
                self.drop()
            level = logging.DEBUG if self._hanging else logging.WARNING
            log.log(level, "mixer does not answer; worker replaced call=%s deadline_s=%g", call, deadline_s)
            self._hanging.add(call)
            raise MixerError("the mixer does not answer", hangs=True) from None
        except RuntimeError as error:
            raise MixerError(str(error)) from None
        except (WorkerGoneError, ConnectionError) as error:
            raise MixerError(f"the mixer worker ended: {error}") from None
        if call in self._hanging:
            self._hanging.clear()
            log.info("mixer answers again")

    def _heard(self, worker: Worker, message: Any) -> None:
        if self._worker is not worker:
            return
        if isinstance(message, Card):
            self.audio_device = message.audio_device
        elif isinstance(message, Opened):
            self.opened = message
        elif isinstance(message, Reading):
            if message.asked:
                self._reading = message
            else:
                self._on_change(message)
        elif isinstance(message, Lost):
            was_open, self.opened = self.opened is not None, None
            if was_open:
                self._on_lost(MixerError(message.reason))
