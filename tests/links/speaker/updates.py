"""What stands in for the device's updates: bundles really go to the disk; installing them is only noted."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

from agent.update.intake import Intake, UpdateError

KEY = b"a key that is trusted"
SEAL_BYTES = 32


def make_bundle(size: int, *, sealed: bool = True) -> bytes:
    """So many bytes that begin as a bundle and, for `StandInUpdates`, bear a good signature if `sealed`."""
    head = struct.pack("<8sQ", b"SIGNBNDL", size)
    body = head + hashlib.shake_128(b"bundle %d" % size).digest(size - len(head) - SEAL_BYTES)
    return body + (hashlib.sha256(KEY + body).digest() if sealed else bytes(SEAL_BYTES))


@dataclass(frozen=True)
class StandInReport:
    """See `parts.Report`."""

    result: str
    version: str
    cause: str = ""


class StandInUpdates:
    """Knows a good bundle by its last 32 bytes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.installed: list[bytes] = []
        self.begun: list[tuple[str, int | None, str | None]] = []
        self.restarts = 0
        self.go = asyncio.Event()
        """Until it is set an installation takes."""
        self.go.set()
        self.refuses = ""
        """Why nothing begins."""
        self.fails = ""
        """Why nothing can be installed."""
        self.published: dict[str, bytes] = {}
        """What can be fetched, by version."""
        self.looked_for: list[str | None] = []
        self.found = asyncio.Event()
        """Until it is set what can be fetched is being looked for."""
        self.found.set()
        self.disk_s = 0.0
        """How long the disk takes for each piece."""
        self.pieces: list[int] = []
        self.reports: list[StandInReport] = []
        self.told_to: list[str] = []
        self._intake: Intake | None = None
        self._installs = False

    @property
    def busy(self) -> bool:
        """See `parts.Updates`."""
        return self._installs or (self._intake is not None and self._intake.open)

    @property
    def left(self) -> list[str]:
        """Files on the disk."""
        return sorted(path.name for path in self.directory.iterdir()) if self.directory.exists() else []

    def check_free(self) -> None:
        """See `parts.Updates`."""
        if self.refuses:
            raise UpdateError(self.refuses)
        if self.busy:
            raise UpdateError("Another update is under way.", "device_busy")

    def begin(self, by: str, *, size: int | None = None, sha256: str | None = None) -> Intake:
        """See `parts.Updates`."""
        self.check_free()
        self._intake = _SlowIntake(self, by, size, sha256)
        self.begun.append((by, size, sha256))
        return self._intake

    async def newest(self, by: str, version: str | None = None) -> Intake:
        """See `parts.Updates`."""
        self.looked_for.append(version)
        await self.found.wait()
        if not self.published:
            raise UpdateError("no [update] source_url is configured")
        image = self.published.get(version or max(self.published))
        if image is None:
            raise UpdateError(f"version {version} is not published")
        intake = self.begin(by)
        await intake.write(image)
        return intake

    async def install(self, intake: Intake) -> str:
        """See `parts.Updates`."""
        self._installs = True
        try:
            await intake.finish()
            image = await asyncio.to_thread(intake.path.read_bytes)
            if image[-SEAL_BYTES:] != hashlib.sha256(KEY + image[:-SEAL_BYTES]).digest():
                raise UpdateError("the signature is not of a key that is trusted")
            await self.go.wait()
            if self.fails:
                raise UpdateError(self.fails)
        finally:
            self._installs = False
            await intake.abandon()
        self.installed.append(image)
        return "2.0.0"

    def restart(self) -> None:
        """See `parts.Updates`."""
        self.restarts += 1

    async def report(self, link: str) -> StandInReport | None:
        """See `parts.Updates`."""
        return self.reports[0] if self.reports else None

    async def told(self, link: str) -> None:
        """See `parts.Updates`."""
        self.reports.pop(0)
        self.told_to.append(link)


class _SlowIntake(Intake):
    def __init__(self, updates: StandInUpdates, by: str, size: int | None, sha256: str | None) -> None:
        super().__init__(updates.directory, by, size=size, sha256=sha256, by_hand=False, on_change=lambda: None)
        self._updates = updates

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._updates.disk_s:
            await asyncio.sleep(self._updates.disk_s)
        self._updates.pieces.append(len(data))
        await super().write(data)
