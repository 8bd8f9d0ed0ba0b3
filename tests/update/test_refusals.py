"""Bundles that are not fetched again, or not so soon."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.update.refusals import PASSING_S, Refusals, judge

NOW = 1_800_000_000.0
BAD, UNLUCKY = "ab" * 32, "cd" * 32
BY = judge("1.0", ["ed25519:a"])


def test_a_bad_bundle_for_ever_an_unlucky_one_for_a_while() -> None:
    """A full disk is empty some day."""
    refusals = Refusals().added(BAD, BY, None).added(UNLUCKY, BY, NOW)
    assert refusals.barred(BY, NOW + PASSING_S - 1) == {BAD, UNLUCKY}
    assert refusals.barred(BY, NOW + PASSING_S) == {BAD}
    assert refusals.barred(BY, NOW - 1) == {BAD}, "the clock was wrong when it was written down"


def test_another_judge() -> None:
    """Another version, and one that trusts another key, looks for itself."""
    refusals = Refusals().added(BAD, BY, None)
    assert refusals.barred(judge("1.1", ["ed25519:a"]), NOW) == set()
    assert refusals.barred(judge("1.0", ["ed25519:a", "ed25519:b"]), NOW) == set()
    assert judge("1.0", ["b", "a"]) == judge("1.0", ["a", "b"])


def test_the_latest_word_counts() -> None:
    """One entry for each bundle, and not too many of them."""
    refusals = Refusals().added(BAD, BY, None).added(BAD, BY, NOW)
    assert refusals.entries == ((BAD, BY, NOW),)
    for number in range(100):
        refusals = refusals.added(str(number), BY, None)
    assert len(refusals.entries) == 32
    assert refusals.entries[-1][0] == "99"


def test_json() -> None:
    """What is kept comes back; what another version may have written is passed over."""
    refusals = Refusals().added(BAD, BY, None).added(UNLUCKY, BY, NOW)
    assert Refusals.from_json(json.loads(json.dumps(refusals.as_json()))) == refusals


@pytest.mark.parametrize("value", [None, {}, "x", [1], [[BAD, "1.0"]], [[BAD, BY, "soon"]], [[BAD, BY, True]], [[1, BY, None]]])
def test_nonsense(value: Any) -> None:
    """Bars nothing."""
    assert Refusals.from_json(value) == Refusals()
