"""What a signage link keeps on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.links.signage.memory import Memory, SideState
from agent.links.signage.messages import TextOverlay
from agent.links.signage.side import Place
from agent.system.state import State


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


@pytest.fixture
def memory(state: State) -> Memory:
    return Memory("main", state)


async def test_nothing_kept(memory: Memory) -> None:
    """A fresh box."""
    assert await memory.bodies("front") == []
    assert await memory.side("front") == SideState()
    assert await memory.overlay() is None
    assert await memory.released() == set()


async def test_bodies_come_back_as_they_were(memory: Memory) -> None:
    """In their order, malformed ones too, and apart by side."""
    bodies: list[Any] = [{"id": 2, "name": "a\ud800b\0"}, None, "x", {"id": 1, "media_items": [1, {"a": 1.5}]}]
    await memory.keep_bodies("front", bodies)
    await memory.keep_bodies("back", [{"id": 9}])
    assert await memory.bodies("front") == bodies
    await memory.keep_bodies("front", bodies[:1])
    assert (await memory.bodies("front"), await memory.bodies("back")) == (bodies[:1], [{"id": 9}])


async def test_the_same_bodies_are_not_written_again(memory: Memory, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SD card is spared at each regular fetch."""
    await memory.keep_bodies("front", [{"id": 1}])
    monkeypatch.setattr(state, "write", None)
    await memory.keep_bodies("front", [{"id": 1}])


async def test_what_plays_stays_though_it_vanished(memory: Memory) -> None:
    """So that it plays on after a restart; it goes when something else plays."""
    await memory.keep_bodies("front", [{"id": "1"}, {"id": 2}, None, {"id": []}])
    await memory.keep_bodies("front", [{"id": 3}], playing=1)
    assert await memory.bodies("front") == [{"id": 3}, {"id": "1"}]
    await memory.keep_bodies("front", [{"id": 3}], playing=1)
    assert await memory.bodies("front") == [{"id": 3}, {"id": "1"}]
    await memory.keep_bodies("front", [{"id": 3}], playing=3)
    assert await memory.bodies("front") == [{"id": 3}]


@pytest.mark.parametrize("durable", [True, False])
async def test_sides_come_back_as_they_were(memory: Memory, durable: bool) -> None:
    """Ids keep their type."""
    left = SideState(chosen="spring", current=5, paused=True, place=Place(5, "x", 1.25))
    await memory.keep_side("front", left, durable=durable)
    await memory.keep_side("back", SideState(), durable=durable)
    assert (await memory.side("front"), await memory.side("back")) == (left, SideState())


@pytest.mark.parametrize("kept", [5, [], {}, {"chosen": 1, "current": 1, "paused": 1, "place": 5}, {"place": [1]}, "x", None])
async def test_an_unreadable_side_is_a_fresh_one(memory: Memory, state: State, kept: Any) -> None:
    """Whatever is found there."""
    await state.put("signage.main.front", kept)
    assert await memory.side("front") == SideState()


async def test_overlays(memory: Memory, state: State) -> None:
    """Kept, forgotten, and ignored when unreadable."""
    shown = TextOverlay(text="{Привет}", position="left", speed=7)
    await memory.keep_overlay(shown)
    assert await memory.overlay() == shown
    await memory.keep_overlay(None)
    assert await memory.overlay() is None
    unreadable: list[Any] = [5, {}, {"text": 5}, []]
    for kept in unreadable:
        await state.put("signage.main.overlay", kept)
        assert await memory.overlay() is None


async def test_released(memory: Memory, state: State) -> None:
    """Ids of both kinds; what is unreadable is nothing."""
    await memory.keep_released({3, "x", 1})
    assert await memory.released() == {3, "x", 1}
    await state.put("signage.main.released", {"a": 1})
    assert await memory.released() == set()


async def test_links_are_kept_apart(memory: Memory, state: State) -> None:
    """Two signage servers on one box."""
    other = Memory("other", state)
    await memory.keep_bodies("front", [{"id": 1}])
    await memory.keep_side("front", SideState(chosen=1), durable=True)
    await memory.keep_overlay(TextOverlay(text="x"))
    await memory.keep_released({1})
    assert (await other.bodies("front"), await other.side("front")) == ([], SideState())
    assert (await other.overlay(), await other.released()) == (None, set())


async def test_bodies_that_cannot_be_read_are_left_out(memory: Memory, state: State) -> None:
    """The other playlists play; what is fetched next replaces them all."""
    await memory.keep_bodies("front", [{"id": 1}, {"id": 2}, {"id": 3}])
    await state.write(lambda database: database.execute("UPDATE playlists SET body = '{bad' WHERE place = 1"))
    assert await memory.bodies("front") == [{"id": 1}, {"id": 3}]
    await memory.keep_bodies("front", [{"id": 1}, {"id": 2}])
    assert await memory.bodies("front") == [{"id": 1}, {"id": 2}]
    await state.write(lambda database: database.execute("DROP TABLE playlists"))
    assert await memory.bodies("front") == []
