"""The camera while somebody watches: opened for the first, shared by all, closed after the last."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.camera.bitrate import SharedRate
from agent.camera.capture import Capture, CaptureEvents
from agent.camera.encoder import Codec
from agent.camera.hub import Hub
from agent.camera.source import Picture, Source, open_source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StudioTimers:
    """Seconds."""

    close_s: float = 0.5
    """From the last viewer to the closing of the camera."""
    open_s: float = 15.0
    """A camera that takes longer to open has failed."""
    stall_s: float = 5.0
    """An open camera that gives no picture for so long has failed."""
    stuck_s: float = 5.0
    """A camera that has failed and is not closed by then needs a new process."""
    look_s: float = 1.0
    """Between two looks at the bitrate and at whether pictures come."""


class Studio:
    """One camera, one encoder for each codec in use, and the bitrate they share.

    `on_failed` is called with a sentence for the viewers; `on_stuck` when the camera's thread hangs for good.
    """

    def __init__(
        self,
        source: str,
        picture: Picture,
        bitrate_bps: int,
        *,
        on_change: Callable[[], None],
        on_failed: Callable[[str], None],
        on_stuck: Callable[[], None],
        opener: Callable[[str, Picture], Source] = open_source,
        timers: StudioTimers = StudioTimers(),
    ) -> None:
        self.rate = SharedRate(bitrate_bps)
        self._source = source
        self._picture = picture
        self._on_change = on_change
        self._on_failed = on_failed
        self._on_stuck = on_stuck
        self._opener = opener
        self._timers = timers
        self._leases: set[int] = set()
        self._capture: Capture | None = None
        self._is_open = False
        self._closing: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._since = 0.0
        """When the camera was told to open, was open, gave a picture, or was told to stop."""
        self._seen = 0
        self._measured = (0.0, 0)
        """When the bytes of the wider stream were counted last, and how many they were."""
        self._stopping = False
        self._hubs: dict[Codec, Hub] = {
            codec: Hub(picture.framerate, clock=time.monotonic, on_demand=self._demand) for codec in ("H264", "VP8")
        }

    @property
    def source(self) -> str:
        """Which camera is open; empty: none."""
        return self._capture.source if self._capture is not None and self._is_open else ""

    @property
    def encoder(self) -> str:
        """What encodes now; empty: nothing."""
        capture = self._capture
        if capture is None or not self._is_open:
            return ""
        return " + ".join(capture.encoder_of(codec) for codec, hub in self._hubs.items() if hub.wanted)

    def hub(self, codec: Codec) -> Hub:
        """The stream of that codec."""
        return self._hubs[codec]

    def lease(self, viewer: int) -> None:
        """A viewer needs the camera: it is opened, so that it is ready when the viewer is."""
        self._leases.add(viewer)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._capture is None:
            self._open()

    def release(self, viewer: int) -> None:
        """The viewer no longer needs the camera."""
        self._leases.discard(viewer)
        if not self._leases and self._capture is not None and self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(self._timers.close_s, self._close)

    def _open(self) -> None:
        self._is_open = self._stopping = False
        self._since = time.monotonic()
        self._capture = Capture(
            lambda: self._opener(self._source, self._picture),
            self._hubs,
            framerate=self._picture.framerate,
            bitrate=lambda: self.rate.bps,
            events=CaptureEvents(self._opened, self._failed, self._closed),
        )
        if self._looking is None:
            self._look_again()

    def _close(self) -> None:
        self._closing = None
        if self._capture is not None:
            self._stop()

    def _stop(self) -> None:
        assert self._capture is not None
        self._stopping = True
        self._since = time.monotonic()
        self._capture.stop()

    def _opened(self) -> None:
        self._is_open = True
        self._since = time.monotonic()
        self._on_change()

    def _failed(self, message: str) -> None:
        if self._stopping:
            return
        log.warning("camera fails source=%s error=%s", self._source, message)
        self._leases.clear()
        if self._capture is not None:
            self._stop()
        self._on_failed(message)

    def _closed(self) -> None:
        self._capture = None
        self._is_open = self._stopping = False
        if self._leases:
            self._open()
        self._on_change()

    def _demand(self) -> None:
        """The first viewer of a codec has come, or the last has gone."""
        self._since = time.monotonic()
        if self._capture is not None:
            self._capture.look()
        self._on_change()

    def _look_again(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(self._timers.look_s, self._look)

    def _look(self) -> None:
        self._looking = None
        if self._capture is None:
            return
        now = time.monotonic()
        before = self.rate.bps
        if self.rate.decide(now, self._sent_bps(now)) != before:
            log.info("bitrate follows the viewers kbit_s=%d", self.rate.bps // 1000)
            self._capture.look()
            self._on_change()
        self._check(now)
        self._look_again()

    def _sent_bps(self, now: float) -> float:
        """What each viewer has been sent since the last look."""
        then, before = self._measured
        total = max(hub.published_bytes for hub in self._hubs.values())
        self._measured = (now, total)
        return (total - before) * 8 / max(now - then, self._timers.look_s / 2)

    def _check(self, now: float) -> None:
        """Whether the camera does what it should."""
        seen = sum(hub.published for hub in self._hubs.values())
        if seen != self._seen and not self._stopping:
            self._seen = seen
            self._since = now
        waited_s = now - self._since
        wanted = any(hub.wanted for hub in self._hubs.values())
        if self._stopping:
            if waited_s > self._timers.stuck_s:
                self._on_stuck()
        elif not self._is_open:
            if waited_s > self._timers.open_s:
                self._failed("the camera takes too long to open")
        elif wanted and waited_s > self._timers.stall_s:
            self._failed("the camera gives no pictures")
