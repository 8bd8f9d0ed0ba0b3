"""Who has the picture of a screen."""

from __future__ import annotations

import itertools

from agent.screen.messages import StripLine, Ticker
from agent.stage.clip import LONGEST_WAIT_S, ClipProgram
from agent.stage.feed import FeedImage, FeedProgram
from agent.stage.playlist import Playlist
from agent.stage.playlist_program import PlaylistProgram
from agent.stage.stage import Stage
from tests.stage.cinema import Cinema, image, playlist, video


class House(Cinema):
    """A cinema with a stage whose screen is up."""

    def __init__(self, **lengths: float) -> None:
        self.stage = Stage()
        super().__init__(self.stage, lengths)
        self.stage.up(self.now)

    def put(self, name: str, priority: int, plays: Playlist | None = None) -> PlaylistProgram:
        """A playlist program, on the stage."""
        program = PlaylistProgram(name, priority, self.stage.tokens)
        if plays is not None:
            program.switch(plays, self.now)
        self.stage.put(program, self.now)
        self.look()
        return program

    def clip(self, name: str = "clip", priority: int = 50, *, still: bool = False, after_item: bool = False) -> ClipProgram:
        """A clip, on the stage."""
        item = image(name, 5) if still else video(name)
        program = ClipProgram(name, priority, self.stage.tokens, item, self.now, after_item=after_item)
        self.stage.put(program, self.now)
        self.look()
        return program

    @property
    def program(self) -> str | None:
        """Who has the picture."""
        return self.stage.status(self.now).program


LIST = playlist(image("a"), image("b"))


def test_an_empty_stage_is_idle() -> None:
    """Without programs nothing is wanted and nothing is due."""
    stage = Stage()
    assert stage.scene(0).shot is None
    assert stage.deadline(0) is None
    status = stage.status(0)
    assert (status.program, status.waiting, status.playing.state) == (None, (), "idle")


def test_the_highest_priority_has_the_picture() -> None:
    """Whatever the order in which programs come, the highest shows."""
    house = House()
    house.put("middle", 20, playlist(image("m")))
    house.put("high", 30, playlist(image("h")))
    house.put("low", 10, playlist(image("l")))
    assert (house.title, house.program) == ("h", "high")
    assert house.stage.status(house.now).waiting == ("middle", "low")


def test_on_a_tie_the_first_one_shows() -> None:
    """Of two with the same priority the one that was put first keeps the picture."""
    house = House()
    house.put("one", 10, playlist(image("1")))
    house.put("two", 10, playlist(image("2")))
    assert house.title == "1"


def test_on_a_tie_the_one_named_first_shows_whenever_it_comes() -> None:
    """The order of the configuration counts, not that in which servers were reached; who is not named comes after them."""
    house = House()
    house.stage.order = ("one", "two", "three")
    house.put("unnamed", 10, playlist(image("u")))
    house.put("three", 10, playlist(image("3")))
    house.put("one", 10, playlist(image("1")))
    house.put("two", 10, playlist(image("2")))
    assert house.title == "1"
    assert house.stage.status(house.now).waiting == ("two", "three", "unnamed")
    house.stage.order = ("two", "one")
    assert house.title == "2"


def test_who_has_nothing_to_show_is_passed_over() -> None:
    """A program without a playlist, or with nothing on disk, leaves the screen to the next one."""
    house = House()
    house.put("empty", 40)
    house.put("far away", 30, playlist(image("x", path="")))
    house.put("here", 10, LIST)
    assert house.program == "here"


def test_a_program_that_gets_something_takes_the_screen() -> None:
    """The higher program takes over when its playlist comes, and gives the screen back when it is cleared."""
    house = House()
    house.put("low", 10, LIST)
    high = house.put("high", 20)
    house.run(3)
    high.switch(playlist(image("h")), house.now)
    house.run(100)
    assert house.title == "h"
    high.clear()
    assert house.title == "a"
    house.run(6.9)
    assert house.title == "a"
    house.run(0.2)
    assert house.title == "b"


def test_a_clip_over_a_playlist_and_back() -> None:
    """The playlist stands still under a clip and has the rest of its item's time afterwards."""
    house = House(clip=42.0)
    house.put("list", 10, LIST)
    house.run(3.6)
    house.clip()
    assert house.title == "clip"
    house.run(41.9)
    assert house.title == "clip"
    house.run(0.2)
    assert house.seen == ["a", "clip", "a"]
    house.run(6.2)
    assert house.title == "a"
    house.run(0.2)
    assert house.title == "b"
    assert house.at == [0, 3.6, 45.6, 52.0]


def test_a_clip_over_a_video_and_back() -> None:
    """A video under a clip comes back at the second at which it was interrupted."""
    house = House(v=60.0, clip=5.0)
    house.put("list", 10, playlist(video("v"), image("a")))
    house.run(20)
    house.clip()
    house.run(5)
    assert house.title == "v"
    assert house.picture.shot is not None
    assert house.picture.shot.start_s == 20
    house.run(40)
    assert house.title == "a"


def test_a_still_clip_stays_for_its_time() -> None:
    """An image clip is over after its seconds."""
    house = House()
    house.put("list", 10, LIST)
    house.clip(still=True)
    house.run(4.9)
    assert house.title == "clip"
    house.run(0.2)
    assert house.title == "a"


def test_a_clip_that_cannot_be_shown_gives_the_screen_back() -> None:
    """The playlist goes on at once when a clip fails."""
    house = House()
    house.broken.add("clip")
    house.put("list", 10, LIST)
    clip = house.clip()
    assert clip.over
    assert house.program == "list"


def test_a_second_clip_of_the_same_priority_waits() -> None:
    """The clip that came first is shown to its end, then the other, then the playlist."""
    house = House(one=3, two=4)
    house.put("list", 10, LIST)
    house.clip("one")
    house.clip("two")
    house.run(8)
    assert house.seen == ["a", "one", "two", "a"]


def test_a_program_that_is_removed_leaves_the_picture() -> None:
    """The next one has the screen at once; removing twice is harmless; removing the last leaves it idle."""
    house = House()
    low, high = house.put("low", 10, LIST), house.put("high", 20, playlist(image("h")))
    house.stage.remove(high, house.now)
    house.stage.remove(high, house.now)
    assert house.title == "a"
    house.stage.remove(low, house.now)
    assert house.title == ""
    assert house.program is None


def test_while_the_screen_is_down_nothing_passes() -> None:
    """An hour without a screen costs an image nothing, and nobody is shown before the screen is up again."""
    house = House()
    house.put("list", 10, LIST)
    house.run(3.6)
    house.stage.down(house.now)
    assert house.stage.deadline(house.now) is None
    house.now += 3600
    house.lose()
    house.stage.up(house.now)
    house.run(6.3)
    assert house.title == "a"
    house.run(0.2)
    assert house.title == "b"


def test_a_program_put_while_the_screen_is_down_is_shown_when_it_is_up() -> None:
    """What changes while there is no screen is what it begins with."""
    stage = Stage()
    program = PlaylistProgram("list", 10, stage.tokens)
    program.switch(playlist(image("x")), 0)
    stage.put(program, 0)
    shot = stage.scene(0).shot
    assert shot is not None
    stage.started(shot.token, 1)
    assert stage.deadline(1) is None
    stage.up(50)
    stage.started(shot.token, 51)
    assert stage.deadline(51) == 61


def test_tokens_differ_between_stages() -> None:
    """Two screens that show the same list never speak of different showings by the same number."""
    shown = []
    for _ in range(2):
        house = House()
        house.put("list", 10, LIST)
        house.run(25)
        shown += house.tokens
    assert len(set(shown)) == len(shown)


def test_events_reach_a_hidden_program() -> None:
    """The end of a video that came just after a clip took the screen is not lost."""
    house = House()
    house.put("list", 10, playlist(video("v"), image("a")))
    token = house.tokens[0]
    house.clip()
    house.stage.ended(token, house.now)
    house.run(6)
    assert house.seen == ["v", "clip", "a"]


def test_the_scene_carries_background_pause_and_follower_of_who_shows() -> None:
    """Everything about the picture comes from the program that has it."""
    stage = Stage()
    program = PlaylistProgram("list", 10, itertools.count(1))
    plays = Playlist("p", "p", (image("a"), image("b")), background="#112233", canvas=(800, 600))
    program.switch(plays, 0, paused=True)
    stage.put(program, 0)
    scene = stage.scene(0)
    assert (scene.background, scene.paused) == ("#112233", True)
    assert scene.upcoming is not None
    assert scene.upcoming.title == "b"


def test_the_overlay_lies_over_every_program() -> None:
    """Ticker, dimming and volume stay whatever is on; a ticker without a canvas takes that of the playlist."""
    house = House()
    house.stage.ticker = Ticker("hello")
    house.stage.dim_percent, house.stage.volume_percent, house.stage.muted = 30, 40, True
    program = PlaylistProgram("list", 10, house.stage.tokens)
    program.switch(Playlist("p", "p", (image("a"),), canvas=(800, 600)), house.now)
    for canvas in (None, (800, 600)):
        scene = house.stage.scene(house.now)
        assert scene.ticker == Ticker("hello", canvas=canvas)
        assert (scene.dim_percent, scene.volume_percent, scene.muted) == (30, 40, True)
        house.stage.put(program, house.now)
    house.stage.ticker = Ticker("hello", canvas=(100, 50))
    assert house.stage.scene(house.now).ticker == Ticker("hello", canvas=(100, 50))


# Clips that let an item come to its end


def test_a_clip_after_an_image() -> None:
    """The image has all its time; then the clip; then the next item, from its beginning and for all of its time."""
    house = House(clip=7.0)
    house.put("list", 10, LIST)
    house.run(3)
    clip = house.clip(after_item=True)
    assert (house.title, clip.begun) == ("a", False)
    house.run(30)
    assert house.seen == ["a", "clip", "b", "a"]
    assert house.at == [0, 10, 17, 27]


def test_a_clip_after_a_video_follows_without_a_gap() -> None:
    """It is what the player goes on to by itself, instead of the list's next item."""
    house = House(v=20.0, clip=7.0)
    house.put("list", 10, playlist(video("v"), video("w")))
    house.run(3)
    assert house.picture.upcoming is not None
    assert house.picture.upcoming.title == "w"
    house.clip(after_item=True)
    upcoming = house.picture.upcoming
    assert upcoming is not None
    assert upcoming.title == "clip"
    house.run(28)
    assert house.seen == ["v", "clip", "w"]
    assert house.at == [0, 20, 27]
    assert house.tokens[1] == upcoming.token


def test_a_clip_after_the_only_image() -> None:
    """An image that follows itself stays on the screen, and yet is over after its time; afterwards it is there again."""
    house = House(clip=7.0)
    house.put("list", 10, playlist(image("a")))
    house.run(13)
    house.clip(after_item=True)
    house.run(6.9)
    assert house.seen == ["a"]
    house.run(30)
    assert house.seen == ["a", "clip", "a"]
    assert house.at == [0, 20, 27]


def test_a_clip_after_the_end_of_a_list() -> None:
    """The last picture of a list that is over stands, and need not stand longer."""
    house = House(clip=7.0)
    house.put("list", 10, playlist(image("a"), passes=1))
    house.run(3)
    early = house.clip("early", after_item=True)
    house.run(12.1)
    assert (house.seen, early.outcome) == (["a", "early", "a"], "played")
    house.clip("late", after_item=True)
    assert house.title == "late"


def test_a_clip_after_nothing() -> None:
    """On an empty stage, or over programs that have nothing to show, it begins at once."""
    house = House(clip=7.0)
    house.put("empty", 10)
    house.put("far away", 20, playlist(image("x", path="")))
    house.clip(after_item=True)
    assert house.title == "clip"


def test_a_clip_after_an_item_that_breaks_or_is_skipped() -> None:
    """Whatever makes the list go on: the clip comes before the next item."""
    house = House(clip=2.0)
    program = house.put("list", 10, playlist(image("a"), image("b"), image("c")))
    house.run(3)
    house.clip(after_item=True)
    assert program.sequencer is not None
    program.sequencer.step(1, house.now)
    house.run(2.5)
    assert house.seen == ["a", "clip", "b"]
    house.clip("second", after_item=True)
    shot = house.picture.shot
    assert shot is not None
    house.stage.failed(shot.token, house.now)
    house.run(6)
    assert house.seen == ["a", "clip", "b", "second", "c"]


def test_a_clip_over_a_paused_list() -> None:
    """It need not wait for what does not end; afterwards the list stands paused at its place, and goes on from there."""
    house = House(clip=2.0, v=20.0)
    for first, place_s, left_s in ((image("a"), 0.0, 7), (video("v"), 3.0, 17)):
        program = house.put(first.title, 10, playlist(first, image("b")))
        house.run(3)
        assert program.sequencer is not None
        program.sequencer.pause(house.now)
        clip = house.clip(after_item=True)
        assert house.title == "clip"
        assert not house.picture.paused
        house.run(60)
        assert (house.title, clip.outcome, house.picture.paused) == (first.title, "played", True)
        assert house.picture.shot is not None
        assert house.picture.shot.start_s == place_s
        program.sequencer.play(house.now)
        house.run(left_s - 0.1)
        assert house.title == first.title
        house.run(0.2)
        assert house.title == "b"
        house.stage.remove(program, house.now)


def test_a_clip_that_waits_when_the_list_is_paused() -> None:
    """It comes at once."""
    house = House(clip=2.0)
    program = house.put("list", 10, LIST)
    house.clip(after_item=True)
    house.run(3)
    assert program.sequencer is not None
    program.sequencer.pause(house.now)
    assert house.title == "clip"
    house.run(30)
    assert (house.seen, house.picture.paused) == (["a", "clip", "a"], True)


def test_a_clip_does_not_wait_for_ever_for_a_still_picture() -> None:
    """After ten minutes it comes all the same, the next one in line after it; the picture has the rest of its time afterwards."""
    house = House(one=3.0, two=4.0)
    house.put("list", 10, playlist(image("a", 86400.0), image("b")))
    house.run(5)
    house.clip("one", after_item=True)
    house.clip("two", after_item=True)
    house.run(LONGEST_WAIT_S - 0.1)
    assert house.seen == ["a"]
    house.run(86400)
    assert house.seen[:5] == ["a", "one", "two", "a", "b"]
    assert house.at[:5] == [0, 605, 608, 612, 86407]


def test_a_clip_does_not_wait_for_ever_for_a_feed() -> None:
    """One that pushes nothing any more."""
    house = House(clip=2.0)
    feed = FeedProgram("feed", 20, house.stage.tokens, on_started=lambda *_: None, on_failed=lambda *_: None)
    house.stage.put(feed, house.now)
    feed.show(FeedImage(1, "/1", "1"), house.now)
    house.look()
    house.clip(after_item=True)
    house.run(LONGEST_WAIT_S - 0.1)
    assert house.seen == ["1"]
    house.run(10)
    assert house.seen == ["1", "clip", "1"]


def test_a_clip_waits_for_a_long_film() -> None:
    """A film that runs comes to its end by itself."""
    house = House(v=7200.0, clip=2.0)
    house.put("list", 10, playlist(video("v"), image("b")))
    house.clip(after_item=True)
    house.run(7199)
    assert house.seen == ["v"]
    house.run(5)
    assert house.seen == ["v", "clip", "b"]


def test_a_screen_that_was_down_does_not_shorten_an_item() -> None:
    """The longest wait begins when there is something to be seen."""
    house = House(clip=2.0)
    house.put("list", 10, playlist(image("a", 1000.0), image("b")))
    house.clip(after_item=True)
    house.run(100)
    house.stage.down(house.now)
    house.now += 5000
    house.lose()
    house.stage.up(house.now)
    house.run(LONGEST_WAIT_S - 0.1)
    assert house.title == "a"
    house.run(0.2)
    assert house.title == "clip"


def test_clips_in_line() -> None:
    """They come one after the other, without an item between them, also the one that came while another was on."""
    house = House(one=3.0, two=4.0, three=5.0)
    house.put("list", 10, LIST)
    house.clip("one", after_item=True)
    house.clip("two", after_item=True)
    assert house.stage.status(house.now).waiting == ("one (one)", "two (two)")
    house.run(11)
    assert house.picture.upcoming is not None
    assert house.picture.upcoming.title == "two"
    house.clip("three", after_item=True)
    assert house.stage.status(house.now).waiting == ("two (two)", "three (three)", "list")
    house.run(20)
    assert house.seen == ["a", "one", "two", "three", "b"]
    assert house.at == [0, 10, 13, 17, 22]


def test_clips_of_several_links_are_in_line_as_they_came() -> None:
    """A film is not cut short by one that came later, whichever link is named first."""
    house = House(late=4.0, early=3.0)
    house.stage.order = ("late", "early")
    house.clip("early")
    house.run(1)
    house.clip("late")
    house.run(7)
    assert house.seen == ["early", "late"]
    assert house.at == [0, 3]


def test_a_clip_that_is_hidden_comes_back_at_its_place() -> None:
    """What is more important interrupts it; afterwards it goes on, and what it waited for does not come in between."""
    for after_item in (False, True):
        house = House(film=60.0, urgent=5.0)
        house.put("list", 10, LIST)
        film = house.clip("film", 50, after_item=after_item)
        begins = 10 if after_item else 0
        house.run(begins + 20)
        house.clip("urgent", 80)
        assert house.title == "urgent"
        house.run(5)
        shot = house.picture.shot
        assert shot is not None
        assert (shot.title, shot.start_s) == ("film", 20)
        house.run(39.9)
        assert house.title == "film"
        house.run(0.2)
        assert film.over
        assert house.title == ("b" if after_item else "a")


def test_an_item_that_was_interrupted_is_not_over() -> None:
    """A clip that waits for it goes on waiting when something more important has come and gone in between."""
    house = House(urgent=5.0, film=2.0)
    house.put("list", 10, LIST)
    house.run(3)
    house.clip("film", 50, after_item=True)
    house.clip("urgent", 80)
    house.run(5)
    assert house.title == "a"
    house.run(6.9)
    assert house.title == "a"
    house.run(0.2)
    assert house.seen == ["a", "urgent", "a", "film"]


def test_a_clip_after_a_pushed_picture() -> None:
    """A feed shows its picture until the next one is pushed; the clip comes before that."""
    house = House(clip=2.0)
    feed = FeedProgram("feed", 20, house.stage.tokens, on_started=lambda *_: None, on_failed=lambda *_: None)
    house.stage.put(feed, house.now)
    feed.show(FeedImage(1, "/1", "1"), house.now)
    house.look()
    house.clip(after_item=True)
    house.run(60)
    feed.show(FeedImage(2, "/2", "2"), house.now)
    house.run(5)
    assert house.seen == ["1", "clip", "2"]


def test_a_waiting_clip_that_is_removed_or_fails() -> None:
    """The list goes on as if it had never been there; a file found out to be bad beforehand is not waited for."""
    house = House()
    house.put("list", 10, LIST)
    clip = house.clip(after_item=True)
    house.run(5)
    house.stage.remove(clip, house.now)
    bad = house.clip("bad", after_item=True)
    upcoming = house.picture.upcoming
    assert upcoming is not None
    house.stage.failed(upcoming.token, house.now)
    assert bad.outcome == "failed"
    assert house.picture.upcoming is not None
    assert house.picture.upcoming.title == "b"
    house.run(10)
    assert house.seen == ["a", "b"]
    assert house.at == [0, 10]


def test_a_clip_waits_through_a_screen_that_is_down() -> None:
    """The item beneath it has the rest of its time first."""
    house = House(clip=2.0)
    house.put("list", 10, LIST)
    house.run(4)
    house.clip(after_item=True)
    house.stage.down(house.now)
    house.now += 600
    house.lose()
    house.stage.up(house.now)
    house.run(5.9)
    assert house.title == "a"
    house.run(0.2)
    assert house.title == "clip"


def test_a_less_important_clip_waits_for_the_list_to_have_nothing() -> None:
    """Coming after an item is no way past somebody more important."""
    house = House(clip=2.0)
    house.put("list", 60, LIST)
    house.clip(after_item=True)
    house.run(60)
    assert set(house.seen) == {"a", "b"}
    assert house.picture.upcoming is not None
    assert house.picture.upcoming.title != "clip"


# The strip


def test_the_strip_of_several_links() -> None:
    """Three lines at most, in the order of the configuration, what went wrong first; the rest is counted."""
    stage = Stage()
    stage.order = ("one", "two")
    assert stage.scene(0).strip is None
    stage.strips["two"] = [StripLine("2a", "Encoding", 0.5), StripLine("2b", alarm=True)]
    stage.strips["one"] = [StripLine("1a"), StripLine("1b")]
    stage.strips["other"] = [StripLine("x")]
    strip = stage.scene(0).strip
    assert strip is not None
    assert [line.title for line in strip.lines] == ["2b", "1a", "1b"]
    assert strip.more == 2
    assert stage.status(0).strip == ("2b", "1a", "1b", "and 2 more")
    stage.strips.clear()
    assert stage.scene(0).strip is None
    assert stage.status(0).strip == ()
