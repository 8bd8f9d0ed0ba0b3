"""How fast a download gets on."""

from __future__ import annotations

import time

from agent.media.wants import FetchError, Timers


class Pace:
    """Notices a connection that is alive but leads nowhere."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._since = self._batch_since = time.monotonic()
        self._bytes = 0

    def received(self, size: int, now: float) -> None:
        """Counts bytes. Raises FetchError if a window's mean was too low."""
        self._bytes += size
        window = self._timers.slow_window_s
        if now - self._since < window:
            return
        speed = self._bytes / (now - self._since)
        if speed < self._timers.slow_bytes_s:
            raise FetchError("network", f"network: too slow, {speed:.0f} bytes/s over {window:g} s")
        self._since, self._bytes = now, 0

    def batch_is_old(self, now: float) -> bool:
        """On a slow line a batch is written each second."""
        return now - self._batch_since >= 1.0

    def written(self, before: float) -> None:
        """Takes out the time spent since `before`: the disk's, not the line's."""
        now = time.monotonic()
        self._since += now - before
        self._batch_since = now
