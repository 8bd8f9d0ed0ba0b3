"""State on disk: one SQLite file, used by one thread.

What was confirmed to somebody is written with `durable=True` (the default): it has reached the disk when the call returns.
What may be lost in a power cut, such as the playback position, is written with `durable=False`, which spares the SD card.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from agent.system.schema import MIGRATIONS

log = logging.getLogger(__name__)
T = TypeVar("T")


class StateError(Exception):
    """The state could not be written, for instance because the disk is full."""


class State:
    """The state file. Every method may be called from the event loop; none blocks it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._database: sqlite3.Connection
        self._durable = True

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Opens or creates the file (mode 0600). A corrupt file is put aside under another name and a new one begun.

        Raises StateError.
        """
        state = cls(path)
        await state._call(state._open)
        return state

    async def get(self, key: str, default: Any = None) -> Any:
        """The setting `key` as it was put, or `default`."""

        def read(database: sqlite3.Connection) -> Any:
            row = database.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
            return default if row is None else json.loads(row[0])

        return await self.read(read)

    async def put(self, key: str, value: Any, *, durable: bool = True) -> None:
        """Stores `value` (anything JSON holds) under `key`. Raises StateError."""
        text = json.dumps(value)
        await self.write(
            lambda database: database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, text)),
            durable=durable,
        )

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `query` in the state's thread."""
        return await self._call(lambda: query(self._database))

    async def write(self, change: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Runs `change` as one transaction. Raises StateError; then nothing of it was stored.

        A cancelled caller does not undo a change that has been handed over.
        """

        def transaction() -> T:
            if durable != self._durable:
                self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            try:
                with self._database:
                    self._database.execute("BEGIN IMMEDIATE")
                    return change(self._database)
            except sqlite3.Error as error:
                raise StateError(f"state cannot be written: {error}") from error

        return await self._call(transaction)

    async def close(self) -> None:
        """Waits for what was handed over, then closes the file."""
        await self._call(self._close)
        self._thread.shutdown()

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, function))

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connect()
        except OSError as error:
            raise StateError(f"state cannot be opened: path={self.path} error={error}") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StateError(f"state cannot be opened: path={self.path} error={error}") from error
            aside = self._put_aside()
            log.warning("state file is corrupt; put aside and begun anew path=%s aside=%s error=%s", self.path, aside, error)
            self._connect()

    def _connect(self) -> None:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self.path.chmod(0o600)
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            [(verdict,)] = database.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            [(version,)] = database.execute("PRAGMA user_version").fetchall()
            for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
                database.executescript(f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; COMMIT;")
        except BaseException:
            database.close()
            raise
        self._database = database

    def _put_aside(self) -> Path:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{int(time.time())}")
        for suffix in ("", "-wal", "-shm"):
            source = self.path.with_name(self.path.name + suffix)
            with contextlib.suppress(FileNotFoundError):
                source.rename(aside.with_name(aside.name + suffix))
        return aside

    def _close(self) -> None:
        self._database.close()
