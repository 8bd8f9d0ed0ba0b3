"""A daemon of one worker, to be killed: prints the worker's process number and lives on."""

from __future__ import annotations

import asyncio
from typing import Any

from agent.system.worker import Worker
from tests.system.child import FROM_CHILD, Do


def heard(message: Any) -> None:
    """Hands on what the child says."""
    print(message.text, flush=True)  # noqa: T201 - read by the test


async def main() -> None:
    """Runs the child, which refuses to end by itself."""
    child = Worker("child", "tests.system.child", [], expected=FROM_CHILD, on_message=heard)
    running = asyncio.create_task(child.run())
    while child.pid is None or child._writer is None:
        await asyncio.sleep(0.01)
    child.send(Do("deaf"))
    await running


asyncio.run(main())
