"""The scripts people run: they are sound shell, and nothing in the repository belongs to one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

# Homes of people and of build machines, and addresses of package indexes: what works here only.
_OF_ONE_MACHINE = re.compile(
    r"(?<![\w.])/(?:home|Users|work|mnt)/[a-z]"
    r"|/root/"
    r"|file://" + r"/opt/"
    r"|--(?:extra-)?index-url\s+\S*//|(?:extra-)?index[-_]url\s*=\s*\S*//"
    r"|\b(?:files\.pythonhosted|pypi)\.org\b"
    r"|\b(?:localhost|127\.0\.0\.1):\d+/simple\b"
)


def _tracked_files() -> list[Path]:
    """What belongs to the repository: tracked files and new ones that are not ignored."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    return [CHECKOUT / name.decode() for name in listing.stdout.split(b"\0") if name and (CHECKOUT / name.decode()).is_file()]


def _shell_scripts() -> list[Path]:
    return [path for path in _tracked_files() if re.match(rb"#!\S+(?: |/)(?:ba)?sh\b", path.open("rb").readline(80))]


def test_there_are_shell_scripts() -> None:
    """The search below finds what it is for."""
    names = {path.relative_to(CHECKOUT).as_posix() for path in _shell_scripts()}
    assert names >= {"scripts/setup", "scripts/test", "scripts/install", "scripts/demo", "systemd/start-delay"}


def test_shell_scripts_pass_shellcheck() -> None:
    """Every shell script parses, and shellcheck has nothing to say."""
    for script in _shell_scripts():
        shell = "bash" if b"bash" in script.open("rb").readline(80) else "sh"
        assert subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False).stderr == ""
    result = subprocess.run(["shellcheck", *_shell_scripts()], capture_output=True, text=True, check=False)
    assert result.stdout == ""


def test_scripts_can_be_run() -> None:
    """What begins with #! is executable."""
    for path in _tracked_files():
        if path.open("rb").read(2) == b"#!":
            assert path.stat().st_mode & 0o111, path


@pytest.mark.parametrize("script", ["setup", "test", "install", "demo"])
def test_help_says_what_a_script_does(script: str) -> None:
    """--help prints the usage and does nothing else."""
    result = subprocess.run([CHECKOUT / "scripts" / script, "--help"], capture_output=True, text=True, check=False, timeout=20)
    assert result.returncode == 0
    assert f"scripts/{script}" in result.stdout
    assert "set -euo" not in result.stdout


def test_nothing_belongs_to_one_machine() -> None:
    """No file names somebody's directory or a package index: a clone works anywhere."""
    found = []
    for path in _tracked_files():
        if path == Path(__file__):
            continue
        text = path.read_bytes()
        if b"\0" in text[:8192]:
            continue
        for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
            if match := _OF_ONE_MACHINE.search(line):
                found.append(f"{path.relative_to(CHECKOUT)}:{number}: {match.group()}")
    assert found == []


def test_package_list_is_well_formed() -> None:
    """Every line of scripts/packages names a package, its group and what it is for, each package once."""
    names = []
    for line in (CHECKOUT / "scripts/packages").read_text().splitlines():
        if line and not line.startswith("#"):
            name, group, purpose = line.split(maxsplit=2)
            assert group in {"box", "build", "demo", "no-display", "no-sound", "test"}, line
            assert purpose
            names.append(name)
    assert len(names) == len(set(names))
    assert {"libmpv2", "fonts-noto-core", "fonts-noto-cjk", "fonts-symbola"} <= set(names)


def test_setup_has_nothing_to_do_the_second_time() -> None:
    """Where everything is there, setup is quiet and quick."""
    result = subprocess.run(
        [CHECKOUT / "scripts/setup", "--no-apt"], capture_output=True, text=True, check=True, timeout=10, cwd="/"
    )
    assert result.stdout == ""
