"""A feed of pictures on a stage: one after the other as a server pushes them (tronbyt contract, sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent.screen.messages import Shot
from agent.stage.program import Picture, ProgramStatus


@dataclass(frozen=True, slots=True)
class FeedImage:
    """One pushed image in a file of its own."""

    number: int
    """Of the link: 1, 2, 3, ..."""
    path: str
    title: str
    """For people and the log, which tells a title at length only the first time: better the same for a whole feed."""


@dataclass(slots=True, eq=False)
class _Entry:
    image: FeedImage
    shot: Shot
    counted: bool = False
    """Its `on_started` has been called."""
    failed: bool = False


class FeedProgram:
    """Shows the newest image it was given, animations endlessly; has nothing to show before the first one and after `clear`.

    Of each image given to `show` at most one is called: `on_started` with its number and the seconds of one round of its
    animation (None: a still, or not known), when it is on the screen; `on_failed`, when it cannot be shown: then the picture
    before it stays. Time goes on without a screen: while something more important has it, or it is down, an image counts as
    started as soon as it is shown. Neither is called from within a method of this class that a link calls, nor for an image that
    was overtaken by another or by `clear`. `on_visible` is called from inside the stage: it may take note, no more.

    After each call the screen must be refreshed. The file of every image in `needed` must stay.
    """

    def __init__(
        self,
        name: str,
        priority: int,
        tokens: Iterator[int],
        *,
        on_started: Callable[[int, float | None], None],
        on_failed: Callable[[int], None],
        on_visible: Callable[[bool], None] | None = None,
    ) -> None:
        self.name = name
        self.priority = priority
        self.dim_percent = 0.0
        """How much darker this feed is, 0-100; on top of the device's own brightness."""
        self.mark = False
        """Whether a small mark says that the feed is not connected."""
        self._tokens = tokens
        self._on_started = on_started
        self._on_failed = on_failed
        self._on_visible = on_visible
        self._visible = False
        self._wanted: _Entry | None = None
        self._before: _Entry | None = None
        """Stays on the screen until `_wanted` is there."""
        self._upcoming: _Entry | None = None
        self._refused: _Entry | None = None
        """Found out beforehand that it cannot be shown; to be said at its turn."""
        self._due: float | None = None

    # What a link does

    @property
    def visible(self) -> bool:
        """Whether it has the screen, and the screen is up."""
        return self._visible

    @property
    def needed(self) -> frozenset[int]:
        """Numbers of the images whose files may still be read."""
        return frozenset(entry.image.number for entry in (self._wanted, self._before, self._upcoming) if entry is not None)

    def show(self, image: FeedImage, now: float) -> None:
        """Wants this image on the screen from now on. The image that is wanted already: nothing happens."""
        if self._wanted is not None and self._wanted.image.number == image.number:
            return
        entry = self._upcoming if self._upcoming is not None and self._upcoming.image == image else self._entry(image)
        self._upcoming = self._refused = None
        if entry.failed:
            self._refused = entry
        else:
            if self._wanted is not None and self._wanted.counted:
                self._before = self._wanted
            self._wanted = entry
        self._due = now

    def prepare(self, image: FeedImage | None) -> None:
        """The image that is likely to be shown next is looked at and decoded beforehand; None: there is none."""
        if image is None:
            self._upcoming = None
        elif self._upcoming is None or self._upcoming.image != image:
            self._upcoming = self._entry(image)

    def clear(self, now: float) -> None:
        """Gives the screen away."""
        del now
        self._wanted = self._before = self._upcoming = self._refused = None

    # What the stage does, see `Program`

    def picture(self, now: float) -> Picture | None:
        """See `Program`."""
        del now
        if self._wanted is None:
            return None
        upcoming = self._upcoming
        return Picture(
            shot=self._wanted.shot,
            upcoming=None if upcoming is None or upcoming.failed else upcoming.shot,
            dim_percent=self.dim_percent,
            mark=self.mark,
        )

    def shown(self, now: float) -> None:
        """See `Program`."""
        del now
        self._turn(visible=True)

    def hidden(self, now: float) -> None:
        """See `Program`."""
        self._turn(visible=False)
        self._due = now

    def started(self, token: int, now: float, duration_s: float | None = None) -> None:
        """See `Program`."""
        del now
        if self._wanted is not None and self._wanted.shot.token == token:
            self._count(self._wanted, duration_s)

    def ended(self, token: int, now: float) -> None:
        """See `Program`."""

    def failed(self, token: int, now: float) -> None:
        """See `Program`."""
        del now
        upcoming, wanted = self._upcoming, self._wanted
        if upcoming is not None and upcoming.shot.token == token:
            upcoming.failed = True
        elif wanted is not None and wanted.shot.token == token:
            wanted.failed = True
            self._wanted, self._before = self._before, None
            if not wanted.counted:
                self._on_failed(wanted.image.number)
        elif self._before is not None and self._before.shot.token == token:
            self._before = None

    def progress(self, token: int, position_s: float, now: float) -> None:
        """See `Program`."""

    def deadline(self, now: float) -> float | None:
        """See `Program`."""
        return (self._due if self._due is not None else now) if self._overdue else None

    def tick(self, now: float) -> None:
        """See `Program`."""
        del now
        if not self._overdue:
            return
        refused, self._refused = self._refused, None
        if refused is not None:
            self._on_failed(refused.image.number)
        elif self._wanted is not None:
            self._count(self._wanted, None)

    def status(self, now: float) -> ProgramStatus:
        """See `Program`."""
        del now
        if self._wanted is None:
            return ProgramStatus("idle")
        return ProgramStatus("playing", media_id=self._wanted.image.number, title=self._wanted.image.title)

    # Inside

    @property
    def _overdue(self) -> bool:
        """Whether there is something to be said without waiting for the screen."""
        return self._refused is not None or (not self._visible and self._wanted is not None and not self._wanted.counted)

    def _entry(self, image: FeedImage) -> _Entry:
        shot = Shot(next(self._tokens), image.path, "image", image.title, pixelated=True, loop=True)
        return _Entry(image, shot)

    def _count(self, entry: _Entry, cycle_s: float | None) -> None:
        self._before = None
        if not entry.counted:
            entry.counted = True
            self._on_started(entry.image.number, cycle_s)

    def _turn(self, *, visible: bool) -> None:
        if visible != self._visible:
            self._visible = visible
            if self._on_visible is not None:
                self._on_visible(visible)
