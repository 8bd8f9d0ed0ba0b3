"""The words on the screen."""

from __future__ import annotations

from typing import Any

import pytest

from agent.links.conversion import strip
from agent.links.conversion.follow import Follow
from agent.links.conversion.messages import Job
from agent.screen.messages import StripLine


def followed(**said: Any) -> Follow:
    follow = Follow("j1", "film.mkv", 0.0)
    follow.heard(Job.model_validate({"status": "processing", **said}), 0.0)
    return follow


@pytest.mark.parametrize(
    ("said", "now", "line"),
    [
        ({"progress": 45, "stage": "TRANSCODE", "eta": 125}, 5.0, ("Converting · 45 % · 2:00 left", 0.45)),
        ({"progress": 45.6, "stage": "REMUX"}, 5.0, ("Repacking · 46 %", 0.456)),
        ({"progress": 0}, 5.0, ("Converting · 0 %", 0.0)),
        ({"progress": 45, "eta": 900}, 65.0, ("Converting · 1:05 so far", None)),
        ({}, 3725.0, ("Converting · 1:02:05 so far", None)),
        ({"status": "analyzing", "progress": 2}, 1.0, ("Analysing · 2 %", 0.02)),
        ({"status": "queued"}, 1.0, ("Waiting", 0.0)),
        ({"status": "completed", "progress": 100}, 1.0, ("Finishing", None)),
        ({"progress": 5, "stage": "BURN_SUBTITLES"}, 1.0, ("Burn subtitles · 5 %", 0.05)),
    ],
)
def test_lines(said: dict[str, Any], now: float, line: tuple[str, float | None]) -> None:
    """Stage, percentage and time left; in silence the elapsed time under a bar that knows nothing."""
    assert strip.follow_line(followed(**said), now) == StripLine("film.mkv", *line)


def test_in_line() -> None:
    """A job that is not followed yet waits, whatever the server does with it."""
    assert strip.follow_line(followed(progress=45), 1.0, in_line=True) == StripLine("film.mkv", "Waiting", 0.0)


def test_finishing() -> None:
    """What runs and was called completed shows how far it is."""
    follow = followed(progress=98)
    follow.heard(Job.model_validate({"status": "completed"}), 1.0)
    assert strip.follow_line(follow, 1.0).detail == "Finishing · 98 %"


@pytest.mark.parametrize(
    ("received", "total", "line"),
    [
        (0, None, ("Loading", None)),
        (1500, None, ("Loading · 1.5 kB", None)),
        (999, 1000, ("Loading · 99 %", 0.999)),
        (2000, 1000, ("Loading · 100 %", 1.0)),
    ],
)
def test_loading(received: int, total: int | None, line: tuple[str, float | None]) -> None:
    """Never 100 % before it is."""
    assert strip.download_line("film.mkv", received, total) == StripLine("film.mkv", *line)


def test_notice() -> None:
    """One line, shortened."""
    line = strip.notice_line("a\nb" * 500, "x\n" * 500)
    assert "\n" not in line.title + line.detail
    assert (len(line.title), len(line.detail), line.alarm) == (200, 160, True)
