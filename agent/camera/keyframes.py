"""When a keyframe is made for those who ask. No I/O, no clock."""

from __future__ import annotations

JOIN_GAP_S = 0.15
"""Between two keyframes for viewers that join: they see nothing before."""
LOSS_GAP_S = 1.0
"""Between two keyframes for viewers that lost packets: a viewer that cannot decode asks 30 times a second."""
VIEWER_GAP_S = 2.0
"""Between two that the same viewer gets for its losses: a hopeless line must not make the picture coarse for the others."""


class Keyframes:
    """Takes requests from viewers and says when the encoder should make a keyframe; `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._due = float("inf")
        self._heard: dict[int, float] = {}

    def joined(self) -> None:
        """A viewer waits for its first picture."""
        self._due = min(self._due, self._last + JOIN_GAP_S)

    def lost(self, viewer: int, now: float) -> None:
        """A viewer has lost the picture (PLI, FIR, or a queue that ran over)."""
        if now - self._heard.get(viewer, float("-inf")) < VIEWER_GAP_S:
            return
        self._heard[viewer] = now
        self._due = min(self._due, self._last + LOSS_GAP_S)

    def gone(self, viewer: int) -> None:
        """A viewer has left."""
        self._heard.pop(viewer, None)

    def is_due(self, now: float) -> bool:
        """Whether the next frame should be a keyframe."""
        return now >= self._due

    def made(self, now: float) -> None:
        """The encoder has made one, asked or not."""
        self._last = now
        self._due = float("inf")
