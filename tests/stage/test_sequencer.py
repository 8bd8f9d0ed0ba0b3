"""Which item is on, for how long, and which comes next."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable

import pytest

from agent.stage.playlist import Item, Playlist
from agent.stage.sequencer import REPORTS_S, RETRY_S, STANDS_STILL_S, Sequencer
from tests.stage.cinema import MOST_TICKS, Showing, image, playlist, video

A, B, C, D = image("a"), image("b"), image("c"), image("d")


# Order and durations


def test_items_come_in_order_for_their_time() -> None:
    """Images stay for their seconds, a video to its natural end, and the list begins again."""
    show = Showing(playlist(image("a", 3), video("v"), image("b", 2.5)), lengths={"v": 7})
    show.run(15)
    assert list(zip(show.seen, show.at, strict=True)) == [("a", 0), ("v", 3), ("b", 10), ("a", 12.5)]


def test_n_time_play_repeats_an_item() -> None:
    """An item is played as often in a row as it says, a video by a new shot each time."""
    show = Showing(playlist(video("v", times=3), image("a", 4, times=2), image("b", 1)))
    show.run(5 * 3 + 4 * 2 + 1 + 0.5)
    assert show.seen == ["v", "v", "v", "a", "b", "v"]
    assert show.at == [0, 5, 10, 15, 23, 24]


def test_one_pass_holds_the_last_frame() -> None:
    """Without repetition the list is played once; then its last item stands and nothing is due any more."""
    show = Showing(playlist(A, image("b", 5), passes=1))
    show.run(1000)
    assert show.seen == ["a", "b"]
    assert show.title == "b"
    assert show.state == "ended"
    assert show.sequencer.deadline(show.now) is None


def test_one_pass_that_ends_in_a_video_holds_its_last_frame() -> None:
    """The shot of the video stays what is wanted after its end, and nothing follows it."""
    show = Showing(playlist(A, video("v"), passes=1))
    show.run(100)
    assert (show.seen, show.title, show.state) == (["a", "v"], "v", "ended")
    assert show.picture.upcoming is None


def test_a_number_of_passes() -> None:
    """Three passes are three, not two and not four."""
    show = Showing(playlist(image("a", 1), image("b", 1), passes=3))
    show.run(100)
    assert show.seen == ["a", "b"] * 3
    assert show.state == "ended"


def test_passes_count_where_an_item_is_alone() -> None:
    """One image in a list of two passes stands for twice its time and is then over."""
    show = Showing(playlist(image("a", 4), passes=2))
    show.run(7.5)
    assert show.state == "playing"
    show.run(1)
    assert (show.seen, show.state) == (["a"], "ended")


def test_items_without_a_file_are_skipped() -> None:
    """What is not on disk takes no time and leaves no gap."""
    show = Showing(playlist(image("a", path=""), image("b", 2), image("c", path=""), image("d", 3)))
    show.run(6)
    assert show.seen == ["b", "d", "b"]


def test_nothing_on_disk_wants_nothing() -> None:
    """A list without any file leaves the screen to others."""
    sequencer = Sequencer(playlist(image("a", path="")), itertools.count(1))
    assert sequencer.picture(0) is None
    assert sequencer.deadline(0) is None
    assert sequencer.status(0).state == "idle"


def test_an_empty_list_takes_every_command() -> None:
    """Commands to a list without items change nothing and fail at nothing."""
    sequencer = Sequencer(playlist(), itertools.count(1))
    sequencer.shown(0)
    sequencer.play(0)
    sequencer.pause(0)
    assert not sequencer.step(1, 0)
    assert not sequencer.step(-1, 0)
    assert not sequencer.jump(0, index=0)
    sequencer.tick(0)
    sequencer.replace(playlist(A), 0)
    assert (shown := sequencer.picture(0)) is not None
    assert shown.shot is not None
    assert shown.paused


def test_an_images_time_begins_with_its_first_frame() -> None:
    """While a large image is still being loaded its time does not run."""
    sequencer = Sequencer(playlist(A, B), itertools.count(1))
    sequencer.shown(0)
    assert sequencer.deadline(0) is None
    sequencer.started(1, 2.5)
    assert sequencer.deadline(2.5) == 12.5


def test_an_image_that_follows_itself_simply_stays() -> None:
    """The same image again is no new shot: no reload, no flash, and its time keeps its beat although ticks come late."""
    show = Showing(playlist(image("a", 4)))
    token = show.tokens[0]
    for _ in range(5):
        due = show.sequencer.deadline(show.now)
        assert due is not None
        show.now = due + 0.5
        show.sequencer.tick(show.now)
        assert show.left_s == 3.5
        assert show.picture.shot is not None
        assert show.picture.shot.token == token
        assert show.picture.upcoming is None
    assert show.tokens == [token]


# Pause


def test_pause_keeps_the_rest_of_an_images_time() -> None:
    """Paused with 6.4 s left, an image has exactly 6.4 s left an hour later, and uses them."""
    show = Showing(playlist(A, B))
    show.run(3.6)
    show.pause()
    assert show.state == "paused"
    show.run(3600)
    assert show.left_s == 6.4
    show.play()
    show.run(6.39)
    assert show.title == "a"
    show.run(0.02)
    assert show.title == "b"


def test_pause_twice_and_play_twice_are_harmless() -> None:
    """The second of two equal commands has no effect on the time."""
    show = Showing(playlist(A, B))
    show.run(2)
    show.pause()
    show.run(1)
    show.pause()
    show.run(1)
    show.play()
    show.run(3)
    show.play()
    assert show.left_s == 5
    assert show.tokens == [1]


def test_pause_survives_a_reload() -> None:
    """A list loaded again while paused stays paused, with the time that was left."""
    show = Showing(playlist(A, B))
    show.run(3.6)
    show.pause()
    show.replace(playlist(A, C, B))
    show.run(100)
    assert (show.state, show.left_s, show.title) == ("paused", 6.4, "a")


def test_a_paused_video_goes_on_where_it_was() -> None:
    """Pausing a video wants the same shot, paused; nothing is due meanwhile."""
    show = Showing(playlist(video("v"), A), lengths={"v": 10})
    show.run(4)
    show.pause()
    assert show.picture.paused
    assert show.sequencer.deadline(show.now) is None
    show.run(50)
    show.play()
    show.run(5.9)
    assert show.seen == ["v"]
    show.run(0.2)
    assert show.seen == ["v", "a"]


def test_paused_from_the_beginning() -> None:
    """A list that comes up paused shows its first item and waits with it."""
    show = Showing(playlist(A, B), paused=True)
    show.run(100)
    assert (show.seen, show.left_s) == (["a"], 10)


# Next, previous, play


def test_next_and_previous_wrap() -> None:
    """Both go round the ends of the list, and each is on at once."""
    show = Showing(playlist(A, B, C))
    show.step(-1)
    assert show.title == "c"
    show.step(1)
    assert show.title == "a"
    show.step(1)
    show.step(-1)
    assert show.title == "a"


def test_next_plays_afterwards() -> None:
    """`next` while paused moves on and plays."""
    show = Showing(playlist(A, B))
    show.pause()
    show.step()
    assert (show.title, show.state) == ("b", "playing")
    show.run(10.1)
    assert show.title == "a"


def test_next_skips_what_is_not_on_disk() -> None:
    """Items without a file are passed over in both directions."""
    show = Showing(playlist(A, image("x", path=""), B, image("y", path="")))
    show.step(1)
    assert show.title == "b"
    show.step(1)
    assert show.title == "a"
    show.step(-1)
    assert show.title == "b"


def test_three_next_at_once_move_three_items() -> None:
    """Three commands in a row move three items although none of those between was ever shown."""
    show = Showing(playlist(A, B, C, D))
    for _ in range(3):
        show.sequencer.step(1, show.now)
    assert show.title == "d"
    assert show.seen == ["a", "d"]


def test_next_leaves_a_repeated_item() -> None:
    """`next` goes to the next item, not to the next repetition of the same one."""
    show = Showing(playlist(video("v", times=5), A))
    show.step()
    assert show.title == "a"


def test_next_with_one_item_restarts_it() -> None:
    """With a single item both commands show it anew, from its beginning."""
    show = Showing(playlist(video("v")), lengths={"v": 60})
    show.run(20)
    assert show.step(1)
    assert show.seen == ["v", "v"]
    assert show.picture.shot is not None
    assert show.picture.shot.start_s == 0
    assert show.step(-1)
    assert len(show.seen) == 3


def test_play_while_playing_changes_nothing() -> None:
    """`play` during playback neither restarts nor prolongs anything."""
    show = Showing(playlist(A, B))
    show.run(4)
    show.play()
    assert (show.left_s, show.tokens) == (6, [1])


def test_play_after_the_end_begins_at_the_first() -> None:
    """A finite list that is over is played again, as often as it says."""
    show = Showing(playlist(image("a", 1), image("b", 1), passes=2))
    show.run(50)
    show.seen.clear()
    show.play()
    show.run(50)
    assert show.seen == ["a", "b"] * 2
    assert show.state == "ended"


def test_next_after_the_end_begins_anew() -> None:
    """`next` on a list that is over wraps to the first item and plays a whole pass."""
    show = Showing(playlist(image("a", 1), image("b", 1), passes=1))
    show.run(50)
    show.step()
    show.run(50)
    assert show.seen == ["a", "b", "a", "b"]


# Jumping to an item


def test_jump_by_id() -> None:
    """`play_media` with an id shows that item from its start, whatever its id's type."""
    show = Showing(playlist(image(11), image(12), image("13")))
    assert show.jump("12")
    assert show.title == "12"
    assert show.jump(13)
    assert show.title == "13"


def test_jump_by_index() -> None:
    """Without an id the index counts, from 0."""
    show = Showing(playlist(A, B, C))
    assert show.jump(index=2)
    assert show.title == "c"


def test_an_id_wins_over_an_index() -> None:
    """With both, the id decides."""
    show = Showing(playlist(A, B, C))
    assert show.jump("b", index=2)
    assert show.title == "b"


@pytest.mark.parametrize(
    ("media_id", "index"), [("nope", None), (None, 3), (None, -1), ("gone", None), (None, 2), (None, None), ("nope", 1)]
)
def test_a_jump_to_nothing_changes_nothing(media_id: str | None, index: int | None) -> None:
    """An unknown id, an index outside the list or an item without a file leaves everything as it was."""
    show = Showing(playlist(A, B, image("gone", path="")))
    show.run(3)
    show.pause()
    assert not show.jump(media_id, index)
    assert (show.title, show.left_s, show.state, show.tokens) == ("a", 7, "paused", [1])


def test_a_jump_to_the_current_item_restarts_it() -> None:
    """`play_media` of what is on begins it anew, as a new shot, and plays."""
    show = Showing(playlist(A, B))
    show.run(4)
    show.pause()
    show.jump("a")
    assert (show.left_s, show.state, len(show.tokens)) == (10, "playing", 2)


def test_a_jump_plays_on_from_there() -> None:
    """After the item that was jumped to comes its follower."""
    show = Showing(playlist(A, B, C))
    show.jump("b")
    show.run(11)
    assert show.seen == ["a", "b", "c"]


# The list changes


def test_a_reload_leaves_what_is_on_undisturbed() -> None:
    """The same list again: no new shot, the time goes on, and the follower keeps its shot, too."""
    show = Showing(playlist(A, B))
    show.run(4)
    upcoming = show.picture.upcoming
    show.replace(playlist(A, B))
    assert show.left_s == 6
    assert show.picture.upcoming == upcoming
    show.run(6.1)
    assert show.seen == ["a", "b"]


def test_new_items_join_the_loop() -> None:
    """What was added is played in its place, without a jump."""
    show = Showing(playlist(A, B))
    show.run(1)
    show.replace(playlist(D, A, C, B))
    show.run(40)
    assert show.seen == ["a", "c", "b", "d", "a"]


def test_when_the_item_on_screen_is_removed_its_follower_comes() -> None:
    """The removed item makes way at once for the one that followed it, though that stands elsewhere now."""
    show = Showing(playlist(A, B, C, D))
    show.step()
    show.replace(playlist(D, C, A))
    assert show.title == "c"
    show.run(10.1)
    assert show.title == "a"


def test_when_the_follower_is_removed_too_the_one_after_it_comes() -> None:
    """The nearest of the old followers that is still there is next."""
    show = Showing(playlist(A, B, C, D))
    show.step()
    show.replace(playlist(A, D))
    assert show.title == "d"


def test_a_wholly_different_list_begins_at_its_first() -> None:
    """Nothing in common: from the top."""
    show = Showing(playlist(A, B))
    show.replace(playlist(C, D))
    assert show.title == "c"


def test_an_item_whose_file_is_gone_counts_as_removed() -> None:
    """When the file of the item on screen is lost, playback goes on at its follower."""
    show = Showing(playlist(A, B, C))
    show.replace(playlist(dataclasses.replace(A, path=""), B, C), retry=False)
    assert show.title == "b"


def test_one_media_id_twice_in_a_list() -> None:
    """The same item at two places is played at both, also across a reload in the middle."""
    show = Showing(playlist(A, B, A, C))
    show.run(25)
    assert show.seen == ["a", "b", "a"]
    show.replace(playlist(A, B, A, C))
    show.run(25)
    assert show.seen[:5] == ["a", "b", "a", "c", "a"]


def test_a_list_that_ended_goes_on_with_what_is_new() -> None:
    """Items added behind the held one are played; without any the last frame goes on standing."""
    show = Showing(playlist(A, B, passes=1))
    show.run(50)
    show.replace(playlist(A, B, passes=1))
    show.run(50)
    assert (show.seen, show.state) == (["a", "b"], "ended")
    show.replace(playlist(A, B, C, passes=1))
    show.run(50)
    assert (show.seen, show.state) == (["a", "b", "c"], "ended")


def test_a_held_item_that_is_removed_makes_way_for_all_others() -> None:
    """After the end the held item is removed: none of those left is passed over."""
    show = Showing(playlist(A, B, C, passes=1))
    show.run(50)
    show.seen.clear()
    show.replace(playlist(A, B, passes=1))
    show.run(50)
    assert show.seen == ["a", "b"]
    assert show.state == "ended"


def test_a_finite_list_that_becomes_endless_goes_on() -> None:
    """A held list that is told to repeat repeats."""
    show = Showing(playlist(A, B, passes=1))
    show.run(50)
    show.replace(playlist(A, B))
    show.run(15)
    assert show.seen == ["a", "b", "a", "b"]


# What cannot be shown


def test_an_undecodable_item_is_skipped_and_reported_once() -> None:
    """It leaves no gap, pass after pass, and is reported a single time."""
    show = Showing(playlist(A, B, C), broken=["b"])
    show.run(65)
    assert show.seen == ["a", "c"] * 3 + ["a"]
    assert show.reported == ["b"]


def test_an_undecodable_follower_is_replaced_before_its_turn() -> None:
    """A follower found broken while it was being prepared is left out; the picture on screen is not touched."""
    show = Showing(playlist(A, B, C))
    assert show.picture.upcoming is not None
    show.sequencer.failed(show.picture.upcoming.token, show.now)
    assert show.left_s == 10
    assert show.picture.upcoming.title == "c"
    assert show.reported == ["b"]


def test_a_film_that_stands_still_does_not_hold_up_the_list() -> None:
    """The list goes on after a minute; the film is no broken one and comes again at its next turn."""
    sequencer = Sequencer(playlist(video("v"), image("a", 5)), itertools.count(1))
    reported: list[str] = []
    sequencer.shown(0)
    sequencer.started(1, 0)
    sequencer.progress(1, 2.0, 2)
    for now in range(3, 60):
        sequencer.progress(1, 2.0, now)
    assert sequencer.deadline(60) == 2 + STANDS_STILL_S
    sequencer.tick(2 + STANDS_STILL_S)
    assert sequencer.status(62).title == "a"
    assert sequencer._planned is not None
    assert sequencer._planned.item.title == "v"
    assert not reported


def test_a_reload_tries_again() -> None:
    """After a reload a broken item has another chance, and is reported again if it fails again."""
    show = Showing(playlist(A, B), broken=["b"])
    show.run(15)
    show.replace(playlist(A, B))
    show.run(15)
    assert show.reported == ["b", "b"]
    show.broken.clear()
    show.replace(playlist(A, B))
    show.run(11)
    assert show.title == "b"


def test_a_file_that_arrives_does_not_retry_the_broken_ones() -> None:
    """Files of the same list that arrive later give a broken item no further try."""
    show = Showing(playlist(A, B, image("c", path="")), broken=["b"])
    show.run(15)
    show.replace(playlist(A, B, C), retry=False)
    show.run(22)
    assert show.reported == ["b"]
    assert show.seen[-2:] == ["c", "a"]


def test_when_everything_fails_the_background_stands() -> None:
    """Nothing but the background, one retry after 30 s, no spinning, and no second report."""
    show = Showing(playlist(A, video("v")), broken=["a", "v"])
    assert show.picture.shot is None
    assert show.title == ""
    assert show.sequencer.deadline(show.now) == show.now + RETRY_S
    show.run(RETRY_S * 3 + 1)
    assert show.reported == ["a", "v"]
    show.broken.clear()
    show.run(RETRY_S)
    assert show.title == "a"


def test_the_last_playable_file_is_lost_while_the_others_are_broken() -> None:
    """What is left is tried again after a while instead of never."""
    show = Showing(playlist(A, B), broken=["b"])
    show.run(15)
    show.replace(playlist(dataclasses.replace(A, path=""), B), retry=False)
    show.broken.clear()
    show.run(RETRY_S + 1)
    assert show.title == "b"


def test_a_broken_last_item_ends_the_last_pass() -> None:
    """A finite list whose last item cannot be shown holds the one before it; nothing is played a second time."""
    show = Showing(playlist(A, B, passes=1), broken=["b"])
    show.run(100)
    assert show.state == "ended"
    assert show.title == "a"
    assert show.at[-1] <= 10


def test_broken_items_do_not_add_a_pass() -> None:
    """Two passes are two, whether or not the last item can be shown."""
    show = Showing(playlist(image("a", 10), image("b", 10), image("c", 10), passes=2), broken=["c"])
    show.run(39)
    assert show.seen == ["a", "b", "a", "b"]
    show.run(100)
    assert show.seen[:4] == ["a", "b", "a", "b"]
    assert set(show.seen[4:]) <= {"b"}
    assert show.state == "ended"


def test_play_media_tries_a_broken_item_again() -> None:
    """Who asks for an item by name gets it tried."""
    show = Showing(playlist(A, B), broken=["b"])
    show.run(15)
    show.broken.clear()
    assert show.jump("b")
    assert show.title == "b"


# What comes next, and fades


def test_the_upcoming_shot_keeps_its_token_while_the_plan_stays() -> None:
    """Pause, play, progress, ticks and a reload of the same list do not make the worker load the follower anew."""
    show = Showing(playlist(video("v"), video("w")), lengths={"v": 100})
    upcoming = show.picture.upcoming
    assert upcoming is not None
    show.run(3)
    show.pause()
    show.play()
    show.sequencer.tick(show.now)
    show.replace(playlist(video("v"), video("w")))
    assert show.picture.upcoming == upcoming
    show.sequencer.ended(show.tokens[0], show.now)
    assert show.picture.shot is not None
    assert show.picture.shot.token == upcoming.token


def test_a_shot_stands_for_one_showing() -> None:
    """After a jump the follower is a new shot: its old number may already have been on the screen in a race."""
    show = Showing(playlist(video("v")))
    first = show.picture.upcoming
    assert first is not None
    show.step()
    assert show.picture.shot is not None
    assert show.picture.upcoming is not None
    assert first.token < show.picture.shot.token < show.picture.upcoming.token


def test_nothing_comes_after_the_last_pass() -> None:
    """The last item of the last pass has no follower, so that its last frame can stand."""
    show = Showing(playlist(A, video("v"), passes=1))
    assert show.picture.upcoming is not None
    show.run(11)
    assert show.picture.upcoming is None


def test_an_image_fades_out_before_its_end() -> None:
    """It closes its fade-out's length before it makes way."""
    show = Showing(playlist(image("a", 10, fade_out_s=1.5), B))
    assert show.sequencer.deadline(show.now) == show.now + 8.5
    show.run(8.4)
    assert (show.title, show.picture.closing) == ("a", False)
    show.run(0.2)
    assert (show.title, show.picture.closing) == ("a", True)
    show.run(1.5)
    assert (show.title, show.picture.closing) == ("b", False)


def test_a_pause_during_the_fade_out() -> None:
    """Paused while closing it stays closing, with the time that is left."""
    show = Showing(playlist(image("a", 10, fade_out_s=2), B))
    show.run(9)
    show.pause()
    show.run(60)
    assert show.picture.closing
    assert show.left_s == 1
    show.play()
    show.run(1.1)
    assert show.title == "b"


@pytest.mark.parametrize("passes", [None, 1])
def test_an_image_that_stays_does_not_fade_out(passes: int | None) -> None:
    """Neither an image that follows itself nor the one that is held at the end closes."""
    show = Showing(playlist(image("a", 10, fade_out_s=2), passes=passes))
    for _ in range(30):
        show.run(0.9)
        assert not show.picture.closing


# Hidden and shown


def test_hidden_keeps_place_and_rest_of_time() -> None:
    """Another program's ten minutes on the screen cost an image nothing."""
    show = Showing(playlist(A, B))
    show.run(3.6)
    show.sequencer.hidden(show.now)
    assert show.sequencer.deadline(show.now) is None
    show.now += 600
    show.sequencer.tick(show.now)
    show.lose()
    show.sequencer.shown(show.now)
    assert show.sequencer.deadline(show.now) is None
    show.look()
    assert show.tokens == [1, 1]
    assert show.left_s == 6.4
    show.run(6.5)
    assert show.title == "b"


def test_a_hidden_video_comes_back_at_its_place() -> None:
    """The shot of a video that was hidden begins where it was."""
    show = Showing(playlist(video("v"), A), lengths={"v": 60})
    show.run(25)
    show.sequencer.hidden(show.now)
    show.sequencer.shown(show.now)
    assert show.picture.shot is not None
    assert show.picture.shot.start_s == 25


@pytest.mark.parametrize(("since_s", "ran_s"), [(0.0, 0.0), (0.9, 0.9), (REPORTS_S, REPORTS_S), (60.0, REPORTS_S)])
def test_a_hidden_video_ran_on_since_its_last_report(since_s: float, ran_s: float) -> None:
    """It comes back at its second, not at that of the report before; one that reports nothing may stand still."""
    show = Showing(playlist(video("v"), A), lengths={"v": 600})
    show.run(25)
    show.sequencer.progress(1, 25.0, show.now)
    show.sequencer.hidden(show.now + since_s)
    picture = show.sequencer.picture(show.now + since_s)
    assert picture is not None
    assert picture.shot is not None
    assert picture.shot.start_s == pytest.approx(25 + ran_s)


def test_paused_while_hidden_stays_paused_when_shown() -> None:
    """A pause that comes while another program has the screen holds afterwards."""
    show = Showing(playlist(A, B))
    show.run(3)
    show.sequencer.hidden(show.now)
    show.sequencer.pause(show.now)
    show.lose()
    show.sequencer.shown(show.now)
    show.look()
    show.run(100)
    assert (show.title, show.left_s) == ("a", 7)


# Taking up a place


def test_it_takes_up_an_image_where_it_was() -> None:
    """After a restart of the agent the item is the same and has what was left of its time."""
    show = Showing(playlist(A, B, C), at=("b", 4.0))
    assert (show.title, show.left_s) == ("b", 6)
    show.run(6.1)
    assert show.title == "c"


def test_it_takes_up_a_video_where_it_was() -> None:
    """A video begins at the second it had reached."""
    show = Showing(playlist(A, video("v")), at=("v", 12.5), lengths={"v": 20})
    assert show.picture.shot is not None
    assert show.picture.shot.start_s == 12.5
    show.run(7.6)
    assert show.title == "a"


@pytest.mark.parametrize("gone", [playlist(A, B), playlist(A, B, image("x", path=""))])
def test_a_place_that_is_gone_means_the_beginning(gone: Playlist) -> None:
    """An item that is no longer in the list, or no longer on disk, cannot be taken up."""
    assert Showing(gone, at=("x", 3.0)).title == "a"


def test_a_place_beyond_the_end_moves_on() -> None:
    """An image that was later shortened is shown and makes way at once, without spinning."""
    show = Showing(playlist(image("a", 5), B), at=("a", 9.0))
    show.run(0.1)
    assert show.title == "b"


# Races


def test_the_end_of_an_old_shot_is_ignored() -> None:
    """A video that ends in the moment of `next` does not move on a second time."""
    show = Showing(playlist(video("v"), B, C))
    show.step()
    show.sequencer.ended(1, show.now)
    show.sequencer.failed(1, show.now)
    show.sequencer.progress(1, 99.0, show.now)
    show.sequencer.started(1, show.now)
    assert show.title == "b"
    assert show.reported == []
    assert show.left_s == 10


def test_an_end_that_comes_while_paused_shows_the_follower_paused() -> None:
    """The video was through before the pause reached it: the next item stands still from its first frame."""
    show = Showing(playlist(video("v"), B))
    show.pause()
    show.sequencer.ended(1, show.now)
    show.run(100)
    assert (show.title, show.state, show.left_s) == ("b", "paused", 10)


def test_a_second_first_frame_does_not_restart_the_time() -> None:
    """The worker may say again that a shot has started."""
    show = Showing(playlist(A, B))
    show.run(4)
    show.sequencer.started(1, show.now)
    assert show.left_s == 6


# Whatever happens


class Chance:
    """Random lists and random events."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 100.0
        self.items = [self._item(i) for i in range(6)]
        self.sequencer = Sequencer(self.plays(), itertools.count(1))

    def _item(self, number: int) -> Item:
        return dataclasses.replace(
            image(number) if self.dice.random() < 0.5 else video(number),
            times=self.dice.choice([1, 1, 2]),
            duration_s=self.dice.choice([0.05, 1.0, 10.0]),
            fade_out_s=self.dice.choice([0.0, 0.0, 0.4, 2.0]),
        )

    def plays(self) -> Playlist:
        """Up to five items, some several times, some not on disk."""
        lost = {item.media_id for item in self.items if self.dice.random() < 0.3}
        chosen = [self.dice.choice(self.items) for _ in range(self.dice.randrange(6))]
        present = [dataclasses.replace(item, path="") if item.media_id in lost else item for item in chosen]
        return playlist(*present, passes=self.dice.choice([None, None, 1, 2]))

    def event(self) -> None:
        """Anything that may happen next."""
        show, dice, now = self.sequencer, self.dice, self.now
        picture = show.picture(now)
        token = picture.shot.token if picture and picture.shot else 0
        follower = picture.upcoming.token if picture and picture.upcoming else 0
        events: list[Callable[[], object]] = [
            lambda: show.play(now),
            lambda: show.pause(now),
            lambda: show.step(dice.choice([1, -1]), now),
            lambda: show.jump(now, media_id=dice.choice([None, 0, "3", 9]), index=dice.choice([None, 0, 2, 9])),
            lambda: show.replace(self.plays(), now, retry=dice.random() < 0.5),
            lambda: show.failed(dice.choice([token, follower, token - 1]), now),
            lambda: show.hidden(now),
            lambda: show.ended(dice.choice([token, token - 1]), now),
            lambda: show.progress(token, dice.random() * 10, now),
            self._wait,
            lambda: show.started(token, now),
            lambda: show.started(token, now),
            lambda: self._reappear(token),
            lambda: self._reappear(token),
        ]
        dice.choice(events)()

    def _wait(self) -> None:
        self.now += self.dice.choice([0.0, 0.01, 3.0, 100.0])
        self.sequencer.tick(self.now)

    def _reappear(self, token: int) -> None:
        self.sequencer.shown(self.now)
        self.sequencer.started(token, self.now)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_it_goes_on(seed: int) -> None:
    """Random events: never an exception, never an unplayable item, new numbers for new shots, progress at each deadline."""
    chance = Chance(seed)
    sequencer = chance.sequencer
    highest = 0
    for _ in range(400):
        chance.event()
        picture = sequencer.picture(chance.now)
        assert (picture is not None) == sequencer.playlist.playable
        if picture is not None and picture.shot is None:
            assert sequencer.deadline(chance.now) is not None, "nothing would ever come again"
        if picture is not None and picture.shot is not None:
            assert picture.shot.path
            assert picture.shot.token >= highest, "an old number for a new shot"
            highest = picture.shot.token
            assert picture.upcoming is None or picture.upcoming.path
            assert picture.upcoming is None or picture.upcoming.token > highest, "the follower has been on already"
        for _ in range(MOST_TICKS):
            due = sequencer.deadline(chance.now)
            if due is None or due > chance.now:
                break
            sequencer.tick(chance.now)
        else:
            raise AssertionError("spinning")
