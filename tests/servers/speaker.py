"""A fake of the speaker server: devices at SOCKET_PATH, commands to them, announcements, push to talk, firmware requests.

`SpeakerServer(hub=...)` beside other services, or alone with `async with`. A device is known by the id in its handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from tests.servers.adpcm import Coder
from tests.servers.core import CONSOLE_PREFIX, Hub
from tests.servers.exchange import FAULT, abort, hide_tokens, no_number, record_of, refusal
from tests.servers.service import Service
from tests.servers.speaker_devices import RECORDINGS_KEPT, Peer, Recording, Said, Speaker, shown
from tests.servers.speaker_firmware import CHUNK_BYTES, TROUBLES, Form, Ota, Sending, Transfer, bundle_version, sending
from tests.servers.voices import RATE, SAMPLES, Samples, read_wav, write_wav

SOCKET_PATH = "/ws"
CONSOLE_PATH = f"{CONSOLE_PREFIX}speaker/"
FRAME_BYTES = 512
FRAME_S = 2 * FRAME_BYTES / RATE
OTA_CHUNK_BYTES = CHUNK_BYTES
LARGEST_IMAGE_BYTES = 1024**3
USELESS = bytes(range(256)) * 80
"""An image that no device takes."""
MESSAGES_KEPT = 20_000
GARBAGE: tuple[str | bytes, ...] = (
    "", " ", "{", "}", "[]", "{}", "null", "NaN", "5", '"text"', "\N{GRINNING FACE}", "\ud7ff", '{"cmd": null}', '{"cmd": 5}',
    '{"cmd": ["set_volume"]}', '{"CMD": "reboot"}', '{"cmd": "set_volume", "volume": 5', "UNKNOWN_STATE", "OTA_COMPLETE",
    "LISTENING", "PROCESSING", "PROCESSING_START", "00", "99", '{"status": "ok"}', '{"ota_ack": 1}', "x" * 100_000, "[" * 100_000,
    '{"a":' * 50_000, '{"cmd": "set_volume", "volume":' + "[" * 50_000, b"", b"\0", b"\xff" * 511, bytes(70_000),
)  # fmt: skip
"""What no server should send, and nothing may happen for."""


class SpeakerServer(Service):
    """The backend. Attributes are knobs and may be changed at any time; more faults through `fault(SOCKET_PATH, ...)`."""

    kind = "speaker"
    title = "Speakers"

    def __init__(self, *, token: str = "", hub: Hub | None = None, **listen: Any) -> None:
        super().__init__(hub=hub, **listen)
        self.token = token
        """What devices must bear; empty: none is asked for."""
        self.speakers: dict[str, Speaker] = {}
        self.greeting: list[str | bytes] = []
        """Frames that a device gets at once, before its handshake is read."""
        self.chunk_answer_s = 5.0
        """So long is waited for the answer to a chunk of form 3; three times, then it goes on to the next."""
        self.restarts: list[int] = []
        """When a box said that it would restart now, wall clock in ms."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def speaker(self, device_id: str) -> Speaker:
        """The device with that id; made if it never called."""
        if device_id not in self.speakers:
            self.speakers[device_id] = Speaker(device_id, self.hub)
        return self.speakers[device_id]

    async def connected(self, device_id: str, timeout_s: float = 10.0) -> Speaker:
        """The device, once its handshake has come."""
        speaker = self.speaker(device_id)
        await self.wait_for(lambda: speaker.live > 0, timeout_s, what=f"connection of {device_id}")
        return speaker

    async def send(self, device_id: str, message: Mapping[str, Any]) -> None:
        """Sends an object. Raises ConnectionError if the device has no open socket."""
        await self.send_raw(device_id, json.dumps(message))
        self.hub.event(self.kind, device_id, "out", str(message.get("cmd", "message")), hide_tokens(message))

    async def send_raw(self, device_id: str, frame: str | bytes) -> None:
        """Sends a text or binary frame as it is. Raises ConnectionError."""
        peer = self._peer(device_id)
        await (peer.socket.send_str(frame) if isinstance(frame, str) else peer.socket.send_bytes(frame))

    async def ask(self, device_id: str, cmd: str, **values: Any) -> dict[str, Any]:
        """Sends a command; its answer, if no other is on its way."""
        speaker = await self.connected(device_id)
        since = speaker.mark()
        await self.send(device_id, {"cmd": cmd, **values})
        [answer] = await speaker.wait_answers(1, since=since)
        return answer

    async def announce(
        self, device_id: str, samples: Samples | Sequence[int], *, name: str = "sound", begin: str = "AUDIO_START",
        end: str | None = "TTS_END", at_once: bool = False,
    ) -> None:  # fmt: skip
        """Streams sound as it is spoken, or `at_once`; the last frame is as short as it comes. Raises ConnectionError."""
        speaker, coded = self.speaker(device_id), await asyncio.to_thread(Coder().encode, samples)
        frames = [coded[at : at + FRAME_BYTES] for at in range(0, len(coded), FRAME_BYTES)]
        socket = self._peer(device_id).socket  # what was begun is not taken up again on another connection
        await socket.send_str(begin)
        self.hub.event(self.kind, device_id, "out", begin, {"sound": name, "frames": len(frames)})
        begun = time.monotonic()
        try:
            for number, frame in enumerate(frames):
                if not at_once:
                    await asyncio.sleep(max(0.0, begun + number * FRAME_S - time.monotonic()))
                speaker.announcing = {"name": name, "done": number + 1, "frames": len(frames)}
                await socket.send_bytes(frame)
                self.hub.changed()
            if end is not None:
                await socket.send_str(end)
                self.hub.event(self.kind, device_id, "out", end)
        finally:
            speaker.announcing = None
            self.hub.changed()

    async def offer_firmware(
        self, device_id: str, image: bytes, form: Form, version: str = "", *, name: str = "", how: Sending | None = None
    ) -> Ota:
        """Asks for an update and streams the image in the same instant, whatever the device answers. Raises ConnectionError.

        It returns when all is sent; what the device says in the end comes in `answers`.
        """
        speaker, peer = self.speaker(device_id), self._peer(device_id)
        before = str(speaker.handshakes[-1].get("firmware_version", "")) if speaker.handshakes else ""
        ota = speaker.ota = Ota(form, device_id, name=name, version=version, before=before)
        try:
            await Transfer(self, peer, ota, how or Sending()).send(image)
        except ConnectionError:
            ota.state = "cut"
            self.hub.changed()
            raise
        return ota

    async def send_garbage(self, device_id: str) -> None:
        """Sends all of GARBAGE."""
        for frame in GARBAGE:
            await self.send_raw(device_id, frame)
        self.hub.event(self.kind, device_id, "out", "garbage", {"frames": len(GARBAGE)})

    def drop(self, device_id: str) -> None:
        """Resets the device's connections, without a close frame."""
        for peer in self.speaker(device_id).peers:
            abort(peer.request)

    async def close(self, device_id: str, code: int = 1000, reason: str = "") -> None:
        """Closes the device's connections with that code."""
        for peer in tuple(self.speaker(device_id).peers):
            await peer.socket.close(code=code, message=reason.encode())

    def mute(self, device_id: str) -> None:
        """Makes the device's connections half-open: they stay, but nobody is there."""
        for peer in self.speaker(device_id).peers:
            peer.muted = True
        self.hub.event(self.kind, device_id, "note", "half-open from now on")

    # the console page

    def state(self) -> dict[str, Any]:
        return {
            "device_url": f"{self.url.replace('http', 'ws', 1)}{SOCKET_PATH}",
            "troubles": [{"name": name, "title": title} for name, title in TROUBLES.items()],
            "samples": [{"name": name, "title": title} for name, (title, _) in SAMPLES.items()],
            "restarted_ms": self.restarts[-1] if self.restarts else None,
            "speakers": [shown(speaker) for speaker in self.speakers.values()],
        }

    async def command(self, name: str, args: Mapping[str, Any]) -> Any:
        device_id = str(args.get("device_id", ""))
        if device_id not in self.speakers:
            raise ValueError(f"no such device: {device_id}")
        if name == "send":
            await self.send(device_id, dict(args["message"]))
        elif name == "say":
            await self.send_raw(device_id, str(args["text"]))
            self.hub.event(self.kind, device_id, "out", str(args["text"])[:80])
        elif name == "announce":
            title, make = SAMPLES[str(args["sample"])]
            self.start_announcement(device_id, make(), title)
        elif name == "offer_firmware":
            self.start_offer(device_id, args["form"], name="an image of no use")
        elif name == "garbage":
            await self.send_garbage(device_id)
        elif name == "half_open":
            self.mute(device_id)
        elif name == "drop":
            self.drop(device_id)
        elif name == "close":
            await self.close(device_id, int(args.get("code", 1000)))
        else:
            raise ValueError(f"no such command: {name}")

    def start_announcement(self, device_id: str, samples: Samples, name: str) -> None:
        """`announce`, in the background. Raises ValueError while another one is on, ConnectionError."""
        self._peer(device_id)
        if self.speaker(device_id).announcing is not None:
            raise ValueError("an announcement is on already")
        self.speaker(device_id).announcing = {"name": name, "done": 0, "frames": 1}
        self._spawn(self.announce(device_id, samples, name=name), "announcement")

    def start_offer(self, device_id: str, form: Any, image: bytes = USELESS, *, name: str = "", trouble: str = "") -> None:
        """`offer_firmware` in the background, of an image of no use unless one is given. Raises ValueError, ConnectionError."""
        if form not in (1, 2, 3):
            raise ValueError("the forms are 1, 2 and 3")
        self._peer(device_id)
        ota = self.speaker(device_id).ota
        if ota is not None and ota.state == "sending" and self.speaker(device_id).live:
            raise ValueError("an image is being sent already")
        how = sending(trouble, len(image) // OTA_CHUNK_BYTES)
        version = bundle_version(image) or "9.9.9"
        self._spawn(self.offer_firmware(device_id, image, form, version, name=name, how=how), "firmware")

    def _spawn(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        async def run() -> None:
            with contextlib.suppress(ConnectionError):
                await work

        task = asyncio.create_task(run(), name=f"speaker server: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # the wire

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(SOCKET_PATH, self._socket)
        app.router.add_get(f"{CONSOLE_PATH}recording", self._give_recording)
        app.router.add_post(f"{CONSOLE_PATH}announce", self._take_announcement)
        app.router.add_post(f"{CONSOLE_PATH}firmware", self._take_firmware)
        app.router.add_post(f"{CONSOLE_PATH}restart", self._take_restart)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.token and record_of(request).bearer != self.token:
            return refusal(401, "Unauthorized")
        fault = request[FAULT]
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1024 * 1024, timeout=2.0)
        await socket.prepare(request)
        record_of(request).status = HTTPStatus.SWITCHING_PROTOCOLS
        if fault.close_code is not None:
            await socket.close(code=fault.close_code)
            return socket
        peer = Peer(socket, request, muted=fault.deaf)
        for early in self.greeting:
            await (socket.send_str(early) if isinstance(early, str) else socket.send_bytes(early))
        speaker: Speaker | None = None
        try:
            async for frame in socket:
                if peer.muted:
                    await asyncio.Event().wait()
                if frame.type == WSMsgType.PING:
                    peer.pings.append(time.monotonic())
                    self.hub.changed()
                    if not peer.holds_pongs:
                        await socket.pong(frame.data)
                elif frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    if speaker is None:
                        speaker = await self._greet(peer, frame.data)
                        if speaker is None:
                            break
                    self._take(speaker, frame.data)
        finally:
            if speaker is not None:
                speaker.peers.remove(peer)
                if speaker.recordings:
                    speaker.recordings[-1].ended = True
                self.hub.event(self.kind, speaker.device_id, "note", "disconnected", {"code": socket.close_code})
        return socket

    async def _greet(self, peer: Peer, frame: str | bytes) -> Speaker | None:
        """The device whose handshake this is; anything else ends the connection."""
        data = _json(frame)
        device_id = data.get("device_id") if isinstance(data, dict) and data.get("cmd") == "device_handshake" else None
        if not isinstance(device_id, str) or not device_id:
            self.hub.note("no handshake first", repr(frame[:200]))
            await peer.socket.close(code=1008, message=b"handshake first")
            return None
        speaker = self.speaker(device_id)
        speaker.connections += 1
        speaker.peers.append(peer)
        self.hub.event(self.kind, device_id, "note", "connected", {"connections": speaker.connections})
        return speaker

    def _take(self, speaker: Speaker, raw: str | bytes) -> None:
        data = _json(raw)
        speaker.messages.append(Said(time.monotonic(), data, raw))
        if len(speaker.messages) > MESSAGES_KEPT:
            del speaker.messages[: MESSAGES_KEPT // 2]
        if isinstance(raw, bytes):
            self._take_speech(speaker, raw)
        elif isinstance(data, dict):
            self._take_object(speaker, data)
        else:
            if raw == "START":
                speaker.recorded += 1
                speaker.recordings.append(Recording(speaker.recorded, int(time.time() * 1000)))
                del speaker.recordings[:-RECORDINGS_KEPT]
            elif raw == "END" and speaker.recordings:
                speaker.recordings[-1].ended = True
            self.hub.event(self.kind, speaker.device_id, "in", raw[:80])
        self.hub.changed()

    def _take_object(self, speaker: Speaker, data: dict[str, Any]) -> None:
        if data.get("cmd") == "device_handshake":
            speaker.handshakes.append(data)
        if data.get("cmd") == "device_handshake" or data.get("status") == "ok":
            speaker.status |= {key: value for key, value in data.items() if key not in ("cmd", "status", "message")}
        if speaker.ota is not None:
            speaker.ota.take(data)
        if "ota_nack" not in data and "ota_ack" not in data:
            title = str(data.get("cmd") or data.get("status") or data.get("action") or "object")
            self.hub.event(self.kind, speaker.device_id, "in", title, hide_tokens(data))

    @staticmethod
    def _take_speech(speaker: Speaker, data: bytes) -> None:
        if speaker.recordings and not speaker.recordings[-1].ended:
            speaker.recordings[-1].frames.append(data)
        else:
            speaker.strays.append(data)

    def _peer(self, device_id: str) -> Peer:
        peers = self.speaker(device_id).peers
        if not peers:
            raise ConnectionError(f"{device_id} is not connected")
        return peers[-1]

    async def _give_recording(self, request: web.Request) -> web.StreamResponse:
        speaker = self.speakers.get(request.query.get("device_id", ""))
        found = [one for one in speaker.recordings if str(one.number) == request.query.get("number")] if speaker else []
        if not found:
            raise web.HTTPNotFound
        data = await asyncio.to_thread(lambda: write_wav(found[0].samples()))
        return web.Response(body=data, content_type="audio/wav", headers={"Cache-Control": "no-store"})

    async def _take_announcement(self, request: web.Request) -> web.StreamResponse:
        _require_own_page(request)
        device_id = request.query.get("device_id", "")
        try:
            if device_id not in self.speakers:
                raise ValueError(f"no such device: {device_id}")
            samples = await asyncio.to_thread(read_wav, await request.read())
            self.start_announcement(device_id, samples, request.query.get("name", "WAV")[:80])
        except (ValueError, ConnectionError) as error:
            return refusal(400, str(error))
        return web.json_response({"seconds": round(len(samples) / RATE, 2)})

    async def _take_firmware(self, request: web.Request) -> web.StreamResponse:
        _require_own_page(request)
        query = request.query
        image = bytearray()
        try:
            if query.get("device_id", "") not in self.speakers:
                raise ValueError(f"no such device: {query.get('device_id', '')}")
            async for piece in request.content.iter_any():
                image += piece
                if len(image) > LARGEST_IMAGE_BYTES:
                    raise ValueError("the file is too large")
            form = int(query.get("form", "2"))
            name = query.get("name", "file")[:80]
            self.start_offer(query["device_id"], form, bytes(image), name=name, trouble=query.get("trouble", ""))
        except (ValueError, ConnectionError) as error:
            return refusal(400, str(error))
        return web.json_response({"bytes": len(image)})

    async def _take_restart(self, request: web.Request) -> web.StreamResponse:
        _require_own_page(request)
        self.restarts.append(int(time.time() * 1000))
        self.hub.note("a box would restart now", {"said": (await request.text())[:200]})
        return web.Response()


def _require_own_page(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden


def _json(raw: str | bytes) -> Any:
    if isinstance(raw, bytes):
        return None
    try:
        return json.loads(raw, parse_constant=no_number)
    except (ValueError, RecursionError):
        return None
