"""The REST client against the fake backend (signage contract, sections 1 and 2)."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from agent.links.link import RefusedError, UnavailableError
from agent.links.signage.rest import RestTimers, SignageRest, UnknownDeviceError
from agent.system.state import State
from tests.box import JPEG, SERIAL
from tests.servers import LOGIN_PATH, PLAYLISTS_PATH, REFRESH_PATH, REGISTER_PATH, SignageServer
from tests.servers.tokens import ExpiryForm

MakeRest = Callable[..., SignageRest]


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


@pytest.fixture
async def make_rest(server: SignageServer, state: State) -> AsyncIterator[MakeRest]:
    made: list[SignageRest] = []

    def make(**changes: Any) -> SignageRest:
        options: dict[str, Any] = {
            "url": server.url,
            "username": server.username,
            "password": server.password,
            "state": state,
            "link": "main",
            "timers": RestTimers(request_s=5.0),
        }
        made.append(SignageRest(**{**options, **changes}))
        return made[-1]

    yield make
    for rest in made:
        await rest.close()


@pytest.fixture
def rest(server: SignageServer, make_rest: MakeRest) -> SignageRest:
    server.auto_register = True
    return make_rest()


def logins(server: SignageServer) -> int:
    return len(server.requests_to(LOGIN_PATH)) - len(server.requests_to(REFRESH_PATH))


def refreshes(server: SignageServer) -> int:
    return len(server.requests_to(REFRESH_PATH))


def test_the_defaults_of_the_timers() -> None:
    """Tokens are renewed 5 minutes before they expire; a request has 30 s."""
    assert RestTimers() == RestTimers(request_s=30.0, renew_before_s=300.0, refused_s=25.0)


# Addresses


@pytest.mark.parametrize(
    ("url", "root", "socket"),
    [
        ("https://host", "https://host/api/v1", "wss://host/ws/cloud/tb_device/"),
        ("http://host:8080/", "http://host:8080/api/v1", "ws://host:8080/ws/cloud/tb_device/"),
        ("wss://host", "https://host/api/v1", "wss://host/ws/cloud/tb_device/"),
        ("ws://host:81", "http://host:81/api/v1", "ws://host:81/ws/cloud/tb_device/"),
        ("http://http-host", "http://http-host/api/v1", "ws://http-host/ws/cloud/tb_device/"),
    ],
)
async def test_addresses_follow_the_server(make_rest: MakeRest, url: str, root: str, socket: str) -> None:
    """REST root and WebSocket derive from the server's address; ws and wss follow http and https."""
    rest = make_rest(url=url)
    assert rest.root == root
    assert rest.socket_url("S", "T") == f"{socket}?token=T&sn_number=S"


@pytest.mark.parametrize("serial", [SERIAL, "a b", "a+b", "a&b=c", "100%", "ÄÖ/?#"])
async def test_query_values_are_percent_encoded(rest: SignageRest, serial: str) -> None:
    """A serial with spaces, +, & arrives as it is, and so does the token."""
    query = urlsplit(rest.socket_url(serial, "to+k/e n=&")).query
    assert parse_qs(query, strict_parsing=True) == {"token": ["to+k/e n=&"], "sn_number": [serial]}
    assert "+" not in query
    assert (await rest.playlists(serial))["sn_number"] == serial


# Tokens


@pytest.mark.parametrize("key", ["expires_in", "expire_in"])
@pytest.mark.parametrize("form", ["int", "str", "iso"])
async def test_the_lifetime_as_servers_say_it(server: SignageServer, rest: SignageRest, key: str, form: ExpiryForm) -> None:
    """`expires_in` or `expire_in`, a number, a numeric string or an ISO date: renewed 5 minutes before."""
    server.tokens.expires_key, server.tokens.expires_form = key, form
    server.tokens.access_lifetime_s, server.tokens.with_exp = 7200, False
    await rest.access()
    assert rest.renew_in_s() == pytest.approx(6900, abs=3)


async def test_the_lifetime_by_the_token_itself(server: SignageServer, rest: SignageRest) -> None:
    """Without a word about it the JWT's `exp` counts."""
    server.tokens.expires_form, server.tokens.access_lifetime_s = "none", 5000
    await rest.access()
    assert rest.renew_in_s() == pytest.approx(4700, abs=3)


async def test_the_lifetime_without_any_word(server: SignageServer, rest: SignageRest) -> None:
    """With neither, an hour."""
    server.tokens.expires_form, server.tokens.with_exp = "none", False
    await rest.access()
    assert rest.renew_in_s() == pytest.approx(3300, abs=3)


@pytest.mark.parametrize(
    ("said", "renew_in_s"),
    [
        ({"expires_in": "soon"}, 3300),
        ({"expires_in": None, "expire_in": "900"}, 600),
        ({"expires_in": 0, "expire_in": 1200}, 900),
        ({"expires_in": -5}, 3300),
        ({"expires_in": True}, 3300),
        ({"expires_in": [1]}, 3300),
        ({"expires_in": "NaN"}, 3300),
        ({"expires_in": 1e400}, 3300),
        ({"expires_in": 4000.5}, 3700),
        ({"expires_in": "4000.0"}, 3700),
        ({"expires_in": 100}, 50),
    ],
)
async def test_odd_lifetimes(server: SignageServer, rest: SignageRest, said: dict[str, Any], renew_in_s: float) -> None:
    """What makes no sense falls through to the next source; a short life is renewed at its middle, not at once."""
    server.fault(LOGIN_PATH, times=1, body=json.dumps({"access": "opaque", "refresh": "r", "role": "device", **said}))
    assert await rest.access() == "opaque"
    assert rest.renew_in_s() == pytest.approx(renew_in_s, abs=30)


@pytest.mark.parametrize(
    ("form", "hours", "renew_in_s"),
    [
        ("%Y-%m-%dT%H:%M:%SZ", 2, 6900),
        ("%Y-%m-%d %H:%M:%S", 2, 6900),
        ("%Y-%m-%dT%H:%M:%S.%f+00:00", 2, 6900),
        ("%Y-%m-%dT%H:%M:%SZ", -2, 3300),
    ],
)
async def test_dates_of_expiry(server: SignageServer, rest: SignageRest, form: str, hours: int, renew_in_s: float) -> None:
    """ISO dates in their usual spellings; one in the past makes no sense."""
    date = (datetime.now(UTC) + timedelta(hours=hours)).strftime(form)
    server.fault(LOGIN_PATH, times=1, body=json.dumps({"access": "opaque", "expire_in": date}))
    await rest.access()
    assert rest.renew_in_s() == pytest.approx(renew_in_s, abs=30)


@pytest.mark.parametrize("claims", [b"not json", b"[1]", b"{}", b'{"exp": "never"}', b'{"exp": null}', b"\xff\xfe"])
async def test_odd_tokens(server: SignageServer, rest: SignageRest, claims: bytes) -> None:
    """A token whose middle cannot be read is a token all the same."""
    token = f"a.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c"
    server.fault(LOGIN_PATH, times=1, body=json.dumps({"access": token}))
    assert await rest.access() == token
    assert rest.renew_in_s() == pytest.approx(3300, abs=3)


async def test_an_answer_wrapped_in_data(server: SignageServer, rest: SignageRest) -> None:
    """`{"data": {"access": ...}}` is understood, lifetime included."""
    server.fault(LOGIN_PATH, times=1, body=json.dumps({"data": {"access": "opaque", "refresh": "r", "expires_in": 900}}))
    assert await rest.access() == "opaque"
    assert rest.renew_in_s() == pytest.approx(600, abs=3)


async def test_the_login_sends_the_credentials_only(server: SignageServer, rest: SignageRest) -> None:
    """`{username, password}` and no bearer."""
    await rest.access()
    [login] = server.requests_to(LOGIN_PATH)
    assert login.body == {"username": server.username, "password": server.password}
    assert "Authorization" not in login.headers


async def test_a_refresh_without_a_new_refresh_token_keeps_the_old_one(server: SignageServer, rest: SignageRest) -> None:
    """A missing `refresh` in the answer keeps the one there is; it is used again."""
    first = await rest.access()
    await rest.renew(first)
    second = await rest.access()
    await rest.renew(second)
    assert len({first, second, await rest.access()}) == 3
    assert (logins(server), refreshes(server)) == (1, 2)
    assert len({request.body["refresh"] for request in server.requests_to(REFRESH_PATH)}) == 1


async def test_a_rotated_refresh_token_is_taken(server: SignageServer, rest: SignageRest) -> None:
    """The new refresh token is the one used next."""
    server.tokens.rotate_refresh = True
    for _ in range(3):
        await rest.renew(await rest.access())
    assert (logins(server), refreshes(server)) == (1, 3)
    assert len({request.body["refresh"] for request in server.requests_to(REFRESH_PATH)}) == 3


async def test_a_refused_refresh_logs_in_again(server: SignageServer, rest: SignageRest) -> None:
    """401 on refresh: the credentials are used."""
    first = await rest.access()
    server.refuse_refresh = True
    await rest.renew(first)
    assert await rest.access() != first
    assert (logins(server), refreshes(server)) == (2, 1)


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 503, "body": "<html>"}, {"drop": True}, {"body": "null"}, {"status": 404}]
)
async def test_trouble_with_the_refresh_keeps_the_tokens(
    server: SignageServer, make_rest: MakeRest, rest: SignageRest, fault: dict[str, Any]
) -> None:
    """Tokens are kept through network trouble and 5xx, in memory and on disk; nobody logs in."""
    first = await rest.access()
    server.fault(REFRESH_PATH, **fault)
    with pytest.raises(UnavailableError):
        await rest.renew(first)
    assert await rest.access() == first
    again = make_rest()
    await again.open()
    assert await again.access() == first
    server.clear_faults()
    await rest.renew(first)
    assert (logins(server), await rest.access() != first) == (1, True)


async def test_wrong_credentials(server: SignageServer, make_rest: MakeRest) -> None:
    """400 is said in words without the password; the server is not asked again at once."""
    rest = make_rest(password="wrong-password")
    for _ in range(3):
        with pytest.raises(RefusedError, match=r"No active account.*check username and password") as caught:
            await rest.access()
        assert "wrong-password" not in str(caught.value)
    assert logins(server) == 1


async def test_corrected_credentials(server: SignageServer, make_rest: MakeRest) -> None:
    """After the pause the server is asked again."""
    rest = make_rest(password="later", timers=RestTimers(refused_s=0.0))
    with pytest.raises(RefusedError):
        await rest.access()
    server.password = "later"
    assert await rest.access()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, "login failed: HTTP 500 fault on demand"),
        ({"drop": True}, "POST /auth/token/"),
        ({"body": "[]"}, "not what the interface promises"),
        ({"body": '{"access": 5}'}, "not what the interface promises"),
        ({"body": '{"access": ""}'}, "not what the interface promises"),
        ({"body": "[" * 100_000}, "not what the interface promises"),
        ({"status": 502, "body": "<html>Bad gateway</html>", "content_type": "text/html"}, "HTTP 502"),
        ({"redirect_to": "/elsewhere"}, "login failed"),
    ],
)
async def test_a_login_that_fails_for_other_reasons(
    server: SignageServer, rest: SignageRest, fault: dict[str, Any], words: str
) -> None:
    """Trouble of the server's, named; no verdict on the credentials."""
    server.fault(LOGIN_PATH, times=1, **fault)
    with pytest.raises(UnavailableError, match=words):
        await rest.access()
    assert await rest.access()


async def test_a_server_that_does_not_answer(server: SignageServer, make_rest: MakeRest) -> None:
    """The deadline is named, with the call, without its query."""
    rest = make_rest(timers=RestTimers(request_s=0.2))
    await rest.access()
    server.fault(PLAYLISTS_PATH, delay_s=30)
    with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s: GET /admin/cloud/playlists$"):
        await rest.playlists(SERIAL)


async def test_tokens_outlive_the_agent(server: SignageServer, make_rest: MakeRest) -> None:
    """A later run takes them up and does not log in."""
    first = await make_rest().access()
    again = make_rest()
    await again.open()
    assert await again.access() == first
    assert again.renew_in_s() == pytest.approx(3300, abs=5)
    assert logins(server) == 1


@pytest.mark.parametrize(
    "stored", ["not json", "[]", "{}", '{"access": "a", "unknown": 1}', "5", "null", '{"access": 5, "lifetime_s": "x"}']
)
async def test_unreadable_stored_tokens(server: SignageServer, make_rest: MakeRest, state: State, stored: str) -> None:
    """They are ignored, and the agent logs in."""
    await state.write(lambda database: database.execute("INSERT INTO tokens VALUES ('main', ?)", (stored,)))
    rest = make_rest()
    await rest.open()
    assert await rest.access()
    assert logins(server) == 1


async def test_expired_stored_tokens_are_renewed_first(server: SignageServer, make_rest: MakeRest, state: State) -> None:
    """After a long time off the refresh token is used before anything else."""
    rest = make_rest()
    first = await rest.access()
    kept = json.loads(await state.read(lambda database: str(database.execute("SELECT value FROM tokens").fetchone()[0])))
    kept["expires_at"] = time.time() - 100_000
    await state.write(lambda database: database.execute("UPDATE tokens SET value = ?", (json.dumps(kept),)))
    again = make_rest()
    await again.open()
    assert again.renew_in_s() < 0
    assert await again.access() != first
    assert (logins(server), refreshes(server)) == (1, 1)


async def test_two_links_keep_their_tokens_apart(make_rest: MakeRest) -> None:
    """Each link has its own row."""
    await make_rest(link="one").access()
    other = make_rest(link="two")
    await other.open()
    assert other.renew_in_s() == 0


# Calls


async def test_one_refresh_for_many_calls(server: SignageServer, rest: SignageRest) -> None:
    """401 for twenty calls at once: one refresh, each call is repeated once."""
    await rest.access()
    server.tokens.expire_access()
    answers = await asyncio.gather(*(rest.playlists(SERIAL) for _ in range(20)))
    assert len(answers) == 20
    assert (logins(server), refreshes(server)) == (1, 1)
    assert len(server.requests_to(PLAYLISTS_PATH)) <= 40


async def test_one_login_for_many_calls(server: SignageServer, rest: SignageRest) -> None:
    """Without tokens twenty calls share one login."""
    await asyncio.gather(*(rest.playlists(SERIAL) for _ in range(20)))
    assert (logins(server), refreshes(server)) == (1, 0)


async def test_a_server_that_refuses_every_token(server: SignageServer, rest: SignageRest) -> None:
    """One refresh, one retry, then a refusal; no hammering."""
    server.fault(PLAYLISTS_PATH, status=401)
    with pytest.raises(RefusedError, match="refuses a new token"):
        await rest.playlists(SERIAL)
    assert len(server.requests_to(PLAYLISTS_PATH)) == 2
    assert refreshes(server) == 1


async def test_an_unknown_device(server: SignageServer, make_rest: MakeRest) -> None:
    """404 means: register first."""
    with pytest.raises(UnknownDeviceError, match="does not know the device: Device not found"):
        await make_rest().playlists(SERIAL)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 403},
        {"body": "not json"},
        {"body": "null"},
        {"body": "[" * 100_000},
        {"drop": True},
        {"redirect_to": "/elsewhere"},
        {"status": 302, "body": "{}"},
        {"status": 204, "body": ""},
    ],
)
async def test_playlists_that_cannot_be_had(server: SignageServer, rest: SignageRest, fault: dict[str, Any]) -> None:
    """Whatever came instead is no answer."""
    server.fault(PLAYLISTS_PATH, **fault)
    with pytest.raises((UnavailableError, RefusedError)):
        await rest.playlists(SERIAL)
    server.clear_faults()
    assert (await rest.playlists(SERIAL))["sn_number"] == SERIAL


async def test_an_answer_beyond_all_bounds(server: SignageServer, rest: SignageRest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read to its end."""
    monkeypatch.setattr("agent.links.signage.rest._LARGEST_ANSWER_BYTES", 100_000)
    server.fault(PLAYLISTS_PATH, times=1, body='"' + "x" * 200_000 + '"')
    with pytest.raises(UnavailableError, match="larger than 100000 bytes"):
        await rest.playlists(SERIAL)


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_a_registration_that_fails(server: SignageServer, rest: SignageRest, status: int) -> None:
    """Anything but success is said, a redirect too."""
    server.fault(REGISTER_PATH, times=1, status=status, body='{"message": "no room"}')
    with pytest.raises(UnavailableError, match=f"registration failed.*HTTP {status}"):
        await rest.register({})


@pytest.mark.parametrize("status", [200, 201])
async def test_a_registration_that_succeeds(server: SignageServer, rest: SignageRest, status: int) -> None:
    """200 and 201 are both fine."""
    server.fault(REGISTER_PATH, times=1, status=status, body='{"data": {"sn_number": "x"}}')
    await rest.register({"sn_number": "x"})


async def test_nothing_follows_a_redirect(server: SignageServer, rest: SignageRest) -> None:
    """No call, and so no token and no password, goes to another host."""
    server.fault("/api/v1/*", redirect_to=server.foreign_url)
    with pytest.raises(UnavailableError):
        await rest.access()
    server.clear_faults()
    await rest.access()
    server.fault("/api/v1/*", redirect_to=server.foreign_url)
    with pytest.raises(UnavailableError):
        await rest.playlists(SERIAL)
    with pytest.raises(UnavailableError):
        await rest.register({})
    with pytest.raises(UnavailableError):
        await rest.send_screenshot(SERIAL, 1, JPEG, "device")
    assert server.requests_to("/", foreign=True) == []


@pytest.mark.parametrize("form", ["device", "cloud"])
async def test_screenshots(server: SignageServer, rest: SignageRest, form: str) -> None:
    """Both forms carry exactly the contract's fields and a JPEG."""
    await rest.playlists(SERIAL)
    before_ms = int(time.time() * 1000)
    await rest.send_screenshot(SERIAL, 1001, JPEG, form)
    shot = await server.device(SERIAL).wait_screenshot()
    assert (shot.form, shot.image) == (form, JPEG)
    if form == "device":
        assert shot.fields == {"device_id": SERIAL, "media_id": "1001"}
    else:
        assert shot.fields.keys() == {"sn_number", "media_id", "timestamp"}
        assert (shot.fields["sn_number"], shot.fields["media_id"]) == (SERIAL, "1001")
        assert before_ms <= int(shot.fields["timestamp"]) <= int(time.time() * 1000)


async def test_media_headers_without_a_token(server: SignageServer, make_rest: MakeRest) -> None:
    """No token to be had: the file is asked for without one."""
    server.fault(LOGIN_PATH, status=500)
    assert await make_rest().media_headers(None) == {}
    server.clear_faults()
    rest = make_rest()
    assert await rest.media_headers(None) == {"Authorization": f"Bearer {await rest.access()}"}


async def test_media_headers_that_were_refused(server: SignageServer, rest: SignageRest) -> None:
    """Others come, from one refresh for all that ask; if that fails, none."""
    first = await rest.media_headers(None)
    seconds = await asyncio.gather(*(rest.media_headers(first) for _ in range(10)))
    assert refreshes(server) == 1
    assert all(second == seconds[0] != first for second in seconds)
    server.fault(REFRESH_PATH, status=500)
    assert await rest.media_headers(seconds[0]) == {}


@pytest.mark.parametrize("token", ["to\nken", "to\x00ken", "tok\x7fen", "t\u00f6ken", "\ud800", "x" * 20_000])
async def test_a_token_that_no_header_can_hold(server: SignageServer, rest: SignageRest, token: str) -> None:
    """It is none, and the answer not what the interface promises."""
    server.fault(LOGIN_PATH, times=1, body=json.dumps({"access": token}))
    with pytest.raises(UnavailableError, match="not what the interface promises"):
        await rest.access()
    assert (await rest.playlists(SERIAL))["sn_number"] == SERIAL


async def test_a_token_nested_beyond_measure(server: SignageServer, rest: SignageRest) -> None:
    """Claims that no parser takes are no claims."""
    token = f"a.{base64.urlsafe_b64encode(b'[' * 10_000).decode()}.c"
    server.fault(LOGIN_PATH, times=1, body=json.dumps({"access": token}))
    assert await rest.access() == token
    assert rest.renew_in_s() == pytest.approx(3300, abs=3)


@pytest.mark.parametrize("lifetime_s", [0.001, 1, 40])
async def test_a_token_is_not_renewed_all_the_time(server: SignageServer, rest: SignageRest, lifetime_s: float) -> None:
    """Whatever the server says of its lifetime."""
    server.fault(LOGIN_PATH, times=1, body=json.dumps({"access": "opaque", "refresh": "r", "expires_in": lifetime_s}))
    assert await rest.access() == await rest.access() == "opaque"
    assert rest.renew_in_s() == pytest.approx(30, abs=2)
    assert server.requests_to(REFRESH_PATH) == []


async def test_a_large_answer_keeps_nobody_waiting(
    server: SignageServer, rest: SignageRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a megabyte on it is read beside the loop."""
    threads: list[bool] = []
    loads = json.loads

    def watched(raw: Any, **options: Any) -> Any:
        if len(raw) > 100_000:
            threads.append(threading.current_thread() is threading.main_thread())
        return loads(raw, **options)

    monkeypatch.setattr(json, "loads", watched)
    for size in (200_000, 1_100_000):
        server.fault(PLAYLISTS_PATH, times=1, body=json.dumps({"sn_number": SERIAL, "padding": "x" * size}))
        assert (await rest.playlists(SERIAL))["sn_number"] == SERIAL
    assert threads == [True, False]
