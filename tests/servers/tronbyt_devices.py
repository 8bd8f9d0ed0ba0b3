"""What a Tronbyt server knows of one device: its rotation, what went out to it, what it acknowledged, what it did wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

from aiohttp import web

from tests.servers import pixel_apps
from tests.servers.core import Hub

KEPT = 5_000
ACKS_SHOWN = 14

Habit = Literal["waits", "timed"]
"""Whether the next image goes out when the last one is acknowledged as displaying, or when its dwell is over."""


@dataclasses.dataclass(frozen=True)
class App:
    """One place of a rotation. `image` is a file, or makes one whenever its turn comes; None: an error message goes out."""

    name: str
    image: bytes | Callable[[], bytes] | None
    dwell_secs: Any = 10
    """As it goes out; None: no dwell goes out."""


@dataclasses.dataclass(frozen=True)
class Said:
    """A frame from the device. `at` is time.monotonic(); `data` its JSON or None; `raw` as it came."""

    at: float
    data: Any
    raw: str | bytes


@dataclasses.dataclass(eq=False)
class Sent:
    """An image that went out; times are time.monotonic()."""

    serial: int
    """Counted by the server, over all devices."""
    name: str
    image: bytes
    dwell_secs: Any
    immediate: bool
    at: float
    connection: int
    number: int | None = None
    """The device's, from its `queued`."""
    queued_at: float | None = None
    displaying_at: float | None = None
    shown_ms: int | None = None
    """Wall clock."""

    @property
    def dwell_s(self) -> float:
        """How long it is to stay, as a server reckons."""
        whole = isinstance(self.dwell_secs, int) and not isinstance(self.dwell_secs, bool)
        return min(3600.0, max(1.0, float(self.dwell_secs))) if whole else 10.0


@dataclasses.dataclass(frozen=True)
class Ack:
    """An acknowledgement. `at` is time.monotonic(); `sent` the image it means, if there is one."""

    at: float
    wall_ms: int
    kind: Literal["queued", "displaying"]
    number: int
    sent: Sent | None


@dataclasses.dataclass(eq=False)
class Peer:
    """One socket of the device."""

    socket: web.WebSocketResponse
    request: web.Request
    connection: int
    opened_at: float = dataclasses.field(default_factory=time.monotonic)
    pings: list[float] = dataclasses.field(default_factory=list)
    unanswered: list[Sent] = dataclasses.field(default_factory=list)
    """Images that have no `queued` yet, oldest first."""
    brightness: Any = None
    """What it was last told."""
    displayings: int = 0
    number: int | None = None
    """The last one queued."""
    silent: bool = False
    """Nothing goes out any more, yet pings are answered and what comes is read."""
    introduced: bool = False
    turn: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    """Held while an image and the messages around it go out."""


class PixelDisplay:
    """One device. Settings may be changed at any time; the rest is filled by the server, read by tests and the console page."""

    def __init__(self, device_id: str, hub: Hub, apps: Sequence[App] = ()) -> None:
        self.device_id = device_id
        self.apps = list(apps)
        """The rotation; empty: nothing goes out but pushes and what a test sends."""
        self.place = 0
        """Of the app whose turn is next."""
        self.paused = False
        """The rotation stands still; pushes go out."""
        self.habit: Habit = "waits"
        self.brightness: Any = None
        """Percent; None: none goes out."""
        self.scale: Literal["percent", "byte"] = "percent"
        """How brightness is written."""
        self.fragments = 1
        """Into so many WebSocket frames each image is cut."""
        self.away = False
        """Its connections are reset, also new ones: the server is gone for this device. Set through TronbytServer.leave."""
        self.pushes: list[tuple[App, bool]] = []
        """Apps that come before the rotation, each once, with or without `immediate`."""
        self.old_firmware = False
        """It did not acknowledge in time: its images follow each other by dwell until it says `queued`."""
        self.connections = 0
        self.peers: list[Peer] = []
        """The sockets open now that were accepted, the newest last."""
        self.client_infos: list[dict[str, Any]] = []
        self.messages: list[Said] = []
        self.acks: list[Ack] = []
        self.sent: list[Sent] = []
        self.shown: Sent | None = None
        """What it said last that it displays; of a device that polls, what it took last."""
        self.polls: list[float] = []
        """When it asked for /next."""
        self.complaints: list[str] = []
        """What it did against the contract."""
        self._hub = hub

    @property
    def live(self) -> int:
        """How many sockets it has open."""
        return len(self.peers)

    @property
    def queued(self) -> list[int]:
        """The numbers it acknowledged as queued, in order."""
        return [ack.number for ack in self.acks if ack.kind == "queued"]

    @property
    def displayed(self) -> list[int]:
        """The numbers it acknowledged as displaying, in order."""
        return [ack.number for ack in self.acks if ack.kind == "displaying"]

    def mark(self) -> int:
        """How many acknowledgements have come; to be passed as `since`."""
        return len(self.acks)

    async def wait_queued(self, sent: Sent, timeout_s: float = 10.0) -> float:
        """When this image was acknowledged as queued. Raises TimeoutError."""
        await self._hub.wait_for(lambda: sent.queued_at, timeout_s, what=lambda: self._why("queued", sent))
        return sent.queued_at or 0.0

    async def wait_displaying(self, sent: Sent, timeout_s: float = 10.0) -> float:
        """When this image was acknowledged as displaying. Raises TimeoutError."""
        await self._hub.wait_for(lambda: sent.displaying_at, timeout_s, what=lambda: self._why("displaying", sent))
        return sent.displaying_at or 0.0

    async def wait_acks(self, count: int, kind: str = "displaying", *, since: int = 0, timeout_s: float = 10.0) -> list[Ack]:
        """The first `count` acknowledgements of that kind. Raises TimeoutError, with the last frames in its text."""

        def found() -> list[Ack]:
            acks = [ack for ack in self.acks[since:] if ack.kind == kind]
            return acks if len(acks) >= count else []

        acks = await self._hub.wait_for(found, timeout_s, what=lambda: f"{count} times {kind}; {self._last()}")
        return acks[:count]

    def state(self) -> dict[str, Any]:
        """What the console page shows."""
        shown = self.shown
        previews = {one.name: one.serial for one in self.sent[-50:]}
        waiting = self.sent[-1] if self.sent and self.sent[-1].displaying_at is None else None
        return {
            "device_id": self.device_id,
            "connected": self.live > 0,
            "connections": self.connections,
            "polled_ms": int((time.time() - time.monotonic() + self.polls[-1]) * 1000) if self.polls else None,
            "client_info": self.client_infos[-1] if self.client_infos else None,
            "habit": self.habit,
            "old_firmware": self.old_firmware,
            "paused": self.paused,
            "away": self.away,
            "silent": any(peer.silent for peer in self.peers),
            "brightness": self.brightness,
            "scale": self.scale,
            "fragments": self.fragments,
            "apps": [{"name": app.name, "dwell_secs": app.dwell_secs, "serial": previews.get(app.name)} for app in self.apps],
            "place": self.place,
            "shown": _described(shown),
            "waiting": _described(waiting),
            "acks": [
                {
                    "kind": ack.kind,
                    "number": ack.number,
                    "name": ack.sent.name if ack.sent else "?",
                    "wall_ms": ack.wall_ms,
                    "after_ms": round((ack.at - ack.sent.at) * 1000) if ack.sent else None,
                }
                for ack in self.acks[-ACKS_SHOWN:]
            ],
            "complaints": self.complaints[-5:],
        }

    # filled by the server

    def complain(self, words: str) -> None:
        self.complaints.append(words)
        self._hub.event("tronbyt", self.device_id, "note", f"against the contract: {words}")

    def note(self, peer: Peer, said: Said) -> None:
        """Keeps a frame and, where it is one, its acknowledgement; `said.data` has the right types."""
        self.messages.append(said)
        del self.messages[:-KEPT]
        data = said.data if isinstance(said.data, dict) else {}
        if not peer.introduced and "client_info" not in data:
            self.complain(f"the first message is not client_info: {str(said.raw)[:80]}")
        peer.introduced = True
        if "client_info" in data:
            self.client_infos.append(data["client_info"])
        elif "queued" in data and "displaying" in data:
            self.complain("queued and displaying in one message")
        elif "queued" in data:
            self._note_queued(peer, said.at, data["queued"])
        elif "displaying" in data or data.get("status") == "displaying":
            self._note_displaying(peer, said.at, data["displaying"] if "displaying" in data else data["counter"])
        else:
            self.complain(f"no such message: {str(said.raw)[:80]}")

    def _note_queued(self, peer: Peer, at: float, number: int) -> None:
        self.old_firmware = False
        sent = peer.unanswered.pop(0) if peer.unanswered else None
        if sent is None:
            self.complain(f"queued {number}, but nothing was sent")
        else:
            sent.number, sent.queued_at = number, at
        if peer.number is not None and number != peer.number + 1:
            self.complain(f"queued {number} after {peer.number}")
        peer.number = number
        self._keep(Ack(at, int(time.time() * 1000), "queued", number, sent))

    def _note_displaying(self, peer: Peer, at: float, number: int) -> None:
        peer.displayings += 1
        sent = next((one for one in reversed(self.sent) if one.number == number), None)
        if sent is None:
            self.complain(f"displaying {number}, which was not queued")
        elif sent.displaying_at is not None:
            self.complain(f"displaying {number} twice")
        else:
            if self.shown is not None and self.shown.serial > sent.serial:
                self.complain(f"displaying {number} after {self.shown.number}")
            self.note_shown(sent, at)
        self._keep(Ack(at, int(time.time() * 1000), "displaying", number, sent))

    def _keep(self, ack: Ack) -> None:
        self.acks.append(ack)
        if len(self.acks) > 2 * KEPT:
            del self.acks[:KEPT]

    def note_shown(self, sent: Sent, at: float) -> None:
        sent.displaying_at, sent.shown_ms = at, int(time.time() * 1000)
        self.shown = sent

    def keep(self, sent: Sent) -> None:
        self.sent.append(sent)
        if len(self.sent) > 2 * KEPT:
            del self.sent[:KEPT]

    def _why(self, kind: str, sent: Sent) -> str:
        return f"{kind} of {sent.name!r} ({len(sent.image)} bytes, queued as {sent.number}); {self._last()}"

    def _last(self) -> str:
        return f"{self.device_id}, {self.live} connected; last frames: {[one.raw for one in self.messages[-5:]]}"


def demo_apps() -> list[App]:
    """What people are shown."""
    return [
        App("Clock", lambda: pixel_apps.clock(f"{datetime.now():%H:%M}", f"{datetime.now():%a %d %b}"), 6),  # noqa: DTZ005 - a clock shows local time
        App("Weather", lambda: pixel_apps.weather(21, "SUNNY"), 5),
        App("Departures", _departures, 6),
        App("Welcome", lambda: pixel_apps.scroller("Hello, world!"), 5),
    ]


def _departures() -> bytes:
    minute = datetime.now().minute  # noqa: DTZ005 - local time, as on a platform
    rows = [("S3", "EAST SIDE", -minute % 5), ("U6", "FAIR", (-minute - 2) % 7 + 1), ("B12", "LAKE", (-minute - 4) % 12 + 1)]
    return pixel_apps.departures(sorted(rows, key=lambda row: row[2]))


def _described(sent: Sent | None) -> dict[str, Any] | None:
    if sent is None:
        return None
    return {
        "serial": sent.serial,
        "number": sent.number,
        "name": sent.name,
        "dwell_s": sent.dwell_s,
        "shown_ms": sent.shown_ms,
        "bytes": len(sent.image),
        "immediate": sent.immediate,
    }
