"""The C library's heaps."""

from __future__ import annotations

import subprocess
import sys

MEGABYTE = 1_000_000
HOLES = f"""
import asyncio, contextlib, pathlib
from agent.system import heap

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096

async def main():
    heap.START_S = 0.0
    heap.limit_arenas(1)
    blocks = [bytes(50_000) for _ in range(1000)]
    last = bytes(50_000)  # at the end of the heap, which glibc would give back by itself
    del blocks
    before = resident()
    giving = asyncio.create_task(heap.give_back())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while resident() > before - 40 * {MEGABYTE}:
                await asyncio.sleep(0.01)
    print(before - resident(), giving.done())
    giving.cancel()

asyncio.run(main())
"""


def test_what_is_free_is_given_back() -> None:
    """Also what lies between things that are still in use; and it goes on for ever."""
    run = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    freed, done = run.stdout.split()
    assert int(freed) > 40 * MEGABYTE
    assert done == "False"
