"""What comes out for each kind of picture, and what is refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agent.screen import converter
from agent.screen.converter import PictureError

RED, GREEN = (255, 0, 0), (0, 255, 0)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def animation(kind: str, durations: list[int], size: tuple[int, int] = (8, 4), **options: Any) -> bytes:
    """Frames of different colours."""
    frames = [Image.new("RGB", size, (10 + 20 * n % 240, n // 12, 0)) for n in range(len(durations))]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=durations, **options)


def converted(data: bytes, fit_px: int = 64) -> tuple[dict[str, Any], Image.Image]:
    """What is said about a picture, and what was made of it."""
    file = io.BytesIO()
    said = converter.convert(data, file, fit_px, 512)
    return said, Image.open(io.BytesIO(file.getvalue()))


def durations(picture: Image.Image) -> list[float]:
    """Milliseconds of each frame."""
    found = []
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        found.append(round(picture.info.get("duration", 0), 3))
    return found


@pytest.mark.parametrize(
    ("kind", "mode", "colour", "expected"),
    [
        ("WEBP", "RGB", RED, RED),
        ("WEBP", "RGBA", (255, 0, 0, 0), (0, 0, 0)),
        ("PNG", "RGBA", (200, 100, 50, 128), (100, 50, 25)),
        ("PNG", "LA", (200, 128), (100, 100, 100)),
        ("PNG", "L", 77, (77, 77, 77)),
        ("PNG", "1", 1, (255, 255, 255)),
        ("PNG", "I;16", 0x8000, (128, 128, 128)),
        ("GIF", "P", 0, (0, 0, 0)),
        ("JPEG", "RGB", (128, 128, 128), (128, 128, 128)),
        ("JPEG", "CMYK", (0, 0, 0, 0), (255, 255, 255)),
    ],
)
def test_stills(kind: str, mode: str, colour: Any, expected: tuple[int, int, int]) -> None:
    """Every mode becomes RGB; what is transparent lies over black."""
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    said, picture = converted(saved(Image.new(mode, (6, 3), colour), kind, **options))
    assert said == {"width": 6, "height": 3, "frames": 1, "cycle_s": None}
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (6, 3))
    pixel = picture.getpixel((5, 2))
    assert isinstance(pixel, tuple)
    assert max(abs(a - b) for a, b in zip(pixel, expected, strict=True)) <= 1


def test_every_pixel_is_kept() -> None:
    """Nothing is rounded, blurred or moved."""
    noise = Image.merge("RGB", [Image.effect_noise((64, 32), 200) for _ in range(3)])
    _, picture = converted(saved(noise, "WEBP", lossless=True))
    assert picture.tobytes() == noise.tobytes()


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF"])
def test_animations(kind: str) -> None:
    """Every frame with its own duration, whatever loop count the file has; a duration of zero is 50 ms."""
    options: dict[str, Any] = {"loop": 3, "lossless": True} if kind == "WEBP" else {"loop": 3}
    said, picture = converted(animation(kind, [100, 500, 50, 0, 1000, 200], **options))
    assert said == {"width": 8, "height": 4, "frames": 6, "cycle_s": pytest.approx(1.9)}
    assert durations(picture) == [100, 500, 50, 50, 1000, 200]
    assert picture.info["loop"] == 0
    for number in range(6):
        picture.seek(number)
        pixel = picture.convert("RGB").getpixel((7, 3))
        assert isinstance(pixel, tuple)
        assert abs(pixel[0] - (10 + 20 * number)) <= 1


def test_frames_that_look_the_same_are_one() -> None:
    """Their durations are added; an animation in which nothing moves is a still."""
    frames = [Image.new("RGB", (8, 4), colour) for colour in (RED, RED, GREEN, GREEN)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=[10, 20, 30, 40], lossless=True)
    said, picture = converted(data)
    assert (said["frames"], said["cycle_s"], durations(picture)) == (2, pytest.approx(0.1), [30, 70])
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[:2], duration=[10, 20, 30], lossless=True)
    assert converted(data)[0] == {"width": 8, "height": 4, "frames": 1, "cycle_s": None}


def test_transparent_frames_lie_over_black() -> None:
    """Not over the frame before."""
    frames = [Image.new("RGBA", (8, 4), (255, 0, 0, alpha)) for alpha in (255, 0, 128)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40, lossless=True)
    _, picture = converted(data)
    seen = []
    for number in range(3):
        picture.seek(number)
        seen.append(picture.convert("RGB").getpixel((0, 0)))
    assert seen == [RED, (0, 0, 0), (128, 0, 0)]


def test_long_durations() -> None:
    """Longer than a minute does not fit into thousandths of a second."""
    _, picture = converted(animation("WEBP", [70_000, 7_200_000, 10], lossless=True))
    assert durations(picture) == [70_000, 7_200_000, 10]


def test_the_picture_for_those_who_know_no_animation_is_left_out() -> None:
    """An APNG may have one before its first frame."""
    said, _ = converted(animation("PNG", [70] * 5, default_image=True))
    assert said["frames"] == 4


def test_a_photo_is_scaled_and_turned() -> None:
    """To the size that is useful, standing upright."""
    photo = Image.new("RGB", (400, 200), RED)
    photo.paste(GREEN, (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    said, picture = converted(saved(photo, "JPEG", exif=exif), 100)
    assert (said["width"], said["height"]) == (50, 100)
    pixel = picture.getpixel((25, 10))
    assert isinstance(pixel, tuple)
    assert pixel[1] > 200


def bomb(width: int, height: int) -> bytes:
    """A small file that says it is large."""
    small = saved(Image.new("RGB", (8, 8)), "PNG")
    header = small[12:16] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is no picture"),
        (b"just text" * 100, "is no picture"),
        (saved(Image.new("RGB", (8, 8)), "BMP"), "is no picture"),
        (bomb(60000, 60000), "is too large"),
        (bomb(7000, 7000), "is too large"),
        (animation("WEBP", [10] * 1001, (2, 2)), "has more than 1000 frames"),
        (animation("GIF", [10] * 1001, (2, 2)), "has more than 1000 frames"),
        (animation("GIF", [10] * 3, (600, 2)), "is too large for an animation: 600 x 2"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    """In one sentence."""
    with pytest.raises(PictureError, match=reason):
        converted(data)


def test_all_frames_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand large frames in few bytes take memory and time like one huge picture."""
    monkeypatch.setattr(converter, "TOTAL_PIXELS", 32 * 9)
    with pytest.raises(PictureError, match="is too much to decode: 8 x 4, more than 9 frames"):
        converted(animation("GIF", [10] * 10))


def test_a_thousand_frames_are_shown() -> None:
    """The most there may be."""
    assert converted(animation("WEBP", [10] * 1000, lossless=True))[0]["frames"] == 1000


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF", "JPEG"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_cut_files_end_in_an_error(kind: str, part: float) -> None:
    """Never in half a picture."""
    noise = Image.merge("RGB", [Image.effect_noise((64, 32), 200) for _ in range(3)])
    data = saved(noise, kind)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever Pillow raises
        converted(data[: int(len(data) * part)])


def moving(count: int, duration: int = 50) -> bytes:
    """An animation whose frames all differ."""
    return animation("WEBP", [duration] * count, (64, 32), lossless=True)


def told(data: bytes) -> tuple[list[dict[str, Any]], dict[str, Any], Image.Image]:
    """What is said before the end, what at the end, and what was made."""
    file = io.BytesIO()
    early: list[dict[str, Any]] = []
    said = converter.convert(data, file, 64, 512, early.append)
    return early, said, Image.open(io.BytesIO(file.getvalue()))


def test_an_animation_can_begin_early() -> None:
    """Told once, with the length of the whole, when there is enough to go on with."""
    early, said, _ = told(moving(200))
    assert said == {"width": 64, "height": 32, "frames": 200, "cycle_s": pytest.approx(10)}
    assert [answer | {"frames": 200} for answer in early] == [said | {"more": True}]
    assert 6 < early[0]["frames"] < 100


@pytest.mark.parametrize(("name", "value"), [("SLOWER", 1e6), ("OUTPUT_BYTES", 200 * 64 * 32 * 3)])
def test_an_animation_that_must_wait(name: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told early if the player would catch up, or if there might be no room for all of it."""
    monkeypatch.setattr(converter, name, value)
    early, said, _ = told(moving(200))
    assert not early
    assert said["frames"] == 200


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_an_animation_of_unknown_length_must_wait(kind: str) -> None:
    """Only WebP says beforehand how long it takes."""
    early, said, _ = told(animation(kind, [50] * 200, (64, 32)))
    assert not early
    assert said["cycle_s"] == pytest.approx(10)


def repeated(data: bytes, counts: list[int]) -> bytes:
    """The same animation with each frame so many times in a row, which no encoder would write."""
    at, number, chunks = 12, 0, []
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunk, at = data[at : at + 8 + size + size % 2], at + 8 + size + size % 2
        if chunk[:4] == b"ANMF":
            chunk *= counts[number]
            number += 1
        chunks.append(chunk)
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def test_long_rows_of_frames_that_look_the_same() -> None:
    """Those at the beginning are one, whether it is an animation shows at their end; later ones are one only up to some number,
    so that nobody waits for the next.
    """
    early, said, picture = told(repeated(moving(4), [100, 3, 20, 1]))
    assert [answer["cycle_s"] for answer in early] == [pytest.approx(6.2)]
    assert durations(picture) == [5000, 150, 400, 400, 200, 50]
    assert (said["frames"], said["cycle_s"]) == (6, pytest.approx(6.2))
    early, said, _ = told(repeated(moving(2), [100, 0]))
    assert not early
    assert said == {"width": 64, "height": 32, "frames": 1, "cycle_s": None}


def damaged(data: bytes, number: int) -> bytes:
    """The same animation with one frame that cannot be decoded."""
    at = -1
    for _ in range(number):
        at = data.index(b"VP8L", at + 1)
    return data[: at + 13] + b"\xff" * 6 + data[at + 19 :]


def test_damage_in_an_animation() -> None:
    """Near its beginning it is refused; later it ends before that, whole in itself."""
    with pytest.raises(OSError, match="failed to read next frame"):
        told(damaged(moving(200), 3))
    early, said, picture = told(damaged(moving(200), 150))
    assert len(early) == 1
    assert "failed to read next frame" in said["error"]
    assert getattr(picture, "n_frames", 1) == 149
    picture.seek(148)


def test_too_large_when_decoded(tmp_path: Path) -> None:
    """Refused in a sentence that says how much there may be."""
    noise = [Image.merge("RGB", [Image.effect_noise((128, 64), 200) for _ in range(3)]) for _ in range(50)]
    (tmp_path / "noise").write_bytes(
        saved(noise[0], "WEBP", save_all=True, append_images=noise[1:], duration=50, lossless=True, method=0, quality=0)
    )
    program = "import sys; from agent.screen import converter; converter.OUTPUT_BYTES = 1 << 20; converter._load(); "
    program += "converter._serve({'fit': 64, 'limit': 512}, *map(int, sys.argv[1:]))"
    with (tmp_path / "noise").open() as source, (tmp_path / "made").open("w") as target, (tmp_path / "said").open("w") as answer:
        files = [source.fileno(), target.fileno(), answer.fileno()]
        subprocess.run([sys.executable, "-c", program, *map(str, files)], pass_fds=files, check=True)
    assert json.loads((tmp_path / "said").read_text()) == {"error": "is too large: more than 1 MiB when decoded"}
