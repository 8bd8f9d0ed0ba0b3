"""Memory of the daemon, and what an idle box costs: all links connected, a still picture."""

from __future__ import annotations

import argparse
import asyncio

from common import Box, box, cpu_s, item, playlist, rss_mb, still


async def measure(seconds: float) -> None:
    """Prints memory of the daemon (bar: 55 MB) and processor use of daemon and worker together (bar: 1 % of a core)."""
    async with box(start=False) as made:
        made.server.offer([playlist(1, [item(made.add(still(made.folder / "a.png")), duration_s=10)])])
        await made.agent.start(wait=False)
        try:
            device = await made.server.connected(made.agent.serial)
            await device.wait_for(type="playlist_status", status="ready")
            await asyncio.sleep(5)
            await _figures(made, seconds)
        finally:
            await made.agent.stop()


async def _figures(made: Box, seconds: float) -> None:
    assert made.agent.process is not None
    daemon = made.agent.process.pid
    children = made.agent.children()
    before = {pid: cpu_s(pid) for pid in (daemon, *children)}
    await asyncio.sleep(seconds)
    used = {pid: (cpu_s(pid) - before[pid]) / seconds * 100 for pid in before}
    print(f"daemon memory: {rss_mb(daemon):.1f} MB (bar: 55)")
    for pid, command in children.items():
        print(f"  beside it: {command.split(' -m ')[-1].split()[0]} {rss_mb(pid):.1f} MB")
    print(f"idle, still picture: {sum(used.values()):.2f} % of a core over {seconds:.0f} s (bar: 1); daemon {used[daemon]:.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40)
    asyncio.run(measure(parser.parse_args().seconds))
