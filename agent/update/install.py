"""The root hand: installs the bundles that the daemon has left in state_dir/incoming.

    ROOT/current/bin/python -I -m agent.update.install     by signage-agent-update.service, when a bundle is there

Nothing the daemon says is believed: a bundle is copied first, and the copy is verified with the keys of the configuration, which
belongs to root. A release is built, then the record says that it is to be switched to (`agent.update.slots`), then it is. A power
cut before that leaves the version from before, and the next run begins anew; after it, whoever comes first - this, or the guard -
goes on. Whatever comes of a bundle stands in the record before the bundle is taken away.
"""

from __future__ import annotations

import argparse
import errno
import http.client
import importlib
import logging
import shlex
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.system.logs import setup
from agent.update import build, disk
from agent.update.bundle import HEADER_BYTES, BundleError, Manifest, extract, stated_length, verify
from agent.update.demands import RefusedError, Settings, check_demands, check_room, read_settings
from agent.update.drops import Drop, Incoming
from agent.update.guard import TIMER, UNIT, Box
from agent.update.slots import UPDATE, Candidate, Record, Releases, Slots, carry_out

log = logging.getLogger("agent.update.install")  # also when it is the program

WORK = "work"
LOCK = "install.lock"
ATTEMPTS = 3
TAKEN_UP = 5
"""So often a file is copied, under the name that the daemon gave it, before it is left where it is."""
STUCK_S = 600.0
"""What cannot be removed is looked at again so much later, or as soon as there is something new."""
_COMMAND_S = 10.0


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
        self._incoming = Incoming(self._box.state_dir)
        self._folder = self._box.root / UPDATE
        self._work = self._folder / WORK
        self._settings = Settings()

    @property
    def stuck(self) -> bool:
        """Whether something that calls for a run again cannot be removed."""
        return bool(self._incoming.stuck)

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
            for drop in self._incoming.drops():
                if not self._given_up(drop) and self._install(drop):
                    return

    def wait(self, pause_s: float = STUCK_S) -> None:
        """After a run that has left something behind: until there is something else, or the pause is over."""
        deadline = time.monotonic() + pause_s
        while time.monotonic() < deadline and set(self._incoming.names()) == self._incoming.stuck:
            time.sleep(min(1.0, pause_s / 10))

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
        self._trust(slots)

    def _trust(self, slots: Slots) -> None:
        """A guard from before releases were marked has kept a version without saying so there."""
        verdict, current = slots.verdict, self._releases.current()
        kept = verdict is not None and verdict.result == "committed" and verdict.digest == self._releases.digest(current)
        if slots.candidate is None and kept:
            self._releases.trust(current)

    def _remove_old(self, slots: Slots) -> None:
        needed = [slots.candidate.release, slots.candidate.previous] if slots.candidate else []
        try:
            build.remove_old(self._releases, needed, slots.rolled_back)
        except OSError as error:
            log.warning("old releases cannot be removed error=%s", error)

    def _after_another(self, candidate: Candidate) -> None:
        """There is a candidate already: brings it on its way if that was cut off, else waits until it has proved itself.

        Ends after that in any case: what waits is for the version that is current then.
        """
        if candidate.starts == 0 and self._releases.current() != candidate.release:
            self._go_over(candidate)
            return
        self._incoming.take_away(candidate.drop)
        deadline = time.monotonic() + self._place.wait_s
        if self._incoming.names():
            log.info("bundle waits until another version has proved itself version=%s", candidate.version)
        while self._incoming.names() and time.monotonic() < deadline:
            if self._record.load().candidate is None:
                return
            time.sleep(min(1.0, self._place.wait_s / 10))
        for drop in self._incoming.drops():
            self._refuse(drop, "another version is still on probation")

    # --- one bundle -----------------------------------------------------------------------------------------------------------

    def _given_up(self, drop: Drop) -> bool:
        """Whether it was taken up so often that it is left alone: it cannot be removed, or never lets the installer end."""
        taken_up = self._record.load().attempts.get(drop.name, 0)
        if taken_up < TAKEN_UP:
            return False
        if taken_up == TAKEN_UP:
            self._count(drop.name)
            self._refuse(drop, f"the installer took it up {TAKEN_UP} times and could neither install nor remove it")
        elif self._incoming.take_away(drop.name):
            with self._record.held():
                self._record.store(self._record.load().without_attempts(drop.name))
        return True

    def _install(self, drop: Drop) -> bool:
        """Whether it was switched to."""
        log.info("bundle is looked at name=%s", drop.name)
        built = ""
        try:
            self._count(drop.name)
            disk.make_directory(self._work, 0o700)
            self._settings = read_settings(self._place.config)
            self._copy(drop)
            current = self._releases.current()
            if drop.digest == self._releases.digest(current):
                raise RefusedError("it is what runs already")
            spent = self._begin(drop)
            with self._copied(drop).open("rb") as file:
                manifest = verify(file, self._settings.trusted_keys)
                drop.version = manifest.version
                drop.downgrade = manifest.downgrade
                check_demands(manifest, self._releases.path(current), self._work, spent=spent)
                release, reused = self._release_for(drop)
                if reused:
                    self._releases.doubt(release)
                else:
                    self._build(release, drop, manifest, file)
                    built = release
            disk.remove_tree(self._work)  # nothing of it is left, also when the power fails further on
            candidate = self._decide(drop, release, current)
        except (RefusedError, BundleError, build.BuildError, OSError) as error:
            self._refuse(drop, _sentence(error), again=isinstance(error, RefusedError) and error.again)
            if built:
                build.remove_release(self._releases.path(built))
            return False
        self._go_over(candidate)
        return True

    def _count(self, key: str) -> None:
        with self._record.held():
            self._record.store(self._record.load().attempted(key))

    def _copied(self, drop: Drop) -> Path:
        return self._work / drop.name

    def _copy(self, drop: Drop) -> None:
        with (
            self._incoming.opened() as directory,
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

    def _begin(self, drop: Drop) -> bool:
        """Counts the attempt: one that ends in a crash leaves its count behind. Whether it may not lead to an older version."""
        with self._record.held():
            slots = self._record.load()
            if drop.digest in slots.rolled_back and not drop.by_hand:
                raise RefusedError("it was gone back from before; it is installed again only by hand", again=True)
            if slots.attempts.get(drop.key, 0) >= ATTEMPTS:
                raise RefusedError(
                    f"the installer began with it {ATTEMPTS} times and never came to an end", again=not drop.by_hand
                )
            self._record.store(slots.attempted(drop.key))
        return drop.digest in slots.downgrades and not drop.by_hand

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
            slots = self._record.load().without_attempts(drop.key).without_attempts(drop.name)
            if drop.downgrade:
                slots = slots.downgraded(drop.digest)
            self._record.store(slots.decided(candidate))
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
        self._remove_old(self._record.load())

    def _refuse(self, drop: Drop, sentence: str, *, again: bool = False) -> None:
        log.warning("bundle is refused name=%s version=%s cause=%s", drop.name, drop.version or "unknown", sentence)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with self._record.held():
            slots = self._record.load()
            taken_up = slots.attempts.get(drop.name, 0)
            slots = slots.refused(drop.version, drop.digest, sentence, at).without_attempts(drop.name)
            self._store(slots if again else slots.without_attempts(drop.key))
        disk.remove_tree(self._work)
        if not self._incoming.take_away(drop.name) and taken_up:
            with self._record.held():
                slots = self._record.load()
                self._store(replace(slots, attempts={**slots.attempts, drop.name: taken_up}))
        self._nudge()

    def _store(self, slots: Slots) -> None:
        try:
            self._record.store(slots)
        except OSError as error:
            log.warning("record of versions cannot be written error=%s", error)

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
    parser.add_argument("--self-check", action="store_true", help="only tell whether it could install something (exit code)")
    options = vars(parser.parse_args(arguments))
    if options.pop("self_check"):
        check_self()
        return 0
    config, wait_s = options.pop("config"), options.pop("wait")
    setup("info")
    installer = Installer(Place(Box(**options), config, wait_s))
    installer.run()
    if not installer.stuck:
        return 0
    # A success would be followed by the next run at once, as there still is something to do.
    installer.wait()
    return 1


def check_self() -> None:
    """Raises unless what is not looked at before it is needed works here: signatures, and the makers of environments."""
    key = Ed25519PrivateKey.generate()
    key.public_key().verify(key.sign(b"signature"), b"signature")
    for module in ("ensurepip", "venv"):
        importlib.import_module(module)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


if __name__ == "__main__":
    raise SystemExit(main())
