"""What the tests of the whole agent with a speaker server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sound import PrivateSound


@pytest.fixture(scope="session")
def sound_card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSound]:
    """A sound server for one agent at a time."""
    with PrivateSound(tmp_path_factory.mktemp("sound")) as sound:
        yield sound
