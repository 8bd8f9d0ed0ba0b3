"""The real agent as a process of its own: a configuration in a folder, started, watched over its control socket, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from agent.control.client import ControlClient, NoAgentError

CHECKOUT = Path(__file__).resolve().parents[1]


class AgentProcess:
    """One box. `async with` starts it and ends it; `start`, `stop` and `kill` may be called in between, too.

    `tables` is TOML text put before the links; `links` are their tables. The state survives in `folder` until the test ends.
    `command` is what the interpreter is given before `run --config ...`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        links: list[Mapping[str, Any]] | None = None,
        tables: str = "",
        serial: str = "BOX-1",
        environment: Mapping[str, str] | None = None,
        level: str = "info",
        command: Sequence[str] = ("-m", "agent"),
    ) -> None:
        self.folder = folder
        self.serial = serial
        self.socket = folder / "run" / "control.sock"
        self.config = folder / "agent.toml"
        self.log_path = folder / "agent.log"
        self.process: asyncio.subprocess.Process | None = None
        self.environment = {**os.environ, **(environment or {})}
        self.environment.pop("WAYLAND_DISPLAY", None)
        self._command = command
        self.configure(links or [], tables, level)

    def configure(self, links: list[Mapping[str, Any]], tables: str = "", level: str = "info") -> None:
        """Writes the configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f'[device]\nserial = "{self.serial}"\nstate_dir = "{self.folder / "state"}"',
            f'[log]\nlevel = "{level}"',
            f'[control]\nsocket = "{self.socket}"',
            tables,
        ]
        for link in links:
            lines.append("[[links]]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in link.items()]
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def log(self) -> str:
        """Everything it has logged so far, over all its starts."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    async def start(self, *, wait: bool = True) -> None:
        """Starts it; returns once its control socket answers, or at once."""
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *self._command, "run", "--config", str(self.config),
                cwd=CHECKOUT, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        if wait:
            await self.until(lambda status: True)

    async def stop(self, deadline_s: float = 10.0) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        async with asyncio.timeout(deadline_s):
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL, as if the power were cut."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    def hang_up(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    async def status(self) -> dict[str, Any]:
        """The status document. Raises NoAgentError."""
        return await asyncio.to_thread(ControlClient(self.socket).status)

    async def until(self, condition: Callable[[dict[str, Any]], Any], deadline_s: float = 20.0) -> dict[str, Any]:
        """The first status for which `condition` holds. Raises AssertionError with the last one, and the log's end."""
        last: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while True:
                    assert self.process is not None
                    assert self.process.returncode is None, f"the agent has ended: {self.log[-2000:]}"
                    with contextlib.suppress(NoAgentError):
                        last = await self.status()
                        if condition(last):
                            return last
                    await asyncio.sleep(0.05)
        raise AssertionError(f"not in {deadline_s} s; status: {json.dumps(last)[:3000]}\nlog: {self.log[-3000:]}")

    async def playing(self, title: str | None = None, screen: str = "front", deadline_s: float = 20.0) -> dict[str, Any]:
        """Waits until the screen plays (that title)."""
        return await self.until(
            lambda status: (
                status["screens"][screen]["state"] == "playing"
                and status["screens"][screen]["title"] is not None
                and (title is None or status["screens"][screen]["title"] == title)
            ),
            deadline_s,
        )

    def children(self) -> dict[int, str]:
        """Its child processes: id → command line."""
        assert self.process is not None
        found: dict[int, str] = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(FileNotFoundError):
                    found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ").strip()
        return found

    def worker_pid(self) -> int:
        """Process id of the first screen's worker."""
        return next(pid for pid, command in self.children().items() if "agent.screen.worker" in command)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            if self.process is not None:
                await self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process is not None and self.process.returncode is None:
            try:
                await self.stop()
            except TimeoutError:
                await self.kill()
                raise


def signage_link(url: str, **keys: Any) -> dict[str, Any]:
    """The table of a signage link to the fake server at `url`."""
    return {"kind": "signage", "url": url, "username": "demo", "password": "demo-password", "spread_s": 0.2, **keys}
