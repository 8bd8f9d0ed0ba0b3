"""The contract's sections 1, 2 and 4 through the wire: addresses, which jobs count, following them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.box import until
from tests.links.conversion.conftest import MakeBox
from tests.links.conversion.standins import COOKIE, QUICK, FakeServer, FilmBox


async def test_a_job_is_followed_and_shown_coming(server: FakeServer, box: FilmBox) -> None:
    """Title, stage, percentage and time left on the strip; the same in `status`."""
    server.add("j1", title="A film.mkv", current_stage="TRANSCODE", progress=5)
    async with box:
        await server.followed("j1")
        await server.progress("j1", 45, eta=120)
        await until(lambda: box.lines and "45 %" in box.lines[0].detail)
        assert box.lines[0].title == "A film.mkv"
        assert box.lines[0].detail in ("Converting · 45 % · 2:00 left", "Converting · 45 % · 1:59 left")
        assert box.lines[0].fraction == 0.45
        status = box.status("j1")
        assert {key: status[key] for key in ("link", "id", "title", "state", "percent", "stage")} == {
            "link": "films",
            "id": "j1",
            "title": "A film.mkv",
            "state": "processing",
            "percent": 45.0,
            "stage": "TRANSCODE",
        }
        assert 110 < status["eta_s"] <= 120


async def test_the_documents_messages(server: FakeServer, box: FilmBox) -> None:
    """Analysis, progress, and an end that REST confirms."""
    server.add("j1")
    async with box:
        await server.followed("j1")
        await server.say("j1", type="analysis", job_id="j1", streams={"video": {"codec": "hevc", "target_codec": "h264"}})
        await server.say(
            "j1", type="progress", job_id="j1", status="processing", progress=45.5, stage="transcoding", eta_seconds=9
        )
        await until(lambda: box.lines and box.lines[0].fraction == 0.455)
        assert box.lines[0].note == "video hevc → h264"
        server.complete("j1")
        await server.say("j1", type="status", job_id="j1", status="completed", output_filename="x", output_size=1, duration=9)
        await box.shows("j1.mkv")


async def test_origin_and_credentials(server: FakeServer, make_box: MakeBox) -> None:
    """Every socket names the server's own origin; the token goes to REST only, the cookie to the socket of all jobs only."""
    server.add("j1")
    async with make_box(session_cookie=COOKIE):
        await server.followed("j1", "")
        for path, headers in server.requests:
            secrets = (headers.get("Authorization", ""), headers.get("Cookie", ""))
            if path.startswith("/ws/"):
                assert headers["Origin"] == server.url
                assert secrets == ("", f"sessionid={COOKIE}" if path == "/ws/jobs/" else "")
            else:
                assert secrets == (f"Token {server.token}", "")


async def test_without_a_cookie(server: FakeServer, box: FilmBox) -> None:
    """`/ws/jobs/` is not opened; the list is asked for again and again."""
    async with box:
        await box.looks(3)
        assert server.asked("/ws/jobs/") == 0
        server.add("new")
        await server.followed("new")


async def test_the_socket_of_all_jobs(server: FakeServer, make_box: MakeBox) -> None:
    """It makes a new job known before the next look."""
    async with make_box(session_cookie=COOKIE, timers=replace(QUICK, look_busy_s=600.0, look_idle_s=600.0)) as box:
        await box.connected()
        await server.followed("")
        server.add("j1", progress=7)
        await server.say("", type="job_update", job={"id": "j1", "filename": "j1.mkv", "status": "processing", "progress": 7})
        await server.followed("j1")
        await server.say("", type="job_update", job={"id": "j1", "status": "processing", "progress": 70})
        await until(lambda: box.status("j1")["percent"] == 70)


async def test_a_server_without_authentication(make_box: MakeBox) -> None:
    """No token is needed, and none is sent."""
    async with FakeServer(token="") as server:
        server.add("j1")
        async with make_box(server=server, token="") as box:
            await box.connected()
            await server.followed("j1")
            assert all("Authorization" not in headers for _, headers in server.requests)


async def test_45_old_jobs(server: FakeServer, box: FilmBox) -> None:
    """Nothing is downloaded, followed or shown; what comes afterwards is."""
    for number in range(45):
        server.add(f"old-{number}", "completed")
    async with box:
        await box.looks(3)
        assert (box.link.jobs(), box.lines, server.signatures) == ([], [], 0)
        assert {path for path, _ in server.requests} == {"/api/jobs/?page=1", "/api/jobs/?page=2", "/api/jobs/?page=3"}
        server.add("new", "completed")
        await box.shows("new.mkv")
        assert box.screen.titles == ["new.mkv"]


async def test_at_most_four_are_followed(server: FakeServer, box: FilmBox) -> None:
    """The oldest; the others wait in line and are counted on the strip, and move up."""
    for number in range(6):
        server.add(f"j{number}", progress=10)
    async with box:
        await server.followed("j0", "j1", "j2", "j3")
        await until(lambda: len(box.lines) == 6)
        assert [line.title for line in box.lines[4:]] == ["j4.mkv", "j5.mkv"]
        assert {line.detail for line in box.lines[4:]} == {"Waiting"}
        assert not server.sockets.keys() & {"j4", "j5"}
        server.jobs.remove(server.job("j2"))
        await server.followed("j4")
        assert "j5" not in server.sockets


async def test_a_job_waits_in_line_and_is_cancelled(server: FakeServer, box: FilmBox) -> None:
    """Nothing becomes of it."""
    for number in range(5):
        server.add(f"j{number}")
    async with box:
        await server.followed("j0", "j1", "j2", "j3")
        server.job("j4")["status"] = "cancelled"
        server.job("j0")["status"] = "cancelled"
        await box.reaches("j4", "cancelled")
        assert box.screen.titles == []


async def test_more_jobs_than_there_is_room_for(
    server: FakeServer, box: FilmBox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are taken up later, also those that have finished meanwhile; the log says it once."""
    monkeypatch.setattr("agent.links.conversion.link.MOST_COURSES", 3)
    async with box:
        await box.connected()
        for number in range(5):
            server.add(f"j{number}")
        await server.followed("j0", "j1", "j2")
        await box.looks(3)
        assert len(box.link.jobs()) == 3
        server.complete("j4")
        server.job("j0")["status"] = server.job("j1")["status"] = "cancelled"
        await box.shows("j4.mkv")
        assert caplog.text.count("some jobs must wait") == 1


async def test_premature_completed(server: FakeServer, box: FilmBox) -> None:
    """Nothing is fetched before REST says so, whatever the socket says."""
    server.add("j1", progress=40)
    async with box:
        await server.followed("j1")
        await server.progress("j1", 100, "completed", stage="DONE")
        before = server.asked("/api/jobs/j1/")
        await until(lambda: server.asked("/api/jobs/j1/") > before + 5)
        assert (box.status("j1")["state"], server.signatures) == ("finishing", 0)
        assert "Finishing" in box.lines[0].detail
        server.complete("j1")
        await box.shows("j1.mkv")


async def test_cancelled_silently(server: FakeServer, box: FilmBox) -> None:
    """REST tells; the strip goes away without a word."""
    server.add("j1", progress=40)
    async with box:
        await until(lambda: box.lines)
        server.job("j1")["status"] = "cancelled"
        await box.reaches("j1", "cancelled")
        await until(lambda: not box.lines)
        await until(lambda: server.sockets["j1"][0].closed)


async def test_deleted(server: FakeServer, box: FilmBox) -> None:
    """A 404 ends the following."""
    server.add("j1")
    async with box:
        await server.followed("j1")
        server.jobs.clear()
        await box.reaches("j1", "gone")
        asked = server.asked("/api/jobs/j1/")
        await box.looks(3)
        assert server.asked("/api/jobs/j1/") == asked


@pytest.mark.parametrize("told", ["socket", "REST"])
async def test_failure(server: FakeServer, box: FilmBox, told: str, caplog: pytest.LogCaptureFixture) -> None:
    """A notice for a while, shortened to one line; the log has the details."""
    server.add("j1", title="Film {\\an8}\n2.mkv")
    async with box:
        await server.followed("j1")
        words = "No VAAPI\ndevice " + "x" * 1000
        server.job("j1")["status"] = "failed"
        if told == "socket":
            await server.progress("j1", 0, "failed", error=words)
        else:
            server.job("j1")["error_message"] = words
        await until(lambda: box.lines and "failed" in box.lines[0].detail)
        assert box.lines[0].title == "Film {\\an8} 2.mkv"
        assert box.lines[0].detail.startswith("Conversion failed: No VAAPI device xxx")
        assert len(box.lines[0].detail) <= 160
        await until(lambda: not box.lines)
        assert box.status("j1")["state"] == "failed"
        assert "conversion failed link=films job=j1" in caplog.text


async def test_garbage_on_the_socket(server: FakeServer, box: FilmBox, caplog: pytest.LogCaptureFixture) -> None:
    """It is ignored, named once, and the connection lives on."""
    server.add("j1")
    async with box:
        await server.followed("j1")
        for frame in ("{", "[]", '{"type": "pong"}', '{"type": "pong"}', '{"type": "error", "message": "Invalid JSON"}'):
            await server.sockets["j1"][0].send_str(frame)
        await server.sockets["j1"][0].send_bytes(b"\xff\x00")
        await server.progress("j1", "33", eta="x")  # type: ignore[arg-type]
        await until(lambda: box.status("j1")["percent"] == 33)
        assert len(server.sockets["j1"]) == 1
        assert caplog.text.count("unknown type 'pong'") == 1


async def test_refused_sockets(server: FakeServer, box: FilmBox, caplog: pytest.LogCaptureFixture) -> None:
    """A 403 on the handshake is reported once and tried slowly; REST alone takes the job to its end."""
    server.refuse_sockets = True
    server.add("j1")
    server.add("j2")
    async with box:
        await until(lambda: server.handshakes_refused == 2)
        await box.looks(3)
        assert server.handshakes_refused == 2
        assert caplog.text.count("HTTP 403 to the WebSocket handshake") == 1
        assert box.link.state == "connected"
        server.job("j1")["progress"] = 60
        await until(lambda: box.status("j1")["percent"] == 60)
        server.complete("j1")
        await box.shows("j1.mkv")


async def test_the_server_is_killed_in_the_middle(server: FakeServer, box: FilmBox) -> None:
    """What happens meanwhile is not missed: one job goes on, one has finished, one is new and finished already."""
    server.add("goes-on", progress=10)
    server.add("finishes", progress=20)
    async with box:
        await server.followed("goes-on", "finishes")
        await server.stop()
        await until(lambda: box.link.state == "waiting")
        assert box.link.last_error
        assert "secret" not in box.link.last_error
        server.complete("finishes")
        server.add("new", "completed")
        server.job("goes-on")["progress"] = 30
        await server.start()
        await box.connected()
        await until(lambda: box.status("goes-on")["percent"] == 30)
        await server.followed("goes-on")
        await box.shows("finishes.mkv") if box.screen.titles[:1] == ["finishes.mkv"] else await until(lambda: box.screen.titles)
        box.screen.end_video()
        await until(lambda: len(box.screen.titles) == 2)
        assert sorted(box.screen.titles) == ["finishes.mkv", "new.mkv"]


async def test_finished_while_the_agent_was_off(server: FakeServer, box: FilmBox) -> None:
    """A job it had seen, and one that came and went meanwhile."""
    server.add("old", "completed")
    server.add("seen")
    async with box:
        await server.followed("seen")
        await box.stop()
        server.complete("seen")
        server.add("unseen", "completed")
        server.add("cancelled", "cancelled")
        await box.start()
        await until(lambda: box.screen.titles)
        box.screen.end_video()
        await until(lambda: len(box.screen.titles) == 2)
        assert sorted(box.screen.titles) == ["seen.mkv", "unseen.mkv"]


async def test_sockets_are_reopened(server: FakeServer, make_box: MakeBox, caplog: pytest.LogCaptureFixture) -> None:
    """Each connection begins with a fresh snapshot; nobody is warned."""
    server.add("j1", progress=10)
    async with make_box(timers=replace(QUICK, reopen_s=0.2)):
        await until(lambda: len(server.sockets.get("j1", [])) >= 3)
        assert sum(not socket.closed for socket in server.sockets["j1"]) <= 1
        assert "WARNING" not in caplog.text


async def test_one_job_only(server: FakeServer, make_box: MakeBox) -> None:
    """Configured by its id: it is played though it is old, others are not looked at."""
    server.add("wanted", "completed")
    server.add("other")
    async with make_box(job="wanted") as box:
        await box.shows("wanted.mkv")
        assert server.asked("/api/jobs/") == 0
        assert "other" not in server.sockets
        await box.restart()
        await box.connected()
        await until(lambda: server.asked("/api/jobs/wanted/") > 3)
        assert box.screen.titles == []


async def test_an_id_nobody_knows(server: FakeServer, make_box: MakeBox, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and asked for again."""
    async with make_box(job="nobody") as box:
        await until(lambda: server.asked("/api/jobs/nobody/") > 2)
        assert box.link.state == "connected"
        assert caplog.text.count("no job with the configured id") == 1


async def test_the_newest_completed_as_well(server: FakeServer, make_box: MakeBox) -> None:
    """Once: not again after a restart."""
    for number in range(30):
        server.add(f"old-{number}", "completed")
    async with make_box(job="newest") as box:
        await box.shows("old-29.mkv")
        server.add("new", "completed")
        box.screen.end_video()
        await box.shows("new.mkv")
        await box.restart()
        await box.looks(2)
        assert box.screen.titles == []


# Authentication


async def test_login(server: FakeServer, make_box: MakeBox) -> None:
    """One login, whose token is kept for the next start; never a logout."""
    options = {"token": "", "username": "lobby", "password": server.password}
    async with make_box(**options) as box:
        await box.connected()
        await box.restart()
        await box.connected()
        assert server.logins == 1
        server.token = "another0another0another0another0another0"
        await box.looks(2)
        await until(lambda: server.logins == 2)
        await box.looks(3)
        assert (server.logins, box.link.state) == (2, "connected")
        assert not any("logout" in path for path, _ in server.requests)


async def test_wrong_password(server: FakeServer, make_box: MakeBox) -> None:
    """It is tried once and not again for a long time: accounts lock."""
    async with make_box(token="", username="lobby", password="wrong horse") as box:
        await until(lambda: box.link.state == "refused")
        assert box.link.last_error == "login refused: Invalid credentials.; check username and password"
        for _ in range(5):
            box.link.hurry()
            await asyncio.sleep(0.02)
        assert server.logins == 1


async def test_second_factor(server: FakeServer, make_box: MakeBox) -> None:
    """A box has none: a clear error."""
    server.requires_2fa = True
    async with make_box(token="", username="lobby", password=server.password) as box:
        await until(lambda: box.link.state == "refused")
        assert "second factor" in box.link.last_error
        assert server.logins == 1


async def test_wrong_token(server: FakeServer, make_box: MakeBox) -> None:
    """403 means unauthenticated: said, and tried slowly."""
    async with make_box(token="0" * 40) as box:
        await until(lambda: box.link.state == "refused")
        assert "check token" in box.link.last_error
        assert server.asked("/api/jobs/") == 1


async def test_no_credentials_at_all(server: FakeServer, make_box: MakeBox) -> None:
    """The server says that it wants some."""
    async with make_box(token="") as box:
        await until(lambda: box.link.state == "refused")
        assert "wants a token" in box.link.last_error


async def test_trouble_of_the_server(server: FakeServer, box: FilmBox) -> None:
    """It is no refusal, and over when it is over."""
    server.down = True
    async with box:
        await until(lambda: box.link.state == "waiting" and box.link.attempts > 2)
        assert "HTTP 503" in box.link.last_error
        server.down = False
        await box.connected()
        assert box.link.last_error == ""
