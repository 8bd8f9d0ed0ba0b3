"""Images that have to be converted before they can be shown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
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


def converter(folder: Path) -> list[int]:
    """The processes that convert something in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_text()
            if "agent.screen.images" in command and str(folder) in command:
                found.append(int(process.name))
    return found


PARENT = """
import asyncio, sys
from agent.screen import images
asyncio.run(images.convert(sys.argv[1], 900, "jpg"))
"""


async def test_it_dies_with_the_worker(tmp_path: Path) -> None:
    """The kernel may take the worker first; what was left of the copy goes with the next try."""
    ffmpeg("-f", "lavfi", "-i", "color=lime:s=12000x12000", "-frames:v", "1", str(tmp_path / "large.png"))
    command = (sys.executable, "-c", PARENT, str(tmp_path / "large.png"))
    process = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])
    async with asyncio.timeout(15):
        while not (pids := converter(tmp_path)):
            await asyncio.sleep(0.005)
        while "1000" not in Path(f"/proc/{pids[0]}/oom_score_adj").read_text():
            await asyncio.sleep(0.005)
        limits = Path(f"/proc/{pids[0]}/limits").read_text()
        process.kill()
        await process.wait()
        while converter(tmp_path):
            await asyncio.sleep(0.005)
    address_space = next(int(line.split()[3]) for line in limits.splitlines() if line.startswith("Max address space"))
    assert address_space <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    (tmp_path / f"large.png.screen-900.jpg.{pids[0]}.part").touch()
    target = tmp_path / "large.png.screen-900.jpg"
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", str(target), stdin=asyncio.subprocess.PIPE)
    at_work = target.with_name(f"{target.name}.{other.pid}.part")
    at_work.touch()
    await images.convert(str(tmp_path / "large.png"), 900, "jpg")
    await other.communicate(b"\n")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "large.png", target, at_work]


async def test_a_copy_does_not_fill_the_disk(tmp_path: Path) -> None:
    """An animation whose frames take more than the limit is refused; nothing of it is left."""
    frames = [Image.effect_noise((300, 300), 200).convert("RGB") for _ in range(4)]
    path = tmp_path / "noise.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40, quality=1, method=0)
    arguments = [str(path), str(tmp_path / "noise.png"), "4096", str(os.getpid())]
    code = f"import sys; from agent.screen import images; images.FILE_BYTES = 100_000; sys.exit(images.main({arguments!r}))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=Path(__file__).parents[2], stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert (process.returncode, b"File too large" in said) == (1, True)
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


async def test_a_full_disk_is_not_the_images_fault(small_disk: Path) -> None:
    """It may be shown when there is room."""
    path = photo(small_disk / "photo.jpg", 6, (1600, 900))
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(images.ImageError, match="No space left") as caught:
        await images.fitting(str(path), 800)
    assert caught.value.temporary
    ballast.unlink()
    await images.fitting(str(path), 800)


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
