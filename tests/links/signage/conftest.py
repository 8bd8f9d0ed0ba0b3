"""A server, boxes, and back-off that does not keep tests waiting."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.links import backoff
from agent.links.signage import link as signage_link
from tests.box import Box
from tests.servers import PLAYLISTS_PATH, MediaFile, SignageServer, item, playlist

MakeBox = Callable[..., Box]
MakeFile = Callable[..., MediaFile]
Playing = Callable[..., AbstractAsyncContextManager[Box]]


def fetches(server: SignageServer) -> int:
    """How often playlists were asked for."""
    return len(server.requests_to(PLAYLISTS_PATH))


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """First and doubling waits are short; a refusal is as slow as ever."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)
    monkeypatch.setattr(signage_link, "Backoff", lambda _spread_s: backoff.Backoff(0.02))


@pytest.fixture
async def server() -> AsyncIterator[SignageServer]:
    """The backend, empty."""
    async with SignageServer() as server:
        yield server


@pytest.fixture
def make_box(tmp_path: Path, server: SignageServer) -> MakeBox:
    """Boxes that keep their state in one directory."""

    def make(**options: Any) -> Box:
        return Box(tmp_path, server, **options)

    return make


@pytest.fixture
def box(make_box: MakeBox) -> Box:
    """A box, not started."""
    return make_box()


@pytest.fixture
def file(server: SignageServer) -> MakeFile:
    """Makes files on the server, each with content of its own: `file("a.png", 2000)`."""
    numbers = itertools.count()

    def make(name: str, size: int = 300) -> MediaFile:
        seed = f"{next(numbers)} {name} ".encode()
        return server.media.add(name, (seed * (size // len(seed) + 1))[:size])

    return make


@pytest.fixture
def playing(server: SignageServer, make_box: MakeBox, file: MakeFile) -> Playing:
    """Boxes with two playlists on disk: 101 (a, b, c; media 1 to 3) is on, 102 (d, e; media 4 and 5) is not."""

    @asynccontextmanager
    async def start(**options: Any) -> AsyncIterator[Box]:
        entries = [item(file(f"{name}.png"), media_id=number) for number, name in enumerate("abcde", start=1)]
        server.offer([playlist(101, entries[:3]), playlist(102, entries[3:])])
        async with make_box(**options) as box:
            await box.ready(101, 102)
            await box.shows("a.png")
            yield box

    return start
