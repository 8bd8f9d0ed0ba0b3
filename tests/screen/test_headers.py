"""Sizes and turns read from the first bytes of an image."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from agent.screen.headers import Header, read


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "webp"])
def test_size(tmp_path: Path, ending: str) -> None:
    """Of each kind, also without an ending."""
    path = tmp_path / "image"
    Image.new("RGB", (123, 45)).save(path, format={"jpg": "JPEG"}.get(ending, ending.upper()))
    assert read(str(path)) == Header({"jpg": "jpeg"}.get(ending, ending), 123, 45)  # type: ignore[arg-type]


def test_lossless_and_animated_webp(tmp_path: Path) -> None:
    """Both other forms of WebP."""
    path = tmp_path / "image.webp"
    Image.new("RGB", (300, 7)).save(path, lossless=True)
    assert read(str(path)) == Header("webp", 300, 7)
    first, second = Image.new("RGB", (64, 32), "red"), Image.new("RGB", (64, 32), "blue")
    first.save(path, save_all=True, append_images=[second])
    assert read(str(path)) == Header("webp", 64, 32, animated=True)
    first.save(tmp_path / "image.png", save_all=True, append_images=[second])
    assert read(str(tmp_path / "image.png")) == Header("png", 64, 32, animated=True)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_turn(tmp_path: Path, ending: str, turn: int) -> None:
    """EXIF orientation in each kind that has it."""
    exif = Image.Exif()
    exif[0x010F] = "maker of cameras"
    exif[0x0112] = turn
    path = tmp_path / f"image.{ending}"
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    header = read(str(path))
    assert header is not None
    assert (header.width, header.height, header.turn) == (40, 20, turn)


def test_progressive_jpeg_with_large_segments(tmp_path: Path) -> None:
    """Comments and profiles before the frame are passed over."""
    path = tmp_path / "image.jpg"
    Image.new("RGB", (90, 60)).save(path, progressive=True, comment=b"x" * 60000, icc_profile=b"y" * 200000)
    assert read(str(path)) == Header("jpeg", 90, 60)


def test_damage_is_no_header_and_no_crash(tmp_path: Path) -> None:
    """Cut and scrambled files give None or something; never an exception."""
    chance = random.Random(7)
    for ending in ("jpg", "png", "gif", "bmp", "webp"):
        path = tmp_path / f"image.{ending}"
        Image.new("RGB", (40, 20)).save(path)
        whole = path.read_bytes()
        for _ in range(150):
            cut = bytearray(whole[: chance.randrange(len(whole))])
            for _ in range(3):
                if len(cut) > 20:
                    cut[chance.randrange(12, len(cut))] = chance.randrange(256)
            path.write_bytes(cut)
            read(str(path))
    (tmp_path / "text").write_text("hello")
    assert read(str(tmp_path / "text")) is None
