"""The processes of the demo: none of them outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.demo import CHECKOUT, DIRECTORY, DemoError

START_S = 60.0
"""How long a child may take to come up."""
END_S = 8.0
"""How long a child may take to end after SIGTERM."""


class Children:
    """The processes of the demo, their output in .demo/<name>.log.

    Each is in a process group of its own, so that Ctrl-C reaches the demo alone, which ends them in order; and each is bound
    to the demo by the kernel, so that it gets SIGTERM even when the demo was killed.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        """For the children started from now on."""
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str, command: Sequence[str], *, pass_fds: Sequence[int] = ()) -> None:
        """Starts a child."""
        with self._log(name).open("wb") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "TERM", "--"),
                *command,
                cwd=CHECKOUT,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                pass_fds=pass_fds,
            )

    async def until(self, name: str, found: Callable[[], bool]) -> None:
        """Waits until `found`. Raises DemoError if the child ends before that or takes too long."""
        deadline = time.monotonic() + START_S
        while not found():
            if self._running[name].returncode is not None:
                raise DemoError(self.why_ended(name))
            if time.monotonic() > deadline:
                raise DemoError(f"the {name} did not come up in {START_S:.0f} s; see .demo/{name}.log")
            await asyncio.sleep(0.05)

    async def first_end(self) -> str:
        """Waits until a child ends; its name."""
        waiting = {asyncio.create_task(child.wait(), name=f"end of {name}"): name for name, child in self._running.items()}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return waiting[done.pop()]

    def why_ended(self, name: str) -> str:
        """A sentence with the last words of a child."""
        last = self.last_lines(name, 1)
        return f"the {name} ended: {last[0] if last else 'without a word'} (.demo/{name}.log)"

    def last_lines(self, name: str, count: int) -> list[str]:
        """The end of a child's output."""
        return self._log(name).read_text(errors="replace").splitlines()[-count:]

    async def end(self) -> None:
        """Ends all, the youngest first; who does not go by SIGTERM goes by SIGKILL."""
        for child in reversed(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            try:
                await asyncio.wait_for(child.wait(), END_S)
            except TimeoutError:
                child.kill()
                await child.wait()

    def _log(self, name: str) -> Path:
        return DIRECTORY / f"{name}.log"
