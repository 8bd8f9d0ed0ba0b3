"""Bundles over real HTTP, from a server that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from agent.media.wants import Timers
from agent.update.fetch import fetch, fetch_text
from agent.update.intake import Intake, UpdateError
from tests.media.origin import Origin, random_bytes, sha256

QUICK = Timers(
    response_s=2.0, stall_s=0.3, slow_window_s=0.5, slow_bytes_s=100_000, tries=3, retry_first_s=0.01, retry_last_s=0.02
)
SIZE = 1_000_000


def sealed(size: int = SIZE, seed: int = 1) -> bytes:
    """What begins as a bundle; whether it is one is not looked at here."""
    return b"SIGNBNDL" + size.to_bytes(8, "little") + random_bytes(size - 16, seed)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin()
    await origin.start()
    yield origin
    await origin.stop()


@pytest.fixture
def intake(tmp_path: Path) -> Callable[..., Intake]:
    def make(size: int | None = None, digest: str | None = None) -> Intake:
        return Intake(tmp_path / "incoming", "test", size=size, sha256=digest, by_hand=False, on_change=lambda: None)

    return make


def left(folder: Path) -> list[str]:
    return [path.name for path in (folder / "incoming").glob("*")]


@pytest.mark.parametrize("known", [True, False])
async def test_fetched(origin: Origin, intake: Callable[..., Intake], known: bool) -> None:
    """With size and digest from a list, and without either."""
    body = sealed()
    origin.put("/a.bundle", body)
    taken = intake(len(body), sha256(body)) if known else intake()
    await fetch(f"{origin.url}/a.bundle", taken, sha256=sha256(body) if known else "", timers=QUICK)
    assert await taken.finish() == sha256(body)
    assert taken.path.read_bytes() == body


async def test_it_goes_on_after_cuts(origin: Origin, intake: Callable[..., Intake]) -> None:
    """Each break costs nothing that has come before."""
    body = sealed()
    origin.put("/a.bundle", body, cuts=[300_000, 300_000])
    taken = intake()
    await fetch(f"{origin.url}/a.bundle", taken, timers=QUICK)
    assert await taken.finish() == sha256(body)
    ranges = origin.seen("Range")
    assert ranges[0] is None
    assert len(ranges) == 3
    assert all(asked is not None and int(asked.removeprefix("bytes=").removesuffix("-")) > 0 for asked in ranges[1:])
    assert origin.seen("If-Range") == [None, '"1"', '"1"']


async def test_a_file_that_changes_meanwhile(origin: Origin, intake: Callable[..., Intake]) -> None:
    """The halves of two files are never put together."""
    old, new = sealed(seed=1), sealed(seed=2)
    file = origin.put("/a.bundle", old, cuts=[400_000])
    taken = intake()
    fetching = asyncio.create_task(fetch(f"{origin.url}/a.bundle", taken, timers=QUICK))
    async with asyncio.timeout(10):
        while file.cuts:
            await asyncio.sleep(0.001)
        file.body, file.etag = new, '"2"'
        await fetching
    assert await taken.finish() == sha256(new)


async def test_a_server_without_ranges(origin: Origin, intake: Callable[..., Intake]) -> None:
    """It begins anew and comes to the end."""
    body = sealed()
    origin.put("/a.bundle", body, ranges=False, cuts=[400_000])
    taken = intake()
    await fetch(f"{origin.url}/a.bundle", taken, timers=QUICK)
    assert await taken.finish() == sha256(body)


async def test_a_redirect(origin: Origin, intake: Callable[..., Intake]) -> None:
    """Is followed; one in a circle is not, for ever."""
    body = sealed()
    origin.put("/a.bundle", body)

    async def away(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/a.bundle")

    async def around(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/around")

    origin.handlers.update({"/away": away, "/around": around})
    taken = intake()
    await fetch(f"{origin.url}/away", taken, timers=QUICK)
    assert taken.received == len(body)
    with pytest.raises(UpdateError, match="redirects"):
        await fetch(f"{origin.url}/around", intake(), timers=QUICK)


async def test_too_slow(origin: Origin, intake: Callable[..., Intake], tmp_path: Path) -> None:
    """A line that leads nowhere is given up; nothing is left."""
    origin.put("/a.bundle", sealed(), piece_bytes=1000, pause_s=0.05)
    with pytest.raises(UpdateError, match="too slow"):
        await fetch(f"{origin.url}/a.bundle", intake(), timers=QUICK)
    assert left(tmp_path) == []


async def test_a_stall(origin: Origin, intake: Callable[..., Intake], tmp_path: Path) -> None:
    """A server that stops in the middle is tried again, then given up."""
    file = origin.put("/a.bundle", sealed(), holds_after=1000, ranges=False)
    handler_file = file

    async def holds(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(handler_file.body)
        await response.prepare(request)
        await response.write(handler_file.body[:1000])
        await handler_file.released.wait()
        return response

    origin.handlers["/a.bundle"] = holds
    with pytest.raises(UpdateError, match="no data"):
        await fetch(f"{origin.url}/a.bundle", intake(), timers=QUICK)
    assert len(origin.requests) == QUICK.tries
    assert left(tmp_path) == []


async def test_a_body_without_an_end(origin: Origin, intake: Callable[..., Intake], tmp_path: Path) -> None:
    """No more is taken than the bundle says it has."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(sealed(100_000))
        while True:
            await response.write(bytes(65536))
            sent += 65536

    origin.handlers["/a.bundle"] = endless
    with pytest.raises(UpdateError, match="more bytes came than the 100000"):
        await fetch(f"{origin.url}/a.bundle", intake(), timers=QUICK)
    assert left(tmp_path) == []
    assert sent < 50_000_000


@pytest.mark.parametrize(("announced", "sentence"), [(SIZE - 5, "instead of"), (SIZE + 5, "instead of")])
async def test_a_length_that_is_not_the_announced_one(
    origin: Origin, intake: Callable[..., Intake], tmp_path: Path, announced: int, sentence: str
) -> None:
    """Refused by the head of the answer; nothing is left."""
    origin.put("/a.bundle", sealed())
    with pytest.raises(UpdateError, match=sentence):
        await fetch(f"{origin.url}/a.bundle", intake(announced), timers=QUICK)
    assert left(tmp_path) == []


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 3)])
async def test_errors_of_the_server(origin: Origin, intake: Callable[..., Intake], status: int, requests: int) -> None:
    """What will not change is not tried again; the address is told without what may be secret in it."""
    origin.put("/a.bundle", sealed(), statuses=[status] * 3)
    with pytest.raises(UpdateError, match=f"HTTP status {status}") as caught:
        await fetch(f"{origin.url}/a.bundle?token=hush", intake(), timers=QUICK)
    assert len(origin.requests) == requests
    assert "hush" not in str(caught.value)


async def test_a_page_instead_of_a_bundle(origin: Origin, intake: Callable[..., Intake], tmp_path: Path) -> None:
    """A captive portal is called what it is; a file that is no bundle, too."""
    page = web.Response(text="<html>Please log in</html>", content_type="text/html")

    async def portal(request: web.Request) -> web.StreamResponse:
        return web.Response(text=page.text, content_type="text/html")

    origin.handlers["/page"] = portal
    origin.put("/file", random_bytes(1000))
    with pytest.raises(UpdateError, match="web page"):
        await fetch(f"{origin.url}/page", intake(), timers=QUICK)
    with pytest.raises(UpdateError, match="not a bundle"):
        await fetch(f"{origin.url}/file", intake(), timers=QUICK)
    assert left(tmp_path) == []


async def test_nobody_there(origin: Origin, intake: Callable[..., Intake]) -> None:
    """An address that nobody answers at, and one that is none."""
    await origin.stop()
    with pytest.raises(UpdateError, match="cannot connect"):
        await fetch(f"{origin.url}/a.bundle", intake(), timers=QUICK)
    with pytest.raises(UpdateError, match="address"):
        await fetch("ftp://host/a.bundle", intake(), timers=QUICK)


async def test_cancelled(origin: Origin, intake: Callable[..., Intake], tmp_path: Path) -> None:
    """Nothing is left."""
    origin.put("/a.bundle", sealed(), holds_after=500_000)
    taken = intake()
    fetching = asyncio.create_task(fetch(f"{origin.url}/a.bundle", taken))
    async with asyncio.timeout(10):
        while taken.received < 500_000:
            await asyncio.sleep(0.001)
    fetching.cancel()
    await asyncio.wait({fetching})
    assert left(tmp_path) == []
    assert not taken.open


async def test_a_list(origin: Origin) -> None:
    """A small file comes as it is; one that is too long, or not there, is an error in words."""
    origin.put("/index.json", b'{"format":1}')
    assert await fetch_text(f"{origin.url}/index.json", 100, timers=QUICK) == b'{"format":1}'
    with pytest.raises(UpdateError, match="longer than 5 bytes"):
        await fetch_text(f"{origin.url}/index.json", 5, timers=QUICK)
    with pytest.raises(UpdateError, match="404"):
        await fetch_text(f"{origin.url}/other.json", 100, timers=QUICK)
