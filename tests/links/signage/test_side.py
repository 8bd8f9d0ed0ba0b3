"""Which playlist a side plays, as a story without I/O; times are monotonic seconds."""

from __future__ import annotations

import itertools
import logging

import pytest

from agent.links.signage.playlists import Media, ServerPlaylist, SidePlaylists
from agent.links.signage.side import Place, Side
from agent.stage.playlist import Item
from agent.stage.playlist_program import PlaylistProgram


def made(playlist_id: int | str, *names: str) -> ServerPlaylist:
    """A playlist of videos; the names are titles, addresses and media ids."""
    media = (Media(Item(name, name, "", "video", 10.0), f"http://x/{name}", name, None, "") for name in names)
    return ServerPlaylist(playlist_id, f"Playlist {playlist_id}", tuple(media))


class Disk:
    """What is there and what is being fetched."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.busy: set[int | str] = set()

    def path_of(self, media: Media) -> str:
        return f"/{media.file_name}" if media.file_name in self.names else ""

    def is_busy(self, playlist_id: int | str) -> bool:
        return playlist_id in self.busy


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def side(disk: Disk) -> Side:
    made_side = Side("front", PlaylistProgram("main", 10, itertools.count(1)), path_of=disk.path_of, is_busy=disk.is_busy)
    made_side.program.shown(0)
    return made_side


def on(side: Side) -> tuple[int | str | None, str]:
    """Playlist and title."""
    status = side.program.status(0)
    return (side.playing.playlist_id if side.playing else None, status.title)


def offer(*playlists: ServerPlaylist, current: int | str | None = None) -> SidePlaylists:
    return SidePlaylists(playlists, current)


def test_nothing(side: Side) -> None:
    """An empty side is idle and takes every command."""
    side.update(offer(), 0)
    side.pause(0)
    side.play(0)
    side.settle(0)
    assert (on(side), side.urgent, side.place(0), side.paused) == ((None, ""), set(), None, False)


def test_the_first_item_that_comes_is_on(side: Side, disk: Disk) -> None:
    """It does not wait for the whole list."""
    disk.busy = {1}
    side.update(offer(made(1, "a", "b")), 0)
    assert (on(side), side.urgent) == ((None, ""), {1})
    disk.names.add("b")
    side.files_changed(1, 1)
    assert on(side) == (1, "b")


def test_the_preferred_one_replaces_its_stand_in(side: Side, disk: Disk) -> None:
    """When all of it has been tried, and only then."""
    disk.busy, disk.names = {2}, {"a"}
    side.update(offer(made(1, "a"), made(2, "b", "c"), current=2), 0)
    assert (on(side), side.urgent) == ((1, "a"), {1, 2})
    disk.names.add("b")
    side.files_changed(2, 1)
    assert on(side) == (1, "a")
    disk.busy.clear()
    side.settle(2)
    assert on(side) == (2, "b")


def test_a_command_ends_the_waiting_for_the_preferred_one(side: Side, disk: Disk) -> None:
    """A switch to what is on counts, too."""
    disk.busy, disk.names = {2}, {"a"}
    side.update(offer(made(1, "a"), made(2, "b"), current=2), 0)
    assert side.switch(1, 1) is False
    disk.names.add("b")
    disk.busy.clear()
    side.files_changed(2, 2)
    assert on(side) == (1, "a")


def test_switch(side: Side, disk: Disk) -> None:
    """At once if it is on disk, else when it has come; the newest wins."""
    disk.names = {"a", "b"}
    side.update(offer(made(1, "a"), made(2, "b"), made(3, "c")), 0)
    assert side.switch(2, 1) is False
    assert on(side) == (2, "b")
    disk.busy = {3}
    assert side.switch(3, 2) is True
    assert (on(side), side.urgent, side.chosen) == ((2, "b"), {2, 3}, 3)
    assert side.switch(1, 3) is False
    disk.names.add("c")
    disk.busy.clear()
    side.files_changed(3, 4)
    assert (on(side), side.chosen) == ((1, "a"), 1)


def test_a_switch_that_fails(side: Side, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """The old one goes on and is the choice again."""
    disk.names, disk.busy = {"a"}, {2}
    side.update(offer(made(1, "a"), made(2, "b")), 0)
    side.switch(2, 1)
    disk.busy.clear()
    side.settle(2)
    assert (on(side), side.chosen) == ((1, "a"), 1)
    assert "old one goes on playlist=2" in caplog.text
    caplog.clear()
    side.settle(3)
    assert caplog.text == ""


def test_a_switch_whose_playlist_vanishes(side: Side, disk: Disk) -> None:
    """It is forgotten."""
    disk.names, disk.busy = {"a"}, {2}
    side.update(offer(made(1, "a"), made(2, "b")), 0)
    side.switch(2, 1)
    side.update(offer(made(1, "a")), 2)
    disk.busy.clear()
    side.settle(3)
    assert (on(side), side.urgent) == ((1, "a"), {1})


def test_a_switch_to_an_item(side: Side, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """At once or later; an item that did not come leaves the first one."""
    disk.names = {"a", "b", "c"}
    side.update(offer(made(1, "a"), made(2, "b", "c"), made(3, "d", "e")), 0)
    side.switch(2, 1, media_id="c")
    assert on(side) == (2, "c")
    side.switch(2, 1, index=0)
    assert on(side) == (2, "b")
    disk.busy = {3}
    side.switch(3, 2, media_id="e")
    disk.names.add("d")
    disk.busy.clear()
    side.files_changed(3, 3)
    assert on(side) == (3, "d")
    assert "no such item on disk" in caplog.text


def test_restarting_the_current_one(side: Side, disk: Disk) -> None:
    """Also while part of it is missing, which is then fetched."""
    disk.names = {"a", "b"}
    side.update(offer(made(1, "a", "b", "c")), 0)
    assert side.program.sequencer is not None
    side.program.sequencer.step(1, 1)
    assert on(side) == (1, "b")
    assert side.switch(1, 2) is True
    assert on(side) == (1, "a")


def test_pause_and_what_comes_by_itself(side: Side, disk: Disk) -> None:
    """A playlist that takes over by itself comes up frozen; one that was commanded plays."""
    disk.names = {"a", "b"}
    side.update(offer(made(1, "a")), 0)
    side.pause(1)
    side.update(offer(made(2, "b")), 2)
    assert (on(side), side.paused) == ((2, "b"), True)
    side.switch(2, 3)
    assert side.paused is False


def test_a_vanished_playlist_plays_on(side: Side, disk: Disk) -> None:
    """Until another one is playable."""
    disk.names = {"a"}
    side.update(offer(made(1, "a")), 0)
    side.update(offer(made(2, "b")), 1)
    assert on(side) == (1, "a")
    disk.names.add("b")
    side.files_changed(2, 2)
    assert on(side) == (2, "b")


def test_a_playlist_whose_last_file_is_lost(side: Side, disk: Disk) -> None:
    """Another one takes over; it does not come back by itself."""
    disk.names = {"a", "b"}
    side.update(offer(made(1, "a"), made(2, "b")), 0)
    disk.names.remove("a")
    side.files_changed(1, 1)
    assert on(side) == (2, "b")
    disk.names.add("a")
    side.files_changed(1, 2)
    assert on(side) == (2, "b")


@pytest.mark.parametrize(
    ("chosen", "current", "expected"), [(3, 2, 3), (9, 2, 2), (None, 2, 2), (None, None, 1), (4, 2, 2), (None, 4, 1)]
)
def test_the_first_choice(side: Side, disk: Disk, chosen: int | None, current: int | None, expected: int) -> None:
    """The last switch, the server's current one, the first; playable and known."""
    disk.names = {"a", "b", "c"}
    side.restore(chosen, None, paused=False)
    side.update(offer(made(1, "a"), made(2, "b"), made(3, "c"), made(4, "d"), current=current), 0)
    assert on(side)[0] == expected


def test_the_place_of_an_earlier_run(side: Side, disk: Disk) -> None:
    """Taken up once, for the same playlist, frozen if it was."""
    disk.names = {"a", "b"}
    side.restore(None, Place(1, "b", 7.5), paused=True)
    assert side.place(0) == Place(1, "b", 7.5)
    side.update(offer(made(1, "a", "b")), 0)
    assert side.place(0) == Place(1, "b", 7.5)
    assert side.paused
    side.switch(1, 1)
    assert (on(side), side.place(1)) == ((1, "a"), Place(1, "a", 0.0))


@pytest.mark.parametrize("place", [Place(2, "b", 7.5), Place(1, "gone", 7.5)])
def test_a_place_that_is_no_more(side: Side, disk: Disk, place: Place) -> None:
    """Then from the first item."""
    disk.names = {"a", "b"}
    side.restore(None, place, paused=False)
    side.update(offer(made(1, "a", "b")), 0)
    assert side.place(0) == Place(1, "a", 0.0)


def test_a_changed_list_joins_what_runs(side: Side, disk: Disk) -> None:
    """What is on stays on."""
    disk.names = {"a", "b", "c"}
    side.update(offer(made(1, "a", "b")), 0)
    side.update(offer(made(1, "c", "a")), 1)
    assert on(side) == (1, "a")
    assert side.program.sequencer is not None
    side.program.sequencer.step(-1, 2)
    assert on(side) == (1, "c")


def test_every_start_is_logged(side: Side, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """Playlist, name and side."""
    disk.names = {"a"}
    with caplog.at_level(logging.INFO):
        side.update(offer(made(1, "a")), 0)
    assert "playlist on playlist=1 name='Playlist 1' side=front" in caplog.text
