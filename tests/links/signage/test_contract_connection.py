"""Section 1 of the signage contract over the wire: addresses, tokens, connections, and when playlists are fetched."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

import pytest

from agent.links import backoff
from agent.links.signage.link import SignageTimers
from agent.links.signage.rest import RestTimers
from tests.box import QUICK, SERIAL, until
from tests.links.signage.conftest import MakeBox, MakeFile
from tests.servers import (
    LOGIN_PATH,
    PLAYLISTS_PATH,
    REFRESH_PATH,
    REGISTER_PATH,
    SOCKET_PATH,
    SignageServer,
    item,
    playlist,
)


def fetches(server: SignageServer) -> int:
    return len(server.requests_to(PLAYLISTS_PATH))


def assert_no_token_abroad(server: SignageServer) -> None:
    """Nothing that arrived at the other origin carried a secret."""
    for request in server.requests_to("/", foreign=True):
        assert "Authorization" not in request.headers
        assert "token" not in request.query


def test_the_defaults_of_the_timers() -> None:
    """Playlists every 15 minutes, one `downloading` a second, repeated every 30 s."""
    assert SignageTimers() == SignageTimers(
        fetch_s=900.0, retry_s=60.0, register_s=5.0, report_s=1.0, repeat_s=30.0, place_s=30.0, rest=RestTimers()
    )


# Addresses


@pytest.mark.parametrize("serial", [SERIAL, "PLAIN-1", "100% ÄÖ/?#="])
async def test_the_socket_is_opened_with_token_and_serial(server: SignageServer, make_box: MakeBox, serial: str) -> None:
    """Both query values arrive as they are, and nothing else is in the query."""
    async with make_box(serial=serial) as box:
        device = await box.connected()
        assert device.serial == serial
        [request] = server.requests_to(SOCKET_PATH)
        assert request.query.keys() == {"token", "sn_number"}
        assert server.tokens.valid(request.query["token"])
        await until(lambda: [request.query for request in server.requests_to(PLAYLISTS_PATH)][:1] == [{"sn_number": serial}])


async def test_media_at_home_and_abroad(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Relative and absolute addresses work; the token goes to the configured origin only."""
    server.media_needs_token = True
    home, absolute, abroad = file("home.png"), file("absolute.png"), file("abroad.png")
    entries = [
        item(home, media_url=home.url.removeprefix("/")),
        item(absolute, media_url=server.url + absolute.url),
        item(abroad, media_url=server.foreign_url + abroad.url),
    ]
    server.offer([playlist(101, entries)])
    async with make_box() as box:
        await box.says("ready", 101)
    assert [bool(request.bearer) for request in server.requests_to("/media/home.png", foreign=False)] == [True]
    assert [bool(request.bearer) for request in server.requests_to("/media/absolute.png", foreign=False)] == [True]
    assert len(server.requests_to("/media/abroad.png", foreign=True)) == 1
    assert_no_token_abroad(server)


async def test_media_with_an_expired_token(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """401 for several files at once: one refresh, and they come."""
    server.media_needs_token = True
    async with make_box(parallel=3) as box:
        await box.ready()
        server.offer([playlist(101, [item(file(f"{number}.png")) for number in range(6)])])
        server.fault(PLAYLISTS_PATH, times=1, delay_s=0.1)
        await box.command("reload_playlist")
        server.fault("/media/*", times=3, status=401)
        await box.says("ready", 101)
        assert len(server.requests_to(REFRESH_PATH)) == 1


async def test_media_that_is_redirected_abroad(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """The redirect is followed without the token."""
    server.fault("/media/*", times=1, redirect_to=server.foreign_url)
    server.offer([playlist(101, [item(file("a.png"))])])
    async with make_box() as box:
        await box.says("ready", 101)
    assert len(server.requests_to("/media/a.png", foreign=True)) == 1
    assert_no_token_abroad(server)


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_a_socket_that_is_redirected_abroad(server: SignageServer, make_box: MakeBox, scheme: str) -> None:
    """The redirect is not followed: the token is part of the address."""
    abroad = server.foreign_url.replace("http", scheme, 1)
    fault = server.fault(SOCKET_PATH, redirect_to=f"{abroad}{SOCKET_PATH}?token=any&sn_number=x")
    async with make_box() as box:
        await until(lambda: fault.hits >= 2)
        assert server.requests_to(SOCKET_PATH, foreign=True) == []
        assert "HTTP 302" in box.link.last_error
        server.clear_faults()
        await box.connected()
    assert_no_token_abroad(server)


async def test_rest_that_is_redirected_abroad(server: SignageServer, make_box: MakeBox) -> None:
    """Login, registration and playlists are not followed there either."""
    server.fault("/api/*", redirect_to=server.foreign_url)
    async with make_box():
        await until(lambda: len(server.requests_to(LOGIN_PATH)) >= 2)
        assert server.requests_to("/", foreign=True) == []


# Refusals


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_upgrade_renews_the_token_once(server: SignageServer, make_box: MakeBox, status: int) -> None:
    """The normal sign of an expired token: one refresh, one immediate retry with the new token."""
    server.fault(SOCKET_PATH, times=1, status=status)
    async with make_box() as box:
        started = time.monotonic()
        await box.connected()
        assert time.monotonic() - started < 5
        first, second = server.requests_to(SOCKET_PATH)
        assert first.query["token"] != second.query["token"]
        assert (len(server.requests_to(REFRESH_PATH)), box.link.attempts) == (1, 0)


async def test_1008_right_after_the_upgrade_renews_the_token_once(server: SignageServer, make_box: MakeBox) -> None:
    """The same when the server accepts first."""
    server.fault(SOCKET_PATH, times=1, close_code=1008)
    async with make_box() as box:
        await box.connected()
        first, second = server.requests_to(SOCKET_PATH)
        assert first.query["token"] != second.query["token"]
        assert len(server.requests_to(REFRESH_PATH)) == 1


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 401}, {"close_code": 1008}])
async def test_a_second_refusal_is_slow(server: SignageServer, make_box: MakeBox, fault: dict[str, int]) -> None:
    """One refresh, one retry, then at least half a minute."""
    server.fault(SOCKET_PATH, **fault)
    async with make_box() as box:
        await until(lambda: box.link.state == "refused")
        await asyncio.sleep(0.2)
        assert len(server.requests_to(SOCKET_PATH)) == 2
        assert len(server.requests_to(REFRESH_PATH)) == 1
        assert box.link.last_error


async def test_a_refused_upgrade_with_a_dead_refresh_token_logs_in(server: SignageServer, make_box: MakeBox) -> None:
    """One refresh, then login, then the immediate retry."""
    async with make_box() as box:
        await box.connected()
        server.tokens.expire_all()
        await server.close(SERIAL)
        await server.wait_for(lambda: box.served.connections == 2)
        assert len(server.requests_to(REFRESH_PATH)) == 1


async def test_a_token_that_expires_during_a_long_connection(
    server: SignageServer, make_box: MakeBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a renewed connection has lived, 1008 is a first refusal again: reconnected at once."""
    monkeypatch.setattr(backoff, "STABLE_S", 0.05)
    server.fault(SOCKET_PATH, times=1, status=403)
    async with make_box() as box:
        for connections in (1, 2, 3):
            await server.wait_for(lambda number=connections: box.served.connections == number)  # type: ignore[misc]
            await asyncio.sleep(0.1)
            server.tokens.expire_access()
            await server.close(SERIAL, 1008)
        await server.wait_for(lambda: box.served.connections == 4)


async def test_an_expired_token_at_reconnection(server: SignageServer, make_box: MakeBox) -> None:
    """The connection drops, meanwhile the token has expired: back at once with a new one, everything works."""
    async with make_box() as box:
        await box.connected()
        server.tokens.expire_access()
        server.drop(SERIAL)
        await server.wait_for(lambda: box.served.connections == 2)
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(since=since)


async def test_wrong_credentials_are_tried_slowly(
    server: SignageServer, make_box: MakeBox, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused login is said once in words, without the password, and not repeated at once."""
    async with make_box(password="not-the-password", timers=replace(QUICK, rest=RestTimers())) as box:
        await until(lambda: box.link.state == "refused")
        await asyncio.sleep(0.2)
        assert len(server.requests_to(LOGIN_PATH)) == 1
        assert "check username and password" in box.link.last_error
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("login refused" in warning and "link=main" in warning for warning in warnings) <= 3
    assert "not-the-password" not in caplog.text


async def test_tokens_are_renewed_before_they_expire(server: SignageServer, make_box: MakeBox) -> None:
    """With a token that lives 2 s the connection stays, and every request carries a valid token."""
    server.tokens.access_lifetime_s = 2
    async with make_box(timers=replace(QUICK, rest=replace(QUICK.rest, renew_every_s=0.0))) as box:
        await box.connected()
        await until(lambda: len(server.requests_to(REFRESH_PATH)) >= 1)
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(since=since)
        assert box.served.connections == 1
    assert {request.status for request in server.requests_to("/api/")} <= {200, 201, 404}


async def test_a_404_on_the_upgrade_is_slow(server: SignageServer, make_box: MakeBox) -> None:
    """A server without this path is not hammered."""
    server.fault(SOCKET_PATH, status=404)
    async with make_box() as box:
        await until(lambda: box.link.state == "refused")
        assert len(server.requests_to(SOCKET_PATH)) <= 2
        assert "404" in box.link.last_error


async def test_a_server_with_trouble_is_tried_again(server: SignageServer, make_box: MakeBox) -> None:
    """5xx, resets and an orderly goodbye: always back, no token wasted."""
    for fault in (
        {"status": 500},
        {"status": 503},
        {"drop": True},
        {"close_code": 1011},
        {"close_code": 1000},
        {"close_code": 1001},
    ):
        server.fault(SOCKET_PATH, times=1, **fault)
    async with make_box() as box:
        await box.connected()
        assert server.requests_to(REFRESH_PATH) == []


async def test_one_socket_at_a_time(server: SignageServer, make_box: MakeBox) -> None:
    """However often it reconnects, exactly one is open."""
    async with make_box() as box:
        for number in range(1, 6):
            await server.wait_for(lambda n=number: box.served.connections == n and box.served.live == 1)  # type: ignore[misc]
            server.drop(SERIAL)
        await server.wait_for(lambda: box.served.connections == 6)
        await until(lambda: box.served.live == 1)


async def test_a_server_that_is_gone_for_a_while(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Playback goes on; the box comes back by itself."""
    server.offer([playlist(101, [item(file("a.png")), item(file("b.png"))])])
    async with make_box() as box:
        await box.says("ready", 101)
        await box.shows("a.png")
        await server.stop()
        await until(lambda: box.link.state in ("waiting", "connecting"))
        assert box.screen.playing.state == "playing"
        await asyncio.sleep(0.1)
        since = box.served.mark()
        await server.start()
        await box.ready(101, since=since)
        assert box.screen.titles == ["a.png"]


# When playlists are fetched


async def test_playlists_are_fetched_at_start_and_after_each_connection(server: SignageServer, make_box: MakeBox) -> None:
    """Even when the socket cannot be opened they come; and again after each reconnection."""
    server.fault(SOCKET_PATH, status=500)
    async with make_box() as box:
        await until(lambda: fetches(server) >= 1)
        server.clear_faults()
        await box.connected()
        await box.ready()
        for _ in range(2):
            before, connections = fetches(server), box.served.connections
            server.drop(SERIAL)
            await server.wait_for(lambda n=connections: box.served.connections > n)  # type: ignore[misc]
            await until(lambda n=before: fetches(server) > n)  # type: ignore[misc]


async def test_playlists_are_fetched_regularly(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Without anybody asking, a new playlist is found by the next regular fetch."""
    async with make_box(timers=replace(QUICK, fetch_s=0.1)) as box:
        await box.ready()
        server.offer([playlist(101, [item(file("a.png"))])])
        await box.says("ready", 101)
        before = fetches(server)
        await until(lambda: fetches(server) >= before + 3)


async def test_failed_fetches_are_repeated(server: SignageServer, make_box: MakeBox, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the server answers; said once, and once more when it is over."""
    server.fault(PLAYLISTS_PATH, times=4, status=500)
    server.fault(PLAYLISTS_PATH, times=1, skip=4, body="{}")
    server.fault(PLAYLISTS_PATH, times=1, skip=5, body="[1]")
    with caplog.at_level(logging.DEBUG, "agent"):
        async with make_box() as box:
            await until(lambda: fetches(server) >= 7)
            await until(lambda: "playlists fetched again" in caplog.text)
            await box.connected()
    warnings = [record for record in caplog.records if "playlists not fetched" in record.getMessage()]
    assert sum(record.levelno == logging.WARNING for record in warnings) == 2


async def test_an_unknown_device_registers_and_retries(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """404 for the playlists, for instance after the server has lost its memory: registered again, then fetched."""
    server.offer([playlist(101, [item(file("a.png"))])])
    async with make_box() as box:
        await box.says("ready", 101)
        box.served.registered.clear()
        server.offer([playlist(101, [item(file("a.png"))]), playlist(102, [item(file("b.png"))])])
        await box.command("reload_playlist")
        await box.says("ready", 102)
        assert len(box.served.registered) == 1


async def test_playback_needs_no_registration(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """A registration that fails blocks nothing, is said once and repeated until it succeeds."""
    server.auto_register = True
    server.fault(REGISTER_PATH, times=3, status=500)
    server.offer([playlist(101, [item(file("a.png"))])])
    async with make_box(timers=replace(QUICK, retry_s=0.05)) as box:
        await box.says("ready", 101)
        await box.shows("a.png")
        await server.wait_for(lambda: box.served.registered)


async def test_a_registration_that_hangs_holds_nothing_up(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Playlists of a known device come although the registration is never answered."""
    server.auto_register = True
    server.fault(REGISTER_PATH, delay_s=60)
    server.offer([playlist(101, [item(file("a.png"))])])
    async with make_box(timers=replace(QUICK, register_s=0.1)) as box:
        await box.says("ready", 101)
