"""The fake conversion server by itself: both habits, who is let in, pages, outputs and their troubles, scripts, real ffmpeg."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from yarl import URL

from tests.servers import ConversionServer, Hub, SignageServer, conversion_ffmpeg as ffmpeg
from tests.servers.conversion_jobs import ConversionJob
from tests.servers.conversion_outputs import PAGE
from tests.servers.conversion_prompt import HELP, run_line
from tests.servers.conversion_rest import COOKIE, LOCKED_AFTER, PASSWORD, TOKEN, USERNAME
from tests.servers.conversion_sample import make_sample
from tests.servers.conversion_scripts import HUGE_BYTES, NAMES, ODD, SCRIPTS

EXAMPLES = Path(__file__).parent / "examples" / "conversion" / "server"
FILM = b"\x1aE\xdf\xa3 as good as a film " * 1000
needs_ffmpeg = pytest.mark.skipif(not ffmpeg.available(), reason="needs ffmpeg")


@pytest.fixture
async def server() -> AsyncIterator[ConversionServer]:
    """Its scripts hurry."""
    async with ConversionServer() as server:
        server.film = FILM
        server.pace_s = 0.02
        server.least_s = 0.0
        yield server


@pytest.fixture
async def http(server: ConversionServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Token {TOKEN}"}) as session:
        yield session


def follow(server: ConversionServer, path: str, **headers: str) -> connect:
    return connect(
        server.url.replace("http", "ws", 1) + path,
        origin=server.url,  # type: ignore[arg-type]
        additional_headers=headers,
        proxy=None,
        compression=None,
    )


async def hear(socket: ClientConnection) -> Any:
    """The next message."""
    async with asyncio.timeout(10):
        return json.loads(await socket.recv())


async def ask(http: aiohttp.ClientSession, server: ConversionServer, path: str) -> tuple[int, Any]:
    """Status and body of a GET."""
    async with http.get(server.url + path) as answer:
        return answer.status, await answer.json()


async def fetch(address: str, **headers: str) -> tuple[int, bytes, str]:
    """Status, body and type of what is behind an address, asked for without credentials."""
    async with aiohttp.ClientSession() as http, http.get(URL(address, encoded=True), headers=headers) as answer:
        return answer.status, await answer.read(), answer.content_type


async def address(http: aiohttp.ClientSession, server: ConversionServer, job: ConversionJob) -> str:
    """A signed address of the output."""
    status, body = await ask(http, server, f"/api/jobs/{job.job_id}/download/")
    assert status == 200, body
    assert set(body) == {"download_url", "expires_in", "filename"}
    return str(body["download_url"])


# Both habits


async def test_the_words_of_the_document(server: ConversionServer) -> None:
    """Each message has exactly the keys of the source document's example; `/ws/jobs/` tells changes."""
    job = server.add("movie.mkv")
    async with (
        follow(server, f"/ws/conversion/{job.job_id}/") as socket,
        follow(server, "/ws/jobs/", Cookie=f"sessionid={COOKIE}") as all_jobs,
    ):
        assert (await hear(socket))["type"] == "progress"
        await server.wait_for(lambda: server.jobs_sockets)
        server.start_script("failed")
        failing = server.jobs[0]
        assert (await hear(all_jobs))["job"]["id"] == failing.job_id
        await server.wait_for(lambda: failing.status == "failed")
        job.streams = failing.streams
        job.encoder = failing.encoder
        await server.report_plan(job)
        await server.update(job, status="processing", progress=45.5, stage="transcoding", eta_s=120)
        await server.complete(job)
        said = [await hear(socket) for _ in range(3)]
    names = {"analysis": "analysis", "progress": "progress", "status": "status_completed"}
    for message in said:
        example = json.loads((EXAMPLES / f"{names[message['type']]}.json").read_text())
        assert message.keys() == example.keys()
        assert message["job_id"] == job.job_id
    assert said[0]["streams"] == json.loads((EXAMPLES / "analysis.json").read_text())["streams"]
    error = failing.told[-1].message
    assert error | {"job_id": 0} == json.loads((EXAMPLES / "error.json").read_text()) | {"job_id": 0}


async def test_the_words_of_the_field(server: ConversionServer) -> None:
    """A snapshot first, progress without an id, a failure as progress; a list of jobs on request."""
    server.habit = "field"
    job = server.add("movie.mkv", status="processing", progress=12.7, stage="transcoding", eta_s=9.6)
    async with follow(server, f"/ws/conversion/{job.job_id}/") as socket:
        assert await hear(socket) == {
            "type": "status",
            "progress": 12,
            "status": "processing",
            "stage": "TRANSCODE",
            "eta": 10,
            "error": "",
        }
        await server.fail(job, "No VAAPI device")
        assert await hear(socket) == {
            "type": "progress",
            "progress": 12,
            "status": "failed",
            "stage": "TRANSCODE",
            "eta": 10,
            "error": "No VAAPI device",
        }
        await socket.send("{")
        assert await hear(socket) == {"type": "error", "message": "Invalid JSON"}
        await socket.send('{"action": "status"}')
        assert (await hear(socket))["type"] == "status"
    async with follow(server, "/ws/jobs/", Cookie=f"sessionid={COOKIE}") as socket:
        listed = await hear(socket)
        assert (listed["type"], [one["id"] for one in listed["jobs"]]) == ("jobs_list", [job.job_id])
        server.add("another.mkv")
        await socket.send('{"action": "refresh"}')
        assert len((await hear(socket))["jobs"]) == 2


# Who is let in


async def test_sockets(server: ConversionServer) -> None:
    """403 without the server's own origin; a cookie for all jobs, where a token counts nothing; none for one job."""
    job = server.add("movie.mkv")
    url = f"{server.url.replace('http', 'ws', 1)}/ws/conversion/{job.job_id}/"
    for origin in (None, "http://elsewhere.example"):
        with pytest.raises(InvalidStatus, match="403"):
            await connect(url, origin=origin, proxy=None)  # type: ignore[arg-type]
    for headers in ({}, {"Authorization": f"Token {TOKEN}"}, {"Cookie": "sessionid=wrong"}):
        with pytest.raises(InvalidStatus, match="403"):
            await follow(server, "/ws/jobs/", **headers)
    assert server.handshakes_refused == 5
    with pytest.raises(InvalidStatus, match="404"):
        await follow(server, f"/ws/conversion/{job.job_id}")
    server.rest.authentication = False
    async with follow(server, "/ws/jobs/"), follow(server, "/ws/conversion/nobody/"):
        await server.wait_for(lambda: server.jobs_opened == 1)
    server.refuse_sockets = True
    with pytest.raises(InvalidStatus, match="403"):
        await follow(server, f"/ws/conversion/{job.job_id}/")
    assert job.opened == 0
    assert server.complaints == []


async def test_tokens(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """Without one, with another one and in another scheme 403, not 401; a server may ask for none."""
    assert (await ask(http, server, "/api/jobs/"))[0] == 200
    for headers in ({}, {"Authorization": "Token nonsense"}, {"Authorization": f"Bearer {TOKEN}"}):
        async with aiohttp.ClientSession(headers=headers) as stranger:
            status, body = await ask(stranger, server, "/api/jobs/")
            assert (status, list(body)) == (403, ["detail"])
    server.rest.renew_token()
    assert (await ask(http, server, "/api/jobs/"))[0] == 403
    server.rest.authentication = False
    assert (await ask(http, server, "/api/jobs/"))[0] == 200


async def test_logins(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """The right words give the token, or ask for a second factor; ten wrong ones lock the account."""

    async def login(password: str) -> tuple[int, Any]:
        body = {"email_or_username": USERNAME, "password": password}
        async with http.post(f"{server.url}/api/auth/login/", json=body) as answer:
            return answer.status, await answer.json()

    assert (await login(PASSWORD))[1]["token"] == TOKEN
    server.rest.requires_2fa = True
    status, body = await login(PASSWORD)
    assert (status, body["requires_2fa"], "token" in body) == (200, True, False)
    server.rest.requires_2fa = False
    for _ in range(LOCKED_AFTER):
        assert await login("wrong") == (400, {"non_field_errors": ["Invalid credentials."]})
    assert (await login(PASSWORD))[0] == 403
    assert (server.rest.logins, server.complaints) == (LOCKED_AFTER + 3, ["a login to a locked account"])
    server.rest.failed_logins = 0
    assert (await login(PASSWORD))[0] == 200


async def test_breaches_are_noted(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """A logout, credentials where they do not belong, HEAD to a signed address."""
    job = server.add("movie.mkv", status="completed")
    signed = await address(http, server, job)
    async with http.get(signed) as answer:
        assert answer.status == 400
    async with aiohttp.ClientSession() as plain, plain.head(signed) as answer:
        assert answer.status == 403
    async with http.get(f"{server.url}/api/jobs/", headers={"Cookie": f"sessionid={COOKIE}"}) as answer:
        assert answer.status == 200
    async with follow(server, f"/ws/conversion/{job.job_id}/", Authorization=f"Token {TOKEN}"):
        pass
    async with http.post(f"{server.url}/api/auth/logout/") as answer:
        assert answer.status == 200
    assert (await ask(http, server, "/api/jobs/"))[0] == 403
    assert len(server.complaints) == 5


# Jobs


async def test_pages(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """Twenty jobs each, newest first, without those of other users."""
    server.add_old(45)
    newest = server.add("newest.mkv")
    hidden = server.add("somebody else's.mkv", hidden=True)
    pages = [(await ask(http, server, f"/api/jobs/?page={number}&status=completed"))[1] for number in (1, 2, 3)]
    assert [len(page["results"]) for page in pages] == [20, 20, 6]
    assert pages[0]["results"][0]["id"] == newest.job_id
    moments = [one["created_at"] for page in pages for one in page["results"]]
    assert moments == sorted(moments, reverse=True)
    assert [page["count"] for page in pages] == [46] * 3
    assert [bool(page["next"]) for page in pages] == [True, True, False]
    assert [bool(page["previous"]) for page in pages] == [False, True, True]
    for page in ("4", "0", "x"):
        assert (await ask(http, server, f"/api/jobs/?page={page}"))[0] == 404
    for job_id in (hidden.job_id, "nobody"):
        assert (await ask(http, server, f"/api/jobs/{job_id}/"))[0] == 404
        assert (await ask(http, server, f"/api/jobs/{job_id}/download/"))[0] == 404
    item = set(pages[0]["results"][0])
    assert item < set((await ask(http, server, f"/api/jobs/{newest.job_id}/"))[1])
    assert item == {
        "id", "original_filename", "original_file_size", "output_filename", "output_file_size", "status", "progress",
        "current_stage", "created_at", "completed_at",
    }  # fmt: skip
    assert (server.rest.looks, newest.polls) == (6, 1)


async def test_scripts(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """Each comes to its end; what the sockets say and what REST says differ where the script wants it."""
    jobs = {name: server.start_script(name) for name in SCRIPTS if name != "stalled"}
    ends = {"failed": "failed", "failed_late": "failed", "cancelled": "cancelled", "deleted": "processing"}
    for name, job in jobs.items():
        await server.wait_for(lambda job=job, name=name: job.finished or job not in server.jobs, what=name)  # type: ignore[misc]
        assert job.status == ends.get(name, "completed"), name
    assert jobs["deleted"] not in server.jobs
    kinds = {name: [one.message.get("type") for one in job.told if isinstance(one.message, dict)] for name, job in jobs.items()}
    assert kinds["completed"][-1] == kinds["premature"][-1] == kinds["failed_late"][-2] == "status"
    assert kinds["failed"][-1] == kinds["failed_late"][-1] == "error"
    assert {kinds[name][-1] for name in ("cancelled", "deleted", "unannounced")} == {"progress"}
    assert len(jobs["odd"].told) > len(ODD)
    shown = [one.message["progress"] for one in jobs["restless"].told if one.message.get("type") == "progress"]
    assert shown == [5, 0, 0, 60, 100, 95, 98]
    assert jobs["huge"].output_bytes == HUGE_BYTES
    with pytest.raises(ValueError, match="the scripts are"):
        server.start_script("nonsense")


async def test_premature(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """While REST says processing, the download answers 400."""
    server.pace_s = 0.1
    job = server.start_script("premature")
    await server.wait_for(lambda: job.told and job.told[-1].message["type"] == "status")
    assert (await ask(http, server, f"/api/jobs/{job.job_id}/"))[1]["status"] == "processing"
    assert (await ask(http, server, f"/api/jobs/{job.job_id}/download/"))[0] == 400
    await server.wait_for(lambda: job.status == "completed")
    assert (await ask(http, server, f"/api/jobs/{job.job_id}/download/"))[0] == 200


async def test_stalled(server: ConversionServer) -> None:
    """It is silent for long."""
    job = server.start_script("stalled")
    await server.wait_for(lambda: job.progress == 30)
    told = len(job.told)
    await asyncio.sleep(0.3)
    assert (len(job.told), job.status) == (told, "processing")


# Outputs


@pytest.mark.parametrize("name", NAMES)
async def test_signed_addresses(server: ConversionServer, http: aiohttp.ClientSession, name: str) -> None:
    """On the second port, good for a while, for this file and host only, with ranges; each download is counted."""
    job = server.add(name, status="completed")
    signed = await address(http, server, job)
    assert signed.startswith(f"{server.foreign_url}/bucket/")
    assert await fetch(signed) == (200, FILM, "video/x-matroska")
    assert await fetch(signed, Range="bytes=1000-") == (206, FILM[1000:], "video/x-matroska")
    assert [(one.status, one.range, one.whole) for one in job.downloads] == [(200, "", True), (206, "bytes=1000-", True)]
    server.outputs.ranges = "ignored"
    assert (await fetch(signed, Range="bytes=1000-"))[:2] == (200, FILM)
    server.outputs.ranges = "unsatisfiable"
    assert (await fetch(signed, Range="bytes=1000-"))[0] == 416
    assert (await fetch(signed.replace(str(server.hub.foreign_port), str(server.hub.port))))[0] == 404
    assert (await fetch(signed, Host="elsewhere"))[0] == 403
    other = server.add("other.mkv", status="completed")
    assert (await fetch(signed.replace(job.job_id, other.job_id)))[0] == 403
    server.outputs.expire()
    assert (await fetch(signed))[0] == 403
    assert server.complaints == []


async def test_an_address_that_has_expired(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """By its age, from the start or after a while."""
    job = server.add("movie.mkv", status="completed", stale_addresses=1)
    assert (await fetch(await address(http, server, job)))[0] == 403
    server.outputs.expires_s = 0.3
    signed = await address(http, server, job)
    assert (await fetch(signed))[0] == 200
    await asyncio.sleep(0.35)
    assert (await fetch(signed))[0] == 403


async def test_an_inner_host(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """The address names it, and the signature is good for that name."""
    server.outputs.host = "minio:9000"
    job = server.add("movie.mkv", status="completed")
    signed = await address(http, server, job)
    assert urlsplit(signed).netloc == "minio:9000"
    assert (await fetch(signed.replace("minio:9000", f"127.0.0.1:{server.hub.foreign_port}"), Host="minio:9000"))[0] == 200


async def test_the_file_itself(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """Told by its Content-Type; Range is ignored, a token needed."""
    server.outputs.form = "direct"
    job = server.add("movie.mkv", status="completed")
    url = f"{server.url}/api/jobs/{job.job_id}/download/"
    async with http.get(url, headers={"Range": "bytes=1000-"}) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "application/octet-stream", FILM)
    assert (await fetch(url))[0] == 403
    assert job.downloads[0].signed is False
    for serves in ("missing", "gone"):
        job.serves = serves
        async with http.get(url) as answer:
            assert answer.status == 404


@pytest.mark.parametrize(
    ("serves", "came"),
    [
        ("gone", (404, None, "application/xml")),
        ("page", (200, PAGE, "text/html")),
        ("truncated", (200, FILM[: len(FILM) // 2], "video/x-matroska")),
        ("longer", (200, FILM + FILM[:1000], "video/x-matroska")),
    ],
)
async def test_outputs_that_are_none(
    server: ConversionServer, http: aiohttp.ClientSession, serves: Any, came: tuple[int, bytes | None, str]
) -> None:
    """REST says that all is well, and something else comes."""
    job = server.add("movie.mkv", status="completed", serves=serves)
    assert (await ask(http, server, f"/api/jobs/{job.job_id}/"))[1]["output_file_size"] == len(FILM)
    status, data, kind = await fetch(await address(http, server, job))
    assert (status, kind) == (came[0], came[2])
    assert came[1] in (None, data)


async def test_a_page_that_poses_as_a_film(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """Its size and its type are right."""
    job = server.add("movie.mkv", status="completed", serves="posing")
    status, data, kind = await fetch(await address(http, server, job))
    assert (status, len(data), kind) == (200, len(FILM), "video/x-matroska")
    assert data.startswith(b"<!doctype html>")
    job.serves = "missing"
    assert (await ask(http, server, f"/api/jobs/{job.job_id}/download/"))[0] == 404


async def test_faults_of_a_body(server: ConversionServer, http: aiohttp.ClientSession) -> None:
    """The hub's, at the signed addresses: the connection is cut, and the rest comes with Range."""
    job = server.add("movie.mkv", status="completed")
    signed = await address(http, server, job)
    server.fault("/bucket/*", cut_after=5000, times=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await fetch(signed)
    assert job.downloads[0].whole is False
    assert (await fetch(signed, Range="bytes=5000-"))[1] == FILM[5000:]
    await server.downloaded(job)


# Real conversions


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of a second in codecs that must not stay."""
    path = tmp_path_factory.mktemp("films") / "sample.mkv"
    make_sample(path, seconds=1)
    return path


@needs_ffmpeg
@pytest.mark.parametrize("habit", ["document", "field"])
async def test_a_real_conversion(server: ConversionServer, http: aiohttp.ClientSession, sample: Path, habit: Any) -> None:
    """Its progress is ffmpeg's own, its output another film of the same length."""
    server.habit = habit
    server.least_s = 1.5
    job = server.upload(sample, "Matinee.mkv")
    await server.wait_for(lambda: job.finished, 60, what=lambda: f"{job.status} {job.told}")
    assert (job.status, job.message) == ("completed", "")
    progress = [one.message for one in job.told if one.message["type"] == "progress" and one.message["status"] == "processing"]
    assert len({one["progress"] for one in progress}) >= 3
    assert any(0 < one["progress"] < 100 for one in progress)
    assert job.streams is not None
    assert job.streams["video"]["codec"] == "mpeg4"
    assert [one["action"] for one in job.streams["audio"]] == ["transcode", "copy"]
    assert job.streams["subtitle"] == [{"codec": "subrip", "language": "eng", "action": "copy"}]
    if habit == "document":
        assert [one.message["type"] for one in job.told][1] == "analysis"
        assert {"speed", "frame", "fps", "size", "time"} <= progress[-1].keys()
    status, data, _ = await fetch(await address(http, server, job))
    target = server.directory / "came.mkv"
    target.write_bytes(data)
    plan = await ffmpeg.analyse(target)
    assert (status, plan.streams["video"]["codec"]) == (200, "h264")
    assert plan.streams["video"]["action"] == "copy"
    assert {one["codec"] for one in plan.streams["audio"]} == {"aac"}
    assert 0.9 < plan.duration_s < 1.3


@needs_ffmpeg
async def test_one_at_a_time(server: ConversionServer, sample: Path) -> None:
    """The others are queued, in their order; a cancelled one ends its ffmpeg, and the next one begins."""
    server.least_s = 30.0
    first, second, third = (server.upload(sample, f"{number}.mkv") for number in range(3))
    await server.wait_for(lambda: first.status == "processing", 30)
    assert (second.status, third.status) == ("queued", "queued")
    assert len(children()) == 1
    server.least_s = 0.0
    server.cancel(first)
    await server.wait_for(lambda: third.status == "completed", 60)
    assert (first.status, second.status, first.output) == ("cancelled", "completed", None)
    assert second.completed_at is not None
    assert third.completed_at is not None
    assert second.completed_at < third.completed_at
    assert children() == set()


@needs_ffmpeg
async def test_the_server_goes_down_in_the_middle(server: ConversionServer, sample: Path) -> None:
    """ffmpeg ends with it; when it is back the film is begun anew. Scripts wait, too."""
    server.least_s = 20.0
    job = server.upload(sample, "Matinee.mkv")
    async with follow(server, f"/ws/conversion/{job.job_id}/") as socket:
        await server.wait_for(lambda: job.status == "processing", 30)
        await server.stop()
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass
    assert children() == set()
    with pytest.raises((OSError, InvalidMessage)):
        await follow(server, f"/ws/conversion/{job.job_id}/")
    assert (job.status, job.progress) == ("queued", 0)
    script = server.start_script("completed")
    await asyncio.sleep(0.2)
    assert (script.status, job.status) == ("queued", "queued")
    server.least_s = 0.0
    await server.start()
    await server.wait_for(lambda: job.status == script.status == "completed", 60)


@needs_ffmpeg
@pytest.mark.parametrize(
    "data", [b"no film at all", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile x.mkv\n"]
)
async def test_uploads_that_are_no_films(server: ConversionServer, tmp_path: Path, data: bytes) -> None:
    """The job fails with a reason, without a path of this machine; lists of other files are none, too."""
    path = tmp_path / "odd.film"
    path.write_bytes(data)
    job = server.upload(path, "odd.mkv")
    await server.wait_for(lambda: job.finished, 30)
    assert (job.status, job.error) == ("failed", "analysis_error")
    assert str(tmp_path) not in job.message + job.details


@needs_ffmpeg
async def test_the_upload_of_the_page(server: ConversionServer, sample: Path) -> None:
    """Films by POST, not from other pages, not too many, none without a byte."""
    url = f"{server.url}/console/conversion/upload"
    data = sample.read_bytes()
    async with aiohttp.ClientSession() as http:
        async with http.post(url, params={"name": NAMES[3]}, data=data) as answer:
            job = server.job((await answer.json())["job_id"])
            assert job is not None
            assert (job.name, job.size_bytes) == (NAMES[3], len(data))
        async with http.post(url, data=data, headers={"Origin": "http://elsewhere.example"}) as answer:
            assert answer.status == 403
        async with http.post(url, data=b"") as answer:
            assert answer.status == 400
        await server.wait_for(lambda: job.status == "completed", 30)
        server.least_s = 60.0
        for _ in range(12):
            async with http.post(url, data=data) as answer:
                refused = answer.status
        assert refused == 400
    assert {path.name for path in server.directory.iterdir()} & {"passwd", "etc"} == set()


async def test_without_ffmpeg(server: ConversionServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything but real conversions works, and they say why not."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="ffmpeg is missing"):
        await server.command("sample", {})
    (tmp_path / "a.film").write_bytes(FILM)
    job = server.upload(tmp_path / "a.film", "a.mkv")
    await server.wait_for(lambda: job.status == "failed")
    assert "ffmpeg is missing" in job.message


def children() -> set[int]:
    """Processes that this one has started and that have not ended."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state not in "ZX":
            found.add(int(entry.name))
    return found


# By hand


async def test_commands(server: ConversionServer) -> None:
    """What the console page sends."""
    await server.command("script", {"script": "completed", "name": "a.mkv"})
    job = server.jobs[0]
    for name, value in (
        ("habit", "field"),
        ("outputs", "direct"),
        ("ranges", "ignored"),
        ("requires_2fa", True),
        ("authentication", False),
    ):
        await server.command(name, {"value": value})
    state = server.state()
    assert [state[key] for key in ("habit", "outputs", "ranges", "requires_2fa", "authentication")] == [
        "field",
        "direct",
        "ignored",
        True,
        False,
    ]
    await server.wait_for(lambda: job.finished)
    await server.command("old", {"count": 45})
    assert len(server.jobs) == 46
    await server.command("clear", {})
    assert server.jobs == []
    for name, args in (
        ("nonsense", {}),
        ("habit", {"value": "x"}),
        ("old", {"count": 0}),
        ("cancel", {"job_id": "nobody"}),
        ("script", {"script": "x", "name": ""}),
    ):
        with pytest.raises(ValueError, match=r"."):
            await server.command(name, args)
    json.dumps(server.state())


async def test_the_screen_of_a_box() -> None:
    """The newest screenshot that the signage server of the same process has."""
    hub = Hub()
    signage, server = SignageServer(hub=hub), ConversionServer(hub=hub)
    assert server.state()["screen"] is None
    signage.device("LOBBY-01")
    assert server.state()["screen"] is None


async def test_the_prompt(server: ConversionServer) -> None:
    """Does what the page does, and says in words what makes no sense."""
    await run_line(server.hub, "script cancelled ../../x.mkv")
    assert server.jobs[0].name == "../../x.mkv"
    await run_line(server.hub, "habit field")
    assert server.habit == "field"
    await run_line(server.hub, "old 3")
    assert "completed" in await run_line(server.hub, "list")
    assert await run_line(server.hub, "help") == HELP
    for line in ("nonsense", "script nonsense", "habit none", "film /nowhere.mkv", "old many"):
        with pytest.raises(ValueError, match=r"."):
            await run_line(server.hub, line)
