"""Restarting the box, with commands that only say that they were run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agent.hardware.reboot import Reboot, RebootError, RebootTimers


def script(path: Path, body: str) -> str:
    """A program."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    """Where a command leaves a line each time it is run."""
    return tmp_path / "runs"


def runs(counter: Path) -> int:
    return len(counter.read_text().splitlines()) if counter.exists() else 0


async def test_runs_the_command_once(tmp_path: Path, counter: Path) -> None:
    """However often and by however many it is asked for while the box goes down; later it counts anew."""
    command = script(tmp_path / "restart", f'echo "$@" >> {counter}; sleep 0.1')
    reboot = Reboot([command, "now"], timers=RebootTimers(going_s=0.5))
    assert await reboot.refusal() == ""
    assert runs(counter) == 0
    await asyncio.gather(*(reboot.request() for _ in range(3)))
    await reboot.request()
    assert counter.read_text() == "now\n"
    await asyncio.sleep(0.6)
    await reboot.request()
    assert runs(counter) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "echo 'Call to Reboot failed: Interactive\nauthentication required.' >&2; exit 1",
            "Interactive authentication required",
        ),
        ("echo 'Operation inhibited by \"apt\"'; exit 1", 'inhibited by "apt"'),
        ("exit 7", "failed with exit code 7"),
        ("kill -9 $$", "failed with exit code -9"),
        ("exec sleep 60", r"did not end within 0\.3 s"),
    ],
)
async def test_refused_by_the_platform(tmp_path: Path, counter: Path, body: str, reason: str) -> None:
    """In its own words, in one line; the next request tries again."""
    reboot = Reboot([script(tmp_path / "restart", f"echo >> {counter}\n{body}")], timers=RebootTimers(command_s=0.3))
    begun = time.monotonic()
    for number in (1, 2):
        with pytest.raises(RebootError, match=reason) as refused:
            await reboot.request()
        assert "\n" not in str(refused.value)
        assert runs(counter) == number
    assert time.monotonic() - begun < 5


async def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """Known before anybody is promised anything."""
    missing = Reboot(["no-such-program-here"])
    assert "does not exist: no-such-program-here" in await missing.refusal()
    with pytest.raises(RebootError, match="No such file"):
        await missing.request()
    assert "configured" in await Reboot([]).refusal()
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(RebootError, match="cannot be run"):
        await Reboot([str(broken)]).request()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"type":"s","data":["yes"]}', ""),
        ('{"type":"s","data":["no"]}', "does not allow"),
        ('{"type":"s","data":["challenge"]}', "password"),
        ('{"type":"s","data":["na"]}', "cannot restart"),
        ('{"type":"s","data":["inhibited"]}', ""),
        ("nonsense", ""),
        ("[]", ""),
    ],
)
async def test_logind_is_asked_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counter: Path, said: str, reason: str
) -> None:
    """For systemctl: what CanReboot says; nothing is restarted by asking."""
    script(tmp_path / "busctl", f"echo \"$*\" > {tmp_path}/asked; echo '{said}'")
    script(tmp_path / "systemctl", f"echo >> {counter}")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    refusal = await Reboot(["systemctl", "reboot"]).refusal()
    assert reason in refusal
    assert bool(refusal) == bool(reason)
    assert (tmp_path / "asked").read_text().endswith("org.freedesktop.login1.Manager CanReboot\n")
    assert runs(counter) == 0


@pytest.mark.parametrize("busctl", ["exit 1", "exec sleep 30", None])
async def test_logind_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busctl: str | None) -> None:
    """Then nothing is known against it."""
    if busctl is not None:
        script(tmp_path / "busctl", busctl)
    script(tmp_path / "systemctl", "exit 0")
    for name in ("sh", "sleep"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await Reboot(["systemctl", "reboot"], timers=RebootTimers(ask_s=0.2)).refusal() == ""


async def test_a_link_that_leaves_stops_nothing(tmp_path: Path, counter: Path) -> None:
    """The command runs on when whoever asked is gone."""
    reboot = Reboot([script(tmp_path / "restart", f"sleep 0.2; echo >> {counter}")])
    asking = asyncio.create_task(reboot.request())
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait({asking})
    async with asyncio.timeout(5):
        while runs(counter) == 0:
            await asyncio.sleep(0.01)
