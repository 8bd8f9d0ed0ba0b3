"""Which of the server's playlists one screen plays (signage contract, sections 3 and 6). No I/O; times are monotonic seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from agent.links.signage.messages import Id
from agent.links.signage.playlists import Media, ServerPlaylist, SidePlaylists
from agent.stage.playlist import MediaId
from agent.stage.playlist_program import PlaylistProgram

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a playlist was when the agent ended."""

    playlist_id: Id
    media_id: MediaId
    position_s: float


@dataclass(frozen=True, slots=True)
class _Pending:
    playlist_id: Id
    media_id: MediaId | None = None
    index: int | None = None
    commanded: bool = True
    """By a switch; else it is the first choice at start, for which another one stands in."""


class Side:
    """One of the device's sides: its playlists, the one that plays, and the one that is to follow once it is on disk.

    `path_of` gives the verified file of an entry or an empty string; `is_busy` says whether a playlist is being fetched.
    """

    def __init__(
        self,
        name: str,
        program: PlaylistProgram,
        *,
        path_of: Callable[[Media], str],
        is_busy: Callable[[Id], bool],
    ) -> None:
        self.name = name
        self.program = program
        self.known: dict[Id, ServerPlaylist] = {}
        self.playing: ServerPlaylist | None = None
        """May have vanished from the server; then it plays until another one is playable."""
        self.chosen: Id | None = None
        """The last switch; outlives the agent."""
        self.server_current: Id | None = None
        self._path_of = path_of
        self._is_busy = is_busy
        self._pending: _Pending | None = None
        self._place: Place | None = None
        self._paused = False

    @property
    def urgent(self) -> set[Id]:
        """Playlists whose files are wanted before all others."""
        urgent = {playlist.playlist_id for playlist in (self.playing,) if playlist is not None}
        if self._pending is not None:
            urgent.add(self._pending.playlist_id)
        elif self.playing is None and (preferred := self._preference()):
            urgent.add(preferred[0])
        return urgent

    def restore(self, chosen: Id | None, place: Place | None, *, paused: bool) -> None:
        """Takes up what an earlier run left; to be called before the first `update`."""
        self.chosen = chosen
        self._place = place
        self._paused = paused

    def update(self, side: SidePlaylists, now: float) -> None:
        """The server's playlists are now these. What plays goes on undisturbed."""
        self.known = {playlist.playlist_id: playlist for playlist in side.playlists}
        self.server_current = side.current
        if self._pending is not None and self._pending.playlist_id not in self.known:
            self._pending = None
        if self.playing is not None and (fresh := self.known.get(self.playing.playlist_id)) is not None:
            self.playing = fresh
            self._replace(now, retry=True)
        self.settle(now)

    def files_changed(self, playlist_id: Id, now: float) -> None:
        """Items of a playlist have arrived or were lost: they join or leave the running loop."""
        if self.playing is not None and self.playing.playlist_id == playlist_id:
            self._replace(now, retry=False)
        self.settle(now)

    def settle(self, now: float) -> None:
        """Puts on what should be on now: a switch whose playlist has come, or the first choice when nothing plays."""
        self._settle_pending(now)
        if self.playing is not None and self._still_wanted() and self._playable(self.playing):
            return
        for playlist_id in self._preference():
            playlist = self.known[playlist_id]
            if self._playable(playlist):
                if self.playing is not playlist:
                    self._start(playlist, now)
                break
        first = next(iter(self._preference()), None)
        if first is not None and self.playing is not None and self.playing.playlist_id != first and self._is_busy(first):
            self._pending = self._pending or _Pending(first, commanded=False)

    def switch(self, playlist_id: Id, now: float, *, media_id: MediaId | None = None, index: int | None = None) -> bool:
        """To another known playlist: at once if it is on disk, else when it has come; the newest switch wins.

        The one that plays is restarted. True: its files should be fetched now.
        """
        playlist = self.known[playlist_id]
        self.chosen = playlist_id
        self._pending = None
        if self._complete(playlist):
            self._start(playlist, now, media_id=media_id, index=index, commanded=True)
            return False
        if self.playing is not None and self.playing.playlist_id == playlist_id and self._playable(playlist):
            self._start(playlist, now, media_id=media_id, index=index, commanded=True)
            return True
        self._pending = _Pending(playlist_id, media_id, index)
        return True

    def place(self, now: float) -> Place | None:
        """Where it is now, to be taken up after a restart of the agent."""
        status = self.program.status(now)
        if self.playing is None or status.media_id is None:
            return self._place
        return Place(self.playing.playlist_id, status.media_id, status.position_s)

    @property
    def paused(self) -> bool:
        """The operator has frozen it."""
        return self.program.sequencer.paused if self.program.sequencer else self._paused

    def pause(self, now: float) -> None:
        """Freezes; what is put on later by itself comes up frozen, too."""
        self._paused = True
        if self.program.sequencer:
            self.program.sequencer.pause(now)

    def play(self, now: float) -> None:
        """Goes on."""
        self._paused = False
        if self.program.sequencer:
            self.program.sequencer.play(now)

    # Inside

    def _settle_pending(self, now: float) -> None:
        pending = self._pending
        if pending is None or self._is_busy(pending.playlist_id):
            return
        playlist = self.known[pending.playlist_id]
        self._pending = None
        if self._playable(playlist):
            begun = self.playing is not None and self.playing.playlist_id == pending.playlist_id
            if not begun or pending.media_id is not None or pending.index is not None:
                self._start(playlist, now, media_id=pending.media_id, index=pending.index, commanded=pending.commanded)
        elif pending.commanded:
            log.warning(
                "switch not possible, nothing of the playlist is playable; the old one goes on playlist=%s", pending.playlist_id
            )
            if self.chosen == pending.playlist_id and self.playing is not None:
                self.chosen = self.playing.playlist_id

    def _preference(self) -> list[Id]:
        """Known playlists, the first choice first."""
        first = [i for i in (self.chosen, self.server_current) if i is not None and i in self.known]
        return list(dict.fromkeys([*first, *self.known]))

    def _still_wanted(self) -> bool:
        return self.playing is not None and self.playing.playlist_id in self.known

    def _playable(self, playlist: ServerPlaylist) -> bool:
        return any(self._path_of(media) for media in playlist.media)

    def _complete(self, playlist: ServerPlaylist) -> bool:
        return bool(playlist.media) and all(self._path_of(media) for media in playlist.media)

    def _replace(self, now: float, *, retry: bool) -> None:
        assert self.playing is not None
        if self.program.sequencer is not None:
            self.program.sequencer.replace(self.playing.with_files(self._path_of), now, retry=retry)

    def _start(
        self,
        playlist: ServerPlaylist,
        now: float,
        *,
        media_id: MediaId | None = None,
        index: int | None = None,
        commanded: bool = False,
    ) -> None:
        place, self._place = self._place, None
        at = (place.media_id, place.position_s) if place is not None and place.playlist_id == playlist.playlist_id else None
        if commanded:
            self._paused = False
            at = None
        log.info("playlist on playlist=%s name=%r side=%s", playlist.playlist_id, playlist.name, self.name)
        self.playing = playlist
        self.program.switch(playlist.with_files(self._path_of), now, at=at, paused=self._paused)
        aimed = media_id is not None or index is not None
        if aimed and self.program.sequencer is not None and not self.program.sequencer.jump(now, media_id=media_id, index=index):
            log.warning("no such item on disk; the playlist begins at its first playlist=%s", playlist.playlist_id)
