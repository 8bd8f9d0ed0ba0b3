"""Two agents on one state directory would spoil each other's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.system.lock import Lock, TakenError


def test_the_second_is_refused(tmp_path: Path) -> None:
    """As long as the first one holds it, and no longer."""
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    first.take()
    with pytest.raises(TakenError, match=str(tmp_path)):
        second.take()
    first.release()
    second.take()
    second.release()


def test_where_nothing_can_be_written_nothing_is_locked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A box with a read-only disk plays; the log says what is missing."""
    lock = Lock(tmp_path / "nowhere" / "lock")
    lock.take()
    lock.release()
    assert "not locked against a second agent" in caplog.text
