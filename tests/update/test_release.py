"""The release that runs."""

from __future__ import annotations

import sys
from pathlib import Path

from agent.update.release import Release, own_machine
from tests.update.roothand import RootHand


def test_own(tmp_path: Path) -> None:
    """Found through the link as well; a checkout has none."""
    hand = RootHand(tmp_path)
    hand.add("2.0", "d" * 64)
    hand.releases.switch("2.0")
    expected = Release(hand.root.resolve(), "2.0", "d" * 64)
    assert Release.own(hand.root / "current") == Release.own(hand.releases.path("2.0")) == expected
    assert expected.current() == "2.0"
    assert Release.own(tmp_path) is None
    assert Release.own() is None


def test_what_the_root_side_says(tmp_path: Path) -> None:
    """Read anew each time; nothing before the first update."""
    hand = RootHand(tmp_path)
    release = hand.running()
    assert release.slots().candidate is None
    hand.decide("e" * 64, "3.0")
    candidate = release.slots().candidate
    assert candidate is not None
    assert candidate.version == "3.0"


def test_machine() -> None:
    """As bundles name it."""
    machine = own_machine()
    assert machine.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert machine.architecture in ("x86_64", "aarch64")
