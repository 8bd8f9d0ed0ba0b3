"""Addresses, and answers that are not what was promised."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.links.conversion.login import RestTimers
from agent.links.conversion.rest import ConversionRest, NoOutputError, NoSuchJobError, NotCompletedError, Place
from agent.links.link import RefusedError, UnavailableError
from agent.system.state import State

MakeRest = Callable[..., ConversionRest]


@pytest.fixture
async def make_rest(tmp_path: Path) -> AsyncIterator[MakeRest]:
    state = await State.open(tmp_path / "state.db")
    made: list[ConversionRest] = []

    def make(url: str, **options: Any) -> ConversionRest:
        made.append(ConversionRest(url, state=state, link="films", timers=RestTimers(request_s=2.0), **options))
        return made[-1]

    yield make
    for rest in made:
        await rest.close()
    await state.close()


@pytest.fixture
async def answering() -> AsyncIterator[Callable[[Any], Any]]:
    """Starts a server that answers every request with the same function; its address."""
    runners = []

    async def start(answer: Any) -> str:
        async def handle(request: web.Request) -> web.StreamResponse:
            response: web.StreamResponse = await answer(request)
            return response

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("url", "origin", "socket"),
    [
        ("https://films.example", "https://films.example", "wss://films.example/ws/conversion/j1/"),
        ("https://Films.example:443/", "https://films.example", "wss://films.example/ws/conversion/j1/"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080", "ws://10.0.0.1:8080/ws/conversion/j1/"),
        ("ws://10.0.0.1:80/", "http://10.0.0.1", "ws://10.0.0.1/ws/conversion/j1/"),
        ("wss://films.example/cast/", "https://films.example", "wss://films.example/cast/ws/conversion/j1/"),
        ("http://[fe80::1]:8080", "http://[fe80::1]:8080", "ws://[fe80::1]:8080/ws/conversion/j1/"),
    ],
)
async def test_addresses(make_rest: MakeRest, url: str, origin: str, socket: str) -> None:
    """The origin is as a browser would write it; sockets lie beside the API."""
    rest = make_rest(url, cookie="c00k1e")
    assert rest.origin == origin
    address = rest.job_socket("j1")
    assert (address.url, dict(address.headers)) == (socket, {"Origin": origin})
    jobs = rest.jobs_socket()
    assert jobs.url == socket.replace("conversion/j1", "jobs")
    assert jobs.headers == {"Origin": origin, "Cookie": "sessionid=c00k1e"}


async def test_an_id_cannot_leave_its_place(make_rest: MakeRest) -> None:
    """It is quoted in addresses."""
    assert make_rest("https://films").job_socket("a/../../b?c#d").url == "wss://films/ws/conversion/a%2F..%2F..%2Fb%3Fc%23d/"


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ({"download_url": "https://s3/bucket/a?X-Amz-Signature=1"}, Place("https://s3/bucket/a?X-Amz-Signature=1", signed=True)),
        ({"download_url": "/media/a.mp4"}, Place("{root}/media/a.mp4", signed=True)),
    ],
)
async def test_signed_addresses(make_rest: MakeRest, answering: Any, answer: Any, place: Place) -> None:
    """Absolute, or relative to the server."""
    root = await answering(lambda _request: _json(answer))
    assert await make_rest(root).place("j1") == Place(place.url.replace("{root}", root), signed=True)


async def test_a_redirect_is_a_signed_address(make_rest: MakeRest, answering: Any) -> None:
    """It gets no credentials either."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "https://s3/a?sig=1"})

    assert await make_rest(await answering(answer)).place("j1") == Place("https://s3/a?sig=1", signed=True)


async def test_the_file_itself(make_rest: MakeRest, answering: Any) -> None:
    """Told by its type; it is not read here."""
    root = await answering(lambda _request: _text("film", "video/mp4"))
    assert await make_rest(root).place("j1") == Place(f"{root}/api/jobs/j1/download/", signed=False)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "null",
        "[]",
        "not json",
        '{"download_url": 7}',
        '{"download_url": "file:///etc/passwd"}',
        '{"download_url": "http://["}',
    ],
)
async def test_no_address(make_rest: MakeRest, answering: Any, body: str) -> None:
    """An answer without one that can be used is the server's trouble."""
    root = await answering(lambda _request: _text(body, "application/json"))
    with pytest.raises(UnavailableError):
        await make_rest(root).place("j1")


async def test_a_web_page(make_rest: MakeRest, answering: Any) -> None:
    """Neither a list, nor a job, nor an output."""
    rest = make_rest(await answering(lambda _request: _text("<html>oops</html>", "text/html")))
    for call in (rest.page(1), rest.job("j1"), rest.place("j1")):
        with pytest.raises(UnavailableError):
            await call


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, NotCompletedError),
        (404, NoOutputError),
        (500, UnavailableError),
        (403, RefusedError),
        (401, RefusedError),
        (429, UnavailableError),
    ],
)
async def test_refusals_of_a_download(make_rest: MakeRest, answering: Any, status: int, error: type[Exception]) -> None:
    """Each means something else."""
    root = await answering(lambda _request: _json({"detail": "no"}, status=status))
    with pytest.raises(error):
        await make_rest(root).place("j1")


async def test_no_such_job(make_rest: MakeRest, answering: Any) -> None:
    """Unknown, or somebody else's."""
    with pytest.raises(NoSuchJobError):
        await make_rest(await answering(lambda _request: _json({"detail": "Not found."}, status=404))).job("j1")


@pytest.mark.parametrize(
    ("text", "content_type"), [("404 page not found", "text/plain"), ("<html>", "text/html"), ("[]", "application/json")]
)
async def test_a_404_that_is_not_the_servers(make_rest: MakeRest, answering: Any, text: str, content_type: str) -> None:
    """A proxy without a server behind it: trouble, and neither a job nor an output nor the rest of the list is gone."""
    rest = make_rest(await answering(lambda _request: _text(text, content_type, 404)))
    for call in (rest.page(1), rest.page(2), rest.job("j1"), rest.place("j1")):
        with pytest.raises(UnavailableError, match="HTTP 404"):
            await call


async def test_the_end_of_the_list(make_rest: MakeRest, answering: Any) -> None:
    """It may have been shortened between two pages."""
    rest = make_rest(await answering(lambda _request: _json({"detail": "Invalid page."}, status=404)))
    assert (await rest.page(2)).jobs == ()
    with pytest.raises(UnavailableError):
        await rest.page(1)


async def test_a_job_that_is_listed_and_not_shown(make_rest: MakeRest, answering: Any) -> None:
    """The list tells that the token is good: nobody logs in, and the sentence does not blame the token."""
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        listing = request.path == "/api/jobs/"
        return web.json_response({"results": []} if listing else {"detail": "no"}, status=200 if listing else 403)

    rest = make_rest(await answering(answer), token="abcdef", username="lobby", password="w")
    for call in (rest.job("j1"), rest.place("j1")):
        with pytest.raises(RefusedError, match=r"lists the user's jobs, but refuses /api/jobs/j1/.*HTTP 403: no"):
            await call
    assert await rest.media_headers({"Authorization": "Token abcdef"}) == {"Authorization": "Token abcdef"}
    assert "/api/auth/login/" not in asked


@pytest.mark.parametrize("body", ["[" + "[]," * 300_000 + "[]]", '{"log":[' + "{}," * 300_000 + "{}]}"])
async def test_an_answer_of_very_many_parts(make_rest: MakeRest, answering: Any, body: str) -> None:
    """It is not read: that would hold up everything else."""
    rest = make_rest(await answering(lambda _request: _text(body, "application/json")))
    for call in (rest.page(1), rest.job("j1")):
        with pytest.raises(UnavailableError, match="parts"):
            await call


async def test_a_job_with_a_long_log(make_rest: MakeRest, answering: Any) -> None:
    """It is a job like others; a page of the list may not be as long."""
    log = "[libx264 @ 0x55d0c0ffee00] frame I:12 Avg QP:20.1 size: 12345 {x}\n" * 60_000
    rest = make_rest(await answering(lambda _request: _json({"status": "completed", "log": log})))
    assert (await rest.job("j1")).status == "completed"
    with pytest.raises(UnavailableError, match="larger than 1048576 bytes"):
        await rest.page(1)


async def test_an_answer_without_end(make_rest: MakeRest, answering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read into memory."""
    monkeypatch.setattr("agent.links.conversion.rest.LARGEST_PAGE_BYTES", 100_000)
    with pytest.raises(UnavailableError, match="larger than 100000 bytes"):
        await make_rest(await answering(lambda _request: _text("[" + "1," * 200_000, "application/json"))).page(1)


async def test_a_server_that_is_not_there(make_rest: MakeRest) -> None:
    """The sentence names the call, not the secret."""
    with pytest.raises(UnavailableError, match="GET /api/jobs/") as raised:
        await make_rest("http://127.0.0.1:9", token="t0k3n-of-the-user").page(1)
    assert "t0k3n" not in str(raised.value)


async def test_headers_for_a_direct_file(make_rest: MakeRest) -> None:
    """The token; nothing on a server that asks for none."""
    assert await make_rest("http://127.0.0.1:9", token="abcdef").media_headers(None) == {"Authorization": "Token abcdef"}
    assert await make_rest("http://127.0.0.1:9").media_headers(None) == {}
    assert await make_rest("http://127.0.0.1:9", token="abcdef").media_headers({"Authorization": "Token abcdef"}) == {}


async def _json(body: Any, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


async def _text(text: str, content_type: str, status: int = 200) -> web.Response:
    return web.Response(text=text, content_type=content_type, status=status)
