"""What a signage link keeps on disk: its playlists as last fetched, its choice, its place, its overlay."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agent.links.signage.messages import Id, TextOverlay, to_id
from agent.links.signage.side import Place
from agent.system.state import State, StateError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SideState:
    """One side as it was left."""

    chosen: Id | None = None
    """The last switch."""
    current: Id | None = None
    """What the server last called the current playlist."""
    paused: bool = False
    place: Place | None = None


class Memory:
    """The state of one link. Every write may raise StateError."""

    def __init__(self, link: str, state: State) -> None:
        self._link = link
        self._state = state

    async def bodies(self, side: str) -> list[Any]:
        """The playlists of a side as last fetched, without what cannot be read any more."""
        query = "SELECT body FROM playlists WHERE link = ? AND side = ? ORDER BY place"
        try:
            rows = await self._state.read(lambda database: database.execute(query, (self._link, side)).fetchall())
        except StateError as error:
            log.warning("playlists that were kept are not readable link=%s side=%s error=%s", self._link, side, error)
            return []
        bodies = []
        for (body,) in rows:
            try:
                bodies.append(json.loads(body))
            except (ValueError, TypeError, RecursionError) as error:
                log.warning("a playlist that was kept is not readable link=%s side=%s error=%s", self._link, side, error)
        return bodies

    async def keep_bodies(self, side: str, bodies: Iterable[Any], playing: Id | None = None) -> None:
        """Replaces them; writes nothing if they are the same. What is `playing` stays though the server no longer has it."""
        bodies, before = list(bodies), await self.bodies(side)
        if playing is not None and not any(_has_id(body, playing) for body in bodies):
            bodies += [body for body in before if _has_id(body, playing)]
        if bodies == before:
            return
        rows = [(self._link, side, place, json.dumps(body)) for place, body in enumerate(bodies)]

        def replace(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM playlists WHERE link = ? AND side = ?", (self._link, side))
            database.executemany("INSERT INTO playlists (link, side, place, body) VALUES (?, ?, ?, ?)", rows)

        await self._state.write(replace)

    async def side(self, side: str) -> SideState:
        """A side as it was left; a fresh one if nothing usable was kept."""
        kept = await self._state.get(self._key(side))
        if not isinstance(kept, dict):
            return SideState()
        try:
            place = kept["place"]
            return SideState(kept["chosen"], kept["current"], bool(kept["paused"]), None if place is None else Place(*place))
        except (KeyError, TypeError):
            log.warning("what was kept of a side is not readable link=%s side=%s", self._link, side)
            return SideState()

    async def keep_side(self, side: str, state: SideState, *, durable: bool) -> None:
        """`durable` for what somebody commanded; not for a position that merely moved on."""
        place = state.place
        kept = {
            "chosen": state.chosen,
            "current": state.current,
            "paused": state.paused,
            "place": None if place is None else [place.playlist_id, place.media_id, place.position_s],
        }
        await self._state.put(self._key(side), kept, durable=durable)

    async def overlay(self) -> TextOverlay | None:
        """The text bar that was shown."""
        kept = await self._state.get(self._key("overlay"))
        try:
            return None if kept is None else TextOverlay.model_validate(kept)
        except ValueError:
            return None

    async def keep_overlay(self, overlay: TextOverlay | None) -> None:
        """Keeps or forgets it."""
        await self._state.put(self._key("overlay"), None if overlay is None else overlay.model_dump())

    async def released(self) -> set[Id]:
        """Playlists whose files were cleaned up."""
        kept = await self._state.get(self._key("released"), [])
        return {entry for entry in kept if isinstance(entry, int | str)} if isinstance(kept, list) else set()

    async def keep_released(self, released: set[Id]) -> None:
        """Keeps which they are."""
        await self._state.put(self._key("released"), sorted(released, key=str))

    def _key(self, what: str) -> str:
        return f"signage.{self._link}.{what}"


def _has_id(body: Any, playlist_id: Id) -> bool:
    try:
        return isinstance(body, dict) and to_id(body.get("id")) == playlist_id
    except ValueError:
        return False
