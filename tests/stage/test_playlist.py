"""What a playlist is to a screen."""

from __future__ import annotations

from agent.screen.messages import Shot
from agent.stage.playlist import Item
from tests.stage.cinema import image, playlist


def test_a_shot_says_all_that_a_screen_needs() -> None:
    """Path, kind, place and effects of the item, and where to begin."""
    item = Item(
        7, "seven", "/media/7", "video", 0.0, times=3, rect=(0.1, 0.2, 0.3, 0.4), enter="slide", fade_in_s=1.0, fade_out_s=2.0
    )
    assert item.shot(5, 12.5) == Shot(
        token=5,
        path="/media/7",
        kind="video",
        title="seven",
        start_s=12.5,
        rect=(0.1, 0.2, 0.3, 0.4),
        enter="slide",
        fade_in_s=1.0,
        fade_out_s=2.0,
    )


def test_playable_means_one_file() -> None:
    """One item on disk is enough; none is not."""
    assert playlist(image("a", path=""), image("b")).playable
    assert not playlist(image("a", path="")).playable
    assert not playlist().playable
    assert not playlist(image("a")).without_files().playable


def test_ids_are_the_same_as_number_and_as_text() -> None:
    """An id is found whether a server writes it as a number or as a string; the first place wins."""
    several = playlist(image(11), image("12"), image(11))
    assert (several.index_of("11"), several.index_of(12), several.index_of(13)) == (0, 1, None)
