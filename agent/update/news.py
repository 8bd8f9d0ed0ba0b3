"""What became of updates, told once to everybody who can be told: the journal and each link that has words for it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal

from agent.system.state import State, StateError
from agent.update.slots import Result

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
    """The last result, and who knows it; on disk, so that a restart tells nobody twice."""

    def __init__(self, state: State) -> None:
        self.last: Result | None = None
        self._state = state
        self._told: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def load(self, last: Result | None) -> None:
        """Begins with what the root side has written; the journal hears of it unless it has."""
        kept = await self._state.get(TOLD_KEY, {})
        if isinstance(kept, dict):
            self._told = {name: mark for name, mark in kept.items() if isinstance(mark, str)}
        await self.look(last)

    async def look(self, last: Result | None) -> bool:
        """Takes in what the root side has written now; whether it is new."""
        if last == self.last:
            return False
        self.last = last
        if last is not None and self._told.get(_JOURNAL) != _mark(last):
            _log(last)
            self._said[_JOURNAL] = _mark(last)
            await self.told(_JOURNAL)
        return True

    def report(self, link: str) -> Report | None:
        """What is to be told on this link; None: nothing, or it has been told."""
        last = self.last
        if last is None or last.result == "refused" or self._told.get(link) == _mark(last):
            return None
        self._said[link] = _mark(last)
        return Report(last.result, last.version, last.cause, last.at)

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
