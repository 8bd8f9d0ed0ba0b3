"""Whether the server is still there, also while an image keeps its pongs waiting (speaker contract, section 5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class Pulse:
    """Pings of a connection, in place of the library's, which takes a server for dead whose pong is late.

    A pong comes behind all that the server has queued before it: on a slow network that is minutes of an image. So a frame is as
    good a sign of life, and time that a frame takes here is not the server's.
    """

    def __init__(self, socket: ClientConnection, *, ping_s: float, pong_s: float) -> None:
        if socket.keepalive_task is not None:
            socket.keepalive_task.cancel()
        self._socket = socket
        self._ping_s = ping_s
        self._pong_s = pong_s
        self._handles = False
        self._heard_at = float("-inf")
        self.is_dead = False
        """Nobody is there; the connection is ended for that."""

    @contextlib.contextmanager
    def frame(self) -> Iterator[None]:
        """Within the block a frame is dealt with."""
        self._handles = True
        try:
            yield
        finally:
            self._handles = False
            self._heard_at = _now()

    async def run(self) -> None:
        """Pings until nobody answers. Raises ConnectionClosed."""
        while True:
            await asyncio.sleep(self._ping_s)
            asked_at = _now()
            pong: asyncio.Future[float] | None = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pong_s):
                    pong = asyncio.ensure_future(await self._socket.ping())
            while pong is None or not pong.done():
                patience_s = self._pong_s if self._handles else max(asked_at, self._heard_at) + self._pong_s - _now()
                if pong is None or patience_s <= 0:
                    self.is_dead = True
                    self._socket.transport.abort()
                    return
                await asyncio.wait({pong}, timeout=patience_s)


def _now() -> float:
    return asyncio.get_running_loop().time()
