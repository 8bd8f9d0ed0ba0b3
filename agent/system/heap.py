"""The C library's heaps."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def limit_arenas(count: int) -> None:
    """No more than `count` heaps from now on; glibc otherwise gives each thread one of its own, which it keeps."""
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)
