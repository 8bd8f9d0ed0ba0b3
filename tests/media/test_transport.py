"""agent.media.transport"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping

import pytest
from aiohttp import web

from agent.media import FetchError, MediaStore, Want
from tests.media.conftest import MakeStore
from tests.media.origin import Origin, md5, random_bytes

BODY = random_bytes(100_000)
BEARER = "Bearer secret"


async def bearer(_refused: object) -> Mapping[str, str]:
    """What a link gives."""
    return {"Authorization": BEARER}


def want(url: str, origin: Origin, **options: object) -> Want:
    """A file at `url` with the bearer of `origin`."""
    values = {"headers": bearer, "trusted_origin": origin.url, **options}
    return Want(url, "a", len(BODY), md5(BODY), **values)  # type: ignore[arg-type]


def redirect(origin: Origin, path: str, to: str, status: int = 302) -> None:
    """Makes `path` lead to `to`."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": to})

    origin.handlers[path] = answer


async def test_bearer_to_the_configured_origin(store: MediaStore, origin: Origin) -> None:
    """The configured server gets the bearer."""
    origin.put("/a", BODY)
    await store.fetch(want(origin.url + "/a", origin))
    assert origin.seen("Authorization") == [BEARER]


async def test_origins_are_compared_as_browsers_do(store: MediaStore, origin: Origin) -> None:
    """Case and path of the configured address do not matter."""
    origin.put("/a", BODY)
    await store.fetch(want(origin.url + "/a", origin, trusted_origin=f"HTTP://127.0.0.1:{origin.port}/api/v1"))
    assert origin.seen("Authorization") == [BEARER]


async def test_no_bearer_to_a_foreign_host(store: MediaStore, origin: Origin, foreign: Origin) -> None:
    """Another host, another port or another name for the same host get none."""
    foreign.put("/a", BODY)
    await store.fetch(want(foreign.url + "/a", origin))
    origin.put("/a", BODY)
    for url in (
        f"http://localhost:{origin.port}/a?1",
        f"http://127.0.0.1:{origin.port}@127.0.0.1:{foreign.port}/a?2",
        foreign.url + "/a?3",
    ):
        await store.discard([want(url, origin)])
        await store.fetch(want(url, origin))
    assert len(foreign.requests) == 3
    assert BEARER not in foreign.seen("Authorization") + origin.seen("Authorization")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_within_the_origin(store: MediaStore, origin: Origin, status: int) -> None:
    """A redirect on the configured server keeps the bearer."""
    origin.put("/b", BODY)
    redirect(origin, "/a", "/b?x=1", status)
    await store.fetch(want(origin.url + "/a", origin))
    assert origin.seen("Authorization") == [BEARER, BEARER]


async def test_redirect_to_a_foreign_host(store: MediaStore, origin: Origin, foreign: Origin) -> None:
    """The bearer stays at home, also when the way leads back."""
    origin.put("/c", BODY)
    redirect(origin, "/a", foreign.url + "/b")
    redirect(foreign, "/b", origin.url + "/c")
    await store.fetch(want(origin.url + "/a", origin))
    assert origin.seen("Authorization") == [BEARER, None]
    assert foreign.seen("Authorization") == [None]


async def test_endless_redirects(store: MediaStore, origin: Origin) -> None:
    """The number of redirects is bounded."""
    redirect(origin, "/a", "/a")
    with pytest.raises(FetchError, match="more than 5 redirects"):
        await store.fetch(want(origin.url + "/a", origin))
    assert len(origin.requests) == 7


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,x", "http://[::1/a", "http://:80/a"])
async def test_redirect_to_something_else(store: MediaStore, origin: Origin, to: str) -> None:
    """Only http and https are followed."""
    redirect(origin, "/a", to)
    with pytest.raises(FetchError) as caught:
        await store.fetch(want(origin.url + "/a", origin))
    assert caught.value.cause == "address"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/relative", "", "ftp://h/a", "http://", "https://h:99999/", "http://\ud800/"]
)
async def test_other_addresses(store: MediaStore, url: str) -> None:
    """Only http and https addresses are asked."""
    with pytest.raises(FetchError) as caught:
        await store.fetch(Want(url, "a"))
    assert caught.value.cause == "address"


async def test_expired_token(store: MediaStore, origin: Origin) -> None:
    """After a 401 the headers are asked for once more, and the request is repeated with the new ones at once."""
    tokens = ["old", "new", "newer"]
    origin.put("/a", BODY, statuses=[401])

    async def renew(_refused: object) -> Mapping[str, str]:
        return {"Authorization": tokens.pop(0)}

    await store.fetch(want(origin.url + "/a", origin, headers=renew))
    assert origin.seen("Authorization") == ["old", "new"]


async def test_refused_token(store: MediaStore, origin: Origin) -> None:
    """A second 401 is the answer."""
    origin.put("/a", BODY, statuses=[401] * 9)
    with pytest.raises(FetchError, match="HTTP status 401"):
        await store.fetch(want(origin.url + "/a", origin))
    assert len(origin.requests) == 2


async def test_failing_login(make_store: MakeStore, origin: Origin) -> None:
    """Whatever goes wrong in a link's login is a failed try without its text."""
    store = await make_store(timers={"tries": 2})

    async def fail(_refused: object) -> Mapping[str, str]:
        raise RuntimeError("password=secret")

    with pytest.raises(FetchError) as caught:
        await store.fetch(want(origin.url + "/a", origin, headers=fail))
    assert (caught.value.cause, str(caught.value)) == ("network", "network: no authorization for the download (RuntimeError)")


@pytest.mark.parametrize("place", ["headers", "resolver", "answer"])
async def test_everything_before_the_answer_has_one_deadline(
    make_store: MakeStore, origin: Origin, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A login, a name server or a server that hang end the try."""
    store = await make_store(timers={"response_s": 0.2, "tries": 1})

    async def hang(*_args: object, **_options: object) -> Mapping[str, str]:
        await asyncio.sleep(60)
        return {}

    url = origin.url
    if place == "resolver":
        monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", hang)
        monkeypatch.setattr("aiohttp.connector.DefaultResolver.resolve", hang)
        url = f"http://example.invalid:{origin.port}"
    if place == "answer":
        origin.handlers["/a"] = hang  # type: ignore[assignment]
    with pytest.raises(FetchError, match=r"network: no answer within 0\.2 s"):
        await store.fetch(Want(url + "/a", "a", headers=hang if place == "headers" else None, trusted_origin=origin.url))


async def test_nobody_there(make_store: MakeStore) -> None:
    """A closed port and an unknown name are told apart."""
    store = await make_store(timers={"tries": 1})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(FetchError, match=r"network: cannot connect: Connect.*\(http://127.0.0.1:[0-9]+/a\)"):
        await store.fetch(Want(f"http://127.0.0.1:{port}/a?secret", "a"))
    with pytest.raises(FetchError, match="network: host name cannot be resolved"):
        await store.fetch(Want("http://nowhere.invalid/a", "a"))


async def test_addresses_are_sent_as_they_are(store: MediaStore, origin: Origin) -> None:
    """A signed address is not re-encoded; one with spaces and letters of any alphabet is encoded."""
    paths = ["/a%2Fb/%7Ec?X-Sig=a%2Fb%3D&x=%20+", "/mon été.mp4?n=тест"]
    for path in paths:
        origin.handlers.clear()
        origin.files.clear()

        async def answer(_request: web.Request) -> web.Response:
            return web.Response(body=BODY)

        for spelled in ("/a%2Fb/%7Ec", "/a/b/~c", "/mon été.mp4"):
            origin.handlers[spelled] = answer
        await store.fetch(Want(origin.url + path, "a"))
    assert [request.raw_path for request in origin.requests] == [
        "/a%2Fb/%7Ec?X-Sig=a%2Fb%3D&x=%20+",
        "/mon%20%C3%A9t%C3%A9.mp4?n=%D1%82%D0%B5%D1%81%D1%82",
    ]


async def test_password_in_the_address(store: MediaStore, origin: Origin) -> None:
    """User and password of an address are sent, but yield to the bearer."""
    origin.put("/a", BODY)
    url = origin.url.replace("://", "://user:pass@") + "/a"
    await store.fetch(Want(url, "a", len(BODY)))
    assert origin.seen("Authorization") == ["Basic dXNlcjpwYXNz"]
    await store.discard([Want(url, "a", len(BODY))])
    await store.fetch(want(url, origin))
    assert origin.seen("Authorization")[1:] == [BEARER]


async def test_proxy_variables_are_ignored(store: MediaStore, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment does not decide where downloads go."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    origin.put("/a", BODY)
    await store.fetch(want(origin.url + "/a", origin))


def test_importing_the_store_does_not_load_aiohttp() -> None:
    """The daemon starts without it; the first download loads it."""
    code = "import sys, agent.media; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_another_address_is_dialled(store: MediaStore, origin: Origin) -> None:
    """A host that only the server's own network knows is asked for all the same, at the address that is reachable."""
    origin.put("/a", BODY)
    signed = Want("http://minio.internal:9000/a?sig=1", "a", len(BODY), connect_to=f"127.0.0.1:{origin.port}")
    path = await store.fetch(signed)
    assert path.read_bytes() == BODY
    assert origin.seen("Host") == ["minio.internal:9000"]
    assert origin.requests[0].query_string == "sig=1"


async def test_another_address_is_dialled_for_redirects_too(store: MediaStore, origin: Origin) -> None:
    """Where the hidden host leads on to itself, the way goes on through the same door; a default port is not spelt out."""
    origin.put("/b", BODY)
    redirect(origin, "/a", "/b")
    await store.fetch(Want("http://minio.internal/a", "a", len(BODY), connect_to=f"127.0.0.1:{origin.port}"))
    assert origin.seen("Host") == ["minio.internal", "minio.internal"]


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "application/json", "application/problem+json", "text/xml"])
async def test_words_are_no_media(store: MediaStore, origin: Origin, content_type: str) -> None:
    """A server's error page with status 200 is not taken for the file."""
    origin.put("/a", BODY, headers={"Content-Type": content_type})
    with pytest.raises(FetchError, match="came instead of") as error:
        await store.fetch(Want(origin.url + "/a", "a", len(BODY), expect="media"))
    assert error.value.cause == "http"


@pytest.mark.parametrize("trouble", ["missing", "cut off", "too long", "elsewhere", "no port"])
async def test_of_a_signed_address_only_the_host_is_told(
    store: MediaStore, origin: Origin, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """Whatever goes wrong: sentences and logs do not hold what stands in its path."""
    caplog.set_level("DEBUG", logger="agent")
    origin.put("/s3cr3t/a", BODY[:100] if trouble == "cut off" else BODY + b"x")
    if trouble == "elsewhere":
        redirect(origin, "/s3cr3t/a", "ftp://127.0.0.1/s3cr3t/b")
    url = f"{origin.url}/s3cr3t/{'b' if trouble == 'missing' else 'a'}?s3cr3t=1"
    if trouble == "no port":
        url = "http://127.0.0.1:0/s3cr3t/a"
    with pytest.raises(FetchError) as error:
        await store.fetch(Want(url, "a", len(BODY), identity="a", signed=True))
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("agent.")]
    assert "s3cr3t" not in f"{error.value} {logged}"
    assert "127.0.0.1" in str(error.value)


async def test_who_said_that_there_is_no_such_file(store: MediaStore, origin: Origin) -> None:
    """The type of the answer tells a storage from a proxy."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml")

    origin.handlers["/a"] = answer
    with pytest.raises(FetchError) as error:
        await store.fetch(Want(origin.url + "/a", "a", len(BODY)))
    assert (error.value.status, error.value.content_type) == (404, "application/xml")
