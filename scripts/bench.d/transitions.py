"""Black frames in 500 transitions of mixed media, sampled from the X screen; the peer is one made on purpose."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import time
from pathlib import Path

from common import Box, box, clip, item, playlist, still

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200), (200, 0, 200), (230, 120, 0), (120, 230, 90)]
DARK = 24
"""All three channels below this count as black; no colour here comes near it."""


async def measure(transitions: int) -> None:
    """Prints the number of black samples (bar: 0) beside how many looks there were."""
    async with box(start=False) as made:
        made.server.offer([playlist(1, [item(made.add(path), duration_s=0.5) for path in media(made.folder)])])
        async with made.agent:
            await made.agent.playing()
            device = await made.server.connected(made.agent.serial)
            await device.wait_for(type="playlist_status", status="ready")
            begun = time.monotonic()
            shown = made.agent.log.count("on screen")
            with made.screen.sampled(made.screen.width // 2, 0, 1, made.screen.height) as samples:
                await made.agent.until(lambda _: made.agent.log.count("on screen") - shown >= transitions, transitions * 2)
            seconds = time.monotonic() - begun
            black = count_black(samples, made)
            caught = await positive_control(made)
    print(
        f"black frames: {black} in {transitions} transitions (bar: 0); {samples.looks} looks,"
        f" {samples.looks / seconds:.0f} a second; a black frame made on purpose was caught: {'yes' if caught else 'NO'}"
    )


def media(folder: Path) -> list[Path]:
    """Images and videos of several sizes and codecs, each of one colour."""
    made: list[Path] = []
    sizes = itertools.cycle([(640, 360), (1280, 720), (1920, 1080), (360, 640)])
    for number, colour in enumerate(COLOURS):
        size = next(sizes)
        match number % 4:
            case 0:
                made.append(still(folder / f"{number}.png", colour, size))
            case 1:
                made.append(clip(folder / f"{number}.mp4", colour, 0.5, size=size))
            case 2:
                made.append(clip(folder / f"{number}.webm", colour, 0.5, size=size, codec="libvpx-vp9"))
            case _:
                made.append(still(folder / f"{number}.jpg", colour, size))
    return made


def count_black(samples: list[tuple[float, bytes]], made: Box) -> int:
    """Distinct looks in which the middle of the column was black."""
    middle = made.screen.height // 2 * 4
    return sum(max(data[middle : middle + 3]) < DARK for _, data in samples)


async def positive_control(made: Box) -> bool:
    """The same eyes on a box whose worker is killed, which leaves the bare X screen for a moment."""
    with made.screen.sampled(made.screen.width // 2, 0, 1, made.screen.height) as samples:
        os.kill(made.agent.worker_pid(), signal.SIGKILL)
        await made.agent.until(lambda status: status["screens"]["front"]["worker_restarts"] == 1)
        await asyncio.sleep(1)
    return count_black(samples, made) > 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transitions", type=int, default=500)
    asyncio.run(measure(parser.parse_args().transitions))
