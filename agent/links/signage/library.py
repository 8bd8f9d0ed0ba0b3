"""The files of the server's playlists: which are here, which are being fetched, how far each playlist is."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.links.signage.messages import Id, PlaylistStatus
from agent.links.signage.playlists import Media, ServerPlaylist
from agent.media.store import MediaStore
from agent.media.wants import FetchError, Headers, Want

log = logging.getLogger(__name__)

_Key = tuple[str, str, int | None]
WATCHED, WANTED_NOW = 10, 0
"""Urgencies: any playlist, and the one that plays or is to play next."""
_MOST_DROPPED = 200
_AT_ONCE = 64
"""So many items of a playlist at most wait for the store at a time; it downloads fewer."""


@dataclass(slots=True)
class Holding:
    """One playlist and how far its files are."""

    playlist: ServerPlaylist
    status: Literal["downloading", "ready", "partial", "failed"] = "downloading"
    missing: list[str] = field(default_factory=list)
    error: str = ""
    downloaded: int = 0
    job: asyncio.Task[None] | None = None
    temporary: bool = False
    """What is missing may come if it is tried again."""
    told: set[str] = field(default_factory=set)
    """What the log has said of its trouble since it was last whole."""

    def trouble(self, said: str) -> int:
        """The level at which the log is to say this: a warning the first time."""
        level = logging.DEBUG if said in self.told else logging.WARNING
        self.told.add(said)
        return level

    @property
    def busy(self) -> bool:
        """Its files are being fetched."""
        return self.job is not None and not self.job.done()

    def report(self) -> PlaylistStatus:
        """As the server is told."""
        return PlaylistStatus(
            playlist_id=self.playlist.playlist_id,
            status=self.status,
            total_items=self.playlist.total_items,
            downloaded_items=self.downloaded,
            missing_files=list(self.missing) if self.status == "partial" else None,
            error=self.error if self.status == "failed" else None,
        )


class Library:
    """Fetches what the playlists need and knows what is on disk.

    `on_report` is called with each change of a playlist's status, `on_bytes` while its bytes flow, `on_files` when an item of
    it has arrived or was lost, `on_done` when its download has come to an end.
    """

    def __init__(
        self,
        owner: str,
        store: MediaStore,
        *,
        headers: Headers,
        trusted_origin: str,
        tls: ssl.SSLContext | None = None,
        on_report: Callable[[Holding, bool], None],
        on_bytes: Callable[[Id], None],
        on_files: Callable[[Id], None],
        on_done: Callable[[Id], None],
    ) -> None:
        self.holdings: dict[Id, Holding] = {}
        self._dropped: dict[Id, ServerPlaylist] = {}
        """Playlists that have vanished; their files stay until room or a clean-up is wanted."""
        self._owner = owner
        self._store = store
        self._headers = headers
        self._trusted_origin = trusted_origin
        self._tls = tls
        self._on_report = on_report
        self._on_bytes = on_bytes
        self._on_files = on_files
        self._on_done = on_done
        self._paths: dict[_Key, str] = {}
        self._tasks: asyncio.TaskGroup
        self._urgent: set[Id] = set()

    async def run(self) -> None:
        """Owns the downloads for as long as it runs."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.get_running_loop().create_future()

    # What is here

    def path_of(self, media: Media) -> str:
        """The verified file of an entry, as far as is known; empty if there is none."""
        return self._paths.get(_key(media), "")

    def ready(self) -> list[Id]:
        """Playlists whose every item is on disk and verified."""
        return [playlist_id for playlist_id, holding in self.holdings.items() if holding.status == "ready"]

    @property
    def busy(self) -> bool:
        """Anything is being looked up or fetched."""
        return any(holding.busy for holding in self.holdings.values())

    @property
    def waiting_for_more(self) -> bool:
        """Something is missing that may come if it is tried again."""
        return any(holding.temporary and not holding.busy for holding in self.holdings.values())

    async def look(self, playlists: Iterable[ServerPlaylist]) -> None:
        """Finds out what is on disk of these playlists, without fetching anything."""
        for playlist in playlists:
            for media in playlist.media:
                await self._find(media)
            holding = self.holdings.setdefault(playlist.playlist_id, Holding(playlist))
            holding.downloaded = sum(bool(self.path_of(media)) for media in playlist.media)
            if holding.downloaded == playlist.total_items > 0:
                holding.status = "ready"
        self._keep()

    # Fetching

    def update(self, playlists: Iterable[ServerPlaylist], urgent: set[Id], *, again: bool) -> None:
        """These are the playlists now; what is missing of them is fetched, `urgent` ones first.

        `again`: report also what was reported before.
        """
        wanted = {playlist.playlist_id: playlist for playlist in playlists}
        for playlist_id in self.holdings.keys() - wanted.keys():
            holding = self.holdings.pop(playlist_id)
            self._stop(holding)
            self._dropped[playlist_id] = holding.playlist
        self._dropped = {i: dropped for i, dropped in list(self._dropped.items())[-_MOST_DROPPED:] if i not in wanted}
        self._urgent = urgent
        self._store.keep(self._owner, [self._want(media) for playlist in wanted.values() for media in playlist.media])
        for playlist_id in sorted(wanted, key=lambda i: i not in urgent):
            self._ensure(wanted[playlist_id], again=again)
        self.holdings = {playlist_id: self.holdings[playlist_id] for playlist_id in wanted}

    def hurry(self, playlist_id: Id) -> None:
        """This playlist is to play next: its files first; what failed is tried again."""
        holding = self.holdings.get(playlist_id)
        if holding is None or (playlist_id in self._urgent and holding.busy):
            return
        self._urgent.add(playlist_id)
        self._stop(holding)
        self._ensure(holding.playlist, again=True)

    async def look_for_losses(self) -> None:
        """A file was found damaged or gone: whatever used it fetches it again."""
        for holding in list(self.holdings.values()):
            playlist, before = holding.playlist, holding.downloaded
            found = [media for media in playlist.media if await self._find(media)]
            if len(found) < before and self.holdings.get(playlist.playlist_id) is holding and holding.playlist is playlist:
                log.warning("file lost, fetched again playlist=%s items=%d", playlist.playlist_id, before - len(found))
                self._stop(holding)
                holding.status = "downloading"
                self._on_files(holding.playlist.playlist_id)
                self._ensure(holding.playlist, again=False)

    async def forget(self, playlist_ids: set[Id]) -> int:
        """Deletes what only these playlists, or ones that have vanished, use; how many files that were."""
        forgotten = list(self._dropped.values())
        self._dropped.clear()
        for playlist_id in playlist_ids & self.holdings.keys():
            holding = self.holdings.pop(playlist_id)
            self._stop(holding)
            forgotten.append(holding.playlist)
        kept = self._keep()
        media_gone = [media for playlist in forgotten for media in playlist.media if _key(media) not in kept]
        for media in media_gone:
            self._paths.pop(_key(media), None)  # before anything is awaited: nobody puts on what is being deleted
        deleted = await self._store.discard([self._want(media) for media in media_gone])
        await self.look_for_losses()  # somebody may have asked for it again meanwhile
        return deleted

    def _keep(self) -> set[_Key]:
        """Tells the store what the playlists need."""
        needed = [media for holding in self.holdings.values() for media in holding.playlist.media]
        self._store.keep(self._owner, [self._want(media) for media in needed])
        return {_key(media) for media in needed}

    # Inside

    def _ensure(self, playlist: ServerPlaylist, *, again: bool) -> None:
        """Starts the job of a playlist unless it is under way for the very same content."""
        holding = self.holdings.get(playlist.playlist_id)
        if holding is not None and holding.busy and holding.playlist == playlist:
            return
        if holding is None:
            holding = self.holdings[playlist.playlist_id] = Holding(playlist)
        else:
            self._stop(holding)
            if holding.playlist != playlist:
                holding.playlist, holding.status = playlist, "downloading"
        holding.job = self._tasks.create_task(
            self._guarded(holding, again=again), name=f"{self._owner}: playlist {playlist.playlist_id}"
        )

    @staticmethod
    def _stop(holding: Holding) -> None:
        if holding.job is not None:
            holding.job.cancel()
            holding.job = None

    async def _guarded(self, holding: Holding, *, again: bool) -> None:
        """One playlist's trouble, whatever it is, stays its own."""
        try:
            await self._fetch(holding, again=again)
        except Exception as error:
            log.exception("download of a playlist broke off playlist=%s", holding.playlist.playlist_id)
            holding.status, holding.error, holding.temporary = "failed", f"internal error: {type(error).__name__}", True
            holding.job = None
            self._on_report(holding, True)
            self._on_done(holding.playlist.playlist_id)

    async def _fetch(self, holding: Holding, *, again: bool) -> None:
        playlist = holding.playlist
        missing = [media for media in playlist.media if not await self._find(media)]
        holding.downloaded = len(playlist.media) - len(missing)
        failures: dict[int, FetchError] = {}
        if missing:
            log.info(
                "playlist downloading link=%s playlist=%s missing=%d of=%d",
                self._owner, playlist.playlist_id, len(missing), playlist.total_items,
            )  # fmt: skip
            holding.status, holding.missing, holding.error = "downloading", [], ""
            self._on_report(holding, False)
            queue = iter(missing)
            async with asyncio.TaskGroup() as group:
                for number in range(min(len(missing), _AT_ONCE)):
                    group.create_task(
                        self._fetch_each(holding, queue, failures), name=f"{self._owner}: fetches {playlist.playlist_id} {number}"
                    )
        self._conclude(holding, failures)
        holding.job = None
        self._on_report(holding, again or bool(missing))
        self._on_done(playlist.playlist_id)

    async def _fetch_each(self, holding: Holding, queue: Iterator[Media], failures: dict[int, FetchError]) -> None:
        """Fetches one after the other from the queue, which others share."""
        for media in queue:
            await self._fetch_one(holding, media, failures)

    async def _fetch_one(self, holding: Holding, media: Media, failures: dict[int, FetchError]) -> None:
        playlist_id = holding.playlist.playlist_id
        try:
            path = await self._store.fetch(
                self._want(media),
                urgency=WANTED_NOW if playlist_id in self._urgent else WATCHED,
                on_bytes=lambda _received, _total: self._on_bytes(playlist_id),
            )
        except FetchError as error:
            failures[id(media)] = error
            level = holding.trouble(f"{media.url} {error}")
            log.log(level, "not downloaded playlist=%s item=%r cause=%s", playlist_id, media.file_name, error)
            self._on_report(holding, True)
            return
        self._paths[_key(media)] = str(path)
        holding.downloaded += 1
        self._on_report(holding, False)
        self._on_files(playlist_id)

    def _conclude(self, holding: Holding, failures: dict[int, FetchError]) -> None:
        playlist, before = holding.playlist, holding.status
        failed = [media for media in playlist.media if id(media) in failures]
        holding.missing = [*(media.file_name for media in failed), *playlist.malformed]
        holding.temporary = any(error.temporary for error in failures.values())
        holding.error = ""
        if not playlist.total_items:
            holding.status, holding.error = "failed", "playlist has no items"
        elif not holding.downloaded:
            holding.status = "failed"
            holding.error = str(next(iter(failures.values()), "no item of the playlist is usable"))
        else:
            holding.status = "partial" if holding.missing else "ready"
        if holding.status == before:
            return
        if holding.status == "ready":
            holding.told.clear()
        log.log(
            logging.INFO if holding.status == "ready" else holding.trouble(f"{holding.status} {holding.missing} {holding.error}"),
            "playlist %s link=%s playlist=%s items=%d/%d%s",
            holding.status, self._owner, playlist.playlist_id, holding.downloaded, playlist.total_items,
            f" error={holding.error!r}" if holding.error else "",
        )  # fmt: skip

    async def _find(self, media: Media) -> str:
        path: Path | None = await self._store.find(self._want(media))
        if path is None:
            self._paths.pop(_key(media), None)
            return ""
        self._paths[_key(media)] = str(path)
        return str(path)

    def _want(self, media: Media) -> Want:
        return Want(
            url=media.url,
            name=media.file_name,
            size_bytes=media.size_bytes,
            checksum=media.checksum,
            headers=self._headers,
            trusted_origin=self._trusted_origin,
            tls=self._tls,
        )


def _key(media: Media) -> _Key:
    return (media.url, media.checksum, media.size_bytes)
