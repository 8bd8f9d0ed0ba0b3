"""The last resort when the kernel does not let go of a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.hardware.forced_reboot import STAMP, ForcedReboot
from tests.box import until


@contextlib.asynccontextmanager
async def running(reboot: ForcedReboot) -> AsyncIterator[ForcedReboot]:
    """With its task, as in the daemon."""
    task = asyncio.create_task(reboot.run())
    yield reboot
    assert not task.done()
    task.cancel()


@pytest.mark.parametrize("usable", ["state", "run"])
async def test_hardware_that_is_held_restarts_the_box_once_a_day(
    tmp_path: Path, usable: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when the state directory cannot be written, which may be the very reason."""
    (tmp_path / usable).mkdir()
    reboots = tmp_path / "reboots"
    command = ["sh", "-c", f"echo x >> {reboots}"]
    async with running(ForcedReboot(command, (tmp_path / "state", tmp_path / "run"))) as reboot:
        reboot.demand()
        reboot.demand()
        await until(lambda: reboots.exists() and reboots.read_text())
    async with running(ForcedReboot(command, (tmp_path / "state", tmp_path / "run"))) as again:
        again.demand()
    assert reboots.read_text() == "x\n"
    assert (tmp_path / usable / STAMP).exists()
    assert caplog.text.count("restart the box by hand") == 2


async def test_a_restart_that_cannot_be_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can be recorded and the command does not start: the log says so, and the agent goes on."""
    script = tmp_path / "reboot"
    script.write_bytes(b"\x7fELF")
    script.chmod(0o755)
    async with running(ForcedReboot([str(script)], (tmp_path / "state",))) as reboot:
        for _ in range(2):
            caplog.clear()
            reboot.demand()
            await until(lambda: "the box cannot be restarted; do it by hand" in caplog.text)


async def test_no_command(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has to come; nothing counts as the restart of that day."""
    for command in ([], [str(tmp_path / "missing")]):
        ForcedReboot(command, (tmp_path,)).demand()
    assert caplog.text.count("restart the box by hand") == 2
    assert not (tmp_path / STAMP).exists()
