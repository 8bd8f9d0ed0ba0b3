"""Which item of a playlist is on, for how long, and which comes next (signage contract, sections 3 and 6).

Time comes in as monotonic seconds; what should be on the screen comes out as shots. A shot stands for one showing: the same
item shown twice has two tokens, except that an image that follows itself simply stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from agent.screen.messages import Shot
from agent.stage.playlist import Item, MediaId, Playlist
from agent.stage.program import Picture, ProgramStatus

RETRY_S = 30.0
"""After every item of a list has failed."""
REPORTS_S = 1.5
"""A film that runs says within this time where it is."""
STANDS_STILL_S = 60.0
"""A film that should run and is at the same place for this long never comes to its end."""
_LATE_S = 5.0
"""Whoever looks later than this has missed what was said in between."""
_SOON_S = 1e-6
"""Less than this is no time: a deadline that was computed and the sum of the times passed differ by rounding."""


@dataclass(slots=True)
class _Showing:
    """One item on the screen, or planned to be."""

    index: int
    item: Item
    token: int
    repetition: int
    lap: int
    position_s: float = 0.0
    """At `running_since`, or where it stands."""


class Sequencer:
    """Plays one playlist.

    `tokens` gives every shot its number; `on_failed` is told once of each item that cannot be shown. A film that stands still
    although it should run is left as at its end, and tried again at its next turn: the fault may be the box's.
    """

    def __init__(
        self,
        playlist: Playlist,
        tokens: Iterator[int],
        *,
        at: tuple[MediaId, float] | None = None,
        paused: bool = False,
        on_failed: Callable[[Item], None] | None = None,
    ) -> None:
        self.playlist = playlist
        self.paused = paused
        self.finished = False
        """The last pass is over and the last frame stands."""
        self.stuck = False
        """A film stood still and was given up."""
        self._tokens = tokens
        self._on_failed = on_failed
        self._failed: set[MediaId] = set()
        self._reported: set[MediaId] = set()
        self._retry_at: float | None = None
        self._turn = 0
        self._visible = False
        self._running_since: float | None = None
        self._moved_at = 0.0
        """When the film was the last time at another place."""
        self._current: _Showing | None = None
        self._planned: _Showing | None = None
        self._planned_after = 0
        """Token of the showing that `_planned` follows."""
        index = playlist.index_of(at[0]) if at else None
        if index is not None and self._can_play(index) and at:
            self._current = self._showing(index)
            self._current.position_s = max(0.0, at[1])
        else:
            self._begin(0.0)
        self._plan()

    # Commands

    def play(self, now: float) -> None:
        """Goes on; after the end of the last pass: from the first item."""
        if self.finished:
            self._begin(now)
            self._plan()
        if self.paused:
            self.paused = False
            self._resume(now)

    def pause(self, now: float) -> None:
        """Freezes the picture and what is left of an image's time."""
        self._settle(now)
        self.paused = True
        self._running_since = None

    def step(self, by: int, now: float) -> bool:
        """One item on (1) or back (-1), wrapping, playing afterwards. With one playable item: restarts it."""
        index = self._neighbour(self._current.index if self._current else -1 if by > 0 else 0, by)
        if index is None:
            return False
        self._jump(index, now)
        return True

    def jump(self, now: float, *, media_id: MediaId | None = None, index: int | None = None) -> bool:
        """To the start of an item; `media_id` wins over `index`. False: there is no such playable item, nothing changed."""
        place = self.playlist.index_of(media_id) if media_id is not None else index
        if place is None or not 0 <= place < len(self.playlist.items) or not self.playlist.items[place].path:
            return False
        self._failed.discard(self.playlist.items[place].media_id)
        self._jump(place, now)
        return True

    def replace(self, playlist: Playlist, now: float, *, retry: bool = True) -> None:
        """The list has changed: what is on goes on undisturbed unless it was removed; the rest follows the new list.

        `retry`: items that could not be shown are tried again.
        """
        old, self.playlist = self.playlist, playlist
        if retry:
            self._failed.clear()
            self._reported.clear()
            self._retry_at = None
        current = self._current
        if current is None:
            self._begin(now)
        elif (index := self._place_of(current)) is not None and playlist.items[index].path:
            current.index = index
        else:
            follower = None if self.finished else self._follower(old, current.index)
            self._settle(now)
            self._running_since = None
            self._current = None if follower is None else self._showing(follower, lap=current.lap)
            if self._current is None:
                self._begin(now)
        self._plan()
        if self.finished and self._planned is not None:
            self.finished = False
            self._advance(now)

    # What becomes of the shots

    def started(self, token: int, now: float) -> None:
        """The first frame is on the screen: from now on an image's time runs."""
        if self._current is not None and token == self._current.token and self._running_since is None:
            self._resume(now)

    def ended(self, token: int, now: float) -> None:
        """A video has come to its natural end."""
        if self._current is not None and token == self._current.token:
            self._advance(now)

    def failed(self, token: int, now: float) -> None:
        """The item of this shot cannot be shown: it is left out until the list is loaded again."""
        showing = next((s for s in (self._current, self._planned) if s is not None and s.token == token), None)
        if showing is None:
            return
        self._failed.add(showing.item.media_id)
        if showing is self._current:
            self._running_since = None
            self._current = self._instead_of(showing)
            if self._current is None:
                self._retry_at = now + RETRY_S
        self._plan()
        if showing.item.media_id not in self._reported:
            self._reported.add(showing.item.media_id)
            if self._on_failed is not None:
                self._on_failed(showing.item)

    def progress(self, token: int, position_s: float, now: float) -> None:
        """Where a video is."""
        if self._current is not None and token == self._current.token and self._current.item.kind == "video":
            if position_s != self._current.position_s:
                self._moved_at = now
            self._current.position_s = position_s
            if self._running_since is not None:
                self._running_since = now

    # Time

    def shown(self, now: float) -> None:
        """It has the screen; an image's time runs again once the image is really there (`started`)."""
        del now
        self._visible = True

    def hidden(self, now: float) -> None:
        """It has lost the screen: stands still."""
        self._settle(now)
        self._visible = False
        self._running_since = None

    def deadline(self, now: float) -> float | None:
        """When `tick` must be called; None: nothing happens by itself."""
        if self._current is None:
            return self._retry_at
        if self._running_since is None or self.finished:
            return None
        if self._current.item.kind == "video":
            return self._moved_at + STANDS_STILL_S
        left_s = self._left_s(now)
        closes_s = left_s - self._current.item.fade_out_s
        return now + (closes_s if closes_s > _SOON_S and self._closes() else left_s)

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self._current is None:
            if self._retry_at is not None and now >= self._retry_at:
                self._retry_at = None
                self._failed.clear()
                self._begin(now)
                self._plan()
            return
        if self._current.item.kind == "video" and self._running_since is not None and not self.finished:
            self._watch(now)
            return
        while (
            self._current.item.kind == "image"
            and self._running_since is not None
            and not self.finished
            and self._left_s(now) <= _SOON_S
        ):
            overdue_s = max(0.0, -self._left_s(now))
            before = self._current
            self._advance(now)
            stayed = self._stayed(before)
            if stayed is None:
                return
            stayed.position_s = min(overdue_s, stayed.item.duration_s / 2)

    # What should be on the screen

    def picture(self, now: float) -> Picture | None:
        """What the screen should show; None: nothing of the list is on disk."""
        if not self.playlist.playable:
            return None
        current = self._current
        closing = (
            current is not None
            and current.item.kind == "image"
            and self._closes()
            and not self.finished
            and self._left_s(now) <= current.item.fade_out_s + _SOON_S
        )
        return Picture(
            shot=None if current is None else current.item.shot(current.token, self._start_s(current)),
            upcoming=self._upcoming(),
            paused=self.paused,
            closing=closing,
            background=self.playlist.background,
            canvas=self.playlist.canvas,
            turn=self._turn,
            over=self.finished,
        )

    def status(self, now: float) -> ProgramStatus:
        """For people and for the state on disk."""
        current = self._current
        if current is None:
            return ProgramStatus("idle", self.playlist.playlist_id)
        return ProgramStatus(
            "paused" if self.paused else "ended" if self.finished else "playing",
            self.playlist.playlist_id,
            current.item.media_id,
            current.index,
            current.item.title,
            round(self._position_s(current, now), 3),
        )

    # Inside

    def _can_play(self, index: int) -> bool:
        item = self.playlist.items[index]
        return bool(item.path) and item.media_id not in self._failed

    def _place_of(self, showing: _Showing) -> int | None:
        """Where a shown item stands in the list now; where the same item stands several times, the place it had wins."""
        items = self.playlist.items
        if showing.index < len(items) and items[showing.index].media_id == showing.item.media_id:
            return showing.index
        return self.playlist.index_of(showing.item.media_id)

    def _neighbour(self, index: int, by: int) -> int | None:
        """The nearest playable place from `index` in that direction, wrapping, `index` itself last."""
        count = len(self.playlist.items)
        return (
            next((i for i in ((index + by * n) % count for n in range(1, count + 1)) if self._can_play(i)), None)
            if count
            else None
        )

    def _follower(self, old: Playlist, index: int) -> int | None:
        """Where to go on when the item at `index` of the old list is gone: at what followed it there."""
        for n in range(1, len(old.items)):
            place = self.playlist.index_of(old.items[(index + n) % len(old.items)].media_id)
            if place is not None and self._can_play(place):
                return place
        return None

    def _showing(self, index: int, *, repetition: int = 1, lap: int = 1) -> _Showing:
        return _Showing(index, self.playlist.items[index], next(self._tokens), repetition, lap)

    def _begin(self, now: float) -> None:
        self.finished = False
        self._running_since = None
        index = self._neighbour(-1, 1)
        self._current = None if index is None else self._showing(index)
        if self._current is None and self._failed and self._retry_at is None:
            self._retry_at = now + RETRY_S

    def _jump(self, index: int, now: float) -> None:
        del now
        lap = self._current.lap if self._current and not self.finished else 1
        self.finished = False
        self.paused = False
        self._running_since = None
        self._current = self._showing(index, lap=lap)
        self._plan()

    def _resume(self, now: float) -> None:
        if self._visible and not self.paused:
            self._running_since = self._moved_at = now

    def _watch(self, now: float) -> None:
        """Goes on from a film that stands still, as at its end."""
        still_s = now - self._moved_at - STANDS_STILL_S
        if still_s > _LATE_S:
            self._moved_at = now
        elif still_s > -_SOON_S:
            self.stuck = True
            self._advance(now)

    def _settle(self, now: float) -> None:
        """Books the time the item has run since `running_since`; a film that reports nothing any more may stand still."""
        if self._current is not None and self._running_since is not None:
            ran_s = now - self._running_since
            self._current.position_s += ran_s if self._current.item.kind == "image" else min(ran_s, REPORTS_S)
            self._running_since = now

    def _left_s(self, now: float) -> float:
        assert self._current is not None
        running_s = now - self._running_since if self._running_since is not None else 0.0
        return self._current.item.duration_s - self._current.position_s - running_s

    def _after(self, showing: _Showing) -> _Showing | None:
        """What follows when `showing` comes to its end by itself; None: nothing, the list is over."""
        items = self.playlist.items
        if showing.repetition < showing.item.times and self._can_play(showing.index):
            index, repetition, lap = showing.index, showing.repetition + 1, showing.lap
        else:
            neighbour = self._neighbour(showing.index, 1)
            if neighbour is None:
                return None
            index, repetition = neighbour, 1
            lap = showing.lap + (index <= showing.index)
            if self.playlist.passes is not None and lap > self.playlist.passes:
                return None
        if items[index].kind == "image" and items[index] == showing.item and showing.item.kind == "image":
            return replace(showing, index=index, item=items[index], repetition=repetition, lap=lap, position_s=0.0)
        return self._showing(index, repetition=repetition, lap=lap)

    def _instead_of(self, showing: _Showing) -> _Showing | None:
        """What is on when `showing` cannot be; None: nothing can. At the end of the last pass the item before it is held."""
        index = self._neighbour(showing.index, 1)
        if index is None:
            return None
        lap = showing.lap + (index <= showing.index)
        if self.playlist.passes is not None and lap > self.playlist.passes:
            self.finished = True
            index, lap = self._neighbour(showing.index, -1) or 0, showing.lap
        return self._showing(index, lap=lap)

    def _plan(self) -> None:
        """Settles what comes after the current item. The plan keeps its token while both stay the same."""
        current, before = self._current, self._planned
        planned = None if current is None else self._after(current)
        if (
            planned is not None
            and before is not None
            and current is not None
            and self._planned_after == current.token
            and current.token not in (planned.token, before.token)
            and before.item == planned.item
        ):
            planned.token = before.token
        self._planned = planned
        self._planned_after = 0 if current is None else current.token

    def _advance(self, now: float) -> None:
        """The current item is over."""
        if self._current is not None and self._current.item.kind == "image":
            self._settle(now)
        if self._planned is None:
            self.finished = True
            self._running_since = None
            return
        assert self._current is not None
        self._turn += 1
        same = self._planned.token == self._current.token
        self._current = self._planned
        self._running_since = now if same and self._running_since is not None else None
        self._plan()

    def _stayed(self, before: _Showing) -> _Showing | None:
        """What is on if it is the same picture as before and the list goes on."""
        return self._current if not self.finished and self._current and self._current.token == before.token else None

    def _upcoming(self) -> Shot | None:
        if self._planned is None or self._current is None or self._planned.token == self._current.token:
            return None
        return self._planned.item.shot(self._planned.token)

    def _closes(self) -> bool:
        """Whether the current item makes way for another one, so that its fade-out is due."""
        return self._current is not None and self._current.item.fade_out_s > 0 and self._upcoming() is not None

    def _position_s(self, showing: _Showing, now: float) -> float:
        if showing.item.kind == "video":
            return showing.position_s
        return min(showing.item.duration_s, showing.item.duration_s - self._left_s(now))

    @staticmethod
    def _start_s(showing: _Showing) -> float:
        return showing.position_s if showing.item.kind == "video" else 0.0
