"""A server, a state file and stores for the tests of the media store."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from agent.media import MediaStore, Timers
from agent.system.state import State
from tests.media.origin import Origin

MakeStore = Callable[..., Coroutine[Any, Any, MediaStore]]

QUICK = dataclasses.replace(
    Timers(),
    response_s=5.0,
    stall_s=5.0,
    retry_first_s=0.01,
    retry_last_s=0.02,
    progress_s=0.0,
    verify_after_s=0.0,
    verify_round_s=0.05,
    verify_bytes_s=1e12,
    upkeep_s=0.05,
)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """The configured server."""
    server = Origin()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def foreign() -> AsyncIterator[Origin]:
    """Somebody else's server."""
    server = Origin()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    """An open state file."""
    opened = await State.open(tmp_path / "state.db")
    yield opened
    await opened.close()


@pytest.fixture
async def make_store(state: State, tmp_path: Path) -> AsyncIterator[MakeStore]:
    """Opens stores over the same state file; timers and limits as given, else quick and wide. All are closed at the end."""
    stores: list[MediaStore] = []

    async def make(directory: Path | None = None, *, lost: list[str] | None = None, **options: Any) -> MediaStore:
        timers = dataclasses.replace(QUICK, **options.pop("timers", {}))
        limits = {"quota_bytes": 1 << 40, "reserve_bytes": 0, "parallel": 3, **options}
        store = MediaStore(directory or tmp_path / "media", state, timers=timers, **limits)
        stores.append(store)
        if lost is not None:
            store.on_lost(lost.append)
        await store.start()
        return store

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
async def store(make_store: MakeStore) -> MediaStore:
    """A store with wide limits."""
    return await make_store()
