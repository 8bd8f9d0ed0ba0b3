"""The power is cut in the midst of an update of the real agent (every single point: tests/update/test_power_cut.py)."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.conftest import rounds
from tests.display import XServer
from tests.end_to_end_update.cuts import cut_any_time, cut_guard, cut_installer
from tests.end_to_end_update.estate import Ground
from tests.end_to_end_update.versions import BAD_VERSIONS

CRASHES = next(bad for bad in BAD_VERSIONS if bad.name.startswith("the daemon ends"))


@pytest.fixture(scope="module")
def points(ground: Ground, display: XServer) -> list[str]:
    """The points that the root hand passes on its way to a new version, in words."""
    asyncio.run(cut_installer(ground, display, 0))
    return (ground.folder / "points").read_text().splitlines()


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("after pip 9.0.0", marks=pytest.mark.long),
        pytest.param("after rename slots.json", marks=pytest.mark.long),
        "after rename current",
    ],
)
async def test_installer(ground: Ground, display: XServer, points: list[str], where: str) -> None:
    """In the midst of building, deciding and switching: the box starts, and ends up on the version that had come."""
    # The record is written twice: when the attempt begins, and when it is decided.
    number = max(number for number, point in enumerate(points, 1) if point == where)
    outcome = await cut_installer(ground, display, number)
    assert outcome.faults == ()


@pytest.mark.parametrize("number", [pytest.param(3, marks=pytest.mark.long), 16])
async def test_guard(ground: Ground, display: XServer, number: int) -> None:
    """While a start is counted, and while the guard goes back: the box ends up on the old version."""
    outcome = await cut_guard(ground, display, CRASHES, number)
    assert outcome.faults == ()


@pytest.mark.long
async def test_any_time(ground: Ground, display: XServer) -> None:
    """Several cuts in a row, wherever they hit."""
    for _ in range(rounds(10)):
        outcome = await cut_any_time(ground, display, [random.uniform(0.0, 4.0) for _ in range(2)])
        assert outcome.faults == (), outcome
