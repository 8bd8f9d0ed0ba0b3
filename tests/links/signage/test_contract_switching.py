"""Section 3 of the signage contract over the wire: switch_playlist and play_media."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.box import until
from tests.links.signage.conftest import MakeFile, Playing, fetches
from tests.servers import PLAYLISTS_PATH, SignageServer, item, playlist

# switch_playlist


async def test_switch_to_a_playlist_on_disk(server: SignageServer, playing: Playing) -> None:
    """Its first item, at once, with nothing between; no download, no fetch."""
    async with playing() as box:
        await box.quiet()
        requests = len(server.requests)
        scenes = len(box.screen.scenes)
        await box.command("switch_playlist", playlist_id=102)
        assert box.screen.title == "d.png"
        assert all(scene.shot is not None for scene in box.screen.scenes[scenes:])
        await box.shows("d.png")
        await box.quiet()
        assert len(server.requests) == requests
        assert box.screen.playing.playlist_id == 102


async def test_switch_to_a_playlist_that_is_downloading(server: SignageServer, playing: Playing, file: MakeFile) -> None:
    """The old one plays until all of the new one is there; other commands act at once meanwhile."""
    async with playing() as box:
        fault = server.fault("/media/slow*", stall_after=10)
        entries = [item(server.media.get(f"{name}.png"), media_id=number) for number, name in ((1, "a"), (2, "b"))]
        server.offer([playlist(101, entries), playlist(103, [item(file("slow1.png")), item(file("slow2.png"))])])
        await box.command("reload_playlist")
        await box.says("downloading", 103)
        await box.command("switch_playlist", playlist_id=103)
        assert box.screen.title == "a.png"
        await box.command("next")
        await box.shows("b.png")
        await box.command("pause")
        assert box.screen.scene.paused
        await box.command("set_volume", volume=5)
        await until(lambda: box.volumes[-1:] == [5])
        since = box.served.mark()
        server.hub.faults.remove(fault.number)
        await box.shows("slow1.png")
        assert (box.screen.scene.paused, box.screen.titles) == (False, ["a.png", "b.png", "slow1.png"])
        await box.ready(101, 103, since=since)


async def test_the_newest_switch_wins(server: SignageServer, playing: Playing, file: MakeFile) -> None:
    """A switch that waits is forgotten when another one comes."""
    async with playing() as box:
        fault = server.fault("/media/slow*", stall_after=10)
        entries = [item(server.media.get(f"{name}.png"), media_id=number) for number, name in ((4, "d"), (5, "e"))]
        server.offer([playlist(102, entries), playlist(103, [item(file("slow1.png"))]), playlist(104, [item(file("slow2.png"))])])
        await box.command("switch_playlist", playlist_id=103)
        await box.says("downloading", 103)
        await box.command("switch_playlist", playlist_id=104)
        await box.command("switch_playlist", playlist_id=102)
        await box.shows("d.png")
        server.hub.faults.remove(fault.number)
        await box.ready(102, 103, 104)
        await box.quiet()
        assert box.screen.title == "d.png"


async def test_the_newest_switch_wins_over_one_that_asks_the_server(
    server: SignageServer, playing: Playing, file: MakeFile
) -> None:
    """A switch to an unknown id whose fetch is slow does not undo a later one to a known id."""
    async with playing() as box:
        await box.quiet()
        server.fault(PLAYLISTS_PATH, times=1, delay_s=0.3)
        offered = [playlist(103, [item(file("late.png"))])]
        server.offer([*server.screens_of(box.served)["front_screen"]["playlists"], *offered])
        before = fetches(server)
        await box.command("switch_playlist", playlist_id=103)
        await until(lambda: fetches(server) > before)
        await box.command("switch_playlist", playlist_id=102)
        assert box.screen.title == "d.png"
        await box.ready(101, 102, 103)
        await box.quiet()
        assert box.screen.title == "d.png"


async def test_switch_to_a_playlist_of_which_nothing_plays(
    server: SignageServer, playing: Playing, file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    """The old one stays, also after a restart."""
    async with playing() as box:
        server.fault("/media/gone.png", status=404)
        offered = [playlist(103, [item(file("gone.png"))]), playlist(104, [])]
        server.offer([*server.screens_of(box.served)["front_screen"]["playlists"], *offered])
        for number in (103, 104):
            await box.command("switch_playlist", playlist_id=number)
            await box.says("failed", number)
            await until(lambda n=number: f"old one goes on playlist={n}" in caplog.text)  # type: ignore[misc]
        assert box.screen.titles == ["a.png"]
        await box.restart()
        await box.shows("a.png")


async def test_switch_to_a_partial_playlist(server: SignageServer, playing: Playing, file: MakeFile) -> None:
    """What can be had of it plays."""
    async with playing() as box:
        server.fault("/media/gone.png", status=404)
        offered = [playlist(103, [item(file("gone.png")), {"media_id": 5}, item(file("here.png"))])]
        server.offer([*server.screens_of(box.served)["front_screen"]["playlists"], *offered])
        await box.command("switch_playlist", playlist_id=103)
        await box.shows("here.png")
        await box.command("switch_playlist", playlist_id=101)
        await box.shows("a.png")
        await box.command("switch_playlist", playlist_id=103)
        await box.shows("here.png")


async def test_switch_to_an_unknown_playlist(server: SignageServer, playing: Playing, caplog: pytest.LogCaptureFixture) -> None:
    """One fetch; still unknown: nothing changes, a warning."""
    async with playing() as box:
        await box.quiet()
        before = fetches(server)
        await box.command("switch_playlist", playlist_id=999)
        await until(lambda: "no such playlist" in caplog.text)
        await box.quiet()
        assert fetches(server) - before == 1
        assert box.screen.titles == ["a.png"]
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert sum("playlist=999" in record.getMessage() for record in warnings) == 1


async def test_switch_to_a_playlist_new_on_the_server(server: SignageServer, playing: Playing, file: MakeFile) -> None:
    """The fetch finds it."""
    async with playing() as box:
        server.offer([*server.screens_of(box.served)["front_screen"]["playlists"], playlist(103, [item(file("new.png"))])])
        await box.command("switch_playlist", playlistId="103")
        await box.shows("new.png")


async def test_switch_to_the_current_playlist(playing: Playing) -> None:
    """It begins again."""
    async with playing() as box:
        await box.command("next")
        await box.shows("b.png")
        await box.command("switch_playlist", playlist_id=101)
        await box.shows("a.png")
        await box.command("switch_playlist", playlist_id=101)
        await until(lambda: box.screen.titles == ["a.png", "b.png", "a.png", "a.png"])


@pytest.mark.parametrize("orderly", [True, False])
async def test_a_switch_survives_a_restart(server: SignageServer, playing: Playing, orderly: bool) -> None:
    """The last switch is the first choice, with and without the server, whatever the server calls current."""
    async with playing() as box:
        await box.command("switch_playlist", playlist_id=102)
        await box.shows("d.png")
        await asyncio.sleep(0.05)
        await box.restart(orderly=orderly)
        await box.shows("d.png")
        await server.stop()
        await box.restart(orderly=orderly)
        await box.shows("d.png")


# play_media


async def test_play_media(playing: Playing) -> None:
    """By id, by index in `order`, the id wins; from the start of the item, playing."""
    async with playing() as box:
        await box.command("play_media", media_id=3)
        await box.shows("c.png")
        await box.command("play_media", media_index=1)
        await box.shows("b.png")
        await box.command("pause")
        await box.command("play_media", mediaId="1", mediaIndex=2)
        await box.shows("a.png")
        assert not box.screen.scene.paused
        await box.command("play_media", media_id=1)
        await until(lambda: box.screen.titles[-2:] == ["a.png", "a.png"])


async def test_play_media_ends_a_pause_for_good(playing: Playing) -> None:
    """Also when the same item is asked for, and after the agent was killed."""
    async with playing() as box:
        await box.command("pause")
        await asyncio.sleep(0.05)
        await box.command("play_media", media_id=1)
        await asyncio.sleep(0.05)
        await box.restart(orderly=False)
        await box.shows("a.png")
        assert not box.screen.scene.paused


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"media_id": 99},
        {"media_id": 4},
        {"media_index": 3},
        {"media_index": -1},
        {"media_index": 10**30},
        {"media_id": 99, "media_index": 1},
        {"media_id": 99, "playlist_id": 102},
        {"media_id": 99, "media_index": 0, "playlist_id": 102},
        {"media_id": 1, "playlist_id": 999},
        {"playlist_id": 102},
    ],
)
async def test_play_media_that_is_not_found(
    playing: Playing, caplog: pytest.LogCaptureFixture, arguments: dict[str, Any]
) -> None:
    """Nothing changes, a warning."""
    async with playing() as box:
        await box.command("play_media", **arguments)
        await box.quiet()
        assert (box.screen.titles, box.screen.playing.playlist_id) == (["a.png"], 101)
        assert "no such item" in caplog.text


@pytest.mark.parametrize("arguments", [{"media_id": 5}, {"media_index": 1}, {"media_id": "5", "media_index": 0}])
async def test_play_media_of_another_playlist(playing: Playing, arguments: dict[str, Any]) -> None:
    """Switches there, straight to the item."""
    async with playing() as box:
        await box.command("play_media", playlist_id=102, **arguments)
        await box.shows("e.png")
        assert box.screen.playing.playlist_id == 102
        assert box.screen.titles == ["a.png", "e.png"]


async def test_play_media_of_this_playlist_named(playing: Playing) -> None:
    """The playlist that is on may be named as well."""
    async with playing() as box:
        await box.command("play_media", playlist_id="101", media_id=2)
        await box.shows("b.png")


async def test_play_media_that_must_be_downloaded(server: SignageServer, playing: Playing, file: MakeFile) -> None:
    """The playlist swaps in when it has come, at that item."""
    async with playing() as box:
        server.fault("/media/slow*", delay_s=0.1)
        offered = playlist(103, [item(file("slow1.png"), media_id=11), item(file("slow2.png"), media_id=12)])
        server.offer([*server.screens_of(box.served)["front_screen"]["playlists"], offered])
        await box.command("reload_playlist")
        await box.says("downloading", 103)
        await box.command("play_media", playlist_id=103, media_id=12)
        await box.shows("slow2.png")
        assert box.screen.titles == ["a.png", "slow2.png"]
