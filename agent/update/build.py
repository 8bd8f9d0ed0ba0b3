"""Releases on the disk: built offline out of wheels, and removed when they are too old.

A release is a virtual environment at its final place, because its commands name that place. Its marker is written last, when all
the rest is on the disk: what has no marker is a half and is never linked.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.update import disk
from agent.update.slots import COMMAND, MARKER, Releases

log = logging.getLogger(__name__)

OLDER_KEPT = 2
PYTHON = "bin/python"
_SENTENCE_CHARACTERS = 300
_VENV_S, _PIP_S, _VERSION_S = 900, 1800, 120


class BuildError(Exception):
    """A release that could not be built; the text is a sentence."""


class Builder(Protocol):
    """Makes an environment out of wheels."""

    def make(self, release: Path, wheels: Sequence[Path], scratch: Path, *, system_site_packages: bool) -> None:
        """The environment `release` with these wheels and nothing else; `scratch` is for temporary files. Raises BuildError."""


class VenvBuilder:
    """venv and pip, without network, of the Python that runs this."""

    def make(self, release: Path, wheels: Sequence[Path], scratch: Path, *, system_site_packages: bool) -> None:
        """As Builder."""
        environment = {**clean_environment(scratch), "PIP_CONFIG_FILE": os.devnull, "PIP_ROOT_USER_ACTION": "ignore"}
        options = ["--system-site-packages"] if system_site_packages else []
        with disk.operation("venv", release):
            run([sys.executable, "-I", "-m", "venv", *options, str(release)], environment, _VENV_S)
        # --ignore-installed: what Debian has in the same version would otherwise be left out, and be gone after its next upgrade.
        options = ["--no-index", "--no-deps", "--no-cache-dir", "--no-input", "--ignore-installed", "--quiet"]
        options += ["--disable-pip-version-check", "--no-warn-script-location"]
        with disk.operation("pip", release):
            command = [str(release / PYTHON), "-I", "-m", "pip", "install", *options, *map(str, wheels)]
            run(command, environment, _PIP_S)


@dataclass(frozen=True)
class Plan:
    """A release to be built: out of the bundle with this `digest`, whose command says that it is `version`.

    `camera`: it sees the packages of Debian, among which is the library of the Raspberry Pi's cameras.
    """

    name: str
    version: str
    digest: str
    wheels: Sequence[Path]
    camera: bool


def build(releases: Releases, plan: Plan, builder: Builder, scratch: Path) -> None:
    """Builds a release and makes it complete. Raises BuildError and OSError; what was begun is gone then."""
    release = releases.path(plan.name)
    disk.make_directory(releases.folder)
    remove_release(release)
    try:
        builder.make(release, plan.wheels, scratch, system_site_packages=plan.camera)
        said = version_of(release, scratch)
        if said != plan.version:
            raise BuildError(f"it was to be version {plan.version}, but says that it is {said}")
        check_root_hand(release, scratch)
        releases.doubt(plan.name)
        disk.sync_tree(release)
        disk.write_file(release / MARKER, f"{plan.digest}\n".encode())
    except (BuildError, OSError):
        remove_release(release)
        raise


def version_of(release: Path, scratch: Path) -> str:
    """What a release says of itself when it is run. Raises BuildError."""
    return run([str(release / COMMAND), "version"], clean_environment(scratch), _VERSION_S).removeprefix("signage-agent").strip()


def check_root_hand(release: Path, scratch: Path) -> None:
    """Raises BuildError unless the release could install the one that comes after it: nobody else does."""
    run([str(release / PYTHON), "-I", "-m", "agent.update.install", "--self-check"], clean_environment(scratch), _VERSION_S)


def sees_system_packages(release: Path) -> bool:
    """Whether a release was built for the camera."""
    try:
        lines = (release / "pyvenv.cfg").read_text(errors="replace").splitlines()
    except OSError:
        return False
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return any(key.strip() == "include-system-site-packages" and value.strip() == "true" for key, value in values.items())


def remove_release(release: Path) -> None:
    """Removes a release, complete or not; it is incomplete from the first moment on."""
    if (release / MARKER).exists():
        disk.remove_file(release / MARKER)
    disk.remove_tree(release)


def remove_old(releases: Releases, needed: Collection[str], unwanted_digests: Collection[str]) -> None:
    """Removes halves, releases that were gone back from, and complete ones beyond the two newest besides the current one.

    The current release, those in `needed` and those that a process runs from stay; they count among the two.
    """
    current = releases.current()
    stay = {current, *needed, *in_use(releases)}
    names = releases.names()
    older = sum(name in stay and name != current for name in names)
    for name in names:
        if name in stay:
            continue
        if older < OLDER_KEPT and releases.complete(name) and releases.digest(name) not in unwanted_digests:
            older += 1
            continue
        remove_release(releases.path(name))
        log.info("release removed name=%s", name)


def in_use(releases: Releases, proc: Path = Path("/proc")) -> set[str]:
    """The releases that a process was started from."""
    folders = {os.fsencode(folder) + b"/" for folder in (releases.folder, releases.folder.resolve())}
    found = set()
    for path in proc.glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        for folder in folders:
            found |= {os.fsdecode(word[len(folder) :].split(b"/", 1)[0]) for word in words if word.startswith(folder)}
    return found


def clean_environment(scratch: Path) -> dict[str, str]:
    """What a program gets that must not depend on who runs it."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "LANG": "C.UTF-8", "HOME": str(scratch), "TMPDIR": str(scratch)}


def run(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> str:
    """What a program prints. Raises BuildError with its last words if it fails."""
    what = Path(command[0]).name + (f" -m {command[3]}" if command[1:3] == ["-I", "-m"] else f" {command[1]}")
    try:
        done = subprocess.run(
            command, env=dict(environment), cwd="/", stdin=subprocess.DEVNULL, check=False, capture_output=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{what} did not end within {timeout_s:g} s") from None
    except OSError as error:
        raise BuildError(f"{what} cannot be run: {error.strerror}") from None
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).decode(errors="replace").splitlines() if line.strip()]
        raise BuildError(f"{what} failed: {_line(lines[-1]) if lines else f'exit code {done.returncode}'}")
    return done.stdout.decode(errors="replace")


def _line(text: str) -> str:
    text = "".join(character if character.isprintable() else " " for character in text).strip()
    return text if len(text) <= _SENTENCE_CHARACTERS else text[: _SENTENCE_CHARACTERS - 3] + "..."
