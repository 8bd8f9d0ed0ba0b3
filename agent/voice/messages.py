"""What the daemon and the voice worker say to each other, apart from the sound itself (`agent.voice.stream`)."""

from __future__ import annotations

from dataclasses import dataclass

from agent.system.wire import Done, Ping


@dataclass(frozen=True, slots=True)
class Output:
    """Where announcements are played, and how loud; holds from the next sound on, the volume at once."""

    pcm: str
    """ALSA's name of it."""
    percent: float = 100.0
    """The player's volume where no mixer does the work, on libmpv's scale."""
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Playback:
    """Sent whenever it changes."""

    active: bool = False
    """The PCM is open, or the worker tries to open it."""
    busy: bool = False
    """Another client had the PCM when it was tried; holds until `active` is over."""
    sounding: bool = False
    """From the moment an announcement is about to be heard to its last sound."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A session is over: played to its end, or stopped. Nothing more of it will be heard."""

    session: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps announcements, or push to talk, from working now; an empty text: nothing any more."""

    part: str
    """`output`, `microphone` or `button`."""
    text: str = ""


TO_WORKER: tuple[type, ...] = (Output, Ping)
FROM_WORKER: tuple[type, ...] = (Playback, Finished, Trouble, Done)
