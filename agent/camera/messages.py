"""What the daemon and the camera worker say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from agent.system.wire import Done, Ping

LONGEST_OFFER = 64 * 1024
"""Characters; a browser's has a tenth of it. What is longer is refused."""
MOST_CANDIDATES = 128
"""That a viewer may send; a browser has a dozen."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server as the viewer's server named it, not checked yet."""

    urls: tuple[str, ...]
    username: str = ""
    credential: str = ""


@dataclass(frozen=True, slots=True)
class Open:
    """A viewer wants to watch. The same session again replaces the old one."""

    session: str
    ice_servers: tuple[IceServer, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """The viewer's SDP offer; a second one on a live session replaces the connection."""

    session: str
    sdp: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate of the viewer; `candidate` empty: there are no more."""

    session: str
    candidate: str = ""
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """The session is over; an unknown one is no fault."""

    session: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Our SDP answer."""

    session: str
    sdp: str


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """A candidate of ours found after the answer; `candidate` None: there are no more."""

    session: str
    candidate: str | None
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The session cannot be served; it is closed. The text is for the viewer."""

    session: str
    message: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The session has ended by itself: the viewer is gone, or never made an offer."""

    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class CameraState:
    """Sent whenever it changes."""

    viewers: int
    """Sessions that are connected."""
    sessions: int
    """All sessions, those that still connect too."""
    source: str = ""
    """What the picture comes from: test, v4l2:/dev/video0, picamera2; empty: the camera is closed."""
    encoder: str = ""
    """For instance "libx264" or "v4l2 (picamera2)"; empty: nothing is encoded."""
    bitrate: int = 0
    """Of the shared encoder, bits per second."""


TO_WORKER: tuple[type, ...] = (Open, Offer, Candidate, Close, Ping)
FROM_WORKER: tuple[type, ...] = (Done, Answer, LocalCandidate, Refused, Closed, CameraState)
