"""A daemon's stand-in behind a real control socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.control.controlled import CommandError
from agent.control.server import ControlServer

PICTURE = b"\xff\xd8" + bytes(range(256)) * 3000 + b"\xff\xd9"


def document() -> dict[str, Any]:
    """A status document with everything in it."""
    return {
        "version": "0.1.0",
        "uptime_s": 93784.2,
        "device": {"serial": "LOBBY-01", "device_id": "B827EB000001", "name": "Lobby"},
        "volume": {"percent": 60, "muted": False, "backend": "alsa:vc4hdmi0/PCM"},
        "brightness": {"percent": 80, "backend": "backlight"},
        "screens": {
            "front": {
                "state": "playing",
                "program": "signage main",
                "playlist_id": 7,
                "media_id": 31,
                "media_index": 2,
                "title": "Welcome.mp4",
                "since": "2026-01-05T09:30:00Z",
                "position_s": 75.5,
                "overlay": {"text": "Fresh bread"},
                "worker_restarts": 1,
                "waiting": [],
                "cause": None,
            },
            "rear": {
                "state": "down",
                "program": None,
                "playlist_id": None,
                "media_id": None,
                "media_index": None,
                "title": None,
                "since": "2026-01-04T22:00:00Z",
                "position_s": None,
                "overlay": None,
                "worker_restarts": 0,
                "waiting": ["signage main"],
                "cause": "HDMI-A-2 is disconnected",
            },
        },
        "playlists": [
            {
                "link": "main",
                "id": 7,
                "name": "Morning",
                "status": "partial",
                "total_items": 3,
                "downloaded_items": 2,
                "missing_files": ["b.jpg"],
                "error": None,
            }
        ],
        "downloads": [
            {"name": "film.mp4", "received_bytes": 45_000_000, "total_bytes": 100_000_000},
            {"name": "stream.mp4", "received_bytes": 1234, "total_bytes": None},
        ],
        "links": [
            {
                "name": "main",
                "kind": "signage",
                "state": "connected",
                "since": "2026-01-05T09:00:00Z",
                "attempts": 0,
                "last_error": None,
            },
            {
                "name": "t",
                "kind": "tronbyt",
                "state": "waiting",
                "since": None,
                "attempts": 3,
                "last_error": "connection refused",
            },
        ],
        "camera": {"source": "auto", "viewers": 0, "encoder": None},
        "update": {"version": "0.1.0", "candidate": None, "last_result": None},
        "warnings": ["under-voltage: use a better power supply"],
    }


class StandIn:
    """Does what a daemon would, as far as the socket sees it."""

    def __init__(self, directory: Path) -> None:
        self.document = document()
        self.directory = directory
        self.played: list[tuple[str | None, str, bytes]] = []
        self.failures: list[BaseException] = []
        self.callbacks: list[Callable[[], None]] = []
        self.updates: list[tuple[str | bytes | None, int | None, bool]] = []
        self.update_ends: list[str] = []
        self.nudges = 0
        self.pictures = 0
        self.looked = 0

    def status(self) -> dict[str, Any]:
        self.looked += 1
        return dict(self.document)

    async def screenshot(self, screen: str | None) -> Path:
        if screen == "explode":
            raise RuntimeError("hush")
        if screen not in {None, "front"}:
            raise CommandError(f"no screen is called {screen!r}", status=404)
        self.pictures += 1
        path = self.directory / f"picture-{self.pictures}.jpg"
        path.write_bytes(PICTURE)
        return path

    async def play(self, screen: str | None, name: str, stream: AsyncIterator[bytes]) -> None:
        try:
            body = b"".join([chunk async for chunk in stream])
        except BaseException as error:
            self.failures.append(error)
            raise
        self.played.append((screen, name, body))

    async def update(
        self, source: AsyncIterator[bytes] | str | None, *, size: int | None, by_hand: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Takes any bundle but one that says no; what was asked for is in `updates`, how it ended in `update_ends`."""
        taken: str | bytes | None = source if source is None or isinstance(source, str) else b""
        try:
            if source is not None and not isinstance(source, str):
                taken = b"".join([chunk async for chunk in source])
                if taken == b"no":
                    raise CommandError("the signature is wrong")
            self.updates.append((taken, size, by_hand))
            yield {"state": "receiving", "received_bytes": 5, "total_bytes": 10}
            yield {"state": "installing"}
            if source == "http://host/refused":
                raise CommandError("there is no room")
            while source == "http://host/endless":
                yield {"state": "installing"}
                await asyncio.sleep(0.01)
            yield {"version": "1.2.3"}
            self.update_ends.append("told")
        except GeneratorExit:
            self.update_ends.append("left")
            raise

    def look(self) -> None:
        self.nudges += 1

    def on_change(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def change(self, **values: Any) -> None:
        """The document changes, and whoever asked for it is told."""
        self.document.update(values)
        for callback in self.callbacks:
            callback()


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@pytest.fixture
async def socket_path(stand_in: StandIn, tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a running server."""
    path = tmp_path / "run/control.sock"
    server = ControlServer(stand_in, path, play_limit_bytes=2_000_000, push_interval_s=0.05, look_interval_s=0.1)
    await server.start()
    yield path
    async with asyncio.timeout(2):
        await server.close()
