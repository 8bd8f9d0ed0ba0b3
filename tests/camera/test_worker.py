"""The worker's process itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from agent.camera.messages import FROM_WORKER, Answer, Offer, Open, Refused
from agent.system.wire import Ping
from agent.system.worker import Worker, WorkerTimers
from tests.camera.viewer import DEADLINE_S, Viewer

ARGUMENTS = ["--source", "test", "--width", "320", "--height", "240", "--framerate", "60"]


class Bench:
    """A worker and what it said."""

    def __init__(self, *arguments: str) -> None:
        self.said: list[Any] = []
        self.opened = asyncio.Event()
        self.worker = Worker(
            "camera",
            "agent.camera.worker",
            [*ARGUMENTS, *arguments],
            expected=FROM_WORKER,
            on_message=self.said.append,
            on_open=self.opened.set,
            timers=WorkerTimers(ping_s=60.0, leave_s=5.0, term_s=5.0),
        )
        self.task = asyncio.create_task(self.worker.run())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.01)


async def test_it_answers_pings_while_it_still_loads() -> None:
    """The libraries take their time on a slow card; the daemon must not think that it hangs."""
    bench = Bench()
    await bench.opened.wait()
    await bench.worker.request(Ping(), 5.0)
    bench.worker.send(Open("one"))
    bench.worker.send(Offer("one", "nonsense"))
    await bench.until(lambda: any(isinstance(message, Refused) for message in bench.said))
    bench.task.cancel()
    await asyncio.wait({bench.task})


@pytest.mark.parametrize("how", ["signal", "hang up"])
async def test_it_ends_by_itself_and_viewers_notice(how: str) -> None:
    """Told by a signal, or because the daemon is gone; with a viewer connected."""
    bench = Bench()
    await bench.opened.wait()
    viewer = Viewer()
    bench.worker.send(Open("one"))
    bench.worker.send(Offer("one", await viewer.offer()))
    await bench.until(lambda: any(isinstance(message, Answer) for message in bench.said))
    [answer] = [message for message in bench.said if isinstance(message, Answer)]
    await viewer.accept(answer.sdp)
    await viewer.sees()
    began = time.monotonic()
    if how == "signal":
        assert bench.worker.pid is not None
        os.kill(bench.worker.pid, signal.SIGTERM)
        assert await bench.task == "ended; exit 0"
    else:
        bench.task.cancel()
        await asyncio.wait({bench.task})
    assert time.monotonic() - began < 3.0, "less than the five seconds after which it would be killed"
    await viewer.until(lambda: viewer.state == "closed")
    await viewer.close()
