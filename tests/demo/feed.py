"""The pixel feed's part in the demo: its server keeps still, sends for a while, over the playlist, and is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from tests.demo import DemoError, say

FEED_ID = "de30feed"
FEED_LINK = "feed"
HOLD_S = 3
"""The agent hands the screen back so long after the feed's server has gone."""
SHORTEST_S = 24.0
"""A demo that ends by itself sooner than this is one without the feed."""
BEFORE_S = 4.0
STAYS_S = 8.0
"""In a demo that ends by itself; without an end everything takes four times as long."""


class Feed:
    """What the server does, and what came of it on the screen."""

    def __init__(self, address: str, playlist_link: str, *, seconds: float | None) -> None:
        self.acts = seconds is None or seconds >= SHORTEST_S
        self._address = address
        self._playlist = playlist_link
        self._slower = 4.0 if seconds is None else 1.0
        self._seen: list[tuple[str, int | None]] = []
        """Program and place in it, whenever one of them changed."""
        self._display: dict[str, Any] = {}

    async def prepare(self) -> None:
        """Before the agent starts: it will be connected, and nothing comes."""
        await self._tell("pause", value=True)

    async def play(self, presented: asyncio.Event) -> None:
        """The story, from the moment that the playlist is on the screen."""
        if not self.acts:
            return
        await presented.wait()
        await asyncio.sleep(BEFORE_S * self._slower)
        say("the feed's server begins to send")
        await self._tell("pause", value=False)
        await asyncio.sleep(STAYS_S * self._slower)
        say(f"the feed's server goes; {HOLD_S} s later the playlist has the screen again")
        await self._tell("leave", value=True)
        if self._slower > 1:
            say("to have the feed again: the switch Server of its card on the console page")

    def look(self, screens: dict[str, Any]) -> None:
        """Takes note of the agent's status."""
        for screen in screens.values():
            now = (screen["program"], screen["media_index"])
            ours = now[0] in (self._playlist, FEED_LINK)
            if screen["state"] == "playing" and ours and (not self._seen or self._seen[-1] != now):
                self._seen.append(now)

    def hear(self, displays: list[dict[str, Any]]) -> None:
        """Takes note of what the server knows."""
        self._display = next((one for one in displays if one["device_id"] == FEED_ID), self._display)

    def faults(self) -> list[str]:
        """What is not as promised; empty: the feed came, went, and the playlist went on where it was."""
        if not self.acts:
            return []
        if self._display.get("complaints") or not self._display.get("acks"):
            return [f"the agent did not acknowledge as it should: {self._display}"]
        programs = [program for program, _ in self._seen]
        if FEED_LINK not in programs:
            return [f"the feed never had the screen: {self._seen}"]
        first, last = programs.index(FEED_LINK), len(programs) - programs[::-1].index(FEED_LINK) - 1
        before, after = self._seen[:first], self._seen[last + 1 :]
        if not before or not after or before[-1][0] != self._playlist or after[0][0] != self._playlist:
            return [f"the feed was not between two parts of the playlist: {self._seen}"]
        places = {place for program, place in self._seen if program == self._playlist}
        was, came_back = before[-1][1], after[0][1]
        follows = was is not None and came_back == (was + 1) % (1 + max(place or 0 for place in places))
        if came_back != was and not follows:  # the item may have ended between two looks
            return [f"the playlist was at {was} and came back at {came_back}"]
        return []

    async def _tell(self, command: str, **args: Any) -> None:
        """A command, as the console page gives it. Raises DemoError."""
        message = {"id": 1, "service": "tronbyt", "command": command, "args": {"device_id": FEED_ID, **args}}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self._address}/console/socket", max_msg_size=0) as socket,
        ):
            await socket.send_json(message)
            async for frame in socket:
                answer = frame.json()
                if answer["type"] == "done":
                    if answer["error"]:
                        raise DemoError(f"the feed's server: {answer['error']}")
                    return
