"""When a lost or refused connection is tried again (design, section 6)."""

from __future__ import annotations

import random
from collections.abc import Callable

SPREAD_S = 5.0
FIRST_S = 1.0
LONGEST_S = 60.0
STABLE_S = 30.0


class Backoff:
    """Waiting times between attempts, spread so that a fleet does not come back in step.

    The first is uniform over 0..`spread_s`, the following have full jitter over a bound that doubles from 1 s to 60 s. A spread
    above the default is that of a large fleet: there the bound is never below it, or those who come early to a server that is
    still starting would come again and again among the others.
    """

    def __init__(self, spread_s: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._spread_s = spread_s
        self._least_s = min(spread_s, LONGEST_S) if spread_s > SPREAD_S else FIRST_S
        self._uniform = uniform
        self._failures = 0

    def wait_s(self, *, refused: bool = False) -> float:
        """Seconds until the next attempt; `refused`: the server said no, which will not change soon."""
        self._failures += 1
        if refused:
            self._failures = max(self._failures, 8)
            return self._uniform(LONGEST_S / 2, LONGEST_S)
        if self._failures == 1:
            return self._uniform(0, self._spread_s)
        bound_s = min(LONGEST_S, FIRST_S * 2 ** min(self._failures - 2, 10))
        return self._uniform(0, max(bound_s, self._least_s))

    def lived(self, seconds: float) -> bool:
        """A connection has ended after so many seconds; only a stable one (True) makes the next attempt a quick one."""
        if seconds < STABLE_S:
            return False
        self._failures = 0
        return True
