"""Pulls the plug: stops a process dead at any change it makes on the disk.

As a program, for the root hand and the guard in processes of their own:

    SIGNAGE_AGENT_UPDATE_CUT=7  python -m tests.update.cut install ARGUMENTS    dies at the 7th point, with all its children
    SIGNAGE_AGENT_UPDATE_CUT=0  python -m tests.update.cut guard ARGUMENTS      dies nowhere
    SIGNAGE_AGENT_UPDATE_POINTS=FILE                                            each point that is passed is written to FILE

A point is before or after one operation of `agent.update.disk`. `points` enumerates those of a command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from agent.update import disk

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CUT = "SIGNAGE_AGENT_UPDATE_CUT"
POINTS = "SIGNAGE_AGENT_UPDATE_POINTS"


def points(command: Sequence[str], file: Path) -> list[str]:
    """Runs `install ...` or `guard ...` to its end; the points it passed, in words, the first of which is number 1."""
    done = run(command, 0, file)
    assert done.returncode == 0, done.stderr
    return file.read_text().splitlines()


def run(command: Sequence[str], cut: int, file: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `install ...` or `guard ...` and pulls the plug at point number `cut`."""
    environment = {**os.environ, CUT: str(cut), "PYTHONPATH": str(CHECKOUT)} | ({POINTS: str(file)} if file else {})
    whole = [sys.executable, "-m", "tests.update.cut", *command]
    return subprocess.run(
        whole, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False, start_new_session=True
    )


def pull_plug_at(number: int, passed: list[str] | None = None) -> None:
    """From now on this process dies at the point with this number; 0: at none. Points go to `passed`."""
    count = 0

    def step(name: str, path: Path, when: str) -> None:
        nonlocal count
        count += 1
        if passed is not None:
            passed.append(f"{when} {name} {path.name}")
        if count == number:
            die()

    disk.step = step


def die() -> NoReturn:
    """As when the power fails: nothing is tidied up, and no child goes on."""
    if os.getsid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def in_child(function: Callable[[], object], cut: int) -> bool:
    """Runs `function` in a copy of this process and pulls the plug there; whether it came to its end before."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            pull_plug_at(cut)
            function()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL), f"ended with {status}"
    return status == 0


def points_of(function: Callable[[], object]) -> list[str]:
    """The points that `function` passes in this process."""
    passed: list[str] = []
    pull_plug_at(0, passed)
    try:
        function()
    finally:
        disk.step = disk._no_step
    return passed


def main() -> int:
    """The command line."""
    from agent.update import guard, install  # noqa: PLC0415 - only as a program

    passed: list[str] = []
    pull_plug_at(int(os.environ.get(CUT, "0")), passed)
    code = {"install": install.main, "guard": guard.main}[sys.argv[1]](sys.argv[2:])
    if file := os.environ.get(POINTS):
        Path(file).write_text("".join(f"{point}\n" for point in passed))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
