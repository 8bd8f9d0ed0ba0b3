"""The power is cut before and after every change that the root hand and the guard make on the disk, one by one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update.slots import Slots
from tests.update import cut
from tests.update.boxes import OLD, OLD_DIGEST, FakeBox
from tests.update.bundles import NEXT


def _check_bootable(box: FakeBox, where: str) -> str:
    """The release that starts after a power cut, which is a whole one and says its version."""
    box.reboot()
    release = box.start()
    assert release in {OLD, NEXT}, where
    assert box.releases.complete(release), where
    command = box.root / "current/bin/signage-agent"
    said = subprocess.run([command, "version"], capture_output=True, text=True, check=True).stdout
    assert said == f"signage-agent {release}\n", where
    return release


def _every_cut(prepare: Callable[[], FakeBox], act: Callable[[FakeBox], object]) -> list[tuple[str, FakeBox]]:
    """Boxes on which `act` was cut off, one for each point, with the name of the point."""
    uncut = prepare()
    points = cut.points_of(lambda: act(uncut))
    assert points
    boxes = []
    for number, point in enumerate(points, 1):
        box = prepare()
        assert not cut.in_child(lambda box=box: act(box), number), point  # type: ignore[misc]
        boxes.append((f"{number} {point}", box))
    return boxes


@pytest.fixture
def make_box(tmp_path: Path, key: Ed25519PrivateKey) -> Callable[[], FakeBox]:
    """Makes boxes that run the old version, with things of their past lying around."""
    count = 0

    def make() -> FakeBox:
        nonlocal count
        count += 1
        box = FakeBox(tmp_path / str(count), key)
        for age, name in enumerate(("0.9.0", "0.8.0", "0.7.0"), 1):
            box.add_release(name, OLD_DIGEST[:-1] + str(age), age_s=1000.0 * age)
        box.add_release("0.9.5", "", complete=False)
        (box.root / "update/work").mkdir()
        (box.root / "update/work/left").write_text("junk")
        return box

    return make


def test_installer_is_cut_off_anywhere(make_box: Callable[[], FakeBox]) -> None:
    """The box starts on old or new, and the next run of the installer brings it to where it would have been."""

    def prepare() -> FakeBox:
        box = make_box()
        box.drop()
        return box

    cuts = _every_cut(prepare, lambda box: box.install())
    assert len(cuts) > 60
    seen = set()
    for where, box in cuts:
        seen.add(_check_bootable(box, where))
        box.install()
        box.install()
        slots = box.slots()
        assert slots.candidate is not None, where
        assert slots.candidate.version == NEXT, where
        assert slots.attempts == {}, where
        assert box.start() == NEXT, where
        assert box.junk() == [], where
        assert {path.name for path in box.releases.folder.iterdir()} == {NEXT, OLD, "0.9.0"}, where
    assert seen == {OLD, NEXT}


def test_refusal_is_cut_off_anywhere(make_box: Callable[[], FakeBox]) -> None:
    """A bundle that does not fit is refused in the end, and nothing of it is left."""

    def prepare() -> FakeBox:
        box = make_box()
        box.drop(version="0.9.0")
        return box

    for where, box in _every_cut(prepare, lambda box: box.install()):
        assert _check_bootable(box, where) == OLD
        last = box.install().last_result
        assert last is not None, where
        assert last.result == "refused", where
        assert box.junk() == [], where
        assert box.start() == OLD, where


def _before_the_end(box: FakeBox, starts: int) -> FakeBox:
    candidate = box.candidate(starts=starts, probation_s=120.0)
    (box.incoming / candidate.drop).write_text("left")
    return box


def test_going_back_is_cut_off_anywhere(make_box: Callable[[], FakeBox]) -> None:
    """Three starts failed: whenever the guard is cut off, the old version starts and the record says why."""
    for where, box in _every_cut(lambda: _before_the_end(make_box(), 3), lambda box: box.start()):
        assert _check_bootable(box, where) == OLD, where
        slots = box.slots()
        assert slots.candidate is None, where
        assert slots.last_result is not None, where
        assert slots.last_result.cause.startswith("3 starts failed"), where
        assert len(slots.rolled_back) == 1, where


def test_end_of_probation_is_cut_off_anywhere(make_box: Callable[[], FakeBox]) -> None:
    """The time is over: whenever the guard is cut off, the box ends up on the old version."""

    def prepare() -> FakeBox:
        box = _before_the_end(make_box(), 0)
        box.start()
        return box

    for where, box in _every_cut(prepare, lambda box: box.check(120)):
        release = _check_bootable(box, where)
        if box.slots().candidate is not None:
            assert release == NEXT, where  # the power was gone before the decision was on the disk
            box.check(120)
        assert box.start() == OLD, where
        last = box.slots().last_result
        assert last is not None, where
        assert last.cause.startswith("not proved within 120 s"), where


def test_commit_is_cut_off_anywhere(make_box: Callable[[], FakeBox]) -> None:
    """What the daemon claimed before the power was cut is written down by the next start."""

    def prepare() -> FakeBox:
        box = make_box()
        candidate = box.candidate()
        box.start()
        box.daemon_says("committed.json", {"digest": candidate.digest})
        return box

    for where, box in _every_cut(prepare, lambda box: box.check(60)):
        assert _check_bootable(box, where) == NEXT, where
        last = box.slots().last_result
        assert last is not None, where
        assert last.result == "committed", where
        assert [box.start() for _ in range(5)] == [NEXT] * 5, where


def test_first_start_and_repair_are_cut_off_anywhere(make_box: Callable[[], FakeBox]) -> None:
    """Carrying out a switch, counting the start, and repairing `current`: a whole release starts afterwards."""

    def not_switched() -> FakeBox:
        box = _before_the_end(make_box(), 0)
        box.releases.switch(OLD)
        return box

    def broken() -> FakeBox:
        box = make_box()
        box.releases.switch("0.9.5")
        return box

    for where, box in _every_cut(not_switched, lambda box: box.start()):
        assert _check_bootable(box, where) == NEXT, where
        assert box.slots().candidate is not None, where
    for where, box in _every_cut(broken, lambda box: box.start()):
        assert _check_bootable(box, where) == OLD, where
        assert box.slots() == Slots(), where


# --- with processes, venv and pip of their own --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Hand:
    """The root hand as systemd runs it, but for where things are."""

    box: FakeBox

    def arguments(self) -> list[str]:
        box = self.box
        places = [f"--root={box.root}", f"--state-dir={box.state}", f"--run={box.run}", f"--boot-id={box.box.boot_id}"]
        return ["install", *places, f"--config={box.config}", f"--systemctl={box.box.systemctl[0]}", "--wait=0"]


def test_real_environment_is_cut_off(make_box: Callable[[], FakeBox], tmp_path: Path) -> None:
    """venv and pip, cut off before, after and in the middle: old starts, and the next run makes a version that says its own."""
    box = make_box()
    box.drop()
    hand = _Hand(box)
    kept = tmp_path / "kept"
    shutil.copytree(box.path, kept, symlinks=True)
    points = cut.points(hand.arguments(), tmp_path / "points")
    assert _check_bootable(box, "uncut") == NEXT
    assert box.junk() == []
    for which in ("after venv", "after sync"):
        _restore(box, kept)
        number = next(number for number, point in enumerate(points, 1) if point.startswith(which))
        assert cut.run(hand.arguments(), number).returncode == -signal.SIGKILL
        assert _check_bootable(box, which) == OLD
    for file in ("bin/pip", "lib/*/site-packages/signage_agent-*.dist-info"):
        _restore(box, kept)
        _kill_when_there(hand, f"releases/{NEXT}/{file}")
        assert _check_bootable(box, file) == OLD
    done = cut.run(hand.arguments(), 0)
    assert (done.returncode, "bundle is looked at" in done.stderr, "Traceback" in done.stderr) == (0, True, False)
    assert _check_bootable(box, "at last") == NEXT
    assert box.junk() == []


def _restore(box: FakeBox, kept: Path) -> None:
    shutil.rmtree(box.path)
    shutil.copytree(kept, box.path, symlinks=True)


def _kill_when_there(hand: _Hand, pattern: str) -> None:
    """Kills the root hand and its children as soon as there is a file of this name."""
    command = [sys.executable, "-m", "agent.update.install", *hand.arguments()[1:]]
    environment = {**os.environ, "PYTHONPATH": str(cut.CHECKOUT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True) as process:
        while not list(hand.box.root.glob(pattern)):
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
