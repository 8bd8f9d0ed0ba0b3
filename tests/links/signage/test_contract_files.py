"""Section 4 of the signage contract over the wire: what fails, and what counts as verified."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.box import QUICK, QUICK_STORE, SERIAL, Box, until
from tests.links.signage.conftest import MakeBox, MakeFile
from tests.servers import OMIT, SignageServer, item, playlist

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


# What goes wrong


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 404}, "HTTP status 404"),
        ({"status": 500}, "HTTP status 500"),
        ({"drop": True}, "network"),
        ({"cut_after": 100}, "network"),
        ({"corrupt": True}, "checksum"),
        ({"short_by": 10}, "size"),
    ],
)
async def test_what_a_failed_playlist_says(
    server: SignageServer, make_box: MakeBox, file: MakeFile, fault: dict[str, Any], words: str
) -> None:
    """`failed` names the cause; the fields are those of the document's example, and it never plays."""
    server.fault("/media/*", **fault)
    server.offer([playlist(101, [item(file("a.png"))])])
    async with make_box(store_timers=replace(QUICK_STORE, tries=2, mismatch_tries=2)) as box:
        said = await box.says("failed", 101)
        [example] = examples("playlist_status_failed.json")
        assert said.keys() == example.keys()
        assert (said["total_items"], said["downloaded_items"]) == (1, 0)
        assert words in said["error"]
        assert len(server.requests_to("/media/")) <= 4
        await asyncio.sleep(0.05)
        assert [one["status"] for one in statuses(box, 101)].count("failed") == 1
        assert (box.screen.history, box.files) == ([], [])


async def test_a_store_that_is_full(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Storage full is a cause of its own; what fits is downloaded."""
    server.offer([playlist(101, [item(file("small.png", 5_000))]), playlist(102, [item(file("big.mp4", 50_000))])])
    async with make_box(quota_bytes=20_000) as box:
        await box.says("ready", 101)
        said = await box.says("failed", 102)
        assert "storage full" in said["error"]


async def test_playlists_without_items(server: SignageServer, make_box: MakeBox) -> None:
    """An empty one, and one of nothing but malformed items."""
    server.offer([playlist(101, []), playlist(102, [None, {"media_id": 5, "media_name": "x.png"}])])
    async with make_box() as box:
        said = await box.says("failed", 101)
        assert (said["error"], said["total_items"], said["downloaded_items"]) == ("playlist has no items", 0, 0)
        said = await box.says("failed", 102)
        assert (said["total_items"], said["downloaded_items"]) == (2, 0)
        assert said["error"]
        assert "missing_files" not in said


async def test_what_a_partial_playlist_says(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """`missing_files` are the media names, else the last part of the address; malformed items count."""
    server.fault("/media/gone*", status=404)
    entries = [
        item(file("here.png")),
        item(file("gone 1.png"), media_name="banner_image.jpg"),
        item(file("gone 2.png"), media_name=OMIT),
        {"media_id": 5, "media_name": "broken.png"},
        {"media_url": "/media/nameless%20one.png"},
        item(file("gone 3.png"), media_name="a\ud800b"),
    ]
    server.device(SERIAL).raw_screens = json.dumps({"sn_number": SERIAL, "front_screen": {"playlists": [playlist(101, entries)]}})
    async with make_box() as box:
        said = await box.says("partial", 101)
        [example] = examples("playlist_status_partial.json")
        assert said.keys() == example.keys()
        assert (said["total_items"], said["downloaded_items"]) == (6, 1)
        assert sorted(said["missing_files"]) == sorted(
            ["banner_image.jpg", "gone 2.png", "broken.png", "nameless one.png", "gone 3.png"]
        )
        await box.shows("here.png")


async def test_failed_files_are_tried_again(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """After a while by themselves, and with a reload at once; the item joins the running loop."""
    server.fault("/media/b.png", status=503, times=3)
    server.fault("/media/c.png", status=404, times=1)
    server.offer([playlist(101, [item(file("a.png")), item(file("b.png")), item(file("c.png"))])])
    async with make_box(timers=replace(QUICK, retry_s=0.1)) as box:
        await box.says("partial", 101)
        await box.ready(101)
        await box.command("next")
        await box.shows("b.png")
        await box.command("next")
        await box.shows("c.png")
        assert box.screen.titles == ["a.png", "b.png", "c.png"]


# Verified


@pytest.mark.parametrize("form", ["upper", "sha256", "none", "unknown kind", "nothing at all"])
async def test_what_counts_as_verified(server: SignageServer, make_box: MakeBox, file: MakeFile, form: str) -> None:
    """Checksums in any case, SHA-256, the size alone, the HTTP length alone."""
    media = file("a.png")
    forms: dict[str, dict[str, Any]] = {
        "upper": {"checksum": media.md5.upper()},
        "sha256": {"checksum": media.sha256},
        "none": {"checksum": None},
        "unknown kind": {"checksum": "crc:1234"},
        "nothing at all": {"checksum": OMIT, "file_size": OMIT},
    }
    server.offer([playlist(101, [item(media, **forms[form])])])
    async with make_box() as box:
        await box.says("ready", 101)
        await box.shows("a.png")
        [path] = box.files
        assert path.read_bytes() == media.data


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"checksum": "0" * 32}, "checksum"),
        ({"checksum": "0" * 64}, "checksum"),
        ({"file_size": 299}, "size"),
        ({"checksum": "", "file_size": 301}, "size"),
        ({"checksum": OMIT, "file_size": 5 * 2**31}, "size"),
    ],
)
async def test_what_does_not(
    server: SignageServer, make_box: MakeBox, file: MakeFile, fields: dict[str, Any], words: str
) -> None:
    """A mismatch is downloaded again, a bounded number of times, and never played."""
    server.offer([playlist(101, [item(file("wrong.png"), **fields), item(file("right.png"))])])
    async with make_box() as box:
        assert (await box.says("partial", 101))["missing_files"] == ["wrong.png"]
        await box.command("next")
        await box.command("previous")
        assert set(box.screen.titles) == {"right.png"}
        assert 1 <= len(server.requests_to("/media/wrong.png")) <= 2
        assert len(box.files) == 1
        failed = [entry for entry in box.link.playlists() if entry["id"] == 101]
        assert failed[0]["missing_files"] == ["wrong.png"]


async def test_a_file_found_damaged_later(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Back to `downloading`, `ready_playlists` without it at once, then both again; the screen skips it meanwhile."""
    server.offer([playlist(101, [item(file("a.png")), item(file("b.png"))]), playlist(102, [item(file("c.png"))])])
    async with make_box() as box:
        await box.ready(101, 102)
        fault = server.fault("/media/b.png", stall_after=10)
        [damaged] = [path for path in box.files if b" b.png " in path.read_bytes()]
        damaged.write_bytes(bytes(reversed(damaged.read_bytes())))
        box.screen.undecodable.add("b.png")
        since = box.served.mark()
        await box.command("next")
        await box.ready(102, since=since)
        assert (await box.says("downloading", 101, since=since))["downloaded_items"] == 1
        await until(lambda: box.screen.titles[-1] == "a.png")
        since = box.served.mark()
        box.screen.undecodable.clear()
        server.hub.faults.remove(fault.number)
        await box.says("ready", 101, since=since)
        await box.ready(101, 102, since=since)


async def test_a_file_that_is_gone_later(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """A file deleted behind the agent's back is noticed and fetched again."""
    server.offer([playlist(101, [item(file("a.png")), item(file("b.png"))])])
    async with make_box() as box:
        await box.ready(101)
        [gone] = [path for path in box.files if b" b.png " in path.read_bytes()]
        gone.unlink()
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.says("downloading", 101, since=since)
        await box.says("ready", 101, since=since)
        assert gone.exists()
