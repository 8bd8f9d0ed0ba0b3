"""When a box looks for a new version by itself. Pure: moments go in, moments come out.

Each box has its own place in the period, from its serial, so that a fleet never comes all at once: not at the full hour, not when
the quiet hours end, and not when the power comes back. A place within the quiet hours, or so near to them that an update might
not be over in time, is moved into the hours that are left, in proportion: what is spread over the former is spread over the
latter, and none has less than `MARGIN_S` for its update.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

SPREAD_S = 3600.0
"""Over so long do checks spread that have become due for many boxes at once."""
MARGIN_S = 3600.0
"""No check begins within so long of the quiet hours: for the download and the installation."""
INSTALL_S = 900.0
"""No installation does: for the build of the release, the probation and, if it has to be, the way back."""
_DAY_S = 86400.0
_AT_ONCE = 0.1


def share(serial: str) -> float:
    """The box's own place, 0-1, the same at every start."""
    return int.from_bytes(hashlib.sha256(serial.encode(errors="replace")).digest()[:8], "big") / 2**64


@dataclass(frozen=True)
class QuietHours:
    """A span of local time, in seconds of the day; it may cross midnight. Both the same: none."""

    begin_s: float = 0
    end_s: float = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """As in the configuration: empty, or such as 08:00-22:00, checked there."""
        if not text:
            return cls()
        begin, end = (60 * (60 * int(part[:2]) + int(part[3:])) for part in text.split("-"))
        return cls(begin, end)

    @property
    def length_s(self) -> float:
        """How long they last."""
        return (self.end_s - self.begin_s) % _DAY_S

    def early(self, margin_s: float) -> Self:
        """The same, begun so much earlier, but never so early that less than half of the other hours are left."""
        if not self.length_s:
            return self
        return type(self)((self.begin_s - min(margin_s, (_DAY_S - self.length_s) / 2)) % _DAY_S, self.end_s)

    def left_s(self, now: datetime) -> float:
        """How long they last from `now` on, which is local time; 0 outside of them."""
        if (_second(now) - self.begin_s) % _DAY_S >= self.length_s:
            return 0.0
        return (self.end_s - _second(now)) % _DAY_S

    def begin_in_s(self, now: datetime) -> float:
        """How long it is until they begin; 0 within them, without any for ever."""
        if not self.length_s:
            return math.inf
        return 0.0 if self.left_s(now) else (self.begin_s - _second(now)) % _DAY_S

    def over_s(self, now: datetime) -> float:
        """How long ago they ended last; without any, for ever."""
        return (_second(now) - self.end_s) % _DAY_S if self.length_s else math.inf


def _second(moment: datetime) -> float:
    """Of its day."""
    return moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6


class Schedule:
    """When to check: once in each period of `period_s`, outside of the quiet hours, with time for an update before them."""

    def __init__(self, period_s: float, serial: str, quiet: QuietHours) -> None:
        self._period_s = period_s
        self._share = share(serial)
        self._closed = quiet.early(MARGIN_S)
        self._last_orders = quiet.early(INSTALL_S)

    def due_in_s(self, now: datetime, last: datetime | None, up_s: float) -> int:
        """How long from `now` to the next check, whole seconds; 0: it is due.

        `last` is the moment of the last check, None if there was none; `now` is aware and local. `up_s` is for how long the
        agent has been running: a check that was missed while the box was off waits for its place in the first hour, and one
        that was missed because of the quiet hours for its place in the first hour after them.
        """
        if last is None or last > now:
            last = now - timedelta(seconds=self._period_s)
        late_s = (now - self._place(now, last)).total_seconds()
        if late_s < 0:
            return math.ceil(-late_s)
        wait_s = 0.0
        if late_s > up_s:
            wait_s = max(0.0, self._share * min(SPREAD_S, self._period_s) - up_s)
        open_s = self._closed.over_s(now)
        if open_s < min(late_s, up_s):
            wait_s = max(wait_s, self._after_quiet_s - open_s)
        left_s = self._closed.left_s(now + timedelta(seconds=wait_s))
        return math.ceil(wait_s + (left_s + self._after_quiet_s if left_s else 0.0))

    def install_in_s(self, now: datetime) -> float:
        """How long an installation may still be begun; 0: not before the quiet hours are over."""
        return self._last_orders.begin_in_s(now)

    def _place(self, now: datetime, last: datetime) -> datetime:
        """The box's next place after the one of the check at `last`; that one is not far from there."""
        first = (last.timestamp() - _DAY_S) // self._period_s + self._share
        earliest = last + timedelta(seconds=_AT_ONCE * self._period_s)
        count = math.ceil(2 * _DAY_S / self._period_s) + 2
        slots = (now + timedelta(seconds=(first + number) * self._period_s - now.timestamp()) for number in range(count))
        return min(place for slot in slots if (place := self._moved(slot)) > earliest)

    def _moved(self, slot: datetime) -> datetime:
        """The place in the period, outside of the quiet hours."""
        left_s, length_s = self._closed.left_s(slot), self._closed.length_s
        if not left_s:
            return slot
        return slot + timedelta(seconds=left_s + (1 - left_s / length_s) * (_DAY_S - length_s))

    @property
    def _after_quiet_s(self) -> float:
        """The box's place after the quiet hours, in the first half of what is left of the day: there is to be time for it."""
        return self._share * min(SPREAD_S, (_DAY_S - self._closed.length_s) / 2)
