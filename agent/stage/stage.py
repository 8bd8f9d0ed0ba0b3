"""The stage of one screen: the programs on it, and who has the picture (design, section 3)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from agent.screen.messages import Scene, Ticker
from agent.stage.program import Picture, Program, ProgramStatus


@dataclass(frozen=True, slots=True)
class StageStatus:
    """What people are told about a stage."""

    program: str | None
    """Name of the program that has the picture."""
    waiting: tuple[str, ...]
    """Names of the programs beneath it that have something to show, the next one first."""
    playing: ProgramStatus


class Stage:
    """Programs by priority; the highest that has something to show has the screen, on a tie the one put first.

    All times are monotonic seconds. Nothing here has an effect by itself: whoever drives the screen asks for the `scene` after
    each event, and calls `tick` at the `deadline`.
    """

    tokens = itertools.count(1)
    """Numbers of shots; one count for all stages of the process."""

    def __init__(self) -> None:
        self.ticker: Ticker | None = None
        self.dim_percent = 0.0
        self.volume_percent = 100.0
        self.muted = False
        self.duck_db = 0.0
        self.audio_device = ""
        self.sound_released = False
        self.sound_hangs = False
        self._programs: list[Program] = []
        self._active: Program | None = None
        self._visible = False

    # Programs

    def put(self, program: Program, now: float) -> None:
        """Adds a program."""
        self._programs.append(program)
        self._settle(now)

    def remove(self, program: Program, now: float) -> None:
        """Takes a program off; one that is not on the stage is no fault."""
        if program in self._programs:
            self._programs.remove(program)
        self._settle(now)

    @property
    def active(self) -> Program | None:
        """The program that has the picture."""
        return self._active

    # What the screen reports

    def up(self, now: float) -> None:
        """The screen presents pictures."""
        self._visible = True
        if self._active is not None:
            self._active.shown(now)

    def down(self, now: float) -> None:
        """The screen no longer presents anything: everything stands still and keeps its place."""
        self._visible = False
        if self._active is not None:
            self._active.hidden(now)

    def started(self, token: int, now: float) -> None:
        """The first frame of a shot is on the screen."""
        for program in self._programs:
            program.started(token, now)

    def ended(self, token: int, now: float) -> None:
        """A video has come to its end."""
        for program in self._programs:
            program.ended(token, now)

    def failed(self, token: int, now: float) -> None:
        """A shot cannot be shown."""
        for program in self._programs:
            program.failed(token, now)

    def progress(self, token: int, position_s: float) -> None:
        """Where a video is."""
        for program in self._programs:
            program.progress(token, position_s)

    # Time and outcome

    def deadline(self, now: float) -> float | None:
        """When `tick` must be called; None: nothing happens by itself."""
        return min((due for program in self._programs if (due := program.deadline(now)) is not None), default=None)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for program in self._programs:
            program.tick(now)

    def scene(self, now: float) -> Scene:
        """Everything the screen should show and sound like now."""
        picture = self._settle(now) or Picture(None)
        ticker = self.ticker
        if ticker is not None and ticker.canvas is None:
            ticker = replace(ticker, canvas=picture.canvas)
        return Scene(
            shot=picture.shot,
            upcoming=picture.upcoming,
            paused=picture.paused,
            closing=picture.closing,
            background=picture.background,
            ticker=ticker,
            dim_percent=self.dim_percent,
            volume_percent=self.volume_percent,
            muted=self.muted,
            duck_db=self.duck_db,
            audio_device=self.audio_device,
            sound_released=self.sound_released or self.sound_hangs,
        )

    def status(self, now: float) -> StageStatus:
        """For people."""
        active = self._active
        others = [p for p in self._programs if p is not active and p.picture(now) is not None]
        waiting = sorted(others, key=lambda p: -p.priority)
        return StageStatus(
            program=None if active is None else active.name,
            waiting=tuple(program.name for program in waiting),
            playing=ProgramStatus("idle") if active is None else active.status(now),
        )

    def _settle(self, now: float) -> Picture | None:
        """Gives the screen to whom it belongs."""
        chosen: Program | None = None
        picture: Picture | None = None
        for program in sorted(self._programs, key=lambda p: -p.priority):
            picture = program.picture(now)
            if picture is not None:
                chosen = program
                break
        if chosen is not self._active:
            if self._active is not None:
                self._active.hidden(now)
            self._active = chosen
            if chosen is not None and self._visible:
                chosen.shown(now)
                picture = chosen.picture(now)
        return picture
