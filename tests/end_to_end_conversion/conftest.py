"""What the tests of the whole agent with a converter of films share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.display import XServer
from tests.end_to_end.art import Art
from tests.end_to_end_conversion.cinema import HEIGHT, WIDTH


@pytest.fixture(scope="session")
def art(tmp_path_factory: pytest.TempPathFactory) -> Art:
    """Media, each made when it is first asked for."""
    return Art(tmp_path_factory.mktemp("art"))


@pytest.fixture(scope="session")
def display() -> Iterator[XServer]:
    """A screen for one agent at a time."""
    with XServer(WIDTH, HEIGHT) as server:
        yield server


@pytest.fixture
def own_display() -> Iterator[XServer]:
    """A screen for an agent that runs beside the module's."""
    with XServer(WIDTH, HEIGHT) as server:
        yield server
