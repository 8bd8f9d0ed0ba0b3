"""agent.media.download and agent.media.answers, through the store and a real server"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from agent.media import FetchError, MediaStore, Want
from agent.media.answers import _mark
from agent.media.files import part_note
from agent.media.wants import part_name
from tests.media.conftest import MakeStore
from tests.media.origin import Origin, md5, random_bytes, send, sha256

BODY = random_bytes(1_500_000)


def want(origin: Origin, path: str = "/a", body: bytes = BODY, **options: object) -> Want:
    """A file of `origin` with size and MD5."""
    values = {"size_bytes": len(body), "checksum": md5(body), **options}
    return Want(origin.url + path, path[1:], **values)  # type: ignore[arg-type]


def leave_part(store: MediaStore, wanted: Want, body: bytes, note: dict[str, object] | None = None) -> Path:
    """What a former process left behind."""
    part = store.directory / part_name(wanted)
    part.write_bytes(body)
    if note is not None:
        part_note(part).write_text(json.dumps({"url": _mark(wanted), **note}))
    return part


async def failing(store: MediaStore, wanted: Want) -> FetchError:
    """The error of a fetch that must fail; nothing of it may be found afterwards."""
    with pytest.raises(FetchError) as caught:
        await asyncio.wait_for(store.fetch(wanted), 20)
    assert await store.find(wanted) is None
    return caught.value


async def test_resumes_after_a_cut(store: MediaStore, origin: Origin) -> None:
    """A broken connection costs only what had not arrived; the ETag guards the second half."""
    origin.put("/a", BODY, cuts=[600_000, 300_000])
    path = await store.fetch(want(origin))
    assert path.read_bytes() == BODY
    assert origin.seen("Range") == [None, "bytes=600000-", "bytes=900000-"]
    assert origin.seen("If-Range") == [None, '"1"', '"1"']
    assert sorted(found.name for found in store.directory.iterdir()) == [path.name]


async def test_range_not_honoured(store: MediaStore, origin: Origin) -> None:
    """A server that answers Range with the whole file is taken at its word."""
    origin.put("/a", BODY, cuts=[600_000], ranges=False)
    assert (await store.fetch(want(origin))).read_bytes() == BODY
    assert origin.seen("Range") == [None, "bytes=600000-"]


async def test_file_changed_meanwhile(store: MediaStore, origin: Origin) -> None:
    """With another ETag the download begins anew instead of joining two files."""
    new = random_bytes(len(BODY), seed=2)
    origin.put("/a", BODY, cuts=[600_000])
    fetching = asyncio.create_task(store.fetch(want(origin, body=new)))
    while not origin.requests:
        await asyncio.sleep(0.005)
    origin.put("/a", new, etag='"2"')
    assert (await fetching).read_bytes() == new
    assert origin.seen("If-Range") == [None, '"1"']


@pytest.mark.parametrize("checked", [True, False])
async def test_server_ignores_if_range(store: MediaStore, origin: Origin, monkeypatch: pytest.MonkeyPatch, checked: bool) -> None:
    """A 206 with another ETag is not joined to what is there."""
    monkeypatch.setattr("agent.media.answers._boot_id", lambda: "now")
    new = random_bytes(len(BODY), seed=2)
    wanted = want(origin, body=new, checksum=md5(new) if checked else "")
    leave_part(store, wanted, BODY[:600_000], {"etag": '"1"', "validator": '"1"', "boot": "now"})
    origin.put("/a", new, etag='"2"', if_range=False)
    assert (await store.fetch(wanted)).read_bytes() == new
    assert origin.seen("Range") == ["bytes=600000-", None]


async def test_other_bytes_than_asked_for(store: MediaStore, origin: Origin) -> None:
    """A 206 that begins elsewhere is not joined to what is there."""

    async def answer(request: web.Request) -> web.Response:
        if "Range" not in request.headers:
            return web.Response(body=BODY)
        return web.Response(status=206, body=BODY[5:], headers={"Content-Range": f"bytes 5-{len(BODY) - 1}/{len(BODY)}"})

    wanted = want(origin)
    leave_part(store, wanted, BODY[:600_000])
    origin.handlers["/a"] = answer
    assert (await store.fetch(wanted)).read_bytes() == BODY
    assert origin.seen("Range") == ["bytes=600000-", None]


async def test_416_with_everything_there(store: MediaStore, origin: Origin) -> None:
    """A part that turns out to be complete is verified and taken in."""
    wanted = want(origin, size_bytes=None)
    leave_part(store, wanted, BODY)
    origin.put("/a", BODY)
    assert (await store.fetch(wanted)).read_bytes() == BODY
    assert origin.seen("Range") == [f"bytes={len(BODY)}-"]


async def test_416_with_too_much_there(store: MediaStore, origin: Origin) -> None:
    """A part longer than the server's file is thrown away."""
    wanted = want(origin, size_bytes=None)
    leave_part(store, wanted, BODY + b"more")
    origin.put("/a", BODY)
    assert (await store.fetch(wanted)).read_bytes() == BODY
    assert origin.seen("Range") == [f"bytes={len(BODY) + 4}-", None]


async def test_complete_part_needs_no_request(store: MediaStore, origin: Origin) -> None:
    """Killed between the last byte and the verification: nothing is downloaded again."""
    wanted = want(origin)
    leave_part(store, wanted, BODY)
    assert (await store.fetch(wanted)).read_bytes() == BODY
    assert origin.requests == []


async def test_damaged_part_of_a_former_process(store: MediaStore, origin: Origin) -> None:
    """A part that was damaged on the disk is noticed by the checksum, and the file comes whole the second time."""
    wanted = want(origin)
    leave_part(store, wanted, b"\0" * 600_000, {"etag": '"1"', "validator": '"1"'})
    origin.put("/a", BODY)
    assert (await store.fetch(wanted)).read_bytes() == BODY
    assert origin.seen("Range") == ["bytes=600000-", None]
    assert origin.seen("Cache-Control") == [None, "no-cache"]


@pytest.mark.parametrize(
    ("note", "resumed"),
    [
        ({"validator": '"1"', "boot": "now"}, True),
        ({"validator": None, "boot": "now"}, False),
        ({"validator": '"1"', "boot": "an earlier one"}, False),
        ({"validator": '"1"', "boot": "now", "url": "another"}, False),
        (None, False),
    ],
)
async def test_resume_without_checksum(
    store: MediaStore,
    origin: Origin,
    monkeypatch: pytest.MonkeyPatch,
    note: dict[str, object] | None,
    resumed: bool,
) -> None:
    """Without a checksum only a validator of the same address, and no power cut in between, allow to go on."""
    monkeypatch.setattr("agent.media.answers._boot_id", lambda: "now")
    wanted = want(origin, checksum="")
    leave_part(store, wanted, BODY[:600_000], note)
    origin.put("/a", BODY)
    assert (await store.fetch(wanted)).read_bytes() == BODY
    assert origin.seen("Range") == (["bytes=600000-"] if resumed else [None])


async def test_stall(make_store: MakeStore, origin: Origin) -> None:
    """A connection that falls silent is given up and continued on a new one."""
    store = await make_store(timers={"stall_s": 0.2})
    origin.put("/a", BODY, holds_after=600_000)
    fetching = asyncio.create_task(store.fetch(want(origin)))
    while len(origin.requests) < 2:
        await asyncio.sleep(0.005)
    origin.files["/a"].released.set()
    assert (await fetching).read_bytes() == BODY
    assert origin.seen("Range") == [None, "bytes=600000-"]


async def test_stall_for_ever(make_store: MakeStore, origin: Origin) -> None:
    """After bounded tries the cause is named."""
    store = await make_store(timers={"stall_s": 0.1, "tries": 2})
    origin.put("/a", BODY, holds_after=0)
    error = await failing(store, want(origin))
    assert error.cause == "network"
    assert str(error).startswith("network: no data for 0.1 s")
    assert len(origin.requests) == 2


async def test_too_slow(make_store: MakeStore, origin: Origin) -> None:
    """A trickle that never stalls is given up."""
    store = await make_store(timers={"slow_window_s": 0.3, "slow_bytes_s": 5000.0, "tries": 1})
    origin.put("/a", BODY, piece_bytes=10, pause_s=0.01)
    error = await failing(store, want(origin))
    assert (error.cause, "too slow" in str(error)) == ("network", True)


@pytest.mark.parametrize("checksum", [md5, sha256])
async def test_wrong_checksum_then_right(
    store: MediaStore, origin: Origin, checksum: Callable[[bytes], str], caplog: pytest.LogCaptureFixture
) -> None:
    """A file with the wrong content is thrown away and downloaded again, past caches."""
    origin.put("/a", random_bytes(len(BODY), seed=3))
    fetching = asyncio.create_task(store.fetch(want(origin, checksum=checksum(BODY).upper())))
    while "checksum:" not in caplog.text:
        await asyncio.sleep(0.002)
    origin.put("/a", BODY)
    assert (await fetching).read_bytes() == BODY


async def test_wrong_checksum_always(store: MediaStore, origin: Origin) -> None:
    """It is never handed out; the number of downloads is bounded; nothing stays on the disk."""
    origin.put("/a", random_bytes(len(BODY), seed=3))
    error = await failing(store, want(origin))
    assert error.cause == "checksum"
    assert str(error).startswith("checksum: md5:")
    assert len(origin.requests) == 3
    assert list(store.directory.iterdir()) == []
    assert store.used_bytes() == 0


async def test_size_and_length_differ(store: MediaStore, origin: Origin) -> None:
    """An announced length other than the expected size is refused before the body, and does not cost an existing part."""
    wanted = want(origin, body=BODY + b"x")
    part = leave_part(store, wanted, BODY[:600_000])
    origin.put("/a", BODY, ranges=False)
    error = await failing(store, wanted)
    assert (error.cause, str(error).split("(")[0]) == (
        "size",
        f"size: the server sends {len(BODY)} bytes instead of {len(BODY) + 1} ",
    )
    assert part.stat().st_size == 600_000


@pytest.mark.parametrize("difference", [-10, 10])
async def test_chunked_with_wrong_size(store: MediaStore, origin: Origin, difference: int) -> None:
    """Without a length the size is judged by what came."""
    origin.put("/a", BODY, length=False)
    error = await failing(store, want(origin, size_bytes=len(BODY) + difference, checksum=""))
    assert error.cause == "size"
    assert list(store.directory.iterdir()) == []


@pytest.mark.parametrize("size", [None, 0, len(BODY)])
@pytest.mark.parametrize("length", [True, False])
async def test_without_checksum(store: MediaStore, origin: Origin, size: int | None, length: bool) -> None:
    """Size, length or the end of a chunked body suffice; the second time nothing is asked."""
    origin.put("/a", BODY, length=length)
    wanted = want(origin, size_bytes=size, checksum="")
    path = await store.fetch(wanted)
    assert path.read_bytes() == BODY
    assert await store.find(wanted) == path
    assert await store.fetch(wanted) == path
    assert len(origin.requests) == 1


async def test_cut_without_checksum(make_store: MakeStore, origin: Origin) -> None:
    """A body shorter than its announced length is not taken for the file, chunked or not."""
    store = await make_store(timers={"tries": 2})
    for path, length in (("/a", True), ("/b", False)):
        origin.put(path, BODY, length=length, cuts=[600_000] * 9, ranges=False)
        assert (await failing(store, want(origin, path, size_bytes=None, checksum=""))).cause == "network"


async def test_no_length_at_all(store: MediaStore, origin: Origin) -> None:
    """A body that ends with the connection, without checksum or size, proves nothing."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + BODY)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(endless, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a"
        error = await failing(store, Want(url, "a"))
        assert "no checksum, no size and no length" in str(error)
        assert (await store.fetch(Want(url, "a", len(BODY)))).read_bytes() == BODY


async def test_captive_portal(make_store: MakeStore, origin: Origin) -> None:
    """A login page in the place of a file is not taken for the file."""
    store = await make_store(timers={"tries": 1})
    origin.put("/a", b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    assert "web page" in str(await failing(store, want(origin, size_bytes=None, checksum="")))
    assert "web page" in str(await failing(store, want(origin, checksum=""))), "whatever its size"


async def test_empty_file(store: MediaStore, origin: Origin) -> None:
    """Nothing is not a file."""
    origin.put("/a", b"")
    assert "empty file" in str(await failing(store, Want(origin.url + "/a", "a")))


async def test_compressed(store: MediaStore, origin: Origin) -> None:
    """Content that was compressed on the way is refused; asked for was none."""
    origin.put("/a", BODY, headers={"Content-Encoding": "gzip"})
    assert "compressed" in str(await failing(store, want(origin)))
    assert origin.seen("Accept-Encoding") == ["identity"]


async def test_shorter_ranges_than_asked(store: MediaStore, origin: Origin) -> None:
    """A server may send less than the whole rest; the download goes on after it."""

    async def answer(request: web.Request) -> web.Response:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        if not start:
            return web.Response(body=BODY[:500_000], headers={"Content-Length": str(len(BODY))})
        end = min(len(BODY), start + 400_000)
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(BODY)}"}
        return web.Response(status=206, body=BODY[start:end], headers=headers)

    wanted = want(origin)
    leave_part(store, wanted, BODY[:300_000])
    origin.handlers["/a"] = answer
    assert (await store.fetch(wanted)).read_bytes() == BODY
    assert origin.seen("Range") == ["bytes=300000-", "bytes=700000-", "bytes=1100000-"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_final_status(store: MediaStore, origin: Origin, status: int) -> None:
    """What will not change by asking again is told at once."""
    origin.put("/a", BODY, statuses=[status] * 9)
    error = await failing(store, want(origin))
    assert (error.cause, error.status, len(origin.requests)) == ("http", status, 1)
    assert str(error).startswith(f"HTTP status {status} ")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 599])
async def test_passing_status(store: MediaStore, origin: Origin, status: int) -> None:
    """A server in trouble is asked again, a bounded number of times."""
    origin.put("/a", BODY, statuses=[status] * 2)
    assert (await store.fetch(want(origin))).read_bytes() == BODY
    origin.put("/b", BODY[1:], statuses=[status] * 9)
    assert (await failing(store, want(origin, "/b", BODY[1:]))).status == status
    assert len(origin.requests) == 3 + 5


async def test_unexpected_partial_answer(store: MediaStore, origin: Origin) -> None:
    """A 206 nobody asked for is no file."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=206, body=BODY)

    origin.handlers["/a"] = answer
    assert (await failing(store, want(origin))).status == 206


async def test_log(store: MediaStore, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    """Quarters, the end with size and speed, the cause of a failure; no query, no user, no line breaks of a server."""
    caplog.set_level(logging.DEBUG)
    origin.put("/a", BODY)
    origin.put("/b", b"", statuses=[404])
    url = origin.url.replace("://", "://user:secret1@")
    await store.fetch(Want(f"{url}/a?token=secret2#secret3", "a\nb", len(BODY), md5(BODY)))
    await failing(store, Want(f"{url}/b?token=secret2", "b", 5))
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("agent.")]
    for percent in (25, 50, 75):
        assert any(f"progress name='a\\nb' percent={percent} " in message for message in messages)
    assert any("downloaded name='a\\nb' bytes=1500000 seconds=" in message for message in messages)
    assert any(message.startswith("media download failed name='b' cause='HTTP status 404 Not Found") for message in messages)
    assert "secret" not in "".join(messages)
    assert not any("\n" in message for message in messages)


async def test_more_than_4_gib_is_a_number(store: MediaStore, origin: Origin) -> None:
    """Sizes beyond 2 and 4 GiB are announced, shown and resumed as they are."""
    size = 5 << 30
    seen = asyncio.Event()
    origin.put("/a", BODY, announced=size, holds_after=len(BODY) - 1)
    wanted = Want(origin.url + "/a", "big", size, md5(BODY))
    fetching = asyncio.create_task(store.fetch(wanted, on_bytes=lambda _received, total: seen.set() if total == size else None))
    await asyncio.wait_for(seen.wait(), 10)
    assert [(status.name, status.total_bytes) for status in store.downloads()] == [("big", size)]
    assert store.used_bytes() == size
    fetching.cancel()
    await asyncio.wait([fetching])
    assert store.used_bytes() < size


class TestSignedAddresses:
    """A file whose address changes while the file does not (conversion contract, section 3)."""

    @staticmethod
    def want(origin: Origin, path: str, **options: object) -> Want:
        """The same file under any address."""
        values = {"identity": "job 7", "expect": "media", **options}
        return Want(f"{origin.url}{path}", "film", len(BODY), **values)  # type: ignore[arg-type]

    @pytest.mark.parametrize("etag", ['"1"', None])
    async def test_a_new_address_resumes(self, store: MediaStore, origin: Origin, etag: str | None) -> None:
        """An address that expires half-way costs nothing that is here already, with or without a validator."""
        old = origin.put("/old", BODY, etag=etag, cuts=[600_000])
        origin.put("/new", BODY, etag=etag)

        async def expired(request: web.Request) -> web.StreamResponse:
            return web.Response(status=403, text="<Error>expired</Error>", content_type="application/xml")

        async def first(request: web.Request) -> web.StreamResponse:
            origin.handlers["/old"] = expired
            return await send(request, old)

        origin.handlers["/old"] = first
        with pytest.raises(FetchError) as error:
            await store.fetch(self.want(origin, "/old?sig=1"))
        assert (error.value.cause, error.value.status) == ("http", 403)
        path = await store.fetch(self.want(origin, "/new?sig=2"))
        assert path.read_bytes() == BODY
        assert origin.seen("Range")[-1] == "bytes=600000-"
        assert all(method == "GET" for method in [request.method for request in origin.requests])

    async def test_a_server_that_ignores_ranges_starts_over(self, store: MediaStore, origin: Origin) -> None:
        """A 200 in answer to a range replaces what was here; nothing is put together of two halves."""
        file = origin.put("/a", BODY, cuts=[600_000])

        async def whole(request: web.Request) -> web.StreamResponse:
            file.ranges = "Range" not in request.headers
            return await send(request, file)

        origin.handlers["/a"] = whole
        assert (await store.fetch(self.want(origin, "/a"))).read_bytes() == BODY
        assert origin.seen("Range") == [None, "bytes=600000-"]

    async def test_a_range_that_is_refused_starts_over(self, store: MediaStore, origin: Origin) -> None:
        """After a 416 the file is fetched from its first byte."""
        file = origin.put("/a", BODY, cuts=[600_000])

        async def picky(request: web.Request) -> web.StreamResponse:
            return web.Response(status=416) if "Range" in request.headers else await send(request, file)

        origin.handlers["/a"] = picky
        assert (await store.fetch(self.want(origin, "/a"))).read_bytes() == BODY
        assert origin.seen("Range") == [None, "bytes=600000-", None]

    async def test_it_is_found_whatever_its_address(self, store: MediaStore, origin: Origin) -> None:
        """The file that is here is not fetched again because its address has another signature."""
        origin.put("/a", BODY)
        path = await store.fetch(self.want(origin, "/a?sig=1"))
        assert await store.find(self.want(origin, "/elsewhere?sig=2")) == path
        assert await store.fetch(self.want(origin, "/gone")) == path
        assert await store.find(self.want(origin, "/a?sig=1", identity="job 8")) is None


@pytest.mark.parametrize("digits", ["9" * 5000, "-1", "x"])
async def test_absurd_ranges(store: MediaStore, origin: Origin, digits: str) -> None:
    """A range without end in the answer is one more wrong answer; the file comes from its first byte."""
    file = origin.put("/a", BODY, cuts=[600_000])

    async def absurd(request: web.Request) -> web.StreamResponse:
        if "Range" not in request.headers:
            return await send(request, file)
        return web.Response(status=206, body=BODY[600_000:], headers={"Content-Range": f"bytes 600000-1499999/{digits}"})

    origin.handlers["/a"] = absurd
    assert (await store.fetch(want(origin))).read_bytes() == BODY
