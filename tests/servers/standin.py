"""A signage device driven by hand, for the tests of the fake server itself: it does only what it is told."""

from __future__ import annotations

import json
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

from tests.servers.playlists import without_omitted
from tests.servers.signage import API, LOGIN_PATH, PLAYLISTS_PATH, REGISTER_PATH, SOCKET_PATH, SignageServer


class StandIn:
    """One device with its own HTTP session; `async with` closes it."""

    def __init__(self, server: SignageServer, serial: str) -> None:
        self.server = server
        self.serial = serial
        self.token = ""
        self.refresh = ""

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def login(self) -> dict[str, Any]:
        """Logs in with the right credentials and keeps the tokens; the answer."""
        status, answer = await self.post(LOGIN_PATH, {"username": self.server.username, "password": self.server.password})
        assert status == 200
        self.token, self.refresh = answer["access"], answer["refresh"]
        return answer

    async def register(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        """Registers; `changes` replace fields of the body, OMIT leaves one out. Status and answer."""
        body = {
            "sn_number": self.serial,
            "brand": "Raspberry Pi",
            "model": "4 Model B",
            "manufacturer": "Sony UK",
            "os_version": "Debian 12",
            "screen_resolution": "1920x1080",
            "total_storage": "29.12 GB",
            "free_storage": "12.80 GB",
            "app_version": "0.1.0",
            "mac_address": "B8:27:EB:00:00:01",
            "brightness": 80,
            "volume": 60,
        }
        return await self.post(REGISTER_PATH, without_omitted({**body, **changes}))

    async def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """A POST with a JSON body; status and answer."""
        async with self.http.post(self.server.url + path, json=body, headers=self.headers) as response:
            return response.status, await response.json()

    async def playlists(self) -> tuple[int, dict[str, Any]]:
        """Asks for the playlists; status and answer."""
        url = self.server.url + PLAYLISTS_PATH
        async with self.http.get(url, params={"sn_number": self.serial}, headers=self.headers) as response:
            return response.status, await response.json()

    async def get(self, path: str, **headers: str) -> tuple[int, bytes, Any]:
        """A GET without a token; status, body and headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.get(self.server.url + path, headers=named) as response:
            return response.status, await response.read(), response.headers

    async def upload(self, image: bytes, *, media_id: object = 1001, cloud: bool = False) -> int:
        """Uploads a screenshot in either form; the status."""
        form = aiohttp.FormData()
        form.add_field("sn_number" if cloud else "device_id", self.serial)
        form.add_field("media_id", str(media_id))
        if cloud:
            form.add_field("timestamp", "1700000000000")
        form.add_field("screenshot" if cloud else "image_file", image, filename="screen.jpg", content_type="image/jpeg")
        path = "/admin/cloud/screenshots/" if cloud else "/screenshot"
        async with self.http.post(self.server.url + API + path, data=form, headers=self.headers) as response:
            return response.status

    async def ready(self) -> Self:
        """Logged in and registered."""
        await self.login()
        await self.register()
        return self

    def connect(self) -> connect:
        """The device's WebSocket: to be awaited, or entered."""
        query = urlencode({"token": self.token, "sn_number": self.serial}, quote_via=quote)
        return connect(f"{self.server.url.replace('http', 'ws', 1)}{SOCKET_PATH}?{query}", compression=None, proxy=None)


async def say(socket: ClientConnection, **message: Any) -> None:
    """Sends one JSON object."""
    await socket.send(json.dumps(message))
