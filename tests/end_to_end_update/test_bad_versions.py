"""Versions that do not start: the box is back on the old one by itself, and says why (the others: test_blank_versions)."""

from __future__ import annotations

import pytest

from tests.display import XServer
from tests.end_to_end_update.estate import Ground
from tests.end_to_end_update.trials import try_out
from tests.end_to_end_update.versions import DO_NOT_START, BadVersion
from tests.update.bundles import RUNNING


@pytest.mark.parametrize("bad", DO_NOT_START, ids=lambda bad: bad.name)
async def test_box_goes_back(ground: Ground, display: XServer, bad: BadVersion) -> None:
    """The cause stands in the record, the status and the journal; the server is told once; the bundle is refused from then on."""
    verdict = await try_out(ground, display, bad, built=True)
    assert verdict.faults == ()
    assert verdict.version == RUNNING
