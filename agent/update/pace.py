"""How a bundle gets on, and when it is given up: one slow sender must not keep all others from theirs. Pure.

All moments are in monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.media.wants import amount


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one transfer; seconds unless the name says otherwise."""

    idle_s: float = 180.0
    """Without a byte."""
    slow_s: float = 300.0
    """In each such time, not counting what the own disk took of it, ..."""
    slow_bytes: int = 300 * 1024
    """... so much has to come."""
    total_s: float = 6 * 3600.0


LIMITS = Limits()


class Pace:
    """One transfer, from the moment `now` at which it may begin."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._began = self._touched = self._since = now
        self._bytes = 0
        """Since `_since`."""

    def received(self, size: int, now: float, disk_s: float = 0.0) -> None:
        """So many bytes have come; for `disk_s` of the time nobody waited for them but for the disk."""
        self._touched = now
        self._since += disk_s
        self._bytes += size
        if self._bytes >= self._limits.slow_bytes:
            self._since, self._bytes = now, 0

    @property
    def deadline(self) -> float:
        """When it is given up if nothing more comes."""
        limits = self._limits
        return min(self._touched + limits.idle_s, self._since + limits.slow_s, self._began + limits.total_s)

    def fault(self, now: float) -> str:
        """Why it is given up, in a sentence; empty: it is not."""
        limits = self._limits
        if now < self.deadline:
            return ""
        if now >= self._touched + limits.idle_s:
            return f"nothing more of the update came for {limits.idle_s:g} s"
        if now >= self._since + limits.slow_s:
            return f"the update came too slowly: {amount(self._bytes)} in {limits.slow_s:g} s"
        return f"the update did not come within {limits.total_s / 3600:g} h"
