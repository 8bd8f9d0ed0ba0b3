"""What a speaker server knows of one device: what it said, what it answered, what its microphone heard."""

from __future__ import annotations

import dataclasses
from typing import Any

from aiohttp import web

from tests.servers.adpcm import Coder
from tests.servers.core import Hub
from tests.servers.exchange import hide_tokens
from tests.servers.speaker_firmware import Ota
from tests.servers.voices import RATE

RECORDINGS_KEPT = 20


@dataclasses.dataclass(frozen=True)
class Said:
    """A frame from a device. `at` is time.monotonic(); `data` its JSON or None; `raw` as it came."""

    at: float
    data: Any
    raw: str | bytes


@dataclasses.dataclass
class Recording:
    """What came between START and END."""

    number: int
    wall_ms: int
    frames: list[bytes] = dataclasses.field(default_factory=list)
    ended: bool = False

    @property
    def seconds(self) -> float:
        return sum(len(frame) for frame in self.frames) * 2 / RATE

    def samples(self) -> list[int]:
        """Decoded."""
        return Coder().decode(b"".join(self.frames))


@dataclasses.dataclass
class Peer:
    """One socket. `muted`: nothing is read any more, and yet it stays open. `holds_pongs`: pings are not answered."""

    socket: web.WebSocketResponse
    request: web.Request
    muted: bool = False
    holds_pongs: bool = False
    pings: list[float] = dataclasses.field(default_factory=list)
    """When they came, time.monotonic()."""


class Speaker:
    """One device. Filled by the server, read by tests and by the console page."""

    def __init__(self, device_id: str, hub: Hub) -> None:
        self.device_id = device_id
        self.handshakes: list[dict[str, Any]] = []
        self.connections = 0
        self.peers: list[Peer] = []
        """The sockets open now, the newest last."""
        self.messages: list[Said] = []
        self.status: dict[str, Any] = {}
        """What is known of it, by its newest answers."""
        self.recordings: list[Recording] = []
        self.strays: list[bytes] = []
        """Binary frames outside START and END."""
        self.announcing: dict[str, Any] | None = None
        self.ota: Ota | None = None
        self.recorded = 0
        self._hub = hub

    @property
    def live(self) -> int:
        """How many sockets it has open."""
        return len(self.peers)

    def mark(self) -> int:
        """How many frames have come; to be passed as `since`."""
        return len(self.messages)

    def answers(self, since: int = 0) -> list[dict[str, Any]]:
        """The objects with a status, oldest first."""
        return [one.data for one in self.messages[since:] if isinstance(one.data, dict) and "status" in one.data]

    def texts(self, since: int = 0) -> list[str]:
        """The text frames, oldest first."""
        return [one.raw for one in self.messages[since:] if isinstance(one.raw, str)]

    async def wait_answers(self, count: int, *, since: int = 0, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The first `count` answers. Raises TimeoutError, with the last frames in its text."""
        found = await self._hub.wait_for(
            lambda: answers if len(answers := self.answers(since)) >= count else None,
            timeout_s,
            what=lambda: f"{count} answers of {self.device_id}; last: {[one.raw for one in self.messages[since:]][-5:]}",
        )
        assert found is not None
        return found[:count]


def shown(speaker: Speaker) -> dict[str, Any]:
    """What the console page shows of it."""
    answers = speaker.answers()
    return {
        "device_id": speaker.device_id,
        "connected": speaker.live > 0,
        "connections": speaker.connections,
        "status": {key: value for key, value in speaker.status.items() if isinstance(value, str | int | float)},
        "answer": hide_tokens(answers[-1]) if answers else None,
        "announcing": speaker.announcing,
        "ota": speaker.ota.shown() if speaker.ota else None,
        "recordings": [
            {"number": one.number, "wall_ms": one.wall_ms, "seconds": round(one.seconds, 2), "ended": one.ended}
            for one in speaker.recordings
        ],
    }
