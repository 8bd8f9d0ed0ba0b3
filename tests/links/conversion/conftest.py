"""A server, boxes with a link to it, and back-off that does not keep tests waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.links import backoff
from agent.links.conversion import delivery, sockets
from tests.links.conversion.standins import FakeServer, FilmBox

MakeBox = Callable[..., FilmBox]


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """First and doubling waits are short; a refusal is as slow as ever."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)
    monkeypatch.setattr(delivery, "Backoff", lambda _spread_s: backoff.Backoff(0.02))
    monkeypatch.setattr(sockets, "SPREAD_S", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """The conversion server, empty."""
    async with FakeServer() as server:
        yield server


@pytest.fixture
def make_box(tmp_path: Path, server: FakeServer) -> MakeBox:
    """Boxes that keep their state in one directory."""

    def make(**options: Any) -> FilmBox:
        return FilmBox(tmp_path, options.pop("server", server), **options)

    return make


@pytest.fixture
def box(make_box: MakeBox) -> FilmBox:
    """A box, not started."""
    return make_box()
