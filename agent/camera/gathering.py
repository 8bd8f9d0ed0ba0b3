"""Finding our own addresses: in time for the answer, and what is found later as well.

aiortc waits up to 5 s for every STUN and TURN server before it answers, asks only the first of each, and cannot tell what it
finds afterwards. So it is given no servers, and they are asked here instead. Reaches into aioice's `Connection`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aioice import Candidate, Connection
from aioice.ice import StunProtocol, relayed_candidate, server_reflexive_candidate

from agent.camera.ice import Servers, StunServer, TurnServer

log = logging.getLogger(__name__)

NEXT_TURN_S = 0.15
"""A TURN server that has not answered by then gets company from the next one named."""
NAMES_KEPT_S = 60.0
LOOKUPS = 16

Spawn = Callable[[Coroutine[Any, Any, None], str], object]
"""Starts a task that belongs to somebody."""


class Names:
    """Looks up the names of servers, each once however many ask, in threads of its own: a lookup may take half a minute."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="dns")
        self._found: dict[str, tuple[float, asyncio.Future[str]]] = {}

    async def address(self, host: str) -> str:
        """The IPv4 address of `host`, else its IPv6 address. Raises OSError."""
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass
        now = time.monotonic()
        self._found = {name: entry for name, entry in self._found.items() if entry[0] > now or not entry[1].done()}
        _, lookup = self._found.get(host, (0.0, None))
        if lookup is None or (lookup.done() and lookup.exception() is not None):
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)
            lookup.add_done_callback(_heard)
            self._found[host] = (now + NAMES_KEPT_S, lookup)
        return await asyncio.shield(lookup)


class Gathering:
    """Gathers for one ICE connection, once its `gather_candidates` is called.

    `spawn` runs what goes on after the answer; `on_late` gets each candidate found then, as in SDP, and None at the end.
    """

    def __init__(
        self,
        connection: Connection,
        servers: Servers,
        names: Names,
        *,
        spawn: Spawn,
        on_late: Callable[[str | None], None],
        patience_s: float,
        longest_s: float,
        relay_only: bool = False,
    ) -> None:
        self.goes_on = False
        """Whether more candidates may come after the answer."""
        self._connection = connection
        self._servers = servers
        self._names = names
        self._spawn = spawn
        self._on_late = on_late
        self._patience_s = patience_s
        self._longest_s = longest_s
        self._relay_only = relay_only
        self._hosts = connection.get_component_candidates
        self._tasks: set[asyncio.Task[list[Candidate]]] = set()
        connection.get_component_candidates = self._gather  # type: ignore[method-assign]

    def stop(self) -> None:
        """Asks nobody any more: the connection is there, or given up."""
        for task in self._tasks:
            task.cancel()

    async def _gather(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        """Takes the place of aioice's own; what is not found within our patience comes later."""
        del timeout
        candidates = await self._hosts(component, [] if self._relay_only else addresses)
        for work, name in (
            *((self._reflexive(server), f"asks {server.host}") for server in self._servers.stun if not self._relay_only),
            *([(self._relayed(component), "asks for a relay")] if self._servers.turn else []),
        ):
            task = asyncio.create_task(work, name=f"camera: {name}")
            task.add_done_callback(_heard)
            self._tasks.add(task)
        if not self._tasks:
            return candidates
        done, pending = await asyncio.wait(self._tasks, timeout=self._patience_s)
        candidates += _results(done)
        if pending:
            self.goes_on = True
            self._spawn(self._go_on(pending), "camera: waits for STUN and TURN")
        return candidates

    async def _go_on(self, pending: set[asyncio.Task[list[Candidate]]]) -> None:
        """What was found too late for the answer is told, and used."""
        until = time.monotonic() + self._longest_s
        try:
            while pending and (left_s := until - time.monotonic()) > 0:
                done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                for candidate in _results(done):
                    self._use(candidate)
        finally:
            self.stop()
        self._on_late(None)

    def _use(self, candidate: Candidate) -> None:
        connection = self._connection
        known = {(local.host, local.port) for local in connection.local_candidates}
        if (candidate.host, candidate.port) in known:
            return
        connection._local_candidates.append(candidate)  # noqa: SLF001 - see the module's docstring
        for remote in connection.remote_candidates:
            connection._pair_remote_candidate(remote)  # noqa: SLF001 - see above
        connection.sort_check_list()
        self._on_late(f"candidate:{candidate.to_sdp()}")

    async def _reflexive(self, server: StunServer) -> list[Candidate]:
        """Our addresses as this server sees them, one for each of our IPv4 sockets that has another one outside."""
        protocols = [
            protocol
            for protocol in self._connection._protocols  # noqa: SLF001 - see the module's docstring
            if protocol.local_candidate.type == "host" and ipaddress.ip_address(protocol.local_candidate.host).version == 4
        ]
        address = await self._names.address(server.host)
        answers = await asyncio.gather(
            *(server_reflexive_candidate(protocol, (address, server.port)) for protocol in protocols), return_exceptions=True
        )
        found = [answer[0] for answer in answers if not isinstance(answer, BaseException)]
        return [candidate for candidate in found if candidate.host != candidate.related_address]

    async def _relayed(self, component: int) -> list[Candidate]:
        """A relay of the first server that gives one; each gets a little time before the next is asked, too."""
        asked: set[asyncio.Task[tuple[Candidate, StunProtocol]]] = set()
        try:
            for server in self._servers.turn:
                task = asyncio.create_task(self._allocate(server, component), name=f"camera: asks {server.host}")
                task.add_done_callback(_heard)
                asked.add(task)
                if relay := await self._first(asked, NEXT_TURN_S):
                    return await self._keep(relay)
            while asked:
                if relay := await self._first(asked, None):
                    return await self._keep(relay)
        finally:
            for task in asked:
                task.cancel()
        return []

    @staticmethod
    async def _first(
        asked: set[asyncio.Task[tuple[Candidate, StunProtocol]]], timeout_s: float | None
    ) -> tuple[Candidate, StunProtocol] | None:
        """The first relay among those asked; takes out who has failed. None: no relay within the time, or one has failed."""
        done, _ = await asyncio.wait(asked, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        asked -= done
        relays = []
        for task in done:
            if task.cancelled():
                continue
            if error := task.exception():
                log.debug("no relay task=%r error=%r", task.get_name(), error)
            else:
                relays.append(task.result())
        for _, protocol in relays[1:]:
            protocol.transport.close()
        return relays[0] if relays else None

    async def _keep(self, relay: tuple[Candidate, StunProtocol]) -> list[Candidate]:
        candidate, protocol = relay
        connection = self._connection
        if connection._closing:  # noqa: SLF001 - see the module's docstring
            protocol.transport.close()
            return []
        connection._protocols.append(protocol)  # noqa: SLF001 - see above
        return [candidate]

    async def _allocate(self, server: TurnServer, component: int) -> tuple[Candidate, StunProtocol]:
        # The certificate of a TLS server is for its name.
        host = server.host if server.tls else await self._names.address(server.host)
        return await relayed_candidate(
            component=component,
            hide_related_address=self._relay_only,
            protocol_factory=lambda: StunProtocol(self._connection),
            turn_server=(host, server.port),
            turn_username=server.username,
            turn_password=server.credential,
            turn_ssl=server.tls,
            turn_transport=server.transport,
        )


def _results(done: Iterable[asyncio.Task[list[Candidate]]]) -> list[Candidate]:
    """Each candidate once."""
    found: dict[tuple[str, int], Candidate] = {}
    for task in done:
        if task.cancelled():
            continue
        if error := task.exception():
            log.debug("nothing found task=%r error=%r", task.get_name(), error)
            continue
        for candidate in task.result():
            found[candidate.host, candidate.port] = candidate
    return list(found.values())


def _heard(future: asyncio.Future[Any]) -> None:
    """A failure is known even if whoever asked has left meanwhile."""
    if not future.cancelled():
        future.exception()


def _look_up(host: str) -> str:
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    addresses = sorted((family != socket.AF_INET, str(address[0])) for family, _, _, _, address in answers)
    return addresses[0][1]
