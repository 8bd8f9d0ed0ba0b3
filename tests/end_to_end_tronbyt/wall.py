"""A wall with a screen, fake servers, and the real agent between them; and what is read off the screen."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.agent_process import AgentProcess
from tests.display import HEIGHT, WIDTH, Samples, XServer
from tests.servers import Hub, SignageServer, SpeakerServer, TronbytServer, pixels
from tests.servers.tronbyt_devices import App, PixelDisplay, Sent
from tests.sound import PrivateSound

SIZE = (64, 36)
"""A picture that leaves no black around it."""
SCALE = 10
CENTRE = (WIDTH // 2, HEIGHT // 2)
DIGITS = (15, 11, 34, 14)
"""Where a picture of this size has its number: left, top, width, height."""
DEVICE_ID = "0a1b2c3d"
DEADLINE_S = 20.0
MOST = 200
"""The largest number that is read off the screen."""
ROUNDED = 2
"""So far may a channel be from what it was in the file."""

Array = NDArray[np.uint8]


@dataclass
class Wall:
    """What hangs there. `agent` may be stopped and started at will; everything ends with the block of `open_wall`."""

    folder: Path
    screen: XServer
    server: TronbytServer
    signage: SignageServer
    speaker: SpeakerServer
    agent: AgentProcess
    tables: str
    """The agent's configuration but for its links."""

    @property
    def display(self) -> PixelDisplay:
        """The screen as the feed's server knows it."""
        return self.server.display(DEVICE_ID)

    async def send(self, image: Image.Image | bytes, *, dwell_secs: Any = 3600, immediate: bool = True, name: str = "") -> Sent:
        """Sends one image beside the rotation."""
        await self.server.connected(DEVICE_ID, DEADLINE_S)
        data = image if isinstance(image, bytes) else await asyncio.to_thread(pixels.encode, image)
        return await self.server.send_image(
            DEVICE_ID, data, dwell_secs=dwell_secs, immediate=immediate, name=name or f"{len(data)} bytes"
        )

    async def put(self, image: Image.Image | bytes, **about: Any) -> Sent:
        """Sends one image, to be shown at once; returns when the agent says that it is."""
        sent = await self.send(image, **about)
        await self.display.wait_displaying(sent, DEADLINE_S)
        return sent

    def rotate(self, numbers: Iterable[int], dwell_secs: int) -> None:
        """Gives the server a rotation of numbered pictures; none stops it."""
        self.display.apps = [App(str(number), encoded(number), dwell_secs) for number in numbers]
        self.display.place = 0
        self.server.hub.changed()

    async def shows(self, picture: Image.Image, deadline_s: float = DEADLINE_S) -> None:
        """Waits until every pixel of the screen is that of the picture, enlarged by whole numbers, in the middle, on black."""
        wanted = enlarged(picture, self.screen)
        await self._wait(lambda: bool(self._off(wanted) <= ROUNDED), f"a picture of {picture.size}", deadline_s)

    async def shows_number(self, number: int, deadline_s: float = DEADLINE_S) -> None:
        """Waits until that numbered picture is on the screen."""
        await self._wait(lambda: self.number() == number, f"number {number}", deadline_s)

    def number(self) -> int | None:
        """The number on the screen now; None: something else is there."""
        x, y, width, height = (SCALE * value for value in DIGITS)
        return number_in(self.screen.raw(x, y, width, height))

    async def front(self) -> dict[str, Any]:
        """The screen's part of `status`."""
        return dict((await self.agent.status())["screens"]["front"])

    def watched(self) -> contextlib.AbstractContextManager[Samples]:
        """Looks at the number on the screen while the block runs."""
        x, y, width, height = (SCALE * value for value in DIGITS)
        return self.screen.sampled(x, y, width, height)

    def _off(self, wanted: Array) -> int:
        return int(np.abs(np.asarray(self.screen.image()).astype(int) - wanted).max())

    async def _wait(self, condition: Callable[[], bool], what: str, deadline_s: float) -> None:
        try:
            await asyncio.to_thread(self.screen.wait, condition, deadline_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; number {self.number()}\n{self.agent.log[-3000:]}") from None


# Pictures that tell which they are


@functools.cache
def encoded(number: int) -> bytes:
    """A numbered picture as a file."""
    return pixels.encode(pixels.numbered(number, SIZE))


def number_in(data: bytes) -> int | None:
    """The number in the pixels of DIGITS as the screen has them; None: no number, or parts of two."""
    _, _, width, height = DIGITS
    whole = np.frombuffer(data, np.uint8).reshape(height * SCALE, width * SCALE, 4)
    picture = whole[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE, 2::-1].astype(np.int16)
    known = _known()
    likely = np.flatnonzero(np.abs(known[:, 0, 0] - picture[0, 0]).max(1) <= ROUNDED)
    return next((int(number) for number in likely if np.abs(known[number] - picture).max() <= ROUNDED), None)


def numbers(samples: Samples) -> list[tuple[float, int]]:
    """When which number came."""
    found: list[tuple[float, int]] = []
    for at, data in samples:
        number = number_in(data)
        if number is not None and (not found or found[-1][1] != number):
            found.append((at, number))
    return found


@functools.cache
def _known() -> NDArray[np.int16]:
    """The part within DIGITS of every numbered picture that can be read."""
    x, y, width, height = DIGITS
    pictures = [np.asarray(pixels.numbered(number, SIZE)) for number in range(MOST + 1)]
    return np.stack(pictures)[:, y : y + height, x : x + width].astype(np.int16)


def enlarged(picture: Image.Image, screen: XServer) -> Array:
    """What the whole screen has to look like."""
    factor = min(screen.width // picture.width, screen.height // picture.height)
    wanted = Image.new("RGB", (screen.width, screen.height))
    large = picture.convert("RGB").resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    wanted.paste(large, ((screen.width - large.width) // 2, (screen.height - large.height) // 2))
    return np.asarray(wanted)


def figure(text: str) -> None:
    """Something measured, for whoever runs the tests with -s, and with a failure."""
    sys.stdout.write(f"FIGURE {text}\n")


def feed_link(server: TronbytServer, device_id: str = DEVICE_ID, **keys: Any) -> dict[str, Any]:
    """The table of a tronbyt link."""
    return {"kind": "tronbyt", "name": "feed", "url": server.device_url(device_id), "spread_s": 0.1, **keys}


@contextlib.asynccontextmanager
async def open_wall(
    folder: Path,
    screen: XServer,
    *,
    sound: PrivateSound | None = None,
    links: Callable[[Wall], Sequence[Mapping[str, Any]]] = lambda wall: [feed_link(wall.server)],
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = ("-m", "agent"),
) -> AsyncIterator[Wall]:
    """A wall with an agent that runs; `links` makes its links' tables."""
    (folder / "sys").mkdir(parents=True, exist_ok=True)
    tables = [
        f'[hardware]\nsysfs = "{folder / "sys"}"\nreboot_command = ["false"]',
        '[brightness]\nbackend = "software"',
        f'[screens.front]\noutput = "x11"\nsound = {str(sound is not None).lower()}',
    ]
    if sound is None:
        tables.append('[audio]\ncard = "none-in-this-test"')
    hub = Hub()
    server, signage, speaker = TronbytServer(hub=hub), SignageServer(hub=hub), SpeakerServer(hub=hub)
    await hub.start()
    try:
        agent = AgentProcess(
            folder,
            environment={"DISPLAY": screen.display, **(sound.environment if sound else {}), **(environment or {})},
            command=command,
        )
        wall = Wall(folder, screen, server, signage, speaker, agent, "\n".join(tables))
        agent.configure([dict(link) for link in links(wall)], wall.tables)
        async with agent:
            yield wall
    finally:
        await hub.stop()
