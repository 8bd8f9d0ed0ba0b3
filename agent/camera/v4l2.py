"""USB cameras, and whatever else the kernel's V4L2 gives pictures of."""

from __future__ import annotations

import fcntl
import logging
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av

from agent.camera.source import Hardware, Picture, SourceError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

log = logging.getLogger(__name__)

FORMATS = ("mjpeg", "yuyv422", "")
"""Tried in this order; empty: what the camera is set to. Uncompressed 720p is too much for USB 2."""
BROKEN_FRAMES = 30
"""So many undecodable frames in a row and the camera is given up; a few at the start are usual."""

_VIDIOC_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_DEVICE_CAPS_VALID = 0x80000000
_VIDEO_CAPTURE = 0x00000001


def cameras(directory: Path = Path("/dev")) -> list[str]:
    """Devices that capture pictures, by number; not the codecs, scalers and metadata that look the same."""
    devices = [path for path in directory.glob("video*") if re.fullmatch(r"video[0-9]+", path.name)]
    return [str(path) for path in sorted(devices, key=lambda path: int(path.name[5:])) if _captures(path)]


class V4l2Source:
    """A camera read through PyAV."""

    hardware: Hardware | None = None

    def __init__(self, device: str, picture: Picture) -> None:
        self.name = f"v4l2:{device}"
        self._container = _open(device, picture)
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "SLICE"
        self._frames = self._decode()

    def read(self) -> VideoFrame | None:
        """See `Source`."""
        try:
            frame = next(self._frames)
        except (StopIteration, av.FFmpegError) as error:
            raise SourceError(f"the camera {self.name} is gone: {_words(error)}") from error
        width, height = frame.width & ~1, frame.height & ~1
        if frame.format.name != "yuv420p" or (width, height) != (frame.width, frame.height):
            frame = frame.reformat(width=width, height=height, format="yuv420p")
        return frame

    def close(self) -> None:
        """See `Source`."""
        self._container.close()

    def _decode(self) -> Iterator[VideoFrame]:
        broken = 0
        while True:
            try:
                for frame in self._container.decode(self._stream):
                    broken = 0
                    yield frame
            except av.InvalidDataError:
                broken += 1
                if broken > BROKEN_FRAMES:
                    raise
            else:
                return


def _open(device: str, picture: Picture) -> InputContainer:
    options = {"video_size": f"{picture.width}x{picture.height}", "framerate": str(picture.framerate)}
    fault: Exception | None = None
    for attempt in [*({**options, "input_format": name} if name else options for name in FORMATS), {}]:
        try:
            container = av.open(device, format="v4l2", options=attempt)
        except (FileNotFoundError, PermissionError) as error:
            fault = error
            break
        except (av.FFmpegError, ValueError) as error:
            log.debug("camera does not take these options device=%s options=%s error=%s", device, attempt, error)
            fault = error
        else:
            log.debug("camera is open device=%s options=%s", device, attempt)
            return container
    raise SourceError(f"the camera v4l2:{device} cannot be opened: {_words(fault)}")


def _captures(path: Path) -> bool:
    try:
        with path.open("rb", buffering=0) as device:
            answer = fcntl.ioctl(device, _VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
    except OSError:
        return False
    *_, capabilities, device_capabilities = _CAPABILITY.unpack(answer)
    return bool((device_capabilities if capabilities & _DEVICE_CAPS_VALID else capabilities) & _VIDEO_CAPTURE)


def _words(error: Exception | None) -> str:
    return getattr(error, "strerror", None) or str(error) or "it gives no more pictures"
