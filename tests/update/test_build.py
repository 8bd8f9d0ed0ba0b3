"""Releases are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.update import build
from agent.update.build import BuildError, Plan
from agent.update.slots import Releases
from tests.update.boxes import FakeBuilder, write_command
from tests.update.bundles import NEXT

DIGEST = "d" * 64


class _Builder(FakeBuilder):
    """Lets a program of the new release say and do something else."""

    def __init__(self, program: str, does: str) -> None:
        self._program, self._does = program, does

    def make(self, release: Path, wheels: Sequence[Path], scratch: Path, *, system_site_packages: bool) -> None:
        """As build.Builder."""
        super().make(release, wheels, scratch, system_site_packages=system_site_packages)
        (release / "bin" / self._program).write_text(f"#!/bin/sh\n{self._does}\n")


def _build(root: Path, builder: build.Builder | None = None) -> Releases:
    root.mkdir(exist_ok=True)
    releases = Releases(root)
    plan = Plan(NEXT, NEXT, DIGEST, [Path(f"signage_agent-{NEXT}-py3-none-any.whl")], camera=True)
    build.build(releases, plan, builder or FakeBuilder(), root)
    return releases


def test_release(tmp_path: Path) -> None:
    """It says its version, sees what it has to, has its digest, and still has to prove itself."""
    releases = _build(tmp_path)
    assert (releases.digest(NEXT), releases.unproved(NEXT)) == (DIGEST, True)
    assert build.version_of(releases.path(NEXT), tmp_path) == NEXT
    assert build.sees_system_packages(releases.path(NEXT))
    assert not build.sees_system_packages(tmp_path)
    _build(tmp_path)
    assert releases.names() == [NEXT]


@pytest.mark.parametrize(
    ("program", "does", "cause"),
    [
        ("signage-agent", "echo signage-agent 1.0", "it was to be version 9.0.0, but says that it is 1.0"),
        ("signage-agent", "exit 3", "signage-agent version failed: exit code 3"),
        ("signage-agent", "echo 'x\033[2J' >&2; exit 1", r"signage-agent version failed: x \[2J"),
        ("python", "echo no cryptography >&2; exit 1", "python -m agent.update.install failed: no cryptography"),
        ("python", f"echo {'x' * 999} >&2; exit 1", r"python -m agent.update.install failed: x{297}\.\.\."),
    ],
)
def test_what_does_not_run(tmp_path: Path, program: str, does: str, cause: str) -> None:
    """One line with its last words, and it is gone."""
    with pytest.raises(BuildError, match=f"^{cause}$"):
        _build(tmp_path, _Builder(program, does))
    assert Releases(tmp_path).names() == []


def test_what_never_ends(tmp_path: Path) -> None:
    """It is ended."""
    with pytest.raises(BuildError, match=r"sleep 60 did not end within 0\.1 s"):
        build.run(["/bin/sleep", "60"], build.clean_environment(tmp_path), 0.1)


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the root hand gets through."""
    monkeypatch.setenv("PYTHONPATH", "/evil")
    monkeypatch.setenv("PIP_INDEX_URL", "http://evil")
    assert "evil" not in build.run(["/bin/sh", "-c", "env"], build.clean_environment(tmp_path), 20)


def test_old_ones(tmp_path: Path) -> None:
    """Two stay beside the current one; halves and what was gone back from do not."""
    releases = Releases(tmp_path)
    for age, name in enumerate(("5", "4", "3", "2", "1", "half")):
        write_command(releases.path(name), name)
        if name != "half":
            (releases.path(name) / ".complete").write_text(name)
            os.utime(releases.path(name) / ".complete", (1000 - age, 1000 - age))
    releases.switch("4")
    build.remove_old(releases, ["1"], ["5"])
    assert releases.names() == ["4", "3", "1"]


def test_in_use(tmp_path: Path) -> None:
    """Found by the command lines of processes, which may vanish meanwhile."""
    releases = Releases(tmp_path)
    releases.folder.mkdir()
    for number, line in ((1, f"{releases.path('1.0')}/bin/python\0-m\0x\0"), (2, "/bin/sh\0"), (3, None)):
        (tmp_path / f"proc/{number}").mkdir(parents=True)
        if line is not None:
            (tmp_path / f"proc/{number}/cmdline").write_text(line)
    assert build.in_use(releases, tmp_path / "proc") == {"1.0"}
