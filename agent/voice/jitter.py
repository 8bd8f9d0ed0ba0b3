"""When what arrives over a network is played: late enough to stay without gaps, early enough to go unnoticed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_ROUNDING_S = 1e-6
_PIECE_S = 0.064
"""Small frames are put together up to this, so that many of them take no more memory than their sound."""


@dataclass(frozen=True, slots=True)
class JitterTimers:
    """Seconds."""

    lead_s: float = 0.06
    """How long the first frame waits; frames that come up to so much later than due leave no gap."""
    enough_s: float = 0.12
    """Nothing waits any longer when so much is there."""


class JitterBuffer:
    """Frames of one session, in order. All times are monotonic seconds of one clock.

    `take` is called whenever the output has room; what it gives is played after what it gave before.
    """

    def __init__(self, timers: JitterTimers = JitterTimers()) -> None:
        self.gaps = 0
        """How often frames came too late, so that there was silence between two of them."""
        self._timers = timers
        self._frames: deque[tuple[bytes, float]] = deque()
        self._held_s = 0.0
        self._ended = False
        self._filling_since: float | None = None
        self._sounds_until: float | None = None
        """When the output has played everything it was given; None: nothing was given yet."""

    def put(self, frame: bytes, duration_s: float, now: float) -> None:
        """The next frame has arrived."""
        if not self._frames:
            if self._sounds_until is None:
                self._filling_since = now
            elif now > self._sounds_until + _ROUNDING_S:
                self.gaps += 1
                self._sounds_until = None
                self._filling_since = now
        self._held_s += duration_s
        if self._frames and self._frames[-1][1] + duration_s <= _PIECE_S:
            before, before_s = self._frames.pop()
            frame, duration_s = before + frame, before_s + duration_s
        self._frames.append((frame, duration_s))

    def end(self) -> None:
        """No more frames will come; what is there waits no longer."""
        self._ended = True

    def take(self, now: float) -> bytes | None:
        """The next piece to be played, a frame or several small ones; None: not now."""
        if not self._frames or not self._is_due(now):
            return None
        frame, duration_s = self._frames.popleft()
        self._held_s = self._held_s - duration_s if self._frames else 0.0
        self._filling_since = None
        self._sounds_until = max(now, self._sounds_until or now) + duration_s
        return frame

    def clear(self) -> None:
        """Forgets what is there."""
        self._frames.clear()
        self._held_s = 0.0
        self._filling_since = None

    @property
    def held_s(self) -> float:
        """How much waits to be played."""
        return self._held_s

    @property
    def over(self) -> bool:
        """Whether everything has been taken and nothing more will come."""
        return self._ended and not self._frames

    def _is_due(self, now: float) -> bool:
        since = self._filling_since
        return (
            since is None
            or self._ended
            or self._held_s >= self._timers.enough_s - _ROUNDING_S
            or now >= since + self._timers.lead_s - _ROUNDING_S
        )
