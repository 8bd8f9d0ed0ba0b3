"""From a WebSocket frame to the changed mpv property, against a bare property change plus a bare WebSocket round trip."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from common import box, clip, item, playlist
from websockets.asyncio.client import connect

HOOK = """
import os, sys

if "agent.screen.worker" in sys.orig_argv:
    import mpv

    made = mpv.MPV.__init__

    def init(self, *arguments, **options):
        if options.get("vo") != "null":
            options["input_ipc_server"] = os.environ["BENCH_IPC"]
        made(self, *arguments, **options)

    mpv.MPV.__init__ = init
"""
PAUSE, PLAY = json.dumps({"action": "pause"}), json.dumps({"action": "play"})
BARE = """
import sys, mpv
player = mpv.MPV(vo="gpu", gpu_sw="yes", ao="null", config="no", input_ipc_server=sys.argv[2], loop_file="inf", fullscreen="yes")
player.play(sys.argv[1]); player.wait_until_playing()
print("ready", flush=True)
for line in sys.stdin:
    player.pause = line.strip() == "1"
"""
ECHO = """
import asyncio
from websockets.asyncio.server import serve

async def echo(socket):
    async for frame in socket:
        await socket.send(frame)

async def main():
    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.wait_closed()

asyncio.run(main())
"""


class Watcher:
    """Sees the property `pause` of a player from outside, through its own IPC socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def at(cls, path: Path) -> Watcher:
        """Connects as soon as the socket is there."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(str(path))
                break
            await asyncio.sleep(0.05)
        watcher = cls(reader, writer)
        writer.write(b'{"command":["observe_property",1,"pause"]}\n')
        await watcher.value(False)
        return watcher

    async def value(self, wanted: bool) -> float:
        """Waits until `pause` has this value; the monotonic time of the news."""
        async with asyncio.timeout(10):
            while True:
                event = json.loads(await self._reader.readline())
                if event.get("event") == "property-change" and event.get("data") is wanted:
                    return time.monotonic()


async def measure(rounds: int) -> None:
    """Prints the ratio of medians (bar: 2)."""
    async with box(start=False) as made:
        hooks = made.folder / "hooks"
        hooks.mkdir()
        (hooks / "sitecustomize.py").write_text(HOOK)
        path = clip(made.folder / "a.mp4", seconds=60)
        made.server.offer([playlist(1, [item(made.add(path))])])
        bare = await bare_change(made.folder, made.screen.display, path, rounds)
        trip = await round_trip(rounds)
        ipc = made.folder / "ours.sock"
        made.agent.environment |= {"PYTHONPATH": f"{hooks}:{os.environ.get('PYTHONPATH', '')}", "BENCH_IPC": str(ipc)}
        async with made.agent:
            await made.agent.playing("a.mp4")
            await made.server.connected(made.agent.serial)
            watcher = await Watcher.at(ipc)
            ours = await times(watcher, rounds, lambda on: made.server.send_raw(made.agent.serial, PAUSE if on else PLAY))
    print(
        f"frame to property vs bare property change + bare round trip: ratio={ours / (bare + trip):.2f}"
        f" (ours {ours * 1000:.2f} ms, peer {bare * 1000:.2f} + {trip * 1000:.2f} ms, bar: 2)"
    )


async def times(watcher: Watcher, rounds: int, set_pause: Callable[[bool], Awaitable[object]]) -> float:
    """Median seconds from the command to the changed property."""
    taken = []
    for round_ in range(rounds):
        on = round_ % 2 == 0
        begun = time.monotonic()
        await set_pause(on)
        taken.append(await watcher.value(on) - begun)
        await asyncio.sleep(0.02)
    return statistics.median(taken)


async def bare_change(folder: Path, display: str, path: Path, rounds: int) -> float:
    """A property change in a process that does nothing else."""
    ipc = folder / "bare.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BARE, str(path), str(ipc),
        env={**os.environ, "DISPLAY": display}, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()
    watcher = await Watcher.at(ipc)

    async def set_pause(on: bool) -> None:
        assert process.stdin is not None
        process.stdin.write(b"1\n" if on else b"0\n")

    taken = await times(watcher, rounds, set_pause)
    process.kill()
    await process.wait()
    return taken


async def round_trip(rounds: int) -> float:
    """Median seconds of an echo by another process over loopback."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ECHO, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    taken = []
    async with connect(f"ws://127.0.0.1:{port}", compression=None) as socket:
        for _ in range(rounds):
            begun = time.monotonic()
            await socket.send(PAUSE)
            await socket.recv()
            taken.append(time.monotonic() - begun)
            await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    return statistics.median(taken)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    asyncio.run(measure(parser.parse_args().rounds))
