"""Section 6 of the signage contract: what plays without a network, or with a server that answers oddly."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.box import SERIAL, Box, until
from tests.links.signage.conftest import MakeBox, MakeFile
from tests.servers import PLAYLISTS_PATH, SignageServer, item, playlist


async def test_offline_with_an_expired_token(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Everything on disk plays, commands or not, for ever."""
    server.tokens.access_lifetime_s = 1
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))])])
    async with make_box() as box:
        await box.ready(101)
    await server.stop()
    await asyncio.sleep(1)
    async with box:
        for number in range(5):
            await box.shows("ab"[number % 2] + ".mp4")
            box.screen.end_video()
        assert box.link.state != "connected"
        since = box.served.mark()
        server.tokens.access_lifetime_s = 3600
        await server.start()
        await box.ready(101, since=since)


async def test_offline_with_an_empty_disk(server: SignageServer, box: Box) -> None:
    """An idle screen, no text, no login form."""
    await server.stop()
    async with box:
        await until(lambda: box.link.attempts >= 1)
        assert (box.screen.scene.shot, box.screen.ticker, box.screen.playing.state) == (None, None, "idle")


async def test_offline_with_part_of_a_playlist(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """What had arrived plays."""
    server.fault("/media/gone.png", status=404)
    server.offer([playlist(101, [item(file("gone.png")), item(file("here.png"))])])
    async with make_box() as box:
        await box.says("partial", 101)
    await server.stop()
    async with box:
        await box.shows("here.png")


async def test_a_playlist_that_vanished_plays_on(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Until another one is playable: not merely downloading; and also over a restart."""
    server.offer([playlist(101, [item(file("a.png")), item(file("b.png"))])])
    async with make_box() as box:
        await box.ready(101)
        await box.shows("a.png")
        fault = server.fault("/media/late.png", stall_after=1)
        server.offer([playlist(102, [item(file("late.png"))])])
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.says("downloading", 102, since=since)
        await box.command("next")
        await box.shows("b.png")
        await box.restart()
        await box.shows("b.png")
        await box.command("next")
        await box.shows("a.png")
        server.hub.faults.remove(fault.number)
        await box.shows("late.png")
        await box.restart()
        await box.shows("late.png")


@pytest.mark.parametrize("answer", ["{}", '{"message": "maintenance"}', "[]", "null", "<html>", '{"data": null}'])
async def test_an_odd_answer_does_not_empty_the_box(
    server: SignageServer, make_box: MakeBox, file: MakeFile, answer: str
) -> None:
    """A 200 that is no device's screens changes nothing, on disk neither."""
    server.offer([playlist(101, [item(file("a.png"))])])
    async with make_box() as box:
        await box.ready(101)
        server.fault(PLAYLISTS_PATH, body=answer)
        before = len(server.requests_to(PLAYLISTS_PATH))
        await box.command("reload_playlist")
        await until(lambda: len(server.requests_to(PLAYLISTS_PATH)) > before + 1)
        await box.restart()
        await box.shows("a.png")
        assert [entry["status"] for entry in box.link.playlists()] == ["ready"]


async def test_malformed_lists_spoil_no_others(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Broken playlists and items between whole ones, on the wire and from the disk."""
    lists: list[Any] = [
        None,
        {"id": 1},
        playlist(101, [None, item(file("a.png")), {"media_id": []}]),
        "x",
        {"media_items": []},
        {**playlist(7, []), "id": "7"},
    ]
    body = {"sn_number": SERIAL, "front_screen": {"playlists": lists}, "back_screen": 5, "unknown": {}}
    server.device(SERIAL).raw_screens = json.dumps(body)
    async with make_box() as box:
        assert (await box.says("partial", 101))["missing_files"] == ["item 1", "item 3"]
        assert (await box.says("failed", 7))["error"] == "playlist has no items"
        await box.shows("a.png")
    await server.stop()
    async with box:
        await box.shows("a.png")
