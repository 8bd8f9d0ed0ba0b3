"""PNG and APNG as they are written, read by Pillow."""

from __future__ import annotations

import io
import os

import pytest
from PIL import Image

from agent.screen import apng


def noise(count: int) -> list[Image.Image]:
    """Frames that have nothing in common."""
    return [Image.merge("RGB", [Image.effect_noise((31, 17), 200) for _ in range(3)]) for _ in range(count)]


def written(frames: list[Image.Image], wait_ms: float = 40.0) -> tuple[apng.Written, bytes]:
    """What is said, and the file."""
    file = io.BytesIO()
    said = apng.write(file, frames[0].size, iter([(frame, wait_ms) for frame in frames]))
    return said, file.getvalue()


@pytest.mark.parametrize("count", [1, 2, 9])
def test_every_pixel_of_every_frame(count: int) -> None:
    """Comes back as it was."""
    frames = noise(count)
    said, data = written(frames)
    assert (said.frames, said.taken, said.cycle_ms) == (count, count, 40.0 * count)
    with Image.open(io.BytesIO(data)) as picture:
        assert getattr(picture, "n_frames", 1) == count
        for number, frame in enumerate(frames):
            picture.seek(number)
            assert picture.convert("RGB").tobytes() == frame.tobytes()


def test_the_bound_of_a_frame_holds() -> None:
    """Pixels that cannot be made smaller take no more room than was said, in the smallest picture, too."""
    for size in ((31, 17), (1, 1), (256, 1), (1, 256)):
        frames = [Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1])) for _ in range(50)]
        said, data = written(frames)
        assert len(data) < said.frames * (3 * size[0] * size[1] + size[1] + apng.OVERHEAD_BYTES)


def test_progress_is_told_when_a_frame_can_be_read() -> None:
    """What has been written by then is whole frames."""
    sizes: list[int] = []
    file = io.BytesIO()
    apng.write(file, (31, 17), iter([(frame, 40.0) for frame in noise(5)]), 5, lambda _: sizes.append(len(file.getvalue())))
    assert len(sizes) == 4
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("part", [0.3, 0.55, 0.8])
def test_one_that_was_not_finished(part: float) -> None:
    """Ends after its last whole frame."""
    frames = noise(8)
    _, data = written(frames)
    descriptor = os.memfd_create("test")
    try:
        os.write(descriptor, data[: int(len(data) * part)])
        apng.finish(descriptor)
        left = os.pread(descriptor, len(data), 0)
    finally:
        os.close(descriptor)
    assert left.endswith(data[-12:])
    assert data.startswith(left[:-12])
    whole = left.count(b"fdAT") + 1
    assert whole == int(8 * part)
    with Image.open(io.BytesIO(left)) as picture:
        picture.seek(whole - 1)
        assert picture.convert("RGB").tobytes() == frames[whole - 1].tobytes()
