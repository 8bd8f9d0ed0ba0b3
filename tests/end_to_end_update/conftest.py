"""What the tests of updates of the whole agent share."""

from __future__ import annotations

import pytest

from tests.end_to_end_update.estate import Ground, prepare
from tests.update.bundles import NEXT


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Where boxes are put up, with releases of the old version and the next one."""
    return prepare(tmp_path_factory.mktemp("update"), NEXT)
