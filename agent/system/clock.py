"""The wall clock: whether it can be believed, and when it jumps.

Boxes without a battery-backed clock start in 1970 or at the moment of their last shutdown. Timers never use this clock.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime

log = logging.getLogger(__name__)

BUILD_DATE = datetime(2026, 11, 20, tzinfo=UTC)
"""No moment before this one can be now."""

_TFD_TIMER_ABSTIME = 1
_TFD_TIMER_CANCEL_ON_SET = 2
_FAR_FUTURE_S = 1 << 40


def is_set(now: float | None = None) -> bool:
    """Whether the wall clock (or `now`, seconds since the epoch) stands at a possible time."""
    return (time.time() if now is None else now) >= BUILD_DATE.timestamp()


class ClockWatch:
    """Calls `on_jump` each time the wall clock is set, at once and at no cost in between (timerfd_create(2))."""

    def __init__(self, on_jump: Callable[[], None]) -> None:
        self._on_jump = on_jump
        self._libc = ctypes.CDLL(None, use_errno=True)

    async def run(self) -> None:
        """Watches for ever."""
        descriptor = self._libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        loop = asyncio.get_running_loop()
        try:
            self._arm(descriptor)
            loop.add_reader(descriptor, self._jumped, descriptor)
            await loop.create_future()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def _arm(self, descriptor: int) -> None:
        timer = struct.pack("qqqq", 0, 0, _FAR_FUTURE_S, 0)
        if self._libc.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET, timer, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _jumped(self, descriptor: int) -> None:
        try:
            os.read(descriptor, 8)
        except OSError:  # ECANCELED is the news itself
            log.info("wall clock was set now=%s", datetime.now(UTC).isoformat(timespec="seconds"))
        self._arm(descriptor)
        self._on_jump()
