"""The fleet's own web server of updates: asked by somebody, or from time to time by the box itself."""

from __future__ import annotations

import asyncio
import importlib
import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from agent.media.wants import Timers, plain_url
from agent.settings.tables import Update
from agent.system import clock
from agent.system.logs import Trouble
from agent.system.state import State, StateError
from agent.update.errors import UnfitError, UpdateError
from agent.update.index import INDEX_BYTES, Offer, OfferError, choose, index_url, is_newer, parse_index
from agent.update.intake import Intake
from agent.update.refusals import Refusals, judge
from agent.update.release import Machine
from agent.update.schedule import QuietHours, Schedule

log = logging.getLogger(__name__)

BY = "the periodic check"
CHECKED_KEY, REFUSED_KEY = "update.checked", "update.refused"
HTTP = Timers()
PERIODS_S = {"6h": 6 * 3600.0, "1d": 86_400.0}

End = Literal["done", "failed", "later"]
"""Of a check: the source was asked; it could not be; there is an update, and the quiet hours are too near for it."""


class NothingNewError(UpdateError):
    """The source has nothing newer."""


@dataclass(frozen=True, slots=True)
class SourceTimers:
    """Seconds."""

    look_s: float = 600.0
    """The longest wait for the time of a check: clocks are set, and daylight saving comes and goes."""
    again_s: float = 3600.0
    """At most so long after a check that failed comes the next."""
    tries: int = 3
    """So many in one period."""


class Taker(Protocol):
    """What takes the bundles in (`agent.update.updates.Updates`)."""

    def begin(self, by: str, *, size: int | None, sha256: str | None, by_hand: bool = False) -> Intake:
        """Room for a bundle. Raises UpdateError."""

    async def rolled_back(self) -> list[str]:
        """The digests of versions that did not work here."""

    async def install(self, intake: Intake) -> str:
        """Installs what came. Raises UpdateError; UnfitError if the bundle is at fault."""

    def restart(self) -> None:
        """Ends the agent for the version that was installed."""


class Source:
    """`[update] source_url`, for a box that runs `version`."""

    def __init__(
        self,
        settings: Update,
        state: State,
        taker: Taker,
        *,
        serial: str,
        version: str,
        machine: Callable[[], Machine],
        timers: SourceTimers = SourceTimers(),
        http: Timers = HTTP,
    ) -> None:
        self._settings = settings
        self._state = state
        self._taker = taker
        self._serial = serial
        self._version = version
        self._machine = machine
        self._timers = timers
        self._http = http
        self._quiet = QuietHours.parse(settings.quiet_hours)
        self._schedule = Schedule(PERIODS_S.get(settings.check, PERIODS_S["1d"]), serial, self._quiet)
        self._judge = judge(version, settings.trusted_keys)
        self._trouble = Trouble(log)

    async def fetch(self, by: str, url: str, *, by_hand: bool) -> Intake:
        """The bundle at `url`, received whole. Raises UpdateError."""
        intake = self._taker.begin(by, size=None, sha256=None, by_hand=by_hand)
        log.info("update is fetched by=%r url=%s", by, plain_url(url))
        await self._fetch(url, intake, "")
        return intake

    async def newest(self, by: str, version: str | None, *, by_hand: bool) -> Intake:
        """The newest bundle that fits this box, or that of `version`, received whole. Raises UpdateError, NothingNewError."""
        offer = await self._find(version, frozenset() if by_hand else frozenset(await self._taker.rolled_back()))
        intake = self._taker.begin(by, size=offer.size, sha256=offer.sha256, by_hand=by_hand)
        log.info("update is fetched by=%r version=%s file=%s", by, offer.version, offer.file)
        await self._fetch(offer.url(index_url(self._settings.source_url)), intake, offer.sha256)
        return intake

    async def run(self) -> None:
        """Checks from time to time, for ever; returns at once if that is not configured."""
        if self._settings.check == "off" or not self._settings.source_url:
            return
        began = time.monotonic()
        failures = 0
        while True:
            wait_s: float = self._schedule.due_in_s(_now(), await self._checked_at(), time.monotonic() - began)
            if not self._knows_the_hour():
                wait_s = self._timers.look_s
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, self._timers.look_s))
                continue
            end = await self._check()
            if end == "later":
                failures = 0
                await asyncio.sleep(self._timers.look_s)
            elif end == "done" or failures + 1 >= self._timers.tries:
                failures = 0
                await self._note(CHECKED_KEY, time.time())
            else:
                failures += 1
                await asyncio.sleep(self._timers.again_s * random.uniform(0.5, 1.0))

    async def _check(self) -> End:
        """One check, and the update if there is one."""
        refusals = Refusals.from_json(await self._state.get(REFUSED_KEY))
        intake: Intake | None = None
        left_s = self._install_in_s()
        limit = asyncio.timeout(left_s if math.isfinite(left_s) else None)
        try:
            offer = await self._find(None, {*refusals.barred(self._judge, time.time()), *await self._taker.rolled_back()})
            intake = self._taker.begin(BY, size=offer.size, sha256=offer.sha256)
            log.info("update is fetched by=%r version=%s file=%s", BY, offer.version, offer.file)
            async with limit:
                await self._fetch(offer.url(index_url(self._settings.source_url)), intake, offer.sha256)
        except NothingNewError as nothing:
            self._trouble.over("updates can be looked for again")
            log.debug("no update cause=%s", nothing)
            return "done"
        except UpdateError as error:
            self._trouble.is_("updates cannot be looked for", error)
            return "failed"
        except Exception:
            if not limit.expired():
                log.exception("updates cannot be looked for")  # a box that shows pictures goes on showing them
                return "failed"
        self._trouble.over("updates can be looked for again")
        assert intake is not None
        if limit.expired() or not self._install_in_s():
            log.info("update is left for later: the quiet hours are too near version=%s", offer.version)
            await intake.abandon()
            return "later"
        try:
            await self._taker.install(intake)
        except UpdateError as error:  # told by whoever refused it
            at = None if isinstance(error, UnfitError) else time.time()
            await self._note(REFUSED_KEY, refusals.added(offer.sha256, self._judge, at).as_json())
            return "done"
        self._taker.restart()
        return "done"

    def _knows_the_hour(self) -> bool:
        """Without a clock that is set nobody knows whether these are quiet hours."""
        return clock.is_set() or not self._quiet.length_s

    def _install_in_s(self) -> float:
        """How long an installation may still be begun; 0: not now."""
        return self._schedule.install_in_s(_now()) if self._knows_the_hour() else 0.0

    async def _find(self, version: str | None, without: set[str] | frozenset[str]) -> Offer:
        """What to take. Raises UpdateError, NothingNewError."""
        source_url = self._settings.source_url
        if not source_url:
            raise UpdateError("there is no source of updates: set [update] source_url, or send a bundle")
        fetching = await asyncio.to_thread(importlib.import_module, "agent.update.fetch")
        text = await fetching.fetch_text(index_url(source_url), INDEX_BYTES, timers=self._http)
        try:
            offers = await asyncio.to_thread(parse_index, text)
        except OfferError as error:
            raise UpdateError(f"{error} ({plain_url(source_url)})") from None
        machine = await asyncio.to_thread(self._machine)
        offer = choose([offer for offer in offers if offer.sha256 not in without], machine, version)
        if version is not None:
            if offer is None:
                raise NothingNewError(f"the source of updates has no version {version[:64]!r} for this box")
            return offer
        if offer is None or not is_newer(offer.version, self._version):
            raise NothingNewError(f"there is nothing newer than {self._version} for this box")
        return offer

    async def _fetch(self, url: str, intake: Intake, sha256: str) -> None:
        fetching = await asyncio.to_thread(importlib.import_module, "agent.update.fetch")
        await fetching.fetch(url, intake, sha256=sha256, timers=self._http)

    async def _checked_at(self) -> datetime | None:
        kept = await self._state.get(CHECKED_KEY)
        try:
            return datetime.fromtimestamp(kept, UTC).astimezone() if isinstance(kept, int | float) and kept >= 0 else None
        except (ValueError, OverflowError, OSError):
            return None

    async def _note(self, key: str, value: object) -> None:
        try:
            await self._state.put(key, value, durable=False)
        except StateError as error:
            log.debug("check for updates is not remembered error=%s", error)


def _now() -> datetime:
    return datetime.now().astimezone()
