"""What the benches share: a box with a screen and a server, and figures of processes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.agent_process import AgentProcess, signage_link
from tests.display import XServer, clip, still
from tests.servers.files import MediaFile
from tests.servers.playlists import item, playlist
from tests.servers.signage import SignageServer

TICKS = os.sysconf("SC_CLK_TCK")
SOFTWARE = '[brightness]\nbackend = "software"\n[screens.front]\noutput = "x11"\n'


@dataclass
class Box:
    """An agent on a screen of its own, with a server."""

    agent: AgentProcess
    server: SignageServer
    screen: XServer
    folder: Path

    def add(self, path: Path) -> MediaFile:
        """A file on the server."""
        return self.server.media.add(path.name, path)


@contextlib.asynccontextmanager
async def box(*, width: int = 1280, height: int = 720, start: bool = True) -> AsyncIterator[Box]:
    """A box whose agent has started, unless `start` is false; everything ends with the block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, XServer(width, height) as screen:
        folder = Path(name)
        async with SignageServer() as server:
            agent = AgentProcess(
                folder / "box",
                links=[signage_link(server.url)],
                tables=SOFTWARE,
                environment={"DISPLAY": screen.display},
            )
            made = Box(agent, server, screen, folder)
            if not start:
                yield made
            else:
                async with agent:
                    yield made


def cpu_s(pid: int) -> float:
    """Processor seconds a process has used so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError("no VmRSS")


__all__ = ["SOFTWARE", "Box", "box", "clip", "cpu_s", "item", "playlist", "rss_mb", "still"]
