"""Screenshots for the server, whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.links.signage.rest import SignageRest
from agent.links.signage.uploads import upload_forever
from agent.screen.proxy import Screen
from tests.box import InstantScreen, until


async def test_it_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of our own is said once and ends nothing."""
    sent: list[Any] = []

    async def send(*arguments: Any) -> None:
        sent.append(arguments)
        if len(sent) < 4:
            raise ValueError("on purpose")

    screen = InstantScreen("front")
    screen.open()
    rest = cast("SignageRest", SimpleNamespace(send_screenshot=send))
    work = upload_forever(
        cast("Screen", screen), rest, "S", tmp_path / "a.jpg", every_s=0.01, form="device", is_connected=lambda: True
    )
    running = asyncio.create_task(work)
    await until(lambda: len(sent) >= 5)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["no screenshot sent error=internal error: ValueError: on purpose"]
