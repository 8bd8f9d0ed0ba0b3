"""What the daemon and the mixer worker say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from agent.system.wire import Done, Ping


@dataclass(frozen=True, slots=True)
class Open:
    """Request: find the control and keep it. `connector` is the first screen's, such as HDMI-A-1, or empty."""

    card: str
    control: str
    connector: str


@dataclass(frozen=True, slots=True)
class Write:
    """Request: set all channels, to a raw value or, with `in_db`, to a level in hundredths of a dB."""

    value: int
    in_db: bool


@dataclass(frozen=True, slots=True)
class Mute:
    """Request: turn the control's playback switch."""

    muted: bool


@dataclass(frozen=True, slots=True)
class Card:
    """The card was chosen, whether or not it has a volume: mpv's name of it, empty for mpv's own choice."""

    audio_device: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Sent before the answer to Open."""

    device: str
    control: str
    minimum: int
    maximum: int
    low_cdb: int | None
    high_cdb: int | None
    has_switch: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What the control stands at: sent before an answer (`asked`), and when it was changed by somebody else.

    The loudest channel counts. `cdb` is its level in hundredths of a dB, None without such information.
    """

    raw: int
    cdb: int | None
    muted: bool
    asked: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The control is gone and no longer watched."""

    reason: str


TO_WORKER = (Open, Write, Mute, Ping)
TO_DAEMON = (Card, Opened, Reading, Lost, Done)
