"""Who has been told what became of an update."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.system.state import State
from agent.update.news import TOLD_KEY, News
from agent.update.slots import Result, Slots
from tests.update.roothand import AT

COMMITTED = Result("committed", "2.0", "a" * 64, "", AT)
BACK = Result("rolled back", "3.0", "b" * 64, "no server was reached", AT)
REFUSED = Result("refused", "4.0", "c" * 64, "there is no room", AT)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


async def loaded(state: State, last: Result | None) -> News:
    news = News(state)
    await news.load(Slots(last_result=last))
    return news


async def test_each_link_once(state: State) -> None:
    """Over restarts, and again when there is something new."""
    news = await loaded(state, COMMITTED)
    assert news.report("a") == news.report("a")
    await news.told("a")
    news = await loaded(state, COMMITTED)
    assert news.report("a") is None
    assert news.report("b") is not None
    assert await news.look(Slots(last_result=BACK))
    assert not await news.look(Slots(last_result=BACK))
    report = news.report("a")
    assert report is not None
    assert (report.result, report.version, report.cause, report.at) == ("rolled back", "3.0", "no server was reached", AT)


async def test_what_is_told_while_something_new_comes(state: State) -> None:
    """The new one is still to be told."""
    news = await loaded(state, COMMITTED)
    news.report("a")
    await news.look(Slots(last_result=BACK))
    await news.told("a")
    assert news.report("a") is not None


async def test_a_refusal_hides_nothing(state: State) -> None:
    """A link that was away when a version was taken back hears of it after another bundle was refused, and once."""
    slots = Slots(last_result=REFUSED, last_verdict=BACK)
    news = News(state)
    await news.load(slots)
    assert news.last == REFUSED
    report = news.report("a")
    assert report is not None
    assert (report.result, report.version) == ("rolled back", "3.0")
    await news.told("a")
    assert await news.look(replace(slots, last_result=replace(REFUSED, version="5.0")))
    assert news.report("a") is None


async def test_nothing_to_tell(state: State) -> None:
    """Neither before the first update nor of one that was refused: whoever sent that has been answered."""
    for last in (None, REFUSED):
        assert (await loaded(state, last)).report("a") is None
    await (await loaded(state, COMMITTED)).told("never asked")


async def test_the_journal_once(state: State, caplog: pytest.LogCaptureFixture) -> None:
    """A version that was kept at INFO, one that was taken back at WARNING with the cause."""
    caplog.set_level(logging.INFO)
    for last in (COMMITTED, COMMITTED, BACK, BACK, None, REFUSED):
        await loaded(state, last)
    said = [(record.levelname, record.message) for record in caplog.records]
    assert [level for level, _ in said] == ["INFO", "WARNING"]
    assert "version=3.0 cause='no server was reached'" in said[1][1]


@pytest.mark.parametrize("kept", [None, [], "x", {"a": 5}])
async def test_what_another_version_may_have_kept(state: State, kept: object) -> None:
    """Nonsense means that nobody has been told."""
    await state.put(TOLD_KEY, kept)
    assert (await loaded(state, COMMITTED)).report("a") is not None


async def test_names_are_bounded(state: State) -> None:
    """Links come and go over the years; the oldest are forgotten."""
    news = await loaded(state, COMMITTED)
    for number in range(200):
        news.report(f"link {number}")
        await news.told(f"link {number}")
    assert len(await state.get(TOLD_KEY)) <= 64
    assert news.report("link 199") is None
