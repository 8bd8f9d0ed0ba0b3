"""The agent with a wall clock that a test can set: SIGUSR1 adds the seconds in the file $JUMPS, as if the clock had been set.

The machine's own clock is everybody's. `time.time` is moved, and the watch over the clock is told as the kernel would tell it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent.cli import main
from agent.system import clock

_true_time = time.time
_offset_s = 0.0
_watches: list[Callable[[], None]] = []


class _Watch(clock.ClockWatch):
    def __init__(self, on_jump: Callable[[], None]) -> None:
        super().__init__(on_jump)
        _watches.append(on_jump)


def _time() -> float:
    return _true_time() + _offset_s


def _jump(*_: object) -> None:
    global _offset_s  # noqa: PLW0603 - there is one clock
    by = float(Path(os.environ["JUMPS"]).read_text())
    _offset_s += by
    for tell in _watches:
        tell()
    sys.stderr.write(f"clock jumps by={by:.0f}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    time.time = _time
    clock.ClockWatch = _Watch  # type: ignore[misc]
    signal.signal(signal.SIGUSR1, _jump)
    sys.exit(main())
