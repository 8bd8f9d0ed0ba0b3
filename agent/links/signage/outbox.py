"""What the server is told over the socket: the newest status of each playlist, and which playlists are ready."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.links.signage.messages import Id, PlaylistStatus, ReadyPlaylists
from agent.links.signage.reports import Reports

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class Outbox:
    """Collects what is to be said and says it while there is a connection. `ready_now` gives the playlists that are ready."""

    def __init__(self, reports: Reports, ready_now: Callable[[], list[Id]]) -> None:
        self._reports = reports
        self._ready_now = ready_now
        self._ready_due = False
        self._ready_sent: set[Id] = set()
        self._news = asyncio.Event()

    def status(self, status: PlaylistStatus, *, again: bool = False) -> None:
        """The status of a playlist is now this one; see `Reports.update`."""
        self._reports.update(status, again=again)
        self._news.set()

    def bytes_flow(self, playlist_id: Id) -> None:
        """Bytes of one of its files have arrived."""
        self._reports.bytes_flow(playlist_id, asyncio.get_running_loop().time())
        self._news.set()

    def ready(self) -> None:
        """The playlists that are ready are to be told, also if they are the same as before."""
        self._ready_due = True
        self._news.set()

    def check_ready(self, playlist_id: Id) -> None:
        """If this playlist was told to be ready and no longer is, that is told."""
        if playlist_id in self._ready_sent and playlist_id not in self._ready_now():
            self.ready()

    def forget(self, keep: set[Id]) -> None:
        """Nothing more is said about any playlist but `keep`."""
        self._reports.forget(keep)

    async def send_to(self, socket: ClientConnection) -> None:
        """Says what is due for as long as the connection lives. Raises ConnectionClosed; what was not said stays due."""
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            for status in self._reports.due(loop.time()):
                await socket.send(status.text())
                self._reports.sent(status, loop.time())
            if self._ready_due:
                ready = self._ready_now()
                self._ready_due = False
                try:
                    await socket.send(ReadyPlaylists(playlist_ids=ready).text())
                except BaseException:
                    self._ready_due = True
                    raise
                self._ready_sent = set(ready)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._reports.deadline()):
                    await self._news.wait()
