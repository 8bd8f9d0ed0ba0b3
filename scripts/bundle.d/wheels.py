"""The wheels of a bundle: the agent of this checkout, and the packages of a lock for this machine."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag, sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

CHECKOUT = Path(__file__).resolve().parent.parent.parent

# Builds what comes as source only; no box needs it.
_BUILD_TOOL = "setuptools"


class WheelsError(Exception):
    """Wheels that could not be had. The text is for whoever runs the script; it may have several lines."""


@dataclass(frozen=True)
class Locked:
    """A package of the lock that this machine needs: its own lines of the lock, and the hashes in them."""

    name: str
    version: Version
    lines: str
    sha256: frozenset[str]


def locked_packages(lock: Path) -> list[Locked]:
    """The packages of `lock` that a box like this machine needs."""
    packages = []
    for lines in re.split(r"^(?=\S)", lock.read_text(), flags=re.MULTILINE):
        if not lines.strip() or lines.startswith("#"):
            continue
        requirement = Requirement(lines.split("\\\n", 1)[0])
        (pin,) = requirement.specifier
        if requirement.name != _BUILD_TOOL and (requirement.marker is None or requirement.marker.evaluate()):
            hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", lines))
            packages.append(Locked(canonicalize_name(requirement.name), Version(pin.version), lines, hashes))
    return packages


def build_agent(directory: Path, version: str) -> Path:
    """The wheel of this checkout, called `version`, made in `directory`. Raises WheelsError."""
    # A copy, because a build leaves its files in the source tree.
    source = directory / "source"
    shutil.copytree(CHECKOUT / "agent", source / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(CHECKOUT / name, source)
    init = source / "agent/__init__.py"
    init.write_text(re.sub(r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', init.read_text()))
    built = directory / "agent"
    _pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", built, source)
    shutil.rmtree(source)
    (wheel,) = built.iterdir()
    return wheel


def build_packages(packages: list[Locked], directory: Path) -> None:
    """Puts the wheels of `packages` into `directory`: downloaded, or built from source; their hashes are compared. Raises
    WheelsError.
    """
    lock = directory / "lock"
    lock.write_text("".join(package.lines for package in packages))
    _pip("wheel", "--no-deps", "--no-build-isolation", "--require-hashes", "--wheel-dir", directory, "--requirement", lock)


def chosen(packages: list[Locked], directory: Path) -> list[Path]:
    """The wheels in `directory` that fit this machine best, one of each package. Raises WheelsError, which names the missing."""
    order = {tag: place for place, tag in enumerate(sys_tags())}
    wheels: dict[tuple[str, Version], list[tuple[bool, int, Path]]] = {}
    wanted = {(package.name, package.version): package for package in packages}
    for path, key, tags in _wheels(directory):
        place = min((order[tag] for tag in tags if tag in order), default=None)
        if key in wanted and place is not None:
            published = hashlib.sha256(path.read_bytes()).hexdigest() in wanted[key].sha256
            wheels.setdefault(key, []).append((not published, place, path))
    missing = [f"{name}=={version}" for name, version in wanted if (name, version) not in wheels]
    if missing:
        raise WheelsError("\n  ".join([f"{directory} has no wheel that fits this machine of:", *missing]))
    return [min(wheels[key])[2] for key in wanted]


def unpublished(packages: list[Locked], wheels: list[Path]) -> list[str]:
    """The names of those wheels that are not named in the lock: somebody has built them."""
    published = {sha256 for package in packages for sha256 in package.sha256}
    return [wheel.name for wheel in wheels if hashlib.sha256(wheel.read_bytes()).hexdigest() not in published]


def _wheels(directory: Path) -> Iterator[tuple[Path, tuple[str, Version], frozenset[Tag]]]:
    for path in sorted(directory.glob("*.whl")):
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        yield path, (name, version), tags


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if result.returncode:
        raise WheelsError("pip failed; the lines above say why")
