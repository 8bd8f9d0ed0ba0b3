"""The time in which a new version proves itself, seen from inside: it looks at what it does, and says so to the guard.

The guard (`agent.update.guard`) decides; it reads what is written here, below the state directory:

    update/probation.json  {"digest", "unmet": [sentences]}  what is missing so far
    update/committed.json  {"digest"}                        nothing is missing any more
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.media.writer import completed
from agent.system.logs import Trouble
from agent.update import disk
from agent.update.probation import Before, Probation, ScreenNow

log = logging.getLogger(__name__)

FOLDER = "update"
COMMITTED = "committed.json"
PROBATION = "probation.json"
STEP_S = 1.0


class Trial:
    """One run of the release with this `digest`. `screens` and `connected` say what can be seen."""

    def __init__(
        self,
        state_dir: Path,
        digest: str,
        version: str,
        before: Before,
        *,
        probation_s: float,
        screens: Callable[[], Mapping[str, ScreenNow]],
        connected: Callable[[], bool],
    ) -> None:
        self.unmet: list[str] = []
        self.passed = False
        self._folder = state_dir / FOLDER
        self._digest = digest
        self._version = version
        self._before = before
        self._probation_s = probation_s
        self._screens = screens
        self._connected = connected
        self._trouble = Trouble(log)

    async def run(self) -> None:
        """Looks until nothing is missing; begins when the agent is ready. Returns when that is on the disk."""
        loop = asyncio.get_running_loop()
        probation = Probation(self._before, self._probation_s, loop.time())
        written: list[str] | None = None
        log.info("new version is on probation version=%s probation_s=%g", self._version, self._probation_s)
        while not self.passed:
            self.unmet = probation.look(loop.time(), self._screens(), self._connected())
            if not self.unmet:
                self.passed = await self._write(COMMITTED, {"digest": self._digest})
            elif self.unmet != written and await self._write(PROBATION, {"digest": self._digest, "unmet": self.unmet}):
                written = self.unmet
            if not self.passed:
                await asyncio.sleep(STEP_S)
        log.info("new version has proved itself version=%s", self._version)

    async def _write(self, name: str, content: object) -> bool:
        """Whether it is on the disk."""
        try:
            await _in_thread(lambda: _write(self._folder / name, json.dumps(content).encode()))
        except OSError as error:
            self._trouble.is_("new version cannot say how it does", error.strerror, name=name)
            return False
        self._trouble.over("new version can say how it does again")
        return True


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    disk.write_file(path, data, 0o644)


async def _in_thread(function: Callable[[], None]) -> None:
    await completed(asyncio.get_running_loop().run_in_executor(None, function))
