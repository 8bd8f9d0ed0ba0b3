"""The link's ledger on disk: which jobs are being followed, and what became of the others (conversion contract, section 4).

An output is `ready` when its file is in the store and was opened as media, and `played` from the moment its first frame is on
the screen: that is written to disk at once, not after the film. A power cut before the first frame costs nothing: the film is
played after the next start. One in the middle of a film does not start it anew. Only one within the few milliseconds between the
first frame and the end of the write shows the beginning twice.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from agent.links.conversion.choice import Mark
from agent.system.logs import Trouble
from agent.system.state import State, StateError

log = logging.getLogger(__name__)

RowState = Literal["followed", "ready", "played", "stored", "failed", "cancelled", "gone", "missing", "unplayable"]
_STATES: frozenset[str] = frozenset(get_args(RowState))
ACTIVE: frozenset[RowState] = frozenset({"followed", "ready"})
"""Something is still to be done."""
ENDED: frozenset[RowState] = frozenset({"failed", "cancelled", "gone"})
"""No good end, but perhaps not the last word: the server may do the job again under its old id."""
ROWS_KEPT = 1_000
"""Of jobs that are settled, the newest."""


@dataclass(frozen=True, slots=True)
class Row:
    """One job that counts."""

    job_id: str
    title: str
    state: RowState = "followed"
    size_bytes: int | None = None
    changed_at: float = 0.0
    """Wall clock; for keeping the newest only."""

    @property
    def active(self) -> bool:
        """Something is still to be done."""
        return self.state in ACTIVE


class Jobs:
    """The jobs of one link at one server. What cannot be written now is written with the next change, or by `flush`."""

    def __init__(self, link: str, server: str, state: State) -> None:
        self.rows: dict[str, Row] = {}
        self.mark: Mark | None = None
        self._link = link
        self._server = server
        self._state = state
        self._unsaved: dict[str, Row] = {}
        self._mark_unsaved = False
        self._trouble = Trouble(log)

    async def load(self) -> None:
        """Reads what was kept. What cannot be read is as if it had not been kept."""
        query = "SELECT job, title, state, size_bytes, changed_at FROM conversion_jobs WHERE link = ? AND server = ?"

        def read(database: sqlite3.Connection) -> list[tuple[str, str, str, int | None, float]]:
            return database.execute(f"{query} ORDER BY changed_at", (self._link, self._server)).fetchall()

        try:
            found = await self._state.read(read)
        except StateError as error:
            log.warning("jobs that were kept are not readable link=%s error=%s", self._link, error)
            found = []
        self.rows = {row[0]: Row(*row) for row in found if row[2] in _STATES}  # type: ignore[arg-type]  # checked here
        kept = await self._state.get(self._key)
        if isinstance(kept, dict) and kept.get("server") == self._server and isinstance(kept.get("ids"), list):
            moment = kept.get("created_at")
            ids = tuple(entry for entry in kept["ids"] if isinstance(entry, str))
            self.mark = Mark(moment if isinstance(moment, float | int) else None, ids, kept.get("newest") is True)

    def active(self) -> list[Row]:
        """Jobs with something still to do, the oldest first."""
        return [row for row in self.rows.values() if row.active]

    async def admit(self, rows: Iterable[Row], mark: Mark | None = None) -> None:
        """These jobs count from now on, and the list has been seen up to `mark`."""
        for row in rows:
            self._put(row)
        if mark is not None and mark != self.mark:
            self.mark, self._mark_unsaved = mark, True
        await self.flush()

    async def set(self, job_id: str, state: RowState, *, title: str = "", size_bytes: int | None = None) -> None:
        """What has become of a job; on disk when this returns, if the disk takes anything."""
        row = self.rows.get(job_id, Row(job_id, title))
        self._put(replace(row, state=state, title=title or row.title, size_bytes=size_bytes or row.size_bytes))
        await self.flush()

    async def flush(self) -> None:
        """Writes what is not on disk yet."""
        if not self._unsaved and not self._mark_unsaved:
            return
        rows, mark = dict(self._unsaved), self.mark if self._mark_unsaved else None
        settled = [row for row in self.rows.values() if not row.active]
        for row in settled[: max(0, len(settled) - ROWS_KEPT)]:
            del self.rows[row.job_id]

        def write(database: sqlite3.Connection) -> None:
            database.executemany(
                "INSERT OR REPLACE INTO conversion_jobs (link, server, job, title, state, size_bytes, changed_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(self._link, self._server, r.job_id, r.title, r.state, r.size_bytes, r.changed_at) for r in rows.values()],
            )
            database.execute(
                "DELETE FROM conversion_jobs WHERE link = ?1 AND server = ?2 AND state NOT IN ('followed', 'ready') "
                "AND changed_at < (SELECT changed_at FROM conversion_jobs WHERE link = ?1 AND server = ?2 "
                "AND state NOT IN ('followed', 'ready') ORDER BY changed_at DESC LIMIT 1 OFFSET ?3)",
                (self._link, self._server, ROWS_KEPT - 1),
            )
            if mark is not None:
                kept = json.dumps({"server": self._server, "created_at": mark.created_at, "ids": mark.ids, "newest": mark.newest})
                database.execute("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (self._key, kept))

        try:
            await self._state.write(write)
        except StateError as error:
            self._trouble.is_("jobs not kept for the next start", error, link=self._link)
            return
        self._trouble.over(f"jobs are kept again link={self._link}")
        for row in rows.values():
            if self._unsaved.get(row.job_id) == row:
                del self._unsaved[row.job_id]
        if mark is not None and mark == self.mark:
            self._mark_unsaved = False

    def _put(self, row: Row) -> None:
        latest = max((known.changed_at for known in self.rows.values()), default=0.0)
        row = replace(row, changed_at=max(time.time(), latest + 1e-6))
        self.rows.pop(row.job_id, None)
        self.rows[row.job_id] = self._unsaved[row.job_id] = row

    @property
    def _key(self) -> str:
        return f"conversion.{self._link}.seen"
