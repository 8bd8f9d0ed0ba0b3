"""What a link puts on a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agent.screen.messages import Shot

LOWEST_PRIORITY = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """What a program wants on the screen now."""

    shot: Shot | None
    upcoming: Shot | None = None
    paused: bool = False
    closing: bool = False
    background: str = "#000000"
    canvas: tuple[int, int] | None = None
    dim_percent: float = 0.0
    """How much darker this program is, 0-100; on top of the device's own brightness."""
    mark: bool = False
    """A small mark in a corner: the program's server is not connected."""
    turn: int = 0
    """Another number: the item before is over, also where the same shot stays."""
    over: bool = False
    """The last item is over; its picture stands."""


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """What people are told about a program."""

    state: str
    """playing, paused, ended or idle."""
    playlist_id: int | str | None = None
    media_id: int | str | None = None
    media_index: int | None = None
    title: str = ""
    position_s: float = 0.0


class Program(Protocol):
    """One source of pictures with a priority. All times are monotonic seconds.

    The stage tells it when it has the screen (`shown`) and when it no longer has (`hidden`: stand still and keep the place),
    and passes on what becomes of its shots.
    """

    name: str
    priority: int

    def picture(self, now: float) -> Picture | None:
        """What it wants to show; None: nothing, the next program may have the screen."""

    def shown(self, now: float) -> None:
        """It has the screen."""

    def hidden(self, now: float) -> None:
        """It no longer has the screen, or the screen is down."""

    def started(self, token: int, now: float, duration_s: float | None = None) -> None:
        """The first frame of a shot is on the screen. `duration_s`: of a video, or of one round of an animation, if known."""

    def ended(self, token: int, now: float) -> None:
        """A video has come to its end."""

    def failed(self, token: int, now: float) -> None:
        """A shot cannot be shown."""

    def progress(self, token: int, position_s: float, now: float) -> None:
        """Where a video is."""

    def deadline(self, now: float) -> float | None:
        """When `tick` is to be called next; None: not by itself."""

    def tick(self, now: float) -> None:
        """The deadline has passed."""

    def status(self, now: float) -> ProgramStatus:
        """For `status` and the log."""
