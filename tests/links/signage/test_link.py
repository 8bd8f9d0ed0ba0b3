"""The signage link as a part of the daemon: status, handover, trouble with the disk."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.links.link import Link, SocketLimits
from agent.system.state import State, StateError
from tests.box import QUICK, QUICK_STORE, Box, until
from tests.links.signage.conftest import MakeBox, MakeFile, Playing
from tests.servers import SOCKET_PATH, SignageServer, item, playlist


async def test_playlists_in_the_status(server: SignageServer, box: Box, file: MakeFile) -> None:
    """Exactly the keys of `status --json`."""
    server.fault("/media/gone.png", status=404)
    server.offer([playlist(101, [item(file("a.png")), item(file("gone.png"))], name="Spring"), playlist(102, [])])
    async with box:
        await box.says("partial", 101)
        await box.says("failed", 102)
        assert box.link.playlists() == [
            {
                "link": "main",
                "id": 101,
                "name": "Spring",
                "status": "partial",
                "total_items": 2,
                "downloaded_items": 1,
                "missing_files": ["gone.png"],
                "error": None,
            },
            {
                "link": "main",
                "id": 102,
                "name": "Playlist 102",
                "status": "failed",
                "total_items": 0,
                "downloaded_items": 0,
                "missing_files": [],
                "error": "playlist has no items",
            },
        ]


async def test_the_state_of_the_connection(server: SignageServer, box: Box) -> None:
    """Listeners hear of every change; attempts and the last error are there while it is down, gone when it is up."""
    states: list[str] = []
    server.fault(SOCKET_PATH, times=2, status=500)
    async with box:
        box.link.on_change(lambda: states.append(box.link.state))
        await box.connected()
        await until(lambda: box.link.state == "connected")
        assert (box.link.attempts, box.link.last_error) == (0, "")
        since = box.link.since
        await server.stop()
        await until(lambda: box.link.attempts >= 2)
        assert box.link.last_error
        assert "token=" not in box.link.last_error
        assert box.link.since >= since
    assert {"connected", "waiting", "connecting"} <= set(states)


async def test_a_link_that_is_taken_off(server: SignageServer, box: Box, file: MakeFile) -> None:
    """It gives the screen back, keeps no file any more and hears of nothing; put on again it goes on."""
    server.offer([playlist(101, [item(file("a.png"))])])
    async with box:
        await box.ready(101)
        await box.shows("a.png")
        await box.command("show_text_overlay", text_overlay={"text": "x"})
        task = box._tasks.pop()
        task.cancel()
        await asyncio.wait({task})
        assert box.screen.title == "a.png"
        box.link.leave()
        assert (box.screen.scene.shot, box.screen.ticker) == (None, None)
        assert box.screen._listeners == []
        assert box.media._shelf.listeners == []
        await until(lambda: box.served.live == 0)


async def test_a_screen_that_changes_while_the_link_ends(
    server: SignageServer, box: Box, file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing takes its time with a server that does not answer; the screen's events do no harm meanwhile."""
    monkeypatch.setattr(Link, "limits", SocketLimits(close_s=0.3))
    server.offer([playlist(101, [item(file("a.mp4")), item(file("b.mp4"))])])
    async with box:
        await box.ready(101)
        server.fault(SOCKET_PATH, deaf=True)
        server.drop(box.serial)
        await server.wait_for(lambda: box.served.connections == 2)
        await until(lambda: box.link.state == "connected")
        task = box._tasks.pop()
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        for _ in range(2):
            box.screen.end_video()
            await asyncio.sleep(0.01)
        await asyncio.wait({task})
        box.link.leave()
        assert box.screen.scene.shot is None


async def test_a_disk_that_is_full(
    server: SignageServer, box: Box, file: MakeFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be written: every command acts all the same, each failure is said, the link lives."""
    server.offer([playlist(101, [item(file("a.png")), item(file("b.png"))]), playlist(102, [item(file("c.png"))])])
    async with box:
        await box.ready(101, 102)

        async def full(*_: Any, **__: Any) -> None:
            raise StateError("state cannot be written: disk full")

        with monkeypatch.context() as patch:
            patch.setattr(State, "write", full)
            await box.command("next")
            await box.shows("b.png")
            await box.command("set_volume", volume=12)
            await box.command("show_text_overlay", text_overlay={"text": "x"})
            await box.command("switch_playlist", playlist_id=102)
            await box.shows("c.png")
            await box.command("cleanup_old_playlists", playlistIdsToKeep=[102])
            since = box.served.mark()
            server.offer([playlist(102, [item(file("d.png"))])])
            await box.command("reload_playlist")
            await until(lambda: "disk full" in caplog.text)
            await until(lambda: box.volumes == [12])
            assert box.screen.ticker is not None
        await box.ready(102, since=since)
        assert box.served.connections == 1
    assert "Traceback" not in caplog.text


async def test_what_was_kept_of_an_older_kind(box: Box) -> None:
    """State that cannot be read starts afresh and does not keep the link down."""
    state = await State.open(box.directory / "state.db")
    for key in ("front", "overlay", "released"):
        await state.put(f"signage.main.{key}", {"unexpected": [1]})
    await state.write(lambda database: database.execute("INSERT INTO playlists VALUES ('main', 'front', 0, '5')"))
    await state.write(lambda database: database.execute("INSERT INTO tokens VALUES ('main', 'x')"))
    await state.close()
    async with box:
        await box.ready()


async def test_nothing_from_a_server_becomes_a_path(
    server: SignageServer, make_box: MakeBox, file: MakeFile, tmp_path: Path
) -> None:
    """Path-like names and ids stay inside the store."""
    media = file("a.png")
    entries = [
        item(media, media_name="../../../../etc/passwd", media_id="../../x"),
        item(file("b.png"), media_name="/etc/cron.d/evil", media_url=media.url + "?/../../x"),
    ]
    server.offer([playlist(101, entries, name="../../y")])
    before = {path for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents}
    async with make_box() as box:
        await box.served.wait_for(lambda said: said.get("status") in ("ready", "partial"))
        await until(lambda: box.files)
        assert all(path.parent == tmp_path / "media" for path in box.files)
    assert {path for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents} == before


async def test_trouble_is_said_once(
    server: SignageServer, make_box: MakeBox, file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be had is a warning once, however often it is tried."""
    fault = server.fault("/media/gone.png", status=503)
    server.offer([playlist(101, [item(file("a.png")), item(file("gone.png"))])])

    def warnings(words: str) -> int:
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        return sum(message.startswith(words) for message in said)

    async with make_box(timers=replace(QUICK, retry_s=0.02), store_timers=replace(QUICK_STORE, tries=1)) as box:
        await until(lambda: len(server.requests_to("/media/gone.png")) >= 4)
        assert (warnings("not downloaded"), warnings("playlist partial")) == (1, 1)
        server.hub.faults.remove(fault.number)
        await box.ready(101)


async def test_a_quiet_log(server: SignageServer, box: Box, file: MakeFile, caplog: pytest.LogCaptureFixture) -> None:
    """A day without trouble has no warning, and what repeats is not said again and again."""
    server.offer([playlist(101, [item(file("a.png"))])])
    with caplog.at_level(logging.INFO, "agent"):
        async with box:
            await box.ready(101)
            for _ in range(3):
                since = box.served.mark()
                await box.command("reload_playlist")
                await box.ready(101, since=since)
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("agent.links")]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert sum("playlist ready" in message for message in messages) == 1
    assert sum("device registered" in message for message in messages) == 1


async def test_a_playlist_that_a_full_disk_cannot_keep(
    server: SignageServer, box: Box, file: MakeFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the server says is obeyed; only the next start does without it, which is said once."""
    a, b = item(file("a.png")), item(file("b.png"))
    server.offer([playlist(101, [a]), playlist(102, [b])])
    async with box:
        await box.ready(101, 102)

        async def full(*_: Any, **__: Any) -> None:
            raise StateError("state cannot be written: disk full")

        with monkeypatch.context() as patch:
            patch.setattr(State, "write", full)
            server.offer([playlist(101, [a]), playlist(107, [b, a])])
            await box.command("reload_playlist", params={"new_solution_id": 107})
            await box.shows("b.png")
            assert box.screen.playing.playlist_id == 107
            await box.command("reload_playlist")
            await until(lambda: "playlists not kept for the next start" in caplog.text)
        await box.command("reload_playlist")
        await until(lambda: box.link._keep_trouble._present == "")
    assert sum("playlists not kept" in message for message in caplog.messages) <= 2
    assert sum(r.levelno == logging.WARNING and "playlists not kept" in r.getMessage() for r in caplog.records) == 1


async def test_a_small_job_that_fails(
    playing: Playing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of our own in one of them is logged; the link, the picture and the connection stay."""
    async with playing() as box:

        async def broken(*_: Any) -> int:
            raise RecursionError("on purpose")

        with monkeypatch.context() as patch:
            patch.setattr(box.media, "discard", broken)
            patch.setattr(box.volume, "set", broken)
            await box.command("set_volume", volume=30)
            await box.command("cleanup_old_playlists", playlistIdsToKeep=[101])
            await until(lambda: "not done: cleans up link=main" in caplog.text and "not done: volume" in caplog.text)
        await box.command("set_volume", volume=40)
        await until(lambda: box.volume.percent == 40)
        await box.command("next")
        await box.shows("b.png")
        assert box.served.connections == 1


@pytest.mark.parametrize("arguments", [{"action": "set_volume"}, {"action": "set_brightness"}, {"action": "next"}])
async def test_a_flood_of_commands(playing: Playing, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]) -> None:
    """Neither tasks nor writes pile up; the last one counts and is on disk in the end."""
    writes = 0
    write = State.write

    async def counting(state: State, work: Any, **options: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(state, work, **options)

    async with playing() as box:
        await box.quiet()
        before = len(asyncio.all_tasks())
        monkeypatch.setattr(State, "write", counting)
        for number in range(3001):
            box.link._on_frame(json.dumps({**arguments, "volume": number % 100, "brightness": number % 90 + 10}))
        assert len(asyncio.all_tasks()) <= before + 2
        await box.quiet()
        assert writes < 20
        began = asyncio.get_running_loop().time()
        await box.restart()
        assert asyncio.get_running_loop().time() - began < 2
        if arguments["action"] == "set_volume":
            assert box.volume.percent == 0
        elif arguments["action"] == "set_brightness":
            assert box.brightness.percent == 40
        else:
            await box.shows("b.png")


async def test_what_an_overlay_left_to_do_is_done_at_the_end(playing: Playing) -> None:
    """A text bar that came just before the end is there after the next start."""
    async with playing() as box:
        box.link._on_frame('{"action": "show_text_overlay", "text_overlay": {"text": "late"}}')
        await box.restart()
        await until(lambda: box.screen.ticker is not None)


async def test_no_such_item_is_said_once(playing: Playing, caplog: pytest.LogCaptureFixture) -> None:
    """However often a server asks for it; ids of any size fill no log."""
    async with playing() as box:
        for _ in range(3):
            await box.command("play_media", media_id="nothing")
            await box.command("play_media", media_id="x" * 900_000)
            await box.command("switch_playlist", playlist_id="x" * 900_000)
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(said) == 3
        assert all(len(message) < 400 for message in said)
