"""A camera with everything around it: the server, the daemon's link and proxy, the real worker, and viewers in Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from agent.camera.proxy import CameraProxy, CameraTimers
from agent.links.camera.link import CameraLink
from agent.settings import Camera
from tests.browser import Browser, Page
from tests.servers.camera import Camera as Served, SignalingServer

DEVICE_ID = "STUDIO"
FLAGS = ("--autoplay-policy=no-user-gesture-required",)
LOAD = 5.0
"""What a limit of the contract is multiplied with: the machine does other things, too."""
DEADLINE_S = 20.0
WIDTH, HEIGHT, FRAMERATE = 640, 360, 30


@dataclass(frozen=True)
class Viewing:
    """One viewer on a page."""

    page: Page
    place: int

    async def live(self) -> float:
        """Waits for its first picture; milliseconds from its offer to it."""
        await self.page.wait(f"viewers[{self.place}].state !== 'connecting'", DEADLINE_S)
        state, reason = await self.get("state"), await self.get("reason")
        assert state == "live", f"the viewer is {state}: {reason}"
        return float(await self.get("firstFrameMs"))

    async def ended(self, deadline_s: float = DEADLINE_S) -> str:
        """Waits for its end; the reason."""
        await self.page.wait(f"viewers[{self.place}].state === 'ended'", deadline_s)
        return str(await self.get("reason"))

    async def get(self, name: str) -> Any:
        """One of its properties."""
        return await self.page.evaluate(f"viewers[{self.place}].{name}")

    async def do(self, call: str) -> Any:
        """Calls one of its methods."""
        return await self.page.evaluate(f"viewers[{self.place}].{call}")

    async def figures(self) -> dict[str, Any]:
        """What it says of its picture."""
        return dict(await self.do("figures()") or {})

    async def numbers(self) -> list[int | None]:
        """The frame numbers it has read back from the picture since the last call (needs `record`)."""
        return list(await self.page.evaluate(f"viewers[{self.place}].frames.splice(0).map((frame) => frame.number)"))

    async def moves(self, frames: int = 15, deadline_s: float = 10.0) -> None:
        """Waits until so many more frames were decoded."""
        before = int((await self.figures())["frames"])
        async with asyncio.timeout(deadline_s):
            while int((await self.figures()).get("frames", 0)) < before + frames:
                await asyncio.sleep(0.05)


class Studio:
    """What stands in it; made by `open_studio`."""

    def __init__(self, server: SignalingServer, proxy: CameraProxy, link: CameraLink, browser: Browser) -> None:
        self.server = server
        self.proxy = proxy
        self.link = link
        self.browser = browser
        self._pages: list[Page] = []

    @property
    def served(self) -> Served:
        """The device as the server knows it."""
        return self.server.camera(DEVICE_ID)

    async def page(self, browser: Browser | None = None) -> Page:
        """A page for viewers."""
        page = await (browser or self.browser).open(f"{self.server.url}/console/viewer.html", width=640, height=400)
        await page.wait("window.watch")
        if browser is None:
            self._pages.append(page)
        return page

    async def viewer(self, page: Page | None = None, **options: Any) -> Viewing:
        """A viewer that has begun; see `Viewer` in viewer.js for the options."""
        page = page or await self.page()
        return Viewing(page, await page.evaluate(f"watch({json.dumps({'device': DEVICE_ID, **options})})"))

    async def clear(self) -> None:
        """Ends all viewers and forgets what was set for them."""
        for page in self._pages:
            with contextlib.suppress(AssertionError):
                await page.call("Page.close")
        self._pages.clear()
        for session in tuple(self.server.sessions):
            await self.server.end(session, "timeout")
        self.server.ice_servers, self.server.viewer_ice_servers, self.server.order = [], None, None
        # A session whose viewer is gone, but perhaps comes back, outlives its connection a little.
        await self.until(lambda: self.proxy.viewers == 0 and len(self.link._watches) == 0)

    @staticmethod
    async def until(condition: Any, deadline_s: float = DEADLINE_S) -> None:
        """Waits until the condition holds."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def open_studio(browser: Browser, *, linger_s: float = 30.0, **camera: Any) -> AsyncIterator[Studio]:
    """A studio; `camera` are keys of the [camera] table."""
    settings = Camera(
        **{"source": "test", "width": WIDTH, "height": HEIGHT, "framerate": FRAMERATE, "bitrate": 1_500_000, **camera}
    )
    async with SignalingServer() as server:
        proxy = CameraProxy(settings, timers=CameraTimers(linger_s=linger_s))
        link = CameraLink(
            "cam", proxy, url=server.url, device_id=DEVICE_ID, device_name=lambda: "Studio", heartbeat_s=5.0, spread_s=0.1
        )
        tasks = [asyncio.create_task(proxy.run(), name="proxy"), asyncio.create_task(link.run(), name="link")]
        try:
            await server.connected(DEVICE_ID)
            yield Studio(server, proxy, link, browser)
        finally:
            for task in reversed(tasks):
                task.cancel()
                await asyncio.wait({task})


class Turn:
    """coturn on an address of this machine, for the time of the block."""

    username, password = "viewer", "turn-password"

    @staticmethod
    def installed() -> bool:
        """Whether there is a TURN server to start."""
        return shutil.which("turnserver") is not None

    async def __aenter__(self) -> list[dict[str, Any]]:
        address = own_address()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
            port = probe.getsockname()[1]
        self._process = await asyncio.create_subprocess_exec(
            "turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--simple-log", "--pidfile=/dev/null",
            f"--listening-ip={address}", f"--relay-ip={address}", f"--listening-port={port}", "--allow-loopback-peers",
            "--lt-cred-mech", "--realm=test", f"--user={self.username}:{self.password}", "--userdb=/dev/null",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(address, port)
                    writer.close()
                    break
                assert self._process.returncode is None, "turnserver has ended"
                await asyncio.sleep(0.05)
        urls = [f"turn:{address}:{port}?transport=udp"]
        return [{"urls": urls, "username": self.username, "credential": self.password, "credentialType": "password"}]

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(3):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def own_address() -> str:
    """An address of this machine that is not the loopback's, which browsers do not use; nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"
