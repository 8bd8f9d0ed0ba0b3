"""The Raspberry Pi's own cameras, through picamera2, which exists on a Pi only and is imported when one is opened.

Up to the Pi 4 the chip's H.264 encoder gives what viewers get. The Pi 5 has none, and picamera2's substitute does not work
with the PyAV in use, so there the pictures themselves are taken.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

from av import VideoFrame

from agent.camera.source import Hardware, Picture, SourceError

log = logging.getLogger(__name__)

STALL_S = 5.0
LONG_PERIOD_S = 10
"""Between keyframes that nobody asked for."""
SHORT_PERIOD_S = 0.5
"""The same, where the encoder cannot be asked: somebody who joins must not wait longer."""


class PiCameraSource:
    """The first camera on a ribbon cable."""

    name = "picamera2"

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self.hardware: Hardware | None = None
        # Whatever goes wrong in libcamera, or in a library of another version, must leave the daemon able to say so.
        try:
            self._module = importlib.import_module("picamera2")
        except Exception as error:
            raise SourceError(f"the Raspberry Pi camera needs picamera2 (apt install python3-picamera2): {error}") from error
        try:
            number = self._number()
            self._camera = self._module.Picamera2(number)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(f"the Raspberry Pi camera cannot be opened: {error}") from error
        try:
            self._start()
        except Exception as error:
            self.close()
            raise SourceError(f"the Raspberry Pi camera cannot be started: {error}") from error

    def read(self) -> VideoFrame | None:
        """See `Source`."""
        try:
            job = self._camera.capture_buffer("main", wait=False)
            pixels = self._camera.wait(job, timeout=STALL_S)
        except Exception as error:
            raise SourceError(f"the Raspberry Pi camera gives no more pictures: {str(error) or type(error).__name__}") from error
        return _frame(memoryview(pixels).cast("B"), self._size, self._stride)

    def close(self) -> None:
        """See `Source`."""
        for end in (self._camera.stop, self._camera.close):
            try:
                end()
            except Exception as error:  # noqa: BLE001 - see `__init__`
                log.debug("the camera does not end cleanly error=%s", error)

    def _number(self) -> int:
        """Of the camera: libcamera lists USB cameras as well, which are better read through V4L2."""
        for info in self._module.Picamera2.global_camera_info():
            if "usb" not in str(info.get("Id", "")).lower():
                return int(info.get("Num", 0))
        raise SourceError("there is no camera on the Raspberry Pi's camera connector")

    def _start(self) -> None:
        camera, picture = self._camera, self._picture
        frame_us = 1_000_000 // picture.framerate
        camera.configure(
            camera.create_video_configuration(
                main={"size": (picture.width, picture.height), "format": "YUV420"},
                controls={"FrameDurationLimits": (frame_us, frame_us)},
            )
        )
        stream = camera.camera_configuration()["main"]
        self._size: tuple[int, int] = tuple(stream["size"])
        self._stride: int = stream["stride"]
        platform = importlib.import_module("picamera2.platform")
        if platform.get_platform() == platform.Platform.VC4:
            self.hardware = PiEncoder(camera, picture.framerate)
        camera.start()


class PiEncoder:
    """The H.264 encoder of the chip."""

    name = "v4l2 (picamera2)"

    def __init__(self, camera: Any, framerate: int) -> None:
        self._camera = camera
        self._framerate = framerate
        self._encoders: ModuleType = importlib.import_module("picamera2.encoders")
        self._output_class: type = importlib.import_module("picamera2.outputs").Output
        self._encoder: Any = None

    def start(self, bps: int, sink: Callable[[bytes, bool, int], None]) -> None:
        """See `Hardware`."""
        self.stop()
        kind = self._encoders.H264Encoder
        period_s = LONG_PERIOD_S if hasattr(kind, "force_key_frame") else SHORT_PERIOD_S
        try:
            encoder = kind(
                bitrate=bps, repeat=True, iperiod=max(1, round(period_s * self._framerate)), profile="constrained baseline"
            )
            self._camera.start_encoder(encoder, _output(self._output_class, sink), name="main")
        except Exception as error:
            raise SourceError(f"the Raspberry Pi's video encoder cannot be started: {error}") from error
        self._encoder = encoder

    def stop(self) -> None:
        """See `Hardware`."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            try:
                self._camera.stop_encoder(encoder)
            except Exception as error:  # noqa: BLE001 - the camera may be gone already
                log.debug("the encoder does not end cleanly error=%s", error)

    def force_keyframe(self) -> None:
        """See `Hardware`."""
        force = getattr(self._encoder, "force_key_frame", None)
        if force is not None:
            force()


def _output(base: type, sink: Callable[[bytes, bool, int], None]) -> Any:
    """An output of picamera2 that passes each picture on; its class can be derived only where picamera2 is."""

    class Passed(base):  # type: ignore[misc]  # known at run time only
        def outputframe(
            self, frame: Any, keyframe: bool = True, timestamp: int | None = None, packet: Any = None, audio: bool = False
        ) -> None:
            """Called by picamera2 in the encoder's thread."""
            del packet
            if not audio:
                sink(bytes(frame), bool(keyframe), timestamp or 0)

    return Passed()


def _frame(pixels: memoryview, size: tuple[int, int], stride: int) -> VideoFrame:
    """The picture in a buffer of libcamera: luma with `stride` bytes a line, then the chromas with half of it."""
    width, height = size
    frame = VideoFrame(width, height, "yuv420p")
    start = 0
    for plane, (columns, lines, step) in zip(
        frame.planes,
        ((width, height, stride), (width // 2, height // 2, stride // 2), (width // 2, height // 2, stride // 2)),
        strict=True,
    ):
        target, line_size = memoryview(plane).cast("B"), plane.line_size
        if line_size == step:
            target[: step * lines] = pixels[start : start + step * lines]
        else:
            for line in range(lines):
                target[line * line_size : line * line_size + columns] = pixels[
                    start + line * step : start + line * step + columns
                ]
        start += step * lines
    return frame
