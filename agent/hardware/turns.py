"""Work on one thing, one piece after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from agent.system.state import StateError

log = logging.getLogger(__name__)
T = TypeVar("T")


class Turns:
    """Runs pieces of work in the order they were asked for. A cancelled caller does not stop what has begun.

    That keeps what is on disk and what the hardware holds in step: whoever comes last wins on both.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = asyncio.Queue()
        self._ended = False

    async def run(self) -> None:
        """Takes the turns, for ever."""
        try:
            while True:
                work, answer = await self._queue.get()
                if not answer.done():
                    await self._take(work, answer)
        finally:
            self._ended = True
            while not self._queue.empty():
                _, answer = self._queue.get_nowait()
                if not answer.done():
                    answer.set_exception(_ending())

    async def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work` once its turn has come. Raises what it raises, StateError when the agent is ending."""
        if self._ended:
            raise _ending()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((work, answer))
        return await answer

    @staticmethod
    async def _take(work: Callable[[], Awaitable[Any]], answer: asyncio.Future[Any]) -> None:
        try:
            result = await work()
        except asyncio.CancelledError:
            if not answer.done():
                answer.set_exception(_ending())
            raise
        except Exception as error:  # noqa: BLE001 - it is the caller's
            if answer.done():
                log.warning("work failed after its caller had left error=%s", error)
            else:
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(result)


def _ending() -> StateError:
    return StateError("the agent is ending")
