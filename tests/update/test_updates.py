"""Updates from the first byte to the restart, with a real state, real bundles and a stand-in for the root side."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.settings.tables import Update
from agent.system.state import State
from agent.update.errors import UnfitError
from agent.update.handover import Handover, hand_over
from agent.update.manifest import BUNDLE_BYTES
from agent.update.pace import Limits
from agent.update.probation import ScreenNow
from agent.update.release import Release
from agent.update.rootside import RootTimers
from agent.update.slots import ROOT, STATE_DIR
from agent.update.updates import UpdateError, Updates
from tests.update import bundles
from tests.update.bundles import NEXT
from tests.update.roothand import AT, RootHand, until

QUICK = RootTimers(look_s=0.01, install_s=30.0, working_s=60.0, vanished_s=0.1, restart_s=0.05)


@dataclass
class Server:
    """A link."""

    name: str = "main"
    state: str = "connected"


class Box:
    """One daemon's updates after the other, on one disk."""

    def __init__(self, folder: Path, hand: RootHand, keys: list[str]) -> None:
        self.folder = folder
        self.hand = hand
        self.keys = keys
        self.screens = {"front": ScreenNow(usable=True, up=True, shows=True, plays_list=True)}
        self.link = Server()
        self.restarts = 0
        self.updates: Updates
        self.state: State
        self._task: asyncio.Task[None] | None = None

    async def start(self, **keywords: Any) -> Updates:
        """A start of the release that is current."""
        self.state = await State.open(self.folder / "state.db")
        arguments: dict[str, Any] = {
            "state_dir": self.hand.state_dir,
            "serial": "BOX-1",
            "screens": lambda: self.screens,
            "release": self.hand.running(),
            "timers": QUICK,
            **keywords,
        }
        self.updates = await Updates.load(Update(trusted_keys=self.keys), self.state, **arguments)
        self.updates.bind(lambda: [self.link], self._restart)
        self._task = asyncio.create_task(self.updates.run(), name="updates")
        return self.updates

    async def stop(self) -> None:
        """The daemon ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            assert self._task.cancelled() or self._task.exception() is None
            await self.state.close()
            self._task = None

    def _restart(self) -> None:
        self.restarts += 1


@pytest.fixture
async def box(tmp_path: Path, key: Ed25519PrivateKey) -> AsyncIterator[Box]:
    box = Box(tmp_path, RootHand(tmp_path), [bundles.trusted(key)])
    yield box
    await box.stop()


@pytest.fixture
def digest(bundle: bytes) -> str:
    return hashlib.sha256(bundle).hexdigest()


async def send(updates: Updates, data: bytes, by: str = "main", **keywords: Any) -> str:
    """Sends `data` in the pieces that servers send."""
    intake = updates.begin(by, **keywords)
    for at in range(0, len(data), 2048):
        await intake.write(data[at : at + 2048])
    return await updates.install(intake)


async def refusal(work: Awaitable[object]) -> UpdateError:
    with pytest.raises(UpdateError) as caught:
        await work
    return caught.value


# The whole way


@pytest.mark.parametrize("announced", [True, False])
async def test_installed(box: Box, bundle: bytes, digest: str, announced: bool) -> None:
    """A bundle, with or without its size announced, reaches the root side; after the switch the daemon is ended once."""
    updates = await box.start()
    keywords: dict[str, Any] = {"size": len(bundle), "sha256": digest.upper()} if announced else {}
    _, version = await asyncio.gather(box.hand.takes(digest), send(updates, bundle, **keywords))
    assert version == NEXT
    assert updates.status()["state"] == "restarting"
    assert updates.status()["candidate"] == {"version": NEXT, "state": "installed"}
    assert updates.busy
    assert await box.state.get("update.before") == {"screens": {"front": True}, "links": ["main"]}
    updates.restart()
    updates.restart()
    await asyncio.sleep(QUICK.restart_s * 2)
    assert box.restarts == 1
    assert box.hand.left() == []


async def test_what_is_handed_over(box: Box, bundle: bytes, digest: str) -> None:
    """The bundle waits whole under the beginning of its digest, marked if somebody at the box wanted it."""
    updates = await box.start()
    installing = asyncio.create_task(send(updates, bundle, "the command line", by_hand=True))
    drop = await box.hand.comes()
    assert drop.name == f"{digest[:16]}.by-hand.bundle"
    assert drop.read_bytes() == bundle
    await until(lambda: updates.status()["candidate"])
    candidate = updates.status()["candidate"]
    assert (candidate["version"], candidate["state"], candidate["by"]) == (NEXT, "waiting to be installed", "the command line")
    installing.cancel()


async def test_a_nudge_is_enough(box: Box, bundle: bytes, digest: str) -> None:
    """With a root side that says when it is done nobody waits for the next look."""
    updates = await box.start(timers=replace(QUICK, look_s=3600.0))
    installing = asyncio.create_task(send(updates, bundle))
    await box.hand.takes(digest)
    updates.look()
    async with asyncio.timeout(10):
        assert await installing == NEXT


async def test_it_restarts_though_nobody_asks(box: Box, bundle: bytes, digest: str) -> None:
    """A server that goes while the version is installed, or never takes the answer, does not keep the box from restarting."""
    updates = await box.start()
    installing = asyncio.create_task(send(updates, bundle))
    await box.hand.comes()
    installing.cancel()
    await box.hand.takes(digest)
    await until(lambda: box.restarts == 1)


async def test_what_worked_at_the_handover_is_not_forgotten(box: Box, bundle: bytes, digest: str) -> None:
    """A server that closes the socket after the bundle, and a screen that fails at the switch, are asked of the new version."""
    updates = await box.start()
    installing = asyncio.create_task(send(updates, bundle))
    await box.hand.comes()
    box.link.state = "connecting"
    box.screens = {"front": ScreenNow(usable=True, up=False), "rear": ScreenNow(usable=True, up=True)}
    await box.hand.takes(digest)
    assert await installing == NEXT
    assert await box.state.get("update.before") == {"screens": {"front": True, "rear": False}, "links": ["main"]}


async def test_what_worked_before_a_restart_in_the_midst(box: Box, bundle: bytes, digest: str) -> None:
    """A daemon that has just started, and shows nothing yet, keeps what the one before it has written down."""
    installing = asyncio.create_task(send(await box.start(), bundle))
    await box.hand.comes()
    await box.stop()
    installing.cancel()
    box.screens, box.link.state = {"front": ScreenNow(usable=True, up=False)}, "connecting"
    await box.start()
    await box.hand.takes(digest)
    await until(lambda: box.restarts == 1)
    assert await box.state.get("update.before") == {"screens": {"front": True}, "links": ["main"]}


async def test_what_worked_before_another_update_is_forgotten(box: Box, bundle: bytes, digest: str) -> None:
    """A handover begins anew."""
    updates = await box.start()
    await box.state.put("update.before", {"screens": {"gone": True}, "links": ["gone"]})
    await asyncio.gather(box.hand.takes(digest), send(updates, bundle))
    assert await box.state.get("update.before") == {"screens": {"front": True}, "links": ["main"]}


async def test_a_switch_by_other_ways_begins_anew(box: Box, digest: str) -> None:
    """What worked before an earlier update says nothing of this one."""
    updates = await box.start()
    await box.state.put("update.before", {"screens": {"gone": True}, "links": ["gone"]})
    box.hand.add(NEXT, digest)
    box.hand.decide(digest)
    box.hand.releases.switch(NEXT)
    updates.look()
    await until(lambda: box.restarts == 1)
    assert await box.state.get("update.before") == {"screens": {"front": True}, "links": ["main"]}


async def test_cancelled_while_it_is_handed_over(box: Box, bundle: bytes, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the very moment: the bundle is the root side's, and the daemon knows."""
    updates = await box.start()
    reached, released = threading.Event(), threading.Event()

    def slowly(part: Path, handover: Handover) -> None:
        reached.set()
        released.wait(10)
        hand_over(part, handover)

    monkeypatch.setattr("agent.update.rootside.handing.hand_over", slowly)
    installing = asyncio.create_task(send(updates, bundle))
    await until(reached.is_set)
    installing.cancel()
    released.set()
    await asyncio.wait({installing})
    assert installing.cancelled()
    assert updates.busy
    await box.hand.takes(digest)
    await until(lambda: box.restarts == 1)


# Refusals


async def test_refused_by_the_root_side(box: Box, bundle: bytes) -> None:
    """Its reason is told; the box is free for the next bundle."""
    updates = await box.start()
    _, error = await asyncio.gather(
        box.hand.refuses("the package libgpiod2 is missing"), refusal(send(updates, bundle, size=len(bundle)))
    )
    assert str(error) == "the package libgpiod2 is missing"
    assert error.status == "error"
    assert not isinstance(error, UnfitError), "the package may be there tomorrow"
    assert not updates.busy
    assert updates.status()["last_result"]["result"] == "refused"
    assert updates.status()["last_result"]["cause"] == "the package libgpiod2 is missing"
    assert await updates.report("main") is None
    assert box.restarts == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:-1], "bytes came instead of"),
        (lambda data: data + b"x", "more bytes came than"),
        (lambda data: b"GIF89a" + data[6:], "not a bundle"),
        (lambda data: data[:5], "no update bundle"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "signature"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "damaged"),
    ],
)
async def test_a_bundle_that_is_not_as_it_should_be(
    box: Box, bundle: bytes, change: Callable[[bytes], bytes], sentence: str
) -> None:
    """One sentence, nothing left on the disk, and the next update is taken."""
    updates = await box.start()
    error = await refusal(send(updates, change(bundle)))
    assert sentence in str(error)
    assert "\n" not in str(error)
    assert box.hand.left() == []
    assert not updates.busy
    updates.begin("main")


async def test_a_key_that_is_not_trusted(box: Box, tmp_path: Path, stranger: Ed25519PrivateKey) -> None:
    """Whoever signed it must be known."""
    updates = await box.start()
    other = bundles.make_bundle(tmp_path / "other.bundle", stranger).read_bytes()
    error = await refusal(send(updates, other))
    assert "key" in str(error)
    assert isinstance(error, UnfitError)
    assert box.hand.left() == []
    assert updates.status()["last_result"]["result"] == "refused"


async def test_a_digest_that_is_not_the_announced_one(box: Box, bundle: bytes) -> None:
    """Both are named."""
    updates = await box.start()
    assert "SHA-256" in str(await refusal(send(updates, bundle, size=len(bundle), sha256="0" * 64)))
    assert box.hand.left() == []


@pytest.mark.parametrize("size", [0, -1, 16, BUNDLE_BYTES + 1, 10**30])
async def test_sizes_that_no_bundle_has(box: Box, size: int) -> None:
    """Refused before the first byte."""
    updates = await box.start()
    with pytest.raises(UpdateError, match="bytes"):
        updates.begin("main", size=size)
    assert not updates.busy


async def test_a_digest_that_is_none(box: Box) -> None:
    """Refused before the first byte."""
    updates = await box.start()
    with pytest.raises(UpdateError, match="64 hex digits"):
        updates.begin("main", size=1000, sha256="abc")


async def test_more_than_the_disk_has(box: Box, bundle: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused when it is announced, and with a bundle that announces nothing when it says how long it is."""
    updates = await box.start()
    real = os.statvfs(box.folder)
    full = os.statvfs_result([*real[:3], 0, 16 * 1024 * 1024 // real.f_frsize, *real[5:]])
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(UpdateError, match="no room"):
        updates.begin("main", size=len(bundle))
    assert "no room" in str(await refusal(send(updates, bundle)))
    assert box.hand.left() == []


async def test_a_disk_that_becomes_full(box: Box, bundle: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in words; the part is gone."""
    updates = await box.start()
    intake = updates.begin("main", size=len(bundle))
    await intake.write(bundle[:1000])
    assert box.hand.left() != []

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("agent.update.intake.os.write", write)
        with pytest.raises(UpdateError, match="disk is full"):
            await intake.write(bundle[1000:])
    assert box.hand.left() == []
    assert not updates.busy


async def test_one_at_a_time(box: Box, bundle: bytes, digest: str) -> None:
    """While one is received or installed every other is told that the device is busy."""
    updates = await box.start()
    intake = updates.begin("main", size=len(bundle))
    with pytest.raises(UpdateError, match="from main") as first:
        updates.begin("other")
    await intake.write(bundle)
    assert updates.status()["received_bytes"] == updates.status()["total_bytes"] == len(bundle)
    installing = asyncio.create_task(updates.install(intake))
    await box.hand.comes()
    with pytest.raises(UpdateError, match=NEXT) as second:
        updates.begin("other")
    assert first.value.status == second.value.status == "device_busy"
    await box.hand.takes(digest)
    await installing
    with pytest.raises(UpdateError, match="about to start"):
        updates.begin("other")


async def test_abandoned(box: Box, bundle: bytes) -> None:
    """A transfer that is given up leaves nothing, once or twice, and cannot be gone on with."""
    updates = await box.start()
    intake = updates.begin("main", size=len(bundle))
    await intake.write(bundle[:5000])
    await intake.abandon()
    await intake.abandon()
    assert box.hand.left() == []
    assert not updates.busy
    with pytest.raises(UpdateError):
        await intake.write(bundle[5000:])
    with pytest.raises(UpdateError):
        await updates.install(intake)


async def test_nothing_comes_any_more(box: Box, bundle: bytes) -> None:
    """A transfer that whoever began it has forgotten does not keep others from theirs."""
    updates = await box.start(limits=Limits(idle_s=0.05))
    intake = updates.begin("main", size=len(bundle))
    await intake.write(bundle[:100])
    await until(lambda: not updates.busy and not box.hand.left())
    assert "nothing more" in str(await refusal(intake.write(bundle[100:])))


@pytest.mark.parametrize(("limits", "cause"), [(Limits(slow_s=0.3), "too slowly"), (Limits(total_s=0.3), "did not come within")])
async def test_a_slow_sender(box: Box, bundle: bytes, limits: Limits, cause: str) -> None:
    """One that sends a byte now and then does not keep others from theirs, and is told why it is cut off."""
    updates = await box.start(limits=limits)
    intake = updates.begin("slow", size=len(bundle))

    async def trickle() -> None:
        for at in range(len(bundle)):
            await intake.write(bundle[at : at + 1])
            await asyncio.sleep(0.01)

    assert cause in str(await refusal(trickle()))
    assert box.hand.left() == []
    updates.begin("main", size=len(bundle))


async def test_taken_back_before(box: Box, bundle: bytes, digest: str) -> None:
    """A bundle that did not work here is refused, unless somebody at the box wants it."""
    box.hand.store(replace(box.hand.record.load(), rolled_back=(digest,)))
    updates = await box.start()
    assert "taken back" in str(await refusal(send(updates, bundle)))
    version, _ = await asyncio.gather(send(updates, bundle, by_hand=True), box.hand.takes(digest))
    assert version == NEXT


async def test_a_checkout_cannot_be_updated(box: Box) -> None:
    """It says why, and runs."""
    updates = await box.start(release=None)
    with pytest.raises(UpdateError, match=r"scripts/install"):
        updates.begin("main")
    assert updates.status() == {"version": bundles.RUNNING, "state": "idle", "candidate": None, "last_result": None}
    assert await updates.report("main") is None


async def test_a_state_where_nobody_looks_for_updates(box: Box, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Updates are refused before the first byte, not after a quarter of an hour; none is looked for."""
    settings = Update(trusted_keys=box.keys, source_url="http://127.0.0.1:9/", check="1d")
    for state_dir, refused in ((tmp_path / "elsewhere", True), (STATE_DIR, False)):
        state = await State.open(tmp_path / "other.db")
        release = Release(ROOT, bundles.RUNNING)
        arguments: dict[str, Any] = {"state_dir": state_dir, "serial": "BOX-1", "screens": dict, "release": release}
        updates = Updates(settings, state, **arguments)
        if refused:
            with pytest.raises(UpdateError, match=f"looked for in {STATE_DIR}, and .* is {state_dir}") as caught:
                updates.check_free()
            assert caught.value.status == "error"
            running = asyncio.create_task(updates.run())
            await until(lambda: any("not looked for" in record.message for record in caplog.records))
            running.cancel()
            await asyncio.wait({running})
        else:
            updates.check_free()
        await state.close()


async def test_no_key(box: Box) -> None:
    """Without a trusted key every bundle is refused, with the setting that is missing."""
    box.keys = []
    updates = await box.start()
    with pytest.raises(UpdateError, match="trusted_keys"):
        updates.begin("main")


# What a restart finds


async def test_parts_are_swept(box: Box, bundle: bytes) -> None:
    """What had not come whole when the power went is gone after the start."""
    updates = await box.start()
    await updates.begin("main", size=len(bundle)).write(bundle[:3000])
    assert box.hand.left() != []
    await box.stop()
    await box.start()
    assert box.hand.left() == []


async def test_a_bundle_that_waits_over_a_restart(box: Box, bundle: bytes, digest: str) -> None:
    """It is known by its version, others have to wait, and after the switch the daemon restarts by itself."""
    updates = await box.start()
    installing = asyncio.create_task(send(updates, bundle))
    await box.hand.comes()
    await box.stop()
    installing.cancel()
    updates = await box.start()
    assert updates.status()["candidate"]["state"] == "waiting to be installed"
    assert updates.status()["candidate"]["version"] == NEXT
    with pytest.raises(UpdateError) as caught:
        updates.begin("main")
    assert caught.value.status == "device_busy"
    await box.hand.takes(digest)
    await until(lambda: box.restarts == 1)


async def test_a_bundle_that_is_refused_after_a_restart(box: Box, bundle: bytes) -> None:
    """The box is free again, and the reason is in the status; also when the state was lost with the restart."""
    updates = await box.start()
    installing = asyncio.create_task(send(updates, bundle))
    await box.hand.comes()
    await box.stop()
    installing.cancel()
    (box.folder / "state.db").unlink()
    updates = await box.start()
    assert updates.busy
    await box.hand.refuses("there is no room")
    await until(lambda: not updates.busy)
    assert updates.status()["last_result"]["cause"] == "there is no room"


async def test_the_new_version_finds_its_own_bundle_gone(box: Box, bundle: bytes, digest: str) -> None:
    """It forgets the handover and does not restart for itself."""
    updates = await box.start()
    await asyncio.gather(box.hand.takes(digest), send(updates, bundle))
    await box.stop()
    updates = await box.start(version=NEXT)
    await until(lambda: updates.status()["state"] == "on probation")
    assert box.restarts == 0


@pytest.mark.parametrize("begun", [False, True])
async def test_a_root_side_that_never_comes(box: Box, bundle: bytes, digest: str, begun: bool) -> None:
    """After a while the bundle is taken back and the asker told what to look at."""
    updates = await box.start(timers=replace(QUICK, **{"working_s" if begun else "install_s": 0.05}))
    if begun:
        box.hand.store(box.hand.record.load().attempted(digest))
    error = await refusal(send(updates, bundle))
    assert "was not installed" in str(error)
    assert "signage-agent-update." in str(error)
    assert box.hand.left() == []
    assert not updates.busy


async def test_a_bundle_that_goes_without_a_word(box: Box, bundle: bytes) -> None:
    """Somebody removed it: an error, not a wait for ever."""
    updates = await box.start()
    sending = asyncio.create_task(refusal(send(updates, bundle)))
    (await box.hand.comes()).unlink()
    assert "without a word" in str(await sending)


async def test_a_bundle_that_came_to_its_end_while_nobody_looked(box: Box, bundle: bytes, digest: str) -> None:
    """Installed, started and gone back from before the old version looks again: it says just that, and is free again."""
    installing = asyncio.create_task(send(await box.start(), bundle))
    drop = await box.hand.comes()
    await box.stop()
    installing.cancel()
    drop.unlink()
    box.hand.add(NEXT, digest)
    box.hand.decide(digest)
    box.hand.settle("rolled back", "3 starts failed")
    updates = await box.start()
    await until(lambda: not updates.busy)
    last = updates.status()["last_result"]
    assert (last["result"], last["cause"]) == ("rolled back", "3 starts failed")


async def test_a_switch_that_nobody_here_asked_for(box: Box, digest: str) -> None:
    """Root installed a version by other ways: the daemon gives way to it when it is told."""
    updates = await box.start()
    box.hand.add(NEXT, digest)
    box.hand.decide(digest)
    box.hand.releases.switch(NEXT)
    updates.look()
    await until(lambda: box.restarts == 1)


# Probation and reports


async def switched(box: Box, digest: str, probation_s: float = 0.0) -> Updates:
    """The first start of the next version."""
    await box.start()
    await box.state.put("update.before", {"screens": {"front": True}, "links": ["main"]})
    await box.stop()
    box.hand.add(NEXT, digest)
    box.hand.decide(digest, probation_s=probation_s)
    box.hand.releases.switch(NEXT)
    return await box.start(version=NEXT)


async def test_committed(box: Box, digest: str, caplog: pytest.LogCaptureFixture) -> None:
    """A version that shows a picture and reaches a server says so; when the guard has noted it, each link is told once."""
    caplog.set_level(logging.INFO)
    box.screens["front"] = ScreenNow(usable=True, up=False, cause="starting")
    updates = await switched(box, digest)
    said = box.hand.state_dir / "update"
    updates.ready()
    await until((said / "probation.json").exists)
    assert json.loads((said / "probation.json").read_text()) == {
        "digest": digest,
        "unmet": ["screen front presented no picture (starting)"],
    }
    assert updates.status()["candidate"]["unmet"] == ["screen front presented no picture (starting)"]
    with pytest.raises(UpdateError, match="probation"):
        updates.begin("main")
    box.screens["front"] = ScreenNow(usable=True, up=True, shows=True, plays_list=True)
    await until((said / "committed.json").exists)
    assert json.loads((said / "committed.json").read_text()) == {"digest": digest}
    assert await updates.report("main") is None
    box.hand.settle("committed")
    told: list[bool] = []
    updates.on_change(lambda: told.append(True))
    await until(lambda: told and updates.status()["last_result"])
    report = await updates.report("main")
    assert report is not None
    assert (report.result, report.version, report.cause) == ("committed", NEXT, "")
    assert not updates.busy
    await updates.told("main")
    assert await updates.report("main") is None
    assert await updates.report("other") is not None
    await box.stop()
    updates = await box.start(version=NEXT)
    assert await updates.report("main") is None
    assert await updates.report("other") is not None
    assert [record.levelname for record in caplog.records if "update is kept" in record.message] == ["INFO"]


async def test_not_before_it_is_ready(box: Box, digest: str) -> None:
    """A version that never becomes ready never commits."""
    await switched(box, digest)
    await asyncio.sleep(0.2)
    assert not (box.hand.state_dir / "update/committed.json").exists()


async def test_rolled_back(box: Box, digest: str, caplog: pytest.LogCaptureFixture) -> None:
    """The version from before says why, in the journal once and to each link once."""
    await switched(box, digest)
    await box.stop()
    box.hand.settle("rolled back", "it was started three times")
    box.hand.releases.switch(bundles.RUNNING)
    caplog.set_level(logging.INFO)
    for _ in range(2):
        updates = await box.start()
        report = await updates.report("main")
        assert report is not None
        assert (report.result, report.version, report.cause, report.at) == ("rolled back", NEXT, "it was started three times", AT)
        await box.stop()
    updates = await box.start()
    await updates.report("main")
    await updates.told("main")
    assert await updates.report("main") is None
    warnings = [record for record in caplog.records if "taken back" in record.message]
    assert len(warnings) == 1
    assert warnings[0].levelname == "WARNING"
    assert "it was started three times" in warnings[0].message
    assert updates.status()["last_result"]["cause"] == "it was started three times"


async def test_a_guard_that_never_notes_it(box: Box, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate that stays one for ever does not keep later versions away for ever."""
    monkeypatch.setattr("agent.update.updates.SETTLE_S", 0.05)
    updates = await switched(box, digest)
    await until(lambda: not updates.busy)


async def test_order(box: Box) -> None:
    """Pieces that come faster than the disk takes them are written in the order in which they came."""
    updates = await box.start()
    size = 200 * 1000
    data = (b"SIGNBNDL" + size.to_bytes(8, "little") + bytes(range(256)) * 1000)[:size]
    intake = updates.begin("main", size=size)
    pieces = [intake.write(data[at : at + 1000]) for at in range(0, size, 1000)]
    await asyncio.gather(*pieces)
    assert intake.received == size
    assert intake.path.read_bytes() == data
    await intake.abandon()
