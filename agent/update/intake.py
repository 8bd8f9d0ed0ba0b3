"""A bundle on its way in, from wherever it comes: piece by piece to the disk, with the memory of one piece."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agent.media.wants import amount
from agent.media.writer import completed
from agent.update.errors import UpdateError
from agent.update.handover import PART
from agent.update.manifest import BUNDLE_BYTES, BundleError
from agent.update.pace import LIMITS, Limits, Pace

__all__ = ["Intake", "UpdateError"]

log = logging.getLogger(__name__)
T = TypeVar("T")

HEAD_BYTES = 16
"""`agent.update.bundle.HEADER_BYTES`; that module is loaded with the first piece of a bundle."""
DISK_MARGIN_BYTES = 16 * 1024 * 1024
"""Stay free beside the bundle, for the state and the journal."""


class Intake:
    """Receives one bundle. Made by `Updates.begin`; whoever has it must hand it to `Updates.install` or `abandon` it.

    `expected_bytes` is what was announced, else what the bundle itself states, once its first 16 bytes have come.
    """

    def __init__(
        self,
        directory: Path,
        by: str,
        *,
        size: int | None,
        sha256: str | None,
        by_hand: bool,
        on_change: Callable[[], None],
        limits: Limits = LIMITS,
    ) -> None:
        """`on_change` is called when it is over, one way or the other. Raises UpdateError as `Updates.begin`."""
        self.by = by
        self.by_hand = by_hand
        self.expected_bytes = size
        self.received = 0
        """Bytes on the disk."""
        self.open = True
        self.pace = Pace(limits, time.monotonic())
        """When it is time to `give_up`."""
        self.given_up = asyncio.Event()
        self.cause = ""
        """Why it was given up."""
        self.path = directory / f"{secrets.token_hex(8)}{PART}"
        self._announced_sha256 = _checked_digest(sha256)
        self._on_change = on_change
        self._lock = asyncio.Lock()
        self._descriptor = -1
        self._hasher = hashlib.sha256()
        self._head = b""
        self._announced_bytes = size
        if size is not None:
            self._check_size(size)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends `data`; it is written when this returns. Raises UpdateError; then everything that came is gone.

        Calls that overlap are carried out one after the other, in the order in which they were made.
        """
        async with self._lock:
            self._check_open()
            began = time.monotonic()
            try:
                await self._read_head(data)
                if self.expected_bytes is not None and self.received + len(data) > self.expected_bytes:
                    raise UpdateError(f"more bytes came than the {self.expected_bytes} of the update")
                if self.expected_bytes is None and self.received + len(data) > BUNDLE_BYTES:
                    raise UpdateError(f"an update has at most {BUNDLE_BYTES} bytes")
                await self._in_thread(lambda: self._append(data))
            except BaseException:
                await self._remove()
                raise
            self.received += len(data)
            now = time.monotonic()
            self.pace.received(len(data), now, disk_s=now - began)

    async def restart(self) -> None:
        """Forgets what came: the sender begins anew. Raises UpdateError."""
        async with self._lock:
            self._check_open()
            self._head = b""
            self.received = 0
            self.expected_bytes = self._announced_bytes
            await self._in_thread(self._truncate)

    async def finish(self) -> str:
        """The SHA-256 of the whole, which is on the disk and as long as announced. Raises UpdateError; then it is gone."""
        async with self._lock:
            self._check_open()
            try:
                if self.expected_bytes is None:
                    raise UpdateError(f"this is no update bundle: it ends after {self.received} bytes")
                if self.received != self.expected_bytes:
                    raise UpdateError(f"{self.received} bytes came instead of {self.expected_bytes}")
                digest = self._hasher.hexdigest()
                if self._announced_sha256 not in (None, digest):
                    raise UpdateError(f"the SHA-256 is {digest} instead of the announced {self._announced_sha256}")
                await self._in_thread(self._sync)
            except BaseException:
                await self._remove()
                raise
            return digest

    async def abandon(self) -> None:
        """Removes what came. After `install` has taken it over, or a second time, this does nothing."""
        async with self._lock:
            await self._remove()

    async def give_up(self, cause: str) -> None:
        """As `abandon`; whoever goes on with it is told why."""
        self.cause = cause
        self.given_up.set()
        await self.abandon()

    def release(self) -> None:
        """The file at `path` belongs to somebody else now; not removed by anything here."""
        self.open = False
        self._close()
        self._on_change()

    def _check_open(self) -> None:
        if not self.open:
            raise UpdateError(self.cause or "this update was given up before its end")

    def _check_size(self, size: int) -> None:
        """Raises UpdateError if no bundle has that size or the disk has no room for it."""
        if not HEAD_BYTES < size <= BUNDLE_BYTES:
            raise UpdateError(f"an update has {HEAD_BYTES + 1} to {BUNDLE_BYTES} bytes, not {size}")
        free = _free_bytes(self.path.parent)
        if size + DISK_MARGIN_BYTES > free:
            raise UpdateError(f"the disk has no room for the update: {amount(free)} are free, it needs {amount(size)}")

    async def _read_head(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the length that the bundle states from its beginning. Raises UpdateError."""
        missing = HEAD_BYTES - len(self._head)
        if missing <= 0:
            return
        self._head += bytes(data[:missing])
        if len(self._head) < HEAD_BYTES:
            return
        stated = await self._in_thread(self._stated_length)
        if self.expected_bytes is None:
            self._check_size(stated)
            self.expected_bytes = stated
        elif stated != self.expected_bytes:
            raise UpdateError(f"the bundle states a length of {stated} bytes, announced were {self.expected_bytes}")

    def _stated_length(self) -> int:
        from agent.update.bundle import stated_length  # noqa: PLC0415 - takes memory that only an update needs

        try:
            return stated_length(self._head)
        except BundleError as error:
            raise UpdateError(str(error)) from None

    async def _in_thread(self, function: Callable[[], T]) -> T:
        """Runs `function` beside the loop and waits for its end even when cancelled. Raises UpdateError."""
        try:
            return await completed(asyncio.get_running_loop().run_in_executor(None, function))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UpdateError("the disk is full: the update could not be stored") from error
            raise UpdateError(f"the update could not be stored: {error.strerror or type(error).__name__}") from error

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        if self._descriptor < 0:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._hasher.update(data)

    def _truncate(self) -> None:
        self._hasher = hashlib.sha256()
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)

    def _sync(self) -> None:
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    async def _remove(self) -> None:
        if not self.open:
            return
        self.open = False
        self._close()
        try:
            await completed(asyncio.get_running_loop().run_in_executor(None, lambda: self.path.unlink(missing_ok=True)))
        except OSError as error:
            log.warning("what came of an update cannot be removed name=%s error=%s", self.path.name, error.strerror)
        finally:
            self._on_change()

    def _close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # what must not be lost was synced before
                os.close(self._descriptor)
            self._descriptor = -1


def _checked_digest(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    digest = sha256.strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise UpdateError("sha256 is not a SHA-256 in 64 hex digits")
    return digest


def _free_bytes(directory: Path) -> int:
    """What the file system that `directory` is, or will be, on has free for us."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    try:
        found = os.statvfs(directory)
    except OSError as error:
        raise UpdateError(f"the disk cannot be read: {error.strerror}") from None
    return found.f_bavail * found.f_frsize
