"""Work of which only the newest counts."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from agent.links.signage.newest import Newest, Work
from tests.box import until


async def test_the_newest_of_each_kind_counts(caplog: pytest.LogCaptureFixture) -> None:
    """What comes while work is under way is done after it, once per kind; work that fails keeps nothing from being done."""
    done: list[str] = []
    gate = asyncio.Event()

    def work(name: str) -> Work:
        async def do() -> None:
            if name == "first":
                await gate.wait()
            done.append(name)
            if name == "a9":
                raise ZeroDivisionError("on purpose")

        return do

    newest = Newest()
    running = asyncio.create_task(newest.run())
    newest.add("a", work("first"))
    await asyncio.sleep(0)
    for number in range(10):
        newest.add("a", work(f"a{number}"))
        newest.add("b", work(f"b{number}"))
    gate.set()
    await until(lambda: len(done) == 3)
    newest.add("a", work("last"))
    await until(lambda: len(done) == 4)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert done == ["first", "a9", "b9", "last"]
    assert "not done: a" in caplog.text


async def test_flush() -> None:
    """Before the end what is due is done."""
    done: list[int] = []

    async def do() -> None:
        done.append(1)

    newest = Newest()
    newest.add("a", do)
    await newest.flush()
    await newest.flush()
    assert done == [1]
