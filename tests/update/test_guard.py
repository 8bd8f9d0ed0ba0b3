"""The guard: counts starts, watches the clock, goes back, and never stands in the way of a start."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update import disk
from agent.update.guard import TIMER, UNIT
from agent.update.slots import Slots, read_slots
from tests.update.boxes import OLD, FakeBox
from tests.update.bundles import NEXT

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def box(tmp_path: Path, key: Ed25519PrivateKey) -> FakeBox:
    """A box that runs the old version."""
    return FakeBox(tmp_path, key)


def test_without_a_candidate_nothing_happens(box: FakeBox) -> None:
    """Nothing is written, nobody is called, and the timer ends itself."""
    before = sorted(box.root.rglob("*"))
    assert box.start() == OLD
    assert [path for path in sorted(box.root.rglob("*")) if path not in before] == [box.root / "update/lock"]
    assert box.systemctl_calls() == []
    box.check()
    assert box.systemctl_calls() == [f"stop --no-block {TIMER}"]


def test_three_failed_starts_are_enough(box: FakeBox) -> None:
    """The fourth start is the old version's; the cause has the exit code and the last words."""
    candidate = box.candidate()
    words = ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'aiohttp'", "update: version starts"]
    box.says("journalctl", "\n".join(words))
    assert box.start() == NEXT
    assert [box.ends("exit-code exited 1") for _ in range(3)] == [NEXT, NEXT, OLD]
    slots = box.slots()
    assert slots.candidate is None
    assert slots.last_result is not None
    assert slots.last_result.result == "rolled back"
    assert slots.last_result.version == NEXT
    cause = "3 starts failed; the last one ended with exit code 1: ModuleNotFoundError: No module named 'aiohttp'"
    assert slots.last_result.cause == cause
    assert "--since=@" in (box.path / "journalctl.calls").read_text()  # not what the version from before has said
    assert slots.rolled_back == (candidate.digest,)
    assert f"start --no-block {TIMER}" in box.systemctl_calls()
    assert box.start() == OLD


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        ("exit-code exited 78", "ended with exit code 78 (faults in the configuration)"),
        ("protocol exited 0", "ended with exit code 0"),
        ("signal killed SEGV", "was ended by signal SEGV"),
        ("watchdog killed ABRT", "hung, the watchdog ended it"),
        ("timeout killed TERM", "was not ready in time"),
        ("damaged", "was cut off"),
    ],
)
def test_however_a_start_ends_it_counts_and_is_explained(box: FakeBox, end: str, cause: str) -> None:
    """Four starts later the version is gone, and the cause says how the last of them ended."""
    box.candidate()
    box.start()
    for _ in range(3):
        box.ends(end)
    last = box.slots().last_result
    assert last is not None
    assert last.cause == f"3 starts failed; the last one {cause}"


def test_an_end_that_was_asked_for_does_not_count(box: FakeBox) -> None:
    """Somebody who restarts the agent again and again takes no version away; but its time goes on."""
    box.candidate(probation_s=120.0)
    (box.run / "signage-agent.end").write_text("success exited 0\n")  # of the version before
    assert box.start() == NEXT
    assert [box.ends("success exited 0") for _ in range(5)] == [NEXT] * 5
    assert [box.ends("exit-code exited 1") for _ in range(2)] == [NEXT] * 2
    assert box.ends("success exited 0") == NEXT
    box.now += 120
    assert box.ends("success exited 0") == OLD
    last = box.slots().last_result
    assert last is not None
    assert last.cause.startswith("not proved within 120 s")


def test_an_end_counts_for_one_start_only(box: FakeBox) -> None:
    """A start that systemd has said nothing about was cut off, whatever it said about the one before."""
    box.candidate()
    box.start()
    box.ends("success exited 0")
    assert [box.start() for _ in range(3)] == [NEXT, NEXT, OLD]


def test_clean_ends_without_an_end(box: FakeBox) -> None:
    """Also where the clock tells nothing, a version that ends all the time is given up."""
    box.candidate()
    box.start()
    assert [box.ends("success exited 0") for _ in range(15)][-1] == OLD


def test_power_cuts_count_as_starts(box: FakeBox) -> None:
    """Three boots that came to nothing are enough, also when systemd knows nothing about them."""
    box.candidate()
    for _ in range(3):
        assert box.start() == NEXT
        box.reboot()
    assert box.start() == OLD
    last = box.slots().last_result
    assert last is not None
    assert last.cause.startswith("3 starts failed; the last one was cut off")


def test_probation_ends_by_the_clock(box: FakeBox) -> None:
    """A version that runs and shows nothing is gone back from when its time is over, with what was missing as the cause."""
    candidate = box.candidate(probation_s=120.0)
    box.says("systemctl", "ActiveState=active\n")
    box.start()
    unmet = ["screen front presented no picture", "no server was reached\x1b[2J\n"]
    box.daemon_says("probation.json", {"digest": candidate.digest, "unmet": unmet})
    assert box.check(119).candidate is not None
    assert box.releases.current() == NEXT
    slots = box.check(1)
    assert slots.candidate is None
    assert slots.last_result is not None
    assert slots.last_result.cause == ("not proved within 120 s: screen front presented no picture; no server was reached [2J")
    assert box.releases.current() == OLD
    assert box.systemctl_calls()[-1] == f"restart --no-block {UNIT}"
    box.check()
    assert box.systemctl_calls()[-1] == f"stop --no-block {TIMER}"


def test_hanging_before_ready_is_said(box: FakeBox) -> None:
    """A version that never was ready is gone back from at the same time, and the cause says so."""
    box.candidate(probation_s=120.0)
    box.says("systemctl", "ActiveState=activating\n")
    box.says("journalctl", "update: version on probation starts\nwaiting for the moon\n")
    box.start()
    last = box.check(121).last_result
    assert last is not None
    assert last.cause == "not proved within 120 s: it was never ready: waiting for the moon"


def test_probation_over_is_seen_before_a_start_too(box: FakeBox) -> None:
    """Should the timer not run, the next start is the old version's."""
    box.candidate()
    box.start()
    box.now += 500
    assert box.start() == OLD


@pytest.mark.parametrize(("configured", "rolled_back_after"), [(0.0, 1), (86400.0, 200), (30.0, 30)])
def test_probation_has_bounds(box: FakeBox, configured: float, rolled_back_after: float) -> None:
    """Whatever is configured, it takes no longer than 200 s."""
    box.candidate(probation_s=configured)
    box.start()
    assert box.check(rolled_back_after - 0.5).candidate is not None
    assert box.check(0.5).candidate is None


def test_commit(box: FakeBox) -> None:
    """What the daemon claims about the candidate is written down, the timer ends, and starts are no longer counted."""
    candidate = box.candidate()
    box.start()
    box.daemon_says("committed.json", {"digest": candidate.digest})
    slots = box.check(60)
    assert slots.candidate is None
    assert slots.last_result is not None
    assert (slots.last_result.result, slots.last_result.cause) == ("committed", "")
    assert slots.rolled_back == ()
    for _ in range(6):
        assert box.start() == NEXT


def test_commit_just_before_a_power_cut(box: FakeBox) -> None:
    """A claim that the timer did not get to see counts at the next start."""
    candidate = box.candidate()
    for _ in range(3):
        box.start()
    box.daemon_says("committed.json", {"digest": candidate.digest})
    box.reboot()
    assert box.start() == NEXT
    last = box.slots().last_result
    assert last is not None
    assert last.result == "committed"


@pytest.mark.parametrize(
    "claim", ['{"digest": "8888"}', "[]", "{", '"x"', "[" * 16000, "1" * 20000, '{"digest": ["9"]}', "\udcff"]
)
def test_other_claims_are_none(box: FakeBox, claim: str) -> None:
    """A claim about something else, or one that makes no sense, commits nothing and stops nothing."""
    box.candidate()
    box.start()
    (box.state / "update/committed.json").write_text(claim, errors="surrogateescape")
    assert box.check(60).candidate is not None
    assert box.check(100).candidate is None
    assert box.releases.current() == OLD


def test_claims_are_read_from_plain_files_only(box: FakeBox, tmp_path: Path) -> None:
    """No link, no second name of a file, no pipe; nor a folder that is a link."""
    candidate = box.candidate()
    box.start()
    claim = box.state / "update/committed.json"
    elsewhere = tmp_path / "claim"
    elsewhere.write_text(json.dumps({"digest": candidate.digest}))
    makers: list[Callable[[], object]] = [
        lambda: claim.symlink_to(elsewhere),
        lambda: claim.hardlink_to(elsewhere),
        lambda: os.mkfifo(claim),
        claim.mkdir,
    ]
    for make in makers:
        make()
        assert box.check().candidate is not None
        claim.rmdir() if claim.is_dir() else claim.unlink()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/committed.json").write_text(elsewhere.read_text())
    (box.state / "update").rmdir()
    (box.state / "update").symlink_to(tmp_path / "folder")
    assert box.check().candidate is not None


def test_time_begins_anew_with_a_boot_but_not_for_ever(box: FakeBox) -> None:
    """A power cut gives the candidate its probation again; in all it runs for no more than 210 s."""
    box.candidate(probation_s=120.0)
    box.start()
    box.check(100)
    box.reboot()
    box.start()
    assert box.check(105).candidate is not None
    assert box.check(10).candidate is None
    assert box.releases.current() == OLD


def test_a_switch_that_was_cut_off_is_carried_out(box: FakeBox) -> None:
    """What the record decided for is switched to by the next start, and the bundle goes before."""
    candidate = box.candidate()
    box.releases.switch(OLD)
    (box.incoming / candidate.drop).write_text("bundle")
    box.daemon_says("committed.json", {"digest": candidate.digest})  # from an earlier life
    assert box.start() == NEXT
    assert list(box.incoming.iterdir()) == []
    found = box.slots().candidate
    assert found is not None
    assert found.starts == 1
    assert box.check(1).candidate is not None


def test_a_claim_from_before_the_first_start_is_none(box: FakeBox) -> None:
    """The version before cannot speak for the candidate, neither before the switch nor after it."""
    candidate = box.candidate()
    box.daemon_says("committed.json", {"digest": candidate.digest})
    box.daemon_says("probation.json", {"digest": candidate.digest, "unmet": ["a lie"]})
    assert box.check().candidate is not None
    assert [box.start() for _ in range(4)] == [NEXT, NEXT, NEXT, OLD]
    assert list((box.state / "update").iterdir()) == []


def test_a_daemon_that_does_not_give_way_is_restarted(box: FakeBox) -> None:
    """Half a minute after the switch the timer loses patience."""
    box.candidate()
    box.check()
    box.check(29)
    assert box.systemctl_calls() == []
    box.check(1)
    assert box.systemctl_calls() == [f"restart --no-block {UNIT}"]


def test_going_back_is_finished(box: FakeBox) -> None:
    """A cause in the record: whatever was cut off is done again, and the restart is repeated until systemd takes it."""
    candidate = box.candidate()
    box.start()
    (box.path / "systemctl.fails").touch()
    assert box.check(120).candidate is not None
    assert box.releases.current() == OLD
    (box.path / "systemctl.fails").unlink()
    slots = box.check(5)
    assert slots.candidate is None
    assert slots.rolled_back == (candidate.digest,)


def test_switched_back_by_somebody(box: FakeBox) -> None:
    """The link names the previous release again: recorded; it names a third one: the candidate is forgotten."""
    box.candidate()
    box.start()
    box.releases.switch(OLD)
    assert box.start() == OLD
    last = box.slots().last_result
    assert last is not None
    assert last.cause == "it was switched back"

    box.candidate()
    box.start()
    box.add_release("5.0.0", "5" * 64)
    box.releases.switch("5.0.0")
    assert box.start() == "5.0.0"
    assert box.slots().candidate is None


@pytest.mark.parametrize("broken", ["missing", "dangling"])
@pytest.mark.parametrize("by_timer", [False, True])
def test_link_to_a_version_on_probation_is_lost(box: FakeBox, broken: str, by_timer: bool) -> None:
    """Then it is gone back from; it never becomes the current one without a guard."""
    candidate = box.candidate()
    box.add_release("0.9.0", "7" * 64)  # newer on the disk than the previous one
    box.start()
    (box.root / "current").unlink()
    if broken == "dangling":
        box.releases.switch("4.0.0")
    if by_timer:
        box.check()
        assert f"restart --no-block {UNIT}" in box.systemctl_calls()
    assert box.start() == OLD
    slots = box.slots()
    assert slots.candidate is None
    assert slots.last_result is not None
    assert slots.last_result.result == "rolled back"
    assert slots.last_result.cause.startswith("the link to it was lost")
    assert slots.rolled_back == (candidate.digest,)


def test_link_is_lost_before_the_first_start(box: FakeBox) -> None:
    """What was decided is carried out, and counts."""
    box.candidate()
    (box.root / "current").unlink()
    assert [box.start() for _ in range(4)] == [NEXT, NEXT, NEXT, OLD]


def test_lost_record(box: FakeBox, capfd: pytest.CaptureFixture[str]) -> None:
    """A version that was never kept is on probation again: it can still be gone back from, and it can still prove itself."""
    candidate = box.candidate(release=f"{NEXT}+99999999", version=NEXT)
    box.start()
    for name in ("slots.json", "slots.copy.json"):
        (box.root / "update" / name).unlink()
    assert [box.start() for _ in range(4)] == [candidate.release] * 3 + [OLD]
    assert f"record of versions was lost, the version is on probation again version={NEXT} " in capfd.readouterr().err
    slots = box.slots()
    assert slots.last_result is not None
    assert slots.last_result.version == NEXT
    assert slots.rolled_back == (candidate.digest,)


def test_lost_record_of_a_version_that_was_kept(box: FakeBox) -> None:
    """Neither that nor what scripts/install has made has to prove itself again."""
    candidate = box.candidate()
    box.start()
    box.daemon_says("committed.json", {"digest": candidate.digest})
    box.check()
    for version in (NEXT, OLD):
        box.releases.switch(version)
        for name in ("slots.json", "slots.copy.json"):
            (box.root / "update" / name).unlink(missing_ok=True)
        box.check()
        assert [box.start() for _ in range(5)] == [version] * 5
        assert box.slots() == Slots()


def test_record_and_link_are_lost(box: FakeBox) -> None:
    """What is known to work is linked, not what came last."""
    box.candidate()
    box.start()
    for name in ("update/slots.json", "update/slots.copy.json", "current"):
        (box.root / name).unlink()
    assert box.start() == OLD


def test_forget(box: FakeBox) -> None:
    """scripts/install ends a probation."""
    box.candidate()
    box.guard().forget()
    assert box.slots().candidate is None
    assert box.slots().last_result is None


def test_previous_release_is_gone(box: FakeBox) -> None:
    """Then the newest complete one that was not gone back from itself; halves are never taken."""
    box.add_release("0.9.0", "7" * 64, age_s=500)
    box.add_release("0.8.0", "6" * 64, age_s=900)
    box.add_release("0.9.5", "", complete=False)
    box.store(Slots(rolled_back=("7" * 64,)))
    box.candidate()
    (box.releases.path(OLD) / ".complete").unlink()
    for _ in range(4):
        box.start()
    assert box.releases.current() == "0.8.0"


def test_nothing_to_go_back_to(box: FakeBox) -> None:
    """Then the candidate stays: it is better than nothing."""
    box.candidate()
    shutil.rmtree(box.releases.path(OLD))
    for _ in range(6):
        assert box.start() == NEXT


@pytest.mark.parametrize("broken", ["missing", "dangling", "half", "no release", "a directory"])
def test_current_that_cannot_start_is_repaired(box: FakeBox, broken: str) -> None:
    """The newest complete release takes its place."""
    current = box.root / "current"
    current.unlink()
    if broken == "dangling":
        current.symlink_to("releases/4.0.0")
    elif broken == "half":
        box.add_release("4.0.0", "", complete=False)
        current.symlink_to("releases/4.0.0")
    elif broken == "no release":
        current.symlink_to("/tmp")
    elif broken == "a directory":
        current.mkdir()
        with pytest.raises(OSError, match="directory"):
            box.start()
        return
    assert box.start() == OLD


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 4096, b"[]", b'{"candidate": 7}', b'{"candidate": {"release": 1}}'])
def test_damaged_record(box: FakeBox, damage: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """The copy takes its place, the counting goes on, and the journal says so; with both damaged it begins anew."""
    box.candidate()
    box.start()
    (box.root / "update/slots.json").write_bytes(damage)
    assert box.start() == NEXT
    assert "damaged" in capfd.readouterr().err
    found = box.slots().candidate
    assert found is not None
    assert found.starts == 2
    (box.root / "update/slots.json").write_bytes(damage)
    (box.root / "update/slots.copy.json").write_bytes(damage)
    assert box.start() == NEXT
    found = box.slots().candidate
    assert found is not None
    assert (found.starts, found.previous) == (1, OLD)


@pytest.mark.parametrize(
    "change",
    [
        {"first_start_monotonic": 10**400},
        {"probation_s": float("nan")},
        {"lived_s": float("inf")},
        {"starts": -(10**9)},
        {"starts": 10**300},
        {"switched_monotonic": -1},
        {"release": "9\0"},
        {"drop": "\0"},
        {"release": "9" * 5000},
        {"previous": "9" * 5000},
    ],
)
def test_odd_values(box: FakeBox, change: dict[str, object]) -> None:
    """Whatever stands in the record, the guard does not fail, and the version goes after its three starts at the latest."""
    box.candidate()
    box.start()
    path = box.root / "update/slots.json"
    content = json.loads(path.read_text())
    content["candidate"].update(change)
    path.write_text(json.dumps({**content, "revision": content["revision"] + 1}))
    box.check()
    for _ in range(3):
        box.start()
    assert box.releases.current() == OLD
    assert box.slots().candidate is None


def test_revision_that_is_too_high(box: FakeBox) -> None:
    """It is damage: no copy would ever be newer."""
    candidate = box.candidate()
    (box.root / "update/slots.json").write_text(json.dumps({"revision": 10**400}))
    assert box.slots().candidate == candidate


def test_no_boot_id(box: FakeBox) -> None:
    """Starts count, and the probation ends; a clock that begins anew is another boot's."""
    box.candidate(probation_s=120.0)
    box.box.boot_id.unlink()
    assert box.start() == NEXT
    assert box.check(50).candidate is not None
    box.now = 20.0
    assert box.start() == NEXT
    assert box.check(119).candidate is not None
    assert box.check(1).candidate is None
    assert box.releases.current() == OLD


def test_systemctl_that_speaks_in_tongues(box: FakeBox) -> None:
    """What it prints need not be text."""
    box.candidate()
    Path(box.box.systemctl[0]).write_bytes(b"#!/bin/sh\nprintf '\\377' >&2\nexit 1\n")
    assert [box.start() for _ in range(4)] == [NEXT, NEXT, NEXT, OLD]


def test_disk_that_cannot_be_written(box: FakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk starts and the time are counted in memory, and what can be done is done."""
    box.candidate()
    _fail_writes_below(box.root / "update", monkeypatch)
    assert [box.start() for _ in range(3)] == [NEXT] * 3
    assert box.start() == OLD
    last = box.slots().last_result
    assert last is not None
    assert last.result == "rolled back"
    monkeypatch.undo()
    box.candidate()
    box.start()
    assert not list(box.run.iterdir())


def test_full_disk_in_the_midst_of_a_rollback(box: FakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon reads the verdict at once, it is on the disk as soon as there is room, and the timer sees to that."""
    candidate = box.candidate()
    _fail_writes_below(box.root, monkeypatch)
    for _ in range(4):
        box.start()
    seen = read_slots(box.root / "update/slots.json", box.run)
    assert seen.candidate is None
    assert seen.verdict is not None
    assert seen.verdict.result == "rolled back"
    assert read_slots(box.root / "update/slots.json", box.path).candidate is not None
    calls = len(box.systemctl_calls())
    box.check(5)
    assert f"stop --no-block {TIMER}" not in box.systemctl_calls()[calls:]
    monkeypatch.undo()
    box.check(5)
    assert box.systemctl_calls()[-1] == f"stop --no-block {TIMER}"
    assert read_slots(box.root / "update/slots.json", box.path) == box.slots() == seen
    assert seen.rolled_back == (candidate.digest,)


def test_reboot_after_a_rollback_on_a_full_disk(box: FakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record on the disk knows of no start: even so the version is not switched to again, and is refused from then on."""
    candidate = box.candidate()
    _fail_writes_below(box.root, monkeypatch)
    for _ in range(4):
        box.start()
    box.reboot()
    monkeypatch.undo()
    assert [box.start() for _ in range(5)] == [OLD] * 5
    slots = box.slots()
    assert slots.candidate is None
    assert slots.rolled_back == (candidate.digest,)
    assert slots.verdict is not None
    assert slots.verdict.result == "rolled back"


def _fail_writes_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file = disk.write_file

    def full(path: Path, data: bytes, mode: int = 0o644) -> None:
        if path.is_relative_to(folder):
            raise OSError(28, "No space left on device")
        write_file(path, data, mode)

    monkeypatch.setattr(disk, "write_file", full)


def test_start_delay_of_the_version_before_does_not_count(box: FakeBox) -> None:
    """A candidate that follows a version with many failures starts at once, and so does what is gone back to."""
    count = box.run / "signage-agent/starts"
    count.parent.mkdir()
    count.write_text("1 9")
    box.candidate()
    box.start()
    assert not count.exists()
    count.write_text("1 3")
    box.start()
    box.start()
    assert count.exists()
    box.start()
    assert not count.exists()


def test_copied_guard_runs_by_itself(box: FakeBox, tmp_path: Path) -> None:
    """The three modules and nothing else, with the system's Python; an error is a line and an exit code, never a hang."""
    copy = tmp_path / "guard"
    (copy / "agent/update").mkdir(parents=True)
    for folder in ("agent", "agent/update"):
        (copy / folder / "__init__.py").touch()
    for name in ("disk", "slots", "guard"):
        shutil.copy(CHECKOUT / f"agent/update/{name}.py", copy / "agent/update")
    shutil.copy(CHECKOUT / "systemd/guard.py", copy / "__main__.py")
    box.candidate()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["/usr/bin/python3", "-ISB", str(copy), *arguments]
        return subprocess.run(command, cwd="/", env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)

    places = [f"--root={box.root}", f"--state-dir={box.state}", f"--run={box.run}", f"--boot-id={box.box.boot_id}"]
    commands = [f"--systemctl={box.box.systemctl[0]}", f"--journalctl={box.box.journalctl[0]}"]
    for number in (1, 2, 3):
        done = run("before-start", *places, *commands)
        assert (done.returncode, done.stdout) == (0, "")
        assert f"version on probation starts version={NEXT} start={number}" in done.stderr
    assert (
        f"version is gone back from version={NEXT} release={OLD} cause=3 starts failed"
        in run("before-start", *places, *commands).stderr
    )
    assert box.releases.current() == OLD
    missing = run("check", "--root=/nowhere", *places[1:], *commands)
    assert missing.returncode == 0
    (box.root / "current").unlink()
    (box.root / "current").mkdir()
    failed = run("before-start", *places, *commands)
    assert failed.returncode == 1
    assert "guard failed" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_guard_needs_nothing_but_python() -> None:
    """What the copied modules import is the standard library and each other."""
    for name in ("disk", "slots", "guard"):
        tree = ast.parse((CHECKOUT / f"agent/update/{name}.py").read_text())
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [
                    f"{node.module}.{alias.name}" if node.module == "agent.update" else str(node.module) for alias in node.names
                ]
            for module in modules:
                own = module in {"agent.update.disk", "agent.update.slots"}
                assert own or module.split(".")[0] in sys.stdlib_module_names, f"{name} imports {module}"


def test_record_of_a_later_version_is_understood(box: FakeBox) -> None:
    """Keys that are not known here are passed over."""
    candidate = box.candidate()
    content = json.loads((box.root / "update/slots.json").read_text())
    content.update(format=2, novelty=[1])
    content["candidate"]["novelty"] = {"a": 1}
    (box.root / "update/slots.json").write_text(json.dumps(content))
    assert box.slots().candidate == candidate
    assert box.start() == NEXT
    found = box.slots().candidate
    assert found == replace(candidate, starts=1, boot_id="first-boot", first_start_monotonic=1000.0)
