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
from agent.system.logs import Trouble
from agent.system.state import State, StateError

log = logging.getLogger(__name__)
T = TypeVar("T")

_REFUSAL_S = 7200.0
"""After this long without another refusal nobody is thought to ask for the room any more."""


class Shelf:
    """What the store has. Knows nothing of servers."""

    def __init__(self, directory: Path, state: State, pool: Executor, *, quota_bytes: int, reserve_bytes: int) -> None:
        self.directory = directory
        self.quota_bytes = quota_bytes
        self.reserve_bytes = reserve_bytes
        self.ledger = Ledger()
        self.listeners: list[Callable[[str], None]] = []
        self.warning = ""
        """That the storage is full, with figures, while it lasts."""
        self._refused_bytes = 0
        self._refused_at = 0.0
        self._fullness = Trouble(log)
        self._verifying = Trouble(log)
        self._recording = Trouble(log)
        self._state = state
        self._pool = pool
        self._used: set[str] = set()
        self._making_room = asyncio.Lock()
        self._taking_in = asyncio.Lock()

    async def start(self, part_age_s: float) -> None:
        """Compares what is recorded with what is there."""
        try:
            listing = await self.in_thread(lambda: files.list_directory(self.directory, now=time.time(), part_age_s=part_age_s))
        except OSError as error:  # nothing is struck off: the next start may be luckier
            log.error("media directory cannot be read error=%s path=%s", error.strerror, self.directory)  # noqa: TRY400
            return
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
                self.ledger.sources[source.source] = digest
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
            self._verifying.is_("media file cannot be verified now", error.strerror, digest=digest)
            return
        self._verifying.over("media files can be verified again")
        if digest not in self.ledger.unverified or digest in self.ledger.entries:
            return
        if not good or before is None or before != after:
            if await self.in_thread(files.remove_file, path):
                log.warning("media file without a record is damaged and was removed digest=%s", digest)
                self.ledger.unverified.pop(digest, None)
            return
        del self.ledger.unverified[digest]
        now = self.ledger.tick(time.time())
        entry = self.ledger.entries[digest] = Entry(digest, before, now, now, "")
        log.info("media file without a record taken in digest=%s bytes=%d", digest, before.size_bytes)
        await self._record(entry, None)

    async def check(self, entry: Entry, verify: Callable[[Path, str], Awaitable[bool]]) -> None:
        """Verifies a file with `verify`; a bad one is removed and reported."""
        try:
            good = await verify(self.path(entry.digest), entry.digest)
        except OSError as error:
            self._verifying.is_("media file cannot be verified now", error.strerror, name=repr(entry.name))
            return
        self._verifying.over("media files can be verified again")
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
        removed = remove and await self.in_thread(files.remove_file, path)
        if not removed and (stamp := await self.in_thread(files.stamp, path)) is not None:
            self.ledger.unverified[entry.digest] = stamp.size_bytes
        self._report_lost(entry, reason)

    async def make_room(self, claim: Claim, total_bytes: int) -> None:
        """Gives a running download room for `total_bytes` altogether. Raises FetchError."""
        async with self._making_room:
            more_bytes = max(0, total_bytes - claim.expected_bytes)
            if not await self._make_room(more_bytes):
                self._refused_bytes, self._refused_at = more_bytes, time.monotonic()
                raise FetchError("storage", await self._full(f"{amount(total_bytes)} needed, but "), temporary=False)
            claim.expected_bytes = max(claim.expected_bytes, total_bytes)
            if more_bytes >= self._refused_bytes:
                self._room_again()

    async def keep_reserve(self, refused_bytes: int = 0) -> None:
        """Makes room if others have filled the disk, and looks whether what was refused before would fit by now.

        `refused_bytes` is what the disk has just refused. Never raises OSError.
        """
        async with self._making_room:
            if refused_bytes:
                self._refused_bytes, self._refused_at = max(self._refused_bytes, refused_bytes), time.monotonic()
            if not await self._make_room(0):
                await self._full("")
            elif time.monotonic() - self._refused_at > _REFUSAL_S or await self._victims(self._refused_bytes) is not None:
                self._room_again()
            else:
                await self._full(f"{amount(self._refused_bytes)} needed, but ")

    async def discard(self, digests: Collection[str], parts: Collection[str]) -> int:
        """Deletes those that nobody keeps or holds; the number of files."""
        async with self._making_room:
            ledger = self.ledger
            present = {digest for digest in digests if ledger.has(digest)} - ledger.needed()
            idle = (set(parts) & ledger.parts.keys()) - ledger.kept_parts()
            await self._remove([Victim(0, digest=digest) for digest in present] + [Victim(0, part=part) for part in idle])
            return sum(not ledger.has(digest) for digest in present)

    def mark_used(self, entry: Entry) -> None:
        """It was used now."""
        entry.used_at = self.ledger.tick(time.time())
        self._used.add(entry.digest)

    async def record_use(self) -> None:
        """Writes down when files were used and verified since the last call."""
        entries = [entry for digest in self._used if (entry := self.ledger.entries.get(digest)) is not None]
        self._used.clear()
        if entries:
            await self._write(index.touch(self._state, entries))

    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        """Runs what touches the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def _make_room(self, more_bytes: int) -> bool:
        victims = await self._victims(more_bytes)
        if victims:
            log.info("media store makes room files=%d bytes=%d", len(victims), sum(victim.size_bytes for victim in victims))
            return await self._remove(victims)
        return victims is not None

    async def _victims(self, more_bytes: int) -> list[Victim] | None:
        try:
            _, free = await self.in_thread(files.space, self.directory)
        except OSError as error:  # the disk will say itself when it is full
            log.debug("free space cannot be read error=%s", error.strerror)
            return []
        self.ledger.derived_bytes = await self.in_thread(files.derived_bytes, self.directory)
        return self.ledger.victims(more_bytes, quota_bytes=self.quota_bytes, reserve_bytes=self.reserve_bytes, free_bytes=free)

    async def _full(self, why: str) -> str:
        """The warning from now on: `why`, and the figures."""
        try:
            _, free = await self.in_thread(files.space, self.directory)
        except OSError:
            free = 0
        self.warning = (
            f"storage full: {why}{amount(free)} are free on the disk, of which {amount(self.reserve_bytes)} stay in reserve, "
            f"the store holds {amount(self.ledger.used_bytes())} of {amount(self.quota_bytes)}, and nothing more can be deleted"
        )
        self._fullness.is_("storage full", "nothing more can be deleted", free=free, reserve=self.reserve_bytes)
        return self.warning

    def _room_again(self) -> None:
        self.warning, self._refused_bytes = "", 0
        self._fullness.over("storage has room again")

    async def _remove(self, victims: Iterable[Victim]) -> bool:
        """Whether all of them are gone; what the disk does not let go is there as before, but nobody vouches for it."""
        digests: list[str] = []
        parts: list[Path] = []
        names: dict[str, str] = {}
        for victim in victims:
            if victim.digest is not None:
                digests.append(victim.digest)
                entry = self.ledger.entries.pop(victim.digest, None)
                self.ledger.unverified.pop(victim.digest, None)
                names[victim.digest] = entry.name if entry else ""
            if victim.part is not None:
                parts.append(self.directory / victim.part)
                self.ledger.parts.pop(victim.part, None)
        await self._forget(digests, sources=True)

        def remove() -> tuple[dict[str, int], dict[str, int]]:
            """What is left, with its size."""
            left_parts = {part.name: _size(part) for part in parts if not files.remove_part(part)}
            left = {digest: _size(self.path(digest)) for digest in digests if not files.remove_file(self.path(digest))}
            return left, left_parts

        left, left_parts = await self.in_thread(remove)
        self.ledger.unverified.update(left)
        self.ledger.parts.update(left_parts)
        for digest in digests:
            if digest not in left:
                log.info("media file removed name=%r digest=%s", names[digest], digest)
        self.ledger.derived_bytes = await self.in_thread(files.derived_bytes, self.directory)
        return not left and not left_parts

    async def _record(self, entry: Entry, source: Want | None) -> None:
        await self._write(index.save(self._state, entry, source))

    async def _forget(self, digests: Collection[str], *, sources: bool) -> None:
        if not digests:
            return
        if sources:
            gone = set(digests)
            self.ledger.sources = {url: digest for url, digest in self.ledger.sources.items() if digest not in gone}
        await self._write(index.drop(self._state, digests, sources=sources))

    async def _write(self, change: Awaitable[None]) -> None:
        """What could not be written is found out at the next start: files are verified by their name, stale rows noticed."""
        try:
            await change
        except StateError as error:
            self._recording.is_("media files could not be recorded", error)
        else:
            self._recording.over("media files are recorded again")

    def _report_lost(self, entry: Entry, reason: str) -> None:
        log.warning("media file lost name=%r digest=%s reason=%s", entry.name, entry.digest, reason)
        for callback in self.listeners:
            try:
                callback(entry.digest)
            except Exception:
                log.exception("a listener for lost media files failed")


def _size(path: Path) -> int:
    found = files.stamp(path)
    return 0 if found is None else found.size_bytes
