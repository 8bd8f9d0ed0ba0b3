"""The control socket, spoken to with real HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.control.controlled import CommandError
from agent.control.server import ControlError, ControlServer
from tests.control.conftest import PICTURE, StandIn


@pytest.fixture
async def http(socket_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession("http://agent", connector=aiohttp.UnixConnector(str(socket_path))) as session:
        yield session


async def _until(condition: Any, deadline_s: float = 5.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_status(http: aiohttp.ClientSession, stand_in: StandIn) -> None:
    """The document comes as the daemon gives it."""
    async with http.get("/status") as response:
        assert response.status == 200
        assert await response.json() == stand_in.document


async def test_watch(http: aiohttp.ClientSession, stand_in: StandIn) -> None:
    """A line at once, one for each change, none for the passing of time, no two closer than the interval."""
    async with http.get("/status?watch") as response:
        first = json.loads(await response.content.readline())
        assert first == stand_in.document
        begun = time.monotonic()
        for percent in range(50):
            stand_in.change(volume={"percent": percent})
            stand_in.document["uptime_s"] += 1
            await asyncio.sleep(0.004)
        lines: list[dict[str, Any]] = []
        while not lines or lines[-1]["volume"]["percent"] != 49:
            lines.append(json.loads(await response.content.readline()))
        assert 1 <= len(lines) <= (time.monotonic() - begun) / 0.05 + 1
        stand_in.document["uptime_s"] += 1
        looked = stand_in.looked
        await _until(lambda: stand_in.looked > looked + 2)
        stand_in.document["warnings"] = ["said without a call"]
        assert json.loads(await response.content.readline())["warnings"] == ["said without a call"]


async def test_watch_ends_when_the_client_goes(http: aiohttp.ClientSession, stand_in: StandIn) -> None:
    """A watcher that has gone costs nothing more."""
    response = await http.get("/status?watch")
    await response.content.readline()
    response.close()
    await asyncio.sleep(0.3)
    looked = stand_in.looked
    stand_in.change(warnings=["x"])
    await asyncio.sleep(0.3)
    assert stand_in.looked == looked


async def test_screenshot(http: aiohttp.ClientSession, stand_in: StandIn, tmp_path: Path) -> None:
    """The picture is streamed, then its file is gone."""
    async with http.get("/screenshot?screen=front") as response:
        assert response.content_type == "image/jpeg"
        assert await response.read() == PICTURE
    assert not list(tmp_path.glob("picture*"))


async def test_refusals_are_sentences(http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture) -> None:
    """What is refused, unknown or broken says so in JSON; a failure shows its inside in the log only."""
    async with http.get("/screenshot?screen=left") as response:
        assert (response.status, await response.json()) == (404, {"error": "no screen is called 'left'"})
    async with http.get("/nothing") as response:
        assert (response.status, await response.json()) == (404, {"error": "Not Found: GET /nothing"})
    async with http.post("/status") as response:
        assert (response.status, await response.json()) == (405, {"error": "Method Not Allowed: POST /status"})
    async with http.get("/screenshot?screen=explode") as response:
        assert (response.status, await response.json()) == (500, {"error": "the agent failed at this; its log says why"})
    assert "RuntimeError" in caplog.text


async def test_play(http: aiohttp.ClientSession, stand_in: StandIn) -> None:
    """The body arrives whole, with a length and without."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a" * 1000
        yield b"b" * 500_000

    async with http.post("/play", params={"name": "a b+ü.mp4", "screen": "front"}, data=b"x" * 700_000) as response:
        assert (response.status, await response.json()) == (200, {"playing": "a b+ü.mp4"})
    async with http.post("/play", params={"name": "c.png"}, data=chunks()) as response:
        assert response.status == 200
    assert stand_in.played == [
        ("front", "a b+ü.mp4", b"x" * 700_000),
        (None, "c.png", b"a" * 1000 + b"b" * 500_000),
    ]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "/etc/passwd", "a\nb", "a\0", "x" * 300])
async def test_play_takes_names_of_files_only(http: aiohttp.ClientSession, stand_in: StandIn, name: str) -> None:
    """Nothing that could be a path."""
    async with http.post("/play", params={"name": name}, data=b"x") as response:
        assert response.status == 400
    assert not stand_in.played


async def test_play_is_bounded(http: aiohttp.ClientSession, stand_in: StandIn) -> None:
    """Too big a file is refused, whether it says its size or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    for body in (b"x" * 2_000_001, chunks()):
        async with http.post("/play", params={"name": "big.mp4"}, data=body) as response:
            assert (response.status, await response.json()) == (
                413,
                {"error": "the file is bigger than the store: 2000000 bytes"},
            )
    assert not stand_in.played


async def test_an_upload_that_breaks_off_is_not_played(socket_path: Path, stand_in: StandIn) -> None:
    """The daemon learns that the file is not whole."""
    _, writer = await asyncio.open_unix_connection(str(socket_path))
    writer.write(b"POST /play?name=a.mp4 HTTP/1.1\r\nHost: agent\r\nContent-Length: 1000\r\n\r\n" + b"x" * 300)
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await _until(lambda: stand_in.failures)
    assert isinstance(stand_in.failures[0], CommandError)
    assert not stand_in.played


async def test_socket_mode_and_directory(socket_path: Path) -> None:
    """Owner and group may talk to the agent, nobody else; the directory was made."""
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o660


async def test_close_removes_the_socket_and_ends_watchers(stand_in: StandIn, tmp_path: Path) -> None:
    """The end is quick, even with somebody watching."""
    path = tmp_path / "control.sock"
    server = ControlServer(stand_in, path)
    await server.start()
    async with aiohttp.ClientSession("http://agent", connector=aiohttp.UnixConnector(str(path))) as session:
        response = await session.get("/status?watch")
        await response.content.readline()
        begun = time.monotonic()
        await server.close()
        assert time.monotonic() - begun < 1
        assert await response.content.readline() == b""
    assert not path.exists()


async def test_a_stale_socket_is_replaced(stand_in: StandIn, tmp_path: Path) -> None:
    """What a killed agent left behind does not keep the next one from starting."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    server = ControlServer(stand_in, path)
    await server.start()
    await server.close()


async def test_a_live_socket_is_an_error(socket_path: Path, stand_in: StandIn) -> None:
    """Two agents on one socket: the second says so, and the first one's socket stays."""
    second = ControlServer(stand_in, socket_path)
    with pytest.raises(ControlError, match="another agent answers at"):
        await second.start()
    await second.close()
    assert socket_path.exists()


async def test_something_else_in_the_place_is_an_error(stand_in: StandIn, tmp_path: Path) -> None:
    """A file is never removed; a directory that cannot be made is named."""
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(ControlError, match="is not a socket"):
        await ControlServer(stand_in, path).start()
    assert path.read_text() == "precious"
    with pytest.raises(ControlError, match="cannot be opened"):
        await ControlServer(stand_in, path / "below" / "control.sock").start()
    with pytest.raises(ControlError, match="cannot be opened"):
        await ControlServer(stand_in, tmp_path / ("x" * 120)).start()
    assert list(tmp_path.iterdir()) == [path]


async def test_update(http: aiohttp.ClientSession, stand_in: StandIn) -> None:
    """A bundle, a URL or neither; what becomes of it comes line by line, and the agent learns that it was told."""
    asked: list[dict[str, Any]] = [
        {"data": b"bundle", "headers": {"X-By-Hand": "yes"}},
        {"json": {"url": "http://host/a"}},
        {"json": {}},
    ]
    for request in asked:
        async with http.post("/update", **request) as response:
            assert response.status == 200
            events = [json.loads(line) async for line in response.content]
            assert events[0] == {"state": "receiving", "received_bytes": 5, "total_bytes": 10}
            assert events[-1] == {"version": "1.2.3"}
    assert stand_in.updates == [(b"bundle", 6, True), ("http://host/a", None, False), (None, None, False)]
    await _until(lambda: stand_in.update_ends == ["told"] * 3)


async def test_update_refused(http: aiohttp.ClientSession) -> None:
    """Before anything was said the status says so, after that the last line."""
    async with http.post("/update", data=b"no") as response:
        assert (response.status, await response.json()) == (409, {"error": "the signature is wrong"})
    async with http.post("/update", json={"url": "http://host/refused"}) as response:
        assert [json.loads(line) async for line in response.content][-1] == {"error": "there is no room"}
    for body in (b"x", b"[]", b'{"url": 5}', b'{"url": ""}', b'{"url": "%s"}' % (b"x" * 5000)):
        async with http.post("/update", data=body, headers={"Content-Type": "application/json"}) as response:
            assert response.status == 400


async def test_update_of_a_client_that_goes(http: aiohttp.ClientSession, stand_in: StandIn) -> None:
    """The work learns that nobody listens any more."""
    async with http.post("/update", json={"url": "http://host/endless"}) as response:
        await response.content.readline()
    await _until(lambda: stand_in.update_ends == ["left"])


async def test_update_that_breaks_off(socket_path: Path, stand_in: StandIn) -> None:
    """Half a bundle is none."""
    reader, writer = await asyncio.open_unix_connection(socket_path)
    writer.write(b"POST /update HTTP/1.1\r\nHost: agent\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()
    writer.close()
    await reader.read()
    assert stand_in.updates == []


async def test_look(http: aiohttp.ClientSession, stand_in: StandIn) -> None:
    """The installer's nudge reaches the daemon."""
    async with http.post("/update/look") as response:
        assert response.status == 200
    assert stand_in.nudges == 1
