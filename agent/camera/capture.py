"""The threads of an open camera: one reads pictures, one more for each software encoder in use."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av

from agent.camera.encoder import CLOCK_RATE, TIME_BASE, Codec, Encoder
from agent.camera.hub import Encoded, Hub
from agent.camera.source import Hardware, Source, SourceError

if TYPE_CHECKING:
    from av import VideoFrame

log = logging.getLogger(__name__)

IDLE_S = 0.1
"""How often a camera that encodes by itself is looked after."""


@dataclass(frozen=True, slots=True)
class CaptureEvents:
    """Called in the event loop."""

    on_opened: Callable[[], None]
    on_failed: Callable[[str], None]
    """With a sentence; `on_closed` follows."""
    on_closed: Callable[[], None]


class Capture:
    """A camera from its opening to its end, in threads; created, told to stop and heard in the event loop."""

    def __init__(
        self,
        open_source: Callable[[], Source],
        hubs: dict[Codec, Hub],
        *,
        framerate: int,
        bitrate: Callable[[], int],
        events: CaptureEvents,
    ) -> None:
        self.source = ""
        """Its name, once it is open."""
        self.hardware = ""
        """The name of the camera's own encoder, if it has one."""
        self._open_source = open_source
        self._hubs = hubs
        self._bitrate = bitrate
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._encoders = {
            codec: EncoderThread(Encoder(codec, framerate), hub, bitrate, self._publish, self._encoder_failed)
            for codec, hub in hubs.items()
        }
        self._encoding_bps = 0
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the threads and closes the camera; `on_closed` tells when it is closed."""
        self._stopping.set()
        self._wake.set()

    def look(self) -> None:
        """Something has changed: who watches, the bitrate, or that a keyframe is wanted."""
        self._wake.set()

    def encoder_of(self, codec: Codec) -> str:
        """Which encoder makes this stream."""
        return self.hardware if codec == "H264" and self.hardware else self._encoders[codec].name

    def _run(self) -> None:
        source: Source | None = None
        try:
            source = self._open_source()
            self.source = source.name
            self.hardware = source.hardware.name if source.hardware is not None else ""
            log.info("camera is open source=%s", source.name)
            self._tell(self._events.on_opened)
            self._read(source)
        except SourceError as error:
            self._tell(self._events.on_failed, str(error))
        except Exception:
            log.exception("camera broke off source=%s", self.source)
            self._tell(self._events.on_failed, "the camera broke off because of an internal error")
        finally:
            for encoder in self._encoders.values():
                encoder.stop()
            if source is not None:
                source.close()
                log.info("camera is closed source=%s", source.name)
            self._tell(self._events.on_closed)

    def _read(self, source: Source) -> None:
        hardware = source.hardware
        try:
            while not self._stopping.is_set():
                if hardware is not None:
                    self._drive(hardware)
                wanted = [
                    self._encoders[codec]
                    for codec, hub in self._hubs.items()
                    if hub.wanted and not (hardware and codec == "H264")
                ]
                if hardware is not None and not wanted:
                    self._wake.wait(IDLE_S)
                    self._wake.clear()
                    continue
                frame = source.read()
                if frame is not None:
                    now = time.monotonic()
                    for encoder in wanted:
                        encoder.take(frame, now)
        finally:
            if hardware is not None and self._encoding_bps:
                hardware.stop()

    def _drive(self, hardware: Hardware) -> None:
        """Starts, stops and asks the camera's own encoder."""
        hub, bps = self._hubs["H264"], self._bitrate()
        if not hub.wanted:
            if self._encoding_bps:
                hardware.stop()
                self._encoding_bps = 0
        elif bps != self._encoding_bps:
            began = time.monotonic()

            def sink(data: bytes, keyframe: bool, timestamp_us: int) -> None:
                packet = av.Packet(data)
                packet.pts = int(began * CLOCK_RATE) + timestamp_us * 9 // 100
                packet.time_base = TIME_BASE
                self._publish(hub, Encoded(packet, keyframe))

            hardware.start(bps, sink)
            self._encoding_bps = bps
        elif hub.keyframes.is_due(time.monotonic()):
            hub.keyframes.made(time.monotonic())
            hardware.force_keyframe()

    def _publish(self, hub: Hub, encoded: Encoded) -> None:
        """In whichever thread: one picture on its way to the viewers."""
        if encoded.keyframe:
            hub.keyframes.made(time.monotonic())
        self._tell(hub.publish, encoded)

    def _encoder_failed(self, error: Exception) -> None:
        self._tell(self._events.on_failed, f"the picture cannot be encoded: {error}")
        self.stop()

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *arguments)


class EncoderThread:
    """A software encoder and its thread, which starts with the first picture. A picture that comes too soon replaces the last."""

    def __init__(
        self,
        encoder: Encoder,
        hub: Hub,
        bitrate: Callable[[], int],
        publish: Callable[[Hub, Encoded], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self.name = encoder.name
        self._encoder = encoder
        self._hub = hub
        self._bitrate = bitrate
        self._publish = publish
        self._on_failed = on_failed
        self._condition = threading.Condition()
        self._next: tuple[VideoFrame, float] | None = None
        self._stopped = False
        self._thread: threading.Thread | None = None

    def take(self, frame: VideoFrame, time_s: float) -> None:
        """A picture to encode."""
        with self._condition:
            self._next = (frame, time_s)
            self._condition.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for it, at most for the picture it is at."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        keyframes = self._hub.keyframes
        try:
            while True:
                with self._condition:
                    while self._next is None and not self._stopped:
                        self._condition.wait()
                    if self._stopped or self._next is None:
                        return
                    frame, time_s = self._next
                    self._next = None
                due = keyframes.is_due(time.monotonic())
                for packet in self._encoder.encode(frame, time_s, self._bitrate(), keyframe=due):
                    self._publish(self._hub, Encoded(packet, packet.is_keyframe))
        except Exception as error:
            log.exception("encoder broke off name=%s", self.name)
            self._on_failed(error)
