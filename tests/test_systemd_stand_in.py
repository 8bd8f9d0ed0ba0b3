"""Tests of the stand-in for systemd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.systemd_stand_in import UNITS, Systemd
from tests.systemd_units import parse, read, span

READY = 'import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); a = os.environ["NOTIFY_SOCKET"]; '
Make = Callable[..., Awaitable[Systemd]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Boots a box with these units: file name to text."""
    folder = tmp_path / "units"
    folder.mkdir()
    systemd = Systemd(tmp_path / "box", units=folder)

    async def boot(**units: str) -> Systemd:
        for name, text in units.items():
            path = folder / name.replace("_", ".")
            path.write_text(text.replace("PYTHON", "/usr/bin/python3 -ISB -c"))
        await systemd.boot()
        return systemd

    yield boot
    await systemd.cut()


def service(*lines: str, wanted: bool = True) -> str:
    """The text of a unit file."""
    return "\n".join(["[Service]", *lines, *(["[Install]", "WantedBy=multi-user.target"] if wanted else [])])


async def systemctl(systemd: Systemd, *arguments: str) -> tuple[int, str]:
    """Runs the program that the services find."""
    program = systemd.programs / "systemctl"
    process = await asyncio.create_subprocess_exec(str(program), *arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


def texts(systemd: Systemd, unit: str = "a.service") -> list[str]:
    """What a unit has said."""
    return [entry.text for entry in systemd.journal if entry.unit == unit]


async def ended(pid: int) -> None:
    """Waits until there is no such process."""
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}/exe").exists():
            await asyncio.sleep(0.01)


def test_spans_of_time() -> None:
    """Numbers are seconds; units may be joined; anything else is refused."""
    assert [span(text) for text in ("5", "100ms", "1h", "2min 30s")] == [5.0, 0.1, 3600.0, 150.0]
    with pytest.raises(ValueError, match="no span"):
        span("soon")


def test_all_units_are_understood() -> None:
    """Every key of the real unit files is either heeded or known not to matter; a new one has to be looked at."""
    paths = [path for path in UNITS.iterdir() if path.suffix in (".service", ".timer", ".path")]
    assert len(paths) == 5
    for path in paths:
        assert read(path).name == path.name
    with pytest.raises(ValueError, match=r"Service\.RestartSteps"):
        parse("a.service", "[Service]\nRestartSteps=5")


async def test_commands_come_in_order(make: Make) -> None:
    """What comes before and after the start; a failure that is forgiven does not matter; lines have priorities."""
    systemd = await make(
        a_service=service(
            "Type=oneshot",
            "ExecStartPre=-/bin/sh -c 'echo \"<4>one\"; exit 3'",
            "ExecStartPre=/bin/echo two",
            "ExecStart=/bin/sh -c 'echo three; exit 5'",
            "ExecStopPost=/bin/sh -c 'echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS'",
        )
    )
    await systemd.wait_for(lambda: len(texts(systemd)) == 4)
    assert texts(systemd) == ["one", "two", "three", "exit-code exited 5"]
    assert [entry.priority for entry in systemd.journal if entry.unit == "a.service"] == [4, 6, 6, 6]
    await systemd.wait_for(lambda: systemd.unit("a").active_state == "failed")


async def test_restart_counts(make: Make) -> None:
    """Restart=always starts again for ever and counts; a start by hand begins the count anew."""
    systemd = await make(a_service=service("Type=oneshot", "ExecStart=/bin/true", "Restart=always", "RestartSec=10ms"))
    unit = systemd.service("a")
    await systemd.wait_for(lambda: unit.restarts >= 3)
    code, out = await systemctl(systemd, "show", "--property", "NRestarts", "--value", "a.service")
    assert (code, int(out) >= 3) == (0, True)
    await unit.stop()
    assert (await systemctl(systemd, "is-active", "a"))[0] == 3
    await unit.start()
    assert unit.restarts == 0


async def test_ready_and_watchdog(make: Make) -> None:
    """READY=1 makes a service active; one that is not fed is ended by SIGABRT."""
    code = READY + 's.sendto(b"READY=1", a); time.sleep(60)'
    systemd = await make(a_service=service("Type=notify", f"ExecStart=PYTHON '{code}'", "WatchdogSec=300ms"))
    await systemd.wait_for(lambda: systemd.unit("a").active_state == "active")
    await systemd.wait_for(lambda: systemd.unit("a").active_state == "failed")
    assert systemd.service("a").result == "watchdog"
    assert systemd.service("a").ended[1:] == (2, 6)


async def test_never_ready(make: Make) -> None:
    """What is not ready in time is ended, in the end by SIGKILL; words of others than the main process do not count."""
    code = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        + READY
        + 'os.fork() or (s.sendto(b"READY=1", a), os._exit(0)); time.sleep(60)'
    )
    limits = ("TimeoutStartSec=1", "TimeoutStopSec=100ms")
    systemd = await make(a_service=service("Type=notify", f"ExecStart=PYTHON '{code}'", *limits))
    await systemd.wait_for(lambda: systemd.unit("a").active_state == "failed")
    assert systemd.service("a").result == "timeout"
    assert systemd.service("a").ended[1:] == (2, 9)


async def test_children_end_with_the_main_process(make: Make, tmp_path: Path) -> None:
    """Also those that were given another environment."""
    systemd = await make(
        a_service=service("Type=oneshot", f"ExecStart=/bin/sh -c 'env -i sleep 60 & echo $!; touch {tmp_path}/x'")
    )
    await systemd.wait_for(lambda: systemd.unit("a").active_state == "inactive" and texts(systemd))
    await ended(int(texts(systemd)[0]))


async def test_path_and_timer(make: Make, tmp_path: Path) -> None:
    """A path unit starts its service as long as the path is there; a timer again and again until it is stopped."""
    (tmp_path / "x.bundle").touch()
    systemd = await make(
        a_service=service("Type=oneshot", f"ExecStart=/bin/rm {tmp_path}/x.bundle", wanted=False),
        a_path=f"[Path]\nPathExistsGlob={tmp_path}/*.bundle\n[Install]\nWantedBy=multi-user.target",
        b_service=service("Type=oneshot", "ExecStart=/bin/true", wanted=False),
        b_timer="[Timer]\nOnActiveSec=10ms\nOnUnitActiveSec=10ms\nAccuracySec=0",
    )
    await systemd.wait_for(lambda: systemd.unit("a").starts == 1 and not systemd.service("a").busy)
    (tmp_path / "x.bundle").touch()
    await systemd.wait_for(lambda: systemd.unit("a").starts == 2)
    assert systemd.unit("b").starts == 0
    await systemctl(systemd, "start", "--no-block", "b.timer")
    await systemd.wait_for(lambda: systemd.unit("b").starts >= 3)
    await systemctl(systemd, "stop", "b.timer")
    assert systemd.unit("b.timer").active_state == "inactive"


async def test_power_cut_and_boot(make: Make) -> None:
    """Everything dies at once, what is in /run is gone, and another boot has another id."""
    systemd = await make(a_service=service("Type=oneshot", "ExecStart=/bin/sleep 60", "RuntimeDirectory=a"))
    await systemd.wait_for(lambda: systemd.service("a").pids)
    pid, boot_id = systemd.service("a").main_pid, systemd.boot_id.read_text()
    assert (systemd.run / "a").is_dir()
    await systemd.cut()
    await ended(pid)
    assert not systemd.run.exists()
    await systemd.boot()
    assert systemd.boot_id.read_text() != boot_id
