"""Updates that somebody at the box asks for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

from agent.control.controlled import CommandError
from agent.update.errors import UpdateError
from agent.update.intake import Intake
from agent.update.updates import Updates

BY = "the command line"
PROGRESS_S = 0.2


async def update(
    updates: Updates, source: AsyncIterator[bytes] | str | None, *, size: int | None, by_hand: bool
) -> AsyncGenerator[dict[str, Any], None]:
    """See `agent.control.controlled.Controlled`."""
    intake: Intake | None = None
    version = ""
    try:
        if source is None or isinstance(source, str):
            fetching = updates.newest(BY, by_hand=by_hand) if source is None else updates.fetch(BY, source, by_hand=by_hand)
            async with contextlib.aclosing(_meanwhile(updates, fetching)) as events:
                async for event in events:
                    intake = event.pop("done", None)
                    if event:
                        yield event
        else:
            intake = updates.begin(BY, size=size, by_hand=by_hand)
            await _receive(intake, source)
        assert intake is not None
        async with contextlib.aclosing(_meanwhile(updates, updates.install(intake))) as events:
            async for event in events:
                version = event.pop("done", "")
                if event:
                    yield event
    except UpdateError as error:
        raise CommandError(str(error)) from None
    finally:
        if intake is not None:
            await intake.abandon()
    try:
        yield {"version": version}
    finally:
        updates.restart()


async def _receive(intake: Intake, source: AsyncIterator[bytes]) -> None:
    """Raises UpdateError, also when it is given up and the sender neither goes on nor goes."""
    writing = asyncio.create_task(_write(intake, source), name="update from the command line")
    given_up = asyncio.create_task(intake.given_up.wait(), name="update from the command line: given up")
    try:
        await asyncio.wait({writing, given_up}, return_when=asyncio.FIRST_COMPLETED)
        if not writing.done():
            raise UpdateError(intake.cause)
        writing.result()
    finally:
        for task in (writing, given_up):
            task.cancel()
        await asyncio.gather(writing, given_up, return_exceptions=True)


async def _write(intake: Intake, source: AsyncIterator[bytes]) -> None:
    async for chunk in source:
        await intake.write(chunk)


async def _meanwhile(updates: Updates, work: Coroutine[Any, Any, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """How `work` gets on, a few times a second, and last {"done": its result}. Whoever stops listening ends the work."""
    task = asyncio.create_task(work, name="update from the command line")
    try:
        while not task.done():
            status = updates.status()
            yield {key: status[key] for key in ("state", "received_bytes", "total_bytes") if key in status}
            await asyncio.wait({task}, timeout=PROGRESS_S)
        yield {"done": await task}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
