"""Which playlist reports are due, and when (signage contract, section 4). No I/O; times are monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass

from agent.links.signage.messages import Id, PlaylistStatus

INTERVAL_S = 1.0
REPEAT_S = 30.0


@dataclass(slots=True)
class _Entry:
    latest: PlaylistStatus
    sent: PlaylistStatus | None = None
    sent_at: float = 0.0
    again: bool = False
    """To be sent although nothing has changed."""
    bytes_at: float = 0.0


class Reports:
    """The newest status of each playlist, and what of it the server has not been told.

    What was due while the connection was down stays due: the newest status per playlist, once.
    """

    def __init__(self, *, interval_s: float = INTERVAL_S, repeat_s: float = REPEAT_S) -> None:
        self._interval_s = interval_s
        self._repeat_s = repeat_s
        self._entries: dict[Id, _Entry] = {}

    def update(self, status: PlaylistStatus, *, again: bool = False) -> None:
        """The status of a playlist is now this one; `again`: to be told even if it was told before."""
        entry = self._entries.get(status.playlist_id)
        if entry is None:
            self._entries[status.playlist_id] = _Entry(status)
        else:
            entry.latest = status
            entry.again |= again

    def bytes_flow(self, playlist_id: Id, now: float) -> None:
        """Bytes of one of its files have arrived."""
        entry = self._entries.get(playlist_id)
        if entry is not None:
            entry.bytes_at = now

    def forget(self, keep: set[Id]) -> None:
        """Drops all playlists but `keep`."""
        for playlist_id in self._entries.keys() - keep:
            del self._entries[playlist_id]

    def status(self, playlist_id: Id) -> PlaylistStatus | None:
        """The newest status of a playlist."""
        entry = self._entries.get(playlist_id)
        return None if entry is None else entry.latest

    def due(self, now: float) -> list[PlaylistStatus]:
        """What is to be sent now."""
        return [entry.latest for entry in self._entries.values() if (at := self._due_at(entry)) is not None and at <= now]

    def sent(self, status: PlaylistStatus, now: float) -> None:
        """`status` has gone out."""
        entry = self._entries.get(status.playlist_id)
        if entry is not None:
            entry.sent, entry.sent_at = status, now
            if entry.latest is status:
                entry.again = False

    def deadline(self) -> float | None:
        """When something will be due next, unless something happens before."""
        return min((at for entry in self._entries.values() if (at := self._due_at(entry)) is not None), default=None)

    def _due_at(self, entry: _Entry) -> float | None:
        if entry.sent is None:
            return 0.0
        changed = entry.again or entry.latest != entry.sent
        if entry.latest.status != "downloading" or entry.sent.status != "downloading":
            return 0.0 if changed else None
        if changed:
            return entry.sent_at + self._interval_s
        if entry.bytes_at > entry.sent_at:
            return entry.sent_at + self._repeat_s
        return None
