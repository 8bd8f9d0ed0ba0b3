"""One stream of encoded pictures for any number of viewers. Lives in the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.camera.keyframes import Keyframes

if TYPE_CHECKING:
    from av import Packet

QUEUE_S = 0.5
"""A viewer this far behind skips to the next keyframe."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture as it goes to all viewers."""

    packet: Packet[Any]
    keyframe: bool


class Hub:
    """Passes each picture to every viewer, through a queue of its own.

    `on_demand` is called when the first viewer comes and after the last has gone; `clock` gives monotonic seconds.
    """

    def __init__(self, framerate: int, *, clock: Callable[[], float], on_demand: Callable[[], None]) -> None:
        self.keyframes = Keyframes()
        self.published = 0
        """Pictures so far."""
        self.published_bytes = 0
        self._clock = clock
        self._on_demand = on_demand
        self._limit = max(4, round(QUEUE_S * framerate))
        self._viewers: dict[int, Subscription] = {}

    @property
    def wanted(self) -> bool:
        """Whether anybody watches this stream; may be read from any thread."""
        return bool(self._viewers)

    def subscribe(self, viewer: int) -> Subscription:
        """From now on the viewer gets pictures, the first of them a keyframe."""
        first = not self._viewers
        subscription = self._viewers[viewer] = Subscription(self, viewer, self._limit)
        self.keyframes.joined()
        if first:
            self._on_demand()
        return subscription

    def unsubscribe(self, viewer: int) -> None:
        """The viewer is gone; an unknown one is no fault."""
        if self._viewers.pop(viewer, None) is not None:
            self.keyframes.gone(viewer)
            if not self._viewers:
                self._on_demand()

    def publish(self, encoded: Encoded) -> None:
        """A picture for everybody."""
        self.published += 1
        self.published_bytes += encoded.packet.size
        for viewer in self._viewers.values():
            viewer.push(encoded)

    def lost(self, viewer: int) -> None:
        """The viewer cannot decode what it gets (PLI, FIR)."""
        if viewer in self._viewers:
            self.keyframes.lost(viewer, self._clock())


class Subscription:
    """One viewer's queue."""

    def __init__(self, hub: Hub, viewer: int, limit: int) -> None:
        self.skipped = 0
        """Pictures this viewer did not get."""
        self._hub = hub
        self._viewer = viewer
        self._limit = limit
        self._queue: deque[Encoded] = deque()
        self._waits_for_keyframe = True
        self._waiter: asyncio.Future[None] | None = None

    def push(self, encoded: Encoded) -> None:
        """Takes a picture in, unless the viewer cannot use it."""
        if encoded.keyframe:
            self._waits_for_keyframe = False
        elif self._waits_for_keyframe:
            # A picture that builds on one left out cannot be decoded.
            self.skipped += 1
            return
        if len(self._queue) >= self._limit:
            self.skip()
            if not encoded.keyframe:
                self.skipped += 1
                return
            self._waits_for_keyframe = False
        self._queue.append(encoded)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def skip(self) -> None:
        """Leaves out everything up to the next keyframe."""
        self.skipped += len(self._queue)
        self._queue.clear()
        self._waits_for_keyframe = True
        self._hub.lost(self._viewer)

    async def get(self) -> Packet[Any]:
        """The next picture for this viewer, when there is one."""
        while not self._queue:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._queue.popleft().packet
