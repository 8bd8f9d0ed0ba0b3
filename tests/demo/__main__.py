"""The demo from an empty stage to the verdict; started by scripts/demo."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import signal
import sys
import time
from pathlib import Path

from tests.demo import DIRECTORY, DemoError, say
from tests.demo.children import Children
from tests.demo.feed import Feed
from tests.demo.film import Film
from tests.demo.surroundings import (
    CONFIGURATION,
    MEDIA,
    PLAYLIST_LINK,
    clear,
    environment,
    start_screen,
    start_server,
    start_sound,
    write_configuration,
)
from tests.demo.watch import Watch, agent, take_screenshot
from tests.servers.make_media import make_media

PORT = 8800


def main() -> int:
    """Runs until --seconds have passed or a signal comes; the exit status."""
    options = _options()
    DIRECTORY.mkdir(exist_ok=True)
    with (DIRECTORY / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another demo runs in this checkout")
            return 1
        try:
            return asyncio.run(_run(options))
        except* (DemoError, RuntimeError) as group:
            for error in group.exceptions:
                say(str(error))
        return 1


async def _run(options: argparse.Namespace) -> int:
    """The story, cut short by SIGINT and SIGTERM; nothing that was started is left."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    clear()
    children = Children(environment())
    story = asyncio.create_task(_story(options, children), name="demo")
    signalled = asyncio.create_task(stopped.wait(), name="signal")
    try:
        await asyncio.wait({story, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if story.done():
            return story.result()
        say("ending")
        return 0 if options.seconds is None else 1
    finally:
        signalled.cancel()
        story.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await story
        await children.end()


async def _story(options: argparse.Namespace, children: Children) -> int:
    await asyncio.to_thread(make_media, MEDIA, lambda line: say(f"made {line}"))
    address = await start_server(children, options.port)
    output = await start_screen(children)
    control = await start_sound(children)
    write_configuration(address, output, control)
    feed = Feed(address, PLAYLIST_LINK, seconds=options.seconds)
    film = Film(address, PLAYLIST_LINK, seconds=options.seconds)
    await feed.prepare()
    await children.start("agent", agent("run", "--config", str(CONFIGURATION)))
    started = time.monotonic()
    film.begin(options.seconds)
    host = address.rpartition("/")[2]
    say(f"console: {address}/   (seen from elsewhere: ssh -L {host.rpartition(':')[2]}:{host} THIS-MACHINE)")
    say("logs: .demo/agent.log .demo/server.log" + ("" if options.seconds else "; Ctrl-C ends the demo"))

    watch = Watch(address, feed, film)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(watch.follow_server(), name="follow server")
        looking = tasks.create_task(watch.follow_agent(), name="follow agent")
        acts = [tasks.create_task(act.play(watch.presented), name=type(act).__name__) for act in (feed, film)]
        await _until_end(options, children, watch, started)
        looking.cancel()
        for act in acts:
            act.cancel()
        faults = await watch.faults(options.screenshot or DIRECTORY / "screenshot.png")
        following.cancel()
    for fault in faults:
        say(f"not as it should be: {fault}")
    if faults:
        say("the last lines of .demo/agent.log:\n" + "\n".join(children.last_lines("agent", 25)))
        return 1
    say(f"all is well: a playlist is ready, and its pictures are on the screen (after {time.monotonic() - started:.0f} s)")
    if feed.acts:
        say("the pixel feed came over the playlist and handed the screen back")
    if film.acts:
        say("the film was seen coming, played once over the playlist, and the playlist went on where it was")
    return 0


async def _until_end(options: argparse.Namespace, children: Children, watch: Watch, started: float) -> None:
    """Returns after --seconds; without, never. Raises DemoError if a child ends before."""
    ended = asyncio.create_task(children.first_end(), name="first end")
    try:
        if options.seconds is None and options.screenshot is not None:
            await asyncio.wait({ended, asyncio.ensure_future(watch.presented.wait())}, return_when=asyncio.FIRST_COMPLETED)
            for fault in await take_screenshot(options.screenshot) if not ended.done() else []:
                say(fault)
        left = None if options.seconds is None else max(1.0, options.seconds - (time.monotonic() - started))
        await asyncio.wait({ended}, timeout=left)
        if ended.done():
            raise DemoError(children.why_ended(ended.result()))
    finally:
        ended.cancel()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--screenshot", type=Path)
    parser.add_argument("--port", type=int, default=PORT)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
