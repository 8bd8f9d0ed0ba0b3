"""A fake of the camera server: devices and viewers, watch sessions between them, signaling relayed, presence kept.

`SignalingServer(hub=...)` beside other services, or alone with `async with`. Devices register by HTTP and speak at DEVICE_PATH;
viewers, such as the console page, speak at VIEWER_PATH with a token of `viewers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal

from aiohttp import WSMsgType, web

from tests.servers.core import Hub
from tests.servers.exchange import FAULT, abort, hide_tokens, json_body, no_number, record_of, refusal
from tests.servers.service import Service

REGISTER_PATH = "/api/devices/register"
DEVICE_PATH = "/ws/device"
VIEWER_PATH = "/ws/viewer"
VIEWER_TOKEN = "demo-viewer"
POLICY_VIOLATION = 1008
MESSAGES_KEPT = 20_000
SESSIONS_KEPT = 2_000
SIGNALS = ("watch_request", "signal_offer", "signal_ice")


@dataclasses.dataclass(frozen=True)
class Said:
    """A message from a device or a viewer. `at` is time.monotonic(); `data` its JSON or None; `raw` as it came."""

    at: float
    data: Any
    raw: str | bytes


@dataclasses.dataclass
class Peer:
    """One socket, of a device or a viewer."""

    socket: web.WebSocketResponse
    request: web.Request
    user_id: str = ""
    """Of a viewer."""
    deaf: bool = False
    """Nothing it says is looked at any more; pings are answered all the same."""


class Camera:
    """One device. Filled by the server, read by tests and by the console page."""

    def __init__(self, device_id: str, hub: Hub) -> None:
        self.device_id = device_id
        self.registered: list[dict[str, Any]] = []
        """The bodies of its registrations, oldest first."""
        self.connections = 0
        """How many sockets have said hello so far."""
        self.peers: list[Peer] = []
        """The sockets open now that have said hello, the newest last."""
        self.messages: list[Said] = []
        """What it said, oldest first."""
        self.presence: dict[str, Any] | None = None
        self._hub = hub

    @property
    def live(self) -> int:
        """How many sockets it has open."""
        return len(self.peers)

    @property
    def name(self) -> str:
        """As registered."""
        return str(self.registered[-1].get("device_name", "")) if self.registered else ""

    def said(self, kind: str = "", *, since: int = 0, **payload: Any) -> list[dict[str, Any]]:
        """The messages of this type, with these values in their payload, from number `since` on."""
        found = [message.data for message in self.messages[since:] if isinstance(message.data, dict)]
        return [one for one in found if kind in ("", one.get("type")) and _holds(one.get("payload"), payload)]

    def mark(self) -> int:
        """How many messages have come; to be passed as `since`."""
        return len(self.messages)

    async def wait_for(self, kind: str, *, since: int = 0, timeout_s: float = 10.0, **payload: Any) -> dict[str, Any]:
        """The first such message. Raises TimeoutError, with the last messages in its text."""
        found = await self._hub.wait_for(
            lambda: self.said(kind, since=since, **payload),
            timeout_s,
            what=lambda: f"{kind} {payload} of {self.device_id}; last: {[one.raw for one in self.messages[since:]][-5:]}",
        )
        return found[0]


@dataclasses.dataclass
class WatchSession:
    """One viewer's watching of one device."""

    session_id: str
    camera: Camera
    viewer: Peer
    state: Literal["ready", "answered", "ended"] = "ready"
    reason: str = ""
    started_ms: int = 0
    held: list[dict[str, Any]] | None = None
    """What waits for the rest, when signals are reordered; None: nothing is held back (any more)."""


class SignalingServer(Service):
    """The backend. Attributes are knobs and may be changed at any time; more faults through `fault(path, ...)`.

    A fault's `deaf` at DEVICE_PATH is a server that does not even answer pings; `close_code` closes before hello is read.
    """

    kind = "camera"
    title = "Cameras"

    def __init__(self, *, token: str = "", hub: Hub | None = None, **listen: Any) -> None:
        super().__init__(hub=hub, **listen)
        self.token = token
        """What devices must bear; empty: none is asked for."""
        self.viewers = {VIEWER_TOKEN: "123"}
        """Token → user id."""
        self.cameras: dict[str, Camera] = {}
        self.sessions: dict[str, WatchSession] = {}
        self.ice_servers: list[dict[str, Any]] = []
        """For the device."""
        self.viewer_ice_servers: list[dict[str, Any]] | None = None
        """For the viewer; None: the same."""
        self.hello_ack = True
        """False: hello is read and never acknowledged."""
        self.before_ack: list[dict[str, Any]] = []
        """Messages that come between hello and its acknowledgement, 50 ms before that."""
        self.deaf_after_hello = False
        """After hello_ack nothing is read any more, yet the socket stays open and pings are answered."""
        self.close_at_hello: int | None = None
        """Close with this code instead of an acknowledgement."""
        self.heartbeat_acks = True
        self.relay_delay_s = 0.0
        """Signals for the device come so much later."""
        self.order: Sequence[str] | None = None
        """The order in which the first signals of a session reach the device, for instance ("signal_offer", "watch_request")."""
        self.times: Literal["z", "naive", "seconds"] = "z"
        """How `ts` is written."""

    def camera(self, device_id: str) -> Camera:
        """The device with that id; made, unregistered, if it never called."""
        if device_id not in self.cameras:
            self.cameras[device_id] = Camera(device_id, self.hub)
        return self.cameras[device_id]

    async def connected(self, device_id: str, timeout_s: float = 10.0) -> Camera:
        """The device, once its hello was acknowledged."""
        camera = self.camera(device_id)
        await self.wait_for(lambda: camera.live > 0, timeout_s, what=f"connection of {device_id}")
        return camera

    async def send(self, device_id: str, kind: str, payload: Any = None, **envelope: Any) -> None:
        """Sends a message to the device. Raises ConnectionError if it has no open socket."""
        message = {"type": kind, "ts": self.now(), **envelope, "payload": {} if payload is None else payload}
        await self.send_raw(device_id, json.dumps(message))
        self.hub.event(self.kind, device_id, "out", kind, _brief(message))

    async def send_raw(self, device_id: str, frame: str | bytes) -> None:
        """Sends a text or binary frame as it is."""
        peers = self.camera(device_id).peers
        if not peers:
            raise ConnectionError(f"{device_id} is not connected")
        await (peers[-1].socket.send_str(frame) if isinstance(frame, str) else peers[-1].socket.send_bytes(frame))

    def drop(self, device_id: str) -> None:
        """Resets the device's connections, without a close frame."""
        for peer in self.camera(device_id).peers:
            abort(peer.request)

    async def close(self, device_id: str, code: int = 1000, reason: str = "") -> None:
        """Closes the device's connections with that code."""
        for peer in tuple(self.camera(device_id).peers):
            await peer.socket.close(code=code, message=reason.encode())

    async def end(self, session_id: str, reason: str) -> None:
        """Ends a session, unless it has ended: the device is told, and the viewer where it was not the viewer's wish."""
        session = self.sessions.get(session_id)
        if session is None or session.state == "ended":
            return
        session.state, session.reason = "ended", reason
        payload = {"session_id": session_id, "reason": reason}
        with contextlib.suppress(ConnectionError):
            await self._relay(session, {"type": "watch_ended", "ts": self.now(), "payload": payload})
        if reason not in ("user_ended", "viewer_disconnected"):
            await self._tell(session.viewer, "watch_ended", payload)
        self.hub.changed()

    def forget(self) -> None:
        """The registry is empty, as after a server's loss of memory."""
        for camera in self.cameras.values():
            camera.registered.clear()
        self.hub.note("camera registrations forgotten")

    def now(self) -> str:
        """The present as `ts`, in the form that is set."""
        moment = datetime.now(UTC)
        if self.times == "naive":
            return moment.replace(tzinfo=None).isoformat()
        return (
            moment.strftime("%Y-%m-%dT%H:%M:%SZ")
            if self.times == "seconds"
            else f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
        )

    # the console page

    def state(self) -> dict[str, Any]:
        return {
            "viewer": {"path": VIEWER_PATH, "token": next(iter(self.viewers), "")},
            "device_url": f"{self.url.replace('http', 'ws', 1)}{DEVICE_PATH}",
            "cameras": [
                {
                    "device_id": camera.device_id,
                    "name": camera.name,
                    "registered": bool(camera.registered),
                    "connected": camera.live > 0,
                    "presence": camera.presence,
                    "sessions": sum(one.camera is camera and one.state != "ended" for one in self.sessions.values()),
                }
                for camera in self.cameras.values()
            ],
            "knobs": {
                "hello_ack": self.hello_ack,
                "heartbeat_acks": self.heartbeat_acks,
                "deaf_after_hello": self.deaf_after_hello,
            },
        }

    async def command(self, name: str, args: Mapping[str, Any]) -> Any:
        device_id = str(args.get("device_id", ""))
        if name in ("drop", "close", "send", "end_all") and device_id not in self.cameras:
            raise ValueError(f"no such device: {device_id}")
        if name == "drop":
            self.drop(device_id)
        elif name == "close":
            await self.close(device_id, int(args.get("code", 1000)))
        elif name == "send":
            message = dict(args["message"])
            await self.send(device_id, str(message.pop("type", "")), message.pop("payload", None))
        elif name == "end_all":
            for session in [one for one in self.sessions.values() if one.camera.device_id == device_id]:
                await self.end(session.session_id, str(args.get("reason", "timeout")))
        elif name == "forget_devices":
            self.forget()
        elif name == "knob" and args["name"] in ("hello_ack", "heartbeat_acks", "deaf_after_hello"):
            setattr(self, str(args["name"]), bool(args["value"]))
            self.hub.note(f"{args['name']} = {bool(args['value'])}")
        else:
            raise ValueError(f"no such command: {name}")

    # the wire

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post(REGISTER_PATH, self._register)
        app.router.add_get(DEVICE_PATH, self._device)
        app.router.add_get(VIEWER_PATH, self._viewer)

    async def _register(self, request: web.Request) -> web.Response:
        self._require_token(request)
        body = await json_body(request)
        wrong = [
            key for key in ("device_id", "device_name", "device_type") if not isinstance(body.get(key), str) or not body[key]
        ]
        if wrong:
            return refusal(400, f"missing or wrong: {', '.join(wrong)}")
        self.camera(body["device_id"]).registered.append(body)
        self.hub.changed()
        return web.json_response(body)

    async def _device(self, request: web.Request) -> web.StreamResponse:
        self._require_token(request)
        socket = await self._open(request)
        if socket.closed:
            return socket
        if request[FAULT].deaf:
            await asyncio.Event().wait()
        camera = await self._device_hello(socket)
        if camera is None:
            return socket
        peer = Peer(socket, request, deaf=self.deaf_after_hello)
        camera.connections += 1
        camera.peers.append(peer)
        self.hub.event(self.kind, camera.device_id, "note", "connected", {"connections": camera.connections})
        try:
            for early in self.before_ack:
                await socket.send_json(early)
            if self.before_ack:
                await asyncio.sleep(0.05)
            payload = {"device_id": camera.device_id, "server_time": self.now()}
            await self._tell(peer, "hello_ack", payload, device=camera.device_id)
            async for frame in socket:
                if not peer.deaf and (data := self._note(camera, frame.data)) is not None:
                    await self._on_device(camera, peer, data)
        finally:
            camera.peers.remove(peer)
            self.hub.event(self.kind, camera.device_id, "note", "disconnected", {"code": socket.close_code})
            if not camera.peers:
                for session in [one for one in self.sessions.values() if one.camera is camera]:
                    await self.end(session.session_id, "device_disconnected")
        return socket

    async def _device_hello(self, socket: web.WebSocketResponse) -> Camera | None:
        """The registered device that says hello; anything else is refused."""
        frame = await socket.receive()
        data = _json(frame.data) if frame.type == WSMsgType.TEXT else None
        payload = data.get("payload") if isinstance(data, dict) and data.get("type") == "hello" else None
        device_id = payload.get("device_id") if isinstance(payload, dict) else None
        if not isinstance(device_id, str) or not device_id:
            await socket.close(code=POLICY_VIOLATION, message=b"hello first")
            return None
        camera = self.camera(device_id)
        self._note(camera, frame.data)
        if self.close_at_hello is not None:
            await socket.close(code=self.close_at_hello)
            return None
        if not camera.registered:
            await socket.close(code=POLICY_VIOLATION, message=b"Device not found")
            return None
        if not self.hello_ack:
            async for more in socket:
                self._note(camera, more.data)
            return None
        return camera

    async def _on_device(self, camera: Camera, peer: Peer, data: dict[str, Any]) -> None:
        kind, payload = data.get("type"), data.get("payload")
        if kind == "heartbeat":
            if self.heartbeat_acks:
                await self._tell(peer, "heartbeat_ack", {})
        elif kind == "device_presence" and isinstance(payload, dict):
            camera.presence = payload
            self.hub.changed()
        elif kind in ("signal_answer", "signal_ice", "error") and isinstance(payload, dict):
            session = self.sessions.get(str(payload.get("session_id")))
            if session is None or session.camera is not camera or session.state == "ended":
                await self._tell(peer, "error", {"message": "Session not found"}, device=camera.device_id)
                return
            if kind == "signal_answer":
                session.state = "answered"
            await self._tell(session.viewer, kind, payload)
            if kind == "error":
                session.state, session.reason = "ended", "error"
            self.hub.changed()
        else:
            await self._tell(peer, "error", {"message": f"Unknown message type: {kind}"}, device=camera.device_id)

    async def _viewer(self, request: web.Request) -> web.StreamResponse:
        socket = await self._open(request)
        if socket.closed:
            return socket
        peer = Peer(socket, request)
        frame = await socket.receive()
        data = _json(frame.data) if frame.type == WSMsgType.TEXT else None
        payload = data.get("payload") if isinstance(data, dict) and data.get("type") == "hello" else None
        user_id = self.viewers.get(str(payload.get("token"))) if isinstance(payload, dict) else None
        if user_id is None:
            await socket.close(code=POLICY_VIOLATION, message=b"Invalid token")
            return socket
        peer.user_id = user_id
        await self._tell(peer, "hello_ack", {"user_id": user_id, "server_time": self.now()})
        try:
            async for frame in socket:
                said = _json(frame.data)
                if isinstance(said, dict):
                    await self._on_viewer(peer, said)
        finally:
            for session in [one for one in self.sessions.values() if one.viewer is peer]:
                await self.end(session.session_id, "viewer_disconnected")
        return socket

    async def _on_viewer(self, peer: Peer, data: dict[str, Any]) -> None:
        kind, payload = data.get("type"), data.get("payload")
        payload = payload if isinstance(payload, dict) else {}
        asked = {"request_id": data["request_id"]} if "request_id" in data else {}
        if kind == "heartbeat":
            await self._tell(peer, "heartbeat_ack", {})
        elif kind == "watch_request":
            camera = self.cameras.get(str(payload.get("device_id")))
            if camera is None or not camera.registered:
                await self._tell(peer, "error", {"message": "Device not found"}, **asked)
            elif not camera.peers:
                await self._tell(peer, "error", {"message": "Device is offline"}, **asked)
            else:
                await self._begin(camera, peer, asked)
        elif kind in ("signal_offer", "signal_ice", "end_watch"):
            session = self.sessions.get(str(payload.get("session_id")))
            if session is None or session.viewer is not peer or session.state == "ended":
                await self._tell(peer, "error", {"message": "Session not found"}, **asked)
            elif kind == "end_watch":
                await self.end(session.session_id, "user_ended")
            else:
                await self._relay(session, {"type": kind, "ts": self.now(), "payload": payload})
        else:
            await self._tell(peer, "error", {"message": f"Unknown message type: {kind}"}, **asked)

    async def _begin(self, camera: Camera, peer: Peer, asked: Mapping[str, Any]) -> None:
        session = WatchSession(str(uuid.uuid4()), camera, peer, started_ms=int(time.time() * 1000))
        session.held = [] if self.order else None
        self.sessions[session.session_id] = session
        while len(self.sessions) > SESSIONS_KEPT:
            del self.sessions[next(iter(self.sessions))]
        payload = {"session_id": session.session_id, "user_id": peer.user_id, "ice_servers": self.ice_servers}
        await self._relay(session, {"type": "watch_request", "ts": self.now(), "payload": payload})
        servers = self.ice_servers if self.viewer_ice_servers is None else self.viewer_ice_servers
        await self._tell(peer, "watch_ready", {"session_id": session.session_id, "ice_servers": servers}, **asked)
        self.hub.changed()

    async def _relay(self, session: WatchSession, message: dict[str, Any]) -> None:
        """To the device; in the order that is set, once one of each kind has come."""
        if self.relay_delay_s:
            await asyncio.sleep(self.relay_delay_s)
        ready = [message]
        if session.held is not None:
            session.held.append(message)
            order = list(self.order or ())
            if message["type"] in SIGNALS and {one["type"] for one in session.held} < set(order):
                return
            ready = sorted(session.held, key=lambda one: order.index(one["type"]) if one["type"] in order else len(order))
            session.held = None
        for one in ready:
            if not session.camera.peers:
                raise ConnectionError(f"{session.camera.device_id} is not connected")
            await session.camera.peers[-1].socket.send_str(json.dumps(one))
            self.hub.event(self.kind, session.camera.device_id, "out", one["type"], _brief(one))

    async def _tell(self, peer: Peer, kind: str, payload: Any, *, device: str = "", **envelope: Any) -> None:
        message = {"type": kind, **envelope, "ts": self.now(), "payload": payload}
        with contextlib.suppress(ConnectionError):
            await peer.socket.send_str(json.dumps(message))
        if device:
            self.hub.event(self.kind, device, "out", kind, _brief(message))

    async def _open(self, request: web.Request) -> web.WebSocketResponse:
        fault = request[FAULT]
        socket = web.WebSocketResponse(autoping=not fault.deaf, compress=False, max_msg_size=1024 * 1024, timeout=2.0)
        await socket.prepare(request)
        record_of(request).status = HTTPStatus.SWITCHING_PROTOCOLS
        if fault.close_code is not None:
            await socket.close(code=fault.close_code)
        return socket

    def _note(self, camera: Camera, raw: str | bytes) -> dict[str, Any] | None:
        """Keeps a message of a device; its JSON if it is an object."""
        data = _json(raw)
        camera.messages.append(Said(time.monotonic(), data, raw))
        if len(camera.messages) > MESSAGES_KEPT:
            del camera.messages[: MESSAGES_KEPT // 2]
        if not isinstance(data, dict):
            self.hub.event(self.kind, camera.device_id, "in", "not an object", repr(raw[:200]))
            return None
        if data.get("type") != "heartbeat":
            self.hub.event(self.kind, camera.device_id, "in", str(data.get("type", "message")), _brief(data))
        self.hub.changed()
        return data

    def _require_token(self, request: web.Request) -> None:
        if self.token and record_of(request).bearer != self.token:
            raise web.HTTPUnauthorized(text="Unauthorized")


def _json(raw: str | bytes) -> Any:
    if isinstance(raw, bytes):
        return None
    try:
        return json.loads(raw, parse_constant=no_number)
    except (ValueError, TypeError):
        return None


def _holds(payload: Any, wanted: Mapping[str, Any]) -> bool:
    return not wanted or (isinstance(payload, dict) and all(payload.get(key) == value for key, value in wanted.items()))


def _brief(message: Mapping[str, Any]) -> Any:
    """A message for the console's log."""
    shown = hide_tokens(message.get("payload"))
    return {**shown, "type": message.get("type")} if isinstance(shown, dict) else shown
