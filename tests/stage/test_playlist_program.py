"""A playlist on a stage."""

from __future__ import annotations

import itertools

from agent.stage.playlist_program import PlaylistProgram
from tests.stage.cinema import image, playlist


def program(first_token: int = 1) -> PlaylistProgram:
    """A program that has the screen."""
    made = PlaylistProgram("list", 10, itertools.count(first_token))
    made.shown(0)
    return made


def test_without_a_playlist_it_takes_every_event() -> None:
    """Nothing to show, nothing due, no fault whatever is reported."""
    empty = program()
    empty.started(1, 0)
    empty.ended(1, 0)
    empty.failed(1, 0)
    empty.progress(1, 2.0, 0.0)
    empty.tick(0)
    empty.hidden(0)
    assert empty.picture(0) is None
    assert empty.deadline(0) is None
    assert empty.status(0).state == "idle"


def test_a_switch_while_visible_plays_at_once() -> None:
    """The new playlist's time runs from its first frame, without another `shown`."""
    playing = program()
    playing.switch(playlist(image("a")), 0)
    playing.started(1, 0)
    playing.switch(playlist(image("b", 3), image("c")), 5)
    picture = playing.picture(5)
    assert picture is not None
    assert picture.shot is not None
    playing.started(picture.shot.token, 5)
    assert playing.deadline(5) == 8


def test_a_switch_while_hidden_waits() -> None:
    """A playlist that came while another program had the screen begins when it is shown."""
    playing = program()
    playing.hidden(0)
    playing.switch(playlist(image("a"), image("b")), 0)
    playing.started(1, 0)
    assert playing.deadline(100) is None
    playing.shown(100)
    playing.started(1, 100)
    assert playing.deadline(100) == 110


def test_switch_at_a_place_and_paused() -> None:
    """It can come up in the middle of an item, standing still."""
    playing = program()
    playing.switch(playlist(image("a"), image("b")), 0, at=("b", 4.0), paused=True)
    status = playing.status(0)
    assert (status.state, status.media_id, status.media_index, status.position_s) == ("paused", "b", 1, 4.0)


def test_clear_leaves_nothing() -> None:
    """Cleared, it wants nothing until the next switch."""
    playing = program()
    playing.switch(playlist(image("a")), 0)
    playing.clear()
    assert playing.picture(0) is None
    playing.switch(playlist(image("b")), 1)
    assert playing.picture(1) is not None
