"""A screen in simulated time: does what it is told at once, and reports it as a worker would."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.screen.messages import Scene, Shot
from agent.stage.playlist import Item, Playlist
from agent.stage.program import Picture
from agent.stage.sequencer import Sequencer
from agent.stage.stage import Stage

MOST_TICKS = 20
"""Of one moment; more is spinning."""


def image(media_id: int | str, duration_s: float = 10.0, **fields: object) -> Item:
    """An image whose title is its id."""
    values = {"path": f"/media/{media_id}.png", **fields}
    return Item(media_id=media_id, title=str(media_id), kind="image", duration_s=duration_s, **values)  # type: ignore[arg-type]


def video(media_id: int | str, **fields: object) -> Item:
    """A video whose title is its id."""
    values = {"path": f"/media/{media_id}.mp4", **fields}
    return Item(media_id=media_id, title=str(media_id), kind="video", duration_s=0.0, **values)  # type: ignore[arg-type]


def playlist(*items: Item, passes: int | None = None) -> Playlist:
    """A list of these items."""
    return Playlist(playlist_id=7, name="seven", items=items, passes=passes)


class Actor(Protocol):
    """What is on: a sequencer, or a stage of programs."""

    def started(self, token: int, now: float) -> None: ...
    def ended(self, token: int, now: float) -> None: ...
    def failed(self, token: int, now: float) -> None: ...
    def progress(self, token: int, position_s: float, now: float) -> None: ...
    def deadline(self, now: float) -> float | None: ...
    def tick(self, now: float) -> None: ...


class Cinema:
    """Shows what `actor` wants. Videos last `lengths` seconds (default 5), `broken` files cannot be shown."""

    def __init__(self, actor: Actor, lengths: Mapping[str, float] | None = None, broken: Sequence[str] = ()) -> None:
        self.actor = actor
        self.now = 1000.0
        self.seen: list[str] = []
        """Titles in the order they came on."""
        self.at: list[float] = []
        """Seconds after the beginning at which they did."""
        self.tokens: list[int] = []
        self.broken = set(broken)
        self._began = self.now
        self._lengths = lengths or {}
        self._on: Shot | None = None
        self._position_s = 0.0
        self._over = False

    @property
    def picture(self) -> Picture | Scene:
        """What is wanted now."""
        wanted = self.actor.scene(self.now) if isinstance(self.actor, Stage) else self._sequencer.picture(self.now)
        assert wanted is not None, "nothing wanted"
        return wanted

    @property
    def title(self) -> str:
        """What is on; empty: the background."""
        self.look()
        return self._on.title if self._on else ""

    def look(self) -> None:
        """Brings what is wanted on the screen, as often as that changes."""
        for _ in range(MOST_TICKS):
            shot = self.picture.shot
            if shot is None:
                self._on = None
                return
            if self._on is not None and shot.token == self._on.token:
                return
            if shot.title in self.broken:
                self.actor.failed(shot.token, self.now)
                continue
            self._on, self._position_s, self._over = shot, shot.start_s, False
            self.seen.append(shot.title)
            self.at.append(round(self.now - self._began, 6))
            self.tokens.append(shot.token)
            self.actor.started(shot.token, self.now)
        raise AssertionError(f"the picture does not settle; seen {self.seen[-5:]}")

    def run(self, seconds: float) -> None:
        """Lets time pass: ticks at each deadline, ends videos that are through."""
        until, ticks, last = self.now + seconds, 0, -1.0
        while True:
            self.look()
            due = self.actor.deadline(self.now)
            end = self._video_end()
            following = min((moment for moment in (due, end) if moment is not None), default=None)
            if following is None or following > until:
                self._pass(until)
                break
            ticks = ticks + 1 if following <= last else 0
            assert ticks < MOST_TICKS, f"spinning at {following}"
            last = max(last, following)
            self._pass(max(self.now, following))
            if end is not None and end <= self.now and self._on is not None:
                self._over = True
                self.actor.ended(self._on.token, self.now)
            else:
                self.actor.tick(self.now)
        self.look()

    def lose(self) -> None:
        """The screen forgets what was on it."""
        self._on = None

    @property
    def _sequencer(self) -> Sequencer:
        assert isinstance(self.actor, Sequencer)
        return self.actor

    def _video_end(self) -> float | None:
        if self._on is None or self._on.kind == "image" or self._over or self.picture.paused:
            return None
        return self.now + self._lengths.get(self._on.title, 5.0) - self._position_s

    def _pass(self, moment: float) -> None:
        if self._on is not None and self._on.kind == "video" and not self._over and not self.picture.paused:
            self._position_s += moment - self.now
            self.actor.progress(self._on.token, self._position_s, moment)
        self.now = moment


class Showing(Cinema):
    """A cinema with one sequencer, visible from the beginning."""

    def __init__(
        self,
        plays: Playlist,
        lengths: Mapping[str, float] | None = None,
        broken: Sequence[str] = (),
        *,
        at: tuple[int | str, float] | None = None,
        paused: bool = False,
    ) -> None:
        self.reported: list[str] = []
        self.sequencer = Sequencer(
            plays, itertools.count(1), at=at, paused=paused, on_failed=lambda item: self.reported.append(item.title)
        )
        super().__init__(self.sequencer, lengths, broken)
        self.sequencer.shown(self.now)
        self.look()

    def play(self) -> None:
        """The command."""
        self.sequencer.play(self.now)
        self.look()

    def pause(self) -> None:
        """The command."""
        self.sequencer.pause(self.now)
        self.look()

    def step(self, by: int = 1) -> bool:
        """The commands next and previous."""
        moved = self.sequencer.step(by, self.now)
        self.look()
        return moved

    def jump(self, media_id: int | str | None = None, index: int | None = None) -> bool:
        """The command play_media."""
        found = self.sequencer.jump(self.now, media_id=media_id, index=index)
        self.look()
        return found

    def replace(self, plays: Playlist, *, retry: bool = True) -> None:
        """The playlist was loaded again."""
        self.sequencer.replace(plays, self.now, retry=retry)
        self.look()

    @property
    def state(self) -> str:
        """playing, paused, ended or idle."""
        return self.sequencer.status(self.now).state

    @property
    def left_s(self) -> float:
        """What is left of an image's time."""
        assert self.sequencer._current is not None
        return round(self.sequencer._current.item.duration_s - self.sequencer.status(self.now).position_s, 3)
