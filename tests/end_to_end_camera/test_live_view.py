"""The console page's live view, used with a mouse: real worker, real link."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser import Browser, Page
from tests.end_to_end_camera.studio import DEVICE_ID, HEIGHT, LOAD, WIDTH, Studio

pytest.importorskip("aiortc")
pytestmark = [
    pytest.mark.skipif(not Browser.installed(), reason="needs Chromium"),
    pytest.mark.asyncio(loop_scope="module"),
]

CARD = f".card[data-camera='{DEVICE_ID}']"
STATE = f'document.querySelector("{CARD} .screen").dataset.state'
WORDS = f'document.querySelector("{CARD} .nothing").textContent'


def figure(name: str) -> str:
    """The text of one of the figures, in JavaScript."""
    return f"document.querySelector(\"{CARD} [data-figure='{name}']\").textContent"


@pytest_asyncio.fixture(loop_scope="module")
async def page(studio: Studio) -> AsyncIterator[Page]:
    """The console page, with the device connected."""
    page = await studio.browser.open(f"{studio.server.url}/")
    await page.wait(f"document.querySelector(\"{CARD} .pill\").dataset.state === 'connected'")
    yield page
    errors = [error for error in page.errors if "WebSocket" not in error]
    await page.call("Page.close")
    assert errors == []


async def test_a_click_and_a_moving_picture(studio: Studio, page: Page, tmp_path: Path) -> None:
    """Within a second or two, with resolution, rate, latency and loss; a second click on Stop ends it."""
    assert await page.evaluate(STATE) == "idle"
    await page.evaluate(
        "window.begun = 0; document.addEventListener('click', () => { window.begun ||= performance.now(); }, true)"
    )
    await page.click(f"{CARD} .watch")
    await page.wait(f"{STATE} === 'live'", 20)
    assert await page.evaluate("performance.now() - begun") < 2000 * LOAD
    await page.wait(f"{figure('size')} === '{WIDTH} × {HEIGHT}' && Number({figure('fps')}) > 5")
    await page.wait(f"/^\\d+ ms$/.test({figure('latency')})")
    assert int((await page.evaluate(figure("latency"))).removesuffix(" ms")) < 300 * LOAD
    assert await page.evaluate(figure("loss")) == "0.0 %"
    assert await page.evaluate(figure("codec")) == "H264"
    await page.wait(f"document.querySelector('{CARD.replace(chr(39), chr(34))} .badge').textContent === '1 watching'")
    await page.screenshot(tmp_path / "live.png")
    await page.click(f"{CARD} [data-action=stop]")
    await page.wait(f"{STATE} === 'ended' && {WORDS} === 'Stopped.'")
    await studio.until(lambda: studio.proxy.viewers == 0)
    await page.click(f"{CARD} .watch")
    await page.wait(f"{STATE} === 'live'", 10)


async def test_what_goes_wrong_is_said(studio: Studio, page: Page) -> None:
    """The camera's process dies; the server ends the session; each is said, and one more click brings the picture back."""
    await page.click(f"{CARD} .watch")
    await page.wait(f"{STATE} === 'live'", 20)
    assert studio.proxy.pid is not None
    os.kill(studio.proxy.pid, signal.SIGKILL)
    await page.wait(f"{STATE} === 'ended' && {WORDS}.includes('broke off')")
    await page.click(f"{CARD} .watch")
    await page.wait(f"{STATE} === 'live'", 20)
    await page.click(f"{CARD} .more summary")
    await page.evaluate(f'[...document.querySelectorAll("{CARD} .more button")].at(-1).click()')
    await page.wait(f"{STATE} === 'ended' && {WORDS} === 'The server ended the session.'")


async def test_the_server_goes_away(studio: Studio, page: Page) -> None:
    """The page says so; the picture stays. A device that is offline cannot be watched."""
    await page.click(f"{CARD} .watch")
    await page.wait(f"{STATE} === 'live'", 20)
    await studio.server.restart(after_s=0.3)
    await page.wait(f"document.querySelector(\"{CARD} .caption\").textContent.includes('straight from the device')")
    await asyncio.sleep(1)
    await page.wait(f"Number({figure('fps')}) > 5")
    await page.click(f"{CARD} [data-action=stop]")
    begun = time.monotonic()
    await page.wait(f"document.querySelector(\"{CARD} .pill\").dataset.state === 'connected'", 20)
    assert time.monotonic() - begun < 20


async def test_a_small_and_a_dark_page(studio: Studio, page: Page) -> None:
    """Nothing sticks out of a telephone's screen."""
    await page.resize(390, 844, mobile=True)
    await page.prefer(dark=True)
    await page.click(f"{CARD} .watch")
    await page.wait(f"{STATE} === 'live'", 20)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
