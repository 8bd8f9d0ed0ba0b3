"""Restarting the box: asked for by a server, done by the configured command, refused by the platform in its own words."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_CAN_REBOOT = (
    *("busctl", "--json=short", "call", "org.freedesktop.login1", "/org/freedesktop/login1"),
    *("org.freedesktop.login1.Manager", "CanReboot"),
)
_REFUSALS = {
    "no": "systemd-logind does not allow this user to restart the device",
    "challenge": "systemd-logind wants a password before it restarts the device",
    "na": "systemd-logind cannot restart this device",
}
_MAX_REASON = 300


class RebootError(Exception):
    """The platform refuses; str() says why."""


@dataclass(frozen=True, slots=True)
class RebootTimers:
    """Seconds."""

    ask_s: float = 2.0
    """For logind to say whether it would."""
    command_s: float = 30.0
    going_s: float = 60.0
    """After a command that succeeded the box goes down; it is not run again meanwhile."""


class Reboot:
    """Restarts the box with `command`, for all links."""

    def __init__(self, command: Sequence[str], *, timers: RebootTimers = RebootTimers()) -> None:
        self._command = list(command)
        self._timers = timers
        self._lock = asyncio.Lock()
        self._done_at = float("-inf")

    async def refusal(self) -> str:
        """Why the platform would refuse, as far as can be known beforehand; empty: nothing stands in the way.

        The command must exist; for systemctl, logind is asked whether this user may (`CanReboot`). Restarts nothing.
        """
        if not self._command:
            return "no command to restart the device is configured"
        if shutil.which(self._command[0]) is None:
            return f"the command to restart the device does not exist: {self._command[0]}"
        if Path(self._command[0]).name != "systemctl":
            return ""
        try:
            code, said = await _run(_CAN_REBOOT, self._timers.ask_s)
            answer = str(json.loads(said)["data"][0]) if code == 0 else ""
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            log.debug("logind does not say whether it would restart the box error=%s", error)
            return ""
        return _REFUSALS.get(answer, "")

    async def request(self) -> None:
        """Restarts the box, now: whoever asked has been answered. A second request while it goes down does no harm.

        Returns when the command has succeeded. Raises RebootError with the platform's own words when it refuses.
        """
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() - self._done_at < self._timers.going_s:
                return
            reason = await self._execute()
            if reason:
                log.warning("the platform does not restart the box command=%r reason=%r", " ".join(self._command), reason)
                raise RebootError(reason)
            log.info("the box goes down for a restart")
            self._done_at = loop.time()

    async def _execute(self) -> str:
        """Runs the command; empty, or why it failed."""
        try:
            code, said = await _run(self._command, self._timers.command_s)
        except TimeoutError:
            return f"{self._command[0]} did not end within {self._timers.command_s:g} s"
        except OSError as error:
            return f"{self._command[0]} cannot be run: {error.strerror}"
        return "" if code == 0 else said or f"{self._command[0]} failed with exit code {code}"


async def _run(command: Sequence[str], deadline_s: float) -> tuple[int, str]:
    """Exit code and what was said, in one line; ended when it takes too long. Raises OSError, TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(deadline_s):
            said, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, " ".join(said.decode(errors="replace").split())[:_MAX_REASON]
