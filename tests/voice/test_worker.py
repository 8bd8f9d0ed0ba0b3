"""The voice worker, apart from what it plays and records."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.voice.messages import Output
from agent.voice.stream import Meeting
from agent.voice.worker import Voice


class Channel:
    """A daemon that says where to play and then nothing."""

    async def messages(self) -> AsyncIterator[tuple[Any, int | None]]:
        """See `agent.system.worker.Channel`."""
        yield Output("default"), None
        await asyncio.Event().wait()

    def send(self, message: Any, *, request_id: int | None = None) -> None:
        """See `agent.system.worker.Channel`."""


async def test_the_daemon_stops_right_after_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """It no longer listens: the worker ends, and complains to nobody."""
    caplog.set_level(logging.DEBUG)
    meeting = Meeting()
    meeting.close()
    voice = Voice(Channel(), meeting.address, "", "")  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await voice.run()
    voice.close()
    assert [record.levelname for record in caplog.records if record.name == "agent.voice.worker"] == ["DEBUG"]
