"""Sections 2 and 4 through the wire where a server does not come to an end: jobs nobody works on, jobs that come again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent.links.conversion.messages import JobChange
from tests.box import until
from tests.links.conversion.conftest import MakeBox
from tests.links.conversion.standins import COOKIE, QUICK, FakeServer, FilmBox


async def fill(server: FakeServer, status: str = "processing") -> None:
    """Four jobs that will never change."""
    for number in range(4):
        server.add(f"dead{number}", status, progress=10)


async def followed(server: FakeServer) -> None:
    await server.followed("dead0", "dead1", "dead2", "dead3")


@pytest.mark.parametrize("status", ["processing", "archived"])
async def test_dead_jobs_hold_up_nobody(server: FakeServer, box: FilmBox, status: str) -> None:
    """A film that waits behind them is played when the list says that it is finished: for that it needs no place."""
    await fill(server, status)
    async with box:
        await followed(server)
        server.add("waits")
        await until(lambda: box.status("waits"))
        server.add("at-once", "completed")
        await box.shows("at-once.mkv")
        server.complete("waits")
        box.screen.end_video()
        await box.shows("waits.mkv")
        assert not server.sockets.keys() & {"waits", "at-once"}
        assert server.asked("/api/jobs/waits/") == 1


async def test_the_list_is_not_the_truth(server: FakeServer, box: FilmBox) -> None:
    """A job in line that only the list, or the socket of all jobs, calls finished goes on waiting."""
    await fill(server)
    server.add("waits")
    async with box:
        await followed(server)
        course = box.link._courses["waits"]
        await box.looks(2)
        assert (course.step, server.asked("/api/jobs/waits/")) == ("waiting", 0)
        course.heard(JobChange.model_validate({"type": "job_update", "job": {"id": "waits", "status": "completed"}}))
        await until(lambda: server.asked("/api/jobs/waits/") > 1)
        assert (course.step, box.status("waits")["state"], server.signatures) == ("waiting", "finishing", 0)


async def test_dead_jobs_give_way(server: FakeServer, make_box: MakeBox) -> None:
    """Without a change for so long, a job stands behind those that wait; it is followed again when there is a place."""
    await fill(server)
    server.add("alive", progress=5)
    async with make_box(timers=replace(QUICK, follow=replace(QUICK.follow, give_way_s=0.3))) as box:
        await followed(server)
        await server.followed("alive")
        await server.progress("alive", 50)
        await until(lambda: box.status("alive")["percent"] == 50)
        await until(lambda: len(server.sockets["dead0"]) > 1 or len(server.sockets["dead1"]) > 1)
        assert sum(not socket.closed for sockets in server.sockets.values() for socket in sockets) <= 5
        waiting = next(course for course in box.link._courses.values() if course.step == "waiting" and course.job_id != "alive")
        line = waiting.line(asyncio.get_running_loop().time())
        assert line is not None
        assert line.detail != "Waiting"


async def test_nobody_gives_way_to_nobody(server: FakeServer, make_box: MakeBox) -> None:
    """A job that does not move keeps its socket while no other waits."""
    await fill(server)
    async with make_box(timers=replace(QUICK, follow=replace(QUICK.follow, give_way_s=0.1))):
        await followed(server)
        await until(lambda: server.asked("/api/jobs/dead0/") > 4)
        assert len(server.sockets["dead0"]) == 1


async def test_the_strip_of_dead_jobs_goes_away(server: FakeServer, make_box: MakeBox) -> None:
    """It comes back with the first change."""
    await fill(server)
    async with make_box(timers=replace(QUICK, follow=replace(QUICK.follow, still_s=0.5))) as box:
        await until(lambda: len(box.lines) == 4)
        await until(lambda: not box.lines)
        server.job("dead2")["progress"] = 11
        await until(lambda: box.lines)
        assert [line.title for line in box.lines] == ["dead2.mkv"]


async def test_finished_jobs_find_room_where_others_do_not(
    server: FakeServer, box: FilmBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many dead jobs there are, a film that is ready is played."""
    monkeypatch.setattr("agent.links.conversion.link.MOST_COURSES", 4)
    await fill(server)
    async with box:
        await followed(server)
        server.add("no-room")
        await box.looks(2)
        assert box.status("no-room") == {}
        server.complete("no-room")
        await box.shows("no-room.mkv")


async def test_a_proxy_while_the_server_restarts(server: FakeServer, box: FilmBox) -> None:
    """Its 404 is not the server's: nothing is lost by it."""
    server.add("film", progress=30)
    async with box:
        await server.followed("film")
        server.restarting = True
        asked = server.asked("/api/jobs/film/")
        await until(lambda: server.asked("/api/jobs/film/") > asked + 3)
        await until(lambda: box.link.state == "waiting")
        assert box.status("film")["state"] == "processing"
        server.restarting = False
        server.complete("film")
        await box.shows("film.mkv")


@pytest.mark.parametrize("end", ["failed", "cancelled", "gone"])
async def test_a_job_that_ended_is_done_again(server: FakeServer, box: FilmBox, end: str) -> None:
    """Under its old id: it is followed again, and its film played."""
    film = server.add("film", progress=30)
    async with box:
        await server.followed("film")
        film.update(status=end, error_message="boom" if end == "failed" else "")
        if end == "gone":
            server.jobs.remove(film)
        await box.reaches("film", end)
        if end == "gone":
            server.jobs.insert(0, film)
        film.update(status="processing", progress=5, error_message="")
        assert (await box.reaches("film", "processing"))["error"] is None
        server.complete("film")
        await box.shows("film.mkv")
        box.screen.end_video()
        await box.reaches("film", "played")
        await box.looks(2)
        assert box.screen.titles == ["film.mkv"]


async def test_a_job_that_ended_is_completed_after_all(server: FakeServer, box: FilmBox) -> None:
    """Between two looks, or while the agent was off."""
    server.add("film", progress=30)
    async with box:
        await server.followed("film")
        server.job("film")["status"] = "failed"
        await box.reaches("film", "failed")
        await box.stop()
        server.complete("film")
        await box.start()
        await box.shows("film.mkv")


async def test_the_configured_job_is_done_again(server: FakeServer, make_box: MakeBox) -> None:
    """As any other."""
    server.add("film", progress=30)
    async with make_box(job="film") as box:
        await server.followed("film")
        server.job("film")["status"] = "failed"
        await box.reaches("film", "failed")
        server.complete("film")
        await box.shows("film.mkv")


async def test_a_list_that_says_other_than_its_jobs(server: FakeServer, box: FilmBox, caplog: pytest.LogCaptureFixture) -> None:
    """A job that is unfinished in the list and unknown by its id is not taken up at each look."""
    server.add("film", progress=30)
    server.unknown.add("film")
    caplog.set_level("INFO")
    async with box:
        await box.reaches("film", "gone")
        await box.looks(5)
        assert caplog.text.count("has no such job any more") == 2
        assert server.asked("/api/jobs/film/") == 2


async def test_an_analysis_over_and_over(server: FakeServer, box: FilmBox, caplog: pytest.LogCaptureFixture) -> None:
    """The log says it once, and nothing of another job's."""
    caplog.set_level("INFO")
    server.add("film")
    async with box:
        await server.followed("film")
        for job_id in ("other", "film") * 20:
            await server.say("film", type="analysis", job_id=job_id, streams={"video": {"codec": "hevc", "target_codec": job_id}})
        await server.progress("film", 50)
        await until(lambda: box.status("film")["percent"] == 50)
        await until(lambda: box.lines and box.lines[0].note == "video hevc → film")
        assert caplog.text.count("film analysed") == 1


async def test_the_newest_is_deleted(server: FakeServer, make_box: MakeBox) -> None:
    """After a restart the one before it is not played in its place."""
    server.add("old", "completed")
    server.add("new", "completed")
    async with make_box(job="newest") as box:
        await box.shows("new.mkv")
        box.screen.end_video()
        await box.reaches("new", "played")
        server.jobs.remove(server.job("new"))
        await box.restart()
        await box.looks(2)
        assert box.screen.titles == []


async def test_the_clock_of_the_server_is_wrong(server: FakeServer, box: FilmBox) -> None:
    """A job that came and went between two looks is new, whatever its date."""
    server.add("odd", "completed", created_at="2099-01-01T00:00:00Z")
    async with box:
        await box.looks(2)
        server.add("quick", "completed")
        await box.shows("quick.mkv")
        server.add("quicker", "completed", created_at="1970-01-01T00:05:00Z")
        box.screen.end_video()
        await box.shows("quicker.mkv")


async def test_a_list_of_jobs_that_is_too_long(server: FakeServer, make_box: MakeBox, caplog: pytest.LogCaptureFixture) -> None:
    """The socket of all jobs rests until it is opened anew; REST goes on."""
    for number in range(50):
        server.add(f"j{number}", "completed", current_stage="x" * 25_000)
    async with make_box(session_cookie=COOKIE, timers=replace(QUICK, reopen_s=1.0)) as box:
        await until(lambda: "message too big" in caplog.text)
        await box.connected()
        assert server.asked("/ws/jobs/") == 1
        await until(lambda: server.asked("/ws/jobs/") == 2)


# Authentication


async def test_a_job_that_is_listed_and_not_shown(server: FakeServer, make_box: MakeBox) -> None:
    """Another token would change nothing: nobody logs in for it, and other jobs go on."""
    server.new_tokens = True
    server.add("film")
    server.add("secret")
    server.forbidden.add("secret")
    timers = replace(QUICK, follow=replace(QUICK.follow, refused_least_s=0.05, refused_most_s=0.1))
    async with make_box(token="", username="lobby", password=server.password, timers=timers) as box:
        await until(lambda: server.asked("/api/jobs/secret/") > 5)
        assert (server.logins, box.link.state) == (1, "connected")
        server.complete("film")
        await box.shows("film.mkv")
        server.token = "another0another0another0another0another0"
        await until(lambda: server.logins == 2)
        asked = server.asked("/api/jobs/secret/")
        await until(lambda: server.asked("/api/jobs/secret/") > asked + 5)
        assert server.logins == 2


async def test_a_refused_login_and_restarts(server: FakeServer, make_box: MakeBox) -> None:
    """A box that starts again and again does not lock the account; after a change of the settings it is tried at once."""
    async with make_box(token="", username="lobby", password="wrong horse") as box:
        for _ in range(4):
            await until(lambda: box.link.state == "refused")
            assert "Invalid credentials" in box.link.last_error
            await box.restart(orderly=False)
        assert server.logins == 1
        box.options["priority"] = 51
        await box.relink()
        await until(lambda: server.logins == 2)
        await box.restart()
        await until(lambda: box.link.state == "refused")
        box.link.broke_off(RuntimeError())
        await box.relink()
        await until(lambda: box.link.state == "refused")
        assert server.logins == 2
        box.options["password"] = server.password
        await box.restart()
        await box.connected()
        assert server.logins == 3
