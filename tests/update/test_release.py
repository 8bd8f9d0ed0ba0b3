"""The release that runs."""

from __future__ import annotations

import sys
from pathlib import Path

from agent.update.release import Release, own_machine
from agent.update.slots import ROOT, STATE_DIR
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


def test_where_the_root_side_looks() -> None:
    """In one place, and the units name the same."""
    assert Release(ROOT, "1.0").reaches(STATE_DIR)
    assert not Release(ROOT, "1.0").reaches(Path("/data/signage"))
    units = Path(__file__).parents[2] / "systemd"
    assert f"\nPathExistsGlob={STATE_DIR}/incoming/*.bundle\n" in (units / "signage-agent-update.path").read_text()
    for name in ("signage-agent-update.service", "signage-agent-guard.service"):
        assert f"ReadWritePaths=-{STATE_DIR}\n" in (units / name).read_text()


def test_machine() -> None:
    """As bundles name it."""
    machine = own_machine()
    assert machine.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert machine.architecture in ("x86_64", "aarch64")
