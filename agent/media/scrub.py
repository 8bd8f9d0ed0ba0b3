"""Reads files again at a bounded rate to see whether they still have their digest."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from pathlib import Path

from agent.media.files import Reading, is_loss
from agent.media.wants import Timers
from agent.media.writer import completed


class Scrubber:
    """Verifies one file at a time, `verify_bytes_s` of it a second."""

    def __init__(self, timers: Timers, pool: Executor) -> None:
        self._timers = timers
        self._pool = pool

    async def is_good(self, path: Path, digest: str) -> bool:
        """Whether the file still has `digest`; False also if it is gone. Raises OSError if nobody can tell."""
        loop = asyncio.get_running_loop()
        algorithm, _, expected = digest.partition(":")
        reading = Reading(path, algorithm)
        try:
            while size := await completed(loop.run_in_executor(self._pool, reading.step)):  # noqa: ASYNC110 - the sleep is the rate limit
                await asyncio.sleep(size / self._timers.verify_bytes_s)
        except OSError as error:
            if is_loss(error):
                return False
            raise
        finally:
            reading.close()
        return reading.hexdigest() == expected
