"""The whole agent with a screen and a camera: what happens to the one is not noticed by the other."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent.device import Device
from tests.agent_process import AgentProcess, signage_link
from tests.browser import Browser, Page
from tests.display import XServer, clip
from tests.end_to_end_camera.studio import Turn, Viewing
from tests.servers import SignageServer, SignalingServer, item, playlist
from tests.servers.camera import DEVICE_PATH

pytest.importorskip("aiortc")
pytestmark = [
    pytest.mark.skipif(not Browser.installed(), reason="needs Chromium"),
    pytest.mark.skipif("camera" not in Device.__dataclass_fields__, reason="needs a device with a camera"),
    pytest.mark.asyncio(loop_scope="module"),
]

TOKEN = "token-of-this-device-4711"
SERIAL = "BOX-1"


@dataclass
class Shop:
    """A box with a screen that plays and a camera that is watched."""

    agent: AgentProcess
    cameras: SignalingServer
    page: Page

    async def viewer(self) -> Viewing:
        """A viewer on the page."""
        return Viewing(self.page, await self.page.evaluate(f"watch({json.dumps({'device': SERIAL})})"))

    def camera_worker(self) -> int | None:
        """Process id of the camera's worker, while there is one."""
        return next((pid for pid, command in self.agent.children().items() if "agent.camera.worker" in command), None)

    async def front(self) -> dict[str, Any]:
        """The screen's part of `status`."""
        return dict((await self.agent.status())["screens"]["front"])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """The agent with a signage and a camera link to servers in one process, its log at DEBUG."""
    folder = tmp_path_factory.mktemp("box")
    tables = (
        f'[hardware]\nsysfs = "{folder}"\nreboot_command = ["false"]\n[brightness]\nbackend = "software"\n'
        '[screens.front]\noutput = "x11"\nsound = false\n[audio]\ncard = "none-in-this-test"\n'
        '[camera]\nsource = "test"\nwidth = 640\nheight = 360\n'
    )
    with XServer(320, 180) as screen:
        server = SignageServer()
        cameras = SignalingServer(hub=server.hub, token=TOKEN)
        film = server.media.add("film.mp4", clip(folder / "film.mp4", (0, 0, 255), 60.0, size=(320, 180)))
        server.offer([playlist(1, [item(film)])])
        async with server:
            links: list[Mapping[str, Any]] = [
                signage_link(server.url),
                {"kind": "camera", "url": f"{server.url}{DEVICE_PATH}", "token": TOKEN, "spread_s": 0.2},
            ]
            agent = AgentProcess(
                folder, links=links, tables=tables, serial=SERIAL, environment={"DISPLAY": screen.display}, level="debug"
            )
            async with agent:
                page = await browser.open(f"{server.url}/console/viewer.html", width=640, height=400)
                await cameras.connected(SERIAL, 20)
                await agent.playing("film.mp4")
                yield Shop(agent, cameras, page)


async def test_the_worker_is_killed_during_a_stream(shop: Shop) -> None:
    """The viewer is told, the next watch works; the film on the screen goes on without a hitch."""
    before = await shop.front()
    viewing = await shop.viewer()
    await viewing.live()
    status = await shop.agent.until(lambda now: now["camera"]["viewers"] == 1)
    assert status["camera"]["source"] == "test"
    assert "264" in status["camera"]["encoder"]
    pid = shop.camera_worker()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert await viewing.ended() != ""
    following = await shop.viewer()
    await following.live()
    await following.moves()
    after = await shop.front()
    assert (after["state"], after["title"], after["worker_restarts"]) == ("playing", "film.mp4", 0)
    assert after["since"] == before["since"], "the same run of the same film"
    assert after["position_s"] > before["position_s"]
    await following.do("stop()")
    await shop.agent.until(lambda now: now["camera"]["viewers"] == 0)


async def test_the_daemon_stays_without_the_libraries(shop: Shop) -> None:
    """Also after a stream neither aiortc nor PyAV is loaded in the daemon."""
    viewing = await shop.viewer()
    await viewing.live()
    assert shop.agent.process is not None
    maps = await asyncio.to_thread(Path(f"/proc/{shop.agent.process.pid}/maps").read_text)
    assert not [line for line in maps.splitlines() if "pylibsrtp" in line or "/av/" in line or "libavcodec" in line]
    await viewing.do("stop()")


@pytest.mark.skipif(not Turn.installed(), reason="needs coturn")
async def test_a_debug_log_shows_no_secret(shop: Shop) -> None:
    """Neither the link's token nor the credentials of a TURN server that was used, in no process of the agent."""
    async with Turn() as servers:
        shop.cameras.ice_servers = shop.cameras.viewer_ice_servers = servers
        viewing = await shop.viewer()
        await viewing.live()
        await viewing.do("stop()")
    log = shop.agent.log
    assert "watch requested" in log
    assert TOKEN not in log
    assert Turn.password not in log
