"""Images that have to be converted before they can be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from agent.screen import images
from agent.screen.messages import Failed
from tests.display import ffmpeg, near, still
from tests.screen.conftest import GREEN, RED, Media, Stand

TURN = 0x0112


def photo(path: Path, turn: int, size: tuple[int, int] = (400, 200)) -> Path:
    """Stored lying; its green half is on the left as stored."""
    picture = Image.new("RGB", size, RED)
    picture.paste(GREEN, (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[TURN] = turn
    picture.save(path, exif=exif)
    return path


async def test_what_fits_stays_as_it_is(media: Media) -> None:
    """No copy is made."""
    assert await images.fitting(str(media.red_png), 4096) == (str(media.red_png), "png_pipe")
    assert await images.fitting(str(media.green_jpg), 1920) == (str(media.green_jpg), "jpeg_pipe")
    assert await images.fitting(str(media.long_mp4), 16) == (str(media.long_mp4), "")


async def test_large_and_turned_are_converted_once(tmp_path: Path) -> None:
    """Scaled to the limit, upright, without the EXIF turn, beside the original."""
    path = photo(tmp_path / "photo.jpg", 6, (1600, 900))
    converted, container = await images.fitting(str(path), 800)
    assert (converted, container) == (f"{path}.screen-800.jpg", "jpeg_pipe")
    with Image.open(converted) as picture:
        assert picture.size == (450, 800)
        assert TURN not in picture.getexif()
        assert near(picture.getpixel((225, 100)), GREEN)  # type: ignore[arg-type]
        assert near(picture.getpixel((225, 700)), RED)  # type: ignore[arg-type]
    made = Path(converted).stat().st_mtime_ns
    await images.fitting(str(path), 800)
    assert Path(converted).stat().st_mtime_ns == made
    assert sorted(tmp_path.iterdir()) == [path, Path(converted)]


async def test_transparency_survives(tmp_path: Path) -> None:
    """A large transparent PNG stays transparent."""
    Image.new("LA", (900, 100), (255, 0)).save(tmp_path / "clear.png")
    converted, _ = await images.fitting(str(tmp_path / "clear.png"), 300)
    with Image.open(converted) as picture:
        assert picture.convert("RGBA").getpixel((10, 10))[3] == 0  # type: ignore[index]


async def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    """Without decoding a pixel."""
    small = still(tmp_path / "bomb.png", RED, (8, 8)).read_bytes()
    (tmp_path / "bomb.png").write_bytes(small[:16] + (60000).to_bytes(4, "big") * 2 + small[24:])
    with pytest.raises(images.ImageError, match="too large: 60000 x 60000"):
        await images.fitting(str(tmp_path / "bomb.png"), 4096)


async def test_a_cut_file_leaves_nothing_behind(tmp_path: Path) -> None:
    """One line says why; no half copy is kept."""
    path = tmp_path / "cut.jpg"
    path.write_bytes(photo(path, 6).read_bytes()[:900])
    with pytest.raises(images.ImageError, match="cannot be scaled: "):
        await images.fitting(str(path), 4096)
    assert list(tmp_path.iterdir()) == [path]


async def test_photos_on_the_screen(stand: Stand, tmp_path: Path) -> None:
    """A photo of 6000 x 4000 and one turned by EXIF are shown, the latter upright."""
    ffmpeg("-f", "lavfi", "-i", "color=lime:s=6000x4000", "-frames:v", "1", str(tmp_path / "large.jpg"))
    worker = await stand.worker()
    await worker.show(worker.shot(tmp_path / "large.jpg"))
    await stand.server.shows((640, 360), GREEN)
    assert near(stand.server.pixel(150, 360), GREEN)
    await worker.show(worker.shot(photo(tmp_path / "turned.jpg", 6)))
    await stand.server.shows((640, 600), RED)
    assert near(stand.server.pixel(640, 100), GREEN)
    assert near(stand.server.pixel(300, 360), (0, 0, 0))


async def test_animations(stand: Stand, tmp_path: Path) -> None:
    """GIF, animated PNG and animated WebP run, again and again."""
    frames = [Image.new("RGB", (64, 36), colour) for colour in (RED, GREEN)]
    worker = await stand.worker()
    for ending in ("gif", "png", "webp"):
        path = tmp_path / f"two.{ending}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=150, loop=0, lossless=True)
        await worker.show(worker.shot(path, "image"))
        for colour in (GREEN, RED, GREEN, RED):
            await stand.server.shows((640, 360), colour, 2)
    assert not worker.all(Failed)
