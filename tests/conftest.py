"""What all tests share: how long the long rounds are."""

from __future__ import annotations

import os

import pytest

LONG = os.environ.get("SIGNAGE_LONG") == "1"


def rounds(full: int) -> int:
    """How often a long round is done: `full` times in `scripts/test --long`, else a tenth, at least once."""
    return full if LONG else max(1, full // 10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `long` run in `scripts/test --long` only."""
    if not LONG:
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="runs in scripts/test --long"))
