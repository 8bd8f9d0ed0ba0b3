"""A feed of pictures: frame times, from a push to the glass, drift of a rotation, processor use; beside a bare player."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from common import cpu_s
from PIL import Image

from tests.display import Colour, Samples, XServer, near
from tests.end_to_end.processes import family
from tests.end_to_end_tronbyt.wall import DEADLINE_S, Wall, open_wall
from tests.servers import pixels
from tests.servers.tronbyt_devices import App

COLOURS: list[Colour] = [(250 - 20 * n, 20 * n, 255 * (n % 2)) for n in range(12)]
DURATIONS_MS = [50, 100, 150, 40, 70, 300, 50, 50, 120, 90, 60, 200]
STILLS: list[Colour] = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
OPTIONS = ("--no-config", "--vo=gpu", "--gpu-sw=yes", "--fs", "--ao=null", "--scale=nearest", "--loop-file=inf", "--really-quiet")
BARE = """
import sys, mpv
player = mpv.MPV(vo="gpu", gpu_sw="yes", ao="null", config="no", fullscreen="yes", scale="nearest", image_display_duration="inf")
for line in sys.stdin:
    player.play(line.strip())
"""


async def measure(width: int, height: int, pushes: int, images: int, seconds: float) -> None:
    """Prints everything."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, XServer(width, height) as screen:
        folder = Path(name)
        frames = [Image.new("RGB", pixels.SIZE, colour) for colour in COLOURS]
        film = folder / "film.png"
        film.write_bytes(pixels.animate(frames, DURATIONS_MS, form="PNG"))
        print(f"screen {width}x{height}")
        async with open_wall(folder / "box", screen) as wall:
            await wall.put(pixels.animate(frames, DURATIONS_MS))
            ours = await frame_errors(screen, seconds)
            moving = await cpu_percent(processes(wall), seconds)
            await wall.put(still(0))
            await screen.shows(middle(screen), STILLS[0])
            standing = await cpu_percent(processes(wall), seconds)
            cold = await from_push_to_glass(screen, pushes, pushing(wall, prepared=False))
            warm = await from_push_to_glass(screen, pushes, pushing(wall, prepared=True))
            late = await rotation(wall, images)
        async with plain(screen, "mpv", *OPTIONS, str(film)) as peer:
            await screen.shows(middle(screen), COLOURS[5])
            theirs = await frame_errors(screen, seconds)
            their_cpu = await cpu_percent([peer.pid], seconds)
        bare = await bare_change(screen, folder, pushes)
    print(f"frame times off by {spread(ours)} (bar: 15; plain mpv, the same frames as APNG: {spread(theirs)})")
    print(f"at its turn, prepared, to the glass: {spread(warm)} (bar: 100; bare python-mpv with a PNG: {spread(bare)})")
    print(f"image and immediate at once, to the glass: {spread(cold)}, ratio to bare {ratio(cold, bare):.2f}")
    print(f"rotation of {len(late)} images: each late by {spread(late)}, drift {1000 * mean(late):.1f} ms an image (bar: 200)")
    print(f"processor, still picture: {standing:.2f} % of a core (bar: 1)")
    print(
        f"processor, animation: {moving:.2f} % of a core, plain mpv {their_cpu:.2f} %, ratio={moving / max(their_cpu, 0.01):.2f}"
    )


# What is measured


async def frame_errors(screen: XServer, seconds: float) -> list[float]:
    """By how much each frame stood longer or shorter than it should."""
    with screen.sampled(*middle(screen), 1, 1) as samples:
        await asyncio.sleep(seconds)
    seen = changes(samples, COLOURS)[1:]
    skipped = sum(after != (before + 1) % len(COLOURS) for (_, before), (_, after) in itertools.pairwise(seen))
    if skipped:
        print(f"frames out of order: {skipped}")
    return [abs(after - at - DURATIONS_MS[number] / 1000) for (at, number), (after, _) in itertools.pairwise(seen)]


Push = Callable[[int], Awaitable[float]]
"""Puts a still on the screen by its number in STILLS; returns when the command for it went out."""


async def from_push_to_glass(screen: XServer, pushes: int, push: Push) -> list[float]:
    """Seconds from the command until the picture is on the screen."""
    took = []
    for number in range(pushes):
        colour = (number + 1) % len(STILLS)
        with screen.sampled(*middle(screen), 1, 1) as samples:
            begun = await push(colour)
            await screen.shows(middle(screen), STILLS[colour])
            await asyncio.sleep(0.02)
        took.append(next(at for at, number in changes(samples, STILLS) if number == colour) - begun)
        await asyncio.sleep(0.1 + 0.01 * (number % 7))
    return took


def pushing(wall: Wall, *, prepared: bool) -> Push:
    """Through the server: an image that has waited for a while, or one that is to be shown as it comes."""

    async def push(number: int) -> float:
        if not prepared:
            return (await wall.send(still(number))).at
        await wall.display.wait_queued(await wall.send(still(number), immediate=False))
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        await wall.server.send_raw(wall.display.device_id, json.dumps({"immediate": True}))
        return begun

    return push


async def bare_change(screen: XServer, folder: Path, pushes: int) -> list[float]:
    """The same in a process that does nothing else, with a file that is there."""
    for number in range(len(STILLS)):
        (folder / f"{number}.png").write_bytes(pixels.encode(Image.new("RGB", pixels.SIZE, STILLS[number]), "PNG"))
    async with plain(screen, sys.executable, "-c", BARE) as process:
        stdin = process.stdin
        assert stdin is not None

        async def push(number: int) -> float:
            begun = time.monotonic()
            stdin.write(f"{folder / str(number)}.png\n".encode())
            return begun

        await push(0)
        await screen.shows(middle(screen), STILLS[0])
        return await from_push_to_glass(screen, pushes, push)


async def rotation(wall: Wall, images: int) -> list[float]:
    """How much later than a second after the one before each image of a rotation comes."""
    await wall.put(pixels.plain("#606060"))
    with wall.screen.sampled(*middle(wall.screen), 1, 1) as samples:
        wall.display.apps = [App(str(number), still(number), 1) for number in range(len(STILLS))]
        since = wall.display.mark()
        wall.server.push(wall.display.device_id, wall.display.apps[-1])
        await wall.display.wait_acks(images + 1, since=since, timeout_s=images * 1.5 + DEADLINE_S)
        wall.display.apps = []
        await asyncio.sleep(0.1)
    return [after - at - 1 for (at, _), (after, _) in itertools.pairwise(changes(samples, STILLS)[1:])]


async def cpu_percent(pids: list[int], seconds: float) -> float:
    """Of one core, all of them together."""
    before = {pid: cpu_s(pid) for pid in pids}
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * sum(cpu_s(pid) - before[pid] for pid in pids) / (time.monotonic() - begun)


# Small change


def processes(wall: Wall) -> list[int]:
    """The daemon and all that it has started."""
    assert wall.agent.process is not None
    return sorted(family(wall.agent.process.pid))


@contextlib.asynccontextmanager
async def plain(screen: XServer, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A player on the screen for as long as the block runs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "DISPLAY": screen.display},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def changes(samples: Samples, colours: list[Colour]) -> list[tuple[float, int]]:
    """When which of these colours came."""
    found: list[tuple[float, int]] = []
    for at, data in samples:
        number = next((n for n, colour in enumerate(colours) if near(data[2::-1], colour)), -1)
        if number >= 0 and (not found or found[-1][1] != number):
            found.append((at, number))
    return found


def still(number: int) -> bytes:
    """A picture of one colour."""
    return pixels.encode(Image.new("RGB", pixels.SIZE, STILLS[number]))


def middle(screen: XServer) -> tuple[int, int]:
    """Of the screen."""
    return screen.width // 2, screen.height // 2


def mean(seconds: list[float]) -> float:
    """0 for none."""
    return statistics.mean(seconds) if seconds else 0.0


def ratio(ours: list[float], peer: list[float]) -> float:
    """Of the medians."""
    return statistics.median(ours) / statistics.median(peer)


def spread(seconds: list[float]) -> str:
    """Median, the worst of 20, and the worst, in ms."""
    ordered = sorted(seconds)
    numbers = (statistics.median(ordered), ordered[int(len(ordered) * 0.95)], ordered[-1])
    return "median {:.1f}, p95 {:.1f}, worst {:.1f} ms".format(*(1000 * value for value in numbers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--pushes", type=int, default=40)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=15)
    given = parser.parse_args()
    width_, height_ = map(int, given.size.split("x"))
    asyncio.run(measure(width_, height_, given.pushes, given.images, given.seconds))
