"""What a signage server knows of one device: what it registered, said, was told and showed."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from tests.servers.core import Hub

SCREENSHOTS_KEPT = 20
MESSAGES_KEPT = 20_000


@dataclasses.dataclass(frozen=True)
class Message:
    """One frame. `at` is time.monotonic(); `data` its JSON or None; `raw` as it came."""

    at: float
    data: Any
    raw: str | bytes


@dataclasses.dataclass(frozen=True)
class Screenshot:
    """One upload. `form` is 'device' or 'cloud'; `fields` the text fields of the form."""

    at: float
    wall_ms: int
    form: str
    fields: dict[str, str]
    image: bytes


class Device:
    """One device, known by its serial. Filled by the server, read by tests and by the console page."""

    def __init__(self, serial: str, hub: Hub) -> None:
        self.serial = serial
        self.registered: list[dict[str, Any]] = []
        """The bodies of its registrations, oldest first."""
        self.messages: list[Message] = []
        """The frames it sent, oldest first."""
        self.connections = 0
        """How many sockets it has opened so far."""
        self.sockets: list[tuple[web.WebSocketResponse, web.Request]] = []
        """The sockets open now."""
        self.screenshots: deque[Screenshot] = deque(maxlen=SCREENSHOTS_KEPT)
        self.screens: dict[str, Any] | None = None
        """Its screens by side, or None: what the server offers to all. Set through `SignageServer.offer`, or at will."""
        self.raw_screens: str | None = None
        """If set, the body of its playlists request, whatever it is."""
        self.ready: list[Any] | None = None
        """The ids of its newest ready_playlists."""
        self.statuses: dict[Any, dict[str, Any]] = {}
        """Its newest playlist_status per playlist."""
        self.volume: int | None = None
        self.brightness: int | None = None
        self.playlist_id: Any = None
        """The playlist it was last switched to from here."""
        self.paused = False
        self._screenshots_seen = 0
        self._hub = hub

    @property
    def live(self) -> int:
        """How many sockets it has open."""
        return len(self.sockets)

    @property
    def said(self) -> list[dict[str, Any]]:
        """The JSON objects it sent, oldest first."""
        return [message.data for message in self.messages if isinstance(message.data, dict)]

    @property
    def names(self) -> set[str]:
        """By what it may call itself: serial, MAC, device id (the MAC's hex digits)."""
        macs = {str(body["mac_address"]) for body in self.registered if "mac_address" in body}
        return {self.serial} | macs | {mac.replace(":", "").upper() for mac in macs}

    def mark(self) -> int:
        """How many frames have come; to be passed as `since`."""
        return len(self.messages)

    async def wait_for(
        self,
        predicate: Callable[[dict[str, Any]], bool] | None = None,
        *,
        timeout_s: float = 10.0,
        since: int = 0,
        **fields: Any,
    ) -> dict[str, Any]:
        """The first object the device sent (from frame `since` on) for which `predicate` holds and `fields` are equal.

        Raises TimeoutError, with the last frames in its text.
        """

        def found() -> dict[str, Any] | None:
            for message in self.messages[since:]:
                data = message.data
                if not isinstance(data, dict) or any(data.get(key, None) != value for key, value in fields.items()):
                    continue
                if predicate is None or predicate(data):
                    return data
            return None

        def what() -> str:
            last = [message.raw for message in self.messages[since:]][-5:]
            return f"message {fields or predicate} of {self.serial}, {self.live} connected; last frames: {last}"

        message = await self._hub.wait_for(found, timeout_s, what=what)
        assert message is not None
        return message

    async def wait_screenshot(self, *, after: int = 0, timeout_s: float = 10.0) -> Screenshot:
        """The newest screenshot once more than `after` have come."""
        await self._hub.wait_for(lambda: self._screenshots_seen > after, timeout_s, what=f"screenshot of {self.serial}")
        return self.screenshots[-1]

    # filled by the server

    def note_registered(self, body: dict[str, Any]) -> None:
        self.registered.append(body)
        self.volume, self.brightness = body["volume"], body["brightness"]
        self._hub.changed()

    def note_opened(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.connections += 1
        self.sockets.append((socket, request))

    def note_closed(self, socket: web.WebSocketResponse) -> None:
        self.sockets = [entry for entry in self.sockets if entry[0] is not socket]

    def note_message(self, message: Message) -> None:
        self.messages.append(message)
        data = message.data
        if isinstance(data, dict) and data.get("type") == "ready_playlists" and isinstance(data.get("playlist_ids"), list):
            self.ready = data["playlist_ids"]
        elif isinstance(data, dict) and data.get("type") == "playlist_status" and _hashable(data.get("playlist_id")):
            self.statuses[data.get("playlist_id")] = data

    def note_screenshot(self, screenshot: Screenshot) -> None:
        self._screenshots_seen += 1
        self.screenshots.append(screenshot)
        self._hub.changed()

    def note_sent(self, message: Mapping[str, Any]) -> None:
        """Keeps what the console page shows of a command that went out."""
        action = message.get("action")
        if action in ("set_volume", "set_brightness"):
            name = str(action).removeprefix("set_")
            value = message.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                setattr(self, name, max(0, min(100, int(value))))
        elif action == "switch_playlist":
            self.playlist_id = message.get("playlist_id")
        elif action in ("play", "pause", "next", "previous", "play_media"):
            self.paused = action == "pause"

    def state(self) -> dict[str, Any]:
        """What the console page shows."""
        newest = self.screenshots[-1] if self.screenshots else None
        return {
            "serial": self.serial,
            "connected": self.live > 0,
            "connections": self.connections,
            "registered": self.registered[-1] if self.registered else None,
            "volume": self.volume,
            "brightness": self.brightness,
            "paused": self.paused,
            "playlist_id": self.playlist_id,
            "ready": self.ready,
            "statuses": list(self.statuses.values()),
            "screenshot": None
            if newest is None
            else {"number": self._screenshots_seen, "wall_ms": newest.wall_ms, "media_id": newest.fields.get("media_id")},
        }


def _hashable(value: Any) -> bool:
    return isinstance(value, int | str | float | None)
