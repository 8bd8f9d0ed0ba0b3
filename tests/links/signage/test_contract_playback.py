"""Section 6 of the signage contract: from the server's playlists to what stands on the screen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.stage import sequencer
from tests.box import until
from tests.links.signage.conftest import MakeBox, MakeFile
from tests.servers import SignageServer, item, playlist

# Order and time


async def test_order_and_times(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """By `order`, ties as listed; `n_time_play` times each; videos to their end, each as a new shot."""
    entries = [
        item(file("c.mp4"), order=2, n_time_play=0),
        item(file("a.mp4"), order=1, n_time_play=2),
        item(file("d.mp4"), order=2, n_time_play=-3),
        item(file("b.mp4"), order="1", n_time_play=None),
    ]
    server.offer([playlist(101, entries)])
    async with make_box() as box:
        await box.ready(101)
        await box.command("play_media", media_index=0)
        start = len(box.screen.titles) - 1
        expected = ["a.mp4", "a.mp4", "b.mp4", "c.mp4", "d.mp4", "a.mp4"]
        for count in range(1, len(expected)):
            await until(lambda n=count: len(box.screen.titles) - start >= n)  # type: ignore[misc]
            box.screen.end_video()
        await until(lambda: box.screen.titles[start:] == expected)
        tokens = [shot.token for shot in box.screen.history]
        assert len(set(tokens)) == len(tokens)


async def test_image_durations(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """The item's own, else the configured default; the next one is announced to the player beforehand."""
    server.offer([playlist(101, [item(file("a.png"), duration_s=0.2), item(file("b.png")), item(file("c.png"), duration_s=60)])])
    async with make_box(image_s=0.3) as box:
        await box.ready(101)
        await box.command("play_media", media_index=0)
        upcoming = box.screen.scene.upcoming
        assert upcoming is not None
        assert upcoming.title == "b.png"
        loop = asyncio.get_running_loop()
        started = loop.time()
        await box.shows("b.png")
        second = loop.time()
        await box.shows("c.png")
        assert 0.15 < second - started < 2
        assert 0.2 < loop.time() - second < 2
        assert [shot.token for shot in box.screen.history][-2] == upcoming.token


@pytest.mark.parametrize(("config", "laps"), [({"repeat": False}, 1), ({"repeat": True, "repeat_count": 2}, 2)])
async def test_finite_playlists(
    server: SignageServer, make_box: MakeBox, file: MakeFile, config: dict[str, Any], laps: int
) -> None:
    """So many passes, then the last frame is held."""
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))], playback_config=config)])
    async with make_box() as box:
        await box.ready(101)
        for number in range(2 * laps):
            await box.shows("ab"[number % 2] + ".mp4")
            box.screen.end_video()
        assert (box.screen.playing.state, box.screen.title) == ("ended", "b.mp4")
        assert box.screen.titles == ["a.mp4", "b.mp4"] * laps
        assert box.screen.scene.upcoming is None


@pytest.mark.parametrize("count", [-1, 0, 1])
async def test_endless_playlists(server: SignageServer, make_box: MakeBox, file: MakeFile, count: int) -> None:
    """`repeat_count` up to 1 is endless."""
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))], repeat_count=count)])
    async with make_box() as box:
        await box.ready(101)
        for number in range(7):
            await box.shows("ab"[number % 2] + ".mp4")
            box.screen.end_video()


async def test_layout_colour_and_effects_reach_the_screen(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Rectangles as fractions of the canvas, background, transitions, fades."""
    entries = [
        item(file("a.png"), layout=(640, 180, 320, 360), fade=(0.5, 1), duration_s=50),
        item(file("b.png"), transition="slide"),
        item(file("c.png"), transition="explode"),
    ]
    server.offer([playlist(101, entries, background_color="#102030")])
    async with make_box() as box:
        await box.ready(101)
        await box.shows("a.png")
        assert (box.screen.scene.background, box.screen.history[0].rect) == ("#102030", (0.5, 0.25, 0.25, 0.5))
        assert (box.screen.history[0].enter, box.screen.history[0].fade_in_s, box.screen.history[0].fade_out_s) == (
            "fade",
            0.5,
            1.0,
        )
        await box.command("next")
        await box.shows("b.png")
        await box.command("next")
        await box.shows("c.png")
        assert [(shot.enter, shot.rect) for shot in box.screen.history[1:]] == [("slide", None), ("cut", None)]


async def test_nothing_black_between(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """From the first picture on there is always one: through items, playlists, reloads, removals."""
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))]), playlist(102, [item(file("c.mp4"))])])
    async with make_box() as box:
        await box.ready(101, 102)
        await box.shows("a.mp4")
        first = next(place for place, scene in enumerate(box.screen.scenes) if scene.shot is not None)
        box.screen.end_video()
        await box.shows("b.mp4")
        await box.command("switch_playlist", playlist_id=102)
        await box.shows("c.mp4")
        server.offer([playlist(103, [item(file("d.mp4"))])])
        await box.command("reload_playlist")
        await box.shows("d.mp4")
        server.offer([])
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(since=since)
        assert all(scene.shot is not None for scene in box.screen.scenes[first:])


# What cannot be shown


async def test_an_undecodable_item(
    server: SignageServer, make_box: MakeBox, file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Skipped, its file verified once, tried again after the next reload."""
    server.offer([playlist(101, [item(file("a.mp4")), item(file("bad.mp4"), media_id=7), item(file("c.mp4"))])])
    async with make_box() as box:
        await box.ready(101)
        await box.shows("a.mp4")
        box.screen.undecodable.add("bad.mp4")
        for title in ("c.mp4", "a.mp4", "c.mp4"):
            box.screen.end_video()
            await box.shows(title)
        assert caplog.text.count("title='bad.mp4'") == 1
        box.screen.undecodable.clear()
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(101, since=since)
        await box.command("previous")
        await box.shows("bad.mp4")
        assert len(server.requests_to("/media/bad.mp4")) == 1


async def test_nothing_is_decodable(
    server: SignageServer, make_box: MakeBox, file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The background colour, a slow retry, no spinning; then it plays."""
    monkeypatch.setattr(sequencer, "RETRY_S", 0.3)
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))], background_color="#203040")])
    box = make_box()
    await box.start()
    box.screen.undecodable.update(("a.mp4", "b.mp4"))
    await box.ready(101)
    await until(lambda: box.screen.scene.background == "#203040" and box.screen.scene.shot is None)
    assert box.screen.history == []
    await asyncio.sleep(0.4)
    assert len(box.screen.scenes) < 30
    box.screen.undecodable.clear()
    await box.shows("a.mp4")
    await box.stop()


# The first choice


@pytest.mark.parametrize(("current", "title"), [(None, "a.png"), (102, "b.png"), (103, "a.png"), (999, "a.png")])
async def test_the_first_choice(
    server: SignageServer, make_box: MakeBox, file: MakeFile, current: int | None, title: str
) -> None:
    """`current_playlist` if it is playable, else the first playable."""
    server.fault("/media/gone.png", status=404)
    lists = [playlist(100, []), playlist(101, [item(file("a.png"))]), playlist(102, [item(file("b.png"))])]
    server.offer([*lists, playlist(103, [item(file("gone.png"))])], current=current)
    async with make_box() as box:
        await box.ready(101, 102)
        await box.shows(title)
        await box.restart()
        await box.shows(title)


async def test_the_first_choice_comes_late(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Until it is there another one stands in."""
    fault = server.fault("/media/late.png", stall_after=1)
    server.offer([playlist(101, [item(file("a.png"))]), playlist(102, [item(file("late.png"))])], current=102)
    async with make_box(parallel=2) as box:
        await box.shows("a.png")
        server.hub.faults.remove(fault.number)
        await box.shows("late.png")
        assert box.screen.titles == ["a.png", "late.png"]


async def test_what_the_server_calls_current_later_changes_nothing(
    server: SignageServer, make_box: MakeBox, file: MakeFile
) -> None:
    """It is the first choice at start, not a command."""
    lists = [playlist(101, [item(file("a.png"), media_id=1)]), playlist(102, [item(file("b.png"), media_id=2)])]
    server.offer(lists, current=101)
    async with make_box() as box:
        await box.ready(101, 102)
        server.offer(lists, current=102)
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(101, 102, since=since)
        await asyncio.sleep(0.05)
        assert box.screen.titles == ["a.png"]


async def test_the_place_is_kept_over_a_restart(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """The same item at nearly the same place, whether it ended or was killed."""
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))])])
    async with make_box() as box:
        await box.ready(101)
        await box.command("next")
        await box.shows("b.mp4")
        box.screen.at(12.5)
        await box.restart()
        await box.shows("b.mp4")
        assert box.screen.history[0].start_s == 12.5
        box.screen.at(40)
        await asyncio.sleep(0.3)
        await box.restart(orderly=False)
        await box.shows("b.mp4")
        assert box.screen.history[0].start_s == 40
