"""Displays that are off, unplugged, swapped and late: what `status` says, and when the picture is back."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.display import HEIGHT, WIDTH, XServer
from tests.end_to_end.art import BLUE, GREEN, RED, YELLOW, Art, clock_time
from tests.end_to_end.shop import CENTRE, DEADLINE_S, LOAD, Shop, figure, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

BACK_S = 5.0
"""Issue, item 7: from modes appearing, or from the return of the X server, to the picture."""
SETTLED_S = 10.0
"""The longest that systemd waits for READY because of a screen."""


class Connector:
    """A connector in a sysfs made of files."""

    def __init__(self, sysfs: Path, name: str = "HDMI-A-1") -> None:
        self.name = name
        self.folder = sysfs / "class/drm" / f"card1-{name}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def set(self, status: str, modes: str = "", edid: bytes = b"") -> None:
        """What the kernel says of it now."""
        for name, content in (("edid", edid), ("modes", modes.encode()), ("enabled", b"enabled"), ("status", status.encode())):
            part = self.folder / f".{name}"
            part.write_bytes(content + b"\n" * bool(content and name != "edid"))
            part.replace(self.folder / name)

    def plug(self, edid: bytes = b"the first display") -> None:
        """A display with modes."""
        self.set("connected", "1920x1080\n1280x720", edid)


class Supervisor:
    """Stands in for systemd: what the daemon notifies it of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))
        self.said: list[str] = []

    async def hears(self, words: str, deadline_s: float = DEADLINE_S) -> None:
        """Waits until the daemon has said this."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline_s):
                while not any(words in line for line in self.said):
                    self.said += (await loop.sock_recv(self.socket, 4096)).decode().splitlines()
        except TimeoutError:
            raise AssertionError(f"{words!r} not within {deadline_s:g} s, but {self.said}") from None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, display: XServer) -> AsyncIterator[Shop]:
    """An agent on an X server whose machine has one connector, with a display on it."""
    folder = tmp_path_factory.mktemp("shop")
    Connector(folder / "sys").plug()
    async with open_shop(folder, display) as shop:
        yield shop


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def beside(tmp_path_factory: pytest.TempPathFactory, art: Art, shop: Shop) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Stories of boxes of their own, begun together with the module's: they mostly wait."""
    tasks = {
        story.__name__: asyncio.create_task(story(tmp_path_factory.mktemp("box"), art), name=story.__name__)
        for story in (x_server_goes_and_returns, connector_without_display)
    }
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.wait(tasks.values())


@pytest.fixture
def connector(shop: Shop) -> Connector:
    """The connector of the module's shop, with its display on."""
    made = Connector(shop.folder / "sys")
    made.plug()
    return made


def down(words: str) -> Any:
    """Whether a status says that the screen is down for this cause."""
    return lambda status: status["screens"]["front"]["state"] == "down" and words in (status["screens"]["front"]["cause"] or "")


async def film_is_at(shop: Shop, deadline_s: float = DEADLINE_S) -> float:
    """Waits until the clock film is on the screen; where it is."""
    await asyncio.to_thread(shop.screen.wait, lambda: clock_time(shop.screen.pixel(*CENTRE)) is not None, deadline_s, "the film")
    seconds = clock_time(shop.screen.pixel(*CENTRE))
    assert seconds is not None
    return seconds


async def test_display_goes_and_comes_back(
    shop: Shop, art: Art, connector: Connector, beside: dict[str, asyncio.Task[None]]
) -> None:
    """Unplugged: down with the cause, the film stands still; connected without modes: still down; with modes: on at its place."""
    await shop.put([shop.item(art.clock())])
    await asyncio.to_thread(shop.screen.wait, lambda: (clock_time(shop.screen.pixel(*CENTRE)) or 0) > 0.8, DEADLINE_S)
    restarts = (await shop.front())["worker_restarts"]
    before_s = await film_is_at(shop)
    connector.set("disconnected")
    status = await shop.agent.until(down("no display is connected (HDMI-A-1)"))
    went_s = status["screens"]["front"]["position_s"]
    assert status["links"][0]["state"] == "connected"
    connector.set("connected")
    await shop.agent.until(down("the display on HDMI-A-1 offers no modes yet"))
    await asyncio.sleep(0.5)
    assert (await shop.front())["position_s"] == went_s, "a film that nobody sees does not run"
    connector.plug()
    begun = time.monotonic()
    after_s = await film_is_at(shop)
    took_s = time.monotonic() - begun
    figure(f"back {took_s:.2f} s after modes appeared; film at {before_s:.1f}, stood at {went_s}, is at {after_s:.1f} s")
    assert took_s < BACK_S * LOAD
    assert went_s - 0.3 <= after_s <= went_s + 1.0
    front = (await shop.agent.playing())["screens"]["front"]
    assert front["cause"] is None
    assert front["worker_restarts"] == restarts + 1


async def test_another_display_is_opened_anew(shop: Shop, art: Art, connector: Connector) -> None:
    """A display with another EDID between two looks: the output is opened again, the same item is on."""
    await shop.put([shop.item(art.image(RED)), shop.item(art.image(GREEN))])
    await shop.send("next")
    await shop.shows(GREEN)
    restarts = (await shop.front())["worker_restarts"]
    connector.plug(b"another display")
    status = await shop.agent.until(
        lambda status: (
            status["screens"]["front"]["worker_restarts"] == restarts + 1 and status["screens"]["front"]["state"] == "playing"
        )
    )
    assert status["screens"]["front"]["media_index"] == 1
    assert "another display was connected" in shop.agent.log
    await shop.shows(GREEN)


async def test_x_server_goes_and_returns(beside: dict[str, asyncio.Task[None]]) -> None:
    """The X server dies: down, said why, commands and downloads go on; it returns: the picture is back at its place."""
    await beside["x_server_goes_and_returns"]


async def x_server_goes_and_returns(tmp_path: Path, art: Art) -> None:
    """See the test."""
    screen = XServer(WIDTH, HEIGHT)
    with screen:
        async with open_shop(tmp_path, screen) as shop:
            await shop.put([shop.item(art.clock())])
            await asyncio.to_thread(screen.wait, lambda: (clock_time(screen.pixel(*CENTRE)) or 0) > 1.5, DEADLINE_S)
            await asyncio.to_thread(screen.stop)
            went_s = (await shop.agent.until(down("")))["screens"]["front"]["position_s"]
            await shop.send("set_volume", volume=44)
            more = shop.playlist([shop.item(art.image(YELLOW))])
            shop.server.offer([*shop.offered, more])
            await shop.send("reload_playlist")
            await shop.says("ready", more["id"])
            assert (await shop.agent.status())["volume"]["percent"] == 44
            await asyncio.sleep(1.0)
            await asyncio.to_thread(screen.start)
            begun = time.monotonic()
            after_s = await film_is_at(shop)
            took_s = time.monotonic() - begun
            figure(f"back {took_s:.2f} s after the X server; the film stood at {went_s} and is at {after_s:.1f} s")
            assert took_s < BACK_S * LOAD
            assert went_s - 0.3 <= after_s <= went_s + 1.0
            assert shop.agent.log.count("screen is down") <= 4, "said once for each cause"


async def test_start_while_the_display_is_off(tmp_path: Path, art: Art) -> None:
    """Nothing to show on: READY all the same, the link connects, playlists download; the display comes: the picture, too."""
    supervisor = Supervisor(tmp_path / "notify")
    screen = XServer(WIDTH, HEIGHT)
    with screen:
        screen.stop()
        environment = {"NOTIFY_SOCKET": str(supervisor.path)}
        async with open_shop(tmp_path / "box", screen, environment=environment, start=False) as shop:
            made = shop.playlist([shop.item(art.image(BLUE))])
            shop.server.offer([made])
            begun = time.monotonic()
            await shop.agent.start()
            await supervisor.hears("READY=1", SETTLED_S * LOAD)
            figure(f"READY {time.monotonic() - begun:.2f} s after the start, without a display")
            await supervisor.hears("STATUS=front: down (")
            await shop.says("ready", made["id"])
            status = await shop.agent.until(down(""))
            assert status["links"][0]["state"] == "connected"
            await asyncio.to_thread(screen.start)
            begun = time.monotonic()
            await shop.shows(BLUE)
            figure(f"first picture {time.monotonic() - begun:.2f} s after the X server came")
            await supervisor.hears("STATUS=front: playing blue")
            await shop.agent.stop()
            await supervisor.hears("STOPPING=1")


async def test_connector_without_display_at_the_start(beside: dict[str, asyncio.Task[None]]) -> None:
    """A drm output whose TV is off: down with the cause at once, READY, downloads; what comes later is tried, again and again."""
    await beside["connector_without_display"]


async def connector_without_display(tmp_path: Path, art: Art) -> None:
    """See the test."""
    supervisor = Supervisor(tmp_path / "notify")
    connector = Connector(tmp_path / "box/sys")
    connector.set("disconnected")
    screen = XServer(WIDTH, HEIGHT)  # not started: nothing but the connector is there
    environment = {"NOTIFY_SOCKET": str(supervisor.path), "DISPLAY": ""}
    async with open_shop(tmp_path / "box", screen, environment=environment, start=False) as shop:
        text = shop.agent.config.read_text().replace('output = "x11"', 'output = "drm:HDMI-A-1"')
        shop.agent.config.write_text(text)
        made = shop.playlist([shop.item(art.image(RED))])
        shop.server.offer([made])
        begun = time.monotonic()
        await shop.agent.start()
        await supervisor.hears("READY=1", 5.0)
        figure(f"READY {time.monotonic() - begun:.2f} s after the start, nothing plugged in")
        await shop.agent.until(down("no display is connected to HDMI-A-1"))
        await shop.says("ready", made["id"])
        connector.set("connected")
        await shop.agent.until(down("the display on HDMI-A-1 offers no modes yet"))
        connector.plug()
        status = await shop.agent.until(
            lambda status: status["screens"]["front"]["cause"] not in (None, "the display on HDMI-A-1 offers no modes yet")
        )
        assert status["screens"]["front"]["state"] == "down", "there is no card behind these files"
        assert len(shop.agent.log.splitlines()) < 60, shop.agent.log
