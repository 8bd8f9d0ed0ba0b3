"""The stage of one screen: the programs on it, and who has the picture (design, section 3)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.screen.messages import Scene, Shot, StripLine, Ticker
from agent.stage import strip
from agent.stage.clip import ClipProgram
from agent.stage.program import Picture, Program, ProgramStatus


@dataclass(frozen=True, slots=True)
class StageStatus:
    """What people are told about a stage."""

    program: str | None
    """Name of the program that has the picture."""
    waiting: tuple[str, ...]
    """Names of the programs that have something to show but not the picture, the most important one first; clips with their
    titles."""
    playing: ProgramStatus
    strip: tuple[str, ...] = ()
    """What stands on the strip."""


class Stage:
    """Programs by priority; the highest that has something to show has the screen; on a tie the one whose name comes first in
    `order`, then the one put first. A clip that is to come after an item lets what is on beneath it come to its end: it has the
    screen when that would go on to another shot, has ended, is paused (it stays so, and stands there again afterwards), or has
    nothing to show; and when what is on is a still picture that stands longer than the clip waits.

    All times are monotonic seconds. Nothing here has an effect by itself: whoever drives the screen asks for the `scene` after
    each event, and calls `tick` at the `deadline`.
    """

    tokens = itertools.count(1)
    """Numbers of shots; one count for all stages of the process."""

    def __init__(self) -> None:
        self.ticker: Ticker | None = None
        self.strips: dict[str, Sequence[StripLine]] = {}
        """Lines of the progress strip, by name of the link."""
        self.dim_percent = 0.0
        self.volume_percent = 100.0
        self.muted = False
        self.duck_db = 0.0
        self.audio_device = ""
        self.sound_released = False
        self.sound_hangs = False
        self.order: tuple[str, ...] = ()
        """Names of programs, as their links stand in the configuration."""
        self._programs: list[Program] = []
        self._begun: dict[Program, tuple[int | None, int]] = {}
        """Shot and turn that each program had when it was the last time on the screen."""
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
            self._begun.pop(program, None)
        self._settle(now)

    @property
    def active(self) -> Program | None:
        """The program that has the picture."""
        return self._active

    # What the screen reports

    def up(self, now: float) -> None:
        """The screen presents pictures."""
        self._visible = True
        for program in self._programs:
            if isinstance(program, ClipProgram):
                program.wait(now)
        if self._active is not None:
            self._active.shown(now)

    def down(self, now: float) -> None:
        """The screen no longer presents anything: everything stands still and keeps its place."""
        self._visible = False
        if self._active is not None:
            self._active.hidden(now)

    def started(self, token: int, now: float, duration_s: float | None = None) -> None:
        """The first frame of a shot is on the screen."""
        for program in tuple(self._programs):
            program.started(token, now, duration_s)

    def ended(self, token: int, now: float) -> None:
        """A video has come to its end."""
        for program in tuple(self._programs):
            program.ended(token, now)

    def failed(self, token: int, now: float) -> None:
        """A shot cannot be shown."""
        for program in tuple(self._programs):
            program.failed(token, now)

    def progress(self, token: int, position_s: float, now: float) -> None:
        """Where a video is."""
        for program in tuple(self._programs):
            program.progress(token, position_s, now)

    # Time and outcome

    def deadline(self, now: float) -> float | None:
        """When `tick` must be called; None: nothing happens by itself."""
        return min((due for program in self._programs if (due := program.deadline(now)) is not None), default=None)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for program in tuple(self._programs):
            program.tick(now)

    def scene(self, now: float) -> Scene:
        """Everything the screen should show and sound like now."""
        picture = self._settle(now) or Picture(None)
        following = self._clip_in_line(now)
        ticker = self.ticker
        if ticker is not None and ticker.canvas is None:
            ticker = replace(ticker, canvas=picture.canvas)
        return Scene(
            shot=picture.shot,
            program="" if self._active is None else self._active.name,
            upcoming=following or picture.upcoming,
            paused=picture.paused,
            closing=picture.closing,
            background=picture.background,
            ticker=ticker,
            strip=strip.merged(self.strips, self.order),
            dim_percent=100 - (100 - _percent(self.dim_percent)) * (100 - _percent(picture.dim_percent)) / 100,
            mark=picture.mark,
            volume_percent=self.volume_percent,
            muted=self.muted,
            duck_db=self.duck_db,
            audio_device=self.audio_device,
            sound_released=self.sound_released or self.sound_hangs,
        )

    def status(self, now: float) -> StageStatus:
        """For people."""
        active = self._active
        waiting = [p for p in self._ranked() if p is not active and p.picture(now) is not None]
        return StageStatus(
            program=None if active is None else active.name,
            waiting=tuple(_label(program) for program in waiting),
            playing=ProgramStatus("idle") if active is None else active.status(now),
            strip=strip.words(strip.merged(self.strips, self.order)),
        )

    def _ranked(self) -> list[Program]:
        """The most important program first. Clips of one priority are in line as they came, whatever their names."""
        places = {name: place for place, name in enumerate(self.order)}
        ranked = sorted(self._programs, key=lambda p: (-p.priority, places.get(p.name, len(places))))
        clips = iter(sorted((p for p in self._programs if isinstance(p, ClipProgram)), key=lambda p: -p.priority))
        return [next(clips) if isinstance(program, ClipProgram) else program for program in ranked]

    def _settle(self, now: float) -> Picture | None:
        """Gives the screen to whom it belongs."""
        chosen, picture = self._choose(now)
        if chosen is not self._active:
            if self._active is not None:
                self._active.hidden(now)
            self._active = chosen
            if chosen is not None and self._visible:
                chosen.shown(now)
                picture = chosen.picture(now)
        if chosen is not None and picture is not None:
            self._begun[chosen] = _item(picture)
        return picture

    def _choose(self, now: float, without: Program | None = None) -> tuple[Program | None, Picture | None]:
        """To whom the screen belongs, and what it shows; as if `without` were not there."""
        first: tuple[ClipProgram, Picture] | None = None
        for program in self._ranked():
            picture = None if program is without else program.picture(now)
            if picture is None:
                continue
            if isinstance(program, ClipProgram) and program.after_item and program not in self._begun:
                first = first or (program, picture)
                continue
            return (program, picture) if first is None or self._lets_end(first[0], program, picture, now) else first
        return first or (None, None)

    def _lets_end(self, clip: ClipProgram, program: Program, picture: Picture, now: float) -> bool:
        """Whether a clip that comes after an item still waits for what `program` shows."""
        if picture.shot is None or picture.over or picture.paused or self._begun.get(program) != _item(picture):
            return False
        return picture.shot.kind == "video" or now < clip.waits_until

    def _clip_in_line(self, now: float) -> Shot | None:
        """What follows the present shot by itself: the first clip that waits for its end."""
        active = self._active
        if active is None:
            return None
        if isinstance(active, ClipProgram):
            program, picture = self._choose(now, without=active)
            in_line = isinstance(program, ClipProgram) and program not in self._begun
            return picture.shot if in_line and picture is not None else None
        above = itertools.takewhile(lambda program: program is not active, self._ranked())
        return next((picture.shot for program in above if (picture := program.picture(now)) is not None), None)


def _item(picture: Picture) -> tuple[int | None, int]:
    return (None if picture.shot is None else picture.shot.token, picture.turn)


def _label(program: Program) -> str:
    return f"{program.name} ({program.title})" if isinstance(program, ClipProgram) else program.name


def _percent(value: float) -> float:
    return min(max(value, 0.0), 100.0)
