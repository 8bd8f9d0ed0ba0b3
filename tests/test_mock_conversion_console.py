"""The console page's card of the conversion server in headless Chromium: films dropped and chosen, every button."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.browser import Browser, Page
from tests.servers import ConversionServer, SignageServer, conversion_ffmpeg as ffmpeg, pixels
from tests.servers.conversion_sample import make_sample
from tests.servers.conversion_scripts import NAMES, SCRIPTS
from tests.servers.standin import StandIn

pytestmark = pytest.mark.skipif(not (Browser.installed() and ffmpeg.available()), reason="needs Chromium and ffmpeg")

DROP = """(() => {
  const files = new DataTransfer();
  const bytes = Uint8Array.from(atob(DATA), (character) => character.charCodeAt(0));
  files.items.add(new File([bytes], NAME));
  for (const kind of ["dragover", "drop"]) {
    document.querySelector(".drop").dispatchEvent(new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true}));
  }
  return true;
})()"""


@pytest.fixture
async def server() -> AsyncIterator[ConversionServer]:
    async with ConversionServer(hub=SignageServer().hub) as server:
        server.pace_s = 0.05
        server.least_s = 0.0
        yield server


@pytest.fixture
async def page(server: ConversionServer) -> AsyncIterator[Page]:
    async with Browser() as browser:
        page = await browser.open(f"{server.url}/")
        await page.wait("document.querySelector('.films [name=script] option')")
        yield page
        assert page.errors == []


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "sample.mkv"
    make_sample(path, seconds=1)
    return path


async def test_films(server: ConversionServer, page: Page, sample: Path, tmp_path: Path) -> None:
    """Dropped or chosen, they are converted; the row says how far it is, what is done to which stream, who follows it."""
    server.least_s = 4.0
    data = base64.b64encode(sample.read_bytes()).decode()
    await page.evaluate(DROP.replace("DATA", json.dumps(data)).replace("NAME", json.dumps(NAMES[4])))
    await server.wait_for(lambda: server.jobs)
    job = server.jobs[0]
    assert (job.name, job.size_bytes) == (NAMES[4], sample.stat().st_size)
    row = f"document.querySelector(\"[data-job='{job.job_id}']\")"
    async with connect(f"{server.url.replace('http', 'ws', 1)}/ws/conversion/{job.job_id}/", origin=server.url, proxy=None):  # type: ignore[arg-type]
        await page.wait(f"{row}.querySelector('.badge').textContent === 'processing'", 30)
        await page.wait(f"{row}.querySelector('.count-of').textContent.startsWith('converting')")
        assert await page.evaluate(f"{row}.querySelector('h3').textContent") == NAMES[4]
        await page.wait(f"{row}.querySelector('.streams').textContent.startsWith('mpeg4 → h264, ac3 → aac, aac copied')")
        await page.wait(f"{row}.innerText.includes('1 socket open, 1 so far')")
        await page.wait("document.querySelector('.films .pill').textContent === 'followed by 1'")
        await page.click(f"[data-job='{job.job_id}'] summary")
        await page.wait(f"[...{row}.querySelectorAll('.told .kind')].some((kind) => kind.textContent === 'analysis')")
    await page.wait(f"{row}.querySelector('.badge').textContent === 'completed'", 30)
    server.least_s = 60.0
    await page.click("[data-action=sample]")
    await server.wait_for(lambda: len(server.jobs) == 2 and server.jobs[0].status == "processing", 30)
    second = server.jobs[0]
    await page.click(f"[data-job='{second.job_id}'] summary")
    await page.click(f"[data-job='{second.job_id}'] [data-action=cancel]")
    await server.wait_for(lambda: second.status == "cancelled")
    no_film = tmp_path / "words.mkv"
    no_film.write_text("no film at all")
    root = (await page.call("DOM.getDocument"))["root"]["nodeId"]
    found = await page.call("DOM.querySelector", nodeId=root, selector=".drop input[type=file]")
    await page.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[str(no_film)])
    await page.wait("document.querySelector('.job .trouble:not([hidden])')?.textContent.startsWith('The file is no film')", 30)


async def test_every_button(server: ConversionServer, page: Page) -> None:
    """Scripts, habits, faults: each reaches the server."""
    server.film = b"film"
    assert await page.evaluate("document.querySelectorAll('.films [name=script] option').length") == len(SCRIPTS)
    await page.fill(".films [name=script]", "failed")
    await page.fill(".films [name=title]", NAMES[3])
    await page.click(".films [data-action=script]")
    await page.wait("document.querySelector('.job .trouble')?.textContent.includes('No VAAPI device available')")
    assert server.jobs[0].name == NAMES[3]
    habits = {
        "habit": "field",
        "outputs": "direct",
        "ranges": "unsatisfiable",
        "authentication": "false",
        "refuse_sockets": "true",
    }
    for name, value in habits.items():
        await page.click(f"input[name=conversion-{name}][value='{value}'] + span")
        await server.wait_for(lambda name=name, value=value: str(server.state()[name]).lower() == value)  # type: ignore[misc]
    await page.click("[data-action=old]")
    await page.wait("document.querySelector('.films .detail').textContent.startsWith('46 jobs')")
    await page.click("[data-action=clear]")
    await page.wait("document.querySelector('.films .jobs-empty pre').textContent.includes('kind = \"conversion\"')")
    token = server.rest.token
    await page.click(".films .more summary")
    await page.click("[data-action=revoke]")
    await server.wait_for(lambda: server.rest.token != token)
    await page.click("[data-action=requires_2fa]")
    await server.wait_for(lambda: server.rest.requires_2fa)
    await page.click("[data-action=expire]")
    await page.wait("document.querySelector('#log').innerText.includes('all signed addresses have expired')")
    server.complain("a test")
    await page.wait("document.querySelector('.films .marks .badge').textContent === '1 against the contract'")


async def test_the_screen_and_a_phone(server: ConversionServer, page: Page) -> None:
    """The screen of a box on the same server is shown; at 390 px nothing is cut off, whatever a film is called."""
    signage = server.hub.services["signage"]
    assert isinstance(signage, SignageServer)
    for name in NAMES:
        server.add(name)
    async with StandIn(signage, "LOBBY-01") as box:
        await box.ready()
        await box.upload(pixels.encode(pixels.plain("#20c020", (64, 36)), "JPEG"))
        await page.wait("document.querySelector(\".films .glass img:not([hidden])[src*='/console/screenshot/signage']\")")
    assert await page.evaluate("document.querySelectorAll('.job h3 b').length") == 0
    await page.resize(390, 844, mobile=True)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
