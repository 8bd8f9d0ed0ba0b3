"""How a speaker server sends an image: in the three forms in the field, well or badly."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import struct
import zlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from tests.servers.exchange import abort

if TYPE_CHECKING:
    from tests.servers.speaker import SpeakerServer
    from tests.servers.speaker_devices import Peer

Form = Literal[1, 2, 3]

CHUNK_BYTES = 2048
TRIES = 3
"""For a chunk of form 3; then the next one's turn comes."""
ANSWERS_KEPT = 10
_ANSWER_KEYS = {"status", "message", "size", "sha256", "version", "device_id"}
_LENGTHS = struct.Struct("<8sQI")
_MANIFEST_AT = 116

TROUBLES = {
    "": "none",
    "lost_acks": "answers get lost",
    "corrupt": "a corrupt chunk",
    "gap": "a chunk is missing",
    "stall": "a pause of 20 s",
    "cut": "the connection breaks",
}
"""What the console page offers, as `sending` makes it."""


@dataclasses.dataclass(frozen=True)
class Sending:
    """What goes wrong on the way, by numbers of chunks; and what a server may do instead of the usual."""

    lost_answers: Collection[int] = ()
    """The first answer to these is not heard."""
    corrupt: Mapping[int, int] = dataclasses.field(default_factory=dict)
    """So many tries of these bear a wrong byte."""
    skip: Collection[int] = ()
    """Never sent."""
    stall_s: Mapping[int, float] = dataclasses.field(default_factory=dict)
    """A pause before these."""
    hold: Mapping[int, asyncio.Event] = dataclasses.field(default_factory=dict)
    """Before these it waits."""
    cut_at: int | None = None
    """The connection is reset before this one."""
    chunk_bytes: int = CHUNK_BYTES
    waits: bool = False
    """For the answer to the request; a refusal is heeded then."""
    complete: bool = True
    """Says OTA_COMPLETE in the end (forms 2 and 3)."""
    keys: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Put into the request; None takes one out."""


@dataclasses.dataclass
class Ota:
    """How sending an image went."""

    form: Form
    device_id: str = ""
    name: str = ""
    size: int = 0
    chunks: int = 0
    version: str = ""
    before: str = ""
    """The device's firmware_version when it began, and `after` by the next handshake."""
    after: str = ""
    state: Literal["sending", "sent", "cut", "refused"] = "sending"
    sent: int = 0
    """Frames."""
    sent_bytes: int = 0
    """Of the image, without repetitions."""
    acks: list[int] = dataclasses.field(default_factory=list)
    nacks: list[int] = dataclasses.field(default_factory=list)
    silences: int = 0
    """Tries without any answer in time."""
    answers: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    asked: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """What the device asked for by itself: {"action": "update_firmware"}."""
    deaf_to: set[int] = dataclasses.field(default_factory=set)

    def take(self, data: dict[str, Any]) -> None:
        """An object from the device; those of other commands mean nothing here."""
        if "ota_ack" in data or "ota_nack" in data:
            key = "ota_ack" if "ota_ack" in data else "ota_nack"
            if data[key] in self.deaf_to:
                self.deaf_to.discard(data[key])
            else:
                (self.acks if key == "ota_ack" else self.nacks).append(data[key])
        elif "action" in data:
            self.asked.append(data)
        elif data.get("cmd") == "device_handshake":
            self.after = str(data.get("firmware_version", ""))
        elif "status" in data and set(data) <= _ANSWER_KEYS:
            self.answers.append(data)
            del self.answers[:-ANSWERS_KEPT]

    def shown(self) -> dict[str, Any]:
        """For the console page: numbers instead of lists."""
        fields = ("form", "name", "size", "chunks", "version", "before", "after", "state", "sent_bytes", "silences", "answers")
        return {key: getattr(self, key) for key in fields} | {"acks": len(self.acks), "nacks": len(self.nacks)}


class Transfer:
    """One image on its way to one socket of a device; how it goes stands in `ota`."""

    def __init__(self, server: SpeakerServer, peer: Peer, ota: Ota, how: Sending) -> None:
        self._server = server
        self._peer = peer
        self._ota = ota
        self._how = how

    async def send(self, image: bytes) -> None:
        """Asks for the update and streams, without waiting for the answer unless `how` says so. Raises ConnectionError."""
        server, ota, how = self._server, self._ota, self._how
        chunks = [image[at : at + how.chunk_bytes] for at in range(0, len(image), how.chunk_bytes)]
        ota.size, ota.chunks = len(image), len(chunks)
        ota.deaf_to = set(how.lost_answers)
        await self._say(json.dumps(request := _request(image, ota, how)), "request_ota", request)
        if how.waits and not await self._is_welcome():
            ota.state = "refused"
            return
        for seq, chunk in enumerate(chunks):
            if seq in how.stall_s:
                await asyncio.sleep(how.stall_s[seq])
            if seq in how.hold:
                await how.hold[seq].wait()
            if seq == how.cut_at:
                ota.state = "cut"
                abort(self._peer.request)
                return
            if seq not in how.skip:
                await self._send_chunk(seq, chunk)
                ota.sent_bytes += len(chunk)
                server.hub.changed()
        if ota.form > 1 and how.complete:
            figures = {"frames": ota.sent, "acks": len(ota.acks), "nacks": len(ota.nacks), "silences": ota.silences}
            await self._say("OTA_COMPLETE", "OTA_COMPLETE", figures)
        ota.state = "sent"
        server.hub.changed()

    async def _say(self, text: str, title: str, data: Any) -> None:
        await self._peer.socket.send_str(text)
        self._server.hub.event(self._server.kind, self._ota.device_id, "out", title, data)

    async def _is_welcome(self) -> bool:
        await self._server.wait_for(lambda: self._ota.answers, what="answer to request_ota")
        return bool(self._ota.answers[0]["status"] == "ok")

    async def _send_chunk(self, seq: int, chunk: bytes) -> None:
        ota = self._ota
        for attempt in range(TRIES if ota.form == 3 else 1):
            data = chunk
            if attempt < self._how.corrupt.get(seq, 0):
                data = bytes([chunk[0] ^ 1]) + chunk[1:]
            if ota.form == 3:
                data = struct.pack("<III", seq, len(chunk), zlib.crc32(chunk)) + data
            heard = len(ota.acks) + len(ota.nacks)
            await self._peer.socket.send_bytes(data)
            ota.sent += 1
            if ota.form < 3:
                return
            try:
                await self._server.wait_for(lambda n=heard: len(ota.acks) + len(ota.nacks) > n, self._server.chunk_answer_s)  # type: ignore[misc]
            except TimeoutError:
                ota.silences += 1
                continue
            if seq in ota.acks:
                return


def sending(trouble: str, chunks: int) -> Sending:
    """One of TROUBLES, in the middle of that many chunks. Raises ValueError."""
    middle = chunks // 2
    if trouble == "lost_acks":
        return Sending(lost_answers=range(middle, middle + 3))
    if trouble == "corrupt":
        return Sending(corrupt={middle: 1})
    if trouble == "gap":
        return Sending(skip={middle})
    if trouble == "stall":
        return Sending(stall_s={middle: 20.0})
    if trouble == "cut":
        return Sending(cut_at=middle)
    if trouble:
        raise ValueError(f"no such trouble: {trouble}")
    return Sending()


def bundle_version(image: bytes) -> str:
    """The version that a bundle says it is; empty for any other image."""
    try:
        magic, _, length = _LENGTHS.unpack_from(image)
        manifest = json.loads(image[_MANIFEST_AT : _MANIFEST_AT + length]) if magic == b"SIGNBNDL" else {}
    except (struct.error, ValueError, RecursionError):
        return ""
    version = manifest.get("version") if isinstance(manifest, dict) else None
    return version if isinstance(version, str) else ""


def _request(image: bytes, ota: Ota, how: Sending) -> dict[str, Any]:
    request: dict[str, Any] = {"cmd": "request_ota"}
    if ota.form > 1:
        request |= {"size": len(image), "sha256": hashlib.sha256(image).hexdigest()}
    if ota.form == 3:
        request |= {"chunk_size": how.chunk_bytes, "total_chunks": ota.chunks}
    if ota.version:
        request["version"] = ota.version
    request |= how.keys
    return {key: value for key, value in request.items() if value is not None}
