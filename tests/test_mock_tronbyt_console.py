"""The console page's card of a pixel feed in headless Chromium, with a device driven by hand: every button, what it shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.browser import Browser, Page
from tests.servers import SignageServer, TronbytServer, pixels
from tests.servers.standin import StandIn
from tests.servers.tronbyt_devices import App, PixelDisplay

pytestmark = pytest.mark.skipif(not Browser.installed(), reason="needs Chromium")

DEVICE_ID = "0a1b2c3d"
MAC = "B8:27:EB:00:00:01"
CARD = f".feed[data-feed='{DEVICE_ID}']"
PIXEL = """(() => {
  const image = document.querySelector(".matrix img");
  if (image.hidden || !image.complete) return null;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).join();
})()"""


class Scene:
    """The server, the page on it, and a device that shows each image at once and says so."""

    def __init__(self, server: TronbytServer, page: Page) -> None:
        self.server = server
        self.page = page
        self.texts: list[Any] = []

    @property
    def display(self) -> PixelDisplay:
        return self.server.display(DEVICE_ID)

    async def serve(self, socket: ClientConnection) -> None:
        number = 0
        await socket.send(
            json.dumps({"client_info": {"firmware_version": "1", "firmware_type": "by hand", "protocol_version": 1, "mac": MAC}})
        )
        with contextlib.suppress(ConnectionClosed):
            async for frame in socket:
                if isinstance(frame, str):
                    self.texts.append(json.loads(frame))
                    self.server.hub.changed()
                else:
                    number += 1
                    await socket.send(json.dumps({"queued": number}))
                    await socket.send(json.dumps({"displaying": number}))

    async def told(self, message: dict[str, Any]) -> None:
        """Waits until the device got this message."""
        await self.server.wait_for(lambda: message in self.texts, what=lambda: f"{message}, got {self.texts}")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    signage = SignageServer()
    server = TronbytServer(hub=signage.hub)
    async with server, Browser() as browser, StandIn(signage, "LOBBY-01") as box:
        page = await browser.open(f"{server.url}/")
        scene = Scene(server, page)
        scene.display.apps = [
            App(name, pixels.encode(pixels.plain(colour)), 30) for name, colour in (("red", "#ff0000"), ("blue", "#0000ff"))
        ]
        scene.display.paused = True
        await box.ready()
        async with connect(server.device_url(DEVICE_ID), proxy=None, compression=None) as socket, asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(scene.serve(socket))
            await server.connected(DEVICE_ID)
            await page.wait(f"document.querySelector(\"{CARD} .pill\")?.dataset.state === 'connected'")
            await box.upload(jpeg())
            yield scene
            serving.cancel()
        assert page.errors == []


def jpeg() -> bytes:
    return pixels.encode(pixels.plain("#20c020", (64, 36)), "JPEG")


async def test_what_is_shown(scene: Scene) -> None:
    """The image last displayed, each pixel a whole number of the page's; the box's own screen beside it; the acknowledgements."""
    page = scene.page
    await page.wait(f"document.querySelector(\"{CARD} .views img[src*='/console/screenshot/signage']\")")
    await page.click(f"{CARD} [data-app='0']")
    await page.wait(f"{PIXEL} === '255,0,0'")
    width, height = await page.evaluate(
        "(({style}) => [style.width, style.height].map(parseFloat))(document.querySelector('.matrix img'))"
    )
    assert (width % 64, height % 32, width) == (0, 0, 2 * height)
    await page.wait("document.querySelector('.matrix .caption').textContent === 'red · 1'")
    await page.wait(f"document.querySelector(\"{CARD} .item.playing\").dataset.app === '0'")
    rows = "[...document.querySelectorAll('.acks li')].map((row) => row.innerText.replace(/\\s+/g, ' '))"
    first, second = await page.wait(f"{rows}.length === 2 && {rows}")
    assert first.startswith("displaying 1 red +")
    assert second.startswith("queued 1 red +")
    await page.click(f"{CARD} [data-action=pause]")
    await page.wait(f"{PIXEL} === '0,0,255'")
    assert scene.display.complaints == []


async def test_every_button(scene: Scene) -> None:
    """Pushes, brightness, habits, messages, faults: each reaches the server, and the device where it is meant for it."""
    page, server, display = scene.page, scene.server, scene.display
    await page.fill(f"{CARD} [name=text]", "<b>Hi</b>")
    await page.fill(f"{CARD} [name=background]", "#00ff00")
    await page.click(f"{CARD} [data-action=push_text]")
    await scene.told({"immediate": True})
    await page.wait("document.querySelector('.matrix .caption').textContent.startsWith('<b>Hi</b>')")
    await page.click(f"{CARD} [data-sample=checkerboard]")
    await server.wait_for(lambda: display.shown and display.shown.name == "checkerboard")
    await page.fill(f"{CARD} input[name=brightness]", 40)
    await scene.told({"brightness": 40})
    for name, value in (("habit", "timed"), ("scale", "byte"), ("fragments", 5)):
        await page.click(f"{CARD} input[name={name}-{DEVICE_ID}][value='{value}'] + span")
        await server.wait_for(lambda name=name, value=value: getattr(display, name) == value)  # type: ignore[misc]
    await page.click(f"{CARD} .more summary")
    await page.fill(f"{CARD} [name=hostile]", "text")
    await page.click(f"{CARD} [data-action=push_hostile]")
    await page.wait("document.querySelector('.matrix .caption').textContent.includes('no picture')")
    await page.click(f"{CARD} [data-action=send]")
    await scene.told({"reboot": True})
    await page.click(f"{CARD} [data-action=error]")
    await scene.told({"status": "error", "message": "Error fetching image: 500"})
    await page.click(f"{CARD} [data-action=silence]")
    await page.wait(f"document.querySelector(\"{CARD} .pill\").textContent === 'connected, silent'")
    await page.click(f"{CARD} [data-action=leave]")
    await page.wait(f"document.querySelector(\"{CARD} .pill\").dataset.state === 'offline'")
    assert display.away
    await page.click(f"{CARD} [data-action=leave]")
    await server.wait_for(lambda: not display.away)


async def test_a_phone_fits(scene: Scene) -> None:
    """At 390 px nothing is cut off."""
    await scene.page.resize(390, 844, mobile=True)
    assert await scene.page.evaluate("document.documentElement.scrollWidth") <= 390
