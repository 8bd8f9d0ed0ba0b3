"""Whether the wall clock can be believed, and when it jumps."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.system import clock


def test_a_box_that_starts_in_1970_has_no_clock() -> None:
    """Before the build of this version no moment is possible; from then on each is."""
    assert not clock.is_set(0.0)
    assert not clock.is_set(datetime(2019, 2, 14, tzinfo=UTC).timestamp())
    assert not clock.is_set(clock.BUILD_DATE.timestamp() - 1)
    assert clock.is_set(clock.BUILD_DATE.timestamp())
    assert clock.is_set(clock.BUILD_DATE.timestamp() + 10 * 365 * 86400)
    assert clock.is_set() == (time.time() >= clock.BUILD_DATE.timestamp())


async def test_a_quiet_clock_is_not_reported() -> None:
    """While nobody sets the clock nothing happens, and the watch ends cleanly."""
    jumps: list[None] = []
    watching = asyncio.create_task(clock.ClockWatch(lambda: jumps.append(None)).run())
    await asyncio.sleep(0.05)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert jumps == []


async def test_each_jump_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Every time the kernel says that the clock was set the callback is called, also after the first time.

    The kernel's timer is real; what a test may not do, setting the clock, is replaced by a timer that is due at once and by
    the error that the kernel would give.
    """
    caplog.set_level("INFO")
    jumps: list[float] = []
    thrice = asyncio.Event()

    def jumped() -> None:
        jumps.append(time.monotonic())
        if len(jumps) == 3:
            monkeypatch.undo()
            thrice.set()

    def set_clock(descriptor: int, size: int) -> bytes:
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    monkeypatch.setattr(clock, "_FAR_FUTURE_S", 1)
    monkeypatch.setattr(os, "read", set_clock)
    watching = asyncio.create_task(clock.ClockWatch(jumped).run())
    await asyncio.wait_for(thrice.wait(), 10)
    watching.cancel()
    await asyncio.wait({watching})
    assert "wall clock was set" in caplog.text


def descriptors() -> list[Path]:
    """What this process has open."""
    return sorted(Path("/proc/self/fd").iterdir())


async def test_a_watch_leaves_no_descriptor() -> None:
    """Ended, it has closed its timer."""
    before = descriptors()
    watching = asyncio.create_task(clock.ClockWatch(lambda: None).run())
    await asyncio.sleep(0)
    assert descriptors() != before
    watching.cancel()
    await asyncio.wait({watching})
    assert descriptors() == before
