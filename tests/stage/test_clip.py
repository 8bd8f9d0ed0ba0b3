"""One file played once."""

from __future__ import annotations

import itertools

from agent.stage.clip import ClipProgram
from agent.stage.sequencer import STANDS_STILL_S
from tests.stage.cinema import image, video


def test_a_video_clip_is_over_at_its_end() -> None:
    """It wants the picture until its video has ended, and nothing afterwards."""
    clip = ClipProgram("clip", 50, itertools.count(1), video("v"), 0)
    clip.shown(0)
    picture = clip.picture(0)
    assert picture is not None
    assert picture.shot is not None
    assert picture.upcoming is None
    clip.started(picture.shot.token, 0)
    assert clip.picture(4) is not None
    clip.ended(picture.shot.token, 5)
    assert clip.over
    assert clip.picture(5) is None
    assert clip.deadline(5) is None


def test_a_clip_without_a_file_never_shows() -> None:
    """Nothing on disk, nothing wanted."""
    assert ClipProgram("clip", 50, itertools.count(1), video("v", path=""), 0).picture(0) is None


def test_a_clip_that_fails_is_over() -> None:
    """It is not tried again."""
    clip = ClipProgram("clip", 50, itertools.count(1), image("i"), 0)
    clip.shown(0)
    clip.failed(1, 1)
    assert clip.over
    assert clip.deadline(1) is None
    clip.tick(1000)
    clip.started(1, 1000)
    assert clip.picture(1000) is None
    assert clip.status(1000).state == "idle"


def test_the_failure_of_another_shot_is_not_its_own() -> None:
    """It goes on when some other program's shot fails or ends."""
    clip = ClipProgram("clip", 50, itertools.count(5), video("v"), 0)
    clip.failed(1, 1)
    clip.ended(2, 1)
    assert not clip.over


def test_it_says_once_when_it_begins_and_how_it_ended() -> None:
    """The first frame counts once, however often the film comes on; so does the end."""
    said: list[str] = []
    clip = ClipProgram(
        "clip", 50, itertools.count(1), video("v"), 0, on_started=lambda: said.append("started"), on_over=said.append
    )  # fmt: skip
    clip.shown(0)
    clip.started(99, 0)
    assert not clip.begun
    for now in (1, 2):
        clip.started(1, now)
        clip.hidden(now)
        clip.shown(now)
    assert said == ["started"]
    clip.ended(99, 3)
    clip.ended(1, 3)
    clip.clear()
    assert said == ["started", "played"]
    assert clip.outcome == "played"


def test_a_still_is_over_after_its_time() -> None:
    """An image says so, too."""
    said: list[str] = []
    clip = ClipProgram("clip", 50, itertools.count(1), image("i", 5), 0, on_over=said.append)
    clip.shown(0)
    clip.started(1, 0)
    clip.tick(4.9)
    assert (clip.outcome, said) == ("", [])
    clip.tick(5)
    assert (clip.outcome, said) == ("played", ["played"])


def test_how_a_clip_can_end_otherwise() -> None:
    """It cannot be shown, or its owner clears it."""
    for outcome in ("failed", "stopped"):
        said: list[str] = []
        clip = ClipProgram("clip", 50, itertools.count(1), video("v"), 0, on_over=said.append)
        clip.shown(0)
        if outcome == "failed":
            clip.failed(1, 1)
        else:
            clip.clear()
        clip.ended(1, 2)
        clip.clear()
        assert said == [outcome]
        assert clip.over


def test_a_film_that_stands_still_is_given_up() -> None:
    """Whether it says how long it is or not: without being elsewhere for a minute it is over."""
    for duration_s in (0.04, None):
        said: list[str] = []
        clip = ClipProgram("clip", 50, itertools.count(1), video("v"), 0, on_over=said.append)
        clip.shown(0)
        assert clip.deadline(0) is None
        clip.started(1, 5, duration_s)
        for now in range(6, 65):
            clip.progress(1, 0.0, now)
            clip.tick(now)
        assert (said, clip.deadline(64)) == ([], 5 + STANDS_STILL_S)
        clip.tick(5 + STANDS_STILL_S)
        assert said == ["stopped"]
        assert clip.over
        assert clip.picture(100) is None


def test_a_film_that_runs_is_not_given_up() -> None:
    """However long it is, and whatever it says of its length; nor one that is hidden, paused or has not begun."""
    clip = ClipProgram("clip", 50, itertools.count(1), video("v"), 0)
    clip.shown(0)
    clip.tick(1000)
    clip.started(1, 1000, 1.0)
    for now in range(1000, 9000, 50):
        clip.progress(1, now - 999.0, now)
        clip.tick(now)
    clip.hidden(9000)
    assert clip.deadline(9000) is None
    clip.tick(20000)
    clip.shown(20000)
    clip.started(1, 20001)
    clip.tick(20050)
    assert clip.sequencer is not None
    clip.sequencer.pause(20055)
    assert clip.deadline(20055) is None
    clip.tick(30000)
    clip.sequencer.play(30000)
    clip.tick(30059)
    assert not clip.over
    clip.tick(30060)
    assert clip.outcome == "stopped"


def test_who_looks_late_gives_nothing_up() -> None:
    """What the film said in between may not have been heard yet."""
    clip = ClipProgram("clip", 50, itertools.count(1), video("v"), 0)
    clip.shown(0)
    clip.started(1, 0)
    clip.tick(500)
    assert not clip.over
    assert clip.deadline(500) == 500 + STANDS_STILL_S
