"""One libmpv core, driven from an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.screen.player import PLAYER_ERRORS, Event, FileEnded, FileStarted, FrameShown, Gone, Player
from tests.screen.conftest import Media


class Listened:
    """A player without output and what it says."""

    def __init__(self) -> None:
        self.events: list[Event | int] = []
        self.news = asyncio.Event()
        self.player = Player({"vo": "null", "ao": "null"}, self.hear)

    def hear(self, event: Event | int) -> None:
        """Notes an event, or an entry's number."""
        self.events.append(event)
        self.news.set()

    async def until(self, wanted: type) -> None:
        """Waits for an event of this kind."""
        async with asyncio.timeout(10):
            while not any(isinstance(event, wanted) for event in self.events):
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def listened() -> AsyncIterator[Listened]:
    """Ended with the test."""
    listened = Listened()
    yield listened
    await asyncio.to_thread(listened.player.close)


async def test_the_entry_is_known_before_anything_about_it(listened: Listened, tmp_path: Path) -> None:
    """However fast a file fails."""
    path = tmp_path / "broken"
    path.write_bytes(b"nothing")
    for _ in range(40):
        listened.events.clear()
        listened.player.load(str(path), "replace", {}, listened.hear)
        await listened.until(FileEnded)
        entry = listened.events[0]
        assert isinstance(entry, int)
        assert listened.events[1:] == [FileStarted(entry), FileEnded(entry, natural=False, error="unrecognized file format")]
    assert "Failed to recognize file format" in listened.player.complaints
    listened.player.forget_complaints()
    assert listened.player.complaints == ""


async def test_commands_and_properties(listened: Listened, media: Media) -> None:
    """Results come back; what is refused raises; what is not there is empty."""
    player = listened.player
    player.load(str(media.red_mp4), "replace", {"pause": "yes"}, listened.hear)
    await listened.until(FrameShown)
    assert await player.get("width", "video-format", "no-such-thing", "chapter") == ["640", "h264", "", ""]
    player.set("volume", 30.0)
    assert (await player.get("volume"))[0].startswith("30")
    with pytest.raises(PLAYER_ERRORS):
        await player.command("no-such-command")
    player.post("no-such-command", then=listened.hear)
    assert (await player.get("width")) == ["640"]


async def test_quitting_is_noticed(listened: Listened) -> None:
    """The core says so when it goes."""
    listened.player.post("quit")
    await listened.until(Gone)
