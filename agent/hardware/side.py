"""Calls into files and drivers that may never return, each with a deadline, beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class SideThread:
    """One thread that makes one call after the other. A call that misses its deadline keeps its thread, which is then abandoned.

    The thread is started by the first call; being a daemon thread it never holds up the process's end, as a pool's would.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] | None = None

    async def call(self, function: Callable[[], T], deadline_s: float) -> T:
        """What `function` returns. Raises what it raises, TimeoutError after `deadline_s`."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                self._deliver(loop, answer, error=error)
            else:
                self._deliver(loop, answer, result)

        if self._calls is None:
            self._calls = SimpleQueue()
            threading.Thread(target=_serve, args=(self._calls,), name=self._name, daemon=True).start()
        self._calls.put(work)
        try:
            async with asyncio.timeout(deadline_s):
                return await answer
        except TimeoutError:
            if answer.cancelled():
                self.close()
            raise

    def close(self) -> None:
        """Lets the thread end once its last call has returned; a later call starts another."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None

    @staticmethod
    def _deliver(
        loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Any], result: Any = None, error: BaseException | None = None
    ) -> None:
        def deliver() -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(deliver)


def _serve(calls: SimpleQueue[Callable[[], None] | None]) -> None:
    while (work := calls.get()) is not None:
        work()
