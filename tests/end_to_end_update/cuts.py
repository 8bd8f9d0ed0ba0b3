"""The power is cut while a box is being updated, at a chosen point or at any moment; what it is when it is on again."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.display import XServer
from tests.end_to_end_update.estate import DEVICE_ID, Estate, Ground, open_estate, put_release
from tests.end_to_end_update.trials import leftovers
from tests.end_to_end_update.versions import BadVersion
from tests.update.bundles import CHECKOUT, NEXT, RUNNING
from tests.update.cut import CUT, POINTS

UPDATE, AGENT, GUARD = "signage-agent-update.service", "signage-agent.service", "signage-agent-guard.service"


@dataclass(frozen=True)
class Outcome:
    """`first` is the version that started after the cut, `last` the one at which the box ended."""

    where: str
    first: str
    last: str
    faults: tuple[str, ...] = ()


def program(hand: str, number: int, points: Path) -> str:
    """The root hand or the guard with the plug pulled at that point; its points are written to `points` if it is not."""
    environment = f"{CUT}={number} {POINTS}={points} PYTHONPATH={CHECKOUT}"
    return f"/usr/bin/env {environment} {sys.executable} -m tests.update.cut {hand}"


def installer(number: int, points: Path) -> Mapping[str, Mapping[str, str | list[str]]]:
    """Overrides that pull the plug in the root hand."""
    return {UPDATE: {"ExecStart": program("install", number, points)}}


def guard(number: int, points: Path, opt: str = "/opt/signage-agent") -> Mapping[str, Mapping[str, str | list[str]]]:
    """Overrides that pull the plug in the guard, before a start or by its timer."""
    before = [f"-+{program('guard', number, points)} before-start", f"-{opt}/start-delay"]
    return {AGENT: {"ExecStartPre": before}, GUARD: {"ExecStart": f"{program('guard', number, points)} check"}}


async def cut_installer(ground: Ground, screen: XServer, number: int, *, where: str = "") -> Outcome:
    """A good version; the power is cut at this point of the root hand. 0: nowhere."""
    image = await asyncio.to_thread(ground.maker.bundle)
    points = ground.folder / "points"
    async with open_estate(ground, screen, overrides=installer(number, points)) as estate:
        await estate.start()
        await estate.server.offer_firmware(DEVICE_ID, image, 2)
        if number:
            await estate.systemd.wait_for(lambda: UPDATE in estate.systemd.died)
            await _off_and_on(estate)
        first = await _started(estate) if number else RUNNING
        # What came over the socket was promised: it is installed after the power has come back.
        await estate.greets_as(NEXT)
        await estate.shows_picture()
        return _outcome(estate, where, first, NEXT, image)


async def cut_guard(ground: Ground, screen: XServer, bad: BadVersion, number: int, *, where: str = "") -> Outcome:
    """A bad version; the power is cut at this point of one of the guard's runs."""
    image = await asyncio.to_thread(ground.maker.bundle, NEXT, bad.changes)
    digest = hashlib.sha256(image).hexdigest()
    overrides = guard(number, ground.folder / "points")
    async with open_estate(ground, screen, overrides=overrides, probation_s=bad.probation_s) as estate:
        await estate.start()
        await asyncio.to_thread(put_release, ground, NEXT, digest, bad.changes)
        await estate.server.offer_firmware(DEVICE_ID, image, 2)
        await estate.systemd.wait_for(lambda: estate.systemd.died)
        await _off_and_on(estate)
        first = await _started(estate)
        await estate.result(digest)
        await estate.until(lambda: estate.releases.current() == RUNNING and estate.speaker.live, "the old version")
        await estate.shows_picture()
        return _outcome(estate, where, first, RUNNING, image)


async def cut_any_time(ground: Ground, screen: XServer, after_s: list[float]) -> Outcome:
    """A good version; the power is cut so long after the bundle has come, and again after the start.

    Not more often than twice: the root hand gives up a bundle with which it has begun three times.
    """
    image = await asyncio.to_thread(ground.maker.bundle)
    async with open_estate(ground, screen) as estate:
        await estate.start()
        await estate.server.offer_firmware(DEVICE_ID, image, 2)
        await estate.until(lambda: "waits to be installed" in estate.journal, "the bundle")
        first = ""
        for seconds in after_s:
            await asyncio.sleep(seconds)
            await _off_and_on(estate)
            first = await _started(estate)
        await estate.greets_as(NEXT)
        await estate.shows_picture()
        return _outcome(estate, f"after {after_s}", first, NEXT, image)


async def _off_and_on(estate: Estate) -> None:
    """As if the plug was pulled and put back; nothing pulls it again."""
    await estate.systemd.cut()
    for unit in (UPDATE, AGENT, GUARD):
        for key in ("ExecStart", "ExecStartPre"):
            estate.systemd.overrides.get(unit, {}).pop(key, None)
    await estate.systemd.boot()


async def _started(estate: Estate) -> str:
    """The version that the box starts first in this boot."""

    def said() -> str:
        lines = [one.text for one in estate.systemd.journal if one.boot == estate.systemd.boots]
        return next((line.rpartition("=")[2] for line in lines if "signage-agent starts version=" in line), "")

    def current() -> str:
        # One that ends before it says anything is known by what the guard has said of it.
        lines = [one.text for one in estate.systemd.journal if one.boot == estate.systemd.boots and one.unit == AGENT]
        return said() or next((line.split("version=")[1].split()[0] for line in lines if "on probation starts" in line), "")

    return str(await estate.until(current, "a start"))


def _outcome(estate: Estate, where: str, first: str, wanted: str, image: bytes) -> Outcome:
    faults = leftovers(estate)
    last = estate.releases.current()
    if first not in {RUNNING, NEXT}:
        faults.append(f"{first} started")
    if last != wanted:
        faults.append(f"{wanted} was to run")
    if wanted == NEXT and estate.releases.digest(NEXT) != hashlib.sha256(image).hexdigest():
        faults.append("the release is not that of the bundle")
    return Outcome(where, first, last, tuple(faults))
