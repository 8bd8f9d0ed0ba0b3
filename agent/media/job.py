"""A download shared by everybody who wants the same file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agent.media.download import Download, Surroundings
from agent.media.gate import Ticket
from agent.media.ledger import Entry
from agent.media.wants import FetchError, OnBytes, Want

log = logging.getLogger(__name__)


class Job:
    """One task and those who wait for it. The store that made it owns it and must stop it."""

    def __init__(self, want: Want, part: Path, urgency: int, around: Callable[[Job], Surroundings]) -> None:
        self.want = want
        self.ticket = Ticket(urgency)
        self.stopping = False
        self._around = around(self)
        self.download = Download(want, part, self.ticket, self._around)
        self._result: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[Entry]
        self._waiting: list[tuple[int, OnBytes | None]] = []
        self._told_at = 0.0
        self._telling: asyncio.TimerHandle | None = None
        self._quarter: int | None = None

    def start(self, work: Coroutine[Any, Any, Entry], on_end: Callable[[], None]) -> None:
        """Begins; `on_end` is called once when it is over, before those who wait learn of it."""

        def ended(task: asyncio.Task[Entry]) -> None:
            on_end()
            if self._telling is not None:
                self._telling.cancel()
            if task.cancelled():
                self._fail(FetchError("stopped", "the download was stopped"))
            elif (error := task.exception()) is None:
                self._result.set_result(task.result())
            elif isinstance(error, FetchError):
                log.debug("media download failed name=%r cause=%r", self.want.name, str(error))
                self._fail(error)
            else:
                log.error("media download failed unexpectedly name=%r", self.want.name, exc_info=error)
                self._fail(FetchError("stopped", f"the download failed inside the agent: {type(error).__name__}"))

        self._task = asyncio.create_task(work, name=f"media download {self.want.name!r:.60}")
        self._task.add_done_callback(ended)

    async def join(self, urgency: int, on_bytes: OnBytes | None) -> Entry:
        """Waits for the file. Raises FetchError. If the last one waiting is cancelled, the download stops first."""
        waiter = (urgency, on_bytes)
        self._waiting.append(waiter)
        self._hurry()
        if self.download.begun:
            self._tell([waiter])
        try:
            await asyncio.wait([self._result])
        except asyncio.CancelledError:
            self._waiting.remove(waiter)
            if self._waiting:
                self._hurry()
            else:
                await self.stop()
            raise
        self._waiting.remove(waiter)
        entry = self._result.result()
        _call(on_bytes, entry.stamp.size_bytes, entry.stamp.size_bytes)
        return entry

    async def stop(self) -> None:
        """Cancels the download and waits until it has let go of its part."""
        self.stopping = True
        self._task.cancel()
        await self.ended()

    async def ended(self) -> None:
        """Waits until it is over, however."""
        await asyncio.wait([self._result])

    def progress(self, now: float) -> None:
        """Tells those who wait, a few times a second, and the log at each quarter; `now` is monotonic."""
        received, total = self.download.received_bytes, self.download.total_bytes
        quarter = received * 4 // total if total else 0
        if self._quarter is not None and self._quarter < quarter < 4:
            log.info(
                "media download progress name=%r percent=%d bytes=%d total=%s", self.want.name, quarter * 25, received, total
            )
        self._quarter = quarter
        if self._telling is None:
            pause_s = max(0.0, self._told_at + self._around.timers.progress_s - now)
            if pause_s:  # what comes meanwhile is told then, also if nothing more comes
                self._telling = asyncio.get_running_loop().call_later(pause_s, self._tell_all, now + pause_s)
            else:
                self._tell_all(now)

    def _tell_all(self, now: float) -> None:
        self._told_at, self._telling = now, None
        self._tell(self._waiting)

    def _fail(self, error: FetchError) -> None:
        self._result.set_exception(error)
        self._result.exception()  # nobody may be left to hear of it

    def _tell(self, waiters: list[tuple[int, OnBytes | None]]) -> None:
        for _, on_bytes in list(waiters):
            _call(on_bytes, self.download.received_bytes, self.download.total_bytes)

    def _hurry(self) -> None:
        self.ticket.urgency = min(urgency for urgency, _ in self._waiting)
        self._around.gate.look()


def _call(on_bytes: OnBytes | None, received: int, total: int | None) -> None:
    if on_bytes is None:
        return
    try:
        on_bytes(received, total)
    except Exception:
        log.exception("a listener for download progress failed")
