"""The link's sockets: one per followed job, and one for all jobs where a session cookie is configured (contract, section 1)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from agent.links.conversion import messages
from agent.links.conversion.messages import AnyMessage, UnknownMessageError
from agent.links.link import Address, Link
from agent.system.logs import Trouble

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

FAULTS_KEPT = 200
SPREAD_S = 5.0
"""A lost socket is opened again within so many seconds."""


class Complaints:
    """What the sockets of one link have in common: what the log has said of them already."""

    def __init__(self) -> None:
        self.trouble = Trouble(log)
        self._faults: set[str] = set()

    def find(self, fault: str, link: str) -> None:
        """A message means nothing here: a warning the first time."""
        known = fault in self._faults or len(self._faults) >= FAULTS_KEPT
        log.log(logging.DEBUG if known else logging.WARNING, "message ignored link=%s fault=%s", link, fault)
        if not known:
            self._faults.add(fault)


class Feed(Link):
    """A socket that only listens. It is opened anew every `reopen_s`, since each connection begins with a fresh snapshot.

    One on which a message is too big is left closed until then: the same message would come again and again.
    `refresh_s`: so often it asks for the list of jobs; 0: never.
    """

    kind = "conversion"
    secret_frames = True

    def __init__(
        self,
        name: str,
        address: Address,
        on_message: Callable[[AnyMessage], None],
        complaints: Complaints,
        *,
        reopen_s: float = 86_400.0,
        refresh_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(name, spread_s=SPREAD_S, tls=tls)
        self._trouble = complaints.trouble
        self._address = address
        self._on_message = on_message
        self._complaints = complaints
        self._reopen_s = reopen_s
        self._refresh_s = refresh_s
        self._too_big = False

    async def run(self) -> None:
        """Listens for ever."""
        while True:
            self._too_big = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._reopen_s):
                    await self.connect_forever()

    async def save(self) -> None:
        """Nothing of it outlives the agent."""

    async def address(self) -> Address:
        """See `Link`."""
        return self._address

    async def session(self, socket: ClientConnection) -> None:
        """See `Link`."""
        asking = asyncio.create_task(self._ask(socket), name=f"{self.name}: asks for the list") if self._refresh_s else None
        try:
            async for frame in socket:
                self._on_frame(frame)
        except ConnectionClosed as error:
            self._too_big = error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG
            raise
        finally:
            if asking is not None:
                asking.cancel()
                await asyncio.wait({asking})

    async def _wait(self, error: str, *, refused: bool) -> None:
        """See `Link`."""
        if self._too_big:
            log.warning("message too big, the socket stays closed for now link=%s again_s=%.0f", self.name, self._reopen_s)
            await asyncio.sleep(self._reopen_s)
        else:
            await super()._wait(error, refused=refused)

    async def _ask(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self._refresh_s)
                await socket.send(messages.refresh())

    def _on_frame(self, frame: str | bytes) -> None:
        try:
            self._on_message(messages.parse(frame))
        except UnknownMessageError as fault:
            self._complaints.find(str(fault), self.name)
        except Exception:
            log.exception("message could not be handled link=%s", self.name)
