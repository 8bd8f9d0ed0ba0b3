"""A new version that says how it does."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from agent.update.probation import Before, ScreenNow
from agent.update.trial import Trial
from tests.update.roothand import until

UP = ScreenNow(usable=True, up=True, shows=True)


def trial(folder: Path, *, connected: list[bool]) -> Trial:
    return Trial(
        folder,
        "d" * 64,
        "2.0",
        Before({"front": False}, ("main",)),
        probation_s=0.0,
        screens=lambda: {"front": UP},
        connected=lambda: bool(connected),
    )


async def test_what_is_missing_then_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard finds the reason if it has to go back, and the word if it has not."""
    monkeypatch.setattr("agent.update.trial.STEP_S", 0.01)
    connected: list[bool] = []
    one = trial(tmp_path, connected=connected)
    running = asyncio.create_task(one.run())
    missing = tmp_path / "update/probation.json"
    await until(missing.exists)
    assert json.loads(missing.read_text())["unmet"] == ["no server was reached; before the update main was"]
    assert not (tmp_path / "update/committed.json").exists()
    connected.append(True)
    async with asyncio.timeout(10):
        await running
    assert one.passed
    assert json.loads((tmp_path / "update/committed.json").read_text()) == {"digest": "d" * 64}


async def test_a_disk_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and the word is given when the disk can be written again."""
    monkeypatch.setattr("agent.update.trial.STEP_S", 0.01)
    (tmp_path / "update").write_text("in the way")
    one = trial(tmp_path, connected=[True])
    running = asyncio.create_task(one.run())
    await until(lambda: caplog.records)
    await asyncio.sleep(0.05)
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [logging.WARNING]
    (tmp_path / "update").unlink()
    async with asyncio.timeout(10):
        await running
    assert one.passed
