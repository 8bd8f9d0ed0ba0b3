"""A fake of the signage backend: login, devices, playlists, media, screenshots, and the devices' WebSocket.

Two lines set it up, `offer` gives every device its playlists, `send` commands one, and `Device.wait_for` waits for what it says:
see SignageServer, and the factories in `playlists`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import BodyPartReader, WSMessage, WSMsgType, web

from tests.servers.core import Hub
from tests.servers.devices import Device, Message, Screenshot
from tests.servers.exchange import FAULT, abort, hide_tokens, json_body, no_number, record_of, refusal
from tests.servers.files import MediaFile, MediaFiles, give
from tests.servers.overview import overview
from tests.servers.playlists import SIDES, screen
from tests.servers.service import Service
from tests.servers.tokens import Tokens

USERNAME = "demo"
PASSWORD = "demo-password"
API = "/api/v1"
SOCKET_PATH = "/ws/cloud/tb_device/"
PLAYLISTS_PATH = f"{API}/admin/cloud/playlists"
REGISTER_PATH = f"{API}/admin/cloud/device/register/"
LOGIN_PATH = f"{API}/auth/token/"
REFRESH_PATH = f"{API}/auth/token/refresh/"

REQUIRED_STRINGS = (
    "sn_number",
    "brand",
    "model",
    "manufacturer",
    "os_version",
    "screen_resolution",
    "total_storage",
    "free_storage",
    "app_version",
)


class SignageServer(Service):
    """The backend.

    `async with SignageServer() as server:` serves; then, for instance::

        clip = server.media.add("clip.mp4", Path("clip.mp4"))
        server.offer([playlist(101, [item(clip)])])
        device = await server.connected("LOBBY-01")
        await server.send("LOBBY-01", {"action": "pause"})
        await device.wait_for(type="playlist_status", status="ready")

    Attributes are knobs and may be changed at any time; more faults through `fault(path, ...)`.

    Paths for `fault`: LOGIN_PATH, REFRESH_PATH, REGISTER_PATH, PLAYLISTS_PATH, SOCKET_PATH, '/media/*', '/api/v1/screenshot'.
    """

    kind = "signage"
    title = "Signage"

    def __init__(self, *, username: str = USERNAME, password: str = PASSWORD, hub: Hub | None = None, **listen: Any) -> None:
        super().__init__(hub=hub, **listen)
        self.username = username
        self.password = password
        self.tokens = Tokens()
        self.media = MediaFiles()
        self.devices: dict[str, Device] = {}
        self.auto_register = False
        """Whether an unknown device gets its playlists without registering first."""
        self.refuse_refresh = False
        """Answer 401 to every refresh."""
        self.media_needs_token = False
        """Answer 401 to a media request at this origin without a valid token."""
        self.greeting: Any = {"type": "connection_established", "message": "connected"}
        """First message on a new socket: an object, a raw string, or None for silence."""
        self._offer: dict[str, dict[str, Any] | None] = dict.fromkeys(SIDES)

    # what devices are given

    def offer(self, playlists: Sequence[Any], *, side: str = "front", current: int | None = None, serial: str = "") -> None:
        """Sets the playlists of one side: of the device `serial`, else of every device without playlists of its own."""
        made = screen(playlists, side=side, current=current)
        if serial:
            device = self.device(serial)
            device.screens = {**(device.screens or dict.fromkeys(SIDES)), side: made}
        else:
            self._offer[side] = made
        self.hub.changed()

    def screens_of(self, device: Device) -> dict[str, Any]:
        """The body of the playlists request."""
        screens = device.screens if device.screens is not None else self._offer
        return {"sn_number": device.serial, **{f"{side}_screen": shown for side, shown in screens.items()}}

    # devices

    def device(self, serial: str) -> Device:
        """The device with that serial; made, unregistered, if it never called."""
        if serial not in self.devices:
            self.devices[serial] = Device(serial, self.hub)
        return self.devices[serial]

    async def connected(self, serial: str, timeout_s: float = 10.0) -> Device:
        """The device, once its socket is open."""
        device = self.device(serial)
        await self.wait_for(lambda: device.live > 0, timeout_s, what=f"connection of {serial}")
        return device

    async def send(self, serial: str, message: Mapping[str, Any]) -> None:
        """Sends a message to the device. Raises ConnectionError if it has no open socket."""
        device = self.device(serial)
        await self.send_raw(serial, json.dumps(message, ensure_ascii=False))
        device.note_sent(message)
        self.hub.event(self.kind, serial, "out", str(message.get("action", message.get("type", "message"))), dict(message))

    async def send_raw(self, serial: str, frame: str | bytes) -> None:
        """Sends a text or binary frame as it is. Raises ConnectionError if there is no open socket."""
        sockets = self.device(serial).sockets
        if not sockets:
            raise ConnectionError(f"{serial} is not connected")
        socket = sockets[-1][0]
        if isinstance(frame, str):
            await socket.send_str(frame)
        else:
            await socket.send_bytes(frame)

    def drop(self, serial: str) -> None:
        """Resets the device's connections, without a close frame."""
        for _, request in self.device(serial).sockets:
            abort(request)

    async def close(self, serial: str, code: int = 1000, reason: str = "") -> None:
        """Closes the device's connections with that code."""
        for socket, _ in tuple(self.device(serial).sockets):
            await socket.close(code=code, message=reason.encode())

    # the console page

    def state(self) -> dict[str, Any]:
        return {
            "login": {"url": self.url, "username": self.username, "password": self.password},
            "devices": [overview(device, self.screens_of(device), self.media) for device in self.devices.values()],
            "knobs": {
                "refuse_refresh": self.refuse_refresh,
                "media_needs_token": self.media_needs_token,
                "rotate_refresh": self.tokens.rotate_refresh,
            },
        }

    async def command(self, name: str, args: Mapping[str, Any]) -> Any:
        serial = str(args.get("serial", ""))
        if name in ("send", "drop", "close") and serial not in self.devices:
            raise ValueError(f"no such device: {serial}")
        if name == "send":
            await self.send(serial, dict(args["message"]))
        elif name == "drop":
            self.drop(serial)
        elif name == "close":
            await self.close(serial, int(args.get("code", 1000)))
        elif name == "expire_tokens":
            self.tokens.expire_access()
            self.hub.note("access tokens expired")
        elif name == "forget_devices":
            for device in self.devices.values():
                device.registered.clear()
            self.hub.note("registrations forgotten")
        elif name == "knob":
            self._turn(str(args["name"]), bool(args["value"]))
        else:
            raise ValueError(f"no such command: {name}")

    def screenshot(self, device: str) -> bytes | None:
        known = self.devices.get(device)
        return known.screenshots[-1].image if known is not None and known.screenshots else None

    def media_file(self, name: str) -> MediaFile | None:
        return self.media.get(name)

    # the wire

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post(LOGIN_PATH, self._login)
        app.router.add_post(REFRESH_PATH, self._refresh)
        app.router.add_post(REGISTER_PATH, self._register)
        for slash in ("", "/"):
            app.router.add_get(PLAYLISTS_PATH + slash, self._playlists)
            app.router.add_post(f"{API}/screenshot{slash}", self._device_screenshot)
        app.router.add_post(f"{API}/admin/cloud/screenshots/", self._cloud_screenshot)
        app.router.add_get("/media/{name:.*}", self._media)
        app.router.add_get(SOCKET_PATH, self._socket)

    async def _login(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        if (body.get("username"), body.get("password")) != (self.username, self.password):
            return refusal(400, "No active account found with the given credentials")
        return web.json_response(self.tokens.login())

    async def _refresh(self, request: web.Request) -> web.Response:
        refresh = (await json_body(request)).get("refresh")
        if self.refuse_refresh or not isinstance(refresh, str) or not self.tokens.valid(refresh, "refresh"):
            return refusal(401, "Token is invalid or expired")
        return web.json_response(self.tokens.renewed(refresh))

    async def _register(self, request: web.Request) -> web.Response:
        self._require_token(request)
        body = await json_body(request)
        wrong = [key for key in REQUIRED_STRINGS if not isinstance(body.get(key), str) or not body[key]]
        wrong += [key for key in ("mac_address", "ip_address") if key in body and not isinstance(body[key], str)]
        wrong += [key for key in ("brightness", "volume") if type(body.get(key)) is not int]
        if wrong:
            return refusal(400, f"missing or wrong: {', '.join(wrong)}")
        device = self.device(body["sn_number"])
        status = HTTPStatus.OK if device.registered else HTTPStatus.CREATED
        device.note_registered(body)
        data = {"id": list(self.devices).index(device.serial) + 1, **body}
        return web.json_response({"message": "registered", "data": data}, status=status)

    async def _playlists(self, request: web.Request) -> web.Response:
        self._require_token(request)
        serial = request.query.get("sn_number", "")
        device = self.devices.get(serial)
        if not self.auto_register and (device is None or not device.registered):
            return refusal(404, "Device not found")
        device = self.device(serial)
        if device.raw_screens is not None:
            return web.Response(text=device.raw_screens, content_type="application/json")
        return web.json_response(self.screens_of(device))

    async def _media(self, request: web.Request) -> web.StreamResponse:
        if self.media_needs_token and not record_of(request).foreign:
            self._require_token(request)
        file = self.media.get(request.match_info["name"])
        if file is None:
            return refusal(404, "Not found")
        return await give(request, file)

    async def _device_screenshot(self, request: web.Request) -> web.Response:
        return await self._screenshot(request, "device", "device_id", "image_file")

    async def _cloud_screenshot(self, request: web.Request) -> web.Response:
        return await self._screenshot(request, "cloud", "sn_number", "screenshot")

    async def _screenshot(self, request: web.Request, form: str, serial_field: str, image_field: str) -> web.Response:
        self._require_token(request)
        fields, image = await _multipart(request, image_field)
        record_of(request).body = {**fields, image_field: f"{len(image)} bytes"}
        serial = fields.get(serial_field, "")
        device = next((one for one in self.devices.values() if serial and serial in one.names), None)
        if device is None:
            return refusal(404, "Device not found")
        if not image.startswith(b"\xff\xd8\xff"):
            return refusal(400, f"{image_field} is not a JPEG")
        device.note_screenshot(Screenshot(time.monotonic(), int(time.time() * 1000), form, fields, image))
        return web.json_response({"message": "saved"})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        fault = request[FAULT]
        if not self.tokens.valid(request.query.get("token", "")):
            return refusal(403, "token is invalid or expired")
        serial = request.query.get("sn_number", "")
        if not serial:
            return refusal(400, "sn_number is missing")
        socket = web.WebSocketResponse(autoping=not fault.deaf, compress=False, max_msg_size=1024 * 1024, timeout=2.0)
        await socket.prepare(request)
        record_of(request).status = HTTPStatus.SWITCHING_PROTOCOLS
        if fault.close_code is not None:
            await socket.close(code=fault.close_code)
            return socket
        device = self.device(serial)
        device.note_opened(socket, request)
        self.hub.event(self.kind, serial, "note", "connected", {"connections": device.connections})
        try:
            if fault.deaf:
                await asyncio.Event().wait()
            await self._greet(socket)
            async for frame in socket:
                self._take(device, frame)
        finally:
            device.note_closed(socket)
            self.hub.event(self.kind, serial, "note", "disconnected", {"code": socket.close_code})
        return socket

    async def _greet(self, socket: web.WebSocketResponse) -> None:
        if isinstance(self.greeting, str):
            await socket.send_str(self.greeting)
        elif self.greeting is not None:
            await socket.send_json(self.greeting)

    def _take(self, device: Device, frame: WSMessage) -> None:
        if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return
        data: Any = None
        if frame.type == WSMsgType.TEXT:
            with contextlib.suppress(ValueError):  # kept as a raw message, which tests look for
                data = json.loads(frame.data, parse_constant=no_number)
        message = Message(time.monotonic(), data, frame.data)
        device.note_message(message)
        title = str(data.get("type", "message")) if isinstance(data, dict) else "not an object"
        self.hub.event(self.kind, device.serial, "in", title, hide_tokens(data) if data is not None else repr(frame.data[:200]))

    def _require_token(self, request: web.Request) -> None:
        if not self.tokens.valid(record_of(request).bearer):
            raise web.HTTPUnauthorized(text="Given token not valid for any token type")

    def _turn(self, knob: str, value: bool) -> None:
        if knob == "rotate_refresh":
            self.tokens.rotate_refresh = value
        elif knob in ("refuse_refresh", "media_needs_token"):
            setattr(self, knob, value)
        else:
            raise ValueError(f"no such knob: {knob}")
        self.hub.note(f"{knob} = {value}")


async def _multipart(request: web.Request, image_field: str) -> tuple[dict[str, str], bytes]:
    if not request.content_type.startswith("multipart/"):
        raise web.HTTPBadRequest(text="expected multipart/form-data")
    fields: dict[str, str] = {}
    image = b""
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        if part.name == image_field:
            image = bytes(await part.read())
        elif part.name:
            fields[part.name] = await part.text()
    return fields, image
