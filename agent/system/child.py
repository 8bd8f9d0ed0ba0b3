"""Starting a child process with a channel, and waiting for its end. Loads next to nothing, so that it can be done first."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

CHANNEL_VARIABLE = "SIGNAGE_AGENT_CHANNEL_FD"
STANDBY = "--standby"
"""As the only argument of a worker: it loads what it needs and waits for its arguments (`wire.Begin`)."""


class Child:
    """A running child process; `connection` is our end of its channel."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self.connection = connection
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, negative for a signal; None while it runs, as far as `wait` has seen."""
        return self._process.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal; one that has ended is no fault."""
        self._process.send_signal(number)

    async def wait(self) -> None:
        """Returns when it has ended."""
        import asyncio  # noqa: PLC0415 - not before the first child is started

        if self._process.poll() is not None:
            return
        loop = asyncio.get_running_loop()
        descriptor = os.pidfd_open(self.pid)
        ended = asyncio.Event()
        try:
            loop.add_reader(descriptor, ended.set)
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._process.wait()


def start(module: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
    """Starts `python -m <module> <arguments>` with a channel. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {}), CHANNEL_VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
            )
    except BaseException:
        ours.close()
        raise
    return Child(process, ours)


def start_spare(module: str) -> Child:
    """Starts a worker before it is known with which arguments: it loads its libraries meanwhile. Raises OSError."""
    return start(module, [STANDBY])
