"""The software encoders."""

from __future__ import annotations

import re
import time

import av
import pytest

from agent.camera.encoder import Codec, Encoder
from agent.camera.pattern import PatternSource
from agent.camera.source import Picture
from tests.camera.viewer import read_row

SOURCE = PatternSource(Picture(320, 240, 1000))


def picture() -> av.VideoFrame:
    """The next one."""
    frame = SOURCE.read()
    assert frame is not None
    return frame


def units(data: bytes) -> list[int]:
    """The kinds of NAL units: 7 and 8 are the headers, 5 a keyframe, 1 another picture, 6 a remark."""
    return [match[1][0] & 31 for match in re.finditer(rb"\x00\x00\x01(.)", data, re.DOTALL)]


def test_h264_is_constrained_baseline_with_headers_before_every_keyframe() -> None:
    """One packet a picture, at once; a keyframe only where it was asked for, each with its headers; no B-frames."""
    encoder = Encoder("H264", 30)
    kinds = []
    for number in range(40):
        [packet] = encoder.encode(picture(), number / 30, 500_000, keyframe=number in {10, 25})
        data = bytes(packet)
        kinds.append([unit for unit in units(data) if unit != 6])
        assert packet.is_keyframe == (number in {0, 10, 25})
        assert packet.pts == int(number / 30 * 90_000)
        if packet.is_keyframe:
            profile, constraints, _ = data[data.index(b"\x67") + 1 :][:3]
            assert profile == 66
            assert constraints & 0x40
    assert [kind for kind in kinds if kind != [1]] == [[7, 8, 5]] * 3


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_another_bitrate_begins_with_a_keyframe(codec: Codec) -> None:
    """And is kept."""
    encoder = Encoder(codec, 30)
    sizes = {}
    for part, bps in enumerate((1_000_000, 300_000)):
        size = 0
        for number in range(60):
            for packet in encoder.encode(picture(), part * 10 + number / 30, bps, keyframe=False):
                assert packet.is_keyframe == (number == 0)
                size += packet.size
        sizes[bps] = size * 8 / 2
    assert 0.5 < sizes[300_000] / 300_000 < 1.7
    assert sizes[300_000] < sizes[1_000_000] * 0.6


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_what_it_makes_can_be_read(codec: Codec) -> None:
    """The numbers in the picture survive, from the first keyframe on."""
    encoder = Encoder(codec, 30)
    decoder = av.CodecContext.create("h264" if codec == "H264" else "vp8", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    numbers = []
    for number in range(10):
        for packet in encoder.encode(picture(), number / 30, 500_000, keyframe=False):
            numbers += [read_row(frame, 0) for frame in decoder.decode(packet)]
    read = [number for number in numbers if number is not None]
    assert len(read) >= 8
    assert read == sorted(read)


def test_another_size_is_no_trouble() -> None:
    """A camera may change its mind."""
    encoder = Encoder("H264", 30)
    encoder.encode(picture(), 0.0, 500_000, keyframe=False)
    [packet] = encoder.encode(av.VideoFrame(640, 480, "yuv420p"), 0.1, 500_000, keyframe=False)
    assert packet.is_keyframe


def test_it_costs_little() -> None:
    """A thirtieth of a second has room for many."""
    encoder = Encoder("H264", 30)
    source = PatternSource(Picture(1280, 720, 30))
    began = time.thread_time()
    for number in range(30):
        canvas = source._canvases[number % 6]
        canvas.draw(number, 0.0)
        encoder.encode(canvas.frame, number / 30, 2_500_000, keyframe=False)
    assert (time.thread_time() - began) / 30 < 0.012
