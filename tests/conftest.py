"""What all tests share: how long the long rounds are, and what a whole agent plays on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.display import XServer
    from tests.end_to_end.art import Art
    from tests.sound import PrivateSound

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


@pytest.fixture(scope="session")
def art(tmp_path_factory: pytest.TempPathFactory) -> Art:
    """Media, each made when it is first asked for."""
    from tests.end_to_end.art import Art  # noqa: PLC0415 - most tests need none of these

    return Art(tmp_path_factory.mktemp("art"))


@pytest.fixture(scope="session")
def display() -> Iterator[XServer]:
    """A screen for one agent at a time."""
    from tests.display import HEIGHT, WIDTH, XServer  # noqa: PLC0415

    with XServer(WIDTH, HEIGHT) as server:
        yield server


@pytest.fixture
def own_display() -> Iterator[XServer]:
    """A screen for an agent that runs beside the module's."""
    from tests.display import HEIGHT, WIDTH, XServer  # noqa: PLC0415

    with XServer(WIDTH, HEIGHT) as server:
        yield server


@pytest.fixture(scope="session")
def sound_card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSound]:
    """A sound server for one agent at a time."""
    from tests.sound import PrivateSound  # noqa: PLC0415

    with PrivateSound(tmp_path_factory.mktemp("sound")) as sound:
        yield sound
