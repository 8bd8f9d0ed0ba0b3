"""What a box demands of a bundle before it is installed, and whose word counts: the configuration that belongs to root."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.update.build import sees_system_packages, version_of
from agent.update.bundle import Manifest, check_fits
from agent.update.versions import parse_version

MARGIN_BYTES = 100 * 1024 * 1024
"""Stay free beside a new release."""
BARE_VENV_BYTES = 40 * 1024 * 1024


class RefusedError(Exception):
    """A bundle that is not installed; the text is a sentence. `again`: so it will be the next time."""

    def __init__(self, sentence: str, *, again: bool = False) -> None:
        super().__init__(sentence)
        self.again = again


@dataclass(frozen=True)
class Settings:
    """What the root hand takes from the configuration."""

    trusted_keys: tuple[str, ...] = ()
    probation_s: float = 120.0
    socket: Path = Path("/run/signage-agent/control.sock")


def read_settings(path: Path) -> Settings:
    """What the file says; only one that nobody but root can change is believed. Raises RefusedError and OSError."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
            raise RefusedError(f"{path.name} must belong to root and be writable by nobody else: its keys are trusted")
        try:
            content = tomllib.load(file)
        except ValueError as error:
            raise RefusedError(f"{path.name} is faulty: {error}") from None
    update, control = _table(content, "update"), _table(content, "control")
    keys = update.get("trusted_keys", [])
    probation_s = update.get("probation_s", Settings.probation_s)
    return Settings(
        trusted_keys=tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else (),
        probation_s=_span(probation_s),
        socket=Path(str(control.get("socket", Settings.socket))),
    )


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those of the Debian packages that are not installed."""
    if not names:
        return []
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", "--", *names]
    try:
        output = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return list(names)
    present = {line.removeprefix("installed ").strip() for line in output.splitlines() if line.startswith("installed ")}
    return [name for name in names if name not in present]


def check_room(folder: Path, size: int) -> None:
    """Raises RefusedError unless there is room for `size` bytes, and OSError."""
    found = os.statvfs(folder)
    free, needed = found.f_bavail * found.f_frsize, size + MARGIN_BYTES
    if free < needed:
        raise RefusedError(f"it needs {needed // 1_000_000} MB of free disk space; {free // 1_000_000} MB are left")


def check_demands(manifest: Manifest, running: Path, folder: Path, *, spent: bool = False) -> None:
    """Raises RefusedError, BundleError or BuildError unless the bundle may follow the release `running` here, in `folder`.

    `spent`: it was installed here before. Its signer wanted the box on that older version then, not for ever.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    version = version_of(running, folder)
    check_fits(manifest, running=version, architecture=platform.machine(), python=python)
    if spent and parse_version(manifest.version) < parse_version(version):
        raise RefusedError(f"it is older than {version} and was installed here before; it is installed again only by hand")
    if sees_system_packages(running) and not manifest.camera:
        raise RefusedError("this box has what the camera needs, and the bundle was made without it (--with-camera)")
    if missing := missing_packages(manifest.packages):
        raise RefusedError(f"it needs Debian packages first: sudo apt-get install {' '.join(missing)}")
    # The wheels, what they unpack to, and as much again for what Python compiles.
    wheels = sum(file.size for file in manifest.files)
    check_room(folder, wheels + 2 * sum(file.unpacked for file in manifest.files) + BARE_VENV_BYTES)


def _span(seconds: object) -> float:
    """The guard has bounds of its own, but the record takes no other numbers."""
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    return min(max(float(seconds), 0.0), 86400.0) if known else Settings.probation_s  # type: ignore[arg-type]


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    table = content.get(name)
    return table if isinstance(table, dict) else {}
