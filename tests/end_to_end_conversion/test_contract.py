"""The rows of the contract between real agent and converter: who is let in, what is said, which jobs count, what is shown."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.display import XServer, near
from tests.end_to_end.art import BLUE, GREEN, MAGENTA, ORANGE, YELLOW, Art
from tests.end_to_end_conversion.cinema import (
    CENTRE,
    DEADLINE_S,
    Cinema,
    conversion_link,
    open_cinema,
    states,
    times,
)
from tests.servers.conversion_jobs import Habit
from tests.servers.conversion_outputs import Form
from tests.servers.conversion_rest import COOKIE, PASSWORD, TOKEN, USERNAME
from tests.servers.conversion_scripts import NAMES, ODD

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_cinema(tmp_path_factory: pytest.TempPathFactory, display: XServer) -> AsyncIterator[Cinema]:
    """A cinema that the tests of this module use, one after the other."""
    async with open_cinema(tmp_path_factory.mktemp("cinema"), display) as cinema:
        await cinema.looks(1)
        yield cinema


@pytest_asyncio.fixture(loop_scope="module")
async def cinema(module_cinema: Cinema) -> AsyncIterator[Cinema]:
    """The module's, with nothing going on. The agent may do nothing against the contract."""
    await module_cinema.clear()
    yield module_cinema
    assert module_cinema.server.complaints == []


@pytest.mark.parametrize("habit", ["document", "field"])
@pytest.mark.parametrize("form", ["signed", "direct"])
async def test_both_shapes_and_both_ways(cinema: Cinema, art: Art, habit: Habit, form: Form) -> None:
    """The bar never falls back, a premature "completed" fetches nothing, REST's does; a signed address gets no credentials."""
    server = cinema.server
    server.habit, server.outputs.form = habit, form
    job = await cinema.job(f"{habit} {form}.mkv", art.video(GREEN, 0.5))
    with cinema.watched() as samples:
        await server.update(job, progress=40, eta_s=90)
        await cinema.has_bars(0.4)
        entry = await cinema.entry(job)
        assert (entry["state"], entry["percent"]) == ("processing", 40)
        assert entry["eta_s"] in range(80, 91)
        await server.update(job, progress=0, stage="verifying")
        await cinema.agent.until(lambda status: any("Checking · 40 %" in line for line in status["screens"]["front"]["strip"]))
        await cinema.has_bars(0.4)
        await server.say_completed(job)
        polls = job.polls
        await cinema.reaches(job, "finishing")
        await server.wait_for(lambda: job.polls > polls + 3, DEADLINE_S)
        assert job.addresses == 0
        await server.complete(job, silently=True)
        await cinema.shows(GREEN)
        await cinema.reaches(job, "played")
    assert times(samples, GREEN) == 1
    assert len(job.downloads) in ((1,) if form == "signed" else (1, 2))  # a server that is known to be direct is not asked first
    assert [(one.signed, one.status, one.range, one.whole) for one in job.downloads[-1:]] == [(form == "signed", 200, "", True)]
    for request in cinema.server.requests_to("/bucket/"):
        assert request.method == "GET"
        assert not {"Authorization", "Cookie"} & set(request.headers)
        assert TOKEN not in str(request.headers)
        assert request.headers["Host"] == urlsplit(server.foreign_url).netloc


async def test_addresses_origin_and_cookie(cinema: Cinema) -> None:
    """Lower case with a trailing slash, the server's own origin on every socket; each credential goes where it belongs only."""
    job = await cinema.job("addresses.mkv", b"")
    sockets = cinema.server.requests_to("/ws/")
    assert {request.path for request in sockets} >= {"/ws/jobs/", f"/ws/conversion/{job.job_id}/"}
    for request in sockets:
        assert request.path == request.path.lower()
        assert request.path.endswith("/")
        assert request.headers["Origin"] == cinema.server.url
        assert "Authorization" not in request.headers
        assert request.headers.get("Cookie") == (f"sessionid={COOKIE}" if request.path == "/ws/jobs/" else None)
    for request in cinema.server.requests_to("/api/"):
        assert request.headers["Authorization"] == f"Token {TOKEN}"
        assert "Cookie" not in request.headers
        assert request.path.endswith("/")


@pytest.mark.parametrize("habit", ["document", "field"])
async def test_failure(cinema: Cinema, habit: Habit) -> None:
    """In either shape: a notice for a while, in one line; the log has the details."""
    cinema.server.habit = habit
    job = await cinema.job(f"fails {habit}.mkv", b"")
    words = "No VAAPI device " + "x" * 900
    await cinema.server.fail(job, words, details=f"ffmpeg said this to {habit}")
    await cinema.seen(cinema.alarms, "the notice")
    entry = await cinema.reaches(job, "failed")
    assert entry["error"].startswith("No VAAPI device xxx")
    line = (await cinema.agent.status())["screens"]["front"]["strip"][0]
    assert len(line) < 200
    assert f"conversion failed link=films job={job.job_id}" in cinema.agent.log
    assert habit == "field" or f"ffmpeg said this to {habit}" in cinema.agent.log
    await cinema.seen(lambda: not cinema.alarms(), "the notice to go")


async def test_cancelled_deleted_and_stalled(cinema: Cinema, art: Art) -> None:
    """Nobody says so: the first two leave the strip, the third gets stripes and a time instead of a percentage, and is played."""
    jobs = [await cinema.job(f"{what}.mkv", art.video(YELLOW, 0.5)) for what in ("cancelled", "deleted", "stalled")]
    await cinema.seen(lambda: len(cinema.bars()) == 3, "three bars")
    cancelled, deleted, stalled = jobs
    cinema.server.cancel(cancelled)
    cinema.server.delete(deleted)
    await cinema.reaches(cancelled, "cancelled")
    await cinema.reaches(deleted, "gone")
    await cinema.server.wait_for(lambda: not cancelled.sockets, DEADLINE_S)
    asked = deleted.polls
    await cinema.seen(cinema.hatched, "stripes")
    [line] = (await cinema.agent.status())["screens"]["front"]["strip"]
    assert line.startswith("stalled.mkv · Converting · 0:0")
    assert line.endswith(" so far")
    await cinema.server.complete(stalled)
    await cinema.shows(YELLOW)
    assert deleted.polls == asked


async def test_more_jobs_than_four(cinema: Cinema) -> None:
    """Four are followed, three are on the strip, the others are counted; one that ends makes room for the next."""
    jobs = [cinema.server.add(f"film {number}.mkv", status="processing", progress=20 + 10 * number) for number in range(6)]
    await cinema.server.followed(*jobs[:4], timeout_s=DEADLINE_S)
    await cinema.has_bars(0.2, 0.3, 0.4)
    status = await cinema.agent.until(lambda status: len(status["screens"]["front"]["strip"]) == 4)
    assert status["screens"]["front"]["strip"][-1] == "and 3 more"
    await cinema.looks(2)
    assert [len(job.sockets) for job in jobs] == [1, 1, 1, 1, 0, 0]
    cinema.server.delete(jobs[1])
    await cinema.server.followed(jobs[4], timeout_s=DEADLINE_S)
    assert not jobs[5].opened


async def test_odd_messages(cinema: Cinema, art: Art) -> None:
    """What no server should send changes nothing, and the socket stays open."""
    job = await cinema.job("odd.mkv", art.video(BLUE, 0.5))
    for frame in ODD:
        await cinema.server.tell_raw(job, frame)
    await cinema.server.update(job, progress=64, stage="transcoding")
    await cinema.server.complete(job)
    await cinema.shows(BLUE)
    assert job.opened == 1
    assert cinema.agent.log.count("unknown type 'surprise'") == 1


async def test_sockets_that_are_refused(cinema: Cinema, art: Art) -> None:
    """A 403 to the handshake is said once; REST alone takes the job to its end."""
    cinema.server.refuse_sockets = True
    for peer in tuple(cinema.server.jobs_sockets):
        await peer.socket.close()
    job = cinema.server.add("without a socket.mkv", status="processing", progress=30)
    await cinema.has_bars(0.3)
    job.progress = 70
    await cinema.has_bars(0.7)
    await cinema.server.complete(job, art.video(ORANGE, 0.5), silently=True)
    await cinema.shows(ORANGE)
    assert job.opened == 0
    assert cinema.agent.log.count("HTTP 403 to the WebSocket handshake") == 1
    await cinema.connected()


@pytest.mark.parametrize("cookie", [None, "over"])
async def test_without_a_good_cookie(cinema: Cinema, cookie: str | None) -> None:
    """The socket of all jobs is not opened, or refused; jobs are found in the list, and followed on their own sockets."""
    handshakes = len(cinema.server.requests_to("/ws/jobs/"))
    cinema.link(session_cookie=cookie)
    await cinema.server.wait_for(lambda: not cinema.server.jobs_sockets, DEADLINE_S)
    await cinema.looks()
    job = cinema.server.add(f"cookie {cookie}.mkv", status="processing", progress=25)
    await cinema.server.followed(job, timeout_s=DEADLINE_S)
    await cinema.has_bars(0.25)
    tried = cinema.server.requests_to("/ws/jobs/")[handshakes:]
    assert [request.headers["Cookie"] for request in tried[:1]] == ([] if cookie is None else ["sessionid=over"])
    assert all(request.status == 403 for request in tried)
    await cinema.connected()
    cinema.link()
    await cinema.server.wait_for(lambda: cinema.server.jobs_sockets, DEADLINE_S)


async def test_names(cinema: Cinema, art: Art) -> None:
    """The title stands on the strip as it is, and nowhere else on the screen; no file bears anything of it."""
    cinema.link(play="store")
    before = {path for path in cinema.folder.rglob("*") if "media" not in path.parts}
    jobs, empty = [], cinema.upper()
    for name in NAMES:
        jobs.append(job := await cinema.job(name, art.video(YELLOW, 0.5)))
        job.output_name = name
        await cinema.has_line(name[:190])
        await cinema.has_bars(0.1)
        assert cinema.titles() > 5
        assert cinema.upper() == empty, f"{name!r} leaves the strip"
        await cinema.server.complete(job)
        assert (await cinema.reaches(job, "stored"))["title"] == name.strip()
    assert [len(job.downloads) for job in jobs] == [1] * len(jobs)
    assert {path for path in cinema.folder.rglob("*") if "media" not in path.parts} == before
    media = {path.name for path in (cinema.folder / "state" / "media").rglob("*")}
    assert all(re.fullmatch("md5-[0-9a-f]{32}", name) for name in media), media
    cinema.link()


async def test_a_host_that_only_the_server_knows(cinema: Cinema, art: Art) -> None:
    """The error names host and setting; with `connect_to` another address is dialled, under the host's name."""
    cinema.server.outputs.host = "minio.invalid:9000"
    job = await cinema.job("inside.mkv", art.video(MAGENTA, 0.5))
    await cinema.server.complete(job)
    status = await cinema.agent.until(lambda status: any(entry["error"] for entry in status["jobs"] if entry["id"] == job.job_id))
    error = next(entry["error"] for entry in status["jobs"] if entry["id"] == job.job_id)
    assert "minio.invalid:9000" in error
    assert "set connect_to" in error
    cinema.link(connect_to=urlsplit(cinema.server.foreign_url).netloc)
    await cinema.shows(MAGENTA)
    assert {request.headers["Host"] for request in cinema.server.requests_to(f"/bucket/{job.job_id}/")} == {"minio.invalid:9000"}
    cinema.link()


LOGIN: dict[str, Any] = {"token": None, "username": USERNAME, "password": PASSWORD}


async def test_logins(cinema: Cinema) -> None:
    """What is wrong with the credentials is said in a sentence, and not tried over and over; a token that is over is renewed."""
    rest = cinema.server.rest
    rest.authentication, rest.requires_2fa = True, False  # also when it is tried again
    logins = rest.logins
    for keys, sentence in (
        ({**LOGIN, "password": "popcorm"}, "login refused: Invalid credentials.; check username and password"),
        ({"token": "0" * 40}, "the server refuses the token; check token (HTTP 403: Invalid token.)"),
        ({"token": None}, "the server wants a token, or username and password (HTTP 403: "),
    ):
        cinema.link(**keys)
        await cinema.refused(sentence)
    rest.requires_2fa = True
    cinema.link(**LOGIN)
    await cinema.refused("second factor")
    assert (rest.logins, rest.failed_logins) == (logins + 2, 0)
    rest.requires_2fa = False
    cinema.link(**LOGIN, priority=51)  # another link, which tries at once
    await cinema.connected()
    assert rest.logins == logins + 3
    rest.renew_token()
    await cinema.server.wait_for(lambda: rest.logins == logins + 4, DEADLINE_S)
    await cinema.looks()
    await cinema.connected()
    assert rest.logins == logins + 4
    assert cinema.server.requests_to("/api/auth/logout/") == []
    rest.authentication = False
    cinema.link(token=None)
    await cinema.server.wait_for(
        lambda: "Authorization" not in cinema.server.requests_to("/api/jobs/")[-1].headers, DEADLINE_S, what="no token"
    )
    await cinema.connected()
    cinema.link()
    rest.token = TOKEN


async def test_which_jobs_count(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """Of 45 old jobs none is fetched, though all pages are read; new ones are, and old ones only if they are configured."""
    async with open_cinema(tmp_path, own_display, start=False) as cinema:
        server = cinema.server
        server.film = art.video(YELLOW, 0.5)
        old = server.add_old(45)
        wanted = old[17]
        with cinema.watched() as samples:
            await cinema.agent.start()
            await cinema.looks(5)
            pages = [request.query["page"] for request in cinema.server.requests_to("/api/jobs/")]
            assert pages[:3] == ["1", "2", "3"]
            assert set(pages[3:]) <= {"1"}, "what was seen is not read again"
            assert ((await cinema.agent.status())["jobs"], server.outputs.issued) == ([], 0)
            new = server.add("new.mkv", status="completed")
            await cinema.shows(YELLOW)
            await cinema.reaches(new, "played")
            wanted.set_output(art.video(MAGENTA, 0.5))
            old[0].set_output(art.video(BLUE, 0.5))
            server.delete(new)
            tables: list[Mapping[str, Any]] = [
                conversion_link(server, name="one", job=wanted.job_id.upper()),
                conversion_link(server, name="newest", job="newest"),
            ]
            cinema.agent.configure(tables, cinema.tables)
            cinema.agent.hang_up()
            for job in (wanted, old[0]):
                await cinema.reaches(job, "played")
            await cinema.agent.kill()
            await cinema.agent.start()
            await cinema.agent.until(lambda status: set(states(status).values()) == {"connected"})
            await asyncio.sleep(1.0)
        assert [times(samples, colour) for colour in (YELLOW, MAGENTA, BLUE)] == [1, 1, 1]
        assert sum(len(job.downloads) for job in [*old, new]) == 3
        assert not near(cinema.screen.pixel(*CENTRE), BLUE)
