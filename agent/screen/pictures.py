"""Pictures of few pixels, as feeds push them: decoded beforehand, in a process of its own, into memory and nowhere else."""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import logging
import os
import socket
import subprocess
import sys
import weakref
from dataclasses import dataclass

from agent.screen.converter import TIME_S
from agent.screen.images import ImageError

log = logging.getLogger(__name__)

KEPT = 3
"""What is on, what follows, and one more."""
HELD_BYTES = 64 << 20
"""Beyond this, what is no longer needed is looked for rather than left to be found."""


class Memory:
    """A file without a name; gone when nobody refers to this object any more."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("picture")
        self.path = f"/proc/self/fd/{self.descriptor}"
        """For this process only."""
        weakref.finalize(self, os.close, self.descriptor)

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
    """Decodes one picture at a time; one for which nobody waits any more makes way for the next.

    The process for it is started with the first picture, and again if it dies.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._job: _Job | None = None
        self._held: weakref.WeakSet[Memory] = weakref.WeakSet()
        self._done: collections.OrderedDict[tuple[object, ...], Picture | str] = collections.OrderedDict()

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
        while len(self._done) > KEPT:
            self._done.popitem(last=False)
        if isinstance(known, str):
            raise ImageError(known)
        return known

    def close(self) -> None:
        """Ends the process."""
        if self._job is not None:
            self._job.task.cancel()
        self._hang_up()

    async def _wait(self, key: tuple[object, ...], path: str, fit_px: int, limit_px: int) -> Picture | str:
        while (job := self._job) is not None and job.key != key:
            if not job.waiting:
                job.task.cancel()
            await asyncio.wait({job.task})
        if job is None:
            job = self._job = _Job(key, asyncio.create_task(self._convert(path, fit_px, limit_px), name=f"decodes {path}"))
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

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            # It ends by itself; waiting for that is not worth anybody's time.
            self._process.poll()
            self._process = None

    async def _convert(self, path: str, fit_px: int, limit_px: int) -> Picture | str:
        try:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror}") from None
        if sum(memory.size_bytes for memory in self._held) > HELD_BYTES:
            gc.collect()  # tasks that were cancelled refer to what they were about to show
        memory = Memory()
        self._held.add(memory)
        try:
            try:
                answer = await self._ask(source, memory.descriptor, fit_px, limit_px)
            except OSError as error:
                # Between two pictures it may have been ended, by the kernel for want of memory for instance.
                log.debug("the process that decodes pictures is started again error=%s", error)
                self._hang_up()
                answer = await self._ask(source, memory.descriptor, fit_px, limit_px)
        except OSError as error:
            raise ImageError(f"the process that decodes pictures does not start: {error.strerror}", temporary=True) from None
        finally:
            os.close(source)
        if not answer:
            return f"cannot be decoded with the memory and the {TIME_S} s there are for it"
        said = json.loads(answer)
        if "error" in said:
            return str(said["error"])
        container = "apng" if said["frames"] > 1 else "png_pipe"
        return Picture(memory, container, said["width"], said["height"], said["cycle_s"])

    async def _ask(self, source: int, target: int, fit_px: int, limit_px: int) -> bytes:
        """The answer to one request; empty: there is none. Raises OSError."""
        channel = self._channel or await self._start()
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(reading, readable.set)
        answered = False
        try:
            try:
                socket.send_fds(channel, [json.dumps({"fit": fit_px, "limit": limit_px}).encode()], [source, target, writing])
            finally:
                os.close(writing)
            await readable.wait()
            answered = True
            return os.read(reading, 65536)
        finally:
            loop.remove_reader(reading)
            os.close(reading)
            if not answered and self._channel is not None:
                self._stop(self._channel)

    @staticmethod
    def _stop(channel: socket.socket) -> None:
        """Nobody waits for the present picture any more."""
        try:
            channel.send(b"{}")
        except OSError as error:
            log.debug("the process that decodes pictures cannot be told to stop error=%s", error)

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                self._process = await asyncio.to_thread(
                    subprocess.Popen,
                    [sys.executable, "-m", "agent.screen.converter", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
        except BaseException:
            ours.close()
            raise
        self._channel = ours
        return ours
