"""Work on one thing, one piece after the other."""

from __future__ import annotations

import asyncio

import pytest

from agent.hardware.turns import Turns
from agent.system.state import StateError


async def test_in_the_order_asked_for() -> None:
    """A slow piece of work is not overtaken."""
    turns, done = Turns(), []
    running = asyncio.create_task(turns.run())

    async def work(number: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        done.append(number)
        return number

    results = await asyncio.gather(*(turns.do(lambda n=n: work(n, 0.02 / n)) for n in (1, 2, 3)))  # type: ignore[misc]
    assert done == results == [1, 2, 3]
    running.cancel()


async def test_a_failure_is_the_callers() -> None:
    """What a piece of work raises reaches its caller; the next one runs."""
    turns = Turns()
    running = asyncio.create_task(turns.run())

    async def fails() -> None:
        raise StateError("disk full")

    async def works() -> str:
        return "done"

    with pytest.raises(StateError, match="disk full"):
        await turns.do(fails)
    assert await turns.do(works) == "done"
    running.cancel()


async def test_a_cancelled_caller_does_not_stop_his_work() -> None:
    """Half a change would leave disk and hardware apart."""
    turns, steps = Turns(), []
    begun, go_on = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(turns.run())

    async def work() -> None:
        begun.set()
        await go_on.wait()
        steps.append("whole")

    caller = asyncio.create_task(turns.do(work))
    await begun.wait()
    caller.cancel()
    await asyncio.wait({caller})
    go_on.set()

    async def nothing() -> None:
        pass

    await turns.do(nothing)
    assert steps == ["whole"]
    running.cancel()


async def test_nobody_waits_for_an_agent_that_ends() -> None:
    """Who waits, and who comes later, is told."""
    turns = Turns()
    running = asyncio.create_task(turns.run())
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    callers = [asyncio.create_task(turns.do(work)) for _ in range(2)]
    await begun.wait()
    running.cancel()
    await asyncio.wait({running})
    for caller in callers:
        with pytest.raises(StateError, match="ending"):
            await caller
    with pytest.raises(StateError, match="ending"):
        await turns.do(work)
