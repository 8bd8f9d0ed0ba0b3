"""One agent on one state directory."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class TakenError(Exception):
    """Another process holds the lock."""


class Lock:
    """A file that is locked from `take` until `release`, or until the process ends, however it does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Locks it. Raises TakenError. On a disk that cannot be written nobody else could do harm: then nothing is locked."""
        try:
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("not locked against a second agent path=%s error=%s", self._path, error.strerror)
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise TakenError(f"another agent runs on this state directory: {self._path.parent}") from None

    def release(self) -> None:
        """Unlocks it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
