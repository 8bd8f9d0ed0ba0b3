"""What became of updates, told once to everybody who can be told: the journal and each link that has words for it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal

from agent.system.state import State, StateError
from agent.update.slots import Result, Slots

log = logging.getLogger(__name__)

TOLD_KEY = "update.told"
_JOURNAL = ""
"""The log, among those who have been told. No link is called so."""
_MOST_LISTENERS = 64


@dataclass(frozen=True)
class Report:
    """A version that was kept, or one that was given up for the version from before."""

    result: Literal["committed", "rolled back"]
    version: str
    cause: str
    """A sentence; empty for a version that was kept."""
    at: str
    """ISO 8601, UTC."""


class News:
    """The last verdict, and who knows it; on disk, so that a restart tells nobody twice.

    `last` is the last result of any kind: a bundle that is refused does not take away from what is to be told of another one.
    """

    def __init__(self, state: State) -> None:
        self.last: Result | None = None
        self._verdict: Result | None = None
        self._state = state
        self._told: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def load(self, slots: Slots) -> None:
        """Begins with what the root side has written; the journal hears of it unless it has."""
        kept = await self._state.get(TOLD_KEY, {})
        if isinstance(kept, dict):
            self._told = {name: mark for name, mark in kept.items() if isinstance(mark, str)}
        await self.look(slots)

    async def look(self, slots: Slots) -> bool:
        """Takes in what the root side has written now; whether it is new."""
        verdict = slots.verdict
        if (slots.last_result, verdict) == (self.last, self._verdict):
            return False
        self.last, self._verdict = slots.last_result, verdict
        if verdict is not None and self._told.get(_JOURNAL) != _mark(verdict):
            _log(verdict)
            self._said[_JOURNAL] = _mark(verdict)
            await self.told(_JOURNAL)
        return True

    def report(self, link: str) -> Report | None:
        """What is to be told on this link; None: nothing, or it has been told."""
        verdict = self._verdict
        if verdict is None or verdict.result == "refused" or self._told.get(link) == _mark(verdict):
            return None
        self._said[link] = _mark(verdict)
        return Report(verdict.result, verdict.version, verdict.cause, verdict.at)

    async def told(self, link: str) -> None:
        """What `report` said last has been told on this link; on disk when this returns, if the disk can be written."""
        mark = self._said.pop(link, None)
        if mark is None:
            return
        async with self._lock:
            self._told.pop(link, None)
            self._told[link] = mark
            while len(self._told) > _MOST_LISTENERS:
                del self._told[next(iter(self._told))]
            try:
                await self._state.put(TOLD_KEY, self._told)
            except StateError as error:
                log.warning("what was told of an update is not remembered error=%s", error)


def _mark(last: Result) -> str:
    return f"{last.result} {last.digest} {last.at}"


def _log(last: Result) -> None:
    if last.result == "committed":
        log.info("update is kept version=%s", last.version)
    elif last.result == "rolled back":
        log.warning("update was taken back; the version from before runs version=%s cause=%r", last.version, last.cause)
