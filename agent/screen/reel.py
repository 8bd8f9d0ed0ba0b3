"""What was given to the player, and what became of it: the shown take, at most one follower, and their first-frame deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.screen.files import Source
from agent.screen.messages import Shot
from agent.screen.player import ENDLESS, EndReached, Event, FileEnded, FileStarted, FrameShown, Player

BLANK = -2
"""Token of the blank picture, which has no deadline."""
LONE_FRAME_S = 5.0
"""How long a film stands that turns out to have one picture only, and no sound that could be heard."""


@dataclass(slots=True, eq=False)
class Take:
    """A shot that was given to the player."""

    shot: Shot
    source: Source
    shown: bool = False
    announced: bool = False
    ended: bool = False
    closing: bool = False
    deadline: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def timed(self) -> bool:
        """Whether it comes to an end by itself."""
        return self.shot.kind == "video" and not self.shot.loop


@dataclass(frozen=True, slots=True)
class ReelEvents:
    """What happens to takes; each is about the present one."""

    shown: Callable[[Take], None]
    """Its first frame is on the screen."""
    ended: Callable[[Take], None]
    """It came to its natural end."""
    left: Callable[[Take], None]
    """The player goes on from it to its follower, by itself."""
    late: Callable[[Take], None]
    """It had no first frame in time."""
    broken: Callable[[Take, str], None]
    """It cannot be played, for this reason."""


class Reel:
    """The player's list of files. `first` is what is played first, when `play` is called with it."""

    def __init__(self, player: Player, first_frame_s: float, first: Take, events: ReelEvents) -> None:
        self.present = first
        """What is shown, or being loaded over what is still shown."""
        self.follower: Take | None = None
        """What the player goes on to by itself."""
        self._withdrawn: Take | None = None
        self._player = player
        self._first_frame_s = first_frame_s
        self._events = events
        self._takes: dict[int, Take] = {}
        self._entry = 0

    def play(self, take: Take) -> None:
        """Loads it over the shown one."""
        self._turn_to(take)
        # What else there was never comes on any more; its pictures take memory.
        self._takes.clear()
        self._load(take, "replace")

    def append(self, take: Take) -> None:
        """Lets it follow the present one without a gap."""
        self.follower = take
        self._load(take, "append")

    def withdraw(self) -> None:
        """Takes the follower back."""
        if self.follower is not None:
            self._player.post("playlist-clear")
            if self._withdrawn is not None:
                self._takes = {entry: take for entry, take in self._takes.items() if take is not self._withdrawn}
            self.follower, self._withdrawn = None, self.follower

    def advance(self) -> None:
        """Goes on to the follower now."""
        assert self.follower is not None
        self._player.post("playlist-next", "weak")
        self._turn_to(self.follower)

    def handle(self, event: Event) -> None:
        """Takes in what the player says about its files."""
        match event:
            case FileStarted(entry):
                self._started(entry)
            case FrameShown():
                self._frame_shown()
            case FileEnded(entry, natural, error):
                self._file_ended(entry, natural=natural, error=error)
            case EndReached():
                if self.present.shown and self.present.timed and self.follower is None:
                    self._end(self.present)
            case _:
                pass

    def _load(self, take: Take, mode: str) -> None:
        source, shot = take.source, take.shot
        options = {"hwdec": source.hwdec}
        if source.container:
            options["demuxer-lavf-format"] = source.container
        if source.cycle_s is not None:
            options |= ENDLESS
        if shot.kind == "image" or shot.loop:
            options["loop-file"] = "inf"
        else:
            options["image-display-duration"] = f"{LONE_FRAME_S:g}"
            if shot.start_s > 0:
                options["start"] = f"+{shot.start_s:.3f}"
        if source.shrink is not None:
            options["vf"] = "lavfi=[scale={}:{}]".format(*source.shrink)

        def entered(entry: int) -> None:
            if take in (self.present, self.follower, self._withdrawn):
                self._takes[entry] = take

        self._player.load(source.path, mode, options, entered)

    def _watch(self, take: Take) -> None:
        if take.shot.token != BLANK:
            take.deadline = asyncio.get_running_loop().call_later(self._first_frame_s, self._late, take)

    def _late(self, take: Take) -> None:
        if take is self.present and not take.shown:
            self._events.late(take)

    def _turn_to(self, take: Take) -> None:
        if self.present.deadline is not None:
            self.present.deadline.cancel()
        self.present, self.follower, self._withdrawn = take, None, None
        self._watch(take)

    def _started(self, entry: int) -> None:
        self._entry = entry
        take = self._takes.get(entry)
        if take is not None and take is self._withdrawn:
            # The player went on to it just before it was taken back.
            old = self.present
            self._turn_to(take)
            self._events.left(old)

    def _frame_shown(self) -> None:
        take = self._takes.get(self._entry)
        if take is None or take.shown:
            return
        take.shown = True
        if take.deadline is not None:
            take.deadline.cancel()
        if take is self.present:
            self._events.shown(take)

    def _file_ended(self, entry: int, *, natural: bool, error: str) -> None:
        take = self._takes.pop(entry, None)
        if take is None:
            return
        if take.deadline is not None:
            take.deadline.cancel()
        if take is not self.present:
            return
        if error or (natural and not take.shown):
            self._events.broken(take, error or "ends before its first frame")
        elif natural:
            if self.follower is not None:
                self._turn_to(self.follower)
                self._events.left(take)
            self._end(take)

    def _end(self, take: Take) -> None:
        if not take.ended:
            take.ended = True
            self._events.ended(take)
