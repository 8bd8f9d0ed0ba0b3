"""The test picture."""

from __future__ import annotations

import time

import pytest

from agent.camera.encoder import Encoder
from agent.camera.pattern import PatternSource
from agent.camera.source import Picture
from tests.camera.viewer import read_row


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 480), (320, 240), (160, 120), (354, 290), (1920, 1080)])
def test_its_numbers_can_be_read(width: int, height: int) -> None:
    """The frame number and the wall clock, in every size, even after the picture was encoded."""
    source = PatternSource(Picture(width, height, 100))
    before = int(time.time() * 1000)
    frames = [source.read() for _ in range(5)]
    after = int(time.time() * 1000)
    read = []
    for frame in frames:
        assert frame is not None
        read.append((read_row(frame, 0), read_row(frame, 1)))
    numbers = [number for number, _ in read if number is not None]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 5
    for _, clock in read:
        assert clock is not None
        assert before % 2**28 <= clock <= after % 2**28
    source.close()
    assert source.read() is None


def test_it_keeps_the_pace() -> None:
    """Frames come when they are due; a reader that is late misses some, and their numbers."""
    source = PatternSource(Picture(160, 120, 50))
    began = time.monotonic()
    for _ in range(11):
        source.read()
    assert 0.1 < time.monotonic() - began < 5.0
    first = source._number
    time.sleep(0.2)
    source.read()
    assert source._number - first >= 9


def test_it_is_cheap_to_draw() -> None:
    """Far below a millisecond at 720p."""
    source = PatternSource(Picture(1280, 720, 30))
    canvas = source._canvases[0]
    began = time.thread_time()
    for number in range(100):
        canvas.draw(number, time.time())
    assert (time.thread_time() - began) / 100 < 0.0006


def test_it_needs_the_bits_of_a_real_picture() -> None:
    """The encoder reaches its bitrate, or benches would flatter us."""
    source = PatternSource(Picture(640, 480, 30))
    encoder = Encoder("H264", 30)
    size = 0
    for number in range(60):
        canvas = source._canvases[number % len(source._canvases)]
        canvas.draw(number, time.time())
        size += sum(packet.size for packet in encoder.encode(canvas.frame, number / 30, 1_500_000, keyframe=False))
    assert 1_200_000 < size * 8 / 2 < 2_200_000
