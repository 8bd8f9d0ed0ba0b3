"""How the fake servers give files: ranges, and every fault a body can have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.servers import MediaFile, SignageServer
from tests.servers.standin import StandIn

BYTES = bytes(range(256)) * 400


@pytest.fixture
async def server() -> AsyncIterator[SignageServer]:
    async with SignageServer() as server:
        yield server


@pytest.fixture
async def device(server: SignageServer) -> AsyncIterator[StandIn]:
    async with StandIn(server, "LOBBY-01") as device:
        yield device


@pytest.fixture(params=["memory", "disk"])
def clip(server: SignageServer, request: pytest.FixtureRequest, tmp_path: Path) -> MediaFile:
    """One file of 102,400 bytes, kept either way."""
    if request.param == "memory":
        return server.media.add("my clip.mp4", BYTES)
    (tmp_path / "clip").write_bytes(BYTES)
    return server.media.add("my clip.mp4", tmp_path / "clip")


RANGES = {
    "bytes=0-9": (206, 0, 10),
    "bytes=102390-": (206, 102390, 102400),
    "bytes=-5": (206, 102395, 102400),
    "bytes=9-999999": (206, 9, 102400),
    "bytes=102400-": (416, 0, 0),
    "lines=1-2": (200, 0, 102400),
    "": (200, 0, 102400),
}


@pytest.mark.parametrize("asked", RANGES)
async def test_ranges(device: StandIn, clip: MediaFile, asked: str) -> None:
    """As RFC 9110 says, whether the file lies in memory or on disk."""
    status, start, end = RANGES[asked]
    got, body, headers = await device.get(clip.url, Range=asked)
    assert (got, body) == (status, BYTES[start:end])
    if status == 206:
        assert headers["Content-Range"] == f"bytes {start}-{end - 1}/102400"


async def test_if_range(server: SignageServer, device: StandIn, clip: MediaFile) -> None:
    """The range is honoured for the same version only."""
    _, _, headers = await device.get(clip.url)
    assert (await device.get(clip.url, Range="bytes=5-", If_Range=headers["ETag"]))[0] == 206
    server.media.add(clip.name, BYTES)
    assert (await device.get(clip.url, Range="bytes=5-", If_Range=headers["ETag"]))[0] == 200


async def test_faults_of_a_body(server: SignageServer, device: StandIn, clip: MediaFile) -> None:
    """Each does what its name says, as often as asked."""
    server.fault("/media/*", corrupt=True, times=1)
    _, body, _ = await device.get(clip.url)
    assert body != BYTES
    assert len(body) == len(BYTES)
    server.fault("/media/*", short_by=7, times=1)
    assert (await device.get(clip.url))[1] == BYTES[:-7]
    server.fault("/media/*", ignore_range=True, chunked=True, times=1)
    status, body, headers = await device.get(clip.url, Range="bytes=9-")
    assert (status, body, headers.get("Content-Length")) == (200, BYTES, None)
    server.fault("/media/*", cut_after=1234, times=1)
    async with device.http.get(server.url + clip.url) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readexactly(1235)
    assert (await device.get(clip.url))[1] == BYTES


async def test_slow_and_stalled_bodies(server: SignageServer, device: StandIn, clip: MediaFile) -> None:
    """Slow keeps its rate; a stall lasts until the fault is removed."""
    server.fault("/media/*", bytes_per_s=512_000, times=1)
    begun = time.monotonic()
    assert (await device.get(clip.url))[1] == BYTES
    assert 0.15 < time.monotonic() - begun < 5
    server.fault("/media/*", stall_after=1000)
    async with device.http.get(server.url + clip.url) as response:
        assert await response.content.readexactly(1000) == BYTES[:1000]
        rest = asyncio.create_task(response.content.read(), name="rest")
        assert not (await asyncio.wait([rest], timeout=0.2))[0]
        server.clear_faults()
        assert await rest


async def test_a_redirect_to_the_foreign_origin(server: SignageServer, device: StandIn, clip: MediaFile) -> None:
    """The file comes from there, and the log tells the two origins apart."""
    server.media_needs_token = True
    server.fault("/media/*", redirect_to=server.foreign_url, times=1)
    async with device.http.get(server.url + clip.url, headers={"Authorization": "Bearer secret"}) as response:
        assert await response.read() == BYTES
    own, foreign = server.requests_to("/media/")
    assert (own.foreign, own.bearer, own.status) == (False, "secret", 302)
    assert (foreign.foreign, foreign.bearer) == (True, "")
    assert server.requests_to("/media/", foreign=True) == [foreign]
    assert (await device.get(clip.url))[0] == 401
