"""A server, links to it with a device that is a stand-in, and back-off that does not keep tests waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.links import backoff
from agent.links.tronbyt.link import TronbytLink, TronbytTimers
from tests.links.tronbyt.standins import DEVICE_ID, StandInBox
from tests.servers.tronbyt import TronbytServer

MakeLink = Callable[..., contextlib.AbstractAsyncContextManager[TronbytLink]]


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """First and doubling waits are short; a refusal is as slow as ever."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[TronbytServer]:
    """The Tronbyt server, without a rotation."""
    async with TronbytServer() as server:
        yield server


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[StandInBox]:
    """The device."""
    async with StandInBox(tmp_path) as box:
        yield box


@pytest.fixture
def make_link(server: TronbytServer, box: StandInBox) -> MakeLink:
    """Runs a link to the server within the block; keyword arguments are those of TronbytLink, and of its timers."""

    @contextlib.asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[TronbytLink]:
        fields = TronbytTimers.__dataclass_fields__
        timers = TronbytTimers(**{key: options.pop(key) for key in tuple(options) if key in fields})
        predecessor = options.pop("predecessor", None)
        arguments = {"url": server.device_url(DEVICE_ID), "screen": "front", "spread_s": 0.02}
        link = TronbytLink("feed", box, **{**arguments, **options}, timers=timers)
        link.predecessor = predecessor
        running = asyncio.create_task(link.run(), name="link")
        try:
            yield link
        finally:
            running.cancel()
            await asyncio.wait({running})
            if not running.cancelled():
                running.result()

    return make
