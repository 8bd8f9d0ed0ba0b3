"""One connection: what is said on it, in order, and whether the other end is still alive (tronbyt contract, sections 1 and 3)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from agent.links.link import TAKES_NOTHING, SilentError, UnavailableError
from agent.links.tronbyt.liveness import Silence
from agent.links.tronbyt.messages import Displaying, Hello, Queued
from agent.links.tronbyt.pacing import Ack

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

MOST_UNSENT = 1_000


class Conversation:
    """Speaks on one socket. `first_number` is what the first image that comes on it will have.

    `send_s`: a server that takes nothing for so long is gone; `silence_s`: or that owes an image and says nothing.
    """

    def __init__(self, name: str, socket: ClientConnection, first_number: int, *, send_s: float, silence_s: float) -> None:
        self.gone: UnavailableError | None = None
        """Why we have ended the connection."""
        self._name = name
        self._socket = socket
        self._first_number = first_number
        self._send_s = send_s
        self._silence_s = silence_s
        self._silence = Silence(silence_s)
        self._heard_at = self._now()
        self._silence_timer: asyncio.TimerHandle | None = None
        self._unsent: deque[Queued | Displaying] = deque()
        self._unsent_event = asyncio.Event()

    async def greet(self, hello: Hello) -> None:
        """Says who we are, before anything else. Raises ConnectionClosed."""
        await self._send(hello.text())
        self._silence.connected(self._now())
        self._arm()

    async def send_forever(self) -> None:
        """Says what is acknowledged until the connection ends; what there is to be said about that, the reader says."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                while self._unsent:
                    said = self._unsent.popleft()
                    await self._send(said.text())
                    if isinstance(said, Displaying):
                        self._silence.displayed(self._now())
                        self._arm()
                self._unsent_event.clear()
                await self._unsent_event.wait()

    def acknowledge(self, ack: Ack) -> None:
        """Says it soon, unless the image came on another connection: the server would take it for one of this."""
        number = ack.number
        if number < self._first_number:
            log.debug("not said, the image came on an earlier connection link=%s %s=%d", self._name, ack.kind, number)
        elif len(self._unsent) >= MOST_UNSENT:
            self._end(UnavailableError(TAKES_NOTHING))
        else:
            self._unsent.append(Queued(queued=number) if ack.kind == "queued" else Displaying(displaying=number))
            self._unsent_event.set()

    def heard(self, *, image: bool) -> None:
        """A message has come."""
        self._heard_at = self._now()
        self._silence.heard(self._heard_at, image=image)
        self._arm()

    def close(self) -> None:
        """The connection is over."""
        if self._silence_timer is not None:
            self._silence_timer.cancel()

    async def _send(self, text: str) -> None:
        """Raises ConnectionClosed. A ping would wait for ever behind what the server does not take."""
        try:
            async with asyncio.timeout(self._send_s):
                await self._socket.send(text)
        except TimeoutError:
            gone = UnavailableError(TAKES_NOTHING)
            self._end(gone)
            await self._socket.wait_closed()
            raise gone from None

    def _arm(self) -> None:
        if self._silence_timer is not None:
            self._silence_timer.cancel()
        deadline = self._silence.deadline
        silent = SilentError(f"no image came for {self._silence_s:g} s, nor anything else", self._heard_at)
        loop = asyncio.get_running_loop()
        self._silence_timer = None if deadline is None else loop.call_at(deadline, self._end, silent)

    def _end(self, why: UnavailableError) -> None:
        if self.gone is None:
            self.gone = why
            self._socket.transport.abort()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
