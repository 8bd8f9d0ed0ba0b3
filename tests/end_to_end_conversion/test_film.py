"""A film from the upload to the screen: really converted by ffmpeg, seen coming on the strip, played over the playlist, once."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.agent_process import CHECKOUT
from tests.display import XServer, ffmpeg, near
from tests.end_to_end.art import GREEN, MAGENTA, YELLOW, Art
from tests.end_to_end.shop import LOAD
from tests.end_to_end_conversion.cinema import (
    CENTRE,
    DEADLINE_S,
    PATIENT,
    Cinema,
    figure,
    open_cinema,
    playlist_and,
    states,
    times,
)
from tests.servers import conversion_ffmpeg
from tests.servers.conversion_jobs import ConversionJob, Habit
from tests.servers.exchange import abort

NOTICE_S = 15.0
HABITS: tuple[Habit, ...] = ("document", "field")
needs_ffmpeg = pytest.mark.skipif(not conversion_ffmpeg.available(), reason="needs ffmpeg")


def original(path: Path) -> Path:
    """A film that plays nowhere as it is: a green picture in MPEG-4, with sound in AC-3."""
    sources = ["-f", "lavfi", "-i", "color=c=0x00ff00:s=320x180:r=25", "-f", "lavfi", "-i", "sine=frequency=440"]
    ffmpeg(*sources, "-t", "2", "-c:v", "mpeg4", "-q:v", "2", "-c:a", "ac3", str(path))
    return path


@needs_ffmpeg
async def test_from_the_upload_to_the_screen(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """In either shape: the bar grows with ffmpeg, the film plays once, and what was on goes on; a notice stays for 15 s."""
    source = await asyncio.to_thread(original, tmp_path / "original.mkv")
    async with open_cinema(tmp_path / "box", own_display, links=playlist_and(), command=PATIENT) as cinema:
        server = cinema.server
        server.least_s = 3.0
        await cinema.run_clock(art.clock())
        await server.wait_for(lambda: server.jobs_sockets)
        await failed_before(cinema)
        async with asyncio.TaskGroup() as tasks:
            since = time.monotonic()
            notice = tasks.create_task(cinema.seen(lambda: not cinema.alarms(), "the notice to go", 2 * NOTICE_S))
            notice.add_done_callback(lambda _: figure(f"the notice stayed {time.monotonic() - since:.1f} s"))
            for habit in HABITS:
                await one_film(cinema, source, habit)
                assert notice.done() or time.monotonic() - since < NOTICE_S * LOAD
            assert not notice.done() or time.monotonic() - since > NOTICE_S - 3.0
        assert "Films" in (people := await human_status(cinema))
        for job in server.jobs[:-1]:
            assert any(job.name in line and "played" in line for line in people.splitlines())
        assert server.complaints == []
        lines = [line for line in cinema.agent.log.splitlines() if " W links.conversion" in line]
        warned = [line for line in lines if "link=films/jobs" not in line]  # that connection was broken here
        assert len(warned) == 1, warned


async def one_film(cinema: Cinema, source: Path, habit: Habit) -> None:
    """From the upload to the end of the film."""
    server = cinema.server
    server.habit = habit
    with cinema.watched() as samples:
        job = server.add(f'Summer "99" #1 in the {habit}.mkv', size_bytes=source.stat().st_size, source=source)
        if habit == "field":  # what is new it tells when its socket is opened
            abort(server.jobs_sockets[0].request)
        else:
            await server.tell_update(job)
        await server.followed(job)
        server.worker.take()
        drawn = await seen_coming(cinema, job)
        await at_its_place(cinema, job)
    assert times(samples, GREEN) == 1
    figure(f"{habit}: {len(drawn)} lengths of the bar: {drawn}")
    assert [one.whole for one in job.downloads] == [True]
    assert await cinema.reaches(job, "played") == {
        "link": "films", "id": job.job_id, "title": job.name, "state": "played", "percent": None, "stage": None,
        "eta_s": None, "error": None,
    }  # fmt: skip


async def failed_before(cinema: Cinema) -> None:
    """Another film, which has failed; a notice is on the strip."""
    failing = await cinema.job("broken {\\an8}.mkv", b"")
    await cinema.server.fail(failing, "No VAAPI device available")
    await cinema.seen(cinema.alarms, "the notice")
    strip = (await cinema.agent.status())["screens"]["front"]["strip"]
    assert strip == ["broken {\\an8}.mkv · Conversion failed: No VAAPI device available"]


async def seen_coming(cinema: Cinema, job: ConversionJob) -> list[float]:
    """The lengths of the bar that were seen till the film was there. It never became shorter, and stood beside its percentage."""
    server = cinema.server
    await server.wait_for(lambda: job.progress > 5, DEADLINE_S)
    farthest, drawn = 0.0, list[float]()
    said: list[str] = []
    async with asyncio.timeout(DEADLINE_S):
        while not job.finished:
            farthest = max(farthest, job.progress / 100)
            if bars := cinema.bars():
                assert len(bars) == 1
                assert bars[0] <= max(farthest, job.progress / 100) + 0.03, "more than the server has said"
                if not drawn or drawn[-1] != bars[0]:
                    drawn.append(bars[0])
            front = (await cinema.agent.status())["screens"]["front"]
            said += [line for line in front["strip"] if line.startswith(job.name)][:1]
            await asyncio.sleep(0.05)
    assert len(drawn) >= 2, drawn
    assert drawn == sorted(drawn)
    assert cinema.clock_s() is not None, "the playlist plays on"
    assert any("Converting · " in line and " % · " in line and " left" in line for line in said), said
    if server.habit == "document":
        assert any("video mpeg4 → h264; audio ac3 → aac" in line for line in said), said
    return drawn


async def at_its_place(cinema: Cinema, job: ConversionJob) -> None:
    """The film comes over the clock and goes again, and the clock has stood still meanwhile."""
    before, since = cinema.clock_s(), time.monotonic()
    while (seconds := cinema.clock_s()) is not None:
        before, since = seconds, time.monotonic()
        await asyncio.sleep(0.01)
    await cinema.shows(GREEN)
    front = (await cinema.agent.status())["screens"]["front"]
    assert (front["program"], front["title"]) == ("films", job.name)
    await cinema.seen(lambda: cinema.clock_s() is not None, "the clock to come back")
    after = cinema.clock_s()
    assert before is not None
    assert after is not None
    figure(f"the clock stood at {before:.2f} s, and went on at {after:.2f} s after {time.monotonic() - since:.2f} s")
    assert -0.7 < after - before < 0.7


async def human_status(cinema: Cinema) -> str:
    """What `signage-agent status` prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "status", "--socket", str(cinema.agent.socket),
        cwd=CHECKOUT, env={**cinema.agent.environment, "COLUMNS": "160"}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()


async def test_enqueued(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """`enqueue`: the film waits for the end of what is on, plays, and the playlist goes on with the next item."""
    async with open_cinema(tmp_path, own_display, links=playlist_and(play="enqueue")) as cinema:
        await cinema.run_clock(art.clock(), art.image(MAGENTA))
        job = await cinema.job("later.mkv", art.video(YELLOW, 1))
        with cinema.watched() as samples:
            await cinema.server.complete(job)
            await cinema.reaches(job, "ready")
            assert cinema.clock_s() is not None
            assert (await cinema.agent.status())["screens"]["front"]["waiting"] == ["films (later.mkv)"]
            await cinema.send("next")
            await cinema.shows(YELLOW)
            await cinema.shows(MAGENTA)
            await cinema.reaches(job, "played")
        assert times(samples, YELLOW) == 1


async def test_stored(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """`store`: the file is fetched, whole, and never comes on the screen, also not after a restart or with other settings."""
    film = art.video(YELLOW, 1)
    async with open_cinema(tmp_path, own_display, links=playlist_and(play="store")) as cinema:
        await cinema.run_clock(art.clock())
        job = await cinema.job("shelf.mkv", film)
        with cinema.watched() as samples:
            await cinema.server.complete(job)
            await cinema.reaches(job, "stored")
            media = tmp_path / "state" / "media"
            assert film.read_bytes() in [path.read_bytes() for path in media.iterdir()]
            await cinema.agent.kill()
            cinema.agent.configure(playlist_and()(cinema), cinema.tables)
            await cinema.agent.start()
            await cinema.agent.until(lambda status: set(states(status).values()) == {"connected"})
            await cinema.seen(lambda: cinema.clock_s() is not None, "the clock")
            looks = cinema.server.rest.looks
            await cinema.server.wait_for(lambda: cinema.server.rest.looks >= looks + 3, DEADLINE_S)
        assert times(samples, YELLOW) == 0
        assert (len(job.downloads), near(cinema.screen.pixel(*CENTRE), YELLOW)) == (1, False)
