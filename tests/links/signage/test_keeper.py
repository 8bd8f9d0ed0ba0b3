"""When the state of a signage link's sides is written."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.links.signage.keeper import Keeper
from agent.links.signage.memory import Memory, SideState
from agent.links.signage.side import Place, Side
from agent.stage.playlist_program import PlaylistProgram
from agent.system.state import State, StateError


class PlacedSide(Side):
    """One that is where the test says."""

    at: Place | None = None

    def place(self, now: float) -> Place | None:
        return self.at


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    state = await State.open(tmp_path / "state.db")
    yield Memory("main", state)
    await state.close()


@pytest.fixture
def side() -> PlacedSide:
    program = PlaylistProgram("main", 10, itertools.count(1))
    return PlacedSide("front", program, path_of=lambda _media: "", is_busy=lambda _id: False)


@pytest.fixture
def keeper(memory: Memory, side: PlacedSide) -> Keeper:
    return Keeper("main", memory, {"front": side}, place_s=30.0)


async def test_a_new_item_is_written_and_the_same_one_is_not(keeper: Keeper, memory: Memory, side: PlacedSide) -> None:
    """The position that merely moved on within an item spares the card."""
    side.at = Place(1, "a", 0.0)
    keeper.restored("front", side.at)
    side.at = Place(1, "a", 5.0)
    keeper.moved("front")
    await keeper.flush()
    assert await memory.side("front") == SideState()
    side.at = Place(1, "b", 0.0)
    keeper.moved("front")
    await keeper.flush()
    assert (await memory.side("front")).place == Place(1, "b", 0.0)


async def test_only_the_newest_of_a_kind_is_written(keeper: Keeper) -> None:
    """A slider that is dragged costs one write for many values."""
    written: list[int] = []

    async def store(value: int) -> None:
        written.append(value)

    for value in range(100):
        keeper.add("value", store, value)
    await keeper.flush()
    assert written == [99]


async def test_a_full_disk_is_a_line_in_the_log(keeper: Keeper, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be written keeps nothing else from being written."""
    written: list[str] = []

    async def full() -> None:
        raise StateError("disk full")

    async def store() -> None:
        written.append("other")

    keeper.add("one", full)
    keeper.add("other", store)
    with caplog.at_level(logging.ERROR):
        await keeper.flush()
    assert written == ["other"]
    assert caplog.messages == ["disk full link=main"]


async def test_the_end_writes_where_each_side_is(keeper: Keeper, memory: Memory, side: PlacedSide) -> None:
    """After an orderly end the item goes on at its second."""
    side.at = Place(1, "a", 12.5)
    await keeper.save()
    assert (await memory.side("front")).place == Place(1, "a", 12.5)
