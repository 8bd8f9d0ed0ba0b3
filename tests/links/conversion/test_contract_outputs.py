"""The contract's sections 3 and 4 through the wire: outputs fetched, verified, played once."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from agent.links import backoff
from agent.links.conversion.messages import Job
from agent.screen.messages import Ready
from agent.stage.playlist import Item, Playlist
from agent.stage.playlist_program import PlaylistProgram
from agent.system.logs import Formatter
from agent.system.state import State, StateError
from tests.box import until
from tests.links.conversion.conftest import MakeBox
from tests.links.conversion.standins import COOKIE, MEDIA, QUICK, SIGNATURE, TOKEN, FakeServer, FilmBox


async def play(server: FakeServer, box: FilmBox, job_id: str, output: bytes | None = None) -> bytes:
    """A job that is followed is completed; its output."""
    await server.followed(job_id)
    data = server.complete(job_id, output)
    await server.progress(job_id, 100, "completed")
    return data


def put_playlist(box: FilmBox) -> PlaylistProgram:
    """What plays beneath: two images and a video between them."""
    now = asyncio.get_running_loop().time()
    program = PlaylistProgram("main", 10, box.screen.stage.tokens)
    items = (
        Item(media_id=1, title="a.png", path="/a.png", kind="image", duration_s=600.0),
        Item(media_id=2, title="b.mp4", path="/b.mp4", kind="video", duration_s=0.0),
    )
    program.switch(Playlist(1, "list", items), now)
    box.screen.stage.put(program, now)
    box.screen.refresh()
    return program


@pytest.mark.parametrize("direct", [False, True])
async def test_both_ways_to_an_output(server: FakeServer, box: FilmBox, direct: bool) -> None:
    """A signed address gets neither token nor cookie; the file itself, told by its Content-Type, gets the token."""
    server.direct = direct
    server.add("j1")
    async with box:
        data = await play(server, box, "j1")
        await box.shows("j1.mkv")
        assert box.screen.probed == [data]
        assert len(server.signed_requests) == (0 if direct else 1)
        for _, headers in server.signed_requests:
            assert not {"Authorization", "Cookie"} & headers.keys()
            assert TOKEN not in str(headers)
        await box.reaches("j1", "playing")
        box.screen.end_video()
        assert (await box.reaches("j1", "played"))["title"] == "j1.mkv"


async def test_back_to_what_played_before(server: FakeServer, box: FilmBox) -> None:
    """`interrupt`: at once, then the same item at the same place."""
    server.add("j1")
    async with box:
        playlist = put_playlist(box)
        await box.shows("a.png")
        assert playlist.sequencer is not None
        playlist.sequencer.step(1, asyncio.get_running_loop().time())
        box.screen.refresh()
        await box.shows("b.mp4")
        box.screen.at(42.0)
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        box.screen.end_video()
        await box.shows("b.mp4")
        assert box.screen.history[-1].start_s == pytest.approx(42.0, abs=2.0)


async def test_two_films(server: FakeServer, box: FilmBox) -> None:
    """One after the other, neither cuts the other off."""
    server.add("j1")
    server.add("j2")
    async with box:
        put_playlist(box)
        await box.shows("a.png")
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        await play(server, box, "j2")
        await box.reaches("j2", "ready")
        assert box.screen.titles == ["a.png", "j1.mkv"]
        box.screen.end_video()
        await box.shows("j2.mkv")
        assert "a.png" not in box.screen.titles[1:]


async def test_enqueue(server: FakeServer, make_box: MakeBox) -> None:
    """After the current item."""
    server.add("j1")
    async with make_box(play="enqueue") as box:
        playlist = put_playlist(box)
        assert playlist.sequencer is not None
        playlist.sequencer.step(1, asyncio.get_running_loop().time())
        box.screen.refresh()
        await box.shows("b.mp4")
        await play(server, box, "j1")
        await box.reaches("j1", "ready")
        assert box.screen.title == "b.mp4"
        box.screen.end_video()
        await box.shows("j1.mkv")
        box.screen.end_video()
        await box.shows("a.png")


async def test_store_instead_of_play(server: FakeServer, box: FilmBox) -> None:
    """After such a change of the settings a film that waits is kept and not shown; the one that is on goes on."""
    server.add("j1")
    server.add("j2")
    async with box:
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        await play(server, box, "j2")
        await box.reaches("j2", "ready")
        box.options["play"] = "store"
        await box.relink()
        await box.reaches("j2", "stored")
        assert box.screen.title == "j1.mkv"
        box.screen.end_video()
        await until(lambda: box.screen.title == "")
        assert box.screen.titles == ["j1.mkv"]


async def test_a_reload_while_a_film_waits(server: FakeServer, box: FilmBox) -> None:
    """It is played once, after the one that is on."""
    server.add("j1")
    server.add("j2")
    async with box:
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        await play(server, box, "j2")
        await box.reaches("j2", "ready")
        await box.relink()
        await box.reaches("j2", "ready")
        assert box.screen.titles == ["j1.mkv"]
        box.screen.end_video()
        await box.shows("j2.mkv")
        box.screen.end_video()
        await box.reaches("j2", "played")
        assert box.screen.titles == ["j1.mkv", "j2.mkv"]


async def test_store(server: FakeServer, make_box: MakeBox) -> None:
    """Kept and never shown, also not after a restart."""
    server.add("j1")
    async with make_box(play="store") as box:
        data = await play(server, box, "j1")
        await box.reaches("j1", "stored")
        assert [path.read_bytes() for path in (box.directory / "media").glob("sha256-*")] == [data] or box.screen.probed == [data]
        await box.restart()
        await box.looks(2)
        assert (box.screen.titles, server.signatures) == ([], 1)


# Exactly once


async def test_a_restart_after_the_film(server: FakeServer, box: FilmBox) -> None:
    """It is neither fetched nor played again."""
    server.add("j1")
    async with box:
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        box.screen.end_video()
        await box.reaches("j1", "played")
        await box.restart()
        await box.looks(2)
        assert (box.screen.titles, server.signatures) == ([], 1)


async def test_the_plug_is_pulled_in_the_middle_of_a_film(server: FakeServer, box: FilmBox) -> None:
    """It is not begun anew."""
    server.add("j1")
    async with box:
        await play(server, box, "j1")
        await box.reaches("j1", "playing")
        await until(lambda: box.link._jobs.rows["j1"].state == "played" and not box.link._jobs._unsaved)
        await box.restart(orderly=False)
        await box.looks(2)
        assert (box.screen.titles, server.signatures) == ([], 1)


async def test_the_plug_is_pulled_before_the_first_frame(server: FakeServer, box: FilmBox) -> None:
    """The film is played after the start, from the disk, without the server."""
    server.add("j1")
    async with box:
        box.screen._worker = None  # the screen is down
        await play(server, box, "j1")
        await box.reaches("j1", "ready")
        assert box.screen.titles == []
        await box.stop(orderly=False)
        await server.stop()
        await box.start()
        await box.shows("j1.mkv")
        box.screen.end_video()
        await box.reaches("j1", "played")


async def test_a_reload_in_the_middle_of_a_film(server: FakeServer, box: FilmBox) -> None:
    """The film goes on under the new link, and is over once."""
    server.add("j1")
    async with box:
        await play(server, box, "j1")
        await box.reaches("j1", "playing")
        await box.relink()
        await box.looks(2)
        assert (box.screen.title, box.screen.titles) == ("j1.mkv", ["j1.mkv"])
        box.screen.end_video()
        await until(lambda: box.screen.title == "")
        assert box.screen.titles == ["j1.mkv"]


async def test_a_link_that_is_gone_takes_its_film_and_strip_along(server: FakeServer, box: FilmBox) -> None:
    """Nothing of it stays on the screen."""
    server.add("j1")
    server.add("j2", progress=5)
    async with box:
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        await until(lambda: box.lines)
        box.link.leave()
        assert (box.screen.title, box.lines) == ("", [])


async def test_a_disk_that_takes_nothing(server: FakeServer, box: FilmBox, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """The film is played all the same, once; what became of it is written when the disk takes it."""
    server.add("j1")
    async with box:
        await play(server, box, "j1")
        await box.reaches("j1", "playing")
        write = State.write

        async def refuse(*_: object, **__: object) -> None:
            raise StateError("state cannot be written: disk full")

        monkeypatch.setattr(State, "write", refuse)
        server.add("j2")
        await server.followed("j2")
        server.job("j2")["status"] = "cancelled"
        await box.reaches("j2", "cancelled")
        assert caplog.text.count("jobs not kept for the next start") == 1
        monkeypatch.setattr(State, "write", write)
        await box.restart()
        await box.looks(2)
        assert box.status("j2")["state"] == "cancelled"


# Downloads


async def test_an_expired_address(server: FakeServer, box: FilmBox) -> None:
    """A new one comes from REST, and the download goes on where it was."""
    server.add("j1")
    server.break_at = 1000
    async with box:
        server.expired.add(f"{SIGNATURE}1")
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        assert server.signatures == 2


async def test_an_address_expires_in_the_middle(server: FakeServer, box: FilmBox) -> None:
    """The bytes at hand are kept: the rest comes with Range from the new address."""
    server.add("j1")
    size = 300_000
    async with box:
        server.break_at = 200_000

        def expire(path: str) -> None:
            server.expired.add(f"{SIGNATURE}1")

        server.on_signed = expire
        data = await play(server, box, "j1", MEDIA + b"x" * size)
        await box.shows("j1.mkv")
        assert box.screen.probed == [data]
        assert server.signatures == 2
        assert server.signed_requests[-1][1].get("Range", "").startswith("bytes=")


async def test_a_missing_output(server: FakeServer, box: FilmBox) -> None:
    """A few tries, then it is said and remembered; other jobs go on."""
    server.add("j1")
    server.add("j2")
    async with box:
        await server.followed("j1", "j2")
        server.complete("j1")
        del server.outputs["j1"]
        await box.reaches("j1", "missing")
        assert server.asked("/api/jobs/j1/download/") == 3
        await until(lambda: any("output missing" in line.detail for line in box.lines))
        await play(server, box, "j2")
        await box.shows("j2.mkv")
        await box.restart()
        await box.looks(2)
        assert server.asked("/api/jobs/j1/download/") == 3


@pytest.mark.parametrize("where", ["API", "storage"])
async def test_a_proxy_while_the_output_is_asked_for(
    server: FakeServer, box: FilmBox, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Its 404 is neither the API's nor the storage's: it is asked again until one of these answers."""
    monkeypatch.setattr(backoff, "LONGEST_S", 0.1)
    server.add("j1")
    async with box:
        await server.followed("j1")
        if where == "API":
            server.restarting = True
            server.complete("j1")
            box.link._courses["j1"]._follow.looked(Job(status="completed"), 0.0)
            box.link._courses["j1"]._news.set()
        else:
            server.signed_restarting = True
            server.complete("j1")
        asked = server.asked("/api/jobs/j1/download/")
        await until(lambda: server.asked("/api/jobs/j1/download/") > asked + 4)
        server.restarting = server.signed_restarting = False
        await box.shows("j1.mkv")


async def test_an_output_that_the_storage_does_not_have(server: FakeServer, box: FilmBox) -> None:
    """Its own word counts as the API's."""
    server.add("j1")
    server.signed_missing = True
    async with box:
        await play(server, box, "j1")
        assert (await box.reaches("j1", "missing"))["error"].startswith("output missing on the server")
        assert len(server.signed_requests) == 3


async def test_a_direct_server_is_asked_once(server: FakeServer, box: FilmBox) -> None:
    """When it is known to give outputs itself; when it gives addresses after all, these are taken."""
    server.direct = True
    for number in (1, 2, 3):
        server.add(f"j{number}")
    async with box:
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        box.screen.end_video()
        await play(server, box, "j2")
        await box.shows("j2.mkv")
        assert server.asked("/api/jobs/j2/download/") == 1
        box.screen.end_video()
        server.direct = False
        data = await play(server, box, "j3")
        await box.shows("j3.mkv")
        assert box.screen.probed[-1] == data
        assert len(server.signed_requests) == 1


async def test_a_missing_output_of_a_direct_server(server: FakeServer, box: FilmBox) -> None:
    """The API is asked for its word: so often as any other."""
    server.direct = True
    server.add("j1")
    server.add("j2")
    async with box:
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        await server.followed("j2")
        server.complete("j2")
        del server.outputs["j2"]
        await box.reaches("j2", "missing")
        assert server.asked("/api/jobs/j2/download/") == 4


async def test_a_download_that_breaks_off_each_time(server: FakeServer, make_box: MakeBox) -> None:
    """The strip does not show for ever how far it comes each time; begun anew too often, it is given up."""
    server.direct, server.break_always_at = True, 700_000
    server.add("j1")
    timers = replace(
        QUICK,
        follow=replace(QUICK.follow, lost_s=0.3),
        delivery=replace(QUICK.delivery, restarts=5),
        board=replace(QUICK.board, notice_s=60),
    )
    async with make_box(timers=timers) as box:
        await play(server, box, "j1", MEDIA + bytes(1_000_000))
        await until(lambda: box.lines and box.lines[0].detail.startswith("Loading") and box.lines[0].fraction)
        await until(lambda: not any(line.detail.startswith("Loading") for line in box.lines))
        await until(lambda: box.lines and "breaks off again and again" in box.lines[0].detail)
        assert server.asked("/api/jobs/j1/download/") < 40
        assert "breaks off" in box.link.warnings()[0]


async def test_a_signature_in_the_path(server: FakeServer, box: FilmBox, caplog: pytest.LogCaptureFixture) -> None:
    """People and logs are told the host and no more."""
    caplog.set_level(logging.INFO)
    server.signed_path, server.signed_missing = "s1gn4tur3-in-the-path", True
    server.add("j1")
    async with box:
        await play(server, box, "j1")
        error = (await box.reaches("j1", "missing"))["error"]
        assert f"(http://127.0.0.1:{server.signed_port})" in error
        logged = [record.getMessage() for record in caplog.records if record.name.startswith("agent.")]
        assert "s1gn4tur3" not in str(logged) + str(box.link.warnings())
        assert "s1gn4tur3" in server.signed_requests[0][0]


@pytest.mark.parametrize("served", [MEDIA, b""])
async def test_a_truncated_output(server: FakeServer, box: FilmBox, served: bytes) -> None:
    """What is not as long as announced is never played."""
    server.add("j1")
    async with box:
        await server.followed("j1")
        server.complete("j1")
        server.outputs["j1"] = served
        await until(lambda: box.status("j1").get("error"))
        await until(lambda: "j1" not in box.link._courses)
        assert (box.screen.titles, box.screen.probed) == ([], [])


async def test_an_output_that_is_no_film(server: FakeServer, box: FilmBox, caplog: pytest.LogCaptureFixture) -> None:
    """Of the right length, but no media: thrown away and never played, also not after a restart."""
    server.add("j1")
    async with box:
        await play(server, box, "j1", b"<html>not found</html>" * 9)
        await box.reaches("j1", "unplayable")
        assert box.screen.titles == []
        await box.restart()
        await box.looks(2)
        assert len(server.signed_requests) == 1
        assert list((box.directory / "media").glob("*-*")) == []
        assert "output cannot be played: no decoder takes it" in caplog.text


async def test_a_film_that_no_decoder_takes_after_all(server: FakeServer, box: FilmBox) -> None:
    """The screen goes back, the next film is played."""
    server.add("j1")
    server.add("j2")
    async with box:
        box.screen.undecodable.add("j1.mkv")
        await play(server, box, "j1")
        await box.reaches("j1", "unplayable")
        await play(server, box, "j2")
        await box.shows("j2.mkv")


async def test_too_big(server: FakeServer, make_box: MakeBox) -> None:
    """An output larger than the store is refused in a sentence, without fetching it."""
    server.add("j1")
    async with make_box(quota_bytes=10_000) as box:
        await play(server, box, "j1", MEDIA + bytes(20_000))
        await until(lambda: box.lines and "Cannot be played" in box.lines[0].detail)
        assert "storage too small: 20.0 kB needed, but the store holds at most 10.0 kB" in box.lines[0].detail
        assert box.screen.titles == []
        assert server.signatures == 0


async def test_a_screen_that_comes_up_later(server: FakeServer, make_box: MakeBox) -> None:
    """An output that could not be opened while it was down is opened at once."""
    server.add("j1")
    async with make_box(timers=replace(QUICK, delivery=replace(QUICK.delivery, probe_s=600.0))) as box:
        tried = asyncio.Event()

        async def fail(path: object) -> None:
            tried.set()
            raise RuntimeError("screen front is down")

        opened, box.screen.probe = box.screen.probe, fail  # type: ignore[assignment,method-assign]
        box.screen.up = False
        await play(server, box, "j1")
        await asyncio.wait_for(tried.wait(), 10)
        box.screen.probe = opened  # type: ignore[method-assign]
        box.screen._set_up(Ready(width=64, height=36, vo="gpu"))
        box.screen._changed()
        await box.shows("j1.mkv")


async def test_no_room_for_the_moment(server: FakeServer, make_box: MakeBox, caplog: pytest.LogCaptureFixture) -> None:
    """What would fit is tried again, slowly, until there is room; `status` says why it does not come."""
    server.add("j1")
    server.add("j2")
    async with make_box(quota_bytes=10_000, play="store") as box:
        await play(server, box, "j1", MEDIA + bytes(6_000))
        await box.reaches("j1", "stored")
        other = box.link._delivery.want("j1", "", None)
        box.media.keep("somebody else", [other])
        await play(server, box, "j2", MEDIA + bytes(7_000))
        await until(lambda: "storage" in (box.status("j2").get("error") or ""))
        assert box.media.warnings()
        box.media.keep("somebody else", [])
        await box.reaches("j2", "stored")
        assert caplog.text.count("output not here yet") == 1
        assert box.status("j2")["error"] is None


async def test_connect_to(server: FakeServer, make_box: MakeBox) -> None:
    """A host that only the server's network knows is dialled elsewhere, under its own name."""
    server.signed_host = "minio.internal:9000"
    server.add("j1")
    async with make_box(connect_to=f"127.0.0.1:{server.signed_port}") as box:
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        assert server.signed_requests[0][1]["Host"] == "minio.internal:9000"


async def test_without_connect_to(server: FakeServer, box: FilmBox) -> None:
    """The error names the host and the setting."""
    server.signed_host = "minio.invalid:9000"
    server.add("j1")
    async with box:
        await play(server, box, "j1")
        await until(lambda: "minio.invalid" in (box.status("j1").get("error") or ""))
        assert "set connect_to" in box.status("j1")["error"]


@pytest.mark.parametrize(
    "title", ["say \"hi\" 'there'.mkv", "100% #1?&=.mkv", "../../../etc/passwd", "x" * 300, "ünï日本\\N{\\an8}.mkv"]
)
async def test_hostile_names(server: FakeServer, box: FilmBox, title: str) -> None:
    """The title on the screen is the original's; no file bears it."""
    server.add("j1", title=title)
    server.job("j1")["output_filename"] = title
    async with box:
        await play(server, box, "j1")
        await box.shows(title)
        names = {path.name for path in (box.directory / "media").rglob("*")}
        assert not any("passwd" in name or "hi" in name.split(".")[0] for name in names)
        assert all(len(name) < 100 for name in names)
        assert box.status("j1")["title"] == title


async def test_no_secret_in_the_log(server: FakeServer, make_box: MakeBox, caplog: pytest.LogCaptureFixture) -> None:
    """Neither token, password, cookie nor signature, at DEBUG, through refusals and lost connections."""
    caplog.set_level(logging.DEBUG)
    server.add("j1")
    server.break_at = 100
    options = {"token": "", "username": "lobby", "password": server.password, "session_cookie": COOKIE}
    async with make_box(**options) as box:
        await server.followed("j1", "")
        server.expired.add(f"{SIGNATURE}1")
        await play(server, box, "j1")
        await box.shows("j1.mkv")
        await server.stop()
        await until(lambda: box.link.state == "waiting")
        said = str(box.link.jobs()) + box.link.last_error
    text = "\n".join(Formatter(journald=True, colour=False).format(record) for record in caplog.records)
    assert "j1" in text
    for secret in (TOKEN, server.password, COOKIE, SIGNATURE):
        assert secret not in text + said
