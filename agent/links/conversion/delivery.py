"""A completed job's output on its way into the store: complete, and known to open as media (conversion contract, section 3)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.links.backoff import Backoff
from agent.links.conversion.jobs import RowState
from agent.links.conversion.parts import Screen
from agent.links.conversion.rest import ConversionRest, NoOutputError, NoSuchJobError, NotCompletedError, Place
from agent.links.link import RefusedError, UnavailableError
from agent.media.store import MediaStore
from agent.media.wants import FetchError, Want, amount
from agent.screen.proxy import UnplayableFileError
from agent.system.logs import Trouble

log = logging.getLogger(__name__)

OnBytes = Callable[[int, int | None], None]


class GaveUpError(Exception):
    """The output will not come. `state` is what is to be remembered; None: it is tried again after the next start."""

    def __init__(self, sentence: str, state: RowState | None = None) -> None:
        super().__init__(sentence)
        self.state = state


@dataclass(frozen=True, slots=True)
class DeliveryTimers:
    """Seconds and counts."""

    missing_tries: int = 3
    """An output that is not there is asked for so often."""
    missing_s: float = 60.0
    """Between two of these; doubles: together longer than a server with its storage takes to start."""
    odd_tries: int = 3
    """Bytes that are not as many as announced are fetched so often."""
    restarts: int = 12
    """So often an output is begun anew from its first byte because it broke off."""
    renewals: int = 5
    """So many new addresses in a row without a byte more: it is not their age."""
    storage_s: float = 60.0
    """Before a full disk is tried again; doubles up to `storage_most_s`."""
    storage_most_s: float = 900.0
    probe_s: float = 5.0
    """Before a screen that could not open a file for a reason of its own is asked again."""
    probes: int = 5
    """So often is one asked that is up."""


@dataclass(slots=True)
class _Tries:
    """What has gone wrong with one output so far."""

    size_bytes: int | None
    """As announced."""
    missing: int = 0
    odd: int = 0
    renewals: int = 0
    storage: int = 0
    restarts: int = 0
    latest_bytes: int = 0
    received_bytes: int = 0
    """The farthest."""
    failed_at_bytes: int = 0
    renewed_at_bytes: int = -1


class Delivery:
    """Brings outputs here. At most `at_once` are asked for at a time; one that waits for another try holds up nobody."""

    def __init__(
        self,
        link: str,
        rest: ConversionRest,
        store: MediaStore,
        screen: Screen,
        *,
        connect_to: str = "",
        tls: ssl.SSLContext | None = None,
        at_once: int = 3,
        timers: DeliveryTimers = DeliveryTimers(),
    ) -> None:
        self._link = link
        self._rest = rest
        self._store = store
        self._screen = screen
        self._connect_to = connect_to
        self._tls = tls
        self._slots = asyncio.Semaphore(at_once)
        self._timers = timers
        self._kept: dict[str, Want] = {}
        self._direct = False
        """The server gives outputs itself, as far as is known: it need not be asked first where they are."""

    def want(self, job_id: str, title: str, size_bytes: int | None, place: Place | None = None) -> Want:
        """The output as the store knows it: by server and job, since its address changes."""
        direct = place is not None and not place.signed
        return Want(
            url="" if place is None else place.url,
            name=title,
            size_bytes=size_bytes,
            identity=f"conversion {self._rest.root} {job_id}",
            headers=self._rest.media_headers if direct else None,
            trusted_origin=self._rest.origin if direct else None,
            connect_to="" if place is None or direct else self._connect_to,
            expect="media",
            signed=place is not None and place.signed,
            tls=self._tls,
        )

    async def find(self, job_id: str, title: str, size_bytes: int | None) -> Path | None:
        """The output if it is in the store; there it stays until it is released."""
        self._keep(job_id, self.want(job_id, title, size_bytes))
        return await self._store.find(self.want(job_id, title, size_bytes))

    def release(self, job_id: str) -> None:
        """The output is no longer needed: it may be evicted."""
        self._keep(job_id, None)

    async def bring(
        self,
        job_id: str,
        title: str,
        size_bytes: int | None,
        *,
        on_bytes: OnBytes,
        on_trouble: Callable[[str], None],
    ) -> Path:
        """The verified output, however long it takes; it stays in the store until it is released.

        `on_trouble` is told why it takes longer. Raises GaveUpError.
        """
        tries, backoff, trouble = _Tries(size_bytes), Backoff(2.0), Trouble(log)
        self._keep(job_id, self.want(job_id, title, size_bytes))

        def received(count: int, total: int | None) -> None:
            tries.restarts += count < tries.latest_bytes
            tries.latest_bytes = count
            tries.received_bytes = max(tries.received_bytes, count)
            on_bytes(count, total)

        ask = False
        while True:
            self._require_room(tries.size_bytes)
            place: Place | None = None
            asked = ask or not self._direct
            try:
                async with self._slots:
                    place = await self._rest.place(job_id) if asked else self._rest.direct_place(job_id)
                    self._direct = not place.signed
                    path = await self._store.fetch(self.want(job_id, title, tries.size_bytes, place), on_bytes=received)
                await self._probe(path)
                trouble.over(f"output is here after all link={self._link} job={job_id}")
                return path
            except NotCompletedError:
                said, wait_s = "the server says that the output is not complete yet", backoff.wait_s()
            except NoOutputError:
                said, wait_s = "output missing on the server", self._after_missing(tries, "output missing on the server")
            except UnplayableFileError as error:
                self.release(job_id)
                await self._store.discard([self.want(job_id, title, size_bytes)])
                raise GaveUpError(f"output cannot be played: {error}", "unplayable") from None
            except RefusedError as error:
                said, wait_s = str(error), backoff.wait_s(refused=True)
            except UnavailableError as error:
                said, wait_s = str(error), backoff.wait_s()
            except FetchError as error:
                if error.cause == "http" and not asked:
                    self._direct, ask = False, True  # it may give addresses now, or have something to say
                    continue
                said = self._words(error, place)
                if tries.received_bytes > tries.failed_at_bytes:
                    backoff.lived(float("inf"))
                tries.failed_at_bytes = tries.received_bytes
                wait_s = self._after(error, tries, said, place, backoff)
                if error.cause == "size":
                    tries.size_bytes = await self._size(job_id, tries.size_bytes)
            if wait_s:
                on_trouble(said)
                trouble.is_("output not here yet, tried again", said, link=self._link, job=job_id, title=repr(title))
                await asyncio.sleep(wait_s)

    def _require_room(self, size_bytes: int | None) -> None:
        """Raises GaveUpError for what is too big for the store however much were evicted: nothing of it is asked for."""
        largest = self._store.largest_bytes()
        if size_bytes is not None and size_bytes > largest:
            raise GaveUpError(f"storage too small: {amount(size_bytes)} needed, but the store holds at most {amount(largest)}")

    def _after(self, error: FetchError, tries: _Tries, said: str, place: Place | None, backoff: Backoff) -> float:
        """Seconds until the next try. Raises GaveUpError."""
        if error.status in (401, 403) and place is not None and place.signed:
            return self._after_expiry(tries, said, backoff)
        if error.status in (404, 410) and error.content_type.endswith(("xml", "json")):  # a storage's word, not a proxy's
            return self._after_missing(tries, f"output missing on the server: {said}")
        if tries.restarts > self._timers.restarts:
            raise GaveUpError(f"it breaks off again and again: {said}")
        if error.cause == "size":
            return self._after_odd(tries, said)
        if error.cause == "stopped":
            return backoff.wait_s()
        if error.cause == "storage":
            tries.storage += 1
            tries.latest_bytes = 0  # nothing was kept, which is not the server's fault
            return min(self._timers.storage_most_s, self._timers.storage_s * 2.0 ** (tries.storage - 1))
        if not error.temporary and error.status is None:
            raise GaveUpError(said)
        return backoff.wait_s(refused=not error.temporary)

    def _after_expiry(self, tries: _Tries, said: str, backoff: Backoff) -> float:
        """A new address at once, unless the last one brought nothing either."""
        if tries.received_bytes > tries.renewed_at_bytes:
            tries.renewals = 0
        tries.renewed_at_bytes = tries.received_bytes
        tries.renewals += 1
        if tries.renewals > self._timers.renewals:
            raise GaveUpError(f"each new address is refused: {said}")
        return 0.0 if tries.renewals == 1 else backoff.wait_s()

    def _after_missing(self, tries: _Tries, sentence: str) -> float:
        tries.missing += 1
        if tries.missing >= self._timers.missing_tries:
            raise GaveUpError(sentence, "missing")
        return self._timers.missing_s * 2.0 ** (tries.missing - 1)

    def _after_odd(self, tries: _Tries, sentence: str) -> float:
        tries.odd += 1
        if tries.odd >= self._timers.odd_tries:
            raise GaveUpError(sentence)
        return self._timers.missing_s * 2.0 ** (tries.odd - 1)

    async def _size(self, job_id: str, size_bytes: int | None) -> int | None:
        """What REST says now: perhaps the job was done again."""
        try:
            return (await self._rest.job(job_id)).output_bytes or size_bytes
        except (NoSuchJobError, RefusedError, UnavailableError):
            return size_bytes

    def _keep(self, job_id: str, want: Want | None) -> None:
        if want is None:
            self._kept.pop(job_id, None)
        else:
            self._kept[job_id] = want
        self._store.keep(self._link, self._kept.values())

    async def _probe(self, path: Path) -> None:
        """Waits for a screen that is down. Raises UnplayableFileError; GaveUpError when a screen that is up cannot tell."""
        failures = 0
        while True:
            try:
                await self._screen.probe(path)
                return
            except UnplayableFileError:
                raise
            except RuntimeError as error:
                log.debug("output cannot be opened yet link=%s error=%s", self._link, error)
                failures += self._screen.up
                if failures >= self._timers.probes:
                    raise GaveUpError(f"it cannot be found out whether the output can be played: {error}") from None
            await self._pause_probing()

    async def _pause_probing(self) -> None:
        """A while; of a screen that is down, until it is up."""
        screen, changed = self._screen, asyncio.Event()
        was_up = screen.up
        screen.on_change(changed.set)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timers.probe_s):
                    while was_up or not screen.up:
                        changed.clear()
                        await changed.wait()
        finally:
            screen.off_change(changed.set)

    def _words(self, error: FetchError, place: Place | None) -> str:
        """The sentence, with what to do about a host that only the server's network knows."""
        if error.cause == "network" and place is not None and place.signed and not self._connect_to and not error.status:
            return f"{error}; if only the server's own network knows that host, set connect_to"
        return str(error)
