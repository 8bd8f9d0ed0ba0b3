"""The process of the camera: `python -m agent.camera.worker`, started by the daemon for the first viewer.

Ends when the daemon hangs up, on SIGTERM, or when the camera hangs and only a new process helps.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from agent.camera.backlog import Backlog
from agent.camera.messages import TO_WORKER
from agent.system import logs
from agent.system.heap import limit_arenas
from agent.system.wire import Done, Ping
from agent.system.worker import Channel, open_channel

log = logging.getLogger(__name__)

CLOSE_S = 0.4
"""For the viewers to be told."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a worker and exits: with 0 when it was ended, with 1 when it gave up."""
    options = _parser().parse_args(arguments)
    logs.setup(os.environ.get("DBG", "info"))
    limit_arenas(2)
    asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> NoReturn:
    channel = await open_channel(TO_WORKER)
    ending = asyncio.Event()
    hangs = asyncio.Event()

    def give_up() -> None:
        log.error("the camera hangs; its process is given up source=%s", options.source)
        hangs.set()
        ending.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    work = asyncio.create_task(_serve(channel, options, give_up), name="camera: serves")
    waiting = asyncio.create_task(ending.wait(), name="camera: waits for its end")
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    failed = work.done() and work.exception() is not None
    if failed:
        log.error("the camera's process breaks off", exc_info=work.exception())
    work.cancel()
    # Viewers are told as long as there is time; a camera or a name server that hangs must not hold up the end.
    await asyncio.wait({work}, timeout=CLOSE_S)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S / 4):
            await channel.close()
    os._exit(1 if failed or hangs.is_set() else 0)


async def _serve(channel: Channel, options: argparse.Namespace, on_stuck: Callable[[], None]) -> None:
    """Until the daemon hangs up. Its pings are answered while the libraries still load; everything else waits."""
    orders, news = Backlog(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        obeying = group.create_task(_obey(orders, news, channel, options, on_stuck), name="camera: obeys")
        async for message, request_id in channel.messages():
            if isinstance(message, Ping):
                channel.send(Done(), request_id=request_id)
            else:
                orders.put(message)
                news.set()
        obeying.cancel()


async def _obey(
    orders: Backlog, news: asyncio.Event, channel: Channel, options: argparse.Namespace, on_stuck: Callable[[], None]
) -> NoReturn:
    loaded = await asyncio.to_thread(_load)
    async with asyncio.TaskGroup() as group:
        sessions = loaded.Sessions(
            group,
            options.source,
            loaded.Picture(options.width, options.height, options.framerate),
            options.bitrate,
            say=channel.send,
            on_stuck=on_stuck,
        )
        while True:
            await news.wait()
            news.clear()
            for message in orders.take():
                sessions.take(message)


def _load() -> Any:
    """Loads what the sessions need, in a thread: the daemon's pings are answered meanwhile."""
    gc.disable()
    try:
        return importlib.import_module("agent.camera.sessions")
    finally:
        gc.freeze()
        gc.enable()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent.camera.worker", description="Shows the camera to viewers through WebRTC.")
    parser.add_argument("--source", default="auto", help="auto, picamera2, v4l2:DEVICE, test or none")
    parser.add_argument("--width", type=int, default=1280, help="pixels")
    parser.add_argument("--height", type=int, default=720, help="pixels")
    parser.add_argument("--framerate", type=int, default=30, help="frames per second")
    parser.add_argument("--bitrate", type=int, default=2_500_000, help="bits per second")
    return parser


if __name__ == "__main__":
    main()
