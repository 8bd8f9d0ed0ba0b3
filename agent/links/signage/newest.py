"""Work of which only the newest counts: a value to set, a state to keep."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[object]]


class Newest:
    """Does one piece of work after the other; one that has not begun is replaced by a newer one of its kind."""

    def __init__(self) -> None:
        self._due: dict[str, Work] = {}
        self._event = asyncio.Event()

    def add(self, kind: str, work: Work) -> None:
        """`work` is to be done soon, in place of any other of this kind that has not begun."""
        self._due.pop(kind, None)
        self._due[kind] = work
        self._event.set()

    async def run(self) -> None:
        """Does what is added, for ever. Work that fails is logged and over."""
        while True:
            await self._event.wait()
            self._event.clear()
            await self.flush()

    async def flush(self) -> None:
        """Does what is due now."""
        while self._due:
            kind = next(iter(self._due))
            work = self._due.pop(kind)
            try:
                await work()
            except Exception:
                log.exception("not done: %s", kind)
