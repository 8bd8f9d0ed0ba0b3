"""Opening the state file: for writing, or what it says in memory for as long as the disk cannot be written. Everything blocks."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sqlite3
import time
from pathlib import Path

from agent.system.schema import MIGRATIONS

log = logging.getLogger(__name__)

FULL = "the disk is full"
READ_ONLY = "the disk is read-only"
_IN_MEMORY = "/dev/shm"  # noqa: S108 - a directory of its own is made there
_COMPANIONS = ("-wal", "-shm")
_CONTENT_FAULTS = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_FORMAT}
)


def open_file(path: Path) -> sqlite3.Connection:
    """Opens or makes the file for writing (mode 0600), with all tables; one that is not usable is put aside and a new one begun.

    Raises OSError or sqlite3.Error if the disk does not allow it.
    """
    try:
        return _connect(path)
    except (IsADirectoryError, sqlite3.Error) as error:
        if isinstance(error, sqlite3.Error) and not _is_content_fault(error):
            raise
        aside = _put_aside(path)
        log.warning("state file is corrupt; put aside and begun anew path=%s aside=%s error=%s", path, aside, error)
        return _connect(path)


def open_in_memory(path: Path) -> sqlite3.Connection:
    """What the file says as far as it can be read, with all tables. Never fails because of the disk."""
    import tempfile  # noqa: PLC0415 - takes a while, and is hardly ever needed

    memory = _new_memory()
    try:
        # The write-ahead log belongs to it after a power cut, and SQLite only reads that where it may write.
        with tempfile.TemporaryDirectory(dir=_IN_MEMORY if os.path.isdir(_IN_MEMORY) else None) as folder:  # noqa: PTH112
            copy = Path(folder) / "state.db"
            shutil.copyfile(path, copy)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
            with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = DELETE")
                _prepare(database)
                database.backup(memory)
    except (OSError, sqlite3.Error) as error:
        log.warning("state cannot even be read; goes on without path=%s error=%s", path, error)
        memory.close()
        memory = _new_memory()
        _prepare(memory)
    return memory


def disk_fault(error: OSError | sqlite3.Error, directory: Path) -> str:
    """What is wrong with the disk that `directory` is on, in words; nothing if the disk is not to blame for `error`."""
    if isinstance(error, OSError):
        said = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EROFS: READ_ONLY}.get(error.errno or 0)
        return said or error.strerror or str(error)
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return FULL
    if code not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return ""
    with contextlib.suppress(OSError):
        disk = os.statvfs(directory)
        if disk.f_flag & os.ST_RDONLY:
            return READ_ONLY
        if disk.f_bavail * disk.f_frsize < 1 << 16:
            return FULL
    return str(error)


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _new_memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def _prepare(database: sqlite3.Connection) -> None:
    """Looks whether it is whole, and gives it the tables it lacks."""
    [(verdict,)] = database.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    _migrate(database)
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        _migrate(model)
        tables = model.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL").fetchall()
    present = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    for name, sql in tables:
        if name not in present:
            log.warning("state lacks a table; made anew table=%s", name)
            database.execute(sql)


def _migrate(database: sqlite3.Connection) -> None:
    [(version,)] = database.execute("PRAGMA user_version").fetchall()
    for number, step in enumerate(MIGRATIONS[max(0, version) :], start=max(0, version) + 1):
        database.executescript(f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; COMMIT;")


def _put_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.corrupt-{int(time.time())}")
    for suffix in ("", *_COMPANIONS):
        source = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            source.rename(aside.with_name(aside.name + suffix))
    return aside


def _is_content_fault(error: sqlite3.Error) -> bool:
    code = _code(error)
    return code in _CONTENT_FAULTS if code is not None else isinstance(error, sqlite3.DatabaseError)


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code, if it was SQLite that complained."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
