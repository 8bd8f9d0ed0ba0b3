"""How the fake speaker server sends images, and the update box of its console page, with a device driven by hand."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.browser import Browser, Page
from tests.servers import SpeakerServer
from tests.servers.speaker import SOCKET_PATH
from tests.servers.speaker_firmware import Sending, bundle_version, sending

DEVICE_ID = "A1B2C3D4E5F6"
IMAGE = bytes(range(256)) * 20
CARD = f".speaker[data-speaker='{DEVICE_ID}'] .update"


@pytest.fixture
async def server() -> AsyncIterator[SpeakerServer]:
    async with SpeakerServer() as server:
        yield server


@pytest.fixture
async def device(server: SpeakerServer) -> AsyncIterator[ClientConnection]:
    """Its handshake is said."""
    async with connect(server.url.replace("http", "ws", 1) + SOCKET_PATH, proxy=None, compression=None) as socket:
        await greet(socket, "1.0.0")
        await server.connected(DEVICE_ID)
        yield socket


async def greet(socket: ClientConnection, version: str) -> None:
    """The handshake of that version."""
    await socket.send(json.dumps({"cmd": "device_handshake", "device_id": DEVICE_ID, "firmware_version": version}))


async def hear(socket: ClientConnection) -> Any:
    """The next frame; objects are taken apart."""
    async with asyncio.timeout(20):
        frame = await socket.recv()
    return json.loads(frame) if isinstance(frame, str) and frame.startswith("{") else frame


async def say(socket: ClientConnection, **message: Any) -> None:
    """An object."""
    await socket.send(json.dumps(message))


@pytest.mark.parametrize("form", [1, 2])
async def test_bare_frames(server: SpeakerServer, device: ClientConnection, form: Any) -> None:
    """Of 2,048 bytes, the last one short, in the same instant as the request; OTA_COMPLETE in form 2 only."""
    ota = await server.offer_firmware(DEVICE_ID, IMAGE, form)
    wanted = {"cmd": "request_ota"}
    if form == 2:
        wanted |= {"size": len(IMAGE), "sha256": hashlib.sha256(IMAGE).hexdigest()}  # type: ignore[dict-item]
    assert await hear(device) == wanted
    assert [await hear(device) for _ in range(3)] == [IMAGE[:2048], IMAGE[2048:4096], IMAGE[4096:]]
    if form == 2:
        assert await hear(device) == "OTA_COMPLETE"
    await server.send_raw(DEVICE_ID, "over")
    assert await hear(device) == "over"
    assert (ota.state, ota.sent_bytes, ota.size) == ("sent", len(IMAGE), len(IMAGE))


async def test_numbered_chunks(server: SpeakerServer, device: ClientConnection) -> None:
    """Each with its header; the next one after an ack, the same one after a nack or silence, three times in all."""
    server.chunk_answer_s = 0.1
    offering = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, 3, "2.0.0"))
    request = await hear(device)
    assert (request["chunk_size"], request["total_chunks"], request["version"]) == (2048, 3, "2.0.0")
    heard = []
    while isinstance(frame := await hear(device), bytes):
        seq, length, crc = struct.unpack_from("<III", frame)
        assert frame[12:] == IMAGE[seq * 2048 :][:length]
        assert crc == zlib.crc32(frame[12:])
        heard.append(seq)
        if seq == 0:
            await say(device, ota_ack=0)
        elif seq == 2:
            await say(device, ota_nack=2)
    assert frame == "OTA_COMPLETE"
    assert heard == [0, 1, 1, 1, 2, 2, 2]
    ota = await offering
    assert (ota.acks, ota.nacks, ota.silences) == ([0], [2, 2, 2], 3)


async def test_faults(server: SpeakerServer, device: ClientConnection) -> None:
    """An answer that is not heard, a wrong byte, a chunk that never comes."""
    server.chunk_answer_s = 0.1
    how = Sending(lost_answers={0}, corrupt={1: 1}, skip={2}, chunk_bytes=1024, complete=False)
    offering = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, 3, how=how))
    await hear(device)
    heard = []
    while not offering.done():
        frame = await hear(device)
        seq, _, crc = struct.unpack_from("<III", frame)
        good = crc == zlib.crc32(frame[12:])
        heard.append((seq, good))
        await say(device, **{"ota_ack" if good else "ota_nack": seq})
        if seq == 4:
            await offering
    assert heard == [(0, True), (0, True), (1, False), (1, True), (3, True), (4, True)]


async def test_waiting_and_cutting(server: SpeakerServer, device: ClientConnection) -> None:
    """A server that waits heeds a refusal; one that cuts is gone."""
    offering = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, 2, how=Sending(waits=True)))
    await hear(device)
    await say(device, status="ok", volume=5, device_id=DEVICE_ID)
    await say(device, status="error", message="no", device_id=DEVICE_ID)
    ota = await offering
    assert (ota.state, ota.sent, len(ota.answers)) == ("refused", 0, 1)
    ota = await server.offer_firmware(DEVICE_ID, IMAGE, 2, how=Sending(cut_at=1))
    async with asyncio.timeout(20):
        await device.wait_closed()
    assert (ota.state, ota.sent) == ("cut", 1)


def test_the_version_in_a_bundle() -> None:
    """Is read from its manifest; anything else has none."""
    manifest = b'{"version":"2.0.1"}'
    head = b"SIGNBNDL" + struct.pack("<QI", 999, len(manifest)) + bytes(96)
    assert bundle_version(head + manifest + b"wheels") == "2.0.1"
    for other in (b"", IMAGE, head + b"{" + manifest, b"X" + head[1:] + manifest, head + b'{"version":5 }     '):
        assert bundle_version(other) == ""


def test_troubles() -> None:
    """Lie in the middle; unknown ones are refused."""
    assert sending("gap", 10) == Sending(skip={5})
    with pytest.raises(ValueError, match="no such trouble"):
        sending("rain", 10)


@pytest.fixture
async def page(server: SpeakerServer, device: ClientConnection) -> AsyncIterator[Page]:
    """The console; the device is on it."""
    async with Browser() as browser:
        page = await browser.open(f"{server.url}/")
        assert (await hear(device))["cmd"] == "request_status"
        yield page
        assert page.errors == []


@pytest.mark.skipif(not Browser.installed(), reason="needs Chromium")
async def test_the_update_button(server: SpeakerServer, device: ClientConnection, page: Page, tmp_path: Path) -> None:
    """A file is chosen and sent; the bar, what the device says, and its version before and after."""
    await page.click(f"{CARD} [data-action=update]")
    await page.wait("document.querySelector('#toasts').innerText.includes('choose a bundle')")
    await choose_file(page, tmp_path)
    await page.fill(f"{CARD} select[name=form]", "3")
    await page.click(f"{CARD} [data-action=update]")
    request = await hear(device)
    assert (request["size"], request["total_chunks"]) == (len(IMAGE), 3)
    await say(device, status="ok", message="Ready to receive firmware", device_id=DEVICE_ID)
    for seq in range(3):
        assert struct.unpack_from("<I", await hear(device)) == (seq,)
        await page.wait(f"document.querySelector(\"{CARD} .bar\").dataset.status === 'downloading'")
        await page.wait(f'document.querySelector("{CARD} [data-action=update]").disabled')
        await say(device, ota_ack=seq)
        await page.wait(f'document.querySelector("{CARD} .count-of").textContent.includes("{seq + 1} of 3 chunks taken")')
    assert await hear(device) == "OTA_COMPLETE"
    await page.wait(f"document.querySelector(\"{CARD} .bar i\").style.width === '100%'")
    message = "<img src=x onerror=\"document.title='owned'\">"
    await say(device, status="ok", message=message, version="2.0.0", device_id=DEVICE_ID)
    await page.wait(f"document.querySelector(\"{CARD} .bar\").dataset.status === 'ready'")
    await greet(device, "2.0.0")
    await page.wait(f"document.querySelector(\"{CARD} .versions\").textContent === '1.0.0 → 2.0.0'")
    assert await page.evaluate(f'[...document.querySelectorAll("{CARD} li span:last-child")].map((one) => one.textContent)') == [
        "Ready to receive firmware",
        message,
    ]
    assert await page.evaluate("document.title") == "Mock server"


@pytest.mark.skipif(not Browser.installed(), reason="needs Chromium")
async def test_an_update_that_fails(server: SpeakerServer, device: ClientConnection, page: Page, tmp_path: Path) -> None:
    """Is seen, in colour and words; the connection that breaks, too."""
    await choose_file(page, tmp_path)
    await page.fill(f"{CARD} select[name=form]", "2")
    await page.click(f"{CARD} [data-action=update]")
    while await hear(device) != "OTA_COMPLETE":
        pass
    await say(device, status="device_busy", message="Another update is under way.", device_id=DEVICE_ID)
    await page.wait(f"document.querySelector(\"{CARD} .bar\").dataset.status === 'failed'")
    await page.wait(f"document.querySelector(\"{CARD} li\").innerText.includes('Another update is under way.')")
    await page.fill(f"{CARD} select[name=trouble]", "cut")
    await page.click(f"{CARD} [data-action=update]")
    await page.wait(f"document.querySelector(\"{CARD} .count-of\").textContent.includes('cut off')")
    await page.wait(f'document.querySelector("{CARD} [data-action=update]").disabled')


async def choose_file(page: Page, folder: Path) -> None:
    """As the dialog would."""
    path = folder / "next.bundle"
    await asyncio.to_thread(path.write_bytes, IMAGE)
    root: dict[str, Any] = await page.call("DOM.getDocument")
    found = await page.call("DOM.querySelector", nodeId=root["root"]["nodeId"], selector=f"{CARD} input[type=file]")
    await page.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[str(path)])
    await page.wait(f"document.querySelector(\"{CARD}\").innerText.includes('next.bundle')")
