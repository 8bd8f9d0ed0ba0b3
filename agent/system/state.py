"""State on disk: one SQLite file, used by one thread.

What was confirmed to somebody is written with `durable=True` (the default): it has reached the disk when the call returns.
What may be lost in a power cut, such as the playback position, is written with `durable=False`, which spares the SD card.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from agent.system.database import disk_fault, open_file, open_in_memory
from agent.system.logs import Trouble

log = logging.getLogger(__name__)
T = TypeVar("T")

AGAIN_S = 30.0
"""A file that could not be opened for writing is tried again at a write, no sooner than this after the last time."""


class StateError(Exception):
    """The state could not be read or written, for instance because the disk is full."""


class State:
    """The state file. Every method may be called from the event loop; none blocks it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._database: sqlite3.Connection
        self._durable = True
        self.trouble = ""
        """Why the last write was refused, in a sentence; empty while the disk can be written."""
        self._writable = True
        self._again_at = 0.0
        self._said = Trouble(log)
        self._unreadable: set[str] = set()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Opens or creates the file (mode 0600). A corrupt file is put aside under another name and a new one begun.

        If the disk cannot be written, the state is what the file says, and `trouble` says why it cannot be changed; writing
        is tried again later. Raises StateError if there is no such place.
        """
        state = cls(path)
        await state._call(state._open)
        return state

    async def get(self, key: str, default: Any = None) -> Any:
        """The setting `key` as it was put, or `default`, also if what is there cannot be read."""

        def read(database: sqlite3.Connection) -> Any:
            row = database.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
            return default if row is None else json.loads(row[0])

        try:
            return await self.read(read)
        except (StateError, ValueError, TypeError, RecursionError) as error:
            if key not in self._unreadable:
                self._unreadable.add(key)
                log.warning("what was stored cannot be read; the default counts setting=%s error=%s", key, error)
            return default

    async def put(self, key: str, value: Any, *, durable: bool = True) -> None:
        """Stores `value` (anything JSON holds) under `key`. Raises StateError."""
        text = json.dumps(value)
        await self.write(
            lambda database: database.execute("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (key, text)),
            durable=durable,
        )

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `query` in the state's thread. Raises StateError."""

        def look() -> T:
            try:
                return query(self._database)
            except sqlite3.Error as error:
                raise StateError(f"state cannot be read: {error}") from error

        return await self._call(look)

    async def write(self, change: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Runs `change` as one transaction. Raises StateError; then nothing of it was stored.

        A cancelled caller does not undo a change that has been handed over.
        """

        def transaction() -> T:
            if not self._writable:
                self._open_again()
            try:
                if durable != self._durable:
                    self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                with self._database:
                    self._database.execute("BEGIN IMMEDIATE")
                    result = change(self._database)
            except sqlite3.Error as error:
                raise self._refuse(error) from error
            self.trouble = ""
            self._said.over("state can be written again")
            return result

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
        except OSError as error:
            raise StateError(f"state cannot be opened: path={self.path} error={error}") from error
        try:
            self._database = open_file(self.path)
        except (OSError, sqlite3.Error) as error:
            self._writable = False
            self._refuse(error)
            self._again_at = time.monotonic() + AGAIN_S
            self._database = open_in_memory(self.path)

    def _open_again(self) -> None:
        """Opens for writing what could only be read, unless that was tried a moment ago. Raises StateError."""
        now = time.monotonic()
        if now < self._again_at:
            raise StateError(self.trouble)
        self._again_at = now + AGAIN_S
        try:
            database = open_file(self.path)
        except (OSError, sqlite3.Error) as error:
            raise self._refuse(error) from error
        self._database.close()
        self._database, self._writable, self._durable = database, True, True

    def _refuse(self, error: OSError | sqlite3.Error) -> StateError:
        """What to raise for `error`; it is remembered for as long as the disk is to blame."""
        fault = disk_fault(error, self.path.parent) or ("" if self._writable else str(error))
        sentence = f"state cannot be written: {fault or error}"
        if fault:
            self.trouble = sentence
            self._said.is_("state cannot be written", fault, path=self.path)
        return StateError(sentence)

    def _close(self) -> None:
        self._database.close()
