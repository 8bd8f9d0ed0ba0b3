"""Outputs that are not what they should be, or come in pieces: what is wrong never plays, what is right plays once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.display import XServer
from tests.end_to_end.art import BLUE, CYAN, GREEN, MAGENTA, ORANGE, RED, YELLOW, Art
from tests.end_to_end_conversion.cinema import CENTRE, DEADLINE_S, Cinema, open_cinema, small_disk, times
from tests.servers.conversion_outputs import Ranges
from tests.servers.conversion_scripts import HUGE_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_cinema(tmp_path_factory: pytest.TempPathFactory, display: XServer) -> AsyncIterator[Cinema]:
    """A cinema with a store of 1 GB that the tests of this module use, one after the other."""
    async with open_cinema(tmp_path_factory.mktemp("cinema"), display, media='quota = "1GB"\nreserve = "1MB"') as cinema:
        await cinema.looks(1)
        yield cinema


@pytest_asyncio.fixture(loop_scope="module")
async def cinema(module_cinema: Cinema) -> AsyncIterator[Cinema]:
    """The module's, with nothing going on. The agent may do nothing against the contract."""
    await module_cinema.clear()
    yield module_cinema
    assert module_cinema.server.complaints == []


@pytest.fixture(scope="module")
def long_film(art: Art) -> bytes:
    """A red film of 1.5 MB."""
    return padded(art.video(RED, 0.6), 1_500_000)


def padded(film: Path, size_bytes: int) -> bytes:
    """A film with as many bytes of no meaning at its end, which players pass over."""
    return film.read_bytes() + size_bytes.to_bytes(4, "big") + b"free" + os.urandom(size_bytes - 8)


async def test_outputs_that_never_play(cinema: Cinema, art: Art) -> None:
    """An error page that poses as a film, half a film, more than a film, none at all: said, noticed, and the good one plays."""
    wrong = art.video(RED, 1)
    jobs = {}
    for serves in ("posing", "truncated", "longer", "missing", "gone"):
        jobs[serves] = cinema.server.add(f"{serves}.mkv", status="processing", progress=5, serves=serves)
        jobs[serves].set_output(wrong)
    good = cinema.server.add("good.mkv", status="processing", progress=5)
    good.set_output(art.video(GREEN, 0.5))
    with cinema.watched() as samples:
        for job in (*jobs.values(), good):
            await cinema.server.complete(job)
        await cinema.seen(cinema.alarms, "a notice")
        await cinema.shows(GREEN)
        ends = {what: await cinema.reaches(job, "unplayable", "missing", "failed") for what, job in jobs.items()}
        await cinema.reaches(good, "played")
    assert (times(samples, GREEN), times(samples, RED)) == (1, 0)
    assert {what: entry["state"] for what, entry in ends.items()} == {
        "posing": "unplayable", "truncated": "failed", "longer": "failed", "missing": "missing", "gone": "missing",
    }  # fmt: skip
    assert ends["posing"]["error"].startswith("output cannot be played: ")
    for serves in ("truncated", "longer"):
        assert "size: " in ends[serves]["error"]
    for serves in ("missing", "gone"):
        assert ends[serves]["error"].startswith("output missing on the server")
        assert jobs[serves].addresses == 3
    assert len(jobs["posing"].downloads) == 1
    assert [path.read_bytes() for path in (cinema.folder / "state" / "media").glob("md5-*")] == [good_bytes(art)]


def good_bytes(art: Art) -> bytes:
    """The only film that is in the store."""
    return art.video(GREEN, 0.5).read_bytes()


@pytest.mark.parametrize("way", ["signed", "direct"])
async def test_error_page(cinema: Cinema, art: Art, way: str) -> None:
    """A web page instead of the film is never played, whichever way; when the film is there after all, it is."""
    cinema.server.outputs.form = "direct" if way == "direct" else "signed"
    job = await cinema.job(f"page {way}.mkv", art.video(YELLOW if way == "direct" else CYAN, 0.5), serves="page")
    await cinema.server.complete(job)
    status = await cinema.agent.until(lambda status: any("web page came instead" in (e["error"] or "") for e in status["jobs"]))
    assert status["screens"]["front"]["state"] == "idle"
    job.serves = "output"
    await cinema.shows(YELLOW if way == "direct" else CYAN)
    await cinema.reaches(job, "played")


async def test_three_gigabytes_on_a_store_of_one(cinema: Cinema, art: Art) -> None:
    """Refused at once with a sentence; not a byte of it is asked for, and the next film plays."""
    job = await cinema.job("huge.mkv", art.video(RED, 1), announced_bytes=HUGE_BYTES)
    await cinema.server.complete(job)
    entry = await cinema.reaches(job, "failed")
    assert "3.0 GB needed" in entry["error"]
    assert "at most 1.0 GB" in entry["error"]
    await cinema.seen(cinema.alarms, "the notice")
    assert (job.downloads, job.addresses) == ([], 0)
    assert any("huge.mkv" in warning and "3.0 GB" in warning for warning in (await cinema.agent.status())["warnings"])
    await cinema.server.complete(await cinema.job("small.mkv", b""), art.video(GREEN, 0.5))
    await cinema.shows(GREEN)


@pytest.mark.parametrize(("ranges", "status"), [("honoured", 206), ("ignored", 200), ("unsatisfiable", 200)])
async def test_a_download_that_breaks_off(cinema: Cinema, long_film: bytes, ranges: Ranges, status: int) -> None:
    """Only after a 206 the two halves are joined; else it begins anew. Either way it is the film, and plays once."""
    cinema.server.outputs.ranges = ranges
    job = await cinema.job(f"{ranges}.mkv", long_film)
    cinema.server.fault("/bucket/*", times=1, cut_after=900_000)
    with cinema.watched() as samples:
        await cinema.server.complete(job)
        await cinema.shows(RED)
        await cinema.reaches(job, "played")
    assert times(samples, RED) == 1
    assert job.downloads[1].range.startswith("bytes=")
    assert cinema.server.requests_to(f"/bucket/{job.job_id}")[-1].status == status


async def test_an_address_that_expires_in_the_middle(cinema: Cinema, long_film: bytes) -> None:
    """The old address is refused; the rest comes from a new one, and nothing is fetched twice."""
    job = await cinema.job("expires.mkv", long_film)
    cinema.server.fault("/bucket/*", times=1, cut_after=900_000, bytes_per_s=2_000_000.0)
    await cinema.server.complete(job)
    await cinema.server.wait_for(lambda: job.downloads, DEADLINE_S)
    cinema.server.outputs.expire()
    await cinema.shows(RED)
    await cinema.reaches(job, "played")
    assert job.addresses == 2
    assert [request.status for request in cinema.server.requests_to(f"/bucket/{job.job_id}")][1:] == [403, 206]


async def test_an_address_that_is_old_when_it_comes(cinema: Cinema, art: Art) -> None:
    """The next one is asked for at once."""
    job = await cinema.job("stale.mkv", art.video(BLUE, 0.5), stale_addresses=1)
    await cinema.server.complete(job)
    await cinema.shows(BLUE)
    assert job.addresses == 2


async def test_full_disk(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """A film for which there is no room is said so and waits, others play meanwhile; it comes when there is room."""
    big = tmp_path / "big.mp4"
    big.write_bytes(padded(art.video(ORANGE, 0.5), 2_500_000))
    folder = tmp_path / "box"
    async with small_disk(folder / "state", 6) as mounted:
        if not mounted:
            pytest.skip("needs the right to mount a small disk")
        ballast = folder / "state" / "ballast"
        async with open_cinema(folder, own_display, media='reserve = "100KB"') as cinema:
            jobs = [await cinema.job(name, film) for name, film in (("big.mkv", big), ("little.mkv", art.video(MAGENTA, 0.5)))]
            await asyncio.to_thread(ballast.write_bytes, bytes(3_800_000))
            with cinema.watched() as samples:
                for job in jobs:
                    await cinema.server.complete(job)
                await cinema.shows(MAGENTA)
                status = await cinema.agent.until(
                    lambda status: any("storage full: " in (entry["error"] or "") for entry in status["jobs"])
                )
                assert any("storage full" in warning for warning in status["warnings"])
                assert cinema.screen.pixel(*CENTRE) != ORANGE
                await cinema.reaches(jobs[1], "played")
                ballast.unlink()
                await cinema.shows(ORANGE)
                await cinema.reaches(jobs[0], "played")
                await cinema.agent.until(lambda status: not any("storage full" in warning for warning in status["warnings"]))
            assert (times(samples, MAGENTA), times(samples, ORANGE)) == (1, 1)
