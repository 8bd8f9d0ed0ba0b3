"""The mock server's console page in headless Chromium, with a device driven by hand."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from websockets.asyncio.client import ClientConnection

from tests.browser import Browser, Page
from tests.servers import SignageServer, item, playlist
from tests.servers.standin import StandIn, say

pytestmark = pytest.mark.skipif(not Browser.installed(), reason="needs Chromium")

EXAMPLES = Path(__file__).parent / "examples" / "signage" / "server"
SERIAL = "LOBBY-01"
PIXEL = """(() => {
  const image = document.querySelector(".glass img");
  if (image.hidden || !image.complete) return null;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, 1, 1);
  const [red, green] = pen.getImageData(0, 0, 1, 1).data;
  return red > green ? "red" : "green";
})()"""


class Scene:
    """The server, the page on it, and a connected device."""

    def __init__(self, server: SignageServer, page: Page, device: StandIn, socket: ClientConnection) -> None:
        self.server = server
        self.page = page
        self.device = device
        self.socket = socket

    async def received(self) -> Any:
        """The next message at the device."""
        return json.loads(await self.socket.recv())


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with SignageServer() as server, StandIn(server, SERIAL) as device, Browser() as browser:
        media = [server.media.add(f"slide-{number}.jpg", picture("#4060c0")) for number in range(5)]
        server.offer(
            [
                playlist(101, [item(file) for file in media]),
                *(playlist(number, [item(file) for file in media[:3]]) for number in (102, 103)),
            ]
        )
        server.greeting = None
        page = await browser.open(f"{server.url}/")
        await page.wait("!document.querySelector('.empty').hidden")
        await device.ready()
        async with device.connect() as socket:
            await page.wait("document.querySelector('.card .pill').dataset.state === 'connected'")
            yield Scene(server, page, device, socket)
        assert page.errors == []


async def test_every_button_sends_what_is_documented(scene: Scene) -> None:
    """The eleven actions, equal to the source document's examples, and the clean-up."""
    page = scene.page
    for name in ("play", "pause", "next", "previous", "reload_playlist", "show_text_overlay", "hide_text_overlay"):
        await page.click(f".card [data-action={name}]")
        assert await scene.received() == example(name)
    await page.click(".playlist[data-playlist='102'] [data-action=switch_playlist]")
    assert await scene.received() == example("switch_playlist")
    for name, value in (("brightness", 75), ("volume", 60)):
        await page.fill(f".level input[name={name}]", value)
        assert await scene.received() == example(f"set_{name}")
    chosen = scene.server.screens_of(scene.server.device(SERIAL))["front_screen"]["playlists"][1]["media_items"][2]["media_id"]
    await page.click(f".playlist[data-playlist='102'] .item[data-media='{chosen}']")
    assert await scene.received() == {**example("play_media"), "media_id": chosen, "media_index": 2}
    await page.click(".more summary")
    await page.click(".more .chip:nth-child(2) input")
    await page.click(".more [data-action=cleanup_old_playlists]")
    assert await scene.received() == {"action": "cleanup_old_playlists", "playlistIdsToKeep": [101, 103]}
    await page.fill(".more textarea", '{"action": "surprise", "params": [1]}')
    await page.click(".more textarea + button")
    assert await scene.received() == {"action": "surprise", "params": [1]}


async def test_the_overlay_form_fills_every_field(scene: Scene) -> None:
    """Text, position, animation, speed, size and both colours."""
    page = scene.page
    values = {
        "position": "left",
        "animation": "static",
        "speed": 80.5,
        "font_size": 40,
        "background_color": "#1e40af",
        "text_color": "#fde047",
    }
    await page.fill(".overlay [name=text]", "Привет {b} \\N مرحبا 🎉")
    for name, value in values.items():
        await page.fill(f".overlay [name={name}]", str(value))
    await page.click("[data-action=show_text_overlay]")
    sent = (await scene.received())["text_overlay"]
    assert sent == {**values, "text": "Привет {b} \\N مرحبا 🎉", "background_color": "#1E40AF", "text_color": "#FDE047"}


async def test_progress_and_screenshot_follow_the_device(scene: Scene) -> None:
    """Badge, count, bar, missing files, error; the picture changes and says which item it is; sliders take the real values."""
    page, head = scene.page, "document.querySelector(\".playlist[data-playlist='101']\")"
    status: dict[str, Any] = {"type": "playlist_status", "playlist_id": 101, "total_items": 5}
    assert await page.evaluate(f"{head}.querySelector('.badge').textContent") == "unknown"
    await say(scene.socket, **status, status="downloading", downloaded_items=2)
    await page.wait(
        f"{head}.querySelector('.count-of').textContent === '2/5' && {head}.querySelector('.bar i').style.width === '40%'"
    )
    await say(scene.socket, **status, status="partial", downloaded_items=4, missing_files=["slide-3.jpg"])
    await page.wait(f"{head}.innerText.includes('Missing: slide-3.jpg')")
    await say(scene.socket, **status, status="failed", downloaded_items=0, error="disk is full")
    await page.wait(f"{head}.querySelector('.badge').textContent === 'failed' && {head}.innerText.includes('disk is full')")
    await say(scene.socket, **status, status="ready", downloaded_items=5)
    await page.wait(f"{head}.querySelector('.badge').textContent === 'ready' && {head}.querySelector('.trouble').hidden")

    shown = scene.server.screens_of(scene.server.device(SERIAL))["front_screen"]["playlists"][0]["media_items"][3]["media_id"]
    await scene.device.upload(picture("#e01010"))
    assert await page.wait(PIXEL) == "red"
    await scene.device.upload(picture("#10c010"), media_id=shown)
    await page.wait(f"{PIXEL} === 'green' && document.querySelector('.caption').textContent === 'slide-3.jpg'")
    assert await page.evaluate("document.querySelector('.age').textContent") == "just now"
    assert await page.evaluate(f"{head}.classList.contains('current')")
    await scene.device.register(volume=17)
    await page.wait("document.querySelector('.level input[name=volume]').value === '17'")
    await page.wait("[...document.querySelectorAll('#log .what')].some((row) => row.textContent.startsWith('playlist_status'))")


async def test_faults_and_a_server_that_goes_away(scene: Scene) -> None:
    """Knobs act on the server; the page outlives the network's end and the server's restart."""
    page, server = scene.page, scene.server
    await page.click("#faults summary")
    await page.fill("#fault-form [name=kind]", 4)
    await page.fill("#fault-form [name=times]", 3)
    await page.click("#fault-form button")
    await page.wait("document.querySelector('#fault-list li')")
    assert server.hub.faults.describe()[0]["what"] == {"times": 3, "corrupt": True}
    await page.click("#fault-list button")
    await server.wait_for(lambda: not server.hub.faults.describe())
    await page.click("[data-knob=expire_tokens]")
    await server.wait_for(lambda: not server.tokens.valid(scene.device.token))
    await page.click("#network")
    await page.wait(
        "document.querySelector('.card .pill').dataset.state === 'offline' && document.body.classList.contains('away')"
    )
    await page.click("#network")
    await server.wait_for(lambda: not server.hub.away)
    await server.restart()
    await page.wait(
        "document.querySelector('#link').dataset.state === 'connected' && document.querySelectorAll('.card').length === 1"
    )
    page.errors[:] = [error for error in page.errors if "WebSocket" not in error]


async def test_hostile_text_stays_text_and_a_phone_fits(scene: Scene) -> None:
    """Markup from a device is shown, not obeyed; at 390 px nothing is cut off."""
    page, server = scene.page, scene.server
    evil = "<img src=x onerror=\"document.title='owned'\">"
    server.offer([playlist(evil, [item(media_name=evil, media_id=evil, media_url=evil)], name=evil)], serial=SERIAL)  # type: ignore[arg-type]
    async with StandIn(server, evil) as other:
        await other.ready()
        await say(scene.socket, type=evil, error=evil)
        await say(scene.socket, type="playlist_status", playlist_id=evil, status="failed", error=evil, total_items=evil)
        await page.wait("document.querySelectorAll('.card').length === 2 && document.body.innerText.split('onerror').length > 5")
    assert await page.evaluate("document.title") == "Mock server"
    assert await page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    await page.resize(390, 844, mobile=True)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def picture(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 36), colour).save(data, "JPEG")
    return data.getvalue()
