"""Where pictures come from: what a source is, and how the configured one is opened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from av import VideoFrame

log = logging.getLogger(__name__)

READ_S = 0.5
"""A source returns from `read` within this time, if it can."""


class SourceError(Exception):
    """The source cannot be opened, or no longer gives pictures; the text is for the viewer."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is asked of a source; pixels, frames per second. It may give another size."""

    width: int
    height: int
    framerate: int


class Hardware(Protocol):
    """An encoder that belongs to the camera and gives H.264, constrained baseline, annex B."""

    name: str

    def start(self, bps: int, sink: Callable[[bytes, bool, int], None]) -> None:
        """From now on `sink` gets each picture's bytes, whether it is a keyframe, and its time in microseconds.

        It is called in a thread of the encoder's. Starting anew changes the bitrate. Raises SourceError.
        """

    def stop(self) -> None:
        """No more pictures."""

    def force_keyframe(self) -> None:
        """The next picture is a keyframe, if the encoder can be asked; else keyframes come often by themselves."""


class Source(Protocol):
    """An open camera. All calls come from one thread."""

    name: str
    hardware: Hardware | None

    def read(self) -> VideoFrame | None:
        """The next picture, yuv420p with even sides, which must not be kept longer than two more reads.

        None: nothing came within half a second. Raises SourceError when the camera is gone.
        """

    def close(self) -> None:
        """Lets the camera go."""


def open_source(source: str, picture: Picture) -> Source:
    """The camera that `source` names, see the table [camera] of the configuration. May take seconds. Raises SourceError."""
    if source == "auto":
        return _open_first(picture)
    if source == "test":
        from agent.camera.pattern import PatternSource  # noqa: PLC0415 - each source is loaded only when it is wanted

        return PatternSource(picture)
    if source == "picamera2":
        from agent.camera.picamera import PiCameraSource  # noqa: PLC0415 - see above

        return PiCameraSource(picture)
    if source.startswith("v4l2:"):
        from agent.camera.v4l2 import V4l2Source  # noqa: PLC0415 - see above

        return V4l2Source(source.removeprefix("v4l2:"), picture)
    raise SourceError("this device's camera is switched off")


def _open_first(picture: Picture) -> Source:
    """The first camera that works: the Raspberry Pi's own, then what the kernel lists."""
    from agent.camera.v4l2 import cameras  # noqa: PLC0415 - see above

    faults = []
    for name in ["picamera2", *(f"v4l2:{device}" for device in cameras())]:
        try:
            return open_source(name, picture)
        except SourceError as error:
            log.debug("not this camera source=%s error=%s", name, error)
            faults.append(str(error))
    raise SourceError("no camera was found" if len(faults) == 1 else f"no camera works: {'; '.join(faults[1:])}")
