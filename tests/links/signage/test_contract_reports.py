"""Section 4 of the signage contract over the wire: what the server is told about playlists, and when."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.box import QUICK, SERIAL, Box, until
from tests.links.signage.conftest import MakeBox, MakeFile
from tests.servers import PLAYLISTS_PATH, SOCKET_PATH, SignageServer, item, playlist

EXAMPLES = Path(__file__).parents[2] / "examples" / "signage" / "device"
TEMPORARY = {"tries": 1, "mismatch_tries": 1}


def statuses(box: Box, playlist_id: object, since: int = 0) -> list[dict[str, Any]]:
    """What was said about a playlist, oldest first."""
    said = [message.data for message in box.served.messages[since:]]
    return [one for one in said if one["type"] == "playlist_status" and one["playlist_id"] == playlist_id]


def readies(box: Box, since: int = 0) -> list[list[Any]]:
    """The ready_playlists, oldest first."""
    said = [message.data for message in box.served.messages[since:]]
    return [one["playlist_ids"] for one in said if one["type"] == "ready_playlists"]


def examples(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(EXAMPLES.glob(pattern))]


# The sequence


async def test_a_download_from_beginning_to_end(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """The document's flow, field for field: 0/3 at once, each count as it changes, then exactly one `ready`."""
    server.fault("/media/*", delay_s=0.06)
    server.offer([playlist(102, [item(file(f"{number}.png")) for number in range(3)])])
    async with make_box() as box:
        await box.says("ready", 102)
        await box.ready(102)
        await asyncio.sleep(0.1)
        said = [one for one in statuses(box, 102) if (one["status"], one["downloaded_items"]) != ("downloading", 3)]
        assert said == examples("flow_all_items_*.json")


async def test_a_download_with_one_file_missing(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """The document's other flow: `downloading` again after the item that failed, at the end exactly one `partial`."""
    server.fault("/media/*", delay_s=0.06)
    server.fault("/media/video_3.mp4", status=404)
    server.offer([playlist(101, [item(file(f"video_{number}.mp4")) for number in range(1, 6)])])
    async with make_box() as box:
        await box.says("partial", 101)
        await box.ready()
        await asyncio.sleep(0.1)
        said = statuses(box, 101)
    expected = examples("flow_one_missing_*.json")
    if said[-2]["downloaded_items"] == 3:
        said.insert(-1, expected[-2])  # the final status may overtake the last count
    assert [one["downloaded_items"] for one in said] == [0, 1, 2, 2, 3, 4, 4]
    assert said[0] == expected[0]
    assert said[1] == expected[1]
    assert said[2:4] == expected[2:4]
    assert said[-1] == expected[-1]
    assert [one["status"] for one in said] == ["downloading"] * 6 + ["partial"]
    assert 101 not in readies(box)[-1]


async def test_counts_never_fall(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """With parallel downloads and a switch in the midst the counts are monotone and one final status ends them."""
    server.fault("/media/*", delay_s=0.02)
    server.offer([playlist(101, [item(file(f"{number}.png")) for number in range(20)])])
    async with make_box(parallel=3) as box:
        await box.says("downloading", 101)
        await asyncio.sleep(0.05)
        await box.command("switch_playlist", playlist_id=101)
        await box.command("reload_playlist")
        await box.says("ready", 101)
        counts = [one["downloaded_items"] for one in statuses(box, 101)]
        assert counts == sorted(counts)
        finals = [one for one in statuses(box, 101) if one["status"] != "downloading"]
        assert {one["status"] for one in finals} == {"ready"}


async def test_at_most_one_a_second(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """`downloading` is rate-limited per playlist; the final status is not held up."""
    server.fault("/media/*", delay_s=0.01)
    server.offer([playlist(playlist_id, [item(file(f"{playlist_id}-{n}.png")) for n in range(30)]) for playlist_id in (101, 102)])
    async with make_box(timers=replace(QUICK, report_s=0.3), parallel=3) as box:
        await box.says("ready", 101)
        await box.says("ready", 102)
        for playlist_id in (101, 102):
            times = [
                message.at
                for message in box.served.messages
                if message.data.get("playlist_id") == playlist_id and message.data["status"] == "downloading"
            ]
            assert len(times) <= (times[-1] - times[0]) / 0.3 + 2  # one more: the first may have arrived late


async def test_repeated_while_bytes_flow(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """A long download says `downloading` again and again, and is silent while nothing comes."""
    server.fault("/media/big.mp4", bytes_per_s=8e6)
    server.fault("/media/stalls.mp4", stall_after=1000)
    server.offer([playlist(101, [item(file("big.mp4", 8_000_000))]), playlist(102, [item(file("stalls.mp4", 50_000))])])
    async with make_box(parallel=2, timers=replace(QUICK, repeat_s=0.15)) as box:
        await box.says("ready", 101)
        repeated = [one for one in statuses(box, 101) if (one["status"], one["downloaded_items"]) == ("downloading", 0)]
        assert 3 <= len(repeated) <= 10
        assert len(statuses(box, 102)) <= 2


async def test_nothing_is_lost_while_disconnected(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """What was due meanwhile is sent after reconnecting: the newest status per playlist, once."""
    refused = server.fault(SOCKET_PATH, status=500)
    server.fault("/media/gone.png", status=404)
    media = file("a.png")
    server.offer([playlist(101, [item(media, media_id=1)]), playlist(102, [item(file("gone.png"))]), playlist(103, [])])
    async with make_box() as box:
        await until(lambda: [entry["status"] for entry in box.link.playlists()] == ["ready", "failed", "failed"])
        assert box.served.messages == []
        server.hub.faults.remove(refused.number)
        await box.ready(101)
        for playlist_id, status in ((101, "ready"), (102, "failed"), (103, "failed")):
            await box.says(status, playlist_id)
        for playlist_id, status in ((101, "ready"), (103, "failed")):
            assert [one["status"] for one in statuses(box, playlist_id)] == [status]
        assert statuses(box, 102)[0]["status"] == "failed"
        server.offer([playlist(101, [item(media, media_id=1)]), playlist(103, [])])
        since = box.served.mark()
        await box.command("reload_playlist")
        for playlist_id, status in ((101, "ready"), (103, "failed")):
            await box.says(status, playlist_id, since=since)
        await box.ready(101, since=since)
        since = box.served.mark()
        server.drop(SERIAL)
        await server.wait_for(lambda: box.served.connections == 2)
        await box.ready(101, since=since)
        await until(lambda: len(server.requests_to(PLAYLISTS_PATH)) >= 3)
        await asyncio.sleep(0.1)
        assert [message.data["type"] for message in box.served.messages[since:]] == ["ready_playlists"] * len(readies(box, since))


async def test_a_connection_lost_in_the_midst(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """The download goes on; on the new connection the count goes on, too."""
    server.fault("/media/*", delay_s=0.05)
    server.offer([playlist(101, [item(file(f"{number}.png")) for number in range(6)])])
    async with make_box() as box:
        await box.served.wait_for(lambda said: said.get("downloaded_items", 0) >= 2, type="playlist_status")
        server.drop(SERIAL)
        await box.says("ready", 101)
        counts = [one["downloaded_items"] for one in statuses(box, 101)]
        assert counts == sorted(counts)
        assert [one["status"] for one in statuses(box, 101)].count("ready") == 1


# ready_playlists


async def test_ready_playlists_when_there_is_nothing(server: SignageServer, make_box: MakeBox) -> None:
    """After the connection, also when the list is empty; and with no more fields than the document's example."""
    async with make_box() as box:
        assert await box.ready() == {"type": "ready_playlists", "playlist_ids": []}
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(since=since)


async def test_ready_playlists_at_every_occasion(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """After each connection, each reload and each switch; only complete playlists are in it."""
    server.fault("/media/gone.png", status=404)
    server.offer(
        [
            playlist(101, [item(file("a.png"))]),
            playlist(102, [item(file("b.png")), item(file("gone.png"))]),
            playlist(103, [item(file("c.png")), {"media_id": 5}]),
            playlist(104, [item(file("d.png"))]),
        ]
    )
    async with make_box() as box:
        await box.ready(101, 104)
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(101, 104, since=since)
        await box.says("ready", 101, since=since)
        since = box.served.mark()
        await box.command("switch_playlist", playlist_id=104)
        await box.ready(101, 104, since=since)
        since = box.served.mark()
        server.drop(SERIAL)
        await box.ready(101, 104, since=since)
        assert not any({102, 103} & set(ready) for ready in readies(box))


async def test_ready_without_downloading(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """After a restart a complete playlist is `ready` at once; nothing is downloaded, nothing said to be downloading."""
    server.offer([playlist(101, [item(file("a.png")), item(file("b.png"))])])
    async with make_box() as box:
        await box.ready(101)
    since, requests = box.served.mark(), len(server.requests_to("/media/"))
    async with box:
        await box.says("ready", 101, since=since)
        await box.ready(101, since=since)
        assert readies(box, since)[0] == [101]
        assert [one["status"] for one in statuses(box, 101, since)] == ["ready"]
    assert len(server.requests_to("/media/")) == requests


async def test_a_playlist_that_vanished_is_not_announced(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """It plays on, but the server hears only of playlists it has."""
    server.offer([playlist(101, [item(file("a.png"))])])
    async with make_box() as box:
        await box.ready(101)
        await box.shows("a.png")
        server.offer([])
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(since=since)
        await asyncio.sleep(0.1)
        assert box.screen.title == "a.png"
        assert readies(box, since)[-1] == []
        server.offer([playlist(102, [item(file("b.png"))])])
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(102, since=since)
        await box.shows("b.png")
        assert readies(box, since)[-1] == [102]
        assert statuses(box, 101, since) == []


# Priorities and size


async def test_the_wanted_playlist_comes_first(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """A switch to a playlist whose files wait in a long queue brings them to the front."""
    server.fault("/media/*", delay_s=0.03)
    server.offer(
        [
            playlist(101, [item(file("first.png"))]),
            playlist(102, [item(file(f"long-{number}.png")) for number in range(30)]),
            playlist(103, [item(file("wanted.png"))]),
        ]
    )
    async with make_box() as box:
        await box.says("ready", 101)
        await box.command("switch_playlist", playlist_id=103)
        await box.shows("wanted.png")
        assert len(server.requests_to("/media/long")) < 15
        await box.ready(101, 103)


async def test_a_playlist_of_a_thousand_items(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """All counted, ready, and playable from end to end; commands are answered while it loads."""
    files = [file(f"{number}.png", 100) for number in range(40)]
    entries = [item(files[number % 40], media_id=number) for number in range(1000)]
    server.offer([playlist(101, entries)])
    async with make_box(parallel=3) as box:
        await box.says("downloading", 101)
        started = time.monotonic()
        await box.command("set_volume", volume=11)
        assert time.monotonic() - started < 2
        said = await box.says("ready", 101)
        assert (said["total_items"], said["downloaded_items"]) == (1000, 1000)
        assert len(statuses(box, 101)) < 100
        await box.command("play_media", media_index=999)
        await box.shows("39.png")
        assert box.screen.playing.media_index == 999
        await box.command("next")
        await box.shows("0.png")
    assert len(server.requests_to("/media/")) == 40
