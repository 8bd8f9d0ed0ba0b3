"""The media store: files under their digest, downloaded, verified, evicted."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.media import files
from agent.media.download import Surroundings
from agent.media.gate import Gate
from agent.media.job import Job
from agent.media.ledger import Entry
from agent.media.scrub import Scrubber
from agent.media.shelf import Shelf
from agent.media.wants import DownloadStatus, FetchError, OnBytes, Timers, Want, digest_of, key_of, part_name
from agent.media.writer import completed
from agent.system.state import State

if TYPE_CHECKING:
    from agent.media.transport import Transport

log = logging.getLogger(__name__)


class MediaStore:
    """Files from servers. What it hands out was verified: size and checksum agree with what the server announced.

    Nothing blocks the event loop, and the process may be killed at any point. `quota_bytes` bounds the store, `reserve_bytes`
    stay free on the disk, at most `parallel` files are downloaded at a time.
    """

    def __init__(
        self,
        directory: Path,
        state: State,
        *,
        quota_bytes: int,
        reserve_bytes: int,
        parallel: int,
        timers: Timers | None = None,
    ) -> None:
        self.directory = directory
        self._timers = timers or Timers()
        self._gate = Gate(parallel)
        self._pool = ThreadPoolExecutor(max_workers=parallel + 2, thread_name_prefix="media files")
        self._shelf = Shelf(directory, state, self._pool, quota_bytes=quota_bytes, reserve_bytes=reserve_bytes)
        self._jobs: dict[str, Job] = {}
        self._transport: Transport | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def start(self) -> None:
        """Compares what is recorded with what is on the disk; `on_lost` listeners hear of what is missing."""
        await self._shelf.start(self._timers.part_age_s)

    async def run(self) -> None:
        """Verifies the files again, slowly, and keeps the reserve free. Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._upkeep(), name="media upkeep")
            tasks.create_task(self._verification(), name="media verification")

    async def close(self) -> None:
        """Stops all downloads (their parts stay) and records when files were last used. To be called after `run` has ended."""
        self._closed = True
        await asyncio.gather(*(job.stop() for job in list(self._jobs.values())))
        if self._transport is not None:
            await self._transport.close()
        await self._shelf.record_use()
        self._pool.shutdown(wait=False)

    async def find(self, want: Want) -> Path | None:
        """The verified file for `want` if it is on the disk as it was recorded. Never downloads."""
        try:
            entry = self._shelf.ledger.lookup(want)
        except FetchError:
            return None
        if self._closed or entry is None or want.expected_bytes not in (None, entry.stamp.size_bytes):
            return None
        return await self._shelf.intact(entry)

    async def fetch(self, want: Want, *, urgency: int = 0, on_bytes: OnBytes | None = None) -> Path:
        """The verified file for `want`, downloaded if need be; lower `urgency` goes first. What nobody `keep`s may be evicted.

        Wants for the same digest share one download; it stops when the last of its callers is cancelled. `on_bytes(received,
        total or None)` is called a few times a second. Raises FetchError after a bounded number of tries.
        """
        key = key_of(want)
        while True:
            if (path := await self.find(want)) is not None:
                return path
            job = self._jobs.get(key) or self._begin(key, want, urgency)
            if job.stopping:
                await job.ended()
                continue
            try:
                entry = await job.join(urgency, on_bytes)
            except FetchError:
                if self._closed or (job.want.url, job.want.expected_bytes) == (want.url, want.expected_bytes):
                    raise
                continue  # it failed with the address or the size of somebody else's want
            if want.expected_bytes not in (None, entry.stamp.size_bytes):
                sizes = f"{entry.stamp.size_bytes} bytes, not {want.expected_bytes}"
                raise FetchError("size", f"size: the file with this checksum has {sizes}", temporary=False)
            return self._shelf.path(entry.digest)

    def keep(self, owner: str, wants: Collection[Want]) -> None:
        """What `owner` ("signage main playlist 7") references: never evicted. Replaces the former set of that owner."""
        self._shelf.ledger.keep(owner, wants)

    def hold(self, owner: str, paths: Collection[Path]) -> None:
        """What `owner` has on a screen now: never evicted. Replaces the former set of that owner."""
        ledger = self._shelf.ledger
        digests = {digest for path in paths if path.parent == self.directory and (digest := files.digest_of_name(path.name))}
        ledger.hold(owner, digests)
        for digest in digests & ledger.entries.keys():
            self._shelf.mark_used(ledger.entries[digest])

    async def discard(self, wants: Collection[Want]) -> int:
        """Deletes those of the files which no owner keeps or holds; the number deleted."""
        digests, parts = set(), set()
        for want in wants:
            try:
                digests.add(self._shelf.ledger.digest(want) or "")
                parts.add(part_name(want))
            except FetchError:
                continue  # a checksum that no file can have
        return await self._shelf.discard(digests, parts)

    async def damaged(self, path: Path) -> None:
        """`path` was reported missing or undecodable: verifies it now; if it is bad, removes it and tells the listeners."""
        digest = files.digest_of_name(path.name) if path.parent == self.directory else None
        entry = self._shelf.ledger.entries.get(digest or "")
        if entry is None:
            return
        if path.name != files.file_name(entry.digest):
            await self._shelf.in_thread(files.remove, path)
        await self._shelf.check(entry, partial(self._shelf.in_thread, files.matches))

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Calls `callback(digest)` whenever a file is found damaged or gone; add it before `start`."""
        self._shelf.listeners.append(callback)

    def off_lost(self, callback: Callable[[str], None]) -> None:
        """Undoes `on_lost`."""
        self._shelf.listeners.remove(callback)

    def downloads(self) -> list[DownloadStatus]:
        """The downloads that have begun, the most urgent first."""
        jobs = sorted((job for job in self._jobs.values() if job.download.begun), key=lambda job: job.ticket.urgency)
        return [DownloadStatus(job.want.name, job.download.received_bytes, job.download.total_bytes) for job in jobs]

    def total_bytes(self) -> int:
        """Size of the disk the store is on; 0 if it cannot be told."""
        return self._space()[0]

    def free_bytes(self) -> int:
        """What is free on the disk the store is on; 0 if it cannot be told."""
        return self._space()[1]

    def largest_bytes(self) -> int:
        """No larger file could ever be kept, however much were evicted."""
        total = self.total_bytes()
        return min(self._shelf.quota_bytes, total - self._shelf.reserve_bytes) if total else self._shelf.quota_bytes

    def reserve_bytes(self) -> int:
        """What is to stay free on the disk, whoever writes."""
        return self._shelf.reserve_bytes

    def warnings(self) -> list[str]:
        """That the storage is full, in a sentence with figures, while it lasts."""
        return [self._shelf.warning] if self._shelf.warning else []

    def used_bytes(self) -> int:
        """What the store takes up, running downloads counted in full."""
        return self._shelf.ledger.used_bytes()

    def set_limits(self, *, quota_bytes: int, reserve_bytes: int, parallel: int) -> None:
        """Changes the limits; running downloads go on."""
        self._shelf.quota_bytes, self._shelf.reserve_bytes = quota_bytes, reserve_bytes
        self._gate.set_slots(parallel)

    def _space(self) -> tuple[int, int]:
        try:
            return files.space(self.directory)
        except OSError:
            return 0, 0

    def _begin(self, key: str, want: Want, urgency: int) -> Job:
        if self._closed:
            raise FetchError("stopped", "the media store is closed", temporary=False)

        def around(job: Job) -> Surroundings:
            return Surroundings(
                transport=self._connected,
                pool=self._pool,
                gate=self._gate,
                timers=self._timers,
                make_room=self._shelf.make_room,
                on_progress=lambda: job.progress(time.monotonic()),
            )

        job = self._jobs[key] = Job(want, self.directory / part_name(want), urgency, around)
        job.start(self._obtain(job), on_end=partial(self._jobs.__delitem__, key))
        return job

    async def _obtain(self, job: Job) -> Entry:
        """What a job does: looks whether the file is there after all, else downloads it and takes it in."""
        want, part, ledger = job.want, job.download.part, self._shelf.ledger
        digest = ledger.digest(want)
        if digest in ledger.unverified:
            async with self._gate.slot(job.ticket):
                await self._shelf.examine(digest)
        entry = ledger.entries.get(digest or "")
        if entry is not None and (digest_of(want) or want.expected_bytes in (None, entry.stamp.size_bytes)):
            return entry
        claim = ledger.claims[part.name] = job.download.claim
        claim.expected_bytes = claim.received_bytes = ledger.parts.pop(part.name, 0)
        began, short = time.monotonic(), False
        try:
            found = await job.download.run()
            taking = asyncio.create_task(self._shelf.take_in(want, part, found), name="media take in")
            entry = await completed(taking)
        except FetchError as error:
            short = error.cause == "storage"
            raise
        finally:
            stamp = await completed(asyncio.get_running_loop().run_in_executor(self._pool, files.stamp, part))
            ledger.claims.pop(part.name, None)
            if stamp is not None:
                ledger.parts[part.name] = stamp.size_bytes
            if short:
                await self._shelf.keep_reserve(claim.expected_bytes)
        _log_done(entry, time.monotonic() - began)
        return entry

    async def _upkeep(self) -> None:
        while True:
            await asyncio.sleep(self._timers.upkeep_s)
            await self._shelf.record_use()
            await self._shelf.keep_reserve()

    async def _verification(self) -> None:
        ledger = self._shelf.ledger
        for digest in list(ledger.unverified):
            await self._shelf.examine(digest)
        scrubber = Scrubber(self._timers, self._pool)
        await asyncio.sleep(self._timers.verify_after_s)
        while True:
            for entry in sorted(ledger.entries.values(), key=lambda entry: entry.verified_at):
                if ledger.entries.get(entry.digest) is entry:
                    await self._shelf.check(entry, scrubber.is_good)
            await asyncio.sleep(self._timers.verify_round_s)

    async def _connected(self) -> Transport:
        async with self._connecting:
            if self._transport is None:
                module: Any = await self._shelf.in_thread(importlib.import_module, "agent.media.transport")
                self._transport = module.Transport(self._timers)
            return self._transport


def _log_done(entry: Entry, seconds: float) -> None:
    size = entry.stamp.size_bytes
    log.info(
        "media file downloaded name=%r bytes=%d seconds=%.1f mb_per_s=%.1f",
        entry.name,
        size,
        seconds,
        size / 1e6 / max(seconds, 1e-6),
    )
