"""One thread that writes a download to its part file and hashes it on the way."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent.media.files import BLOCK_BYTES, Hasher, new_hasher, part_note
from agent.media.wants import FetchError

T = TypeVar("T")

BATCH_BYTES = 256 * 1024
_BATCHES_UNDER_WAY = 4
_WRITEBACK_BYTES = 64 * 1024 * 1024


@dataclass
class Hashed:
    """How far a part has been hashed."""

    hasher: Hasher
    size_bytes: int


class Writer:
    """Writes one part file. Whoever opens a writer must close it, also after an error and when cancelled: only then is the part
    file free for the next one.
    """

    def __init__(self, part: Path, algorithm: str, hashed: Hashed | None = None) -> None:
        """`hashed` is what the former writer of the same part left, if there was one in this process."""
        self._part = part
        self._algorithm = algorithm
        self._hashed = hashed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="media writer")
        self._pending: deque[asyncio.Future[None]] = deque()
        self._descriptor = -1
        self._written_back = 0
        self._failed = False

    async def open(self) -> tuple[int, bytes]:
        """Opens the part file and hashes what is in it; its length and the note kept beside it. Raises FetchError."""
        return await self._run(self._open)

    async def write(self, data: bytes) -> None:
        """Hands `data` over; waits only while several batches are under way. Raises FetchError."""
        self.put(data)
        while len(self._pending) > _BATCHES_UNDER_WAY:
            await asyncio.wait([self._pending[0]])
            await self._settled(self._pending.popleft())

    def put(self, data: bytes) -> None:
        """Hands `data` over without waiting."""
        self._pending.append(asyncio.get_running_loop().run_in_executor(self._thread, self._write, data))

    async def restart(self, note: bytes) -> None:
        """Empties the part file; `note` says whose bytes follow. Raises FetchError."""
        await self._run(lambda: self._restart(note))

    async def finish(self) -> tuple[int, str]:
        """Size and digest (hex) of everything written, once it is on the disk. Raises FetchError."""
        while self._pending:
            await asyncio.wait([self._pending[0]])
            await self._settled(self._pending.popleft())
        return await self._run(self._finish)

    async def close(self) -> Hashed | None:
        """Waits for what was handed over, then lets go of the file. Never raises, except for a cancellation once it is done."""
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        try:
            await completed(closing)
        finally:
            for future in self._pending:
                future.exception()
            self._thread.shutdown(wait=False)
        return None if self._failed else self._hashed

    async def _run(self, function: Callable[[], T]) -> T:
        return await self._settled(asyncio.get_running_loop().run_in_executor(self._thread, function))

    async def _settled(self, future: asyncio.Future[T]) -> T:
        try:
            return await completed(future)
        except OSError as error:
            raise storage_error(error) from error

    def _open(self) -> tuple[int, bytes]:
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._descriptor).st_size
        if self._hashed is None or self._hashed.size_bytes != size:
            self._hashed = Hashed(new_hasher(self._algorithm), 0)
            while self._hashed.size_bytes < size:
                block = os.pread(self._descriptor, min(BLOCK_BYTES, size - self._hashed.size_bytes), self._hashed.size_bytes)
                if not block:
                    break
                self._hashed.hasher.update(block)
                self._hashed.size_bytes += len(block)
        self._written_back = self._hashed.size_bytes
        os.lseek(self._descriptor, self._hashed.size_bytes, os.SEEK_SET)
        beside = part_note(self._part)
        return self._hashed.size_bytes, beside.read_bytes() if beside.exists() else b""

    def _write(self, data: bytes) -> None:
        hashed = self._hashed
        if self._failed or hashed is None:
            return  # after a failed write nothing may follow, or the part would have a hole
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._failed = True
            raise
        hashed.hasher.update(data)
        hashed.size_bytes += len(data)
        if hashed.size_bytes - self._written_back >= _WRITEBACK_BYTES:
            self._write_back(hashed.size_bytes)

    def _write_back(self, position: int) -> None:
        """Starts writing dirty pages out now, so that the final fsync does not stall playback for many seconds."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, self._written_back, position - self._written_back, os.POSIX_FADV_DONTNEED)
        self._written_back = position

    def _restart(self, note: bytes) -> None:
        beside = part_note(self._part)
        beside.unlink(missing_ok=True)  # before the bytes it describes, so that it never describes others
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hashed = Hashed(new_hasher(self._algorithm), 0)
        self._written_back = 0
        new = beside.with_name(beside.name + ".new")
        new.write_bytes(note)
        new.replace(beside)

    def _finish(self) -> tuple[int, str]:
        if self._hashed is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        os.fsync(self._descriptor)
        return self._hashed.size_bytes, self._hashed.hasher.hexdigest()

    def _close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # what must not be lost was synced before
                os.close(self._descriptor)
            self._descriptor = -1


async def completed(future: asyncio.Future[T]) -> T:
    """Waits for `future` to the end even when cancelled meanwhile; the cancellation is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()
        raise cancelled
    return future.result()


def storage_error(error: OSError) -> FetchError:
    """What to say of a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FetchError("storage", "storage full: the disk has no room left", temporary=False)
    return FetchError("storage", f"storage failed: {error.strerror or type(error).__name__}", temporary=False)
