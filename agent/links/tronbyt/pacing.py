"""Which image is on, which waits, and what is acknowledged when (tronbyt contract, section 3). Pure.

Events go in with the time (`now`, monotonic seconds); what is to be done comes out, in order. A server takes `displaying` as a
request for the next image, which is therefore held here until the time of the present one is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

FAILED_S = 1.0
"""After an image that could not be shown the next one may come."""
PATIENCE_S = 10.0
"""A screen that says nothing of an image for so long does not stop the rotation."""
OVERTAKES_S = 0.25
"""An image that takes longer than this to get on the screen is overtaken by one that is to be shown now."""
LONGEST_S = 3600.0
"""No image is kept longer for the sake of its cycle."""
EARLY_S = 0.015
"""An animation is relieved that long before its cycle ends, which is what it takes at least until the next image is on the glass:
otherwise its first frame would flash up once more."""
_NO_TIME_S = 1e-6


@dataclass(frozen=True, slots=True)
class Ack:
    """To be said to the server."""

    kind: Literal["queued", "displaying"]
    number: int


@dataclass(frozen=True, slots=True)
class Show:
    """To be put on the screen; `started` or `failed` is expected for it."""

    number: int


Action = Ack | Show


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An image that is not on the screen yet."""

    number: int
    dwell_s: float
    showable: bool
    urgent: bool = False
    """To be shown as soon as may be, whatever is on."""
    since: float = 0.0
    """When it was handed to the screen."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """The image that had its turn last; the next may come at `due`."""

    since: float
    due: float


class Pacing:
    """The images of one server: one on the screen, one slot for the next."""

    def __init__(self) -> None:
        self._slot: _Waiting | None = None
        self._coming: _Waiting | None = None
        self._current: _Shown | None = None

    @property
    def slot(self) -> int | None:
        """Number of the image that waits for its turn."""
        return self._slot.number if self._slot is not None else None

    @property
    def needed(self) -> frozenset[int]:
        """Numbers of the images that may still be shown."""
        return frozenset(image.number for image in (self._slot, self._coming) if image is not None)

    # Events

    def received(self, number: int, dwell_s: float, now: float, *, showable: bool = True) -> list[Action]:
        """An image has been buffered; `showable` is False for one that is known to be no picture. The newest has the slot."""
        self._slot = _Waiting(number, dwell_s, showable)
        return [Ack("queued", number), *self._turn(now)]

    def immediate(self, now: float) -> list[Action]:
        """The newest image is to be shown now, whatever is on. If it has left the slot, it is on or on its way: nothing.

        What is on its way to the screen at this very moment gets there first, unless that takes long.
        """
        if self._slot is None:
            return []
        self._slot = replace(self._slot, urgent=True)
        return self._turn(now)

    def started(self, number: int, cycle_s: float | None, now: float) -> list[Action]:
        """An image is on the screen; `cycle_s`: one round of its animation, None for a still."""
        coming = self._coming
        if coming is None or coming.number != number:
            return []
        self._coming = None
        self._current = _Shown(now, now + _stay_s(coming.dwell_s, cycle_s))
        return [Ack("displaying", number), *self._turn(now)]

    def failed(self, number: int, now: float) -> list[Action]:
        """An image cannot be shown: it has had its turn."""
        if self._coming is not None and self._coming.number == number:
            self._coming = None
            return [self._give_up(number, now), *self._turn(now)]
        return []

    def tick(self, now: float) -> list[Action]:
        """The deadline has passed."""
        coming = self._coming
        actions: list[Action] = []
        if coming is not None and now >= coming.since + PATIENCE_S - _NO_TIME_S:
            actions = self.started(coming.number, None, now)
        return actions + self._turn(now)

    def clear(self) -> None:
        """Nothing is on the screen, nothing waits; the next image is shown when it comes."""
        self._slot = self._coming = self._current = None

    # Time

    def deadline(self) -> float | None:
        """When `tick` must be called; None: nothing happens by itself."""
        if self._coming is not None:
            return self._coming.since + (OVERTAKES_S if self._overtakes else PATIENCE_S)
        if self._slot is not None and self._current is not None:
            return self._current.due
        return None

    def pull_at(self, lead_s: float, now: float) -> float | None:
        """When a next image should be asked for, so that it is here in time; None: not while one waits or is on its way.

        That is `lead_s` before the end of the present one's time, but not before half of that time.
        """
        if self._slot is not None or self._coming is not None:
            return None
        if self._current is None:
            return now
        return max(self._current.due - lead_s, (self._current.since + self._current.due) / 2)

    # Inside

    @property
    def _overtakes(self) -> bool:
        """Whether what waits need not wait for what is on its way."""
        slot, coming = self._slot, self._coming
        return slot is not None and slot.urgent and slot.showable and coming is not None and not coming.urgent

    def _turn(self, now: float) -> list[Action]:
        """Shows what waits if nothing else has the time."""
        if self._slot is None:
            return []
        if self._coming is not None and not (self._overtakes and now >= self._coming.since + OVERTAKES_S - _NO_TIME_S):
            return []
        if self._current is not None and not self._slot.urgent and now < self._current.due - _NO_TIME_S:
            return []
        image, self._slot, self._coming = self._slot, None, None
        if not image.showable:
            return [self._give_up(image.number, now)]
        self._coming = replace(image, since=now)
        return [Show(image.number)]

    def _give_up(self, number: int, now: float) -> Ack:
        self._current = _Shown(now, now + FAILED_S)
        return Ack("displaying", number)


def _stay_s(dwell_s: float, cycle_s: float | None) -> float:
    """How long until an image is relieved: its dwell, and on to the end of the cycle it is in."""
    if cycle_s is None or not math.isfinite(cycle_s) or cycle_s <= 0:
        return dwell_s
    rounds = max(1, math.ceil(dwell_s / cycle_s - _NO_TIME_S))
    return max(dwell_s, min(rounds * cycle_s, LONGEST_S)) - EARLY_S
