"""A feed of pictures: what is wanted on the screen, and when an image counts as started."""

from __future__ import annotations

import pytest

from agent.stage.feed import FeedImage, FeedProgram
from agent.stage.playlist_program import PlaylistProgram
from agent.stage.stage import Stage
from tests.stage.cinema import Cinema, image, playlist, video


def picture(number: int) -> FeedImage:
    """One image of the feed."""
    return FeedImage(number, f"/run/feed/{number}.webp", f"n{number}")


class Gallery(Cinema):
    """A cinema with a feed on its stage; `said` is what the link is told."""

    def __init__(self, priority: int = 20, broken: tuple[str, ...] = ()) -> None:
        self.stage = Stage()
        self.said: list[tuple[str, int]] = []
        self.turns: list[bool] = []
        super().__init__(self.stage, {"v": 60.0}, broken)
        self.feed = FeedProgram(
            "feed",
            priority,
            self.stage.tokens,
            on_started=lambda number, _: self.said.append(("started", number)),
            on_failed=lambda number: self.said.append(("failed", number)),
            on_visible=self.turns.append,
        )
        self.stage.put(self.feed, self.now)
        self.stage.up(self.now)

    def show(self, number: int, *, look: bool = True) -> None:
        """The link wants this image."""
        self.feed.show(picture(number), self.now)
        if look:
            self.run(0)

    def over(self, priority: int = 50) -> PlaylistProgram:
        """Something more important comes."""
        program = PlaylistProgram("important", priority, self.stage.tokens)
        program.switch(playlist(image("important")), self.now)
        self.stage.put(program, self.now)
        self.look()
        return program


def test_images_one_after_the_other() -> None:
    """Each is wanted when it is given and said to have started once; they follow as pixels without end."""
    house = Gallery()
    assert house.stage.status(house.now).program is None
    house.show(1)
    house.run(100)
    house.show(2)
    house.show(2)
    assert house.seen == ["n1", "n2"]
    assert house.said == [("started", 1), ("started", 2)]
    shot = house.picture.shot
    assert shot is not None
    assert (shot.kind, shot.pixelated, shot.loop, shot.path) == ("image", True, True, "/run/feed/2.webp")
    status = house.stage.status(house.now)
    assert (status.program, status.playing.state, status.playing.media_id, status.playing.title) == ("feed", "playing", 2, "n2")


def test_the_length_of_an_animation_is_passed_on() -> None:
    """The worker knows how long a round takes."""
    stage, heard = Stage(), []
    feed = FeedProgram("f", 20, stage.tokens, on_started=lambda *said: heard.append(said), on_failed=lambda _: None)
    stage.put(feed, 0)
    stage.up(0)
    feed.show(picture(1), 0)
    shot = stage.scene(0).shot
    assert shot is not None
    stage.started(shot.token, 1, 2.5)
    stage.started(shot.token, 2, 2.5)
    assert heard == [(1, 2.5)]


def test_what_was_prepared_is_shown_as_the_same_shot() -> None:
    """Otherwise it would be decoded twice."""
    house = Gallery()
    house.show(1)
    house.feed.prepare(picture(2))
    upcoming = house.picture.upcoming
    house.feed.prepare(picture(2))
    assert house.picture.upcoming == upcoming
    house.show(2)
    assert house.tokens[1:] == [upcoming.token if upcoming else None]
    assert house.picture.upcoming is None
    house.feed.prepare(picture(3))
    house.feed.prepare(None)
    assert house.picture.upcoming is None


def test_an_image_that_cannot_be_shown_leaves_the_one_before() -> None:
    """The same shot stays, so nothing moves on the screen."""
    house = Gallery(broken=("n2",))
    house.show(1)
    token = house.tokens[-1]
    house.show(2)
    assert house.title == "n1"
    assert house.tokens == [token]
    house.show(3)
    assert house.said == [("started", 1), ("failed", 2), ("started", 3)]


def test_a_fault_that_is_found_beforehand_is_said_at_its_turn() -> None:
    """Until then the image is merely not prepared any more."""
    house = Gallery()
    house.show(1)
    house.feed.prepare(picture(2))
    upcoming = house.picture.upcoming
    assert upcoming is not None
    house.stage.failed(upcoming.token, house.now)
    house.run(10)
    assert house.picture.upcoming is None
    assert house.said == [("started", 1)]
    house.show(2, look=False)
    assert house.said == [("started", 1)], "not from inside the call"
    house.run(0)
    assert house.said == [("started", 1), ("failed", 2)]
    assert house.title == "n1"
    assert house.stage.deadline(house.now) is None


def test_a_first_image_that_cannot_be_shown_gives_the_screen_back() -> None:
    """What was on goes on."""
    house = Gallery(broken=("n1",))
    house.over(10)
    house.show(1)
    assert (house.title, house.said) == ("important", [("failed", 1)])


def test_an_image_that_is_overtaken_is_never_said_to_have_started() -> None:
    """Two pushes in one moment: the second counts."""
    house = Gallery()
    house.show(1)
    house.show(2, look=False)
    house.show(3)
    assert house.said == [("started", 1), ("started", 3)]


def test_beneath_something_more_important_time_goes_on() -> None:
    """Images count as started when they are shown; afterwards the newest is there at once and is not said again."""
    house = Gallery()
    house.show(1)
    above = house.over()
    assert house.turns == [True, house.feed.visible]
    house.show(2)
    house.run(15)
    house.show(3)
    assert house.said == [("started", 1), ("started", 2), ("started", 3)]
    assert house.stage.status(house.now).waiting == ("feed",)
    house.stage.remove(above, house.now)
    assert house.title == "n3"
    assert house.turns == [True, False, True]
    house.run(15)
    assert len(house.said) == 3


def test_an_image_that_is_caught_by_something_more_important() -> None:
    """Wanted, not there yet, and the screen is gone: it counts as started."""
    house = Gallery()
    house.show(1, look=False)
    house.over()
    house.run(0)
    assert house.said == [("started", 1)]


def test_without_a_screen_time_goes_on() -> None:
    """A worker that died shows the present image again and that is not said again; what came meanwhile counted."""
    house = Gallery()
    house.show(1)
    house.stage.down(house.now)
    house.lose()
    house.stage.up(house.now)
    house.look()
    assert house.seen == ["n1", "n1"]
    house.stage.down(house.now)
    house.lose()
    house.feed.show(picture(2), house.now)
    due = house.stage.deadline(house.now)
    assert due is not None
    assert due <= house.now
    house.stage.tick(house.now)
    assert house.stage.deadline(house.now) is None
    house.stage.up(house.now)
    assert house.title == "n2"
    assert house.said == [("started", 1), ("started", 2)]


def test_an_image_that_started_and_cannot_be_shown_any_more() -> None:
    """One that kills the player, or is broken and was counted while hidden: nothing is said, and the screen is given back."""
    house = Gallery()
    house.show(1)
    house.stage.failed(house.tokens[-1], house.now)
    assert house.picture.shot is None
    assert house.said == [("started", 1)]
    house.show(2)
    assert house.title == "n2"


def test_cleared_the_screen_goes_to_who_waits() -> None:
    """A video beneath the feed goes on at its second."""
    house = Gallery()
    below = PlaylistProgram("list", 10, house.stage.tokens)
    below.switch(playlist(video("v"), image("a")), house.now)
    house.stage.put(below, house.now)
    house.look()
    house.run(20)
    house.show(1)
    assert house.stage.status(house.now).waiting == ("list",)
    house.run(300)
    house.feed.clear(house.now)
    assert house.title == "v"
    shot = house.picture.shot
    assert shot is not None
    assert shot.start_s == 20
    house.run(40)
    assert house.title == "a"
    assert house.feed.status(house.now).state == "idle"


def test_files_that_must_stay() -> None:
    """Those of what is on, what is to come on, and what is prepared."""
    house = Gallery(broken=("n4",))
    house.show(1)
    house.feed.prepare(picture(2))
    assert house.feed.needed == {1, 2}
    house.show(2, look=False)
    assert house.feed.needed == {1, 2}
    house.run(0)
    assert house.feed.needed == {2}
    house.show(4)
    assert house.feed.needed == {2}
    house.feed.clear(house.now)
    assert not house.feed.needed


@pytest.mark.parametrize(
    ("device", "feed", "both"), [(0, 0, 0), (30, 0, 30), (0, 30, 30), (50, 50, 75), (100, 0, 100), (-5, 300, 100)]
)
def test_a_feed_is_dimmed_by_itself(device: float, feed: float, both: float) -> None:
    """On top of the device's own brightness, and only while it has the screen."""
    house = Gallery()
    house.stage.dim_percent, house.feed.dim_percent, house.feed.mark = device, feed, True
    scene = house.stage.scene(house.now)
    assert scene.dim_percent == max(device, 0)
    assert not scene.mark
    assert scene.program == ""
    house.show(1)
    token = house.tokens[-1]
    scene = house.stage.scene(house.now)
    assert scene.dim_percent == pytest.approx(both)
    assert scene.mark
    assert scene.program == house.feed.name
    assert scene.shot is not None
    assert scene.shot.token == token
