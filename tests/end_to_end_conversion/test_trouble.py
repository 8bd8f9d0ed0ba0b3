"""Servers and agents that are killed, two converters at once, and secrets: every film comes, none twice, nothing is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.agent_process import signage_link
from tests.conftest import rounds
from tests.display import XServer, ffmpeg
from tests.end_to_end.art import BLUE, CYAN, GREEN, MAGENTA, ORANGE, RED, YELLOW, Art
from tests.end_to_end.processes import all_gone, family
from tests.end_to_end.shop import LOAD
from tests.end_to_end_conversion.cinema import (
    DEADLINE_S,
    Cinema,
    conversion_link,
    entry_of,
    figure,
    lengths_s,
    open_cinema,
    playlist_and,
    states,
    times,
)
from tests.servers import ConversionServer, conversion_ffmpeg
from tests.servers.conversion_jobs import ConversionJob
from tests.servers.conversion_rest import COOKIE, PASSWORD, TOKEN, USERNAME

LARGE_BYTES = 1_500_000
WRITTEN_S = 0.15
"""So soon after its first frame it is on the disk that a film has been on."""
ROUNDS = rounds(30)


def padded(film: Path, size_bytes: int = LARGE_BYTES) -> bytes:
    """A film with as many bytes of no meaning at its end, which players pass over."""
    return film.read_bytes() + size_bytes.to_bytes(4, "big") + b"free" + bytes(size_bytes - 8)


async def kill(cinema: Cinema) -> None:
    """As if the power were cut."""
    assert cinema.agent.process is not None
    everyone = family(cinema.agent.process.pid)
    await cinema.agent.kill()
    await all_gone(everyone)


async def half_here(cinema: Cinema, job: ConversionJob) -> None:
    """Waits until a part of the output has come."""

    def is_half(entry: dict[str, Any]) -> bool:
        return entry["state"] == "downloading" and 0 < (entry["percent"] or 0) < 100

    await cinema.agent.until(lambda status: is_half(entry_of(status, job)))


@pytest.mark.skipif(not conversion_ffmpeg.available(), reason="needs ffmpeg")
async def test_the_server_is_killed(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """In the middle of a conversion, and of a download: both films come when it is back, each once, the second half by Range."""
    source = tmp_path / "source.mkv"
    picture = ["-f", "lavfi", "-i", "color=c=0x00ff00:s=320x180:r=25", "-t", "1", "-c:v", "mpeg4", "-q:v", "2"]
    await asyncio.to_thread(ffmpeg, *picture, str(source))
    async with open_cinema(tmp_path / "box", own_display) as cinema:
        server = cinema.server
        server.least_s = 2.0
        loaded = await cinema.job("loaded.mkv", padded(art.video(YELLOW, 0.5)))
        converted = server.add("converted.mkv", size_bytes=source.stat().st_size, source=source)
        await server.tell_update(converted)
        await server.followed(converted)
        server.worker.take()
        await server.wait_for(lambda: converted.progress > 15, DEADLINE_S)
        server.fault("/bucket/*", times=1, stall_after=900_000)
        with cinema.watched() as samples:
            await server.complete(loaded)
            await half_here(cinema, loaded)
            await server.stop()
            status = await cinema.agent.until(lambda status: set(states(status).values()) <= {"waiting", "connecting"})
            assert entry_of(status, converted)["state"] == "processing"
            assert converted.status == "queued", "the server begins it anew"
            await server.start()
            for job, colour in ((loaded, YELLOW), (converted, GREEN)):
                await cinema.shows(colour)
                await cinema.reaches(job, "played")
            await cinema.looks()
        assert (times(samples, YELLOW), times(samples, GREEN)) == (1, 1)
        assert [request.status for request in server.requests_to(f"/bucket/{loaded.job_id}")][1:] == [206]
        assert [one.range for one in converted.downloads] == [""]
        assert server.complaints == []


async def test_the_agent_is_killed(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """Before, in and after the download, and in the middle of the film: each film is seen once, whole or, the last, in part."""
    async with open_cinema(tmp_path, own_display) as cinema:
        server = cinema.server
        with cinema.watched() as samples:
            before = await cinema.job("before.mkv", art.video(RED, 0.5))
            await kill(cinema)
            await server.complete(before)
            await cinema.agent.start()
            await cinema.shows(RED)
            await cinema.reaches(before, "played")

            during = await cinema.job("during.mkv", padded(art.video(GREEN, 0.5)))
            server.fault("/bucket/*", times=1, stall_after=900_000)
            await server.complete(during)
            await half_here(cinema, during)
            await kill(cinema)
            await cinema.agent.start()
            await cinema.shows(GREEN)
            await cinema.reaches(during, "played")

            middle = await cinema.job("middle.mkv", art.video(BLUE, 6))
            await server.complete(middle)
            await cinema.shows(BLUE)
            await cinema.reaches(middle, "playing")
            await asyncio.sleep(0.2)
            await kill(cinema)
            await cinema.agent.start()
            await cinema.reaches(middle, "played")
            await cinema.looks()
        assert [times(samples, colour) for colour in (RED, GREEN, BLUE)] == [1, 1, 1]
        assert [len(job.downloads) for job in (before, during, middle)] == [1, 2, 1]
        assert during.downloads[1].range.startswith("bytes=")


async def test_the_agent_is_killed_before_the_first_frame(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """The film is in the store and waits for its turn: at the next start, when nothing is on, it plays without the server."""
    async with open_cinema(tmp_path, own_display, links=playlist_and(play="enqueue")) as cinema:
        await cinema.run_clock(art.clock(), art.image(MAGENTA))
        job = await cinema.job("waits.mkv", art.video(YELLOW, 0.5))
        await cinema.server.complete(job)
        await cinema.reaches(job, "ready")
        with cinema.watched() as samples:
            await kill(cinema)
            cinema.server.fault("/api/*", status=503)
            cinema.server.refuse_sockets = True
            await cinema.agent.start()
            await cinema.shows(YELLOW)
            await cinema.seen(lambda: cinema.clock_s() is not None, "the clock")
            await kill(cinema)
            cinema.server.clear_faults()
            await cinema.agent.start()
            await cinema.connected()
            await cinema.seen(lambda: cinema.clock_s() is not None, "the clock")
            await cinema.looks()
        assert times(samples, YELLOW) == 1
        assert len(job.downloads) == 1


@pytest.mark.timeout(120 + ROUNDS * 10)
async def test_kills_at_random_times(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """Whenever the agent is killed: no film is missing, and none that was on for more than a moment is begun a second time."""
    seed = random.SystemRandom().randrange(1_000_000)
    figure(f"seed {seed}")
    chance = random.Random(seed)
    colours = (RED, GREEN, BLUE, YELLOW, CYAN, MAGENTA, ORANGE)
    async with open_cinema(tmp_path, own_display) as cinema:
        for number in range(ROUNDS):
            colour = colours[number % len(colours)]
            cinema.server.fault("/bucket/*", times=1, bytes_per_s=8_000_000.0)
            with cinema.watched() as samples:
                job = await cinema.job(f"round {number}.mkv", padded(art.video(colour, 0.4)))
                await cinema.server.complete(job)
                await asyncio.sleep(chance.uniform(0.0, 0.6))
                await kill(cinema)
                await cinema.agent.start()
                await cinema.reaches(job, "played")
                await cinema.seen(lambda: cinema.screen.pixel(320, 180) == (0, 0, 0), "the end of the film")
            *begun_s, _ = lengths_s(samples, colour)
            if begun_s:  # killed after the first frame and before it was written down
                figure(f"round {number}: begun for {begun_s[0]:.3f} s, and begun anew")
            assert len(begun_s) < 2, f"round {number}, seed {seed}: {begun_s}"
            assert sum(begun_s) < WRITTEN_S * LOAD, f"round {number}, seed {seed}: {begun_s}"


async def test_two_converters(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """Their jobs share one strip, in the order of the configuration; of films done at the same time none cuts the other off."""
    async with ConversionServer() as other:

        def links(cinema: Cinema) -> Sequence[dict[str, Any]]:
            return [
                signage_link(cinema.server.url),
                conversion_link(cinema.server),
                conversion_link(other, name="others"),
            ]

        async with open_cinema(tmp_path, own_display, links=links) as cinema:
            await cinema.run_clock(art.clock())
            one = await cinema.job("one.mkv", art.video(YELLOW, 1), progress=30)
            two = other.add("two.mkv", status="processing", progress=60)
            two.set_output(art.video(CYAN, 1))
            await other.tell_update(two)
            await other.followed(two)
            await cinema.has_bars(0.3, 0.6)
            with cinema.watched() as samples:
                await asyncio.gather(cinema.server.complete(one), other.complete(two))
                for job in (one, two):
                    await cinema.reaches(job, "played")
                await cinema.seen(lambda: cinema.clock_s() is not None, "the clock")
            for colour in (YELLOW, CYAN):
                [length_s] = lengths_s(samples, colour)
                assert length_s > 0.6
            entries = (await cinema.agent.status())["jobs"]
            assert {(entry["link"], entry["title"]) for entry in entries} == {("films", "one.mkv"), ("others", "two.mkv")}
            assert cinema.server.complaints + other.complaints == []


@pytest.mark.parametrize("login", [False, True])
async def test_no_secret_is_told(tmp_path: Path, own_display: XServer, art: Art, login: bool) -> None:
    """At DEBUG, through refusals, kills and broken downloads: no secret in the log or in `status`, none to the signed host."""
    keys: dict[str, Any] = {"token": None, "username": USERNAME, "password": PASSWORD} if login else {}
    async with open_cinema(
        tmp_path, own_display, links=lambda cinema: [conversion_link(cinema.server, **keys)], level="debug"
    ) as cinema:
        server = cinema.server
        secrets = {TOKEN, PASSWORD, COOKIE}
        job = await cinema.job("secret.mkv", padded(art.video(YELLOW, 0.5)))
        said: list[str] = []
        server.fault("/bucket/*", times=1, cut_after=900_000)
        server.fault("/bucket/*", times=1, skip=1, status=403)
        if login:
            secrets.add(server.rest.renew_token())
        await server.complete(job)
        await cinema.shows(YELLOW)
        await cinema.reaches(job, "played")
        said.append(str(await cinema.agent.status()))
        await server.stop()
        await cinema.agent.until(lambda status: set(states(status).values()) <= {"waiting", "connecting"})
        said.append(str(await cinema.agent.status()))
        await server.start()
        await cinema.connected()
        server.rest.token = "0123456789abcdef" * 3
        server.rest.requires_2fa = True
        server.refuse_sockets = True
        await cinema.refused("second factor" if login else "check token")
        said.append(str(await cinema.agent.status()))
        await cinema.agent.stop()
        signed = server.requests_to("/bucket/")
        assert len(signed) >= 3
        secrets |= {request.query["X-Amz-Signature"] for request in signed}
        text = cinema.agent.log + "".join(said)
        assert " D " in text, "a run at DEBUG"
        assert "secret.mkv" in text
        for secret in secrets:
            assert secret not in text
        for request in signed:
            assert request.foreign
            assert request.method == "GET"
            assert not {"Authorization", "Cookie", "Origin"} & set(request.headers)
            assert not any(word in str(request.headers) for word in secrets - {request.query["X-Amz-Signature"]})
        logged = [request.path for request in server.requests if PASSWORD in str(request.body)]
        assert set(logged) == ({"/api/auth/login/"} if login else set())
        assert server.complaints == []
