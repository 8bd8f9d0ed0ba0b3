"""From the start of the agent to the first picture, offline from a warm store, against plain `mpv FILE`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import time

from common import Box, box, clip, item, playlist

GREEN = (0, 255, 0)
CENTRE = (640, 360)


async def measure(rounds: int) -> None:
    """Prints the ratio of medians (bar: 3)."""
    async with box(start=False) as made:
        path = clip(made.folder / "green.mp4", GREEN, seconds=20)
        made.server.offer([playlist(1, [item(made.add(path))])])
        async with made.agent:
            await made.agent.playing("green.mp4")
            device = await made.server.connected(made.agent.serial)
            await device.wait_for(type="playlist_status", status="ready")
        await made.server.stop()
        ours, peer = [], []
        for _ in range(rounds):
            ours.append(await first_picture(made, [sys.executable, "-m", "agent", "run", "--config", str(made.agent.config)]))
            peer.append(
                await first_picture(made, ["mpv", "--no-config", "--vo=gpu", "--gpu-sw=yes", "--fs", "--ao=null", str(path)])
            )
    mine, theirs = statistics.median(ours), statistics.median(peer)
    print(f"first picture vs plain mpv: ratio={mine / theirs:.2f} (ours {mine:.2f} s, peer {theirs:.2f} s, bar: 3)")


async def first_picture(made: Box, command: list[str]) -> float:
    """Seconds from the start of `command` until the middle of the screen is green."""
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "DISPLAY": made.screen.display},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await made.screen.shows(CENTRE, GREEN, 30)
        return time.monotonic() - begun
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await asyncio.to_thread(made.screen.wait, lambda: made.screen.pixel(*CENTRE) != GREEN)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    asyncio.run(measure(parser.parse_args().rounds))
