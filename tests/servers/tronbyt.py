"""A fake of the Tronbyt server: devices at /{device_id}/ws, for each a rotation, pushes, brightness, what it acknowledged.

`TronbytServer(hub=...)` beside other services, or alone with `async with`. A device is known by the id in its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from tests.servers import pixel_apps, pixels
from tests.servers.core import CONSOLE_PREFIX, Hub
from tests.servers.exchange import FAULT, abort, record_of, refusal
from tests.servers.service import Service
from tests.servers.signage import SignageServer
from tests.servers.tronbyt_devices import App, Peer, PixelDisplay, Said, Sent
from tests.servers.tronbyt_wire import (
    INVALID_DATA,
    POLICY_VIOLATION,
    UNSUPPORTED_DATA,
    content_type,
    fault_of,
    parsed,
    send_image,
)

SOCKET_PATH = "/{device_id}/ws"
NEXT_PATH = "/{device_id}/next"
CONSOLE_PATH = f"{CONSOLE_PREFIX}tronbyt/"
DEVICE_ID = re.compile("[0-9a-fA-F]{8}")
EVER_S = 1e9
PUSH_MAX_BYTES = 4 * 1024 * 1024

SAMPLES: dict[str, Callable[[], bytes]] = {
    "heart": pixel_apps.heart,
    "checkerboard": lambda: pixels.encode(pixels.checkerboard()),
    "large, 128x64": lambda: pixels.encode(pixels.checkerboard((128, 64), "#041c32", "#31c6d4")),
    "one pixel": lambda: pixels.encode(pixels.plain("#ff5c85", (1, 1))),
    "alpha": lambda: pixels.encode(pixels.glass()),
    "565 kB": pixels.heavy,
}


class TronbytServer(Service):
    """The backend. Attributes are knobs and may be changed at any time; more faults through `fault("/ID/ws", ...)`: a status
    instead of the upgrade, a close code after it, reset, delay.
    """

    kind = "tronbyt"
    title = "Pixel feeds"

    def __init__(self, *, key: str = "", apps: Sequence[App] = (), hub: Hub | None = None, **listen: Any) -> None:
        super().__init__(hub=hub, **listen)
        self.key = key
        """What devices must bear, as ?key= or as a bearer; empty: none is asked for."""
        self.apps = list(apps)
        """The rotation of devices that are new."""
        self.stranger: int | None = None
        """What an unknown device gets: an HTTP status, or a close code from 1000 on; None: it is taken in."""
        self.ack_timeout_s: float | None = None
        """So long a device may take to display an image, else it counts as old firmware; None: twice the dwell, at least 25 s."""
        self.displays: dict[str, PixelDisplay] = {}
        self._serials = itertools.count(1)

    def display(self, device_id: str) -> PixelDisplay:
        """The device with that id; made, with the rotation for new ones, if it never called."""
        if device_id not in self.displays:
            self.displays[device_id] = PixelDisplay(device_id, self.hub, self.apps)
            self.hub.changed()
        return self.displays[device_id]

    def device_url(self, device_id: str) -> str:
        """What an agent's `url` is to be, without a key."""
        return self.url.replace("http", "ws", 1) + SOCKET_PATH.format(device_id=device_id)

    async def connected(self, device_id: str, timeout_s: float = 10.0) -> PixelDisplay:
        """The device, once it has said who it is."""
        display = self.display(device_id)
        await self.wait_for(lambda: any(peer.introduced for peer in display.peers), timeout_s, what=f"connection of {device_id}")
        return display

    def push(self, device_id: str, app: App, *, immediate: bool = True) -> None:
        """Puts an app before the rotation; it goes out at once, whatever is waited for."""
        self.display(device_id).pushes.append((app, immediate))
        self.hub.changed()

    async def send_image(
        self, device_id: str, image: bytes, *, dwell_secs: Any = None, immediate: bool = False, name: str = "image"
    ) -> Sent:
        """Sends an image now, beside the rotation, with the messages around it. Raises ConnectionError."""
        return await self._send(self.display(device_id), self._peer(device_id), App(name, image, dwell_secs), immediate=immediate)

    async def send(self, device_id: str, message: Mapping[str, Any]) -> None:
        """Sends an object. Raises ConnectionError."""
        await self.send_raw(device_id, json.dumps(message))
        self.hub.event(self.kind, device_id, "out", next(iter(message), "empty object"), dict(message))

    async def send_raw(self, device_id: str, frame: str | bytes) -> None:
        """Sends a text or binary frame as it is, unseen by the bookkeeping of images. Raises ConnectionError."""
        peer = self._peer(device_id)
        async with peer.turn:
            await (peer.socket.send_str(frame) if isinstance(frame, str) else peer.socket.send_bytes(frame))

    async def set_brightness(self, device_id: str, percent: Any) -> None:
        """Sets the brightness; a device that is connected is told at once."""
        display = self.display(device_id)
        display.brightness = percent
        for peer in display.peers:
            if not peer.silent:
                async with peer.turn:
                    await self._send_brightness(display, peer)
        self.hub.changed()

    def pause(self, device_id: str, *, value: bool = True) -> None:
        """Stops the rotation, or lets it go on with the next image at once."""
        self.display(device_id).paused = value
        self.hub.event(self.kind, device_id, "note", "rotation stopped" if value else "rotation goes on")

    def leave(self, device_id: str, *, value: bool = True) -> None:
        """The server is gone for this device, or back."""
        self.display(device_id).away = value
        if value:
            self.drop(device_id)
        self.hub.event(self.kind, device_id, "note", "the server has gone" if value else "the server is back")

    def silence(self, device_id: str) -> None:
        """Nothing goes out on the device's connections any more; pings are answered. A new connection is as any other."""
        for peer in self.display(device_id).peers:
            peer.silent = True
        self.hub.event(self.kind, device_id, "note", "silent from now on")

    def drop(self, device_id: str) -> None:
        """Resets the device's connections, without a close frame."""
        for peer in self.display(device_id).peers:
            abort(peer.request)

    async def close(self, device_id: str, code: int = 1000, reason: str = "") -> None:
        """Closes the device's connections with that code."""
        for peer in tuple(self.display(device_id).peers):
            await peer.socket.close(code=code, message=reason.encode())

    # the console page

    def state(self) -> dict[str, Any]:
        return {
            "device_url": self.device_url("0a1b2c3d"),
            "samples": list(SAMPLES),
            "hostile": sorted(pixels.HOSTILE),
            "displays": [{**display.state(), "screen": self._screen_of(display)} for display in self.displays.values()],
        }

    async def command(self, name: str, args: Mapping[str, Any]) -> Any:
        device_id = str(args["device_id"])
        if name == "push_text":
            image = await asyncio.to_thread(pixel_apps.label, str(args["text"])[:60], *_colours(args))
            self.push(device_id, App(str(args["text"])[:60], image, 6))
        elif name == "push_sample":
            image = await asyncio.to_thread(SAMPLES[str(args["sample"])])
            self.push(device_id, App(str(args["sample"]), image, 6), immediate=bool(args.get("immediate", True)))
        elif name == "push_hostile":
            image = await asyncio.to_thread(pixels.HOSTILE[str(args["sample"])])
            self.push(device_id, App(str(args["sample"]), image, 6))
        elif name == "brightness":
            await self.set_brightness(device_id, max(0, min(100, int(args["value"]))))
        elif name == "send":
            await self.send(device_id, dict(args["message"]))
        elif name == "close":
            await self.close(device_id, int(args.get("code", 1000)))
        else:
            self._set(device_id, name, args.get("value"))

    def _set(self, device_id: str, name: str, value: Any) -> None:
        """The commands of the console page that take nothing, or one value."""
        display = self.display(device_id)
        if name in ("pause", "leave"):
            getattr(self, name)(device_id, value=bool(value))
        elif name in ("drop", "silence"):
            getattr(self, name)(device_id)
        elif name == "jump" and isinstance(value, int) and 0 <= value < len(display.apps):
            self.push(device_id, display.apps[value])
            display.place = (value + 1) % len(display.apps)
        elif name == "habit" and value in ("waits", "timed"):
            display.habit = value
        elif name == "scale" and value in ("percent", "byte"):
            display.scale = value
            for peer in display.peers:
                peer.brightness = None
        elif name == "fragments":
            display.fragments = max(1, min(1000, int(value)))
        else:
            raise ValueError(f"no such command: {name} {value}")
        self.hub.changed()

    def _screen_of(self, display: PixelDisplay) -> dict[str, Any] | None:
        """The newest screenshot that the same box gave to the signage server, if there is one in this process."""
        signage = self.hub.services.get(SignageServer.kind)
        if not isinstance(signage, SignageServer):
            return None
        mac = str(display.client_infos[-1].get("mac", "")) if display.client_infos else ""
        devices = list(signage.devices.values())
        found = [device for device in devices if mac and mac in device.names] or (devices if len(devices) == 1 else [])
        picture = found[0].state()["screenshot"] if found else None
        return {**picture, "device": found[0].serial} if picture else None

    # the wire

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(SOCKET_PATH, self._socket)
        app.router.add_get(NEXT_PATH, self._next_image)
        app.router.add_get(f"{CONSOLE_PATH}image", self._give_image)
        app.router.add_post(f"{CONSOLE_PATH}push", self._take_push)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        device_id, fault = request.match_info["device_id"], request[FAULT]
        refused = self._refused(request)
        if refused is not None and refused < 1000:
            return refusal(refused, HTTPStatus(refused).phrase)
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=64 * 1024, timeout=2.0)
        await socket.prepare(request)
        record_of(request).status = HTTPStatus.SWITCHING_PROTOCOLS
        code = refused or fault.close_code
        if code is not None:
            await socket.close(code=code)
            return socket
        if fault.deaf:
            await asyncio.Event().wait()
        display = self.display(device_id)
        for old in tuple(display.peers):  # one connection per device: the newer one wins
            await old.socket.close(message=b"replaced")
        display.connections += 1
        peer = Peer(socket, request, display.connections)
        display.peers.append(peer)
        self.hub.event(self.kind, device_id, "note", "connected", {"connections": display.connections})
        feeding = asyncio.create_task(self._feed(display, peer), name=f"feed of {device_id}")
        try:
            await self._listen(display, peer)
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await feeding
            display.peers.remove(peer)
            self.hub.event(self.kind, device_id, "note", "disconnected", {"code": socket.close_code})
        return socket

    async def _listen(self, display: PixelDisplay, peer: Peer) -> None:
        async for frame in peer.socket:
            if frame.type == WSMsgType.PING:
                peer.pings.append(time.monotonic())
                await peer.socket.pong(frame.data)
            elif frame.type == WSMsgType.BINARY:
                display.complain("a binary frame")
                await peer.socket.close(code=UNSUPPORTED_DATA)
            elif frame.type == WSMsgType.TEXT:
                data = parsed(frame.data)
                if wrong := fault_of(data):
                    display.complain(f"{wrong}: {frame.data[:120]}")
                    await peer.socket.close(code=INVALID_DATA)
                    return
                display.note(peer, Said(time.monotonic(), data, frame.data))
                self.hub.event(self.kind, display.device_id, "in", next(iter(data)), data)
            self.hub.changed()

    async def _feed(self, display: PixelDisplay, peer: Peer) -> None:
        """What goes out by itself, until the connection ends."""
        while True:
            await self.wait_for(lambda: self._has_next(display, peer), EVER_S)
            app, immediate = self._take_next(display)
            before = peer.displayings
            sent = await self._send(display, peer, app, immediate=immediate)
            while not await self._turn_over(display, peer, sent, before):
                pass

    async def _turn_over(self, display: PixelDisplay, peer: Peer, sent: Sent, before: int) -> bool:
        """Waits until the next image may go out; False when the habit has changed and there is to be waited by the new one."""
        habit = display.habit
        by_time = habit == "timed" or display.old_firmware or not sent.image
        patience = max(25.0, 2 * sent.dwell_s) if self.ack_timeout_s is None else self.ack_timeout_s

        def over() -> bool:
            acknowledged = habit == "waits" and peer.displayings > before
            return (not peer.silent and (bool(display.pushes) or acknowledged)) or display.habit != habit

        try:
            await self.wait_for(over, max(0.0, sent.at + (sent.dwell_s if by_time else patience) - time.monotonic()))
        except TimeoutError:
            if not by_time and not peer.silent:
                display.old_firmware = True
                self.hub.event(self.kind, display.device_id, "note", "no acknowledgement: taken for old firmware")
            return True
        return display.habit == habit

    @staticmethod
    def _has_next(display: PixelDisplay, peer: Peer) -> bool:
        return not peer.silent and (bool(display.pushes) or (bool(display.apps) and not display.paused))

    @staticmethod
    def _take_next(display: PixelDisplay) -> tuple[App, bool]:
        if display.pushes:
            return display.pushes.pop(0)
        app = display.apps[display.place % len(display.apps)]
        display.place = (display.place + 1) % len(display.apps)
        return app, False

    async def _send(self, display: PixelDisplay, peer: Peer, app: App, *, immediate: bool) -> Sent:
        """One image in the order of the contract; or the error message of an app without one."""
        image = await asyncio.to_thread(app.image) if callable(app.image) else app.image
        async with peer.turn:
            sent = Sent(next(self._serials), app.name, image or b"", app.dwell_secs, immediate, time.monotonic(), peer.connection)
            if image is None:
                await peer.socket.send_json({"status": "error", "message": "Error fetching image: 500"})
                self.hub.event(self.kind, display.device_id, "out", "error", {"app": app.name})
                return sent
            if app.dwell_secs is not None:
                await peer.socket.send_json({"dwell_secs": app.dwell_secs})
            if display.brightness != peer.brightness:
                await self._send_brightness(display, peer)
            display.keep(sent)
            if image:
                peer.unanswered.append(sent)
            sent.at = time.monotonic()
            await send_image(peer, image, display.fragments)
            if immediate:
                await peer.socket.send_json({"immediate": True})
        about = {"app": app.name, "bytes": len(image), "dwell": app.dwell_secs, "immediate": immediate}
        self.hub.event(self.kind, display.device_id, "out", f"image {app.name}", about)
        return sent

    async def _send_brightness(self, display: PixelDisplay, peer: Peer) -> None:
        value = display.brightness
        whole = isinstance(value, int) and not isinstance(value, bool)
        await peer.socket.send_json({"brightness": round(value * 255 / 100) if whole and display.scale == "byte" else value})
        peer.brightness = value
        self.hub.event(self.kind, display.device_id, "out", "brightness", {"brightness": value, "scale": display.scale})

    async def _next_image(self, request: web.Request) -> web.StreamResponse:
        """Polling: each request turns the rotation by one, unless it stands still."""
        refused = self._refused(request)
        if refused is not None:
            return refusal(refused if refused < 1000 else 404, "Not found")
        display = self.display(request.match_info["device_id"])
        if display.live:
            display.complain("polls next to an open socket")
        display.polls.append(time.monotonic())
        if display.paused and not display.pushes and display.sent:
            last = display.sent[-1]
            app, immediate = App(last.name, last.image, last.dwell_secs), False
        elif display.pushes or display.apps:
            app, immediate = self._take_next(display)
        else:
            return refusal(404, "no app to show")
        image = await asyncio.to_thread(app.image) if callable(app.image) else app.image
        if image is None:
            return refusal(500, "Error fetching image")
        sent = Sent(next(self._serials), app.name, image, app.dwell_secs, immediate, time.monotonic(), 0)
        display.keep(sent)
        display.note_shown(sent, sent.at)
        headers = {"Cache-Control": "no-store"}
        if display.brightness is not None:
            headers["Tronbyt-Brightness"] = str(display.brightness)
        if app.dwell_secs is not None:
            headers["Tronbyt-Dwell-Secs"] = str(app.dwell_secs)
        if immediate:
            headers["Tronbyt-Immediate"] = "1"
        return web.Response(body=image, content_type="image/webp", headers=headers)

    def _refused(self, request: web.Request) -> int | None:
        """The HTTP status or close code for who may not come in. Raises ConnectionResetError where nobody is there."""
        device_id = request.match_info["device_id"]
        if self.key and self.key not in (request.query.get("key", ""), record_of(request).bearer):
            return 401
        if not DEVICE_ID.fullmatch(device_id):
            return POLICY_VIOLATION
        if device_id not in self.displays and self.stranger is not None:
            return self.stranger
        if device_id in self.displays and self.displays[device_id].away:
            raise ConnectionResetError("the server has gone for this device")
        return None

    def _peer(self, device_id: str) -> Peer:
        peers = [peer for peer in self.display(device_id).peers if not peer.silent]
        if not peers:
            raise ConnectionError(f"{device_id} is not connected")
        return peers[-1]

    async def _give_image(self, request: web.Request) -> web.StreamResponse:
        display = self.displays.get(request.query.get("device_id", ""))
        sent = [one for one in display.sent if str(one.serial) == request.query.get("serial")] if display else []
        if not sent:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=sent[0].image, content_type=content_type(sent[0].image), headers=headers)

    async def _take_push(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden
        image = await request.read()
        device_id = request.query.get("device_id", "")
        if device_id not in self.displays or len(image) > PUSH_MAX_BYTES:
            return refusal(400, "no such device, or a file above 4 MB")
        self.push(device_id, App(request.query.get("name", "file")[:60], image, 6))
        return web.json_response({})


def _colours(args: Mapping[str, Any]) -> list[str]:
    colours = [str(args.get(key, other)) for key, other in (("colour", "#ffffff"), ("background", "#5b21b6"))]
    if not all(re.fullmatch("#[0-9a-fA-F]{6}", colour) for colour in colours):
        raise ValueError("colours are #RRGGBB")
    return colours
