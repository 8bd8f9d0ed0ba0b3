"""What a link is: one server, one protocol, connected for ever (design, section 6)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from agent.links.backoff import STABLE_S, Backoff
from agent.links.connection import Connect, Connection, give_up_unanswered, takes_nothing
from agent.system import clock
from agent.system.logs import Trouble, excerpt

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)
_silent_log = logging.getLogger(f"{__name__}.frames")
_silent_log.setLevel(logging.WARNING)

LinkState = Literal["connected", "connecting", "waiting", "refused"]
POLICY_VIOLATION = 1008
CLOCK_RETRY_S = 5.0
CERT_NOT_YET_VALID = 9
"""X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL."""
TAKES_NOTHING = "the server takes nothing from the connection"
LONGEST_ERROR = 1_000


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and with what."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Of a WebSocket connection; seconds and bytes."""

    open_s: float = 10.0
    ping_s: float = 20.0
    pong_s: float = 20.0
    close_s: float = 2.0
    max_bytes: int = 1024 * 1024
    max_waiting: int = 16
    """Messages read ahead of the protocol; with `max_bytes` the most memory a server can take, but for what is unsent."""


class RefusedError(Exception):
    """The server does not want us: wrong credentials, unknown device. Retried slowly."""


class UnavailableError(Exception):
    """The server cannot be reached, or has trouble of its own. Retried with back-off."""


class SilentError(UnavailableError):
    """The connection was open, but nobody was there: since `heard_at` (loop time). From then on it counts as lost."""

    def __init__(self, words: str, heard_at: float) -> None:
        super().__init__(words)
        self.heard_at = heard_at


class Link(ABC):
    """One connection to one server, retried for ever.

    A protocol gives the `address`, speaks in `session` for as long as the socket lives, and says in `renew` whether a refusal
    is worth one immediate retry (a renewed token).
    """

    kind: str
    limits = SocketLimits()
    greets = False
    """Whether the protocol has a greeting of its own: then `session` calls `established` once that is done."""
    secret_frames = False
    """Whether messages carry credentials that are not known beforehand: then no library logs them."""

    def __init__(self, name: str, *, spread_s: float = 5.0, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.state: LinkState = "connecting"
        self.since = time.time()
        """Wall clock of the last change of state."""
        self.attempts = 0
        """Failed attempts since the last connection."""
        self.last_error = ""
        self.clock_fault = False
        """The server's certificate is not valid yet, because our clock has not been set."""
        self.tls_fault = ""
        """Why servers are not verified as configured, in words."""
        self.predecessor: Link | None = None
        """One that has ended; what it showed stays on until this one has taken up its work."""
        self._fault = ""
        """What broke it off."""
        self._tls = tls
        self._backoff = Backoff(spread_s)
        self._hurry = asyncio.Event()
        self._trouble = Trouble(log)
        self._lived_s: float | None = None
        """How long the last connection was good; None: it did not come about."""
        self._flaps = False
        """The last connection did not last."""
        self._steady: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []

    # What a protocol fills in

    @abstractmethod
    async def run(self) -> None:
        """Serves the server for ever. When it ends, what it shows stays on until `leave`."""

    @abstractmethod
    async def save(self) -> None:
        """Writes to disk what should outlive the agent; called when it ends. Raises StateError."""

    def leave(self) -> None:
        """Gives up what it shows; `run` has ended."""
        self._succeed()

    def playlists(self) -> list[dict[str, Any]]:
        """Its entries among the playlists of `status --json`."""
        return []

    def jobs(self) -> list[dict[str, Any]]:
        """Its entries among the jobs of `status --json`."""
        return []

    @abstractmethod
    async def address(self) -> Address:
        """Where to connect now. Raises RefusedError or UnavailableError."""

    @abstractmethod
    async def session(self, socket: ClientConnection) -> None:
        """Speaks the protocol until the connection ends. May raise what the socket raises."""

    async def renew(self) -> bool:
        """The server refused the connection: True when credentials were renewed, so that one more try makes sense."""
        return False

    # What all have in common

    async def connect_forever(self) -> None:
        """Connects, speaks, waits, connects again."""
        self._succeed()
        renewed = False
        while True:
            self._set_state("connecting")
            refused = clock_fault = False
            try:
                address = await self.address()
                async with self._connect(address) as socket:
                    await self._serve(socket)
                error = _closing_words(socket)
                refused = socket.close_code == POLICY_VIOLATION
            except RefusedError as fault:
                error, refused = str(fault), True
            except InvalidStatus as fault:
                refused = fault.response.status_code in (401, 403, 404)
                error = f"the server answered HTTP {fault.response.status_code} to the WebSocket handshake"
            except (UnavailableError, ConnectionClosed, InvalidHandshake, OSError, TimeoutError) as fault:
                error = _words(fault)
                clock_fault = is_clock_fault(fault)
                if isinstance(fault, ConnectionClosed) and fault.rcvd is not None:
                    refused = fault.rcvd.code == POLICY_VIOLATION
            except Exception as fault:
                log.exception("connection broke off link=%s", self.name)
                error = f"internal error: {type(fault).__name__}"
            self.clock_fault = clock_fault
            if self._steady is not None:
                self._steady.cancel()
            lived_s, self._lived_s = self._lived_s, None
            stable = self._backoff.lived(lived_s or 0.0)
            if lived_s is not None:
                self._flaps = not stable
            if stable:
                renewed = False
                self._trouble = Trouble(log)
            if refused and not renewed:
                renewed, error = await self._renew(error)
                if renewed:
                    log.info("refused, trying again with renewed credentials link=%s error=%s", self.name, error)
                    continue
            renewed = False
            await self._wait(error, refused=refused)

    async def _serve(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        connected_at, ended_at = loop.time(), None
        try:
            give_up_unanswered(socket, self.limits.ping_s + self.limits.pong_s)
            if not self.greets:
                self.established()
            await self.session(socket)
        except SilentError as fault:
            ended_at = fault.heard_at
            raise
        except ConnectionClosed:
            if takes_nothing(socket):
                raise UnavailableError(TAKES_NOTHING) from None
            raise
        finally:
            self._lived_s = (loop.time() if ended_at is None else ended_at) - connected_at

    def established(self) -> None:
        """The server is there and takes us. After a connection that did not last the log waits whether this one does."""
        self._set_state("connected")
        if self._flaps:
            log.debug("connected again, perhaps not for long link=%s kind=%s", self.name, self.kind)
            self._steady = asyncio.get_running_loop().call_later(STABLE_S, self._say_connected)
        else:
            self._say_connected()

    def _say_connected(self) -> None:
        log.info("connected link=%s kind=%s", self.name, self.kind)

    def broke_off(self, error: BaseException) -> None:
        """`run` has ended by a fault of our own; another link is to take its place."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self._fault = f"internal error: {type(error).__name__}"
        self.last_error = self._fault
        self._set_state("waiting")

    def warnings(self) -> list[str]:
        """What an operator should see to, one sentence each."""
        faults = (self.tls_fault, self._fault and f"broke off and is started again: {self._fault}")
        return [f"link {self.name}: {fault}" for fault in faults if fault]

    def _succeed(self) -> None:
        """From here on nothing of the predecessor is needed."""
        predecessor, self.predecessor = self.predecessor, None
        if predecessor is not None:
            predecessor.leave()

    def hurry(self) -> None:
        """Ends a wait between two attempts, for instance because the clock was set."""
        self._hurry.set()

    def _connect(self, address: Address) -> Connect:
        secure = address.url.startswith("wss:")
        return Connect(
            address.url,
            additional_headers=dict(address.headers),
            compression=None,
            max_size=self.limits.max_bytes,
            max_queue=self.limits.max_waiting,
            open_timeout=self.limits.open_s,
            ping_interval=self.limits.ping_s,
            ping_timeout=self.limits.pong_s,
            close_timeout=self.limits.close_s,
            ssl=self._tls if secure else None,
            proxy=None,
            logger=_silent_log if self.secret_frames else None,
            create_connection=Connection,
        )

    async def _renew(self, error: str) -> tuple[bool, str]:
        """Whether credentials were renewed, and the error to tell: a refusal of the renewal is the cause of the one before."""
        try:
            return await self.renew(), error
        except RefusedError as refusal:
            return False, str(refusal)
        except UnavailableError as trouble:
            log.debug("credentials could not be renewed link=%s error=%s", self.name, trouble)
        except Exception:
            log.exception("credentials could not be renewed link=%s", self.name)
        return False, error

    async def _wait(self, error: str, *, refused: bool) -> None:
        wait_s = CLOCK_RETRY_S if self.clock_fault else self._backoff.wait_s(refused=refused)
        self.attempts += 1
        if self.tls_fault:
            error = f"{self.tls_fault}; {error}"
        self.last_error = excerpt(error, LONGEST_ERROR)
        self._set_state("refused" if refused else "waiting")
        self._trouble.is_("refused" if refused else "not connected", error, link=self.name)
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()

    def _set_state(self, state: LinkState) -> None:
        if state == "connected":
            self.attempts = 0
            self.clock_fault = False
            self.last_error = self.tls_fault
        if state != self.state:
            self.state = state
            self.since = time.time()
            self.changed()

    def on_change(self, callback: Callable[[], None]) -> None:
        """`callback` is called after each change of what `status` tells."""
        self._listeners.append(callback)

    def changed(self) -> None:
        """Tells the listeners."""
        for listener in self._listeners:
            listener()


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return str(error) or type(error).__name__


def _closing_words(socket: ClientConnection) -> str:
    reason = f" ({socket.close_reason})" if socket.close_reason else ""
    return f"the server closed the connection, code {socket.close_code}{reason}"


def is_clock_fault(error: BaseException) -> bool:
    """Whether a certificate was refused as "not yet valid" while our clock stands before the build of this version."""
    while not isinstance(error, ssl.SSLCertVerificationError):
        if error.__cause__ is None:
            return False
        error = error.__cause__
    return error.verify_code == CERT_NOT_YET_VALID and not clock.is_set()
