"""The fake signage server by itself: its REST calls, its sockets, its files, its faults, its playlists."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.servers import (
    LOGIN_PATH,
    OMIT,
    PLAYLISTS_PATH,
    REFRESH_PATH,
    REGISTER_PATH,
    SOCKET_PATH,
    SignageServer,
    item,
    playlist,
)
from tests.servers.demo import furnish
from tests.servers.make_media import make_media, media_names
from tests.servers.prompt import run_line

EXAMPLES = Path(__file__).parent / "examples" / "signage"
SERIAL = "LOBBY 01+&"
JPEG = b"\xff\xd8\xff\xe0 not much of a picture"
BODY = {
    "sn_number": SERIAL,
    "brand": "Raspberry Pi",
    "model": "4 Model B",
    "manufacturer": "Sony UK",
    "os_version": "Debian 12",
    "screen_resolution": "1920x1080",
    "total_storage": "29.12 GB",
    "free_storage": "12.80 GB",
    "app_version": "0.1.0",
    "brightness": 80,
    "volume": 60,
}


class StandIn:
    """A device that speaks the protocol by hand."""

    def __init__(self, server: SignageServer, http: aiohttp.ClientSession, serial: str = SERIAL) -> None:
        self.server = server
        self.http = http
        self.serial = serial
        self.token = ""
        self.refresh = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def login(self) -> dict[str, Any]:
        status, answer = await self.post(LOGIN_PATH, {"username": "demo", "password": "demo-password"})
        assert status == 200
        self.token, self.refresh = answer["access"], answer["refresh"]
        return answer

    async def register(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        body = {**BODY, "sn_number": self.serial, **changes}
        return await self.post(REGISTER_PATH, {key: value for key, value in body.items() if value is not OMIT})

    async def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        async with self.http.post(self.server.url + path, json=body, headers=self.headers) as response:
            return response.status, await response.json()

    async def playlists(self) -> tuple[int, dict[str, Any]]:
        url = self.server.url + PLAYLISTS_PATH
        async with self.http.get(url, params={"sn_number": self.serial}, headers=self.headers) as response:
            return response.status, await response.json()

    async def get(self, path: str, **headers: str) -> tuple[int, bytes, Any]:
        async with self.http.get(self.server.url + path, headers=headers) as response:
            return response.status, await response.read(), response.headers

    def connect(self) -> connect:
        query = aiohttp.client.URL.build(query={"token": self.token, "sn_number": self.serial}).query_string
        return connect(f"{self.server.url.replace('http', 'ws')}{SOCKET_PATH}?{_quoted(query)}", proxy=None)

    async def say(self, socket: ClientConnection, **message: Any) -> None:
        await socket.send(json.dumps(message))
