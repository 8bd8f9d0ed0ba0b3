"""The ledger of jobs on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.links.conversion import jobs as ledger
from agent.links.conversion.choice import Mark
from agent.links.conversion.jobs import Jobs, Row
from agent.system.state import State, StateError


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


async def load(state: State, link: str = "films", server: str = "https://films") -> Jobs:
    jobs = Jobs(link, server, state)
    await jobs.load()
    return jobs


async def test_nothing_kept(state: State) -> None:
    """A fresh box has never looked."""
    jobs = await load(state)
    assert (jobs.rows, jobs.mark, jobs.active()) == ({}, None, [])


async def test_rows_come_back(state: State) -> None:
    """In the order they changed, with what is still to be done; and how far the list was seen."""
    jobs = await load(state)
    await jobs.admit([Row("a", "A"), Row("b", "B"), Row("c", "C")], Mark(5.0, ("c", "b", "a"), newest=True))
    await jobs.set("a", "ready", size_bytes=7)
    await jobs.set("b", "played")
    again = await load(state)
    assert [(row.job_id, row.title, row.state, row.size_bytes) for row in again.rows.values()] == [
        ("c", "C", "followed", None),
        ("a", "A", "ready", 7),
        ("b", "B", "played", None),
    ]
    assert [row.job_id for row in again.active()] == ["c", "a"]
    assert again.mark == Mark(5.0, ("c", "b", "a"), newest=True)


async def test_links_and_servers_are_apart(state: State) -> None:
    """A link that is given another server begins anew."""
    jobs = await load(state)
    await jobs.admit([Row("a", "A")], Mark(1.0, ("a",)))
    for other in (await load(state, link="other"), await load(state, server="https://other")):
        assert (other.rows, other.mark) == ({}, None)


async def test_a_disk_that_takes_nothing(state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The rows count all the same, and are written with the next change that succeeds; the log says it once."""
    jobs = await load(state)
    write = State.write

    async def refuse(*_: object, **__: object) -> None:
        raise StateError("disk full")

    monkeypatch.setattr(State, "write", refuse)
    await jobs.admit([Row("a", "A")], Mark(1.0, ("a",)))
    await jobs.set("a", "played")
    assert jobs.rows["a"].state == "played"
    assert [record.levelname for record in caplog.records if "not kept" in record.message] == ["WARNING", "DEBUG"][:1]
    monkeypatch.setattr(State, "write", write)
    await jobs.flush()
    again = await load(state)
    assert (again.rows["a"].state, again.mark) == ("played", Mark(1.0, ("a",)))


async def test_it_does_not_grow_for_ever(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is settled the newest stay; what is still to be done stays in any case."""
    monkeypatch.setattr(ledger, "ROWS_KEPT", 3)
    jobs = await load(state)
    await jobs.admit([Row("active", "")])
    for number in range(10):
        await jobs.set(str(number), "played")
    assert list((await load(state)).rows) == ["active", "7", "8", "9"]
    assert list(jobs.rows) == ["active", "7", "8", "9"]


async def test_the_clock_is_set_back(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the rows stays theirs."""
    jobs = await load(state)
    await jobs.set("a", "played")
    monkeypatch.setattr("agent.links.conversion.jobs.time.time", lambda: 0.0)
    await jobs.set("b", "played")
    assert list((await load(state)).rows) == ["a", "b"]


async def test_rows_and_marks_of_another_version(state: State) -> None:
    """What cannot be understood is left alone."""
    await state.put("conversion.films.seen", {"server": "https://films", "ids": 7})
    row = "('films', 'https://films', 'a', '', 'dancing', 1, 1.0)"
    await state.write(lambda database: database.execute(f"INSERT INTO conversion_jobs VALUES {row}"))  # noqa: S608 - its own
    jobs = await load(state)
    assert (jobs.rows, jobs.mark) == ({}, None)
