"""The root side in a folder: a box with releases, and somebody who installs what the daemon leaves, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.update.release import Release
from agent.update.slots import Candidate, Outcome, Record, Releases, Result, Slots, carry_out
from tests.update.bundles import NEXT, RUNNING

AT = "2026-11-20T10:00:00+00:00"
DEADLINE_S = 20.0


class RootHand:
    """`root` is /opt/signage-agent of the box, `state_dir` the daemon's own folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "opt"
        self.state_dir = folder / "state"
        self.incoming = self.state_dir / "incoming"
        self.releases = Releases(self.root)
        self.record = Record(self.root, folder)
        self.add(RUNNING, "")
        self.releases.switch(RUNNING)

    def add(self, name: str, digest: str) -> None:
        """A complete release."""
        command = self.releases.path(name) / "bin/signage-agent"
        command.parent.mkdir(parents=True)
        command.write_text("")
        (self.releases.path(name) / ".complete").write_text(digest)

    def running(self) -> Release:
        """The release that a start now would run."""
        release = Release.own(self.root / "current")
        assert release is not None
        return release

    def dropped(self) -> list[Path]:
        """The bundles that wait."""
        return sorted(self.incoming.glob("*.bundle"))

    def left(self) -> list[str]:
        """Everything in the daemon's folder for bundles."""
        return sorted(path.name for path in self.incoming.glob("*"))

    async def comes(self) -> Path:
        """Waits for a bundle."""
        await until(self.dropped)
        return self.dropped()[0]

    async def takes(self, digest: str, version: str = NEXT) -> None:
        """Installs the bundle that comes."""
        drop = await self.comes()
        self.add(version, digest)
        self.decide(digest, version, drop.name)
        candidate = self.record.load().candidate
        assert candidate is not None
        carry_out(candidate, self.releases, self.state_dir)

    def decide(self, digest: str, version: str = NEXT, drop: str = "", probation_s: float = 0.0) -> None:
        """Notes that the release is to be switched to."""
        candidate = Candidate(version, version, digest, RUNNING, drop=drop, probation_s=probation_s)
        self.store(self.record.load().decided(candidate))

    async def refuses(self, cause: str) -> None:
        """Does not take the bundle that comes."""
        drop = await self.comes()
        self.store(replace(self.record.load(), last_result=Result("refused", NEXT, drop.name[:16], cause, AT)))
        drop.unlink()

    def settle(self, result: Outcome, cause: str = "", at: str = AT) -> None:
        """The guard's verdict on the candidate."""
        self.store(self.record.load().settled(result, cause, at))

    def store(self, slots: Slots) -> None:
        """Writes the record."""
        self.record.store(slots)


async def until(condition: Callable[[], object]) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)
