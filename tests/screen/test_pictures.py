"""Pictures of few pixels on a real X screen, and the process that decodes them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.screen import pictures
from agent.screen.images import ImageError
from agent.screen.messages import Failed, Shot, Started
from agent.screen.pictures import Picture, Pictures
from tests.conftest import rounds
from tests.display import Colour, XServer, near
from tests.screen.conftest import BLUE, GREEN, RED, YELLOW, Bench, Media, Stand

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
TRIES = 4
"""A machine that does other things may hold up a whole measurement."""


def webp(path: Path, *frames: Image.Image, durations: list[int] | None = None) -> Path:
    """A picture, animated if there are several frames, to the pixel."""
    more: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": durations} if durations else {}
    frames[0].save(path, "WEBP", lossless=True, **more)
    return path


def plain(path: Path, colour: Colour, size: tuple[int, int] = (64, 32)) -> Path:
    """A picture of one colour."""
    return webp(path, Image.new("RGB", size, colour))


def checkered(size: tuple[int, int]) -> Image.Image:
    """Every pixel unlike its neighbours."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    even = (x + y) % 2 == 0
    rgb = np.stack([np.where(even, 255 - x % 64, 0), np.where(even, 0, 255 - y % 64), x * 3 % 256], axis=2)
    return Image.fromarray(rgb.astype(np.uint8), "RGB")


def enlarged(picture: Image.Image, width: int, height: int) -> np.ndarray[Any, Any]:
    """What a screen of this size has to show."""
    factor = min(width // picture.width, height // picture.height)
    screen = Image.new("RGB", (width, height))
    large = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    screen.paste(large, ((width - large.width) // 2, (height - large.height) // 2))
    return np.asarray(screen)


def unlike(server: XServer, wanted: np.ndarray[Any, Any]) -> int:
    """The largest difference of any pixel of the screen."""
    return int(np.abs(np.asarray(server.image()).astype(int) - wanted).max())


async def exact(server: XServer, picture: Image.Image) -> None:
    """Waits until the whole screen shows exactly this picture and nothing beside it."""
    wanted = enlarged(picture, server.width, server.height)
    await asyncio.to_thread(server.wait, lambda: unlike(server, wanted) <= 1, 5, f"{picture.size} to the pixel")


def pixels(worker: Bench, path: Path, **fields: Any) -> Shot:
    """A showing of a picture of few pixels."""
    return worker.shot(path, "image", pixelated=True, loop=True, **fields)


@pytest.mark.parametrize(("size", "factor"), [((1920, 1080), 30), ((1280, 720), 20), ((960, 540), 15)])
async def test_a_checkerboard_is_exact_at_every_block(size: tuple[int, int], factor: int, tmp_path: Path) -> None:
    """64 x 32 on screens of three sizes: every block uniform and in its place, black around."""
    picture = checkered((64, 32))
    assert min(size[0] // 64, size[1] // 32) == factor
    with XServer(*size) as server:
        stand = Stand(server)
        worker = await stand.worker()
        await worker.show(pixels(worker, webp(tmp_path / "board", picture)))
        await exact(server, picture)
        await stand.close()


async def test_sizes_in_a_mix(stand: Stand, tmp_path: Path) -> None:
    """Smaller, larger, upright, odd, one pixel: nothing of the picture before is left at the edges."""
    worker = await stand.worker()
    sizes = [(64, 32), (1, 1), (256, 128), (30, 50), (128, 64), (1, 40), (255, 127), (1280, 720), (64, 32)]
    for number, size in enumerate(sizes):
        picture = checkered(size)
        shot = pixels(worker, webp(tmp_path / str(number), picture))
        if number % 2:
            worker.put(upcoming=shot)
        await worker.show(shot, upcoming=None)
        await exact(stand.server, picture)


async def test_larger_than_the_screen(stand: Stand, tmp_path: Path) -> None:
    """Fitted smoothly like any other picture."""
    worker = await stand.worker()
    Image.new("RGB", (3000, 1000), GREEN).save(tmp_path / "wide", "PNG")
    await worker.show(pixels(worker, tmp_path / "wide"))
    await stand.server.shows((640, 360), GREEN)
    assert near(stand.server.pixel(5, 360), GREEN)
    assert near(stand.server.pixel(640, 140), BLACK)


async def test_every_kind_of_picture(stand: Stand, tmp_path: Path) -> None:
    """WebP, PNG, JPEG and GIF, told by what is in them; alpha over black, not over the background."""
    worker = await stand.worker()
    worker.put(background="#A000A0")
    half = Image.new("RGBA", (64, 32), (255, 255, 255, 128))
    for number, kind in enumerate(("WEBP", "PNG", "JPEG", "GIF")):
        colour = (RED, GREEN, BLUE, YELLOW)[number]
        Image.new("RGB", (64, 32), colour).save(tmp_path / kind, kind)
        await worker.show(pixels(worker, tmp_path / kind))
        await stand.server.shows((640, 360), colour)
    half.save(tmp_path / "half", "WEBP", lossless=True)
    await worker.show(pixels(worker, tmp_path / "half"))
    await stand.server.shows((640, 360), (128, 128, 128))


async def test_what_cannot_be_shown_leaves_the_picture(stand: Stand, tmp_path: Path) -> None:
    """Text, nothing, half a file, no file, a pipe: reported with a reason, and nothing moves; the next one is shown."""
    worker = await stand.worker()
    await worker.show(pixels(worker, plain(tmp_path / "good", GREEN)))
    await stand.server.shows((640, 360), GREEN)
    (tmp_path / "text").write_text("no picture at all")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "cut").write_bytes((tmp_path / "good").read_bytes()[:-9])
    os.mkfifo(tmp_path / "pipe")
    for name in ("text", "empty", "cut", "missing", "pipe"):
        shot = pixels(worker, tmp_path / name)
        worker.put(shot=shot)
        assert (await worker.says(Failed, shot.token)).reason
        assert near(stand.server.pixel(640, 360), GREEN)
    await worker.show(pixels(worker, plain(tmp_path / "next", BLUE)))
    await stand.server.shows((640, 360), BLUE)
    assert len(worker.all(Failed)) == 5


def changes(samples: list[tuple[float, bytes]], colours: list[Colour]) -> list[tuple[float, int]]:
    """When which of these colours came."""
    found: list[tuple[float, int]] = []
    for at, data in samples:
        number = next((n for n, colour in enumerate(colours) if near(data[2::-1], colour)), -1)
        if not found or found[-1][1] != number:
            found.append((at, number))
    return found


@pytest.mark.parametrize("durations", [[100, 500, 50, 50, 300, 200], [50] * 12, [0] * 12, [40, 40]])
async def test_frames_stand_for_their_own_time(stand: Stand, tmp_path: Path, durations: list[int]) -> None:
    """Within 15 ms on the glass, from the last frame to the first one, too; Started tells the length of a round."""
    worker = await stand.worker()
    colours = [(250 - 20 * n, 20 * n, 255 * (n % 2)) for n in range(len(durations))]
    frames = [Image.new("RGB", (64, 32), colour) for colour in colours]
    started = await worker.show(pixels(worker, webp(tmp_path / "film", *frames, durations=durations)))
    lengths = [(duration or 50) / 1000 for duration in durations]
    assert started.duration_s == pytest.approx(sum(lengths))
    for _ in range(TRIES):
        with stand.server.sampled(640, 360, 1, 1) as samples:
            await asyncio.sleep(2.5 * sum(lengths) + 0.5)
        seen = changes(samples, colours)[1:]
        order = [number for _, number in seen]
        errors = [abs(after - at - lengths[number]) for (at, number), (after, _) in itertools.pairwise(seen)]
        in_order = all(after == (before + 1) % len(durations) for before, after in itertools.pairwise(order))
        if in_order and max(errors) < 0.015:
            break
    else:
        raise AssertionError(f"order {order} errors {errors}")


async def test_a_still_tells_no_length(stand: Stand, tmp_path: Path) -> None:
    """There is no round to wait for."""
    worker = await stand.worker()
    assert (await worker.show(pixels(worker, plain(tmp_path / "still", RED)))).duration_s is None


async def test_from_its_turn_to_the_glass(stand: Stand, tmp_path: Path) -> None:
    """Within 100 ms when it was prepared, within 200 ms when it comes that moment; half of the tries count."""
    worker = await stand.worker()
    await worker.show(pixels(worker, plain(tmp_path / "first", WHITE)))
    for prepared, limit_s in ((True, 0.1), (False, 0.2)):
        took: list[float] = []
        for number in range(8):
            colour = (RED, GREEN, BLUE, YELLOW)[number % 4]
            shot = pixels(worker, plain(tmp_path / f"{prepared}{number}", colour, (64, 32)))
            if prepared:
                worker.put(upcoming=shot)
                await asyncio.sleep(0.2)
            begun = time.monotonic()
            with stand.server.sampled(640, 360, 1, 1) as samples:
                await worker.show(shot, upcoming=None)
                await stand.server.shows((640, 360), colour)
                await asyncio.sleep(0.02)
            took.append(next(at for at, data in samples if near(data[2::-1], colour)) - begun)
        assert sorted(took)[len(took) // 2] < limit_s, took


async def test_brightness_of_the_picture_that_is_on(stand: Stand, tmp_path: Path) -> None:
    """At once, down to dark and back, and it is no new showing."""
    worker = await stand.worker()
    await worker.show(pixels(worker, plain(tmp_path / "white", WHITE)))
    for dim, level in ((50.0, 128), (100.0, 0), (0.0, 255)):
        worker.put(dim_percent=dim)
        await stand.server.shows((640, 360), (level, level, level))
    assert len(worker.all(Started)) == 1


async def test_each_program_is_as_bright_as_it_should_be(stand: Stand, media: Media, tmp_path: Path) -> None:
    """A dark feed and a bright playlist take turns: neither is seen in the other's brightness, the brighter one above all."""
    worker = await stand.worker()
    feed = plain(tmp_path / "white", WHITE, (64, 36))
    await worker.show(worker.shot(media.red_png))
    with stand.server.sampled(640, 360, 1, 1) as samples:
        for _ in range(rounds(20)):
            await worker.show(pixels(worker, feed), dim_percent=80.0)
            await stand.server.shows((640, 360), (51, 51, 51))
            await worker.show(worker.shot(media.red_png), dim_percent=0.0)
            await stand.server.shows((640, 360), RED)
    assert not [data for _, data in samples if min(data[:3]) > 60]


async def test_the_mark(stand: Stand, tmp_path: Path) -> None:
    """A small square in the corner, only while it is asked for."""
    worker = await stand.worker()
    server = stand.server

    def marked() -> bool:
        corner = np.frombuffer(server.raw(1180, 0, 100, 100), np.uint8).reshape(-1, 4)
        return bool(((corner[:, 2] > 200) & (corner[:, 0] < 50)).any())

    await worker.show(pixels(worker, plain(tmp_path / "blue", BLUE, (64, 36))))
    assert not marked()
    worker.put(mark=True)
    await asyncio.to_thread(server.wait, marked, 5, "the mark")
    worker.put(mark=False)
    await asyncio.to_thread(server.wait, lambda: not marked(), 5, "no mark")


async def test_no_black_frame_between_programs(stand: Stand, media: Media, tmp_path: Path) -> None:
    """Playlist, feed, clip and back, with a feed that fills the screen: never black, not for a moment, not in one pixel."""
    worker = await stand.worker()
    feeds = [plain(tmp_path / str(n), colour, (64, 36)) for n, colour in enumerate((YELLOW, BLUE))]
    films = [webp(tmp_path / "film", *(Image.new("RGB", (16, 9), c) for c in (RED, BLUE, GREEN)), durations=[40, 40, 40])]
    order: list[Callable[[], Shot]] = [
        lambda: worker.shot(media.red_png),
        lambda: pixels(worker, feeds[0]),
        lambda: worker.shot(media.green_mp4),
        lambda: pixels(worker, films[0]),
        lambda: pixels(worker, feeds[1]),
        lambda: worker.shot(media.long_mp4, start_s=3.0),
    ]
    await worker.show(order[0]())
    await stand.server.shows((640, 360), RED)
    await asyncio.sleep(0.1)
    with stand.server.sampled(640, 4, 1, 712) as samples:
        for number, shot in enumerate(itertools.islice(itertools.cycle(order[1:] + order[:1]), rounds(120))):
            await worker.show(shot())
            if number % 3:
                await asyncio.sleep(0.05)
    assert not worker.all(Failed)
    assert samples.looks > 500
    assert samples.darkest() > 0x60


async def test_on_a_turned_screen(stand: Stand, tmp_path: Path) -> None:
    """The picture stands upright on a panel hung at 90 degrees: its multiple goes by what a viewer sees."""
    worker = await stand.worker("--rotate", "90")
    picture = checkered((64, 32))
    await worker.show(pixels(worker, webp(tmp_path / "board", picture)))
    wanted = np.rot90(enlarged(picture, 720, 1280), -1)
    server = stand.server
    await asyncio.to_thread(server.wait, lambda: unlike(server, wanted) <= 1, 5, "the turned picture")


@pytest.fixture
async def decoder() -> AsyncIterator[Pictures]:
    """Ended with the test."""
    decoder = Pictures()
    yield decoder
    decoder.close()


async def make(decoder: Pictures, path: Path) -> Picture:
    """A picture for a screen of 1280 pixels."""
    return await decoder.prepare(str(path), 1280, 4096)


async def test_nothing_is_written_beside_the_file(decoder: Pictures, tmp_path: Path) -> None:
    """What was made is memory only, decoded once, and is gone when nobody needs it."""
    made = await make(decoder, plain(tmp_path / "0", RED))
    descriptor = made.memory.descriptor
    assert await make(decoder, tmp_path / "0") is made
    assert os.path.realpath(made.memory.path).startswith("/memfd:")
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    del made
    for number in range(1, pictures.KEPT + 1):
        await make(decoder, plain(tmp_path / str(number), (number, 0, 0)))
    assert len(list(tmp_path.iterdir())) == pictures.KEPT + 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_a_process_that_was_ended_is_started_again(decoder: Pictures, tmp_path: Path) -> None:
    """The picture is decoded all the same."""
    await make(decoder, plain(tmp_path / "1", RED))
    process = decoder._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (await make(decoder, plain(tmp_path / "2", GREEN))).width == 64


def children(pid: int) -> list[int]:
    """The processes that this one has started and that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(process.name))
    return found


def endless(path: Path) -> Path:
    """A picture that takes long: 400 frames of 640 x 480 in few bytes."""
    frames = [Image.new("L", (640, 480), level) for level in (0, 80, 160, 240)]
    frames[0].save(path, "GIF", save_all=True, append_images=(frames * 100)[1:], duration=20)
    return path


async def test_one_that_nobody_waits_for_makes_way(decoder: Pictures, tmp_path: Path) -> None:
    """A picture that takes long holds up nothing once it is no longer wanted; one asked for twice is decoded once."""
    task = asyncio.create_task(make(decoder, endless(tmp_path / "long")))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(10):
        one, other = await asyncio.gather(*(make(decoder, plain(tmp_path / "short", RED)) for _ in range(2)))
    assert one is other
    assert not [key for key in decoder._done if str(tmp_path / "long") in key]


async def test_a_decoder_that_dies_is_the_pictures_fault(decoder: Pictures, tmp_path: Path) -> None:
    """Killed for its memory or its time, as a bomb is: refused in a sentence and not tried again; the next one is decoded."""
    await make(decoder, plain(tmp_path / "1", RED))
    assert decoder._process is not None
    task = asyncio.create_task(make(decoder, endless(tmp_path / "bomb")))
    async with asyncio.timeout(10):
        while not (pids := children(decoder._process.pid)):
            await asyncio.sleep(0.002)
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(ImageError, match="cannot be decoded with the memory and the 20 s there are for it"):
        await task
    begun = decoder._process
    with pytest.raises(ImageError, match="cannot be decoded with the memory"):
        await make(decoder, tmp_path / "bomb")
    await make(decoder, plain(tmp_path / "2", BLUE))
    assert decoder._process is begun


async def test_a_file_that_is_too_large_is_not_read(decoder: Pictures, tmp_path: Path) -> None:
    """Whatever is in it."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(9 << 20)
    with pytest.raises(ImageError, match="is too large: more than 8388608 bytes"):
        await make(decoder, tmp_path / "large")


async def test_it_ends_with_the_worker(stand: Stand, tmp_path: Path) -> None:
    """However that ends."""
    worker = await stand.worker()
    await worker.show(pixels(worker, plain(tmp_path / "1", RED)))
    [pid] = children(worker.process.pid)
    worker.process.kill()
    await worker.process.wait()
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            await asyncio.sleep(0.01)


async def test_many_pictures_leave_nothing_behind(stand: Stand, tmp_path: Path) -> None:
    """However they come, prepared or overtaken: the worker keeps a few of them and no more."""
    worker = await stand.worker()
    files = [plain(tmp_path / str(n), (n, 255 - n, 0), (8 + n % 7, 8)) for n in range(40)]
    await worker.show(pixels(worker, files[0]))
    memory = Path(f"/proc/{worker.process.pid}/fd")
    for number in range(200):
        shot = pixels(worker, files[number % 40])
        worker.put(**({"upcoming": shot} if number % 3 else {"shot": shot}))
        await asyncio.sleep(0.002 * (number % 5))
    await worker.show(pixels(worker, files[1]), upcoming=None)
    kept = [link for path in memory.iterdir() if "memfd" in (link := str(path.readlink()))]
    assert len(kept) < 60
