"""What is handed to the root side, and what is read from what it did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.update.handover import Handover, Outcome, bundle_name, hand_over, outcome, take_back, waiting
from agent.update.slots import Candidate, Result, Slots
from tests.update.roothand import AT

DIGEST = "ab" * 32
HANDOVER = Handover(bundle_name(DIGEST, by_hand=False), "2.0", DIGEST, "main", AT)
CANDIDATE = Candidate("2.0", "2.0", DIGEST, "1.0")
BACK = Result("rolled back", "2.0", DIGEST, "it was dark", AT)
REFUSED = Result("refused", "2.0", DIGEST, "there is no room", AT)


def test_names() -> None:
    """The root side reads the digest's beginning and whether somebody asked for it at the box."""
    assert bundle_name(DIGEST, by_hand=False) == "abababababababab.bundle"
    assert bundle_name(DIGEST, by_hand=True) == "abababababababab.by-hand.bundle"


def test_still_there() -> None:
    """Whatever the record says, it is not decided while the bundle lies there: the record may speak of an earlier one."""
    slots = Slots(candidate=CANDIDATE, last_result=REFUSED)
    assert outcome(HANDOVER, there=True, slots=slots, current="2.0") is None


def test_switched() -> None:
    """Only when the link names it: the record is written before."""
    slots = Slots(candidate=CANDIDATE)
    assert outcome(HANDOVER, there=False, slots=slots, current="1.0") is None
    assert outcome(HANDOVER, there=False, slots=slots, current="2.0") == Outcome("2.0")


@pytest.mark.parametrize("known", [DIGEST, DIGEST[:16]])
def test_refused(known: str) -> None:
    """With the cause; also if one side knows no more than the beginning of the digest."""
    for digest in (DIGEST, DIGEST[:16]):
        slots = Slots(last_result=replace(REFUSED, digest=digest))
        found = outcome(replace(HANDOVER, digest=known), there=False, slots=slots, current="1.0")
        assert found == Outcome("2.0", "there is no room")


@pytest.mark.parametrize("verdict", [BACK, Result("committed", "2.0", DIGEST, "", AT)])
def test_settled(verdict: Result) -> None:
    """The power failed before anybody saw the switch, and the guard has settled it since; others may have been refused."""
    for slots in (Slots(last_result=verdict), Slots(last_result=replace(REFUSED, digest="cd" * 32), last_verdict=verdict)):
        found = outcome(HANDOVER, there=False, slots=slots, current="1.0")
        assert found == Outcome("2.0", verdict.cause, settled=True)
    assert outcome(HANDOVER, there=True, slots=Slots(last_result=verdict), current="1.0") is None


def test_settled_before() -> None:
    """What became of the same bundle at an earlier time does not count while it is decided for, or refused, anew."""
    assert outcome(HANDOVER, there=False, slots=Slots(CANDIDATE, BACK, last_verdict=BACK), current="1.0") is None
    refused = outcome(HANDOVER, there=False, slots=Slots(None, REFUSED, last_verdict=BACK), current="1.0")
    assert refused == Outcome("2.0", "there is no room")


@pytest.mark.parametrize("digest", ["", "ab", "cd" * 32, "ab" * 20 + "cd" * 12])
def test_another_one(digest: str) -> None:
    """What became of another bundle says nothing."""
    slots = Slots(candidate=replace(CANDIDATE, digest=digest), last_result=replace(REFUSED, digest=digest))
    assert outcome(HANDOVER, there=False, slots=slots, current="2.0") is None


def test_json() -> None:
    """What is kept over a restart comes back; nonsense, and a name that leads elsewhere, does not."""
    assert Handover.from_json(json.loads(json.dumps(HANDOVER.as_json()))) == HANDOVER
    wrong: list[Any] = [None, [], {}, {**HANDOVER.as_json(), "version": 2}, {**HANDOVER.as_json(), "file": "../state.db"}]
    assert [Handover.from_json(value) for value in wrong] == [None] * len(wrong)


def test_the_folder(tmp_path: Path) -> None:
    """Parts go, bundles wait, anything else stays; a folder that is not there is an empty one."""
    assert waiting(tmp_path / "none") == []
    part = tmp_path / "x.part"
    part.write_bytes(b"whole")
    hand_over(part, HANDOVER)
    (tmp_path / "y.part").write_bytes(b"half")
    (tmp_path / "notes").write_text("")
    assert waiting(tmp_path) == [HANDOVER.file]
    assert sorted(path.name for path in tmp_path.iterdir()) == [HANDOVER.file, "notes"]
    take_back(tmp_path, HANDOVER)
    take_back(tmp_path, HANDOVER)
    assert waiting(tmp_path) == []
