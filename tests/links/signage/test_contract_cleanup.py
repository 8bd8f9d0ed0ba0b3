"""Section 3 of the signage contract over the wire: cleanup_old_playlists."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from agent.media import files
from tests.box import DEADLINE_S, SERIAL, until
from tests.links.signage.conftest import MakeBox, MakeFile, Playing, fetches
from tests.servers import SignageServer, item, playlist


async def test_cleanup(server: SignageServer, playing: Playing) -> None:
    """The other playlists' files go, are not fetched again by themselves, and come back when they are asked for."""
    async with playing() as box:
        since, requests = box.served.mark(), len(server.requests_to("/media/"))
        assert len(box.files) == 5
        await box.command("cleanup_old_playlists", playlistIdsToKeep=[101])
        await box.ready(101, since=since)
        await until(lambda: len(box.files) == 3)
        since = box.served.mark()
        server.drop(SERIAL)
        await box.ready(101, since=since)
        await box.restart()
        await box.ready(101, since=since)
        await until(lambda: fetches(server) >= 4)
        await box.quiet()
        assert (len(box.files), len(server.requests_to("/media/"))) == (3, requests)
        await box.command("switch_playlist", playlist_id=102)
        await box.shows("d.png")
        assert len(server.requests_to("/media/")) == requests + 2


@pytest.mark.parametrize("how", ["reload", "switch"])
async def test_what_was_fetched_again_after_a_cleanup_stays(server: SignageServer, playing: Playing, how: str) -> None:
    """A later start does not take it for cleaned up."""
    async with playing() as box:
        since = box.served.mark()
        await box.command("cleanup_old_playlists", playlistIdsToKeep=[101])
        await box.ready(101, since=since)
        since = box.served.mark()
        if how == "reload":
            await box.command("reload_playlist")
        else:
            await box.command("switch_playlist", playlist_id=102)
        await box.ready(101, 102, since=since)
        if how == "switch":
            await box.command("switch_playlist", playlist_id=101)
        await box.quiet()
        since = box.served.mark()
        await box.restart()
        await box.says("ready", 102, since=since)
        await box.ready(101, 102, since=since)
        assert [message.data["playlist_ids"] for message in box.served.messages[since:] if "playlist_ids" in message.data][
            -1
        ] == [101, 102]


@pytest.mark.parametrize("keep", [None, [], "101", {}, [None]])
async def test_cleanup_without_a_list_is_refused(playing: Playing, caplog: pytest.LogCaptureFixture, keep: Any) -> None:
    """Nothing is deleted."""
    async with playing() as box:
        await box.command("cleanup_old_playlists", playlistIdsToKeep=keep)
        await box.quiet()
        assert len(box.files) == 5
        assert "cleanup_old_playlists" in caplog.text


async def test_cleanup_spares_what_plays_and_what_is_shared(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Never the playing playlist's files, never a file another one uses."""
    shared, own, other = file("shared.png"), file("own.png"), file("other.png")
    server.offer(
        [playlist(101, [item(shared), item(own)]), playlist(102, [item(shared), item(other)]), playlist(103, [item(other)])]
    )
    async with make_box() as box:
        await box.ready(101, 102, 103)
        since = box.served.mark()
        await box.command("cleanup_old_playlists", params={"playlistIdsToKeep": ["103"]})
        await box.ready(101, 103, since=since)
        assert len(box.files) == 3
        since = box.served.mark()
        await box.command("cleanup_old_playlists", playlist_ids_to_keep=[999])
        await box.ready(101, since=since)
        await until(lambda: len(box.files) == 2)
        assert box.screen.playing.playlist_id == 101
        await box.command("next")
        await box.shows("own.png")


async def test_cleanup_of_a_playlist_the_server_no_longer_has(server: SignageServer, playing: Playing) -> None:
    """The files of one that has vanished are old, too."""
    async with playing() as box:
        server.offer([entry for entry in server.screens_of(box.served)["front_screen"]["playlists"] if entry["id"] == 101])
        since = box.served.mark()
        await box.command("reload_playlist")
        await box.ready(101, since=since)
        assert len(box.files) == 5
        await box.command("cleanup_old_playlists", playlistIdsToKeep=[101])
        await until(lambda: len(box.files) == 3)


async def test_a_switch_while_files_are_being_deleted(
    server: SignageServer, playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be deleted is not put on as it is: the switch fetches it again and it is never taken for cleaned up."""
    async with playing() as box:
        begun, go_on, remove = asyncio.Event(), threading.Event(), files.remove_file
        loop = asyncio.get_running_loop()

        def slow(path: Path) -> Any:
            loop.call_soon_threadsafe(begun.set)
            go_on.wait(DEADLINE_S)
            return remove(path)

        monkeypatch.setattr(files, "remove_file", slow)
        await box.command("cleanup_old_playlists", playlistIdsToKeep=[101])
        await begun.wait()
        await box.command("switch_playlist", playlist_id=102)
        go_on.set()
        await box.shows("d.png")
        assert all(Path(shot.path).exists() for shot in box.screen.history)
        assert box.link._commands.released == set()
        await box.restart()
        await box.shows("d.png")
        await box.ready(101, 102)
