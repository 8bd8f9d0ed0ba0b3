"""The whole agent as systemd sees it: real processes, no links, a screen that goes nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from agent import __version__
from agent.control.client import ControlClient, RefusedError
from tests.agent_process import AgentProcess
from tests.system.manager import Manager

NOWHERE = '[screens.front]\noutput = "null"'
DEADLINE_S = 15.0
LEAVE_S = 2.0
"""A box that is told to end has ended by then."""


class Unit(AgentProcess):
    """A box with a systemd."""

    def __init__(self, folder: Path, *, tables: str = NOWHERE, watchdog_s: float = 0.0, display: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.manager = Manager(str(folder / "notify"))
        environment = {"NOTIFY_SOCKET": str(folder / "notify"), "DISPLAY": display}
        if watchdog_s:
            environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        super().__init__(folder, tables=tables, environment=environment)

    async def ready(self) -> list[str]:
        """Starts it and waits for READY; everything heard until then."""
        await self.start(wait=False)
        return await self.manager.hears("READY=1")

    async def logged(self, words: str) -> None:
        """Waits until this stands in the log."""
        async with asyncio.timeout(DEADLINE_S):
            while words not in self.log:
                await asyncio.sleep(0.01)

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self.process is not None
        return self.process.pid

    async def ended(self) -> int:
        """Waits for the end; the exit code."""
        assert self.process is not None
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()


@pytest.fixture
async def unit(tmp_path: Path) -> AsyncIterator[Callable[..., Unit]]:
    """Makes boxes; none of them outlives the test."""
    units: list[Unit] = []

    def make(**keywords: object) -> Unit:
        units.append(Unit(tmp_path / f"box{len(units)}", **keywords))  # type: ignore[arg-type]
        return units[-1]

    yield make
    for made in units:
        if made.process is not None and made.process.returncode is None:
            await made.kill()
        made.manager.socket.close()


def alive(pid: int) -> bool:
    """Whether there is such a process (a zombie is none)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pids: list[int]) -> None:
    """Waits until none of these processes is left."""
    async with asyncio.timeout(DEADLINE_S):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_ready_then_ended(unit: Callable[..., Unit], number: signal.Signals) -> None:
    """READY comes when the screen presents, with a line for `systemctl status`; a signal ends everything within 2 s."""
    box = unit()
    heard = await box.ready()
    await box.logged("ready warm_s")
    statuses = [line for line in (*heard, *box.manager.heard()) if line.startswith("STATUS=")]
    assert statuses[-1] == "STATUS=front: idle; 0 of 0 links connected"
    children = list(box.children())
    assert any("agent.screen.worker" in command for command in box.children().values())
    began = time.monotonic()
    os.kill(box.pid, number)
    assert await box.ended() == 0
    assert time.monotonic() - began < LEAVE_S
    assert not any(alive(pid) for pid in children)
    assert "STOPPING=1" in box.manager.heard()
    assert "Traceback" not in box.log


async def test_ended_while_it_starts(unit: Callable[..., Unit]) -> None:
    """A signal during the start is obeyed as quickly, whatever has been started until then, with exit code 0."""
    box = unit()
    await box.start(wait=False)
    await box.logged("signage-agent starts")
    began = time.monotonic()
    assert await box.stop() == 0
    assert time.monotonic() - began < LEAVE_S
    assert "Traceback" not in box.log


async def test_killed_it_leaves_no_children(unit: Callable[..., Unit]) -> None:
    """After SIGKILL no worker holds the screen."""
    box = unit()
    await box.ready()
    children = list(box.children())
    assert children
    await box.kill()
    await gone(children)


async def test_a_worker_that_hangs_does_not_hold_up_the_end(unit: Callable[..., Unit]) -> None:
    """A stopped worker is ended by force, still within 2 s."""
    box = unit()
    await box.ready()
    worker = box.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    began = time.monotonic()
    assert await box.stop() == 0
    assert time.monotonic() - began < LEAVE_S
    await gone([worker])


async def test_the_watchdog_is_fed(unit: Callable[..., Unit]) -> None:
    """Three times within its deadline, from the start on."""
    box = unit(watchdog_s=0.6)
    await box.ready()
    for _ in range(3):
        await box.manager.hears("WATCHDOG=1", 2.0)


async def test_a_faulty_file_on_sighup_changes_nothing(unit: Callable[..., Unit]) -> None:
    """The fault is named with its place, systemd is told that the reload is over, and everything goes on."""
    box = unit()
    await box.ready()
    worker = box.worker_pid()
    good = box.config.read_text()
    box.config.write_text(good.replace('output = "null"', 'output = "cardboard"'))
    box.hang_up()
    heard = await box.manager.hears("READY=1")
    assert any(line.startswith("RELOADING=1\nMONOTONIC_USEC=") for line in heard)
    assert "cardboard" in box.log
    assert "the old one stays in force" in box.log
    assert box.worker_pid() == worker
    assert (await box.status())["screens"]["front"]["state"] == "idle"


async def test_a_log_level_on_sighup_is_live(unit: Callable[..., Unit]) -> None:
    """Another log level needs no fresh start: the same worker goes on, and the new level speaks at once."""
    box = unit()
    await box.ready()
    worker = box.worker_pid()
    box.configure([], NOWHERE, level="debug")
    box.hang_up()
    await box.manager.hears("READY=1")
    assert box.worker_pid() == worker
    assert "configuration read again fresh_start=no" in box.log
    box.configure([], NOWHERE, level="error")
    box.hang_up()
    await box.manager.hears("READY=1")
    logged = len(box.log)
    box.hang_up()
    await box.manager.hears("READY=1")
    assert "configuration read again" not in box.log[logged:]


@pytest.mark.parametrize("more", [0, 20])
async def test_a_changed_screen_on_sighup_restarts_in_place(unit: Callable[..., Unit], more: int) -> None:
    """The same process takes up the new configuration with a new worker; systemd never hears that it stops.

    It is ready again when the new screen is, and more SIGHUPs in the middle of it are no end either.
    """
    box = unit()
    await box.ready()
    await box.until(lambda status: True)
    box.manager.heard()
    pid, worker = box.pid, box.worker_pid()
    box.configure([], '[screens.lobby]\noutput = "null"\nwindow = "640x360"')
    box.hang_up()
    await box.logged("fresh_start=yes")
    for _ in range(more):
        box.hang_up()
        await asyncio.sleep(0.02)
    heard = await box.manager.hears("READY=1")
    await box.logged("size=640x360")
    heard += box.manager.heard()
    assert "STOPPING=1" not in heard
    assert more or heard.count("READY=1") == 1
    assert any(line.startswith("RELOADING=1") for line in heard)
    assert not alive(worker)
    assert box.pid == pid
    assert list((await box.until(lambda status: "lobby" in status["screens"]))["screens"]) == ["lobby"]
    assert await box.stop() == 0


async def test_a_faulty_configuration_is_exit_code_78(unit: Callable[..., Unit]) -> None:
    """One line for each fault, with its place, no traceback, and nothing is started."""
    box = unit(tables='[screens.front]\noutput = "null"\ncolour = "red"\n[media]\nquota = "lots"')
    await box.start(wait=False)
    assert await box.ended() == 78
    lines = box.log.splitlines()
    assert len(lines) == 2
    assert any("colour" in line for line in lines)
    assert any("quota" in line for line in lines)
    assert box.manager.heard() == []
    assert not (box.folder / "state").exists()


async def test_no_place_for_its_state(unit: Callable[..., Unit]) -> None:
    """A state directory that cannot be made ends it with a sentence that names the path, not with a traceback."""
    box = unit()
    (box.folder / "state").touch()
    await box.start(wait=False)
    assert await box.ended() == 1
    assert "Traceback" not in box.log
    assert str(box.folder / "state") in box.log


async def test_a_screen_that_cannot_be_opened_does_not_keep_it_from_starting(unit: Callable[..., Unit]) -> None:
    """Without an X server the screen is down with its cause, and READY comes within 10 s all the same."""
    box = unit(tables='[screens.front]\noutput = "x11"', display=":987")
    began = time.monotonic()
    await box.ready()
    assert time.monotonic() - began < 10
    screen = (await box.until(lambda status: status["screens"]["front"]["state"] == "down"))["screens"]["front"]
    assert screen["cause"]
    assert "starting" not in screen["cause"]
    assert "screen is down screen=front" in box.log


async def test_a_worker_that_dies_does_not_end_it(unit: Callable[..., Unit]) -> None:
    """The screen is back with another worker; the daemon is the same process and says how often that happened."""
    box = unit()
    await box.ready()
    worker = box.worker_pid()
    os.kill(worker, signal.SIGKILL)
    status = await box.until(lambda status: status["screens"]["front"]["worker_restarts"] == 1)
    assert status["uptime_s"] > 0
    await box.until(lambda status: status["screens"]["front"]["state"] == "idle")
    assert box.worker_pid() != worker


async def test_the_daemon_does_not_load_what_workers_are_for() -> None:
    """libmpv, Pillow, PyAV and aiortc stay out of the daemon's memory."""
    code = "import sys, agent.daemon, agent.links.registry, agent.control.server; print(sorted(sys.modules))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=Path(__file__).parents[1], stdout=asyncio.subprocess.PIPE
    )
    with contextlib.suppress(ProcessLookupError):
        async with asyncio.timeout(DEADLINE_S):
            out, _ = await process.communicate()
    for heavy in ("mpv", "PIL", "av", "aiortc", "alsaaudio"):
        assert f"'{heavy}'" not in out.decode()


async def test_two_agents_on_one_state_directory(unit: Callable[..., Unit], tmp_path: Path) -> None:
    """The second one says who is in its way and ends; the first one never notices."""
    box = unit()
    await box.ready()
    for changed in ("control.socket", "device.state_dir"):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent", "run", "--config", str(box.config), "--set", f"{changed}={tmp_path / 'another' / 'x'}",
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert process.returncode == 1
        assert "another agent" in said.decode()
        assert "Traceback" not in said.decode()
    assert (await box.status())["screens"]["front"]["state"] == "idle"


async def test_leftovers_of_played_files_go_at_the_start(unit: Callable[..., Unit]) -> None:
    """Not only when the first client comes."""
    box = unit()
    clips = box.folder / "state" / "clips"
    clips.mkdir(parents=True)
    (clips / "clip-3").touch()
    await box.ready()
    async with asyncio.timeout(DEADLINE_S):
        while list(clips.iterdir()):
            await asyncio.sleep(0.01)


async def test_a_read_only_disk(unit: Callable[..., Unit]) -> None:
    """The box starts with what it knows, and says in its status what is wrong."""
    box = unit()
    state = box.folder / "state"
    state.mkdir()
    if await command("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(state)):
        pytest.skip("mounting is not permitted here")
    try:
        await box.ready()
        await box.stop()
        await command("mount", "-o", "remount,ro", str(state))
        await box.ready()
        status = await box.until(lambda status: status["screens"]["front"]["state"] == "idle")
        assert "state cannot be written: the disk is read-only" in status["warnings"]
        assert await box.stop() == 0
    finally:
        await command("umount", "-l", str(state))


async def command(*words: str) -> int:
    """Its exit code."""
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()


async def test_a_checkout_is_not_updated(unit: Callable[..., Unit]) -> None:
    """An update is refused in a sentence, the installer's nudge is taken, and the agent goes on."""
    box = unit()
    await box.ready()
    client = ControlClient(box.socket)
    with pytest.raises(RefusedError, match="scripts/install"):
        await asyncio.to_thread(lambda: list(client.update(io.BytesIO(b"x" * 1000), "next.bundle", 1000)))
    status = await box.status()
    assert status["update"] == {"version": __version__, "state": "idle", "candidate": None, "last_result": None}
    connector = aiohttp.UnixConnector(str(box.socket))
    async with aiohttp.ClientSession(connector=connector) as http, http.post("http://agent/update/look") as response:
        assert response.status == 200
    assert "Traceback" not in box.log
