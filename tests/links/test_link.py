"""What every link does, against real servers on the loopback."""

from __future__ import annotations

import asyncio
import http
import io
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from agent.links import backoff, link as link_module
from agent.links.backoff import Backoff
from agent.links.link import Address, Link, RefusedError, SilentError, SocketLimits, UnavailableError
from agent.system import clock, logs

DEADLINE_S = 15.0
TOKEN = "tok-3f9a7c21d0"
HEADER = "hdr-77be01aa42"
PASSWORD = "correct horse"
FIRST, SLOW = (0, 5.0), (30.0, 60.0)


class Far:
    """A server. `answer` is what it says to the next upgrades (then 101), `behave` what it does with a connection."""

    def __init__(self) -> None:
        self.answer: list[int] = []
        self.always: int | None = None
        self.attempts = 0
        self.tokens: list[str] = []
        self.live = 0
        self.most_live = 0
        self.behave: Callable[[ServerConnection], Awaitable[None]] = ServerConnection.wait_closed
        self.news = asyncio.Event()
        self._server: Server | None = None
        self.port = 0

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        """Listens, at the same port as before."""
        self._server = await serve(self._handle, "127.0.0.1", self.port, process_request=self._process, ssl=tls, close_timeout=1)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def close(self) -> None:
        """Goes away with every connection."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        self.attempts += 1
        self.tokens.append(request.path.partition("token=")[2])
        self.news.set()
        status = self.always or (self.answer.pop(0) if self.answer else 101)
        return None if status == 101 else connection.respond(http.HTTPStatus(status), "no\n")

    async def _handle(self, connection: ServerConnection) -> None:
        self.live += 1
        self.most_live = max(self.most_live, self.live)
        try:
            await self.behave(connection)
        finally:
            self.live -= 1


class Near(Link):
    """A link of a protocol that only listens. Waits are drawn as their upper bound, a thousandth as long."""

    kind = "test"
    limits = SocketLimits(open_s=5.0)

    def __init__(self, far: Far, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        super().__init__("main", spread_s=5.0, tls=tls)
        self.asked: list[tuple[float, float]] = []
        self.heard: list[str | bytes] = []
        self.renewals = 0
        self.renewable: bool | Exception = False
        self.fault: Exception | None = None
        self.states: list[str] = []
        self.news = asyncio.Event()
        self._far = far
        self._host = host
        self._backoff = Backoff(5.0, self._draw)
        self.on_change(lambda: self.states.append(self.state))
        self.on_change(self.news.set)

    def _draw(self, least: float, most: float) -> float:
        self.asked.append((least, most))
        self.news.set()
        return most / 1000

    async def run(self) -> None:
        """Connects for ever."""
        await self.connect_forever()

    async def save(self) -> None:
        """Has nothing to keep."""

    async def address(self) -> Address:
        """The far end, or the fault."""
        if self.fault is not None:
            raise self.fault
        scheme = "ws" if self._tls is None else "wss"
        return Address(
            f"{scheme}://{self._host}:{self._far.port}/ws?token={TOKEN}{self.renewals}", {"Authorization": f"Bearer {HEADER}"}
        )

    async def session(self, socket: ClientConnection) -> None:
        """Keeps what comes; a word of its own makes it fail."""
        async for message in socket:
            self.heard.append(message)
            self.news.set()
            if message == "boom":
                raise ZeroDivisionError("of ours")

    async def renew(self) -> bool:
        """Counts."""
        self.renewals += 1
        if isinstance(self.renewable, Exception):
            raise self.renewable
        return self.renewable

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` holds; looked at after every change."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    self.news.clear()
                    try:
                        async with asyncio.timeout(0.05):
                            await self.news.wait()
                    except TimeoutError:
                        pass
        except TimeoutError:
            raise AssertionError(f"state={self.state} error={self.last_error!r} asked={self.asked}") from None


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    """A server that listens."""
    made = Far()
    await made.open()
    yield made
    await made.close()


Start = Callable[..., Near]


@pytest.fixture
async def start(far: Far) -> AsyncIterator[Start]:
    """Starts links; ends them with the test."""
    tasks: list[asyncio.Task[None]] = []

    def begin(to: Far = far, **keywords: Any) -> Near:
        made = Near(to, **keywords)
        tasks.append(asyncio.create_task(made.run(), name="link"))
        return made

    yield begin
    for task in tasks:
        task.cancel()
    if tasks:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks), "a link ended by itself"


async def say(connection: ServerConnection, *words: str) -> None:
    """Sends and stays."""
    for word in words:
        await connection.send(word)
    await connection.wait_closed()


async def hang_up(connection: ServerConnection) -> None:
    """Accepts and closes at once."""
    await connection.close(1000, "not today")


# Connected


async def test_it_connects_and_speaks(far: Far, start: Start) -> None:
    """Connected, it has no error and no attempts, and hears what the server says."""
    far.behave = lambda connection: say(connection, "hello", "again")
    near = start()
    await near.until(lambda: near.heard == ["hello", "again"])
    assert (near.state, near.attempts, near.last_error) == ("connected", 0, "")
    assert near.states == ["connected"]
    assert near.asked == []
    assert far.tokens == [f"{TOKEN}0"]


async def test_it_comes_back_when_the_server_restarts(far: Far, start: Start) -> None:
    """A server that goes away and comes back gets one new connection; meanwhile the attempts and the error are told."""
    near = start()
    await near.until(lambda: near.state == "connected")
    await far.close()
    await near.until(lambda: near.attempts >= 3)
    assert near.state in ("waiting", "connecting")
    assert near.last_error
    assert near.asked[:3] == [FIRST, (0, 1.0), (0, 2.0)]
    await far.open()
    await near.until(lambda: near.state == "connected")
    assert (near.attempts, near.last_error) == (0, "")
    assert far.most_live == 1


async def test_there_is_never_a_second_socket(far: Far, start: Start) -> None:
    """Through twenty broken connections the server never sees two of them at once, and none after the end."""
    far.behave = hang_up
    near = start()
    await near.until(lambda: far.attempts >= 20)
    assert far.most_live == 1


async def test_since_is_the_last_change_of_state(far: Far, start: Start) -> None:
    """`since` moves with the state."""
    near = start()
    begun = near.since
    await near.until(lambda: near.state == "connected")
    connected = near.since
    assert connected > begun
    await far.close()
    await near.until(lambda: near.state != "connected")
    assert near.since > connected


class Doubtful(Near):
    """Finds that nobody is there, since the beginning, after a connection that would count as a stable one."""

    async def session(self, socket: ClientConnection) -> None:
        """Waits in vain."""
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(0.1)
        raise SilentError("nobody there", begun)


async def test_silence_is_no_stable_connection(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it lasted, the next attempts come later and later, as after a connection that broke off."""
    monkeypatch.setattr(backoff, "STABLE_S", 0.05)
    near = Doubtful(far)
    task = asyncio.create_task(near.run(), name="link")
    await near.until(lambda: len(near.asked) >= 4)
    assert near.asked[:4] == [FIRST, (0, 1.0), (0, 2.0), (0, 4.0)]
    assert near.last_error == "nobody there"
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize("secure", [False, True])
async def test_a_server_that_pings_and_never_reads(tmp_path: Path, far: Far, start: Start, *, secure: bool) -> None:
    """The answers to its pings do not pile up without limit: the connection is given up, and that is said."""
    to, ours = far, None
    if secure:
        theirs, ours = certificate(tmp_path, datetime.now(UTC) - timedelta(days=1))
        to = Far()
        await to.open(theirs)
    pings = (b"\x89\x7d" + bytes(125)) * 1_000

    async def flood(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        for _ in range(1_000):
            connection.transport.write(pings)
            await connection.drain()
            if connection.transport.is_closing():
                break

    to.behave = flood
    near = start(to, tls=ours)
    await near.until(lambda: near.attempts >= 1)
    assert near.last_error == "the server takes nothing from the connection"
    if secure:
        await to.close()


# Refused


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_upgrade_is_retried_at_once_with_a_new_token(far: Far, start: Start, status: int) -> None:
    """An expired token costs one renewal and no waiting."""
    far.answer = [status]
    near = start()
    near.renewable = True
    await near.until(lambda: near.state == "connected")
    assert (near.renewals, near.asked) == (1, [])
    assert far.tokens == [f"{TOKEN}0", f"{TOKEN}1"]


async def test_a_second_refusal_is_slow(far: Far, start: Start) -> None:
    """Refused with the new token, too: half a minute to a minute, then again one renewal and one retry."""
    far.always = 401
    near = start()
    near.renewable = True
    await near.until(lambda: len(near.asked) >= 1)
    assert far.attempts == 2
    assert "refused" in near.states
    assert near.last_error == "the server answered HTTP 401 to the WebSocket handshake"
    await near.until(lambda: len(near.asked) >= 3)
    assert set(near.asked) == {SLOW}
    assert near.renewals == len(near.asked)
    assert far.attempts == 2 * len(near.asked)


@pytest.mark.parametrize("renewable", [False, RefusedError("wrong password"), UnavailableError("no network")])
async def test_without_new_credentials_a_refusal_is_slow(
    far: Far,
    start: Start,
    renewable: bool | Exception,
) -> None:
    """When nothing could be renewed there is no second attempt."""
    far.always = 403
    near = start()
    near.renewable = renewable
    await near.until(lambda: len(near.asked) == 2)
    assert far.attempts == 2
    assert near.asked == [SLOW, SLOW]


async def test_1008_right_after_the_upgrade_is_a_refusal(far: Far, start: Start) -> None:
    """Servers that look at the token after the upgrade close with 1008: one renewal, one retry, then slow."""

    async def refuse(connection: ServerConnection) -> None:
        await connection.close(1008, "token expired")

    far.behave = refuse
    near = start()
    near.renewable = True
    await near.until(lambda: len(near.asked) == 1)
    assert far.attempts == 2
    assert near.asked == [SLOW]
    assert "1008" in near.last_error
    assert "token expired" in near.last_error


async def test_a_token_that_expires_later_is_renewed_at_once_again(
    far: Far, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renewal at the first refusal does not use up the one that is due hours later."""
    monkeypatch.setattr(backoff, "STABLE_S", 0.05)
    release = asyncio.Event()

    async def expire(connection: ServerConnection) -> None:
        if far.attempts == 2:
            await release.wait()
            await connection.close(1008, "token expired")
        await connection.wait_closed()

    far.answer = [401]
    far.behave = expire
    near = start()
    near.renewable = True
    await near.until(lambda: near.state == "connected")
    await asyncio.sleep(0.1)
    release.set()
    await near.until(lambda: far.attempts == 3 and near.state == "connected")
    assert (near.renewals, near.asked) == (2, [])


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_trouble_of_the_server_is_no_refusal(far: Far, start: Start, status: int) -> None:
    """5xx and "too many" wait with back-off, and no token is thrown away for them."""
    far.answer = [status] * 3
    near = start()
    near.renewable = True
    await near.until(lambda: near.state == "connected")
    assert near.renewals == 0
    assert near.asked == [FIRST, (0, 1.0), (0, 2.0)]
    assert "refused" not in near.states


async def test_what_the_address_says_counts(far: Far, start: Start) -> None:
    """A login that was refused is slow, one that could not be tried waits with back-off."""
    near = start()
    near.fault = UnavailableError("the name could not be resolved")
    await near.until(lambda: len(near.asked) == 2)
    assert near.last_error == "the name could not be resolved"
    near.fault = RefusedError("the server does not know the user")
    await near.until(lambda: near.asked[-1] == SLOW)
    assert near.last_error == "the server does not know the user"
    near.fault = None
    await near.until(lambda: near.state == "connected")
    assert near.asked[:2] == [FIRST, (0, 1.0)]


# Not hammered


async def test_a_server_that_accepts_and_closes_is_not_hammered(far: Far, start: Start) -> None:
    """A connection that is closed at once is a failure: the waits grow to a minute although each upgrade succeeds."""
    far.behave = hang_up
    near = start()
    await near.until(lambda: len(near.asked) >= 9)
    assert near.asked[:9] == [(0, most) for most in (5, 1, 2, 4, 8, 16, 32, 60, 60)]
    assert far.attempts <= len(near.asked) + 1
    assert "not today" in near.last_error


async def test_the_back_off_begins_anew_after_a_stable_connection(
    far: Far, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a connection that lived long enough makes the next attempt a quick one."""
    monkeypatch.setattr(backoff, "STABLE_S", 0.05)
    far.answer = [500] * 4
    release = asyncio.Event()

    async def later(connection: ServerConnection) -> None:
        await release.wait()
        await connection.close()

    far.behave = later
    near = start()
    await near.until(lambda: near.state == "connected")
    await asyncio.sleep(0.1)
    release.set()
    await near.until(lambda: len(near.asked) >= 5)
    assert near.asked[:5] == [FIRST, (0, 1.0), (0, 2.0), (0, 4.0), FIRST]


async def test_hurry_ends_a_wait(far: Far, start: Start) -> None:
    """A reason to try now, such as a clock that was set, does not wait for the end of a minute."""
    far.answer = [500]
    near = start()
    near._draw = lambda least, most: 3600.0  # type: ignore[method-assign]
    near._backoff = Backoff(5.0, near._draw)
    await near.until(lambda: near.state == "waiting")
    near.hurry()
    await near.until(lambda: near.state == "connected")


# Faults


async def test_a_handler_that_fails_is_logged_and_the_link_goes_on(
    far: Far, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours costs a connection, not the link; the traceback is in the log, not in the status."""
    words = iter([["boom"], ["fine"]])
    far.behave = lambda connection: say(connection, *next(words, []))
    near = start()
    await near.until(lambda: near.heard == ["boom", "fine"])
    assert near.state == "connected"
    assert "of ours" in caplog.text
    assert near.asked == [FIRST]


async def test_a_message_that_is_too_large_is_no_reason_to_hammer(far: Far, start: Start) -> None:
    """More than 1 MiB ends the connection, which is then opened again with back-off."""
    far.behave = lambda connection: say(connection, "x" * (1024 * 1024 + 1))
    near = start()
    await near.until(lambda: len(near.asked) >= 3)
    assert near.asked[:3] == [FIRST, (0, 1.0), (0, 2.0)]
    assert near.heard == []


async def test_a_server_that_never_answers(start: Start) -> None:
    """Connected to something that is silent, it gives up after its time and says so."""
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    to = Far()
    to.port = silent.sockets[0].getsockname()[1]
    near = start(to)
    near.limits = SocketLimits(open_s=0.1)
    await near.until(lambda: near.attempts >= 1)
    assert "time" in near.last_error.lower()
    silent.close()


async def test_an_address_that_is_none(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, the link goes on trying and shows nothing secret."""
    near = start(host="not a host:")
    await near.until(lambda: near.attempts >= 2)
    assert TOKEN not in near.last_error


async def test_ended_in_the_middle_it_leaves_nothing(far: Far) -> None:
    """Cancelled while connected it closes its socket; cancelled while it waits it ends at once."""
    near = Near(far)
    task = asyncio.create_task(near.run())
    await near.until(lambda: near.state == "connected")
    task.cancel()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait({task})
        while far.live:
            await asyncio.sleep(0.01)
    assert task.cancelled()


# The clock


def certificate(directory: Path, valid_from: datetime) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's TLS, for 127.0.0.1; the client trusts the server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_from + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = directory / "server.pem"
    path.write_bytes(secret + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_a_clock_that_is_not_set(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is not valid yet while our clock stands before the build is our clock's fault: tried every 5 s.

    With the same certificate and a clock that is set it is the server's fault, and a refusal afterwards is a refusal.
    """
    monkeypatch.setattr(link_module, "CLOCK_RETRY_S", 0.01)
    monkeypatch.setattr(clock, "is_set", lambda: False)
    theirs, ours = certificate(tmp_path, datetime.now(UTC) + timedelta(days=365))
    to = Far()
    await to.open(theirs)
    near = start(to, tls=ours)
    await near.until(lambda: near.attempts >= 3)
    assert near.clock_fault is True
    assert near.asked == [], "the back-off's waits are too long for a clock that may be set at any moment"
    assert "not yet valid" in near.last_error
    monkeypatch.setattr(clock, "is_set", lambda: True)
    await near.until(lambda: len(near.asked) == 1 and not near.clock_fault)
    monkeypatch.setattr(clock, "is_set", lambda: False)
    await near.until(lambda: near.clock_fault)
    near.fault = RefusedError("the server does not know the user")
    await near.until(lambda: SLOW in near.asked)
    await near.until(lambda: not near.clock_fault)
    await to.close()


def test_the_clock_is_tried_every_five_seconds() -> None:
    """The design's number."""
    assert link_module.CLOCK_RETRY_S == 5.0


async def test_a_certificate_of_somebody_else_is_refused(tmp_path: Path, start: Start) -> None:
    """TLS is verified: a server that nobody vouches for gets no connection and no token."""
    theirs, _ = certificate(tmp_path, datetime.now(UTC) - timedelta(days=1))
    to = Far()
    await to.open(theirs)
    near = start(to, tls=ssl.create_default_context())
    await near.until(lambda: near.attempts >= 2)
    assert "certificate verify failed" in near.last_error
    assert not near.clock_fault
    assert to.tokens == []
    await to.close()


async def test_a_certificate_that_is_trusted_is_accepted(tmp_path: Path, start: Start) -> None:
    """An authority of one's own is enough."""
    theirs, ours = certificate(tmp_path, datetime.now(UTC) - timedelta(days=1))
    to = Far()
    await to.open(theirs)
    near = start(to, tls=ours)
    await near.until(lambda: near.state == "connected")
    await to.close()


# Secrets


async def test_no_secret_reaches_log_or_status(far: Far, start: Start) -> None:
    """At the level debug, where libraries show every header, neither token nor password is seen; nor in the status."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.Formatter(journald=True, colour=False))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logs.hide(PASSWORD)
    try:
        far.answer = [401, 500, 301]
        far.behave = hang_up
        near = start()
        near.renewable = True
        await near.until(lambda: near.attempts >= 2)
        near.fault = UnavailableError(f"login of lobby with {PASSWORD} at https://h/?token={TOKEN} failed")
        await near.until(lambda: "lobby" in near.last_error)
        shown = near.last_error
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    text = stream.getvalue()
    assert "GET /ws?token=[hidden]" in text, "the libraries were not heard at all"
    for secret in (TOKEN, HEADER, PASSWORD):
        assert secret not in text
        assert secret not in shown


async def test_trouble_is_said_once(far: Far, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """While the server is away there is one warning; the next line a technician reads says that it is connected."""
    caplog.set_level(logging.INFO, "agent")
    far.always = 503
    near = start()
    await near.until(lambda: near.attempts >= 6)
    far.always = None
    await near.until(lambda: near.state == "connected")
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == "agent.links.link"]
    assert lines == [
        "WARNING not connected error=the server answered HTTP 503 to the WebSocket handshake link=main",
        "INFO connected link=main kind=test",
    ]


async def test_a_server_that_hangs_up_at_once(
    far: Far, start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once that the box is connected and once that it is not; again when a connection lasts."""
    caplog.set_level(logging.INFO, "agent")

    def lines() -> list[str]:
        return [f"{r.levelname} {r.getMessage()}" for r in caplog.records if r.name == "agent.links.link"]

    far.behave = hang_up
    near = start()
    await near.until(lambda: far.attempts >= 6)
    assert lines() == [
        "INFO connected link=main kind=test",
        "WARNING not connected error=the server closed the connection, code 1000 (not today) link=main",
    ]
    monkeypatch.setattr(link_module, "STABLE_S", 0.2)
    far.behave = ServerConnection.wait_closed
    await near.until(lambda: len(lines()) == 3)
    assert (lines()[2], near.state) == ("INFO connected link=main kind=test", "connected")


async def test_the_cause_of_a_refusal(far: Far, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """What the renewal of the credentials was refused with says more than the handshake's status."""
    far.always = 403
    near = start()
    near.renewable = RefusedError("login refused: no such user; check username and password")
    await near.until(lambda: near.attempts >= 3)
    assert near.last_error == "login refused: no such user; check username and password"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["refused error=login refused: no such user; check username and password link=main"]


async def test_a_renewal_that_breaks_off(far: Far, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of our own there ends no link."""
    far.answer = [403]
    near = start()
    near.renewable = ZeroDivisionError("of ours")
    await near.until(lambda: near.attempts == 1)
    assert "credentials could not be renewed link=main" in caplog.text
    near.hurry()
    await near.until(lambda: near.state == "connected")


async def test_servers_that_are_not_verified_as_configured(far: Far, start: Start) -> None:
    """It is told whether the server is there or not."""
    near = start()
    near.tls_fault = "ca_file /x.pem cannot be used"
    await near.until(lambda: near.state == "connected")
    assert (near.last_error, near.warnings()) == ("ca_file /x.pem cannot be used", ["link main: ca_file /x.pem cannot be used"])
    await far.close()
    await near.until(lambda: near.attempts >= 1)
    assert near.last_error.startswith("ca_file /x.pem cannot be used; ")
