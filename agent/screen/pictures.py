"""Pictures of few pixels, as feeds push them: decoded beforehand, in a process of its own, into memory and nowhere else."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import logging
import os
import weakref
from dataclasses import dataclass

from agent.screen import apng
from agent.screen.conversion import Conversion, ConverterGoneError, ConverterProcess
from agent.screen.converter import TIME_S
from agent.screen.images import ImageError

log = logging.getLogger(__name__)

KEPT = 3
"""What is on, what follows, and one more."""
HELD_BYTES = 64 << 20
"""Beyond this only the latest is kept, and what is no longer needed is looked for rather than left to be found."""
COMPLAINTS = 32
GROWING = 3
"""So many animations are decoded at a time while they can be shown already."""


class Memory:
    """A file without a name; gone when nobody refers to this object any more."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("picture")
        self.growing = False
        """Whether more is being written to it."""
        weakref.finalize(self, os.close, self.descriptor)

    @property
    def path(self) -> str:
        """For the player in this process: it waits for what is not there yet."""
        return f"{'appending://' if self.growing else ''}/proc/self/fd/{self.descriptor}"

    @property
    def size_bytes(self) -> int:
        """What has been written to it."""
        return os.fstat(self.descriptor).st_size


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture."""

    memory: Memory
    container: str
    """libavformat's name for what is in it."""
    width: int
    height: int
    cycle_s: float | None
    """One round of an animation; None: a still."""


@dataclass(slots=True, eq=False)
class _Job:
    key: tuple[object, ...]
    task: asyncio.Task[Picture | str]
    waiting: int = 0


class Pictures:
    """Decodes one picture at a time; one for which nobody waits any more makes way for the next. Of an animation that can be
    shown with a part of it still to be decoded, that part is decoded beside the next ones, as long as somebody needs it.
    """

    def __init__(self) -> None:
        self._process = ConverterProcess()
        self._job: _Job | None = None
        self._growing: dict[Conversion, tuple[object, ...]] = {}
        self._held: weakref.WeakSet[Memory] = weakref.WeakSet()
        self._done: collections.OrderedDict[tuple[object, ...], Picture | str] = collections.OrderedDict()
        self._complaints: set[str] = set()

    async def prepare(self, path: str, fit_px: int, limit_px: int) -> Picture:
        """The picture in the file at `path`: a still, scaled to `fit_px` if its longest side is more, or an animation of at most
        `limit_px`. Raises ImageError.
        """
        try:
            status = os.stat(path)  # noqa: PTH116 - microseconds
        except (OSError, ValueError) as error:
            raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
        key = (path, status.st_ino, status.st_size, status.st_mtime_ns, fit_px, limit_px)
        known = self._done.get(key)
        if known is None:
            known = await self._wait(key, path, fit_px, limit_px)
        self._done[key] = known
        self._done.move_to_end(key)
        while len(self._done) > KEPT or (len(self._done) > 1 and self._done_bytes() > HELD_BYTES):
            self._done.popitem(last=False)
        if isinstance(known, str):
            raise ImageError(known)
        return known

    def close(self) -> None:
        """Ends the process."""
        if self._job is not None:
            self._job.task.cancel()
        self._process.close()

    async def _wait(self, key: tuple[object, ...], path: str, fit_px: int, limit_px: int) -> Picture | str:
        while (job := self._job) is not None and job.key != key:
            if not job.waiting:
                job.task.cancel()
            await asyncio.wait({job.task})
        if job is None:
            job = self._job = _Job(key, asyncio.create_task(self._convert(key, path, fit_px, limit_px), name=f"decodes {path}"))
            job.task.add_done_callback(self._over)
        job.waiting += 1
        try:
            return await asyncio.shield(job.task)
        finally:
            job.waiting -= 1

    def _over(self, task: asyncio.Task[Picture | str]) -> None:
        self._job = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("picture was not decoded error=%s", error)

    def _done_bytes(self) -> int:
        return sum(made.memory.size_bytes for made in self._done.values() if isinstance(made, Picture))

    async def _convert(self, key: tuple[object, ...], path: str, fit_px: int, limit_px: int) -> Picture | str:
        await self._room()
        try:
            try:
                conversion, memory = await self._ask(path, fit_px, limit_px)
            except ConverterGoneError as error:
                # Another may have been to blame, want of memory for instance.
                self._complain(f"the process that decodes pictures {error} and is asked again")
                conversion, memory = await self._ask(path, fit_px, limit_px)
        except ConverterGoneError as error:
            return f"the process that decodes pictures {error}, for the second time"
        said = conversion.first.result()
        if said is None:
            return f"cannot be decoded with the memory and the {TIME_S} s there are for it"
        if "error" in said:
            return str(said["error"])
        if said.get("more") and not conversion.over.done():
            self._grow(key, conversion, memory)
        container = "apng" if said["frames"] > 1 else "png_pipe"
        return Picture(memory, container, said["width"], said["height"], said["cycle_s"])

    async def _ask(self, path: str, fit_px: int, limit_px: int) -> tuple[Conversion, Memory]:
        """Raises ConverterGoneError, ImageError."""
        try:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror}") from None
        if sum(memory.size_bytes for memory in self._held) > HELD_BYTES:
            gc.collect()  # tasks that were cancelled refer to what they were about to show
        try:
            memory = Memory()
            self._held.add(memory)
            return await self._process.ask(source, memory.descriptor, fit_px, limit_px), memory
        except OSError as error:
            raise ImageError(f"the process that decodes pictures does not start: {error.strerror}", temporary=True) from None
        finally:
            os.close(source)

    # The rest of animations that can be shown

    async def _room(self) -> None:
        """Waits until one more may be decoded; those that nobody shows make way at once."""
        if len(self._growing) < GROWING:
            return
        for key in self._growing.values():
            self._done.pop(key, None)
        gc.collect()
        await asyncio.sleep(0)  # for what has just been stopped
        while len(self._growing) >= GROWING:
            await asyncio.wait([conversion.over for conversion in self._growing], return_when=asyncio.FIRST_COMPLETED)

    def _grow(self, key: tuple[object, ...], conversion: Conversion, memory: Memory) -> None:
        memory.growing = True
        self._growing[conversion] = key
        loop, needed = asyncio.get_running_loop(), weakref.ref(memory)

        def unneeded() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._process.stop, conversion)

        def over(_: object) -> None:
            self._grown(conversion, needed())

        weakref.finalize(memory, unneeded).atexit = False
        conversion.over.add_done_callback(over)

    def _grown(self, conversion: Conversion, memory: Memory | None) -> None:
        key = self._growing.pop(conversion)
        if memory is None:
            return
        memory.growing = False
        said = conversion.over.result()
        if said is None or "error" in said:
            self._done.pop(key, None)
            if said is None:
                apng.finish(memory.descriptor)
            reason = "the process that decodes it has died" if said is None else said["error"]
            self._complain(f"an animation ends early reason={reason}")

    def _complain(self, sentence: str) -> None:
        log.log(logging.DEBUG if sentence in self._complaints else logging.WARNING, "%s", sentence)
        if len(self._complaints) < COMPLAINTS:
            self._complaints.add(sentence)
