"""The C library's heaps."""

from __future__ import annotations

import asyncio
import ctypes

START_S = 3.0
"""By then the start has freed what it needed for itself alone."""
INTERVAL_S = 600.0

_M_ARENA_MAX = -8


def limit_arenas(count: int) -> None:
    """No more than `count` heaps from now on; glibc otherwise gives each thread one of its own, which it keeps."""
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)


async def give_back() -> None:
    """Gives what is free inside the heaps back to the system soon after the start and now and then, for ever.

    glibc by itself gives back only the end of a heap.
    """
    trim = ctypes.CDLL(None).malloc_trim
    wait_s = START_S
    while True:
        await asyncio.sleep(wait_s)
        await asyncio.to_thread(trim, 0)
        wait_s = min(wait_s * 10, INTERVAL_S)
