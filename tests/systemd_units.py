"""The unit files of systemd/ as systemd reads them (systemd.syntax(7)), as far as they go. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}

HEEDED = {
    "Service": {
        "Type", "NotifyAccess", "ExecStartPre", "ExecStart", "ExecStopPost", "ExecReload", "Restart",
        "RestartSec", "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "KillMode", "StateDirectory", "RuntimeDirectory",
        "RuntimeDirectoryPreserve",
        "CacheDirectory", "StateDirectoryMode", "RuntimeDirectoryMode", "LoadCredential", "Environment", "UMask",
    },
    "Timer": {"OnActiveSec", "OnUnitActiveSec", "AccuracySec"},
    "Path": {"PathExistsGlob"},
    "Install": {"WantedBy"},
    "Unit": {"StartLimitIntervalSec"},
}  # fmt: skip
"""What the stand-in acts upon."""
PASSED_OVER = {
    "Service": {
        "User", "Group", "OOMPolicy", "OOMScoreAdjust", "DevicePolicy", "DeviceAllow", "CapabilityBoundingSet",
        "AmbientCapabilities", "NoNewPrivileges", "ReadWritePaths", "RemoveIPC", "Nice", "CPUSchedulingPolicy",
        "IOSchedulingClass", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
        "LockPersonality", "KeyringMode", "SystemCallArchitectures", "SystemCallErrorNumber", "SystemCallFilter",
    },
    "Timer": set(),
    "Path": set(),
    "Install": set(),
    "Unit": {"Description", "After", "Conflicts"},
}  # fmt: skip
"""What changes nothing about when something starts and ends. So does every Protect... and Private... ."""


@dataclass(frozen=True)
class Command:
    """A line of ExecStart and its like. `forgiven`: its failure does not matter (`-`)."""

    words: list[str]
    forgiven: bool = False


@dataclass
class UnitFile:
    """What one unit file says: section → key → values, in their order."""

    name: str
    sections: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def all(self, section: str, key: str) -> list[str]:
        """The values of a key that may stand there several times."""
        return self.sections.get(section, {}).get(key, [])

    def get(self, section: str, key: str, default: str = "") -> str:
        """The value of a key; the last one counts."""
        return (self.all(section, key) or [default])[-1]

    def seconds(self, section: str, key: str, default: float) -> float:
        """The value of a key that is a span of time."""
        text = self.get(section, key)
        return span(text) if text else default

    def commands(self, key: str) -> list[Command]:
        """The lines of ExecStartPre or ExecStart."""
        return [_command(line) for line in self.all("Service", key)]


def parse(name: str, text: str, override: Mapping[str, str | list[str]] | None = None) -> UnitFile:
    """Reads a unit file. `override` has other values for keys of its own section, as a drop-in would.

    Raises ValueError for a key that the stand-in does not know: it would not stand in for systemd any more.
    """
    unit = UnitFile(name)
    section: dict[str, list[str]] = {}
    kind = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            kind = line.strip("[]")
            section = unit.sections.setdefault(kind, {})
            continue
        key, _, value = line.partition("=")
        if key not in HEEDED[kind] | PASSED_OVER[kind] and not re.match("Protect|Private", key):
            raise ValueError(f"{name}: the stand-in for systemd does not know {kind}.{key}")
        section.setdefault(key, []).append(value)
    own = unit.sections.setdefault(name.rpartition(".")[2].capitalize(), {})
    for key, other in (override or {}).items():
        own[key] = [other] if isinstance(other, str) else other
    return unit


def read(path: Path, override: Mapping[str, str | list[str]] | None = None) -> UnitFile:
    """Reads the unit file at `path`."""
    return parse(path.name, path.read_text(), override)


def span(text: str) -> float:
    """A span of time, such as 100ms, 5 or 2min 30s, in seconds. Raises ValueError."""
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)", text)
    if not parts or re.sub(r"[0-9.]+\s*[a-z]*\s*", "", text):
        raise ValueError(f"{text!r} is no span of time")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _command(line: str) -> Command:
    prefixes = re.match(r"[-@:+!]*", line)
    assert prefixes is not None
    return Command(shlex.split(line[prefixes.end() :]), forgiven="-" in prefixes[0])
