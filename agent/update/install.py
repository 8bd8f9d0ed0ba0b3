"""The root hand: installs the bundles that the daemon has left in state_dir/incoming.

    ROOT/current/bin/python -I -m agent.update.install     by signage-agent-update.service, when a bundle is there

Nothing the daemon says is believed: a bundle is copied first, and the copy is verified with the keys of the configuration, which
belongs to root. A release is built, then the record says that it is to be switched to (`agent.update.slots`), then it is. A power
cut before that leaves the version from before, and the next run begins anew; after it, whoever comes first - this, or the guard -
goes on. Whatever comes of a bundle stands in the record before the bundle is taken away.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import http.client
import logging
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from agent.system.logs import setup
from agent.update import build, disk
from agent.update.bundle import HEADER_BYTES, BundleError, Manifest, extract, stated_length, verify
from agent.update.demands import RefusedError, Settings, check_demands, check_room, read_settings
from agent.update.guard import TIMER, UNIT, Box
from agent.update.slots import UPDATE, Candidate, Record, Releases, Result, Slots, carry_out

log = logging.getLogger("agent.update.install")  # also when it is the program

INCOMING = "incoming"
WORK = "work"
LOCK = "install.lock"
ATTEMPTS = 3
NAMES_LOOKED_AT = 1000
_DROP = re.compile(r"(?P<digest>[0-9a-f]{16})(?P<hand>\.by-hand)?\.bundle")
_COMMAND_S = 10.0


@dataclass
class Drop:
    """One bundle on its way."""

    name: str
    by_hand: bool
    digest: str
    """Of the whole once it is copied, before that what the name says."""
    version: str = ""

    @property
    def key(self) -> str:
        """Under which attempts are counted."""
        return self.digest + (".by-hand" if self.by_hand else "")


@dataclass(frozen=True)
class Place:
    """Where things are beside those of the guard."""

    box: Box = field(default_factory=Box)
    config: Path = Path("/etc/signage-agent/agent.toml")
    wait_s: float = 320.0
    """For the end of another version's probation."""


class Installer:
    """One run."""

    def __init__(self, place: Place, builder: build.Builder | None = None) -> None:
        self._place = place
        self._box = place.box
        self._builder = builder or build.VenvBuilder()
        self._releases = Releases(self._box.root)
        self._record = Record(self._box.root, self._box.run)
        self._folder = self._box.root / UPDATE
        self._work = self._folder / WORK
        self._settings = Settings()
        self.stuck = False
        """Something that calls for a run again cannot be removed."""

    def run(self) -> None:
        """Installs what is there until a version was switched to. Raises OSError."""
        disk.make_directory(self._folder)
        with disk.locked(self._folder / LOCK, 3600.0) as taken:
            if not taken:
                raise OSError(errno.EAGAIN, "the lock of the installer cannot be had", str(self._folder / LOCK))
            self._tidy()
            candidate = self._record.load().candidate
            if candidate is not None:
                self._after_another(candidate)
                return
            for drop in self._drops():
                if self._install(drop):
                    return

    # --- around the bundles ---------------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Removes what an earlier run left that was cut off, and what is too old."""
        disk.remove_tree(self._work)
        with self._record.held():
            slots = self._record.load()
            for folder in (self._box.root, self._folder):
                for path in folder.glob(f".*{disk.NEW}"):
                    disk.remove_file(path)
        self._remove_old(slots)

    def _remove_old(self, slots: Slots) -> None:
        needed = [slots.candidate.release, slots.candidate.previous] if slots.candidate else []
        try:
            build.remove_old(self._releases, needed, slots.rolled_back)
        except OSError as error:
            log.warning("old releases cannot be removed error=%s", error)

    def _drops(self) -> list[Drop]:
        """The bundles that wait, those that somebody asked for first. What is called otherwise is none and goes."""
        drops = []
        for name in self._names():
            if match := _DROP.fullmatch(name):
                drops.append(Drop(name, by_hand=match["hand"] is not None, digest=match["digest"]))
            else:
                log.warning("no bundle has such a name, removed name=%r", name[:80])
                self._take_away(name)
        return sorted(drops, key=lambda drop: (not drop.by_hand, drop.name))

    def _names(self) -> list[str]:
        names: list[str] = []
        with (
            contextlib.suppress(OSError),
            disk.foreign_directory(self._box.state_dir, INCOMING) as directory,
            os.scandir(directory) as entries,
        ):
            for entry in entries:
                if entry.name.endswith(".bundle"):
                    names.append(entry.name)
                if len(names) == NAMES_LOOKED_AT:
                    break
        return names

    def _after_another(self, candidate: Candidate) -> None:
        """There is a candidate already: brings it on its way if that was cut off, else waits until it has proved itself.

        Ends after that in any case: what waits is for the version that is current then.
        """
        if candidate.starts == 0 and self._releases.current() != candidate.release:
            self._go_over(candidate)
            return
        self._take_away(candidate.drop)
        deadline = time.monotonic() + self._place.wait_s
        if self._names():
            log.info("bundle waits until another version has proved itself version=%s", candidate.version)
        while self._names() and time.monotonic() < deadline:
            if self._record.load().candidate is None:
                return
            time.sleep(min(1.0, self._place.wait_s / 10))
        for drop in self._drops():
            self._refuse(drop, "another version is still on probation")

    # --- one bundle -----------------------------------------------------------------------------------------------------------

    def _install(self, drop: Drop) -> bool:
        """Whether it was switched to."""
        log.info("bundle is looked at name=%s", drop.name)
        built = ""
        try:
            disk.make_directory(self._work, 0o700)
            self._settings = read_settings(self._place.config)
            self._copy(drop)
            current = self._releases.current()
            if drop.digest == self._releases.digest(current):
                raise RefusedError("it is what runs already")
            self._begin(drop)
            with self._copied(drop).open("rb") as file:
                manifest = verify(file, self._settings.trusted_keys)
                drop.version = manifest.version
                check_demands(manifest, self._releases.path(current), self._work)
                release, reused = self._release_for(drop)
                if not reused:
                    self._build(release, drop, manifest, file)
                    built = release
            candidate = self._decide(drop, release, current)
        except (RefusedError, BundleError, build.BuildError, OSError) as error:
            self._refuse(drop, _sentence(error), again=isinstance(error, RefusedError) and error.again)
            if built:
                build.remove_release(self._releases.path(built))
            return False
        self._go_over(candidate)
        return True

    def _copied(self, drop: Drop) -> Path:
        return self._work / drop.name

    def _copy(self, drop: Drop) -> None:
        with (
            disk.foreign_directory(self._box.state_dir, INCOMING) as directory,
            disk.open_foreign(directory, drop.name) as file,
        ):
            size = stated_length(file.read(HEADER_BYTES))
            file.seek(0)
            try:
                check_room(self._folder, size)
                drop.digest = disk.copy_in(file, self._copied(drop), size)
            except (OSError, RefusedError):
                # Whoever left it wants to know what became of it.
                drop.digest = disk.digest_of(file, size)
                raise

    def _begin(self, drop: Drop) -> None:
        """Counts the attempt: one that ends in a crash leaves its count behind."""
        with self._record.held():
            slots = self._record.load()
            if drop.digest in slots.rolled_back and not drop.by_hand:
                raise RefusedError("it was gone back from before; it is installed again only by hand", again=True)
            if slots.attempts.get(drop.key, 0) >= ATTEMPTS:
                raise RefusedError(
                    f"the installer began with it {ATTEMPTS} times and never came to an end", again=not drop.by_hand
                )
            self._record.store(slots.attempted(drop.key))

    def _release_for(self, drop: Drop) -> tuple[str, bool]:
        """The name of its release, and whether that is there already. What is complete is never changed."""
        for name in (drop.version, f"{drop.version}+{drop.digest[:8]}"):
            if self._releases.digest(name) == drop.digest:
                return name, True
            if not self._releases.complete(name) and name != self._releases.current():
                return name, False
        return f"{drop.version}+{drop.digest[:32]}", False

    def _build(self, release: str, drop: Drop, manifest: Manifest, file: BinaryIO) -> None:
        log.info("release is built version=%s name=%s", drop.version, release)
        wheels, scratch = self._work / "wheels", self._work / "tmp"
        disk.make_directory(wheels)
        disk.make_directory(scratch, 0o700)
        with disk.operation("extract", wheels):
            extract(file, manifest, wheels)
        plan = build.Plan(
            name=release,
            version=drop.version,
            digest=drop.digest,
            wheels=[wheels / one.name for one in manifest.files],
            camera=build.sees_system_packages(self._releases.path(self._releases.current())),
        )
        build.build(self._releases, plan, self._builder, scratch)

    # --- what comes of it -----------------------------------------------------------------------------------------------------

    def _decide(self, drop: Drop, release: str, previous: str) -> Candidate:
        """From here on it is switched to."""
        candidate = Candidate(
            release=release,
            version=drop.version,
            digest=drop.digest,
            previous=previous,
            by="hand" if drop.by_hand else "",
            drop=drop.name,
            probation_s=self._settings.probation_s,
            boot_id=self._box.boot_id.read_text("ascii").strip(),
            switched_monotonic=time.monotonic(),
        )
        with self._record.held():
            if self._releases.current() != previous:
                raise RefusedError("another version was switched to meanwhile")
            self._record.store(self._record.load().without_attempts(drop.key).decided(candidate))
        return candidate

    def _go_over(self, candidate: Candidate) -> None:
        """Makes what the record says come true, and the daemon give way to it."""
        self._systemctl("start", "--no-block", TIMER)
        with self._record.held():
            recorded = self._record.load().candidate
            if recorded is not None and recorded.digest == candidate.digest and recorded.starts == 0:
                carry_out(recorded, self._releases, self._box.state_dir)
        log.info("switched to the new version version=%s release=%s", candidate.version, candidate.release)
        if not self._nudge():
            self._systemctl("try-restart", "--no-block", UNIT)
        disk.remove_tree(self._work)
        self._remove_old(self._record.load())

    def _refuse(self, drop: Drop, sentence: str, *, again: bool = False) -> None:
        log.warning("bundle is refused name=%s version=%s cause=%s", drop.name, drop.version or "unknown", sentence)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with self._record.held():
            slots = self._record.load()
            slots = replace(slots, last_result=Result("refused", drop.version, drop.digest, sentence, at))
            try:
                self._record.store(slots if again else slots.without_attempts(drop.key))
            except OSError as error:
                log.warning("record of versions cannot be written error=%s", error)
        self._take_away(drop.name)
        disk.remove_tree(self._work)
        self._nudge()

    def _take_away(self, name: str) -> None:
        try:
            with disk.foreign_directory(self._box.state_dir, INCOMING) as directory:
                disk.remove_foreign(directory, name)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.stuck = True
            log.warning("bundle cannot be removed name=%r error=%s", name[:80], error)

    def _nudge(self) -> bool:
        """Tells the daemon that the record has changed; whether it has heard."""
        connection = http.client.HTTPConnection("localhost", timeout=_COMMAND_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(_COMMAND_S)
        try:
            connection.sock.connect(str(self._settings.socket))
            connection.request("POST", "/update/look")
            return connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _systemctl(self, *arguments: str) -> None:
        try:
            subprocess.run([*self._box.systemctl, *arguments], check=True, capture_output=True, timeout=_COMMAND_S)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("systemctl failed command=%r error=%s", " ".join(arguments), error)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="agent.update.install")
    defaults = Box()
    for name in ("root", "state-dir", "run", "boot-id"):
        parser.add_argument(f"--{name}", type=Path, default=getattr(defaults, name.replace("-", "_")))
    parser.add_argument("--config", type=Path, default=Place.config)
    parser.add_argument("--wait", type=float, default=Place.wait_s)
    parser.add_argument("--systemctl", type=shlex.split, default=["systemctl"])
    options = vars(parser.parse_args(arguments))
    config, wait_s = options.pop("config"), options.pop("wait")
    setup("info")
    installer = Installer(Place(Box(**options), config, wait_s))
    installer.run()
    # A failure is tried again after a pause (Restart=on-failure), a success as soon as there is something to do.
    return 1 if installer.stuck else 0


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


if __name__ == "__main__":
    raise SystemExit(main())
