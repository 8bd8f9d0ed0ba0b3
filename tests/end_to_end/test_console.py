"""The console page in a browser against the real agent: what is clicked happens on the screen, and comes back as a picture."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser import Browser, Page
from tests.display import Colour, XServer
from tests.end_to_end.art import BLUE, GREEN, RED, YELLOW, Art
from tests.end_to_end.shop import CENTRE, DEADLINE_S, Shop, open_shop
from tests.sound import PrivateSound

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not Browser.installed(), reason="needs Chromium"),
]

PIXEL = """(() => {
  const image = document.querySelector(".glass img");
  if (image.hidden || !image.complete || !image.naturalWidth) return null;
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  return [...pen.getImageData(X * canvas.width, Y * canvas.height, 1, 1).data].slice(0, 3);
})()"""


class Console:
    """The page, the shop it looks into, and what its screenshot shows."""

    def __init__(self, page: Page, shop: Shop) -> None:
        self.page = page
        self.shop = shop

    async def pictures(self, colour: Colour, x: float = 0.5, y: float = 0.5) -> None:
        """Waits until the screenshot on the page has this colour there (fractions of its size)."""
        pixel = PIXEL.replace("X", str(x)).replace("Y", str(y))
        off = "((a, b) => a && Math.max(...a.map((v, i) => Math.abs(v - b[i]))) < 16)"
        await self.page.wait(f"{off}({pixel}, {list(colour)})", DEADLINE_S)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(
    tmp_path_factory: pytest.TempPathFactory, display: XServer, sound_card: PrivateSound, art: Art
) -> AsyncIterator[Console]:
    """A shop whose agent uploads a picture every second, looked at through the page."""
    folder = tmp_path_factory.mktemp("shop")
    sound_card.set_percent(100)
    async with open_shop(folder, display, sound=sound_card, link={"screenshots": 1}) as shop, Browser() as browser:
        await shop.put([shop.item(art.image(RED)), shop.item(art.image(GREEN)), shop.item(art.video(BLUE, 30))], name="Lobby")
        page = await browser.open(f"{shop.server.url}/")
        await page.wait("document.querySelector('.card .pill').dataset.state === 'connected'")
        yield Console(page, shop)
        assert page.errors == []


async def test_buttons_act_on_the_screen(console: Console) -> None:
    """Next and a click on an item change the picture, on the screen and on the page; pause and play reach the box."""
    page, shop = console.page, console.shop
    await shop.shows(RED)
    await console.pictures(RED)
    await page.click(".card [data-action=next]")
    await shop.shows(GREEN)
    await console.pictures(GREEN)
    await page.wait("document.querySelector('.caption').textContent.startsWith('green')")
    await page.click(".card [data-action=pause]")
    await shop.agent.until(lambda status: status["screens"]["front"]["state"] == "paused")
    await page.click(".card [data-action=play]")
    await shop.agent.until(lambda status: status["screens"]["front"]["state"] == "playing")
    await page.click(".card [data-action=previous]")
    await shop.shows(RED)
    await page.click(".playlist .item:nth-child(3)")
    await shop.shows(BLUE)
    await console.pictures(BLUE)


async def test_ticker_volume_and_brightness(console: Console, sound_card: PrivateSound) -> None:
    """The ticker is in the picture on the page, the volume slider turns the mixer, the brightness slider dims the picture."""
    page, shop = console.page, console.shop
    await page.fill(".overlay [name=text]", "Fresh bread")
    await page.fill(".overlay [name=animation]", "static")
    await page.fill(".overlay [name=font_size]", 40)
    await page.fill(".overlay [name=background_color]", "#ff8000")
    await page.click("[data-action=show_text_overlay]")
    await shop.shows((255, 128, 0), (5, 340))
    await console.pictures((255, 128, 0), 0.01, 0.95)
    await page.fill(".level input[name=volume]", 35)
    async with asyncio.timeout(DEADLINE_S):
        while await asyncio.to_thread(sound_card.percent) != 35:
            await asyncio.sleep(0.02)
    before = shop.screen.pixel(*CENTRE)
    await page.fill(".level input[name=brightness]", 50)
    await asyncio.to_thread(shop.screen.wait, lambda: max(shop.screen.pixel(*CENTRE)) < max(before) * 0.7, 10, "less light")
    await page.fill(".level input[name=brightness]", 100)
    await page.click("[data-action=hide_text_overlay]")
    await asyncio.to_thread(shop.screen.wait, lambda: shop.screen.pixel(5, 340) == before, 10, "the ticker to go")


async def test_download_progress_and_switch(console: Console, art: Art, tmp_path: Path) -> None:
    """A playlist that comes slowly fills its bar, item by item; then a click switches to it. `console.png` shows the page."""
    page, shop = console.page, console.shop
    items = [shop.item(art.image(YELLOW))]
    for number in range(3):
        path = tmp_path / f"slow-{number}.bin"
        await asyncio.to_thread(path.write_bytes, os.urandom(100_000))
        items.append(shop.item(path, media_type="image"))
    made = shop.playlist(items, name="Sale")
    shop.server.fault("/media/*.bin", bytes_per_s=60_000.0)
    shop.server.offer([*shop.offered, made])
    await page.click("[data-action=reload_playlist]")
    row = f"document.querySelector(\".playlist[data-playlist='{made['id']}']\")"
    await page.wait(f"{row}.querySelector('.badge').textContent === 'downloading'", DEADLINE_S)
    await page.wait(f"/^[1-3].4$/.test({row}.querySelector('.count-of').textContent)", DEADLINE_S)
    await page.wait(f"parseFloat({row}.querySelector('.bar i').style.width) > 0", DEADLINE_S)
    shop.server.clear_faults()
    await page.wait(f"{row}.querySelector('.badge').textContent === 'ready'", DEADLINE_S)
    await page.click(f".playlist[data-playlist='{made['id']}'] [data-action=switch_playlist]")
    await shop.shows(YELLOW)
    await console.pictures(YELLOW)
    await page.wait(f"{row}.classList.contains('current')", DEADLINE_S)
    await page.screenshot(tmp_path / "console.png", full=True)
    assert (tmp_path / "console.png").stat().st_size > 20_000
