"""What stands in for the camera, and viewers and devices that do only what they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect

from agent.camera.messages import IceServer
from agent.camera.proxy import CameraSession
from tests.servers.camera import VIEWER_PATH, VIEWER_TOKEN, SignalingServer

DEVICE_ID = "KITCHEN-01"
STAMP = "2025-01-01T12:36:00.000Z"


@dataclass
class Opened:
    """A session as the camera sees it."""

    session: str
    ice_servers: tuple[IceServer, ...]
    listener: CameraSession
    offers: list[str] = field(default_factory=list)
    candidates: list[tuple[str, str | None, int | None]] = field(default_factory=list)
    closed: bool = False


class StandInCamera:
    """A camera that notes what it is told. `auto`: every offer is answered at once."""

    def __init__(self, *, auto: bool = False) -> None:
        self.auto = auto
        self.recording = False
        self.opened: list[Opened] = []
        self.calls: list[tuple[str, str]] = []
        """What was called with which session, oldest first."""
        self.refusal = ""

    def session(self, session: str = "") -> Opened:
        """The newest session, or the newest of that name."""
        return [one for one in self.opened if session in ("", one.session)][-1]

    def open(self, session: str, ice_servers: Sequence[IceServer], listener: CameraSession, *, link: str = "") -> None:
        """See `CameraProxy`."""
        assert link == "cam"
        self.calls.append(("open", session))
        self.opened.append(Opened(session, tuple(ice_servers), listener))
        if self.refusal:
            asyncio.get_running_loop().call_soon(listener.on_refused, self.refusal)

    def offer(self, session: str, sdp: str, *, link: str = "") -> None:
        """See `CameraProxy`."""
        self.calls.append(("offer", session))
        for one in self.opened[::-1]:
            if one.session == session:
                one.offers.append(sdp)
                if self.auto:
                    one.listener.on_answer("v=0 answer")
                return

    def candidate(
        self, session: str, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None, *, link: str = ""
    ) -> None:
        """See `CameraProxy`."""
        self.calls.append(("candidate", session))
        for one in self.opened[::-1]:
            if one.session == session:
                one.candidates.append((candidate, sdp_mid, sdp_mline_index))
                return

    def close(self, session: str, *, link: str = "") -> None:
        """See `CameraProxy`."""
        self.calls.append(("close", session))
        for one in self.opened:
            if one.session == session:
                one.closed = True


class StandInViewer:
    """A viewer with a connection; `async with` opens it and says hello."""

    def __init__(self, server: SignalingServer, token: str = VIEWER_TOKEN) -> None:
        self._server = server
        self._token = token
        self.socket: ClientConnection
        self.session_id = ""

    async def __aenter__(self) -> Self:
        self.socket = await connect(self._server.url.replace("http", "ws", 1) + VIEWER_PATH, compression=None, proxy=None)
        await self.say("hello", token=self._token)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def say(self, kind: str, request_id: str | None = None, **payload: Any) -> None:
        """Sends a message."""
        envelope: dict[str, Any] = {"type": kind, "ts": STAMP, "payload": payload}
        if request_id is not None:
            envelope["request_id"] = request_id
        await self.socket.send(json.dumps(envelope))

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of that type; others are passed over."""
        async with asyncio.timeout(10):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                if message["type"] == kind:
                    return message

    async def watch(self, device_id: str = DEVICE_ID) -> str:
        """Asks to watch; the session id."""
        await self.say("watch_request", request_id="req-001", device_id=device_id)
        self.session_id = (await self.hear("watch_ready"))["payload"]["session_id"]
        return self.session_id

    async def offer(self, sdp: str = "v=0 offer") -> None:
        """Sends an offer for its session."""
        await self.say("signal_offer", session_id=self.session_id, sdp={"type": "offer", "sdp": sdp})
