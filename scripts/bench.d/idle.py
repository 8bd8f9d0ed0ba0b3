"""Memory of the daemon with one link and with all five, and what an idle box costs: all links connected, a still picture."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any

from common import SOFTWARE, Box, box, cpu_s, item, playlist, rss_mb, still

from tests.agent_process import signage_link
from tests.servers import ConversionServer, SignalingServer, SpeakerServer, TronbytServer

SETTLED_S = 5.0
SERIAL = "BOX-1"
MAC = "A1B2C3D4E5F6"
FEED = "0a1b2c3d"


async def measure(seconds: float) -> None:
    """Prints memory of the daemon (bar: 55 MB) and processor use of daemon and worker together (bar: 1 % of a core)."""
    async with box(start=False) as made:
        made.server.offer([playlist(1, [item(made.add(still(made.folder / "a.png")), duration_s=10)])])
        await _start(made, [signage_link(made.server.url)])
        try:
            assert made.agent.process is not None
            print(f"daemon memory: {rss_mb(made.agent.process.pid):.1f} MB with a signage link (bar: 55)")
        finally:
            await made.agent.stop()
        await _start(made, await _all_links(made))
        try:
            await _figures(made, seconds)
            missing = [link for link in (await made.agent.status())["links"] if link["state"] != "connected"]
            assert not missing, missing
        finally:
            await made.agent.stop()


async def _all_links(made: Box) -> list[Mapping[str, Any]]:
    """One of each kind, to servers on the port of the box's own."""
    hub = made.server.hub
    SpeakerServer(hub=hub)
    SignalingServer(hub=hub)
    feed, films = TronbytServer(hub=hub), ConversionServer(hub=hub)
    await hub.stop()
    await hub.start()  # with the routes of all
    return [
        signage_link(made.server.url),
        {"kind": "speaker", "url": hub.url, "device_id": MAC, "spread_s": 0.2},
        {"kind": "camera", "url": f"{hub.url}/ws/device", "spread_s": 0.2},
        {"kind": "tronbyt", "url": feed.device_url(FEED), "spread_s": 0.2},
        {"kind": "conversion", "url": hub.url, "username": films.rest.username, "password": films.rest.password, "spread_s": 0.2},
    ]


async def _start(made: Box, links: list[Mapping[str, Any]]) -> None:
    """Until all links have said what they have to say. Nobody asks for a status: that loads the control socket's server."""
    made.agent.configure(links, SOFTWARE)
    await made.agent.start(wait=False)
    await made.server.connected(SERIAL)
    await asyncio.sleep(SETTLED_S)


async def _figures(made: Box, seconds: float) -> None:
    assert made.agent.process is not None
    daemon = made.agent.process.pid
    children = made.agent.children()
    before = {pid: cpu_s(pid) for pid in (daemon, *children)}
    await asyncio.sleep(seconds)
    used = {pid: (cpu_s(pid) - before[pid]) / seconds * 100 for pid in before}
    print(f"daemon memory: {rss_mb(daemon):.1f} MB with all links")
    for pid, command in children.items():
        print(f"  beside it: {command.split(' -m ')[-1].split()[0]} {rss_mb(pid):.1f} MB")
    print(f"idle, still picture: {sum(used.values()):.2f} % of a core over {seconds:.0f} s (bar: 1); daemon {used[daemon]:.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40)
    asyncio.run(measure(parser.parse_args().seconds))
