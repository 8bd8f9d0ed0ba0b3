"""A fleet's own source of updates: a real web server with a list and bundles."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.media.wants import Timers
from agent.settings.tables import Update
from agent.system.state import State
from agent.update.errors import UnfitError
from agent.update.intake import Intake, UpdateError
from agent.update.refusals import PASSING_S
from agent.update.release import Machine
from agent.update.schedule import Schedule
from agent.update.source import BY, NothingNewError, Source, SourceTimers
from tests.media.origin import Origin, sha256
from tests.update.roothand import until
from tests.update.test_fetch import sealed

HTTP = Timers(response_s=2.0, stall_s=1.0, tries=1)
QUICK = SourceTimers(look_s=0.02, again_s=0.02, tries=3)
RUNNING = "1.0.0"


@dataclass
class Taker:
    """What takes the bundles in."""

    folder: Path
    refusal: str = ""
    passes: bool = False
    """The refusal is not the bundle's fault."""
    back: list[str] = field(default_factory=list)
    begun: list[dict[str, Any]] = field(default_factory=list)
    installed: list[bytes] = field(default_factory=list)
    restarts: int = 0

    def begin(self, by: str, *, size: int | None, sha256: str | None, by_hand: bool = False) -> Intake:
        self.begun.append({"by": by, "size": size, "sha256": sha256, "by_hand": by_hand})
        return Intake(self.folder / "incoming", by, size=size, sha256=sha256, by_hand=by_hand, on_change=lambda: None)

    async def rolled_back(self) -> list[str]:
        return self.back

    async def install(self, intake: Intake) -> str:
        await intake.finish()
        self.installed.append(intake.path.read_bytes())
        await intake.abandon()
        if self.refusal:
            raise (UpdateError if self.passes else UnfitError)(self.refusal)
        return "1.1.0"

    def restart(self) -> None:
        self.restarts += 1


class Fleet:
    """The source, and a box that asks it."""

    def __init__(self, folder: Path, origin: Origin, state: State) -> None:
        self.folder = folder
        self.origin = origin
        self.state = state
        self.taker = Taker(folder)

    def offer(self, *versions: str) -> None:
        """What is in the list from now on."""
        bundles = []
        for version in versions:
            body = sealed(20_000, seed=hash(version) % 1000)
            name = f"agent-{version}.bundle"
            self.origin.put(f"/updates/{name}", body)
            entry = {"architecture": "any", "python": "3.11", "camera": False, "file": name, "size": len(body)}
            bundles.append({"version": version, "sha256": sha256(body), **entry})
        self.origin.put("/updates/index.json", json.dumps({"format": 1, "bundles": bundles}).encode())

    def digest(self, version: str) -> str:
        """Of the bundle."""
        return sha256(self.origin.files[f"/updates/agent-{version}.bundle"].body)

    def source(self, **settings: Any) -> Source:
        """As configured."""
        keys = {"source_url": f"{self.origin.url}/updates/", **settings}
        machine = Machine("aarch64", "3.11", camera=False)
        return Source(
            Update(**keys),
            self.state,
            self.taker,
            serial="BOX-1",
            version=RUNNING,
            machine=lambda: machine,
            timers=QUICK,
            http=HTTP,
        )

    def left(self) -> list[str]:
        """What came of bundles."""
        return [path.name for path in (self.folder / "incoming").glob("*")]

    def asked(self) -> int:
        """How often for the list."""
        return sum(request.path.endswith(".json") for request in self.origin.requests)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    origin = Origin()
    await origin.start()
    state = await State.open(tmp_path / "state.db")
    yield Fleet(tmp_path, origin, state)
    await state.close()
    await origin.stop()


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The answers of the schedule to the next questions; then the next check is far away."""
    answers: list[int] = []
    monkeypatch.setattr(Schedule, "due_in_s", lambda *_: answers.pop(0) if answers else 3600)
    return answers


async def test_the_newest(fleet: Fleet) -> None:
    """What is newest is fetched whole, with the size and digest of the list."""
    fleet.offer("1.1.0", "1.3.0", "1.2.0")
    intake = await fleet.source().newest("main", None, by_hand=False)
    assert await intake.finish() == fleet.digest("1.3.0")
    assert fleet.taker.begun == [{"by": "main", "size": 20_000, "sha256": fleet.digest("1.3.0"), "by_hand": False}]


async def test_just_that_version(fleet: Fleet) -> None:
    """One that is asked for by a server, or the sentence that it is not there."""
    fleet.offer("1.1.0", "1.3.0")
    intake = await fleet.source().newest("main", "1.1.0", by_hand=False)
    assert await intake.finish() == fleet.digest("1.1.0")
    with pytest.raises(UpdateError, match=r"no version '9\.9'"):
        await fleet.source().newest("main", "9.9", by_hand=False)


async def test_nothing_newer(fleet: Fleet) -> None:
    """Said so; also if the only newer one was taken back here, unless somebody at the box asks."""
    fleet.offer(RUNNING, "0.9")
    with pytest.raises(NothingNewError, match=f"nothing newer than {RUNNING}"):
        await fleet.source().newest("main", None, by_hand=False)
    fleet.offer("1.1.0")
    fleet.taker.back = [fleet.digest("1.1.0")]
    with pytest.raises(NothingNewError):
        await fleet.source().newest("main", None, by_hand=False)
    assert await (await fleet.source().newest("hand", None, by_hand=True)).finish() == fleet.digest("1.1.0")


async def test_no_source(fleet: Fleet) -> None:
    """The setting that is missing is named."""
    with pytest.raises(UpdateError, match="source_url"):
        await fleet.source(source_url="").newest("main", None, by_hand=False)


async def test_what_is_no_list(fleet: Fleet) -> None:
    """One sentence, without what may be secret in the address."""
    fleet.origin.put("/updates/index.json", b"<html>")
    with pytest.raises(UpdateError, match="not JSON"):
        await fleet.source().newest("main", None, by_hand=False)


async def test_a_bundle_by_its_address(fleet: Fleet) -> None:
    """Without a list."""
    fleet.offer("1.1.0")
    intake = await fleet.source().fetch("hand", f"{fleet.origin.url}/updates/agent-1.1.0.bundle", by_hand=True)
    assert await intake.finish() == fleet.digest("1.1.0")


@pytest.mark.parametrize("settings", [{"check": "off"}, {"check": "1d", "source_url": ""}])
async def test_off_by_default(fleet: Fleet, settings: dict[str, Any]) -> None:
    """Nothing is asked."""
    async with asyncio.timeout(5):
        await fleet.source(**settings).run()
    assert fleet.origin.requests == []


async def run(fleet: Fleet, done: Any, **settings: Any) -> None:
    """The periodic check until `done`."""
    task = asyncio.create_task(fleet.source(check="1d", **settings).run())
    try:
        await until(done)
    finally:
        task.cancel()
        await asyncio.wait({task})


async def check(fleet: Fleet, due: list[int]) -> None:
    """One periodic check, to its end."""
    before = await fleet.state.get("update.checked")
    due.append(0)
    task = asyncio.create_task(fleet.source(check="1d").run())
    async with asyncio.timeout(20):
        while await fleet.state.get("update.checked") == before:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})


async def test_the_periodic_check(fleet: Fleet, due: list[int]) -> None:
    """A newer version is installed and the agent restarted; the check is remembered."""
    fleet.offer("1.1.0")
    due.append(0)
    await run(fleet, lambda: fleet.taker.restarts)
    assert [sha256(body) for body in fleet.taker.installed] == [fleet.digest("1.1.0")]
    assert fleet.taker.begun[0]["by"] == BY
    assert fleet.taker.begun[0]["by_hand"] is False


async def test_a_check_that_finds_nothing(fleet: Fleet, due: list[int]) -> None:
    """Is a check: remembered, and nothing is fetched."""
    fleet.offer(RUNNING)
    due.append(0)
    await run(fleet, lambda: not due and fleet.asked())
    task = asyncio.create_task(fleet.source(check="1d").run())
    await asyncio.sleep(0.1)
    task.cancel()
    assert fleet.asked() == 1
    assert fleet.taker.begun == []


async def test_a_source_that_cannot_be_asked(fleet: Fleet, due: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """Is tried a few times, warned of once, and left until the next period."""
    caplog.set_level(logging.DEBUG)
    due.extend([0] * QUICK.tries)
    await run(fleet, lambda: fleet.asked() == QUICK.tries)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "updates cannot be looked for" in warnings[0].message


async def test_a_bundle_that_is_refused_is_not_fetched_again(fleet: Fleet, due: list[int]) -> None:
    """By this version; a later one in the list is."""
    fleet.offer("1.1.0")
    fleet.taker.refusal = "the signature is wrong"
    due.extend([0, 0])
    await run(fleet, lambda: fleet.asked() == 2)
    assert len(fleet.taker.installed) == 1
    fleet.offer("1.1.0", "1.2.0")
    due.append(0)
    await run(fleet, lambda: len(fleet.taker.installed) == 2)
    assert sha256(fleet.taker.installed[1]) == fleet.digest("1.2.0")
    assert fleet.taker.restarts == 0


async def test_a_refusal_that_is_not_the_bundles_fault_is_forgotten(
    fleet: Fleet, due: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle for which there was no room is fetched again when a day has gone by, no sooner; a bad one never."""
    later_s = 0.0
    real = time.time
    monkeypatch.setattr("agent.update.source.time.time", lambda: real() + later_s)
    fleet.offer("1.1.0")
    fleet.taker.refusal, fleet.taker.passes = "it needs 240 MB of free disk space", True
    for count, seconds in ((1, 0.0), (1, PASSING_S / 2), (2, PASSING_S + 60.0)):
        later_s, fleet.taker.passes = seconds, count == 1
        await check(fleet, due)
        assert len(fleet.taker.installed) == count
    later_s = 99 * PASSING_S
    await check(fleet, due)
    assert len(fleet.taker.installed) == 2


QUIET = {"quiet_hours": "08:00-22:00"}


@pytest.fixture
def last_orders(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long an installation may be begun, at the next questions; then for ever."""
    answers: list[float] = []
    monkeypatch.setattr("agent.update.source.clock.is_set", lambda: True)
    monkeypatch.setattr(Schedule, "install_in_s", lambda *_: answers.pop(0) if answers else math.inf)
    return answers


async def test_quiet_hours_that_begin_while_it_is_fetched(fleet: Fleet, due: list[int], last_orders: list[float]) -> None:
    """The screen is left alone; it is no check: the bundle is fetched again another time, and installed then."""
    fleet.offer("1.1.0")
    due.extend([0, 3600, 0])
    last_orders.extend([60.0, 0.0])
    await run(fleet, lambda: fleet.taker.begun and not due[1:], **QUIET)
    assert fleet.taker.installed == []
    assert fleet.left() == []
    assert await fleet.state.get("update.checked") is None
    await run(fleet, lambda: fleet.taker.restarts, **QUIET)
    assert len(fleet.taker.begun) == 2


async def test_a_download_that_takes_too_long_for_the_quiet_hours(
    fleet: Fleet, due: list[int], last_orders: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """It ends when it could not be installed any more, and does not fill the line in the quiet hours."""
    caplog.set_level(logging.INFO)
    fleet.offer("1.1.0")
    path = "/updates/agent-1.1.0.bundle"
    fleet.origin.put(path, fleet.origin.files[path].body, piece_bytes=100, pause_s=0.1)
    due.append(0)
    last_orders.append(0.5)
    await run(fleet, lambda: any("left for later" in record.message for record in caplog.records), **QUIET)
    await until(lambda: not fleet.left())
    assert fleet.taker.installed == []
    assert await fleet.state.get("update.checked") is None


async def test_whoever_asks_need_not_heed_the_quiet_hours(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the box or on a server; nor must the clock be set."""
    monkeypatch.setattr("agent.update.source.clock.is_set", lambda: False)
    monkeypatch.setattr("agent.update.schedule.QuietHours.left_s", lambda *_: 60.0)
    fleet.offer("1.1.0")
    for by_hand in (True, False):
        intake = await fleet.source(check="1d", **QUIET).newest("somebody", None, by_hand=by_hand)
        assert await intake.finish() == fleet.digest("1.1.0")
        await intake.abandon()


async def test_a_clock_that_is_lost_while_it_is_fetched(fleet: Fleet, due: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows any more whether these are quiet hours: nothing is installed."""
    answers = [True, True]
    monkeypatch.setattr("agent.update.source.clock.is_set", lambda: bool(answers and answers.pop()))
    monkeypatch.setattr(Schedule, "install_in_s", lambda *_: math.inf)
    fleet.offer("1.1.0")
    due.append(0)
    await run(fleet, lambda: fleet.taker.begun and not fleet.left(), **QUIET)
    assert fleet.taker.installed == []


async def test_a_clock_that_is_not_set(fleet: Fleet, due: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """With quiet hours nobody knows whether they are now: no check."""
    monkeypatch.setattr("agent.update.source.clock.is_set", lambda: False)
    fleet.offer("1.1.0")
    due.extend([0] * 5)
    await run(fleet, lambda: not due, quiet_hours="08:00-22:00")
    assert fleet.origin.requests == []
