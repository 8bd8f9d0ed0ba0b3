"""The record of versions: what it remembers, what it forgets, and what it makes of damage."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.update import slots as room
from agent.update.slots import Candidate, DamagedError, Record, Releases, Result, Slots, parse, read_slots, serialise

CANDIDATE = Candidate(release="2.0", version="2.0", digest="22", previous="1.0", by="hand", drop="2.bundle")
RESULT = Result("refused", "3.0", "33", "it does not fit", "2026-01-01T00:00:00+00:00")


def test_what_is_written_is_read() -> None:
    """Everything comes back as it was."""
    for slots in (
        Slots(),
        Slots(CANDIDATE, RESULT, ("11", "22"), {"44": 2}, RESULT, ("55",)),
        Slots(replace(CANDIDATE, first_start_monotonic=1.5, cause="x")),
    ):
        assert parse(serialise(slots)) == slots
    content = json.loads(serialise(Slots(CANDIDATE)))
    assert content["format"] == 1
    assert content["candidate"]["digest"] == "22"
    assert content["last_result"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"candidate": []},
        {"candidate": {"release": "x"}},
        {"candidate": {**vars(CANDIDATE), "starts": "1"}},
        {"candidate": {**vars(CANDIDATE), "starts": True}},
        {"candidate": {**vars(CANDIDATE), "digest": None}},
        {"last_result": {**vars(RESULT), "result": "perhaps"}},
        {"rolled_back": "11"},
        {"rolled_back": [1]},
        {"attempts": {"a": "b"}},
        {"attempts": []},
        {"revision": "1"},
    ],
)
def test_what_makes_no_sense_is_damage(change: dict[str, object]) -> None:
    """One wrong field and the whole is not believed."""
    content = json.loads(serialise(Slots(CANDIDATE, RESULT)))
    with pytest.raises(DamagedError):
        parse(json.dumps({**content, **change}).encode())


def test_verdict_outlives_refusals() -> None:
    """What became of a version is still known when another bundle was refused, also by a version that does not know the key."""
    back = Slots(CANDIDATE).settled("rolled back", "it was dark", "then")
    refused = back.refused("3.0", "33", "no room", "now")
    assert refused.verdict == back.verdict == back.last_result
    assert refused.last_result == Result("refused", "3.0", "33", "no room", "now")
    assert parse(serialise(refused)).verdict == back.last_result
    for slots in (back, replace(back, last_verdict=None)):
        content = json.loads(serialise(slots))
        del content["last_verdict"]
        assert parse(json.dumps(content).encode()).refused("3.0", "33", "", "").verdict == back.last_result
    assert Slots(last_result=RESULT).verdict is None


def test_downgrades_are_bounded() -> None:
    """Each digest is in the list once; the latest stay."""
    slots = Slots().downgraded("a").downgraded("b").downgraded("a")
    assert slots.downgrades == ("b", "a")
    for number in range(room.DOWNGRADES_KEPT):
        slots = slots.downgraded(str(number))
    assert len(slots.downgrades) == room.DOWNGRADES_KEPT
    assert "a" not in slots.downgrades


def test_starts_add_up_and_time_begins_anew_with_a_boot() -> None:
    """Starts count over boots, the first start of a boot sets its clock, and what was lived before is added up."""
    slots = Slots(CANDIDATE).started(100.0, "a").started(130.0, "a")
    assert slots.candidate is not None
    assert (slots.candidate.starts, slots.candidate.first_start_monotonic, slots.candidate.boot_id) == (2, 100.0, "a")
    slots = replace(slots, candidate=replace(slots.candidate, lived_s=40.0)).started(20.0, "b")
    found = slots.candidate
    assert found is not None
    assert (found.starts, found.first_start_monotonic, found.spent_s, found.lived_s) == (3, 20.0, 40.0, 0.0)


def test_what_was_gone_back_from_is_remembered_until_it_is_asked_for() -> None:
    """A digest is in the list once, the list is bounded, and deciding for a digest takes it out."""
    slots = Slots()
    for number in range(room.ROLLED_BACK_KEPT + 5):
        slots = slots.decided(replace(CANDIDATE, digest=str(number))).settled("rolled back", "x" * 9999, "now")
    assert len(slots.rolled_back) == room.ROLLED_BACK_KEPT
    assert slots.rolled_back[-1] == str(room.ROLLED_BACK_KEPT + 4)
    assert slots.last_result is not None
    assert len(slots.last_result.cause) == room.TEXT_CHARACTERS
    slots = slots.decided(replace(CANDIDATE, digest=slots.rolled_back[-1]))
    assert len(slots.rolled_back) == room.ROLLED_BACK_KEPT - 1
    assert slots.settled("committed", "", "now").rolled_back == slots.rolled_back


def test_attempts_are_bounded() -> None:
    """Only the latest digests are counted."""
    slots = Slots().attempted("a").attempted("a")
    assert slots.attempts == {"a": 2}
    for number in range(room.ATTEMPTS_KEPT):
        slots = slots.attempted(str(number))
    assert len(slots.attempts) == room.ATTEMPTS_KEPT
    assert "a" not in slots.attempts
    assert slots.without_attempts("3").attempts.get("3") is None


def test_record_on_disk_and_its_copy(tmp_path: Path) -> None:
    """The daemon and root read the same; damage to one file loses nothing; damage to both is an empty record."""
    record = Record(tmp_path, tmp_path / "run")
    assert record.load() == Slots()
    slots = Slots(CANDIDATE, RESULT)
    record.store(slots)
    path = tmp_path / "update/slots.json"
    assert path.stat().st_mode & 0o777 == 0o644
    assert (read_slots(path), record.load(), record.complaint) == (slots, slots, "")
    path.write_text("damage")
    assert (read_slots(path), record.load()) == (slots, slots)
    assert record.complaint.startswith("slots.json: ")
    (tmp_path / "update/slots.copy.json").unlink()
    assert (read_slots(path), record.load()) == (Slots(), Slots())
    path.unlink()
    path.mkdir()
    assert (read_slots(path), record.load()) == (Slots(), Slots())


def test_newest_record_counts(tmp_path: Path) -> None:
    """What had to go to memory is newer than what is on the disk, until the disk can be written again."""
    run = tmp_path / "run"
    run.mkdir()
    record = Record(tmp_path, run)
    record.store(Slots(CANDIDATE))
    (tmp_path / "update").rename(tmp_path / "away")
    (tmp_path / "update").touch()
    with pytest.raises(OSError, match="update"):
        record.store(Slots(None, RESULT))
    (tmp_path / "update").unlink()
    (tmp_path / "away").rename(tmp_path / "update")
    again = Record(tmp_path, run)
    assert again.load() == read_slots(tmp_path / "update/slots.json", run) == Slots(None, RESULT)
    assert (again.unsaved, again.lost) == (True, False)
    again.store(Slots())
    assert list(run.iterdir()) == []
    assert again.load() == Slots()
    assert (again.unsaved, again.lost) == (False, False)


def test_release_to_go_back_to(tmp_path: Path) -> None:
    """The previous one, else the newest that was kept, else one that was not gone back from, else any."""
    releases = Releases(tmp_path)
    for age, name in enumerate(("bad", "doubtful", "good", "older")):
        (releases.path(name) / "bin").mkdir(parents=True)
        (releases.path(name) / "bin/signage-agent").touch()
        (releases.path(name) / ".complete").write_text(name)
        os.utime(releases.path(name) / ".complete", (1000 - age, 1000 - age))
    releases.doubt("doubtful")
    assert releases.fallback("older") == "older"
    assert releases.fallback("", not_digests=["bad"]) == "good"
    releases.spoil("good")
    assert releases.fallback("good", not_digests=["bad"]) == "older"
    assert releases.fallback("", not_release="older", not_digests=["bad"]) == "doubtful"
    releases.trust("doubtful")
    assert releases.fallback("", not_digests=["bad"]) == "doubtful"
    assert Releases(tmp_path / "none").fallback("good") == ""


def test_releases(tmp_path: Path) -> None:
    """Complete is what has its marker and its command; current is a link to a release and nothing else."""
    releases = Releases(tmp_path)
    assert (releases.current(), releases.names(), releases.complete("")) == ("", [], False)
    for name in ("1.0", "half", "no-command"):
        (releases.path(name) / "bin").mkdir(parents=True)
        if name != "no-command":
            (releases.path(name) / "bin/signage-agent").touch()
        if name != "half":
            (releases.path(name) / ".complete").write_text(f"{name}-digest\n")
    assert [name for name in releases.names() if releases.complete(name)] == ["1.0"]
    assert (releases.digest("1.0"), releases.digest("half")) == ("1.0-digest", "")
    releases.switch("1.0")
    assert (tmp_path / "current").readlink() == Path("releases/1.0")
    assert releases.current() == "1.0"
    for target in ("/etc", "releases/../1.0", "releases/1.0/bin", "1.0"):
        (tmp_path / "current").unlink()
        (tmp_path / "current").symlink_to(target)
        assert releases.current() == "", target
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to(releases.path("1.0"))
    assert releases.current() == "1.0"
