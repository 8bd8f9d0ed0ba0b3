"""A box of which only the agent is not real: it says its version, that it is ready, and that it has proved itself, at once.

Root hand, guard and units are the real ones; releases are made in no time. For looking at every single point of a power cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update import disk
from agent.update.build import PYTHON
from agent.update.guard import Box as GuardBox, Guard
from agent.update.install import Installer, Place
from agent.update.slots import COMMAND, MARKER, Candidate, Record, Releases, Slots
from tests.end_to_end_update.estate import put_guard, rewriting
from tests.systemd_stand_in import Systemd
from tests.update import bundles, cut
from tests.update.bundles import CHECKOUT, NEXT

OLD = "1.0.0"
OLDER = ("0.9.0", "0.8.0")
DIGEST = "9" * 64
DEADLINE_S = 40.0
OVERRIDES = {
    "signage-agent-guard.timer": {"OnActiveSec": "100ms", "OnUnitActiveSec": "100ms", "AccuracySec": "0"},
    "signage-agent-update.service": {
        "ExecStart": f"/usr/bin/env PYTHONPATH={CHECKOUT} {sys.executable} -m tests.end_to_end_update.quick install",
        "RestartSec": "100ms",
    },
}
# An agent in one file. It gives way when another release has become the current one, as the real one does.
_AGENT = """#!/usr/bin/python3 -ISB
import json, os, pathlib, socket, sys, time

release = pathlib.Path(__file__).resolve().parent.parent
if sys.argv[1] == "version":
    print("signage-agent {version}")
    sys.exit()
print("signage-agent starts version={version}", flush=True)
if {bad!r} == "crashes":
    sys.exit(1)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
if {bad!r} != "blank":
    said = pathlib.Path(os.environ["STATE_DIRECTORY"]) / "update/committed.json"
    said.parent.mkdir(exist_ok=True)
    said.write_text(json.dumps({{"digest": (release / ".complete").read_text().strip()}}))
while (release.parent.parent / "current").resolve() == release:
    notify.sendto(b"WATCHDOG=1", os.environ["NOTIFY_SOCKET"])
    time.sleep(0.02)
"""


class QuickBuilder:
    """Makes a release in no time: the agent in one file."""

    def make(self, release: Path, wheels: Sequence[Path], scratch: Path, *, system_site_packages: bool) -> None:
        """As build.Builder."""
        agent = next(wheel for wheel in wheels if wheel.name.startswith("signage_agent-"))
        with disk.operation("venv", release):
            (release / "bin").mkdir(parents=True)
        with disk.operation("pip", release):
            _put_agent(release, agent.name.split("-")[1])


def _put_agent(release: Path, version: str, bad: str = "") -> None:
    # Its Python is asked whether the next root hand is there.
    for command, text in ((release / COMMAND, _AGENT.format(version=version, bad=bad)), (release / PYTHON, "#!/bin/true\n")):
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(text)
        command.chmod(0o755)


class QuickBox:
    """Everything below `root`; the old version is installed, with two before it, and things that a power cut has left."""

    def __init__(self, root: Path, key: Ed25519PrivateKey) -> None:
        self.root = root
        self.opt = root / "opt/signage-agent"
        self.state = root / "var/lib/signage-agent"
        self.releases = Releases(self.opt)
        for folder in (self.opt / "update/work", self.state / "incoming", self.state / "update", root / "etc/signage-agent"):
            folder.mkdir(parents=True)
        (root / "run").mkdir()
        (root / "boot_id").write_text("the first\n")
        put_guard(self.opt)
        for age, version in enumerate((*reversed(OLDER), OLD)):
            self.add(version, f"{age:064x}")
        (self.releases.path("0.9.5") / "bin").mkdir(parents=True)
        (self.opt / "update/work/left").write_text("junk")
        self.releases.switch(OLD)
        self.config = root / "etc/signage-agent/agent.toml"
        tables = f'[update]\ntrusted_keys = ["{bundles.trusted(key)}"]\n[control]\nsocket = "{root}/socket"\n'
        self.config.write_text(tables)

    @property
    def box(self) -> GuardBox:
        """As the guard sees it."""
        quiet = ["true"]  # nobody is there to be ordered about while the plug is pulled
        run, boot_id = self.root / "run", self.root / "boot_id"
        return GuardBox(root=self.opt, state_dir=self.state, run=run, boot_id=boot_id, systemctl=quiet, journalctl=quiet)

    @property
    def slots(self) -> Slots:
        """The record."""
        return Record(self.opt, self.root / "run").load()

    def add(self, version: str, digest: str, bad: str = "") -> None:
        """A complete release."""
        _put_agent(self.releases.path(version), version, bad)
        (self.releases.path(version) / MARKER).write_text(f"{digest}\n")

    def drop(self, image: bytes) -> None:
        """A bundle that the agent has left for the root hand."""
        (self.state / "incoming" / f"{hashlib.sha256(image).hexdigest()[:16]}.bundle").write_bytes(image)

    def decide(self, *, starts: int, bad: str = "", switched: bool = True) -> None:
        """The next version is on probation."""
        self.add(NEXT, DIGEST, bad)
        self.releases.doubt(NEXT)
        record = Record(self.opt, self.root / "run")
        probation_s = 1.0 if bad else 60.0
        drop = f"{DIGEST[:16]}.bundle"
        candidate = Candidate(NEXT, NEXT, DIGEST, OLD, drop=drop, probation_s=probation_s, starts=starts)
        record.store(record.load().decided(candidate))
        if switched:
            self.releases.switch(NEXT)

    def install(self) -> None:
        """The root hand, in this process."""
        Installer(Place(self.box, self.config, 0.0), QuickBuilder()).run()

    def guard(self, now: float) -> Guard:
        """The guard, in this process, at that time."""
        return Guard(self.box, now)

    def leftovers(self) -> list[str]:
        """What lies around that belongs to nothing; but for halves of releases that were too old: they wait for the next run."""
        halves = [path for path in self.releases.folder.iterdir() if not self.releases.complete(path.name)]
        found = [path for path in halves if path.name not in OLDER]
        found += (self.state / "incoming").iterdir()
        found += [path for path in (self.opt / "update").iterdir() if path.name.startswith(".") or path.name == "work"]
        found += [path for path in self.opt.iterdir() if path.name.startswith(".")]
        return [f"left over: {path.relative_to(self.root)}" for path in found]


@dataclass(frozen=True)
class Act:
    """Something that is cut off. `prepare` a box, then `cut` into `act`; in the end the box runs `ends_on` with `result`.

    `tidy`: nothing may lie around afterwards, for the root hand has come by.
    """

    name: str
    prepare: Callable[[QuickBox], object]
    act: Callable[[QuickBox], object]
    ends_on: str
    result: str = ""
    tidy: bool = False


@dataclass(frozen=True)
class Row:
    """One point of a power cut. `first` is the version that started after it."""

    act: str
    number: int
    point: str
    first: str
    last: str
    faults: tuple[str, ...]


def acts(key: Ed25519PrivateKey, folder: Path) -> list[Act]:
    """All that root changes on the disk; bundles are made in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    good = bundles.make_bundle(folder / "good.bundle", key).read_bytes()
    low = bundles.make_bundle(folder / "low.bundle", key, version="0.5.0").read_bytes()

    def claimed(box: QuickBox) -> None:
        box.decide(starts=0)
        box.guard(1000.0).before_start()
        (box.state / "update/committed.json").write_text(f'{{"digest": "{DIGEST}"}}')

    def overdue(box: QuickBox) -> None:
        box.decide(starts=0, bad="blank")
        box.guard(1000.0).before_start()

    def first_start(box: QuickBox) -> None:
        box.decide(starts=0, switched=False)
        (box.state / "incoming" / f"{DIGEST[:16]}.bundle").write_bytes(good)

    def broken(box: QuickBox) -> None:
        box.releases.switch("0.9.5")

    return [
        Act("a version is installed", lambda box: box.drop(good), QuickBox.install, NEXT, "committed", tidy=True),
        Act("a bundle is refused", lambda box: box.drop(low), QuickBox.install, OLD, "refused", tidy=True),
        Act("a version starts for the first time", first_start, lambda box: box.guard(1000.0).before_start(), NEXT, "committed"),
        Act("a version is kept", claimed, lambda box: box.guard(1060.0).check(), NEXT, "committed"),
        Act(
            "three starts failed",
            lambda box: box.decide(starts=3, bad="crashes"),
            lambda box: box.guard(1000.0).before_start(),
            OLD,
            "rolled back",
        ),
        Act("the probation is over", overdue, lambda box: box.guard(1500.0).check(), OLD, "rolled back"),
        Act("what is current is not complete", broken, lambda box: box.guard(1000.0).before_start(), OLD),
    ]


def points(act: Act, root: Path, key: Ed25519PrivateKey) -> list[str]:
    """The points at which it can be cut off, in words."""
    with _box(root, key) as box, _quiet():
        act.prepare(box)
        return cut.points_of(lambda: act.act(box))


async def cut_off(act: Act, number: int, point: str, root: Path, key: Ed25519PrivateKey) -> Row:
    """Pulls the plug at this point, turns the box on again, and looks where it ends."""
    with _box(root, key) as box:
        with _quiet():
            act.prepare(box)
            faults = ["it was not cut off"] if cut.in_child(lambda: act.act(box), number) else []
        async with _on(box) as systemd:
            started: list[str] = []
            left: list[str] = []

            def settled() -> bool:
                lines = [one.text for one in systemd.journal if one.text.startswith("signage-agent starts")]
                started[:] = [line.rpartition("=")[2] for line in lines]
                slots, service = box.slots, systemd.service()
                result = slots.last_result.result if slots.last_result else ""
                done = box.releases.current() == act.ends_on == (started[-1] if started else "") and result == act.result
                quiet = not systemd.service("signage-agent-update.service").busy and service.active_state == "active"
                left[:] = box.leftovers() if act.tidy else []
                return done and slots.candidate is None and quiet and not left

            try:
                async with asyncio.timeout(DEADLINE_S):
                    while not settled():
                        await asyncio.sleep(0.02)
            except TimeoutError:
                faults.append(f"not where it has to be: {box.slots} {systemd.text()[-1500:]}")
        if {*started} - {OLD, NEXT} or not started:
            faults.append(f"started: {started}")
        faults += left
        return Row(act.name, number, point, started[0] if started else "none", box.releases.current(), tuple(faults))


def _quiet() -> contextlib.AbstractContextManager[object]:
    """What root and guard say for the journal is of no use here."""
    return contextlib.redirect_stderr(io.StringIO())


@contextlib.contextmanager
def _box(root: Path, key: Ed25519PrivateKey) -> Iterator[QuickBox]:
    shutil.rmtree(root, ignore_errors=True)
    try:
        yield QuickBox(root, key)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.asynccontextmanager
async def _on(box: QuickBox) -> AsyncIterator[Systemd]:
    async with Systemd(box.root, overrides=OVERRIDES, rewrite=rewriting(box.root)) as systemd:
        await systemd.boot()
        yield systemd


def main(arguments: Sequence[str]) -> int:
    """The root hand as a process of its own, with a builder that takes no time."""
    from agent.update import build, install  # noqa: PLC0415 - only as a program

    build.VenvBuilder = QuickBuilder  # type: ignore[misc,assignment]
    return install.main(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[2:]))
