"""Starting children and waiting for their end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

from agent.system.child import Child, start, start_spare
from agent.system.wire import Begin, encode


async def test_how_it_ended() -> None:
    """`wait` returns at the end, whenever it is called, and the code says how it came."""
    child = start("timeit", ["-n", "1", "-r", "1"])
    await child.wait()
    await child.wait()
    assert child.returncode == 0
    child = start("asyncio", [])
    child.send_signal(signal.SIGKILL)
    async with asyncio.timeout(10):
        await child.wait()
    assert child.returncode == -signal.SIGKILL


async def ended(child: Child) -> int | None:
    """Hangs up and waits for its end."""
    child.connection.close()
    async with asyncio.timeout(20):
        await child.wait()
    return child.returncode


async def test_a_spare_that_is_not_needed_goes_by_itself() -> None:
    """A worker on standby ends when the channel does."""
    assert await ended(start_spare("agent.screen.worker")) == 0


async def test_a_spare_takes_its_arguments() -> None:
    """With its arguments it is the same as one that was started with them: here, one that refuses a wrong one."""
    child = start_spare("agent.screen.worker")
    child.connection.sendall(encode(Begin(("--rotate", "45"))))
    async with asyncio.timeout(20):
        await child.wait()
    assert child.returncode == 2
    child.connection.close()


def test_nothing_is_loaded_to_start_a_child() -> None:
    """Not even asyncio: the first child is started before anything else."""
    script = "import sys, agent.system.child; sys.exit('asyncio' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
