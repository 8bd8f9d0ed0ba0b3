"""What the tests of the whole agent with a feed of pictures share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.display import XServer
from tests.end_to_end_tronbyt.wall import HEIGHT, WIDTH
from tests.sound import PrivateSound


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


@pytest.fixture(scope="session")
def sound_card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSound]:
    """A sound server for one agent at a time."""
    with PrivateSound(tmp_path_factory.mktemp("sound")) as sound:
        yield sound
