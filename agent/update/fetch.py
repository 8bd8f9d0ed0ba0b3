"""Bundles over HTTP: resumed after a break, given up when the line leads nowhere. Loads aiohttp: import it with the first one."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from agent.media.answers import Note, judge, new_note, range_headers, read_note
from agent.media.pace import Pace
from agent.media.transport import Transport
from agent.media.wants import FetchError, MismatchError, Timers, Want, plain_url
from agent.update.intake import Intake, UpdateError

log = logging.getLogger(__name__)

TIMERS = Timers()
_FURTHER_BYTES = 8 * 1024 * 1024
"""An attempt that brought so much was worth it: the count of failures begins anew."""


async def fetch(url: str, intake: Intake, *, sha256: str = "", timers: Timers = TIMERS) -> None:
    """Brings the file at `url` into `intake`, which knows how long it may be. Raises UpdateError; then nothing is left.

    A redirect is followed. After a break it goes on where it was, unless the file has changed meanwhile.
    """
    want = Want(url, plain_url(url), intake.expected_bytes, sha256)
    transport = Transport(timers)
    try:
        await _fetch(want, intake, transport, timers)
    except FetchError as error:
        raise UpdateError(f"the update could not be fetched: {error}") from None
    except BaseException:
        await intake.abandon()
        raise
    finally:
        await transport.close()


async def fetch_text(url: str, limit_bytes: int, *, timers: Timers = TIMERS) -> bytes:
    """The small file at `url`. Raises UpdateError, also if it has more than `limit_bytes`."""
    want = Want(url, plain_url(url))
    transport = Transport(timers)
    try:
        async with asyncio.timeout(timers.response_s * 2), transport.get(want, {}) as response:
            judge(response, want, {}, 0)
            text = b""
            while data := await response.content.readany():
                text += data
                if len(text) > limit_bytes:
                    raise UpdateError(f"the list of updates is longer than {limit_bytes} bytes ({plain_url(url)})")
            return text
    except FetchError as error:
        raise UpdateError(f"the list of updates could not be fetched: {error}") from None
    except TimeoutError:
        raise UpdateError(f"the list of updates could not be fetched: it takes too long ({plain_url(url)})") from None
    finally:
        await transport.close()


async def _fetch(want: Want, intake: Intake, transport: Transport, timers: Timers) -> None:
    note: Note = {}
    failures = mismatches = 0
    while True:
        before = intake.received
        try:
            return await _attempt(want, intake, transport, timers, note)
        except MismatchError as error:
            note.clear()
            mismatches += 1
            fault: FetchError = error
            over = mismatches >= timers.mismatch_tries
            if not over:
                await intake.restart()
        except FetchError as error:
            failures = 1 if intake.received > before + _FURTHER_BYTES else failures + 1
            fault = error
            over = not error.temporary or failures >= timers.tries
        if over:
            await intake.abandon()
            raise fault
        pause_s = min(timers.retry_last_s, timers.retry_first_s * 2.0 ** (failures + mismatches - 1)) * random.uniform(0.5, 1)
        pause_s = max(pause_s, min(fault.retry_after_s, timers.retry_last_s))
        level = logging.WARNING if failures + mismatches == 1 else logging.DEBUG
        log.log(level, "update download interrupted by=%r cause=%r again_s=%.1f", intake.by, str(fault), pause_s)
        await asyncio.sleep(pause_s)


async def _attempt(want: Want, intake: Intake, transport: Transport, timers: Timers, note: Note) -> None:
    headers = range_headers(want, note, intake.received)
    async with transport.get(want, headers) as response:
        start, total = judge(response, want, note, intake.received if "Range" in headers else 0)
        if start and start == total:
            return
        if start == 0:
            if intake.received:
                log.info("update download begins anew by=%r received=%d", intake.by, intake.received)
                await intake.restart()
            note.clear()
            note.update(read_note(new_note(response, want)))
        else:
            log.info("update download resumed by=%r from_bytes=%d", intake.by, start)
        pace = Pace(timers)
        while data := await response.content.readany():
            now = time.monotonic()
            pace.received(len(data), now)
            await intake.write(data)
            pace.written(now)
        expected = total or intake.expected_bytes
        if expected is not None and intake.received < expected:
            raise FetchError("network", f"network: connection ended early ({want.name})")
