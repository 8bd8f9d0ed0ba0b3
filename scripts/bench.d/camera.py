"""CPU of the camera worker beside a plain aiortc device, time to the first picture, and 300 sessions without a leak."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fractions
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from common import cpu_s, rss_mb

from tests.browser import Browser, Page
from tests.servers.camera import DEVICE_PATH, SignalingServer

DEVICE = "BENCH"
FLAGS = (
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)
BITRATE = 1_500_000
"""Of ours; what the plain device's encoders arrive at after a while."""
SETTLE_S = 10.0
"""The plain device's bitrate grows with the estimates of its viewers."""
HOOK = """
import os, sys

if "agent.camera.worker" in sys.orig_argv or "--device" in sys.orig_argv:
    import asyncio, gc, signal

    def count(*_):
        tasks = [one for one in gc.get_objects() if isinstance(one, asyncio.Task) and not one.done()]
        with open(f"{os.environ['BENCH_TASKS']}/{os.getpid()}", "w") as file:
            file.write(str(len(tasks)))

    signal.signal(signal.SIGUSR1, count)
"""
"""Counts the tasks of a process from outside; does nothing unless asked."""
UNREACHABLE = "stun:192.0.2.1:3478"
"""TEST-NET-1: nobody answers."""


# The peer: what one finds in every example of aiortc, with our picture


async def plain(url: str, width: int, height: int) -> None:
    """A device that gives every viewer a track and an encoder of its own."""
    from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack  # noqa: PLC0415
    from aiortc.contrib.media import MediaRelay  # noqa: PLC0415
    from websockets.asyncio.client import connect  # noqa: PLC0415

    from agent.camera.pattern import PatternSource  # noqa: PLC0415
    from agent.camera.source import Picture  # noqa: PLC0415

    source = PatternSource(Picture(width, height, 30))

    class Track(VideoStreamTrack):
        number = 0

        async def recv(self) -> Any:
            frame = await asyncio.to_thread(source.read)
            frame.pts, frame.time_base = self.number * 3000, fractions.Fraction(1, 90_000)
            self.number += 1
            return frame

    relay, track, peers = MediaRelay(), Track(), {}
    async with connect(url, compression=None) as socket:
        await socket.send(json.dumps({"type": "hello", "ts": "", "payload": {"device_id": DEVICE}}))
        async for frame in socket:
            message = json.loads(frame)
            payload = message["payload"]
            if message["type"] == "signal_offer":
                peer = peers[payload["session_id"]] = RTCPeerConnection()
                peer.addTrack(relay.subscribe(track))
                await peer.setRemoteDescription(RTCSessionDescription(**payload["sdp"]))
                await peer.setLocalDescription(await peer.createAnswer())
                answer = {"type": "answer", "sdp": peer.localDescription.sdp}
                payload = {"session_id": payload["session_id"], "sdp": answer}
                await socket.send(json.dumps({"type": "signal_answer", "ts": "", "payload": payload}))
            elif message["type"] == "watch_ended" and payload["session_id"] in peers:
                await peers.pop(payload["session_id"]).close()


# Ours: the link and the proxy of the daemon, the worker of the agent


async def ours(url: str, width: int, height: int) -> None:
    """The camera link with the camera behind it; prints the worker's process id as it changes."""
    from agent.camera.proxy import CameraProxy  # noqa: PLC0415
    from agent.links.camera.link import CameraLink  # noqa: PLC0415
    from agent.settings import Camera  # noqa: PLC0415

    proxy = CameraProxy(Camera(source="test", width=width, height=height, bitrate=BITRATE))
    link = CameraLink("cam", proxy, url=url, device_id=DEVICE, spread_s=0.2)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(proxy.run())
        tasks.create_task(link.run())
        said = None
        while True:
            if proxy.pid != said:
                said = proxy.pid
                print(said or 0, flush=True)
            await asyncio.sleep(0.02)


class Device:
    """One of the two devices as a process; `pid` is the one that sends the pictures."""

    def __init__(self, kind: str, url: str, width: int, height: int) -> None:
        self.kind = kind
        self._arguments = [sys.executable, __file__, "--device", kind, "--url", url, "--size", f"{width}x{height}"]
        self.pid = 0

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        Path(self._folder.name, "sitecustomize.py").write_text(HOOK)
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": f"{self._folder.name}:{os.environ.get('PYTHONPATH', '')}",
                "BENCH_TASKS": self._folder.name,
            },
        )
        self.daemon = self._process.pid
        self.pid = self._process.pid
        self._reader = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()
        await self._reader
        self._folder.cleanup()

    async def census(self) -> dict[str, tuple[float, int, int]]:
        """Memory in MB, descriptors and tasks of the daemon's side and of the worker."""
        found = {}
        for name, pid in (("daemon", self.daemon), ("worker", self.pid)):
            tasks = Path(self._folder.name, str(pid))
            tasks.unlink(missing_ok=True)
            os.kill(pid, signal.SIGUSR1)
            while not tasks.exists() or not tasks.read_text():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
            found[name] = (rss_mb(pid), len(list(Path(f"/proc/{pid}/fd").iterdir())), int(tasks.read_text()))
        return found

    async def _follow(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if self.kind == "ours" and int(line):
                self.pid = int(line)


@contextlib.asynccontextmanager
async def stage(kind: str, width: int, height: int) -> AsyncIterator[tuple[SignalingServer, Device]]:
    """A server with one device on it."""
    async with SignalingServer() as server:
        server.camera(DEVICE).registered.append({"device_name": "bench"})
        async with Device(kind, f"{server.url.replace('http', 'ws', 1)}{DEVICE_PATH}", width, height) as device:
            await server.connected(DEVICE, 20)
            yield server, device


async def viewer(browser: Browser, server: SignalingServer, **options: Any) -> Page:
    """A page with a viewer whose picture moves."""
    page = await browser.open(f"{server.url}/console/viewer.html", width=640, height=360)
    await page.evaluate(f"watch({json.dumps({'device': DEVICE, **options})})")
    await page.wait("viewers[0].state === 'live'", 20)
    return page


async def figures(page: Page) -> dict[str, Any]:
    """What the viewer says of its picture."""
    return dict(await page.evaluate("viewers[0].figures()") or {})


async def load(seconds: float) -> None:
    """CPU with 1, 2 and 4 viewers, ours beside the plain device."""
    for width, height in ((640, 480), (1280, 720)):
        used: dict[tuple[str, int], float] = {}
        for kind in ("ours", "plain"):
            async with stage(kind, width, height) as (server, device), Browser(*FLAGS) as browser:
                pages: list[Page] = []
                for count in (1, 2, 4):
                    while len(pages) < count:
                        pages.append(await viewer(browser, server))
                    await asyncio.sleep(SETTLE_S)
                    for page in pages:
                        await figures(page)
                    begun, before = time.monotonic(), cpu_s(device.pid)
                    await asyncio.sleep(seconds)
                    used[kind, count] = (cpu_s(device.pid) - before) / (time.monotonic() - begun) * 100
                    shown = [await figures(page) for page in pages]
                    rates = [one["fps"] for one in shown]
                    latencies = [one["latencyMs"] for one in shown if one["latencyMs"] is not None]
                    print(
                        f"{width}x{height} {kind:5} viewers={count} cpu={used[kind, count]:5.1f} % of a core"
                        f"  fps min={min(rates):.1f}  codec={shown[0]['codec']}"
                        f"  bitrate={statistics.mean(one['bitrate'] for one in shown) / 1e6:.2f} Mbit/s"
                        f"  latency={statistics.median(latencies) if latencies else float('nan'):.0f} ms"
                        f"  memory={rss_mb(device.pid):.0f} MB"
                    )
        print(
            f"{width}x{height}: four viewers against one, ours: {used['ours', 4] / used['ours', 1]:.2f} (bar: 1.5);"
            f" ours against plain at 1, 2, 4 viewers: "
            + ", ".join(f"{used['ours', n] / used['plain', n]:.3f}" for n in (1, 2, 4))
            + " (bar at 4: 0.25)"
        )


async def first_picture(rounds: int) -> None:
    """From the offer to the first decoded frame: alone with a warm worker, as a late joiner, with an unreachable STUN server."""
    async with stage("ours", 1280, 720) as (server, _), Browser(*FLAGS) as browser:
        begun = time.monotonic()
        page = await viewer(browser, server)
        print(f"first viewer, cold worker: {await page.evaluate('viewers[0].firstFrameMs'):.0f} ms from its offer"
              f" ({(time.monotonic() - begun) * 1000:.0f} ms from opening the page)")  # fmt: skip
        await page.evaluate("viewers[0].stop()")
        helper = await browser.open(f"{server.url}/console/viewer.html", width=640, height=360)
        await page.call("Page.bringToFront")  # a page behind another is not drawn, and its frames are not called back
        for name, others, servers in (
            ("alone, warm worker", 0, []),
            ("late joiner", 1, []),
            ("late joiner, unreachable STUN", 1, [{"urls": UNREACHABLE}]),
        ):
            server.ice_servers, server.viewer_ice_servers = servers, []
            if others and not await helper.evaluate("viewers.length"):
                await helper.call("Page.bringToFront")
                await helper.evaluate(f"watch({{device: '{DEVICE}'}})")
                await helper.wait("viewers[0].state === 'live'", 20)
                await page.call("Page.bringToFront")
            taken = []
            for number in range(rounds):
                await page.evaluate(f"watch({{device: '{DEVICE}'}})")
                place = "viewers.at(-1)"
                await page.wait(f"{place}.state === 'live'", 20)
                taken.append(await page.evaluate(f"{place}.firstFrameMs"))
                await page.evaluate(f"{place}.stop(); document.querySelector('video').remove()")
                await asyncio.sleep(0.05 + 0.37 * (number % 7) / 7)
            taken.sort()
            p95 = taken[min(len(taken) - 1, int(len(taken) * 0.95))]
            print(f"{name}: offer to first decoded frame p50={statistics.median(taken):.0f} p95={p95:.0f} max={taken[-1]:.0f} ms"
                  f" over {rounds} (bar: p95 under 1000)")  # fmt: skip


async def leaks(sessions: int) -> None:
    """Sessions opened and closed one after the other, two at a time, without growth."""
    async with stage("ours", 640, 480) as (server, device), Browser(*FLAGS) as browser:
        keeper = await viewer(browser, server)
        page = await browser.open(f"{server.url}/console/viewer.html", width=640, height=360)
        rows = []
        for number in range(sessions + 1):
            if number % max(1, sessions // 6) == 0:
                await asyncio.sleep(0.5)
                rows.append((number, await device.census()))
            await page.evaluate(f"watch({{device: '{DEVICE}'}})")
            await page.wait("viewers.at(-1).state === 'live'", 20)
            await page.evaluate("viewers.at(-1).stop(); viewers.length = 0; document.querySelector('video').remove()")
        for name in ("daemon", "worker"):
            told = [f"{number}: {row[name][0]:.1f} MB, {row[name][1]} fds, {row[name][2]} tasks" for number, row in rows]
            print(f"{name} after sessions " + "; ".join(told))
            first, last = rows[len(rows) // 3], rows[-1]
            memory, descriptors, tasks = (after - before for before, after in zip(first[1][name], last[1][name], strict=True))
            grown = f"memory {memory:+.1f} MB, descriptors {descriptors:+g}, tasks {tasks:+g}"
            print(f"{name}: {grown} from session {first[0]} to {last[0]} (bar: no growth)")
        print(f"the viewer beside it never noticed: {(await figures(keeper))['freezes']} freezes")


async def measure(options: argparse.Namespace) -> None:
    """Everything, or the parts that were asked for."""
    if "load" in options.parts:
        await load(options.seconds)
    if "first" in options.parts:
        await first_picture(options.rounds)
    if "leaks" in options.parts:
        await leaks(options.sessions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--parts", nargs="*", default=["load", "first", "leaks"], choices=["load", "first", "leaks"])
    parser.add_argument("--device", choices=["ours", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--size", default="640x480", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        if chosen.device:
            width, height = map(int, chosen.size.split("x"))
            asyncio.run((ours if chosen.device == "ours" else plain)(chosen.url, width, height))
        else:
            asyncio.run(measure(chosen))
