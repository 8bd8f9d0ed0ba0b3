"""Software encoders: libx264 for everybody, libvpx for viewers that know no H.264."""

from __future__ import annotations

import fractions
from typing import TYPE_CHECKING, Any, Literal

import av
from av.video.frame import PictureType

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame

Codec = Literal["H264", "VP8"]

CLOCK_RATE = 90_000
TIME_BASE = fractions.Fraction(1, CLOCK_RATE)
KEYFRAME_EVERY_S = 10
"""Without anybody asking."""


class Encoder:
    """One encoder that lives as long as size and bitrate stay; a change opens it anew, which begins with a keyframe."""

    def __init__(self, codec: Codec, framerate: int) -> None:
        self.name = "libx264" if codec == "H264" else "libvpx"
        self._codec = codec
        self._framerate = framerate
        self._context: VideoCodecContext | None = None
        self._made_for = (0, 0, 0)

    def encode(self, frame: VideoFrame, time_s: float, bps: int, *, keyframe: bool) -> list[Packet[Any]]:
        """The picture's packets, one as a rule; `time_s` is monotonic and never repeats. Raises av.FFmpegError."""
        made_for = (frame.width, frame.height, bps)
        if self._context is None or made_for != self._made_for:
            self._context = self._open(*made_for)
            self._made_for = made_for
        frame.pts = int(time_s * CLOCK_RATE)
        frame.time_base = TIME_BASE
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = self._context.encode(frame)
        for packet in packets:
            packet.time_base = TIME_BASE
        return packets

    def _open(self, width: int, height: int, bps: int) -> VideoCodecContext:
        context = av.CodecContext.create(self.name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate = fractions.Fraction(self._framerate)
        context.time_base = TIME_BASE
        context.bit_rate = bps
        context.gop_size = KEYFRAME_EVERY_S * self._framerate
        context.thread_count = 1
        limits = {"maxrate": str(bps), "bufsize": str(bps)}
        if self._codec == "H264":
            context.options = {
                **limits,
                "preset": "ultrafast",
                "tune": "zerolatency",
                "profile": "baseline",
                "forced-idr": "1",
                "x264-params": "scenecut=0:repeat-headers=1",
            }
        else:
            context.options = {
                **limits,
                "minrate": str(bps),
                "deadline": "realtime",
                "cpu-used": "-8",
                "lag-in-frames": "0",
                "error-resilient": "1",
                "static-thresh": "1",
                "undershoot-pct": "100",
                "overshoot-pct": "15",
            }
            context.qmin, context.qmax = 2, 56
        context.open()
        return context
