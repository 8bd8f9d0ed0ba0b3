"""Brings to disk, while the link runs, how each side stands and what the server has set; the newest of each kind counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from agent.links.signage.memory import Memory, SideState
from agent.links.signage.newest import Newest, Work
from agent.links.signage.side import Place, Side
from agent.system.state import StateError

log = logging.getLogger(__name__)


class Keeper:
    """The state of one link's sides. A position within an item is written every `place_s` at most (design, section 8)."""

    def __init__(self, link: str, memory: Memory, sides: Mapping[str, Side], *, place_s: float) -> None:
        self._link = link
        self._memory = memory
        self._sides = sides
        self._place_s = place_s
        self._newest = Newest()
        self._placed: dict[str, Place | None] = {}
        self._commanded: set[str] = set()
        """Sides whose state must survive a power cut."""

    async def run(self) -> None:
        """Writes what is added, for ever."""
        await self._newest.run()

    async def flush(self) -> None:
        """Writes what waits."""
        await self._newest.flush()

    async def save(self) -> None:
        """Writes what waits and where each side is; called when the agent ends."""
        await self.flush()
        for name in self._sides:
            self._commanded.add(name)
            await self._save_side(name)

    async def notice_positions(self) -> None:
        """Writes positions within an item, rarely, and only where they would be missed; for ever."""
        while True:
            await asyncio.sleep(self._place_s)
            for name, side in self._sides.items():
                place, before = side.place(_now()), self._placed.get(name)
                if place and before and abs(place.position_s - before.position_s) >= self._place_s / 2:
                    self.side(name)

    def restored(self, name: str, place: Place | None) -> None:
        """A side has been read from the disk."""
        self._placed[name] = place

    def moved(self, name: str) -> None:
        """What a side shows has changed, perhaps: a new item is written at once."""
        place, before = self._sides[name].place(_now()), self._placed.get(name)
        if place is not None and (before is None or place.playlist_id != before.playlist_id or place.media_id != before.media_id):
            self.side(name)

    def side(self, name: str, *, durable: bool = False) -> None:
        """A side is to be written soon; `durable` for what somebody commanded."""
        self._placed[name] = self._sides[name].place(_now())
        if durable:
            self._commanded.add(name)
        self.add(f"side {name}", self._save_side, name)

    def add(self, kind: str, store: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """`store(*arguments)` is to be done soon, in place of another of its kind that has not begun."""
        self._newest.add(kind, storing(self._link, store, *arguments))

    async def _save_side(self, name: str) -> None:
        side = self._sides[name]
        state = SideState(side.chosen, side.server_current, side.paused, side.place(_now()))
        durable = name in self._commanded
        self._commanded.discard(name)
        await self._memory.keep_side(name, state, durable=durable)


def storing(link: str, store: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> Work:
    """`store(*arguments)` as work whose StateError is a line in the log."""

    async def work() -> None:
        try:
            await store(*arguments)
        except StateError as error:
            log.error("%s link=%s", error, link)  # noqa: TRY400 - no traceback for a full disk

    return work


def _now() -> float:
    return asyncio.get_running_loop().time()
