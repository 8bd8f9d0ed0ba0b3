"""The table of scripts/update-table, of which the tests make a few lines."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import rounds
from tests.end_to_end_update.table import Line, make_lines


async def test_some_points(tmp_path: Path) -> None:
    """Of every so many points of a power cut one is tried, all are good, and the progress counts them."""
    said: list[str] = []
    lines = await make_lines(tmp_path, said.append, every=400 // rounds(100), bad_versions=())
    assert len(lines) > 5
    assert [line.text() for line in lines if line.faults] == []
    assert said[-1] == f"{len(lines)} of {len(lines)}"
    assert {line.last for line in lines} == {"1.0.0", "9.0.0"}


def test_line_that_is_not_good() -> None:
    """It says why."""
    line = Line("a version is installed", "power cut 7: before rename current", "1.0.0", "none", ("nothing runs",))
    assert line.text().endswith("1.0.0     none      NOT GOOD: nothing runs")
