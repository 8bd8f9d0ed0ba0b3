"""What the daemon and a screen worker say to each other.

The daemon describes the whole picture it wants as one `Scene`; the worker brings mpv there from wherever it is. A scene can
therefore be sent again at any time, and a worker that starts anew needs nothing but the latest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.system.wire import Done, Ping

Position = Literal["top", "bottom", "left", "right"]
Motion = Literal["scroll", "static"]
Transition = Literal["cut", "fade", "slide"]


@dataclass(frozen=True, slots=True)
class Shot:
    """One showing of one file. The same item shown again is a new shot with a new token."""

    token: int
    path: str
    kind: Literal["image", "video"]
    title: str = ""
    start_s: float = 0.0
    """Where a video begins, in seconds; looked at only when the shot is loaded."""
    rect: tuple[float, float, float, float] | None = None
    """x, y, width, height as fractions of the upright screen; None: the whole screen."""
    enter: Transition = "cut"
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0
    """A video closes by itself that long before its end; an image when the scene says `closing`."""
    pixelated: bool = False
    """A picture of few pixels: each is a square of whole screen pixels; alpha lies over black. Kept nowhere but in memory."""
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Ticker:
    """A text bar over the picture. Pixels are canvas pixels (`canvas`), scaled to the screen."""

    text: str
    position: Position = "bottom"
    motion: Motion = "scroll"
    speed_px_s: float = 50.0
    font_size_px: float = 24.0
    background: str = "#FF000000"
    """#AARRGGBB, alpha FF = opaque."""
    color: str = "#FFFFFFFF"
    canvas: tuple[int, int] | None = None
    """Width and height of the canvas; None: the screen's own."""


@dataclass(frozen=True, slots=True)
class StripLine:
    """One line of a strip: how far something has come, or what has become of it."""

    title: str
    detail: str = ""
    """Stage, percentage, time left."""
    fraction: float | None = None
    """How much is done, 0-1; None: nobody knows."""
    note: str = ""
    """More, in smaller letters."""
    alarm: bool = False
    """Something went wrong: in another colour, without a bar."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A bar with progress at the lower edge, above a ticker there."""

    lines: tuple[StripLine, ...]
    more: int = 0
    """How many there are beside these."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a screen should show and sound like now."""

    shot: Shot | None = None
    """None: the idle picture, or the background colour without one."""
    program: str = ""
    """Whose picture that is."""
    upcoming: Shot | None = None
    """Follows by itself, without a gap, when a video `shot` ends; None: the last frame stands."""
    paused: bool = False
    closing: bool = False
    """The fade-out of an image has begun."""
    background: str = "#000000"
    ticker: Ticker | None = None
    strip: Strip | None = None
    dim_percent: float = 0.0
    """How much darker the whole picture is, 0-100."""
    mark: bool = False
    """A small mark in the upper right corner."""
    volume_percent: float = 100.0
    """The player's own volume; 100 where a mixer does the work."""
    muted: bool = False
    duck_db: float = 0.0
    """How much quieter the sound is than `volume_percent` says; got to, and back from, smoothly."""
    audio_device: str = ""
    """As libmpv names it; empty: its own choice."""
    sound_released: bool = False
    """The sound device is another's for the time being: films go on silently."""


@dataclass(frozen=True, slots=True)
class Screenshot:
    """Request: writes what is on the screen, overlays included, as JPEG or PNG (by the ending) to `path`; answered by Done."""

    path: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Request: opens a file as media without showing it; answered by Done, see UNPLAYABLE."""

    path: str
    kind: Literal["image", "video"]


@dataclass(frozen=True, slots=True)
class Ready:
    """The output is open and presents pictures; sent once, before anything else about the picture."""

    width: int
    height: int
    """Pixels of the upright picture, rotation taken into account."""
    vo: str


@dataclass(frozen=True, slots=True)
class Started:
    """The first frame of this shot is on the screen."""

    token: int
    duration_s: float | None = None
    """Of a video; of one round of an animation, where that is known; None: it stays as it is."""
    hwdec: str = "no"


@dataclass(frozen=True, slots=True)
class Ended:
    """A video has come to its natural end (its last frame stands until something else is shown)."""

    token: int


@dataclass(frozen=True, slots=True)
class Failed:
    """This shot cannot be shown, whatever decoder was tried."""

    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a playing video is; about once a second while one plays."""

    token: int
    position_s: float


@dataclass(frozen=True, slots=True)
class Down:
    """The output cannot be opened or was lost; the worker exits after saying so."""

    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a technician should read in the log."""

    level: Literal["info", "warning"]
    text: str


UNPLAYABLE = "cannot be shown: "
"""So begins the error in the answer to a Probe if it is a fault of the file; any other error is none of the file's."""

TO_WORKER: tuple[type, ...] = (Scene, Ping, Screenshot, Probe)
FROM_WORKER: tuple[type, ...] = (Done, Ready, Started, Ended, Failed, Progress, Down, Notice)
