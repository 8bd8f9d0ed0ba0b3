"""The film's part in the demo: it is handed to the converter, seen coming, and played over the playlist, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from tests.demo import DemoError, say

FILM_LINK = "films"
SHORTEST_S = 30.0
"""A demo that ends by itself sooner than this is one without the film."""
NEEDS_S = 14.0
"""From the upload until the playlist has the screen again; a demo with less time left goes without the film, too."""
AFTER_S = 9.0
"""From the first picture to the upload: the feed is about to go, so that the film is ready when the playlist is back."""
AFTER_ENDLESS_S = 64.0
"""The same in a demo without an end."""


class Film:
    """What the converter does, and what came of it on the screen."""

    def __init__(self, address: str, playlist_link: str, *, seconds: float | None) -> None:
        self.acts = seconds is None or seconds >= SHORTEST_S
        self._address = address
        self._playlist = playlist_link
        self._end: float | None = None
        self._seen: list[tuple[str, int | None]] = []
        """Program and place in it, whenever one of them changed."""
        self._percents: set[float] = set()
        """Between 0 and 100, as the agent said them."""
        self._jobs: list[dict[str, Any]] = []
        """As the server knows them, the newest first."""
        self._complaints: list[str] = []

    def begin(self, seconds: float | None) -> None:
        """The agent has just been started; the demo ends so many seconds from now."""
        self._end = None if seconds is None else time.monotonic() + seconds

    async def play(self, presented: asyncio.Event) -> None:
        """The story, from the moment that the playlist is on the screen."""
        if not self.acts:
            return
        await presented.wait()
        await asyncio.sleep(AFTER_ENDLESS_S if self._end is None else AFTER_S)
        if self._end is not None and self._end - time.monotonic() < NEEDS_S:
            say("no time is left for the film; --seconds 40 has it")
            self.acts = False
            return
        say("a film is handed to the converter; it comes over the playlist when it is done")
        await self._upload()
        if self._end is None:
            say("to have another film: drop one on the console page")

    def look(self, status: Mapping[str, Any]) -> None:
        """Takes note of the agent's status."""
        for screen in status["screens"].values():
            now = (screen["program"], screen["media_index"])
            if (
                screen["state"] == "playing"
                and now[0] in (self._playlist, FILM_LINK)
                and (not self._seen or self._seen[-1] != now)
            ):
                self._seen.append(now)
        for job in status.get("jobs", []):
            percent = job["percent"]
            if job["state"] == "processing" and percent is not None and 0 < percent < 100:
                self._percents.add(percent)

    def hear(self, jobs: Sequence[dict[str, Any]], complaints: Sequence[str]) -> None:
        """Takes note of what the server knows."""
        self._jobs, self._complaints = list(jobs), list(complaints)

    def faults(self) -> list[str]:
        """What is not as promised; empty: the film was seen coming, came once, and the playlist went on where it was."""
        if not self.acts:
            return []
        if self._complaints or not self._jobs:
            return [f"the converter complains: {self._complaints or 'nothing was uploaded'}"]
        job = self._jobs[-1]
        if job["status"] != "completed" or job["download_count"] != 1 or not job["downloads"][0]["whole"]:
            return [f"the film was not fetched as it should be: {job}"]
        if not job["opened"] or len(self._percents) < 2:
            return [f"the film was not seen coming: {job['opened']} sockets, the agent said {sorted(self._percents)} %"]
        places = [place for place, (program, _) in enumerate(self._seen) if program == FILM_LINK]
        if len(places) != 1 or places[0] in (0, len(self._seen) - 1):
            return [f"the film did not come once, between two parts of the playlist: {self._seen}"]
        was, came_back = self._seen[places[0] - 1][1], self._seen[places[0] + 1][1]
        last = max(place or 0 for program, place in self._seen if program == self._playlist)
        follows = was is not None and came_back == (was + 1) % (1 + last)
        if came_back != was and not follows:  # the item may have ended between two looks
            return [f"the playlist was at {was} when the film came, and came back at {came_back}"]
        return []

    async def _upload(self) -> None:
        """As the button of the console page. Raises DemoError."""
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self._address}/console/socket", max_msg_size=0) as socket,
        ):
            await socket.send_json({"id": 1, "service": "conversion", "command": "sample", "args": {}})
            async for frame in socket:
                answer = frame.json()
                if answer["type"] == "done":
                    if answer["error"]:
                        raise DemoError(f"the converter: {answer['error']}")
                    return
