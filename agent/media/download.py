"""One file on its way here: requests, resumption, retries, verification."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.media.answers import Note, can_resume, judge, new_note, range_headers, read_note
from agent.media.files import remove_part
from agent.media.gate import Gate, Ticket
from agent.media.ledger import Claim
from agent.media.pace import Pace
from agent.media.wants import FetchError, MismatchError, Timers, Want, digest_of
from agent.media.writer import BATCH_BYTES, Hashed, Writer

if TYPE_CHECKING:
    import aiohttp

    from agent.media.transport import Transport

log = logging.getLogger(__name__)

_CLAIM_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Surroundings:
    """What a download needs of the store."""

    transport: Callable[[], Awaitable[Transport]]
    pool: Executor  # for calls that touch the disk
    gate: Gate
    timers: Timers
    make_room: Callable[[Claim, int], Awaitable[None]]  # for so many bytes altogether; raises FetchError
    on_progress: Callable[[], None]


class Download:
    """Brings `want` into the file `part`: complete, synced to the disk and verified, but not yet under its name."""

    def __init__(self, want: Want, part: Path, ticket: Ticket, around: Surroundings) -> None:
        self.want = want
        self.part = part
        self.claim = Claim()
        self.total_bytes = want.expected_bytes
        self.begun = False
        self._ticket = ticket
        self._around = around
        self._digest = digest_of(want)
        self._algorithm = (self._digest or "md5:").partition(":")[0]
        self._hashed: Hashed | None = None
        self._fresh = False  # ask caches for a fresh copy, from the first byte
        self._farthest_bytes = 0

    @property
    def received_bytes(self) -> int:
        """How much of the file is here."""
        return self.claim.received_bytes

    async def run(self) -> str:
        """The digest of the file in `part`. Raises FetchError after a bounded number of tries."""
        timers = self._around.timers
        tries = mismatches = 0
        while True:
            farthest = self._farthest_bytes
            try:
                async with self._around.gate.slot(self._ticket):
                    return await self._attempt()
            except _GiveWayError:
                log.debug("media download gives way name=%r received=%d", self.want.name, self.received_bytes)
                continue
            except MismatchError as error:
                await self._discard()
                self._fresh = True
                mismatches += 1
                fault: FetchError = error
                over = mismatches >= timers.mismatch_tries
            except FetchError as error:
                if error.cause == "storage":
                    await self._discard()
                tries = 1 if self._farthest_bytes > farthest + _CLAIM_BYTES else tries + 1
                fault = error
                over = not error.temporary or tries >= timers.tries
            if over:
                raise fault
            pause_s = self._pause(tries + mismatches, fault)
            level = logging.WARNING if tries + mismatches == 1 else logging.DEBUG
            log.log(level, "media download interrupted name=%r cause=%r again_s=%.1f", self.want.name, str(fault), pause_s)
            await asyncio.sleep(pause_s)

    def _pause(self, failures: int, fault: FetchError) -> float:
        timers = self._around.timers
        ceiling = min(timers.retry_last_s, timers.retry_first_s * 2.0 ** (failures - 1))
        return max(ceiling * random.uniform(0.5, 1.0), min(fault.retry_after_s, timers.retry_last_s))

    async def _attempt(self) -> str:
        self.begun = True
        writer = Writer(self.part, self._algorithm, self._hashed)
        try:
            offset, note = await writer.open()
            self.claim.received_bytes = offset
            if not 0 < offset == self.want.expected_bytes:
                await self._receive(writer, offset, read_note(note))
            return self._verify(*await writer.finish())
        finally:
            self._hashed = await writer.close()

    async def _receive(self, writer: Writer, offset: int, note: Note) -> None:
        headers = range_headers(self.want, note, offset)
        if self._fresh:
            headers["Cache-Control"] = "no-cache"
        transport = await self._around.transport()
        async with transport.get(self.want, headers) as response:
            start, total = judge(response, self.want, note, offset if "Range" in headers else 0)
            if start and start == total:
                return
            self.claim.received_bytes, self.total_bytes = start, total or self.want.expected_bytes
            await self._around.make_room(self.claim, self.total_bytes or start)
            if start == 0:
                await writer.restart(new_note(response, self.want))
            else:
                log.info("media download resumed name=%r from_bytes=%d", self.want.name, start)
            self._around.on_progress()
            self._ticket.can_give_way = start > 0 or can_resume(response, self.want)
            self._around.gate.look()
            await self._body(response, writer, total)
            if total is not None and self.received_bytes < total:
                raise FetchError("network", f"network: connection ended early ({self.want.where})")

    async def _body(self, response: aiohttp.ClientResponse, writer: Writer, total: int | None) -> None:
        batch: list[bytes] = []
        size = 0
        limit = self.want.expected_bytes
        pace = Pace(self._around.timers)
        known = total or limit
        claim_at = self.received_bytes + (_CLAIM_BYTES if known else 0)

        async def flush(now: float) -> None:
            nonlocal size, claim_at
            if self.received_bytes > claim_at:
                await self._around.make_room(self.claim, max(self.received_bytes, known or 0))
                claim_at = self.received_bytes + (_CLAIM_BYTES if known else 0)
            whole = batch[0] if len(batch) == 1 else b"".join(batch)
            batch.clear()
            size = 0
            await writer.write(whole)
            pace.written(now)
            self._around.on_progress()

        try:
            while data := await response.content.readany():
                now = time.monotonic()
                batch.append(data)
                size += len(data)
                self.claim.received_bytes += len(data)
                pace.received(len(data), now)
                if limit is not None and self.received_bytes > limit:
                    raise MismatchError("size", f"size: the server sent more than {limit} bytes ({self.want.where})")
                if size >= BATCH_BYTES or pace.batch_is_old(now):
                    await flush(now)
                if self._ticket.give_way:
                    raise _GiveWayError
            await flush(time.monotonic())
        finally:
            if batch:
                writer.put(b"".join(batch))
            self._farthest_bytes = max(self._farthest_bytes, self.received_bytes)

    def _verify(self, size: int, digest: str) -> str:
        expected = self.want.expected_bytes
        if expected is not None and size != expected:
            raise MismatchError("size", f"size: {size} bytes came instead of {expected} ({self.want.where})")
        found = f"{self._algorithm}:{digest}"
        if self._digest is not None and found != self._digest:
            raise MismatchError("checksum", f"checksum: {found} came instead of {self._digest} ({self.want.where})")
        if size == 0 and self._digest is None:
            raise MismatchError("size", f"size: an empty file came ({self.want.where})")
        return found

    async def _discard(self) -> None:
        self._hashed = None
        self.claim.received_bytes = 0
        await asyncio.get_running_loop().run_in_executor(self._around.pool, remove_part, self.part)


class _GiveWayError(Exception):
    """Somebody more urgent needs the slot."""
