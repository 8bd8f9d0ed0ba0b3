"""The camera while somebody watches."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from agent.camera.messages import Answer, Refused
from agent.camera.pattern import PatternSource
from agent.camera.source import Picture, SourceError
from agent.camera.studio import StudioTimers
from tests.camera.conftest import OpenRoom

QUICK = StudioTimers(close_s=0.02, open_s=0.3, stall_s=0.3, stuck_s=0.3, look_s=0.05)


class Camera(PatternSource):
    """One that counts how often it is opened and closed, and obeys a test."""

    opened = 0
    closed = 0
    fault = ""
    gate: threading.Event | None = None
    """Holds up the opening."""
    closing: threading.Event | None = None
    """Holds up the closing."""

    def __init__(self, picture: Picture) -> None:
        Camera.opened += 1
        if Camera.gate is not None:
            Camera.gate.wait(10)
        if Camera.fault:
            raise SourceError(Camera.fault)
        super().__init__(picture)

    def read(self) -> Any:
        """A picture, or what the test wants instead."""
        if Camera.fault == "raise":
            raise ValueError("something unexpected")
        if Camera.fault == "no picture":
            return "no picture"
        if Camera.fault:
            raise SourceError(Camera.fault)
        return super().read()

    def close(self) -> None:
        """Counts."""
        if Camera.closing is not None:
            Camera.closing.wait(10)
        Camera.closed += 1
        super().close()


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Every test has a new camera."""
    Camera.opened = Camera.closed = 0
    Camera.fault = ""
    Camera.gate = Camera.closing = None


def keywords(**others: Any) -> dict[str, Any]:
    """For a room with that camera."""
    return {"opener": lambda source, picture: Camera(picture), "studio_timers": QUICK, **others}


async def test_the_camera_is_open_only_while_someone_watches(room: OpenRoom) -> None:
    """Not for a watch request alone; once for all viewers; closed within a second of the last."""
    watched = room(**keywords())
    watched.open("idle")
    await asyncio.sleep(0.05)
    assert Camera.opened == 0
    for key in ("one", "two"):
        await watched.watch(key)
    assert (Camera.opened, Camera.closed) == (1, 0)
    watched.close("one")
    await asyncio.sleep(0.1)
    assert Camera.closed == 0
    watched.close("two")
    await watched.until(lambda: Camera.closed == 1, 1.0)
    assert watched.state.source == ""
    await watched.watch("three")
    assert Camera.opened == 2


async def test_viewers_come_and_go(room: OpenRoom) -> None:
    """Two leave and join in turn; whoever stays sees every number grow."""
    watched = room(**keywords())
    stays = await watched.watch("stays")
    for turn in range(3):
        await watched.watch(f"turn {turn}")
        watched.close(f"turn {turn}")
    await stays.sees()
    assert stays.numbers == sorted(stays.numbers)
    assert Camera.opened == 1


@pytest.mark.parametrize("fault", ["the camera is gone", "raise", "no picture"])
async def test_a_camera_that_fails_while_streaming(room: OpenRoom, fault: str) -> None:
    """Unplugged, or broken in a way nobody foresaw: everyone is told, the camera is closed, the next watch tries again."""
    watched = room(**keywords())
    await watched.watch("one")
    await watched.watch("two")
    Camera.fault = fault
    for key in ("one", "two"):
        message = (await watched.hears(key, Refused)).message
        assert ("the camera is gone" in message) == (fault == "the camera is gone")
        assert message
    await watched.until(lambda: Camera.closed == 1)
    assert watched.state.sessions == 0
    Camera.fault = ""
    await watched.watch("three")
    assert Camera.opened == 2


async def test_a_camera_that_cannot_be_opened(room: OpenRoom) -> None:
    """The session is refused with the reason."""
    Camera.fault = "in use by somebody else"
    watched = room(**keywords())
    viewer = watched.viewer()
    watched.open("one")
    watched.offer("one", await viewer.offer())
    assert (await watched.hears("one", Refused)).message == "in use by somebody else"
    assert watched.stuck == 0


async def test_a_camera_that_does_not_finish_opening(room: OpenRoom) -> None:
    """Viewers are told in time, and a new process is asked for while the old one's thread hangs."""
    Camera.gate = threading.Event()
    watched = room(**keywords())
    watched.open("one")
    watched.offer("one", await watched.viewer().offer())
    assert "too long" in (await watched.hears("one", Refused)).message
    await watched.until(lambda: watched.stuck > 0)
    Camera.gate.set()


async def test_a_viewer_that_comes_while_the_camera_closes(room: OpenRoom) -> None:
    """It is opened again as soon as it is closed."""
    watched = room(**keywords())
    await watched.watch("one")
    Camera.closing = threading.Event()
    watched.close("one")
    await watched.until(lambda: watched.studio._stopping)
    asyncio.get_running_loop().call_later(0.1, Camera.closing.set)
    await watched.watch("two")
    assert Camera.opened == 2


async def test_the_first_picture_comes_within_a_second(room: OpenRoom) -> None:
    """For the first viewer, who finds the camera closed, and for one who joins later."""
    watched = room(**keywords())
    for key in ("first", "joins"):
        viewer = watched.viewer()
        watched.open(key)
        sdp = await viewer.offer()
        began = time.monotonic()
        watched.offer(key, sdp)
        await viewer.accept((await watched.hears(key, Answer)).sdp)
        await viewer.sees(1)
        assert viewer.first_at - began < 1.0


async def test_the_bitrate_is_lowered_for_a_narrow_line(room: OpenRoom) -> None:
    """What a viewer reports changes what the encoder makes, and the state tells."""
    watched = room(**keywords())
    await watched.watch("one")
    rate = watched.studio.rate
    [number] = rate._viewers
    rate._viewers[number].joined_at -= 100
    await watched.until(lambda: rate._sent_bps > 500_000)
    until = time.monotonic() + 8
    while time.monotonic() < until and watched.state.bitrate == 1_000_000:
        rate.estimate(number, 320_000, time.monotonic())
        await asyncio.sleep(0.02)
    assert watched.state.bitrate < 500_000
