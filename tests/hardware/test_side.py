"""Calls that may never return."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agent.hardware.side import SideThread


async def test_results_and_errors_come_back() -> None:
    """A call gives its result, or raises what it raises."""
    side = SideThread("test")
    assert await side.call(lambda: 2 + 2, 5) == 4
    with pytest.raises(ZeroDivisionError):
        await side.call(lambda: 1 // 0, 5)
    side.close()


async def test_a_call_that_hangs_is_abandoned() -> None:
    """The deadline holds, the loop goes on meanwhile, and the next call has a thread of its own."""
    side = SideThread("test")
    release = threading.Event()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await side.call(release.wait, 0.2)
    assert time.monotonic() - began < 1
    assert ticks > 5
    assert await side.call(lambda: "next", 5) == "next"
    release.set()
    ticking.cancel()
    side.close()


async def test_threads_end() -> None:
    """Nothing is left behind after close, the abandoned thread included."""
    before = set(threading.enumerate())
    side = SideThread("test")
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await side.call(release.wait, 0.05)
    await side.call(lambda: None, 5)
    side.close()
    release.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
