"""The root side as the daemon sees it: what was handed to it, what it has written down, and what comes of both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent.media.writer import completed
from agent.system.state import State, StateError
from agent.update import handover as handing
from agent.update.errors import UpdateError
from agent.update.handover import Handover, Outcome, outcome
from agent.update.news import News
from agent.update.probation import Before
from agent.update.release import Release
from agent.update.slots import Candidate, Slots

if TYPE_CHECKING:
    from agent.update.intake import Intake

log = logging.getLogger(__name__)
T = TypeVar("T")

INCOMING = "incoming"
BEFORE_KEY, HANDOVER_KEY = "update.before", "update.handover"


@dataclass(frozen=True, slots=True)
class RootTimers:
    """Seconds."""

    look_s: float = 2.0
    """Between two looks at the record while something is expected there."""
    install_s: float = 900.0
    """For the root side to begin with a bundle."""
    working_s: float = 3600.0
    """For it to end, once it has begun."""
    vanished_s: float = 30.0
    """A bundle that has gone without a word has failed by then."""
    restart_s: float = 5.0
    """For whoever asked to tell of the success, before the agent restarts by itself."""


TIMERS = RootTimers()


class RootSide:
    """Hands bundles over, one at a time, for the process that runs `release`.

    `before` says what works now; it is kept for the next version. `on_failure` gets who asked, the version, its digest and why
    nothing came of it. `on_switch` is called, after a while, when the agent has to restart because another version is to run;
    `on_change` after each change of what can be seen here.
    """

    def __init__(
        self,
        release: Release,
        state: State,
        state_dir: Path,
        *,
        before: Callable[[], Before],
        on_failure: Callable[[str, str, str, str], None],
        on_switch: Callable[[], None],
        on_change: Callable[[], None],
        timers: RootTimers = TIMERS,
    ) -> None:
        self.news = News(state)
        self.slots = Slots()
        self.handover: Handover | None = None
        self.switched = ""
        """The version that the next start will run, if that is not this one."""
        self.release = release
        self._state = state
        self._directory = state_dir / INCOMING
        self._before = before
        self._on_failure = on_failure
        self._on_switch = on_switch
        self._on_change = on_change
        self._timers = timers
        self._current = ""
        self._handed: Handover | None = None
        """The newest one that is known from its beginning, also when it has come to its end: what worked then is kept."""
        self._handed_at = 0.0
        self._vanished_at: float | None = None
        self._result: asyncio.Future[str] | None = None
        """Whoever waits for what becomes of the bundle."""
        self._nudge = asyncio.Event()

    @property
    def own_candidate(self) -> Candidate | None:
        """The candidate of the record, if it is what runs here."""
        candidate = self.slots.candidate
        own = candidate is not None and (candidate.release, candidate.digest) == (self.release.name, self.release.digest)
        return candidate if own else None

    async def load(self) -> Before:
        """Takes up what was left by an earlier run; what worked before the update, if this version is new."""
        waiting = await _in_thread(lambda: handing.waiting(self._directory))
        await self._read()
        self.handover = self._handed = Handover.from_json(await self._state.get(HANDOVER_KEY))
        if self.handover is None and waiting:
            self.handover = Handover(waiting[-1], "", waiting[-1].partition(".")[0], "", utc_now())
        self._handed_at = time.monotonic()
        await self.news.load(self.slots)
        return Before.from_json(await self._state.get(BEFORE_KEY))

    async def hand_over(self, intake: Intake, handover: Handover) -> asyncio.Future[str]:
        """Gives a checked bundle to the root side; the version, once it has been switched to.

        Raises UpdateError, also in the future. Whoever has the future may cancel it: then nobody waits.
        """
        try:
            await self._state.put(BEFORE_KEY, self._before().as_json())
            await self._state.put(HANDOVER_KEY, handover.as_json())
        except StateError as error:
            raise UpdateError(str(error)) from None
        result = asyncio.get_running_loop().create_future()
        self.handover = self._handed = handover
        self._handed_at, self._result = time.monotonic(), result
        try:
            await _in_thread(lambda: handing.hand_over(intake.path, handover))
        except OSError as error:
            self.handover = None
            raise UpdateError(f"the update could not be stored: {error.strerror or type(error).__name__}") from None
        except asyncio.CancelledError:
            result.cancel()
            if not handing.is_there(self._directory, handover):
                self.handover = None
            raise
        finally:
            if self.handover is not None:
                intake.release()
            self._nudge.set()
            self._on_change()
        return result

    def look(self) -> None:
        """The root side has done something."""
        self._nudge.set()

    async def run(self) -> None:
        """Looks at the record when told to, and from time to time while something is expected there; for ever."""
        while not self.switched:
            expected = self.handover is not None or self.slots.candidate is not None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timers.look_s if expected else None):
                    await self._nudge.wait()
            self._nudge.clear()
            await self._look()
        if self._result is not None and not self._result.cancelled():
            await asyncio.sleep(self._timers.restart_s)
        self._on_switch()

    async def _look(self) -> None:
        handover, before = self.handover, (self.slots, self._current)
        there = handover is not None and await _in_thread(lambda: handing.is_there(self._directory, handover))
        await self._read()
        told = await self.news.look(self.slots)
        if handover is not None:
            await self._see_through(handover, there=there)
        elif (self.slots, self._current) != before:
            await self._switch()
        if told or (self.slots, self._current) != before:
            self._on_change()

    async def _see_through(self, handover: Handover, *, there: bool) -> None:
        """Brings a handover to its end, if there is one to be seen."""
        found = outcome(handover, there=there, slots=self.slots, current=self._current)
        if found is None:
            found = self._overdue(handover, there=there, now=time.monotonic())
            if found is not None and there:
                try:
                    await _in_thread(lambda: handing.take_back(self._directory, handover))
                except OSError as error:
                    log.warning("update cannot be taken back name=%s error=%s", handover.file, error.strerror)
        if found is None:
            return
        await self._keep(HANDOVER_KEY, None)
        if found.cause:
            self.handover = self._vanished_at = None
            if not found.settled:
                self._on_failure(handover.by, found.version, handover.digest, found.cause)
            if self._result is not None and not self._result.done():
                self._result.set_exception(UpdateError(found.cause))
        else:
            await self._switch()
            self.handover = self._vanished_at = None
        self._on_change()

    def _overdue(self, handover: Handover, *, there: bool, now: float) -> Outcome | None:
        candidate = self.slots.candidate
        if candidate is not None and handover.is_of(candidate.digest):
            return None  # decided, and switched to by whoever comes first
        failed = "the update was not installed: "
        if not there:
            self._vanished_at = self._vanished_at or now
            gone = now - self._vanished_at > self._timers.vanished_s
            return Outcome(handover.version, f"{failed}the bundle went without a word") if gone else None
        self._vanished_at = None
        begun = any(handover.is_of(key.partition(".")[0]) for key in self.slots.attempts)
        limit_s = self._timers.working_s if begun else self._timers.install_s
        if now - self._handed_at <= limit_s:
            return None
        what = "come to an end" if begun else "begin"
        unit = "signage-agent-update.service" if begun else "signage-agent-update.path"
        sentence = f"{failed}the installer did not {what} within {limit_s / 60:.0f} min; see systemctl status {unit}"
        return Outcome(handover.version, sentence)

    async def _switch(self) -> None:
        """Notes that another version is to run, if that is so."""
        candidate = self.slots.candidate
        if candidate is None or candidate.release != self._current or candidate.release == self.release.name:
            return
        before = self._before()
        if self._handed is not None and self._handed.is_of(candidate.digest):
            before = Before.from_json(await self._state.get(BEFORE_KEY)).united(before)
        await self._keep(BEFORE_KEY, before.as_json())
        log.info("new version is installed version=%s", candidate.version)
        self.switched = candidate.version
        if self._result is not None and not self._result.done():
            self._result.set_result(candidate.version)

    async def _read(self) -> None:
        self.slots, self._current = await _in_thread(lambda: (self.release.slots(), self.release.current()))

    async def _keep(self, key: str, value: Any) -> None:
        try:
            await self._state.put(key, value)
        except StateError as error:
            log.warning("update is not remembered setting=%s error=%s", key, error)


def utc_now() -> str:
    """The wall clock, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _in_thread(function: Callable[[], T]) -> T:
    return await completed(asyncio.get_running_loop().run_in_executor(None, function))
