"""A server, links to it with a camera that is a stand-in, and back-off that does not keep tests waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.links import backoff
from agent.links.camera import link as camera_link
from agent.links.camera.link import CameraLink, CameraTimers
from tests.links.camera.standins import DEVICE_ID, StandInCamera
from tests.servers.camera import SignalingServer

QUICK = CameraTimers(presence_s=0.05, register_s=0.5)
MakeLink = Callable[..., contextlib.AbstractAsyncContextManager[CameraLink]]


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """First and doubling waits are short; a refusal is as slow as ever."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)
    monkeypatch.setattr(camera_link, "Backoff", lambda _spread_s: backoff.Backoff(0.02))


@pytest.fixture
async def server() -> AsyncIterator[SignalingServer]:
    """The camera server, empty."""
    async with SignalingServer() as server:
        yield server


@pytest.fixture
def camera() -> StandInCamera:
    """The camera."""
    return StandInCamera()


@pytest.fixture
def make_link(server: SignalingServer, camera: StandInCamera, tmp_path: Path) -> MakeLink:
    """Runs a link to the server within the block; keyword arguments are those of CameraLink, and of its timers."""

    @contextlib.asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[CameraLink]:
        fields = CameraTimers.__dataclass_fields__
        timers = replace(QUICK, **{key: options.pop(key) for key in tuple(options) if key in fields})
        arguments = {"url": server.url, "device_id": DEVICE_ID, "spread_s": 0.02, "sysfs": tmp_path / "sys"}
        link = CameraLink("cam", options.pop("camera", camera), **{**arguments, **options}, timers=timers)
        running = asyncio.create_task(link.run(), name="link")
        try:
            yield link
        finally:
            running.cancel()
            await asyncio.wait({running})
            if not running.cancelled():
                running.result()

    return make
