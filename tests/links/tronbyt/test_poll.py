"""Images fetched one by one (tronbyt contract, section 4)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from pathlib import Path

import pytest

from tests.box import until
from tests.links.tronbyt.conftest import MakeLink
from tests.links.tronbyt.standins import DEVICE_ID, StandInBox, webp
from tests.servers.tronbyt import TronbytServer
from tests.servers.tronbyt_devices import App

PATH = f"/{DEVICE_ID}/next"


@pytest.fixture(autouse=True)
def _rotation(server: TronbytServer) -> None:
    server.display(DEVICE_ID).apps = [App(f"app {number}", webp(f"app {number}"), 1) for number in range(1, 4)]


async def test_a_rotation(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Each image is fetched shortly before its turn and has its time; no socket is opened, nothing is acknowledged."""
    starts: list[float] = []
    box.front.on_change(lambda: starts.append(time.monotonic()) if len(box.front.numbers) > len(starts) else None)
    async with make_link(mode="poll", poll_least_s=0.05) as link:
        display = server.display(DEVICE_ID)
        await until(lambda: len(box.front.numbers) >= 4)
        assert link.state == "connected"
        assert [sent.name for sent in display.sent[:4]] == ["app 1", "app 2", "app 3", "app 1"]
        assert all(after - before >= 0.99 for before, after in itertools.pairwise(starts))
        assert len(display.sent) <= len(box.front.numbers) + 1
        assert (display.connections, display.messages, display.complaints) == (0, [], [])
    assert {request.path for request in server.requests} == {PATH}


async def test_headers(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Dwell and brightness are taken from there."""
    display = server.display(DEVICE_ID)
    display.brightness = 40
    display.apps = [App("long", webp("long"), 1000)]
    async with make_link(mode="poll", poll_least_s=0.05, lead_s=999.8) as link:
        await until(lambda: box.front.number == 1)
        assert link._orders.dwell_s == 1000
        assert box.front.scene.dim_percent == 60


async def test_immediate(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Is shown when it is fetched, although the one before has not had its time."""
    display = server.display(DEVICE_ID)
    display.apps = [App("first", webp("first"), 6)]
    async with make_link(mode="poll", poll_least_s=0.05, lead_s=100) as link:
        await until(lambda: box.front.number == 1)
        turn_over = time.monotonic() + 6
        server.push(DEVICE_ID, App("push", webp("push"), 1000))
        await until(lambda: box.front.number == 2)
        assert time.monotonic() < turn_over
        assert link.state == "connected"


async def test_the_key(server: TronbytServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """A bearer, or in the address; a wrong one is refused, tried slowly and told to nobody."""
    server.key = "hush-hush-1"
    with caplog.at_level(logging.DEBUG):
        async with make_link(mode="poll", key="hush-hush-1") as link:
            await until(lambda: box.front.number > 0)
        link.leave()
        async with make_link(mode="poll", url=f"{server.device_url(DEVICE_ID)}?key=hush-hush-1") as link:
            await until(lambda: box.front.number > 0)
        link.leave()
        async with make_link(mode="poll", url=f"{server.device_url(DEVICE_ID)}?key=hush-wrong") as link:
            await until(lambda: link.state == "refused")
            before = len(server.requests)
            assert "HTTP 401" in link.last_error
            await asyncio.sleep(0.2)
            assert len(server.requests) == before
    assert "hush" not in caplog.text + link.last_error


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_refusals(server: TronbytServer, box: StandInBox, make_link: MakeLink, status: int) -> None:
    """Reported with what to do, retried slowly, never given up."""
    server.fault(PATH, status=status)
    async with make_link(mode="poll") as link:
        await until(lambda: link.state == "refused")
        assert f"HTTP {status}" in link.last_error
        assert "check the device's id" in link.last_error
        server.clear_faults()
        link.hurry()
        await until(lambda: box.front.number == 1)
        assert (link.state, link.last_error) == ("connected", "")


async def test_trouble(server: TronbytServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """Errors of the server and the network are tried again with back-off, the picture stays; all is well afterwards."""
    server.fault(PATH, times=2, status=500, skip=1)
    server.fault(PATH, times=2, drop=True, skip=1)
    async with make_link(mode="poll", poll_least_s=0.05, offline_mark=True) as link:
        await until(lambda: box.front.scene.mark and box.front.number == 1)
        await until(lambda: len(box.front.numbers) == 2)
        assert not box.front.scene.mark
        assert link.state == "connected"


async def test_a_server_that_does_not_answer(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Is given up after a while, also in the middle of an image."""
    for fault in ({"delay_s": 5.0}, {"delay_s": 5.0}):
        server.fault(PATH, times=1, **fault)
    async with make_link(mode="poll", request_s=0.3) as link:
        await until(lambda: "no image within 0.3 s" in link.last_error)
        await until(lambda: box.front.number == 1)


async def test_hold(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """The screen is given away that long after the server was last there."""
    async with make_link(mode="poll", poll_least_s=0.05, hold_s=0.5):
        await until(lambda: box.front.number == 1)
        server.leave(DEVICE_ID)
        await until(lambda: box.front.scene.shot is None)
        server.leave(DEVICE_ID, value=False)
        await until(lambda: box.front.number > 1)


async def test_too_large(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Is not read to its end; the picture stays and the next one comes a second later."""
    display = server.display(DEVICE_ID)
    display.apps = [App("small", webp("1"), 1), App("huge", webp("x" * 30_000_000), 1000), App("small", webp("3"), 1)]
    async with make_link(mode="poll", poll_least_s=0.05):
        await until(lambda: box.front.numbers == [1, 3])


async def test_no_image(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """An empty body is none, nor a reason to hurry."""
    server.fault(PATH, times=2, body="", status=200)
    server.fault(PATH, times=1, status=204, skip=2)
    async with make_link(mode="poll", poll_least_s=0.01) as link:
        link._orders.dwell_s = 0.2
        begun = time.monotonic()
        await until(lambda: box.front.numbers == [1])
        assert time.monotonic() - begun >= 0.59
        assert len(server.requests) == 4


async def test_redirects_at_home(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Are followed, with the key, but not for ever."""
    server.key = "hush-hush-1"
    server.fault(PATH, times=1, redirect_to=f"{server.url}/{DEVICE_ID}/next?again=1")
    async with make_link(mode="poll", key="hush-hush-1") as link:
        await until(lambda: box.front.number == 1)
    link.leave()
    server.fault(PATH, redirect_to=f"{server.url}{PATH}")
    async with make_link(mode="poll", key="hush-hush-1") as link:
        await until(lambda: "more than 3 redirects" in link.last_error)


async def test_redirects_elsewhere(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Are not followed, and the key is not taken there."""
    server.fault(PATH, redirect_to=f"{server.foreign_url}/x/next")
    async with make_link(mode="poll", key="hush-hush-1") as link:
        await until(lambda: "redirects to another one, which is not followed" in link.last_error)
    assert {request.path for request in server.requests} == {PATH}
    assert not any(request.foreign for request in server.requests)


async def test_not_next_to_a_socket(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """While a link of this agent has a socket for the same device, nothing is polled."""
    display = server.display(DEVICE_ID)
    async with make_link():
        await server.connected(DEVICE_ID)
        async with make_link(mode="poll", screen="rear") as polling:
            await until(lambda: "WebSocket open for the same device" in polling.last_error)
            assert display.polls == []
    async with make_link(mode="poll", screen="rear"):
        await until(lambda: bool(display.polls))
    assert display.complaints == []


async def test_bad_images(server: TronbytServer, box: StandInBox, make_link: MakeLink, tmp_path: Path) -> None:
    """Have their turn, a second long."""
    del tmp_path
    display = server.display(DEVICE_ID)
    display.apps = [App("1", webp("1"), 1), App("2", webp("broken"), 1000), App("3", b"<html>", 1000), App("4", webp("4"), 1)]
    async with make_link(mode="poll", poll_least_s=0.05):
        await until(lambda: box.front.numbers == [1, 4])
        assert display.complaints == []
