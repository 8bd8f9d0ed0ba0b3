"""Section 3 of the signage contract over the wire: play, pause, next, previous, reload."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.box import SERIAL, Box, until
from tests.links.signage.conftest import MakeBox, MakeFile, Playing, fetches
from tests.servers import PLAYLISTS_PATH, SignageServer, item, playlist

# play, pause


async def test_play_has_no_effect_while_playing(playing: Playing) -> None:
    """The same shot goes on."""
    async with playing() as box:
        await box.command("play")
        await box.command("play")
        assert box.screen.titles == ["a.png"]


async def test_pause_and_play(playing: Playing) -> None:
    """The picture freezes and goes on, the same shot; twice is harmless."""
    async with playing() as box:
        for _ in range(2):
            await box.command("pause")
            assert (box.screen.scene.paused, box.screen.playing.state) == (True, "paused")
        for _ in range(2):
            await box.command("play")
            assert (box.screen.scene.paused, box.screen.playing.state) == (False, "playing")
        assert box.screen.titles == ["a.png"]


async def test_pause_keeps_the_remaining_time(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """An image of 0.6 s that is paused after 0.3 s stays for 0.3 s more, however long the pause was."""
    server.offer([playlist(101, [item(file("a.png"), duration_s=0.6), item(file("b.png"), duration_s=60)])])
    async with make_box() as box:
        await box.ready(101)
        await box.command("play_media", media_index=0)
        await asyncio.sleep(0.3)
        await box.command("pause")
        left_s = 0.6 - box.screen.playing.position_s
        await asyncio.sleep(0.5)
        assert box.screen.playing.position_s == pytest.approx(0.6 - left_s)
        await box.command("play")
        resumed = time.monotonic()
        await box.shows("b.png")
        assert left_s - 0.05 < time.monotonic() - resumed < left_s + 0.25


async def test_pause_survives_reload_and_reconnection(server: SignageServer, playing: Playing) -> None:
    """And a restart of the agent."""
    async with playing() as box:
        await box.command("pause")
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(101, 102, since=since)
        assert box.screen.scene.paused
        server.drop(SERIAL)
        await server.wait_for(lambda: box.served.connections == 2)
        await box.ready(101, 102, since=since)
        assert (box.screen.scene.paused, box.screen.titles) == (True, ["a.png"])
        await box.restart()
        await box.shows("a.png")
        assert box.screen.scene.paused
        await box.command("play")
        assert not box.screen.scene.paused


async def test_a_video_is_paused(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """The player is told to; the position is kept."""
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))])])
    async with make_box() as box:
        await box.ready(101)
        await box.shows("a.mp4")
        box.screen.at(6.4)
        await box.command("pause")
        assert box.screen.scene.paused
        await box.command("play")
        assert (box.screen.playing.position_s, box.screen.titles) == (6.4, ["a.mp4"])


async def test_play_after_the_end(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """After a finite playlist has ended, `play` begins at its first item; `next` and `previous` move, too."""
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))], repeat=False)])
    async with make_box() as box:
        await box.ready(101)
        await box.shows("a.mp4")
        box.screen.end_video()
        await box.shows("b.mp4")
        box.screen.end_video()
        assert (box.screen.playing.state, box.screen.title) == ("ended", "b.mp4")
        await box.command("play")
        await box.shows("a.mp4")
        assert box.screen.titles == ["a.mp4", "b.mp4", "a.mp4"]


# next, previous


async def test_next_and_previous_wrap(playing: Playing) -> None:
    """One on or back, round both ends."""
    async with playing() as box:
        for action, title in (("next", "b"), ("next", "c"), ("next", "a"), ("previous", "c"), ("previous", "b")):
            await box.command(action)
            await box.shows(f"{title}.png")


@pytest.mark.parametrize("action", ["next", "previous"])
async def test_stepping_ends_a_pause(playing: Playing, action: str) -> None:
    """Playing afterwards, also after a restart."""
    async with playing() as box:
        await box.command("pause")
        await box.command(action)
        assert (box.screen.scene.paused, box.screen.playing.state) == (False, "playing")
        async with asyncio.timeout(10):
            while (await box.state.get("signage.main.front"))["paused"]:
                await asyncio.sleep(0.01)
        await box.restart(orderly=False)
        await until(lambda: box.screen.title)
        assert not box.screen.scene.paused


async def test_stepping_skips_what_is_not_on_disk(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Missing items are passed over in both directions."""
    server.fault("/media/gone*", status=404)
    names = ["a.png", "gone1.png", "gone2.png", "b.png", "gone3.png"]
    server.offer([playlist(101, [item(file(name)) for name in names])])
    async with make_box() as box:
        await box.says("partial", 101)
        await box.shows("a.png")
        for action, title in (("next", "b"), ("next", "a"), ("previous", "b"), ("previous", "a")):
            await box.command(action)
            await box.shows(f"{title}.png")


async def test_stepping_with_one_item_restarts_it(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """A new shot of the same item."""
    server.offer([playlist(101, [item(file("a.mp4"))])])
    async with make_box() as box:
        await box.ready(101)
        await box.shows("a.mp4")
        await box.command("next")
        await until(lambda: box.screen.titles == ["a.mp4"] * 2)
        await box.command("previous")
        await until(lambda: box.screen.titles == ["a.mp4"] * 3)
        assert len({shot.token for shot in box.screen.history}) == 3


async def test_three_next_at_once_move_three_items(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """None is swallowed."""
    server.offer([playlist(101, [item(file(f"{number}.png")) for number in range(7)])])
    async with make_box() as box:
        await box.ready(101)
        await box.shows("0.png")
        for _ in range(3):
            await server.send(SERIAL, {"action": "next"})
        await box.shows("3.png")


async def test_commands_with_nothing_to_play(box: Box) -> None:
    """An empty box takes every command without harm."""
    async with box:
        await box.ready()
        for action in ("play", "pause", "next", "previous", "hide_text_overlay", "play_media", "reload_playlist"):
            await box.command(action)
        await box.command("switch_playlist", playlist_id=7)
        await box.command("play_media", media_id=7, playlist_id=8)
        await box.command("cleanup_old_playlists", playlistIdsToKeep=[1])
        await box.quiet()
        assert box.served.connections == 1


async def test_a_pause_before_there_is_anything(server: SignageServer, box: Box, file: MakeFile) -> None:
    """What comes later comes up frozen."""
    async with box:
        await box.ready()
        await box.command("pause")
        server.offer([playlist(101, [item(file("a.png"))])])
        await box.command("reload_playlist")
        await box.shows("a.png")
        assert box.screen.scene.paused


# reload_playlist


async def test_reload_leaves_what_plays_undisturbed(server: SignageServer, playing: Playing, file: MakeFile) -> None:
    """New and changed items join the running loop; removed ones leave it."""
    async with playing() as box:
        changed = server.media.add("c2.png", b"changed " * 40)
        entries = [
            item(server.media.get("a.png"), media_id=1),
            item(file("new.png"), media_id=9),
            item(changed, media_id=3, media_name="c.png"),
        ]
        server.offer([playlist(101, entries), playlist(102, [])])
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(101, since=since)
        assert box.screen.titles == ["a.png"]
        for title in ("new.png", "c.png", "a.png"):
            await box.command("next")
            await box.shows(title)
        assert b"changed" in open(box.screen.history[2].path, "rb").read()  # noqa: ASYNC230, PTH123, SIM115


async def test_reload_that_removes_what_plays(server: SignageServer, playing: Playing) -> None:
    """What followed it comes on, without anything else between."""
    async with playing() as box:
        await box.command("next")
        await box.shows("b.png")
        server.offer(
            [playlist(101, [item(server.media.get(f"{name}.png"), media_id=number) for number, name in ((1, "a"), (3, "c"))])]
        )
        await box.command("reload_playlist")
        await box.shows("c.png")
        assert box.screen.titles == ["a.png", "b.png", "c.png"]
        assert all(scene.shot is not None for scene in box.screen.scenes[box.screen.scenes.index(box.screen.scene) - 1 :])


async def test_two_reloads_at_once(server: SignageServer, playing: Playing) -> None:
    """At most one more fetch than one of them alone."""
    async with playing() as box:
        await box.quiet()
        server.fault(PLAYLISTS_PATH, delay_s=0.1)
        before, since = fetches(server), box.served.mark()
        for _ in range(2):
            await box.command("reload_playlist")
        await box.ready(101, 102, since=since)
        for _ in range(5):
            await box.command("reload_playlist")
        await asyncio.sleep(0.4)
        assert fetches(server) - before <= 4


@pytest.mark.parametrize("key", ["new_solution_id", "newSolutionId"])
async def test_reload_with_a_switch(server: SignageServer, playing: Playing, file: MakeFile, key: str) -> None:
    """`new_solution_id`: after the fetch that playlist is on, here one the box did not know."""
    async with playing() as box:
        server.offer([playlist(101, []), playlist(103, [item(file("new.png"))])])
        await box.command("reload_playlist", params={key: "103"})
        await box.shows("new.png")
        assert box.screen.playing.playlist_id == 103


async def test_reload_with_an_unknown_playlist(playing: Playing, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing changes, a warning says so."""
    async with playing() as box:
        since = box.served.mark()
        await box.command("reload_playlist", params={"new_solution_id": 999})
        await box.ready(101, 102, since=since)
        await until(lambda: "no such playlist" in caplog.text)
        assert box.screen.titles == ["a.png"]


async def test_reload_while_the_server_is_in_trouble(server: SignageServer, playing: Playing, file: MakeFile) -> None:
    """It is carried out when the server answers again."""
    async with playing() as box:
        server.fault(PLAYLISTS_PATH, times=3, status=500)
        server.offer([playlist(101, [item(server.media.get("a.png"), media_id=1)]), playlist(103, [item(file("new.png"))])])
        await box.command("reload_playlist", params={"new_solution_id": 103})
        await box.shows("new.png")
