"""A worker on a private X server, as the daemon would drive it."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agent.screen.messages import FROM_WORKER, Ready, Scene, Screenshot, Shot, Started
from agent.system.child import CHANNEL_VARIABLE
from agent.system.wire import MAX_LINE_BYTES, Done, Ping, decode, encode
from tests.display import XServer, clip, still

Message = TypeVar("Message")


class Bench:
    """One worker process and everything it says."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self.heard: list[Any] = []
        self.scene = Scene()
        self._reader = reader
        self._writer = writer
        self._tokens = itertools.count(1)
        self._ids = itertools.count(1)
        self._answers: dict[int, Done] = {}
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(), name="hears the worker")

    async def _read(self) -> None:
        while line := await self._reader.readline():
            message, request_id = decode(line, FROM_WORKER)
            if request_id is not None:
                self._answers[request_id] = message
            else:
                self.heard.append(message)
            async with self._news:
                self._news.notify_all()

    def shot(self, path: Path | str, kind: str = "", **fields: Any) -> Shot:
        """A new showing of a file."""
        path = str(path)
        image = path.endswith((".png", ".jpg", ".webp", ".gif"))
        return Shot(next(self._tokens), path, kind or ("image" if image else "video"), **fields)  # type: ignore[arg-type]

    def put(self, **fields: Any) -> None:
        """Changes the scene and sends it."""
        self.scene = replace(self.scene, **fields)
        self._writer.write(encode(self.scene))

    def all(self, kind: type[Message]) -> list[Message]:
        """Everything of this kind it has said so far."""
        return [message for message in self.heard if isinstance(message, kind)]

    async def until(self, condition: Callable[[], bool], deadline_s: float = 15.0) -> None:
        """Waits until `condition` holds; looked at whenever the worker says something."""
        try:
            async with asyncio.timeout(deadline_s), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"waited {deadline_s:g} s; heard {self.heard}") from None

    async def says(self, kind: type[Message], token: int | None = None, deadline_s: float = 15.0) -> Message:
        """Waits for a message of this kind, about this shot."""

        def found() -> list[Message]:
            return [message for message in self.all(kind) if token is None or getattr(message, "token", None) == token]

        await self.until(lambda: bool(found()), deadline_s)
        return found()[0]

    async def show(self, shot: Shot, **fields: Any) -> Started:
        """Puts a shot on the screen and waits until it is there."""
        self.put(shot=shot, **fields)
        return await self.says(Started, shot.token)

    async def ask(self, message: Ping | Screenshot, deadline_s: float = 10.0) -> Done:
        """A request and its answer."""
        request_id = next(self._ids)
        self._writer.write(encode(message, request_id=request_id))
        await self.until(lambda: request_id in self._answers, deadline_s)
        return self._answers[request_id]

    async def close(self) -> int:
        """Hangs up and waits for the end."""
        self._writer.close()
        try:
            async with asyncio.timeout(3):
                code = await self.process.wait()
        except TimeoutError:
            self.process.kill()
            raise AssertionError("the worker does not end when the daemon hangs up") from None
        finally:
            self._reading.cancel()
        return code


class Stand:
    """Starts workers; ends them with the test."""

    def __init__(self, server: XServer) -> None:
        self.server = server
        self._benches: list[Bench] = []

    async def worker(self, *arguments: str, output: str = "x11", server: XServer | None = None, ready: bool = True) -> Bench:
        """A worker, presenting unless `ready` is false."""
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "DISPLAY": (server or self.server).display, CHANNEL_VARIABLE: str(theirs.fileno())}
        environment.pop("WAYLAND_DISPLAY", None)
        argv = ["-m", "agent.screen.worker", "--output", output, "--name", "test", "--no-sound", *arguments]
        process = await asyncio.create_subprocess_exec(sys.executable, *argv, env=environment, pass_fds=[theirs.fileno()])
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES + 1)
        bench = Bench(process, reader, writer)
        self._benches.append(bench)
        if ready:
            await bench.says(Ready)
        return bench

    async def close(self) -> None:
        """Ends every worker that still runs."""
        for bench in self._benches:
            if bench.process.returncode is None:
                await bench.close()


@pytest.fixture(scope="session")
def xserver() -> Iterator[XServer]:
    """A screen of 1280 x 720 for all tests of this room."""
    with XServer(1280, 720) as server:
        yield server


@pytest.fixture
async def stand(xserver: XServer) -> AsyncIterator[Stand]:
    """Where a test gets its workers."""
    stand = Stand(xserver)
    yield stand
    await stand.close()


RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


@dataclass(frozen=True)
class Media:
    """Files of one colour each, in several sizes and formats."""

    red_png: Path
    green_jpg: Path
    blue_webp: Path
    red_mp4: Path
    """1 s, with sound."""
    green_mp4: Path
    """0.5 s, 1920x1080."""
    blue_webm: Path
    """0.5 s, 25 frames a second."""
    yellow_mp4: Path
    """0.4 s, portrait."""
    long_mp4: Path
    """10 s: the first five blue, then green."""


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Made once."""
    folder = tmp_path_factory.mktemp("media")
    halves = "color=c=blue:s=640x360:r=30:d=5[a];color=c=lime:s=640x360:r=30:d=5[b];[a][b]concat"
    jobs: list[Callable[[], Path]] = [
        lambda: still(folder / "red.png", RED),
        lambda: still(folder / "green.jpg", GREEN, (1920, 1080)),
        lambda: still(folder / "blue.webp", BLUE, (300, 700)),
        lambda: clip(folder / "red.mp4", RED, 1.0, sound=True),
        lambda: clip(folder / "green.mp4", GREEN, 0.5, size=(1920, 1080)),
        lambda: clip(folder / "blue.webm", BLUE, 0.5, rate=25, codec="libvpx"),
        lambda: clip(folder / "yellow.mp4", YELLOW, 0.4, size=(360, 640)),
        lambda: clip(folder / "long.mp4", seconds=10, source=halves),
    ]
    with ThreadPoolExecutor(2) as pool:
        return Media(*pool.map(lambda job: job(), jobs))
