"""When a box looks for a new version by itself. Pure: moments go in, moments come out.

Each box has its own place in the period, from its serial, so that a fleet never comes all at once: not at the full hour, not when
the quiet hours end, and not when the power comes back.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

SPREAD_S = 3600.0
"""Over so long do checks spread that have become due for many boxes at once."""
_DAY_S = 86400.0
_AT_ONCE = 0.1


def share(serial: str) -> float:
    """The box's own place, 0-1, the same at every start."""
    return int.from_bytes(hashlib.sha256(serial.encode(errors="replace")).digest()[:8], "big") / 2**64


@dataclass(frozen=True)
class QuietHours:
    """A span of local time, in seconds of the day; it may cross midnight. Both zero: none."""

    begin_s: int = 0
    end_s: int = 0

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

    def left_s(self, now: datetime) -> float:
        """How long they last from `now` on, which is local time; 0 outside of them."""
        if (_second(now) - self.begin_s) % _DAY_S >= self.length_s:
            return 0.0
        return (self.end_s - _second(now)) % _DAY_S

    def over_s(self, now: datetime) -> float:
        """How long ago they ended last; without any, for ever."""
        return (_second(now) - self.end_s) % _DAY_S if self.length_s else math.inf


def _second(moment: datetime) -> float:
    """Of its day."""
    return moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6


class Schedule:
    """When to check: once in each period of `period_s`, outside of the quiet hours."""

    def __init__(self, period_s: float, serial: str, quiet: QuietHours) -> None:
        self._period_s = period_s
        self._share = share(serial)
        self._quiet = quiet

    def due_in_s(self, now: datetime, last: datetime | None, up_s: float) -> int:
        """How long from `now` to the next check, whole seconds; 0: it is due.

        `last` is the moment of the last check, None if there was none; `now` is aware and local. `up_s` is for how long the
        agent has been running: a check that was missed while the box was off waits for its place in the first hour.
        """
        if last is None or last > now:
            last = now - timedelta(seconds=self._period_s)
        slot = last + timedelta(seconds=self._to_slot_s(last))
        wait_s = (slot + timedelta(seconds=self._to_loud_s(slot)) - now).total_seconds()
        if wait_s > 0:
            return math.ceil(wait_s)
        wait_s = max(0.0, self._share * min(SPREAD_S, self._period_s) - up_s)
        loud_s = self._quiet.over_s(now)
        if loud_s < up_s:
            wait_s = max(wait_s, self._after_quiet_s - loud_s)  # it has waited for the end of the quiet hours
        return math.ceil(wait_s + self._to_loud_s(now + timedelta(seconds=wait_s)))

    def _to_slot_s(self, moment: datetime) -> float:
        """To the box's next place in the period; one that comes at once is that of `moment` itself."""
        wait_s = self._period_s - (moment.timestamp() - self._share * self._period_s) % self._period_s
        return wait_s if wait_s > _AT_ONCE * self._period_s else wait_s + self._period_s

    def _to_loud_s(self, moment: datetime) -> float:
        """To the box's place after the quiet hours, if `moment` is within them."""
        left_s = self._quiet.left_s(moment)
        return left_s + self._after_quiet_s if left_s else 0.0

    @property
    def _after_quiet_s(self) -> float:
        """The box's place after the quiet hours, in the first half of what is left of the day: there is to be time for it."""
        return self._share * min(SPREAD_S, (_DAY_S - self._quiet.length_s) / 2)
