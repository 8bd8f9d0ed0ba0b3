"""Processes of the machine, as /proc shows them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    found = {pid}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= family(int(child))
    return found


def alive(pids: Iterable[int]) -> dict[int, str]:
    """Those that have not ended, and what they are."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return found


async def all_gone(pids: Iterable[int], deadline_s: float = 5.0) -> None:
    """Waits until none of them is left. Raises AssertionError with those that are."""
    pids = set(pids)
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while left := alive(pids):
        assert loop.time() < end, f"orphans: {left}"
        await asyncio.sleep(0.02)


def cpu_s(pid: int) -> float:
    """Processor seconds a process has used so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
