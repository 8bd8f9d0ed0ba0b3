"""Files played from the command line: what is kept of them, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.control.clips import Clips
from agent.control.controlled import CommandError
from agent.device import Device

RESERVE = 1_000_000


class FakeScreen:
    """Takes clips; `change` is what a screen says when something is over."""

    def __init__(self) -> None:
        self.name, self.up, self.cause = "front", True, ""
        self.programs: list[Any] = []
        self.change: Callable[[], None] = lambda: None
        self.stage = SimpleNamespace(
            tokens=itertools.count(1),
            put=lambda program, _now: self.programs.append(program),
            remove=lambda program, _now: self.programs.remove(program),
        )

    def on_change(self, callback: Callable[[], None]) -> None:
        self.change = callback

    def refresh(self) -> None:
        pass


class Stand:
    """Clips of one screen on a disk with `free` bytes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.free = 10 * RESERVE
        self.screen = FakeScreen()
        media = SimpleNamespace(free_bytes=lambda: self.free, reserve_bytes=lambda: RESERVE)
        device = SimpleNamespace(screens={"front": self.screen}, image_s=5.0, runtime_dir=directory, media=media)
        self.clips = Clips(cast("Device", device), directory)

    def left(self) -> list[str]:
        """The files there are."""
        return sorted(path.name for path in self.directory.iterdir())

    async def empty(self) -> None:
        """Waits until there are none."""
        async with asyncio.timeout(10):
            while self.left():
                await asyncio.sleep(0.005)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    """With its background work."""
    (tmp_path / "clips").mkdir()
    stand = Stand(tmp_path / "clips")
    task = asyncio.create_task(stand.clips.run())
    yield stand
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def chunks(stand: Stand, count: int) -> AsyncIterator[bytes]:
    """As many of 100 kB, which the disk loses."""
    for _ in range(count):
        yield bytes(100_000)
        stand.free -= 100_000


async def test_a_clip_is_deleted_when_it_is_over(stand: Stand) -> None:
    """And not before."""
    await stand.clips.play(None, "film.mp4", chunks(stand, 3))
    assert stand.left() == ["clip-1"]
    stand.screen.change()
    assert len(stand.screen.programs) == 1
    stand.screen.programs[0].clear()
    stand.screen.change()
    assert stand.screen.programs == []
    await stand.empty()


async def test_the_reserve_stays_free(stand: Stand) -> None:
    """It is looked at while the file comes; nothing of the file is kept."""
    stand.free = RESERVE + 250_000
    with pytest.raises(CommandError, match=r"the disk is full: 1\.1 MB free, of which 1\.0 MB stay in reserve"):
        await stand.clips.play("front", "film.mp4", chunks(stand, 100))
    assert stand.free == RESERVE + 50_000
    assert stand.screen.programs == []
    await stand.empty()


async def test_leftovers_are_swept(stand: Stand) -> None:
    """Those of an earlier run; one that cannot be removed ends nothing."""
    for name in ("clip-1", "clip-7", "other"):
        (stand.directory / name).touch()
    (stand.directory / "clip-8").mkdir()
    await stand.clips.sweep()
    assert stand.left() == ["clip-8", "other"]
