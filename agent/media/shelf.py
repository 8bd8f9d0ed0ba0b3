"""The files on the disk, their rows in the state file and the ledger, kept in step.

The order of the steps makes every moment safe to be killed in: a file gets its name only when it is verified and synced, its row
after that; a row goes before its file. A file without a row is verified by its name before anybody gets it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from agent.media import files, index
from agent.media.ledger import Claim, Entry, Ledger, Victim
from agent.media.wants import FetchError, Want, amount, digest_of
from agent.system.state import State, StateError

log = logging.getLogger(__name__)
T = TypeVar("T")


class Shelf:
    """What the store has. Knows nothing of servers."""

    def __init__(self, directory: Path, state: State, pool: Executor, *, quota_bytes: int, reserve_bytes: int) -> None:
        self.directory = directory
        self.quota_bytes = quota_bytes
        self.reserve_bytes = reserve_bytes
        self.ledger = Ledger()
        self.listeners: list[Callable[[str], None]] = []
        self._state = state
        self._pool = pool
        self._used: set[str] = set()
        self._making_room = asyncio.Lock()
        self._taking_in = asyncio.Lock()

    async def start(self, part_age_s: float) -> None:
        """Compares what is recorded with what is there."""
        listing = await self.in_thread(lambda: files.list_directory(self.directory, now=time.time(), part_age_s=part_age_s))
        recorded, sources = await index.load(self._state)
        ledger = self.ledger
        ledger.load([entry for entry in recorded if listing.files.get(entry.digest) == entry.stamp], sources)
        ledger.parts = listing.parts
        ledger.derived_bytes = listing.derived_bytes
        ledger.unverified = {digest: stamp.size_bytes for digest, stamp in listing.files.items() if digest not in ledger.entries}
        gone = [entry for entry in recorded if entry.digest not in listing.files]
        changed = [entry for entry in recorded if entry.digest in ledger.unverified]
        await self._forget([entry.digest for entry in gone], sources=True)
        await self._forget([entry.digest for entry in changed], sources=False)
        log.info(
            "media store ready files=%d bytes=%d unfinished=%d unverified=%d",
            len(ledger.entries),
            ledger.used_bytes(),
            len(ledger.parts),
            len(ledger.unverified),
        )
        for entry in gone:
            self._report_lost(entry, "gone")
        for entry in changed:
            self._report_lost(entry, "changed")

    def path(self, digest: str) -> Path:
        """Where the file with `digest` is or would be."""
        return self.directory / files.file_name(digest)

    async def intact(self, entry: Entry) -> Path | None:
        """Its path if the file is as it was recorded."""
        path = self.path(entry.digest)
        stamp = await self.in_thread(files.stamp, path)
        if self.ledger.entries.get(entry.digest) is not entry:
            return None
        if stamp != entry.stamp:
            await self.lose(entry, "gone" if stamp is None else "changed", remove=False)
            return None
        self.mark_used(entry)
        return path

    async def take_in(self, want: Want, part: Path, digest: str) -> Entry:
        """Gives a verified part its name and records it. Raises FetchError."""
        async with self._taking_in:
            source = want if digest_of(want) is None else None
            entry = self.ledger.entries.get(digest)
            if entry is not None and await self.intact(entry) is not None:
                await self.in_thread(files.remove_part, part)
            else:
                try:
                    stamp = await self.in_thread(files.take_in, part, self.path(digest))
                except OSError as error:
                    raise FetchError("storage", f"storage failed: {error.strerror}", temporary=False) from error
                now = self.ledger.tick(time.time())
                entry = Entry(digest, stamp, now, now, want.name.encode(errors="replace").decode())
            self.ledger.claims.pop(part.name, None)
            self.ledger.unverified.pop(digest, None)
            self.ledger.entries[digest] = entry
            if source is not None:
                self.ledger.sources[source.url] = digest
            await self._record(entry, source)
            return entry

    async def examine(self, digest: str) -> None:
        """Takes in a complete file that nobody vouches for if its digest is right, else removes it."""
        path = self.path(digest)
        try:
            before = await self.in_thread(files.stamp, path)
            good = await self.in_thread(files.matches, path, digest)
            after = await self.in_thread(files.stamp, path)
        except OSError as error:
            log.warning("media file cannot be verified now digest=%s error=%s", digest, error.strerror)
            return
        if digest not in self.ledger.unverified or digest in self.ledger.entries:
            return
        del self.ledger.unverified[digest]
        if not good or before is None or before != after:
            log.warning("media file without a record is damaged and was removed digest=%s", digest)
            await self.in_thread(files.remove_file, path)
            return
        now = self.ledger.tick(time.time())
        entry = self.ledger.entries[digest] = Entry(digest, before, now, now, "")
        log.info("media file without a record taken in digest=%s bytes=%d", digest, before.size_bytes)
        await self._record(entry, None)

    async def check(self, entry: Entry, verify: Callable[[Path, str], Awaitable[bool]]) -> None:
        """Verifies a file with `verify`; a bad one is removed and reported."""
        try:
            good = await verify(self.path(entry.digest), entry.digest)
        except OSError as error:
            log.warning("media file cannot be verified now name=%r error=%s", entry.name, error.strerror)
            return
        if good:
            entry.verified_at = self.ledger.tick(time.time())
            self._used.add(entry.digest)
        else:
            await self.lose(entry, "damaged", remove=True)

    async def lose(self, entry: Entry, reason: str, *, remove: bool) -> None:
        """Strikes off a file and tells the listeners; without `remove` it may be verified and taken in again later."""
        if self.ledger.entries.get(entry.digest) is not entry:
            return
        del self.ledger.entries[entry.digest]
        await self._forget([entry.digest], sources=remove)
        path = self.path(entry.digest)
        if remove:
            await self.in_thread(files.remove_file, path)
        elif (stamp := await self.in_thread(files.stamp, path)) is not None:
            self.ledger.unverified[entry.digest] = stamp.size_bytes
        self._report_lost(entry, reason)

    async def make_room(self, claim: Claim, total_bytes: int) -> None:
        """Gives a running download room for `total_bytes` altogether. Raises FetchError."""
        async with self._making_room:
            if not await self._make_room(max(0, total_bytes - claim.expected_bytes)):
                raise FetchError(
                    "storage",
                    f"storage full: {amount(total_bytes)} needed, but the store may hold {amount(self.quota_bytes)}, "
                    f"{amount(self.reserve_bytes)} stay free on the disk, and nothing more can be deleted",
                    temporary=False,
                )
            claim.expected_bytes = max(claim.expected_bytes, total_bytes)

    async def keep_reserve(self) -> None:
        """Makes room if others have filled the disk."""
        async with self._making_room:
            if not await self._make_room(0):
                log.warning("disk is fuller than it should be reserve=%s", amount(self.reserve_bytes))

    async def discard(self, digests: Collection[str], parts: Collection[str]) -> int:
        """Deletes those that nobody keeps or holds; the number of files."""
        async with self._making_room:
            ledger = self.ledger
            present = {digest for digest in digests if ledger.has(digest)} - ledger.needed()
            idle = (set(parts) & ledger.parts.keys()) - ledger.kept_parts()
            await self._remove([Victim(0, digest=digest) for digest in present] + [Victim(0, part=part) for part in idle])
            return len(present)

    def mark_used(self, entry: Entry) -> None:
        """It was used now."""
        entry.used_at = self.ledger.tick(time.time())
        self._used.add(entry.digest)

    async def record_use(self) -> None:
        """Writes down when files were used and verified since the last call."""
        entries = [entry for digest in self._used if (entry := self.ledger.entries.get(digest)) is not None]
        self._used.clear()
        if entries:
            try:
                await index.touch(self._state, entries)
            except StateError as error:
                log.warning("use of media files could not be recorded error=%s", error)

    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        """Runs what touches the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def _make_room(self, more_bytes: int) -> bool:
        _, free = await self.in_thread(files.space, self.directory)
        victims = self.ledger.victims(more_bytes, quota_bytes=self.quota_bytes, reserve_bytes=self.reserve_bytes, free_bytes=free)
        if victims:
            log.info("media store makes room files=%d bytes=%d", len(victims), sum(victim.size_bytes for victim in victims))
            await self._remove(victims)
        return victims is not None

    async def _remove(self, victims: Iterable[Victim]) -> None:
        digests, parts = [], []
        for victim in victims:
            if victim.digest is not None:
                digests.append(victim.digest)
                entry = self.ledger.entries.pop(victim.digest, None)
                self.ledger.unverified.pop(victim.digest, None)
                log.info("media file removed name=%r digest=%s", entry.name if entry else "", victim.digest)
            if victim.part is not None:
                parts.append(self.directory / victim.part)
                self.ledger.parts.pop(victim.part, None)
        await self._forget(digests, sources=True)

        def remove() -> int:
            for part in parts:
                files.remove_part(part)
            return sum(files.remove_file(self.path(digest)) for digest in digests)

        freed = await self.in_thread(remove)
        self.ledger.derived_bytes = max(0, self.ledger.derived_bytes - freed)

    async def _record(self, entry: Entry, source: Want | None) -> None:
        try:
            await index.save(self._state, entry, source)
        except StateError as error:  # the file is whole; the next start verifies it by its name
            log.warning("media file could not be recorded name=%r error=%s", entry.name, error)

    async def _forget(self, digests: Collection[str], *, sources: bool) -> None:
        if not digests:
            return
        if sources:
            gone = set(digests)
            self.ledger.sources = {url: digest for url, digest in self.ledger.sources.items() if digest not in gone}
        try:
            await index.drop(self._state, digests, sources=sources)
        except StateError as error:  # the next start notices that the rows are stale
            log.warning("media files could not be struck off error=%s", error)

    def _report_lost(self, entry: Entry, reason: str) -> None:
        log.warning("media file lost name=%r digest=%s reason=%s", entry.name, entry.digest, reason)
        for callback in self.listeners:
            try:
                callback(entry.digest)
            except Exception:
                log.exception("a listener for lost media files failed")
