"""The store's rows in the state file."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection

from agent.media.files import Stamp
from agent.media.ledger import Entry
from agent.media.wants import Want
from agent.system.state import State, StateError

log = logging.getLogger(__name__)

_FILES = """
    SELECT digest, size_bytes, mtime_ns, verified_at, used_at, name FROM media
    WHERE typeof(digest) = 'text' AND typeof(size_bytes) = 'integer' AND typeof(mtime_ns) = 'integer'
    AND typeof(verified_at) = 'real' AND typeof(used_at) = 'real' AND typeof(name) = 'text'
"""


async def load(state: State) -> tuple[list[Entry], dict[str, str]]:
    """All verified files, and the digests of addresses without a checksum; nothing of what cannot be read."""

    def query(database: sqlite3.Connection) -> tuple[list[Entry], dict[str, str]]:
        rows = database.execute(_FILES).fetchall()
        sources = database.execute("SELECT url, digest FROM sources WHERE typeof(digest) = 'text'").fetchall()
        return [Entry(row[0], Stamp(row[1], row[2]), *row[3:]) for row in rows], dict(sources)

    try:
        return await state.read(query)
    except StateError as error:  # every file is verified by its name instead
        log.warning("records of media files cannot be read error=%s", error)
        return [], {}


async def save(state: State, entry: Entry, source: Want | None = None) -> None:
    """Records a verified file, durably, and the source it has no other name for. Raises StateError."""
    row = (entry.digest, entry.stamp.size_bytes, entry.stamp.mtime_ns, entry.verified_at, entry.used_at, entry.name)

    def change(database: sqlite3.Connection) -> None:
        database.execute(
            "INSERT OR REPLACE INTO media (digest, size_bytes, mtime_ns, verified_at, used_at, name) VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
        if source is not None:
            database.execute(
                "INSERT OR REPLACE INTO sources (url, size_bytes, digest) VALUES (?, ?, ?)",
                (source.source, source.size_bytes, entry.digest),
            )

    await state.write(change)


async def touch(state: State, entries: Collection[Entry]) -> None:
    """Records when files were last used and verified; a power cut may lose it. Raises StateError."""
    rows = [(entry.used_at, entry.verified_at, entry.digest) for entry in entries]
    await state.write(
        lambda database: database.executemany("UPDATE media SET used_at = ?, verified_at = ? WHERE digest = ?", rows),
        durable=False,
    )


async def drop(state: State, digests: Collection[str], *, sources: bool = True) -> None:
    """Forgets files; with `sources` also which addresses they came from. Raises StateError."""
    rows = [(digest,) for digest in digests]

    def change(database: sqlite3.Connection) -> None:
        database.executemany("DELETE FROM media WHERE digest = ?", rows)
        if sources:
            database.executemany("DELETE FROM sources WHERE digest = ?", rows)

    await state.write(change, durable=False)
