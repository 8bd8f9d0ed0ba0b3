"""One stream, many viewers."""

from __future__ import annotations

import asyncio

import av

from agent.camera.hub import Encoded, Hub


class Stage:
    """A hub with its clock and what it asked for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.demands = 0
        self.hub = Hub(30, clock=lambda: self.now, on_demand=self._demand)

    def publish(self, *kinds: str) -> None:
        """k: a keyframe, d: another picture; each with its number as bytes."""
        for kind in kinds:
            packet = av.Packet(bytes((self.hub.published,)))
            self.hub.publish(Encoded(packet, kind == "k"))

    def _demand(self) -> None:
        self.demands += 1


async def numbers(subscription: object) -> list[int]:
    """What is in the queue."""
    taken = []
    while subscription._queue:  # type: ignore[attr-defined]
        taken.append(bytes(await subscription.get())[0])  # type: ignore[attr-defined]
    return taken


async def test_everybody_gets_the_same_packets() -> None:
    """Not copies: one object for all."""
    stage = Stage()
    one, two = stage.hub.subscribe(1), stage.hub.subscribe(2)
    stage.publish("k", "d")
    for _ in range(2):
        assert await one.get() is await two.get()


async def test_a_viewer_begins_with_a_keyframe() -> None:
    """Which it asks for; what comes before could not be decoded."""
    stage = Stage()
    stage.hub.subscribe(1)
    assert stage.hub.keyframes.is_due(stage.now)
    stage.publish("k", "d")
    late = stage.hub.subscribe(2)
    stage.publish("d", "d", "k", "d")
    assert await numbers(late) == [4, 5]
    assert late.skipped == 2


async def test_a_viewer_that_cannot_follow_skips_to_the_next_keyframe() -> None:
    """Its queue never grows beyond half a second, the others get everything, and a keyframe is asked for."""
    stage = Stage()
    slow, quick = stage.hub.subscribe(1), stage.hub.subscribe(2)
    got = []
    stage.publish("k")
    stage.hub.keyframes.made(stage.now)
    for _ in range(40):
        stage.publish("d")
        got += await numbers(quick)
        assert len(slow._queue) <= 15
    assert got == list(range(41))
    assert slow._queue == type(slow._queue)()
    assert stage.hub.keyframes.is_due(stage.now + 1.0)
    stage.publish("k", "d")
    assert await numbers(slow) == [41, 42]


async def test_a_keyframe_into_a_full_queue() -> None:
    """Takes the place of everything before it."""
    stage = Stage()
    slow = stage.hub.subscribe(1)
    stage.publish("k", *"d" * 14, "k", "d")
    assert await numbers(slow) == [15, 16]


async def test_waiting_for_a_picture() -> None:
    """One that waits is woken; one that is cancelled leaves nothing behind."""
    stage = Stage()
    subscription = stage.hub.subscribe(1)
    waiting = asyncio.create_task(subscription.get())
    await asyncio.sleep(0)
    stage.publish("k")
    assert bytes(await waiting) == b"\x00"
    waiting = asyncio.create_task(subscription.get())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    stage.publish("d")
    assert await numbers(subscription) == [1]


async def test_demand() -> None:
    """Told with the first viewer and after the last; leaving twice does no harm."""
    stage = Stage()
    stage.hub.subscribe(1)
    stage.hub.subscribe(2)
    assert (stage.demands, stage.hub.wanted) == (1, True)
    for viewer in (1, 1, 2, 2, 3):
        stage.hub.unsubscribe(viewer)
    assert (stage.demands, stage.hub.wanted) == (2, False)
    stage.hub.lost(1)
    stage.publish("k")
