"""A box for the root hand and the guard, below a directory: releases, state, configuration, and a systemctl that takes notes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update import build, disk
from agent.update.guard import Box, Guard
from agent.update.install import Installer, Place
from agent.update.slots import COMMAND, Candidate, Record, Releases, Slots
from tests.update import bundles

OLD = "1.0.0"
OLD_DIGEST = "0" * 64
BOOT = "first-boot"


class FakeBuilder:
    """Makes an environment in no time: a command that says its version, taken from the agent's wheel."""

    def make(self, release: Path, wheels: Sequence[Path], scratch: Path, *, system_site_packages: bool) -> None:
        """As build.Builder."""
        agent = next(wheel for wheel in wheels if wheel.name.startswith("signage_agent-"))
        with disk.operation("venv", release):
            (release / "bin").mkdir(parents=True)
            (release / "pyvenv.cfg").write_text(f"include-system-site-packages = {str(system_site_packages).lower()}\n")
        with disk.operation("pip", release):
            write_command(release, agent.name.split("-")[1])


def write_command(release: Path, version: str) -> None:
    """The agent's command, which only says its version, and a Python that takes all it is told."""
    for command, does in ((release / COMMAND, f'echo "signage-agent {version}"'), (release / build.PYTHON, "true")):
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(f"#!/bin/sh\n{does}\n")
        command.chmod(0o755)


class FakeBox:
    """Everything below `path`. The old version is installed and running."""

    def __init__(self, path: Path, key: Ed25519PrivateKey) -> None:
        self.path = path
        self.key = key
        self.root, self.state, self.run = path / "opt", path / "state", path / "run"
        self.incoming = self.state / "incoming"
        self.now = 1000.0
        for folder in (
            self.root / "releases",
            self.root / "update",
            self.incoming,
            self.state / "update",
            self.run,
            path / "out",
        ):
            folder.mkdir(parents=True, exist_ok=True)
        (path / "boot_id").write_text(f"{BOOT}\n")
        self.config = path / "agent.toml"
        self.config.write_text(f'[update]\ntrusted_keys = ["{bundles.trusted(key)}"]\n[control]\nsocket = "{path}/socket"\n')
        self.box = Box(
            root=self.root,
            state_dir=self.state,
            run=self.run,
            boot_id=path / "boot_id",
            systemctl=[str(self._script("systemctl"))],
            journalctl=[str(self._script("journalctl"))],
        )
        self.releases = Releases(self.root)
        self.add_release(OLD, OLD_DIGEST)
        self.releases.switch(OLD)

    def add_release(self, name: str, digest: str, *, complete: bool = True, age_s: float = 0.0) -> None:
        """A release that says its version."""
        write_command(self.releases.path(name), name.split("+", maxsplit=1)[0])
        if complete:
            marker = self.releases.path(name) / ".complete"
            marker.write_text(f"{digest}\n")
            time = marker.stat().st_mtime - age_s
            os.utime(marker, (time, time))

    def drop(self, *, by_hand: bool = False, **fields: Any) -> tuple[Path, str]:
        """Leaves a bundle in the incoming folder as the daemon does; with its digest."""
        made = bundles.make_bundle(self.path / "out" / "next.bundle", self.key, **fields)
        return self.drop_bytes(made.read_bytes(), by_hand=by_hand)

    def drop_bytes(self, data: bytes, *, by_hand: bool = False) -> tuple[Path, str]:
        """The same with any contents."""
        made = self.path / "out" / "any.bundle"
        made.write_bytes(data)
        with made.open("rb") as file:
            digest = disk.digest_of(file, len(data))
        path = self.incoming / f"{digest[:16]}{'.by-hand' if by_hand else ''}.bundle"
        made.rename(path)
        return path, digest

    def install(self, builder: build.Builder | None = None, wait_s: float = 0.0) -> Slots:
        """Runs the root hand; the record afterwards."""
        Installer(Place(self.box, self.config, wait_s), builder or FakeBuilder()).run()
        return self.slots()

    def slots(self) -> Slots:
        """The record."""
        return Record(self.root, self.run).load()

    def store(self, slots: Slots) -> None:
        """Writes the record."""
        record = Record(self.root, self.run)
        record.load()
        record.store(slots)

    def guard(self) -> Guard:
        """A run of the guard at `now`."""
        return Guard(self.box, self.now)

    def start(self) -> str:
        """Runs the guard as before a start; the release that would start."""
        self.guard().before_start()
        return self.releases.current()

    def ends(self, how: str) -> str:
        """The agent ends, `how` as systemd tells ExecStopPost, and is started again; the release that would start."""
        (self.run / "signage-agent.end").write_text(f"{how}\n")
        return self.start()

    def check(self, after_s: float = 0.0) -> Slots:
        """Lets time pass and runs the guard as its timer does; the record afterwards."""
        self.now += after_s
        self.guard().check()
        return self.slots()

    def reboot(self) -> None:
        """Another boot: another boot id, the clock begins anew, what was in memory is gone."""
        boot = self.path / "boot_id"
        boot.write_text(f"after-{boot.read_text().strip()}\n")
        self.now = 20.0
        shutil.rmtree(self.run)
        self.run.mkdir()

    def daemon_says(self, name: str, content: object) -> None:
        """What the daemon writes for the guard."""
        (self.state / "update" / name).write_text(json.dumps(content))

    def says(self, command: str, text: str) -> None:
        """What systemctl or journalctl prints from now on."""
        (self.path / f"{command}.says").write_text(text)

    def systemctl_calls(self) -> list[str]:
        """The orders to systemctl so far, without those that only ask."""
        file = self.path / "systemctl.calls"
        calls = file.read_text().splitlines() if file.exists() else []
        return [call for call in calls if not call.startswith("show")]

    def junk(self) -> list[str]:
        """What lies around that belongs to nothing."""
        known = {"releases", "current", "update"}
        found = [path.name for path in self.root.iterdir() if path.name not in known]
        kept = {"slots.json", "slots.copy.json", "lock", "install.lock"}
        found += [f"update/{path.name}" for path in (self.root / "update").iterdir() if path.name not in kept]
        found += [f"releases/{path.name}" for path in (self.root / "releases").iterdir() if not self.releases.complete(path.name)]
        return found + [f"incoming/{path.name}" for path in self.incoming.iterdir()]

    def candidate(self, **fields: Any) -> Candidate:
        """A complete new release that the record decides for and that was switched to."""
        version = fields.get("version", bundles.NEXT)
        found = Candidate(
            **{
                "release": version,
                "version": version,
                "digest": "9" * 64,
                "previous": OLD,
                "drop": "9" * 16 + ".bundle",
                **fields,
            }
        )
        self.add_release(found.release, found.digest)
        self.releases.doubt(found.release)
        self.store(self.slots().decided(found))
        self.releases.switch(found.release)
        return found

    def _script(self, name: str) -> Path:
        path = self.path / name
        path.write_text(f'#!/bin/sh\necho "$*" >>"{path}.calls"\ncat "{path}.says" 2>/dev/null\ntest ! -e "{path}.fails"\n')
        path.chmod(0o755)
        return path
