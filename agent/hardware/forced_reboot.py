"""The last resort: a process that the kernel does not let go holds the hardware, and only a restart of the box helps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

STAMP = "last-forced-reboot"
_DAY_S = 86_400


class ForcedReboot:
    """Restarts the box with `command`, at most once a day, as stands in one of `directories`, the first that can be written."""

    def __init__(self, command: Sequence[str], directories: Sequence[Path]) -> None:
        self._command = list(command)
        self._stamps = [directory / STAMP for directory in directories]
        self._granted = asyncio.Event()

    def demand(self) -> None:
        """The hardware is held. Logs what comes of it; `run` restarts the box, unless it has been restarted today."""
        if any(map(_is_of_today, self._stamps)) or not self._command or shutil.which(self._command[0]) is None:
            log.error("the hardware is held by a process that cannot be ended; restart the box by hand")
            return
        for stamp in self._stamps:
            with contextlib.suppress(OSError):
                stamp.touch()
                break
        log.critical("restarts the box: the hardware is held by a process that cannot be ended")
        self._granted.set()

    async def run(self) -> None:
        """Restarts the box whenever that is demanded and granted, for ever."""
        while True:
            await self._granted.wait()
            self._granted.clear()
            try:
                process = await asyncio.create_subprocess_exec(*self._command)
            except OSError as error:
                log.error("the box cannot be restarted; do it by hand error=%s", error)  # noqa: TRY400 - not a fault of ours
            else:
                await process.wait()


def _is_of_today(stamp: Path) -> bool:
    try:
        return time.time() - stamp.stat().st_mtime < _DAY_S
    except OSError:
        return False
