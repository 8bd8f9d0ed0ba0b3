"""The chip's encoder; libx264 does its work."""

from __future__ import annotations

from typing import Any

from agent.camera.encoder import Encoder as Software


class Encoder:
    """The base of all."""


class H264Encoder(Encoder):
    """The one of the Pi 4."""

    size: Any
    format: Any
    stride: Any
    output: Any

    def __init__(  # noqa: PLR0917 - as the real one
        self,
        bitrate: int | None = None,
        repeat: bool = True,
        iperiod: int | None = None,
        framerate: float | None = None,
        enable_sps_framerate: bool = False,
        qp: int | None = None,
        profile: str | None = None,
    ) -> None:
        if profile not in {None, "baseline", "constrained baseline", "main", "high"}:
            raise RuntimeError(f"Profile {profile} not recognised")
        assert repeat
        self.bitrate, self.iperiod, self.profile = bitrate, iperiod, profile
        self._software = Software("H264", 30)
        self._first: int | None = None
        self._wanted = False
        self._number = 0
        self._running = False

    def start(self, quality: Any = None) -> None:
        if self._running:
            raise RuntimeError("Encoder already running")
        self._running = True
        self.output.start()
        self.output._add_stream("video", "h264", width=self.size[0], height=self.size[1])

    def stop(self) -> None:
        if not self._running:
            raise RuntimeError("Encoder already stopped")
        self._running = False
        self.output.stop()

    def encode(self, frame: Any, time_us: int) -> None:
        self._first = time_us if self._first is None else self._first
        keyframe = self._wanted or (self.iperiod is not None and self._number % self.iperiod == 0)
        self._wanted = False
        self._number += 1
        for packet in self._software.encode(frame, time_us / 1_000_000, self.bitrate or 1_000_000, keyframe=keyframe):
            self.output.outputframe(bytes(packet), packet.is_keyframe, time_us - self._first)

    def force_key_frame(self) -> None:
        self._wanted = True
