"""A server, links to it with a device that is a stand-in, and back-off that does not keep tests waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.links import backoff
from agent.links.speaker.link import SpeakerLink, SpeakerTimers
from tests.links.speaker.standins import DEVICE_ID, StandInBox
from tests.servers.speaker import SpeakerServer

MakeLink = Callable[..., contextlib.AbstractAsyncContextManager[SpeakerLink]]


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """First and doubling waits are short; a refusal is as slow as ever."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[SpeakerServer]:
    """The speaker server, empty."""
    async with SpeakerServer() as server:
        yield server


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[StandInBox]:
    """The device."""
    async with StandInBox(tmp_path) as box:
        yield box


@pytest.fixture
def make_link(server: SpeakerServer, box: StandInBox) -> MakeLink:
    """Runs a link to the server within the block; keyword arguments are those of SpeakerLink, and of its timers."""

    @contextlib.asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[SpeakerLink]:
        fields = SpeakerTimers.__dataclass_fields__
        timers = SpeakerTimers(**{key: options.pop(key) for key in tuple(options) if key in fields})
        arguments = {"url": server.url, "device_id": DEVICE_ID, "spread_s": 0.02}
        link = SpeakerLink(options.pop("name", "ptalk"), box, **{**arguments, **options}, timers=timers)
        running = asyncio.create_task(link.run(), name="link")
        try:
            yield link
        finally:
            running.cancel()
            await asyncio.wait({running})
            if not running.cancelled():
                running.result()

    return make
