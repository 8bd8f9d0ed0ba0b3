"""The fake Tronbyt server by itself: rotation, pushes, both habits, brightness, refusals, polling; and the pictures it sends."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from tests.servers import TronbytServer, pixel_apps, pixels
from tests.servers.pixel_letters import write
from tests.servers.tronbyt import SAMPLES
from tests.servers.tronbyt_devices import App, PixelDisplay, demo_apps
from tests.servers.tronbyt_prompt import HELP, run_line

DEVICE_ID = "0a1b2c3d"
CLIENT_INFO = {"firmware_version": "1", "firmware_type": "by hand", "protocol_version": 1, "mac": "02:00:00:00:00:01"}
RED, GREEN, BLUE = (pixels.encode(pixels.plain(colour)) for colour in ("#ff0000", "#00ff00", "#0000ff"))


@pytest.fixture
async def server() -> AsyncIterator[TronbytServer]:
    async with TronbytServer() as server:
        yield server


@pytest.fixture
async def display(server: TronbytServer) -> PixelDisplay:
    """Its rotation: red, green and blue, for 30 s each."""
    display = server.display(DEVICE_ID)
    display.apps = [App(name, image, 30) for name, image in (("red", RED), ("green", GREEN), ("blue", BLUE))]
    return display


class Driven:
    """A device driven by hand."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.number = 0

    async def hear(self) -> Any:
        """The next frame."""
        async with asyncio.timeout(10):
            frame = await self.socket.recv()
        return json.loads(frame) if isinstance(frame, str) else frame

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def image(self, dwell_secs: int = 30) -> bytes:
        """The next image, which comes after its dwell; acknowledged as queued."""
        assert await self.hear() == {"dwell_secs": dwell_secs}
        image = await self.hear()
        self.number += 1
        await self.say(queued=self.number)
        assert isinstance(image, bytes)
        return image

    async def shows(self) -> None:
        """Says that the newest image is on."""
        await self.say(displaying=self.number)

    async def gone(self) -> int | None:
        """The code that the server closes with."""
        async with asyncio.timeout(10):
            await self.socket.wait_closed()
        return self.socket.close_code


@pytest.fixture
async def device(server: TronbytServer, display: PixelDisplay) -> AsyncIterator[Driven]:
    async with open_socket(server) as socket:
        driven = Driven(socket)
        await driven.say(client_info=CLIENT_INFO)
        await server.connected(DEVICE_ID)
        yield driven


def open_socket(server: TronbytServer, query: str = "", **options: Any) -> connect:
    return connect(server.device_url(DEVICE_ID) + query, proxy=None, compression=None, **options)


async def test_a_server_that_waits(display: PixelDisplay, device: Driven) -> None:
    """Sends the next image as soon as the last one is acknowledged as displaying, and not before."""
    for image in (RED, GREEN, BLUE, RED):
        assert await device.image() == image
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(device.socket.recv(), 0.1)
        await device.shows()
    assert await device.image() == GREEN
    assert display.displayed == [1, 2, 3, 4]
    assert display.shown is not None
    assert display.shown.name == "red"
    assert display.client_infos == [CLIENT_INFO]
    assert display.complaints == []


async def test_the_other_form_of_the_acknowledgement(display: PixelDisplay, device: Driven) -> None:
    """With status and counter."""
    await device.image()
    await device.say(status="displaying", counter=1)
    assert await device.image() == GREEN
    assert display.displayed == [1]


async def test_a_server_that_does_not_wait(server: TronbytServer, display: PixelDisplay, device: Driven) -> None:
    """Sends by dwell, whatever is acknowledged."""
    display.apps = [App("one", RED, 1), App("two", GREEN, 1)]
    display.habit = "timed"
    server.pause(DEVICE_ID)
    await device.image()
    server.push(DEVICE_ID, App("zero", BLUE, 1), immediate=False)  # its turn is over a second later
    assert await device.image(dwell_secs=1) == BLUE
    await device.shows()
    server.pause(DEVICE_ID, value=False)
    for image in (GREEN, RED, GREEN):
        assert await device.image(dwell_secs=1) == image
    first, *_, last = display.sent[1:]
    assert last.at - first.at >= 1.9


async def test_without_acknowledgements(server: TronbytServer, display: PixelDisplay) -> None:
    """A server that waits takes the device for old firmware after a while, and goes by dwell; `queued` convinces it again."""
    server.ack_timeout_s = 0.2
    display.apps = [App("one", RED, 1)]
    async with open_socket(server) as socket:
        device = Driven(socket)
        for _ in range(2):
            assert await device.hear() == {"dwell_secs": 1}
            assert await device.hear() == RED
        assert display.old_firmware
        await device.say(queued=1)
        await server.wait_for(lambda: not display.old_firmware)
        assert display.complaints == ["the first message is not client_info: " + '{"queued": 1}']


async def test_pushes(server: TronbytServer, display: PixelDisplay, device: Driven) -> None:
    """Go out while an acknowledgement is waited for, followed by `immediate`; then the rotation goes on."""
    await device.image()
    await device.shows()
    assert await device.image() == GREEN
    server.push(DEVICE_ID, App("doorbell", BLUE, 3))
    assert await device.image(dwell_secs=3) == BLUE
    assert await device.hear() == {"immediate": True}
    await device.shows()
    assert await device.image() == BLUE
    assert [one.name for one in display.sent] == ["red", "green", "doorbell", "blue"]
    assert [one.number for one in display.sent][:3] == [1, 2, 3]


async def test_brightness(server: TronbytServer, display: PixelDisplay, device: Driven) -> None:
    """Comes at once, before the next image only if it changed, in percent or as a byte."""
    await device.image()
    await server.set_brightness(DEVICE_ID, 40)
    assert await device.hear() == {"brightness": 40}
    await device.shows()
    await device.image()
    display.scale = "byte"
    await server.set_brightness(DEVICE_ID, 50)
    assert await device.hear() == {"brightness": 128}


async def test_brightness_is_told_anew_on_a_new_connection(server: TronbytServer, display: PixelDisplay) -> None:
    """Between dwell and image."""
    display.brightness = 10
    async with open_socket(server) as socket:
        device = Driven(socket)
        assert [await device.hear() for _ in range(3)] == [{"dwell_secs": 30}, {"brightness": 10}, RED]


async def test_pause(server: TronbytServer, display: PixelDisplay, device: Driven) -> None:
    """The rotation stands still; pushes do not."""
    await device.image()
    server.pause(DEVICE_ID)
    await device.shows()
    server.push(DEVICE_ID, App("doorbell", BLUE, 3), immediate=False)
    assert await device.image(dwell_secs=3) == BLUE
    await device.shows()
    await display.wait_acks(2)
    server.pause(DEVICE_ID, value=False)
    assert await device.image() == GREEN


async def test_images_by_hand(server: TronbytServer, display: PixelDisplay, device: Driven) -> None:
    """With whatever dwell, in several frames, and as empty frames, which nobody acknowledges."""
    server.pause(DEVICE_ID)
    await device.image()
    display.fragments = 7
    sent = await server.send_image(DEVICE_ID, pixels.encode(pixels.noise((256, 128))), dwell_secs=-5, immediate=True)
    assert await device.hear() == {"dwell_secs": -5}
    frames = [frame async for frame in device.socket.recv_streaming()]
    assert len(frames) == 7
    assert b"".join(frames) == sent.image  # type: ignore[arg-type]
    assert await device.hear() == {"immediate": True}
    await device.say(queued=2)
    assert await display.wait_queued(sent) >= sent.at
    display.fragments = 1
    await server.send_image(DEVICE_ID, b"")
    assert await device.hear() == b""
    last = await server.send_image(DEVICE_ID, RED)
    assert await device.hear() == RED
    await device.say(queued=3)
    await device.say(displaying=3)
    await display.wait_displaying(last)
    assert display.complaints == []


async def test_an_app_without_an_image(display: PixelDisplay, device: Driven) -> None:
    """Is an error message."""
    await device.image()
    display.apps = [App("broken", None, 1)]
    await device.shows()
    assert await device.hear() == {"status": "error", "message": "Error fetching image: 500"}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x01", 1003), ('{"queued": "1"}', 1007), ('{"queued": 1.5}', 1007), ('{"displaying": true}', 1007), ("[]", 1007),
        ("nonsense", 1007), ('{"status": "displaying"}', 1007), ('{"client_info": {"protocol_version": "1"}}', 1007),
        ('{"client_info": {"mac": null}}', 1007),
    ],
)  # fmt: skip
async def test_wrong_types_end_the_connection(display: PixelDisplay, device: Driven, frame: str | bytes, code: int) -> None:
    """As with real servers; so do binary frames."""
    await device.socket.send(frame)
    assert await device.gone() == code
    assert display.complaints


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([{"queued": 1}, {"queued": 1}], "queued 1, but nothing was sent"),
        ([{"queued": 1}, {"queued": 3}], "queued 3 after 1"),
        ([{"displaying": 1}], "displaying 1, which was not queued"),
        ([{"queued": 1}, {"displaying": 1}, {"displaying": 1}], "displaying 1 twice"),
        ([{"queued": 1, "displaying": 1}], "queued and displaying in one message"),
        ([{"hello": 1}], "no such message"),
    ],
)
async def test_breaches_are_noted(
    server: TronbytServer, display: PixelDisplay, device: Driven, messages: list[dict[str, Any]], complaint: str
) -> None:
    """What a device must not do is written down, and the connection goes on."""
    server.pause(DEVICE_ID)
    for message in messages:
        await device.say(**message)
    await server.wait_for(
        lambda: any(one.startswith(complaint) for one in display.complaints), what=lambda: str(display.complaints)
    )
    assert display.live == 1


async def test_refusals(server: TronbytServer, display: PixelDisplay) -> None:
    """By status and by close code: strangers, a wrong key, ids that are none, faults on demand."""
    server.key = "secret"
    with pytest.raises(InvalidStatus, match="401"):
        await open_socket(server)
    async with open_socket(server, "?key=secret"):
        await server.wait_for(lambda: display.live)
    async with open_socket(server, additional_headers={"Authorization": "Bearer secret"}):
        await server.wait_for(lambda: display.connections == 2)
    server.key = ""
    server.stranger = 404
    with pytest.raises(InvalidStatus, match="404"):
        await connect(server.device_url("ffffffff"), proxy=None)
    for device_id, stranger in (("ffffffff", 1008), ("nonsense", None)):
        server.stranger = stranger
        async with connect(server.device_url(device_id), proxy=None) as socket:
            assert await Driven(socket).gone() == 1008
    server.fault(f"/{DEVICE_ID}/ws", status=403, times=1)
    with pytest.raises(InvalidStatus, match="403"):
        await open_socket(server)
    server.fault(f"/{DEVICE_ID}/ws", close_code=1012, times=1)
    async with open_socket(server) as socket:
        assert await Driven(socket).gone() == 1012
    assert set(server.displays) == {DEVICE_ID}


async def test_ends_of_a_connection(server: TronbytServer, display: PixelDisplay) -> None:
    """Reset, closed, replaced by another device with the same id, and a server that has gone for this device."""
    async with open_socket(server) as socket:
        await server.wait_for(lambda: display.live)
        server.drop(DEVICE_ID)
        assert await Driven(socket).gone() == 1006
    async with open_socket(server) as socket:
        await server.wait_for(lambda: display.live)
        await server.close(DEVICE_ID, 1012, "restart")
        assert await Driven(socket).gone() == 1012
    async with open_socket(server) as old:
        await server.wait_for(lambda: display.live)
        async with open_socket(server) as new:
            assert await Driven(old).gone() == 1000
            await server.wait_for(lambda: display.live == 1)
            server.leave(DEVICE_ID)
            assert await Driven(new).gone() == 1006
    with pytest.raises((OSError, InvalidMessage)):
        await open_socket(server)
    server.leave(DEVICE_ID, value=False)
    async with open_socket(server):
        await server.wait_for(lambda: display.live)


async def test_silence(server: TronbytServer, display: PixelDisplay, device: Driven) -> None:
    """Nothing comes any more, yet pings are answered; a new connection is as any other."""
    await device.image()
    server.silence(DEVICE_ID)
    await device.shows()
    server.push(DEVICE_ID, App("doorbell", BLUE, 3))
    async with asyncio.timeout(10):
        await (await device.socket.ping())
    await display.wait_acks(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(device.socket.recv(), 0.1)
    assert len(display.peers[0].pings) == 1
    with pytest.raises(ConnectionError):
        await server.send(DEVICE_ID, {"brightness": 1})
    async with open_socket(server) as socket:
        assert await Driven(socket).hear() == {"dwell_secs": 3}


async def test_polling(server: TronbytServer, display: PixelDisplay) -> None:
    """The rotation with three headers; a push says immediate; beside an open socket it is a breach."""
    display.brightness = 70
    url = f"{server.url}/{DEVICE_ID}/next"
    async with aiohttp.ClientSession() as http:
        for image in (RED, GREEN):
            async with http.get(url) as answer:
                assert await answer.read() == image
                assert (answer.headers["Tronbyt-Brightness"], answer.headers["Tronbyt-Dwell-Secs"]) == ("70", "30")
                assert "Tronbyt-Immediate" not in answer.headers
        server.push(DEVICE_ID, App("doorbell", BLUE, 3))
        async with http.get(url) as answer:
            assert (await answer.read(), answer.headers["Tronbyt-Immediate"]) == (BLUE, "1")
        server.pause(DEVICE_ID)
        async with http.get(url) as answer:
            assert await answer.read() == BLUE
        assert len(display.polls) == 4
        assert display.complaints == []
        async with open_socket(server):
            await server.wait_for(lambda: display.live)
            async with http.get(url) as answer:
                assert answer.status == 200
            assert display.complaints == ["polls next to an open socket"]
        server.stranger = 404
        async with http.get(f"{server.url}/ffffffff/next") as answer:
            assert answer.status == 404


async def test_the_prompt(server: TronbytServer, display: PixelDisplay, device: Driven) -> None:
    """Does what the page does, and says in words what makes no sense."""
    await device.image()
    await run_line(server.hub, "push Coffee is ready!")
    await device.image(dwell_secs=6)
    assert await device.hear() == {"immediate": True}
    await run_line(server.hub, "brightness 30")
    assert await device.hear() == {"brightness": 30}
    await run_line(server.hub, 'send {"reboot": true}')
    assert await device.hear() == {"reboot": True}
    for line in ("pause", "habit timed", "silence"):
        await run_line(server.hub, line)
    assert (display.paused, display.habit, display.peers[0].silent) == (True, "timed", True)
    assert DEVICE_ID in await run_line(server.hub, "list")
    assert await run_line(server.hub, "help") == HELP
    for line in ("nonsense", "sample nonsense", "image /nowhere.webp", "habit none", "brightness much"):
        with pytest.raises(ValueError, match=r"."):
            await run_line(server.hub, line)
    await run_line(server.hub, "away")
    await device.gone()
    await server.wait_for(lambda: not display.live)
    with pytest.raises(ValueError, match="no feed is connected"):
        await run_line(server.hub, "pause")
    await run_line(server.hub, "back")
    assert not display.away


@pytest.mark.parametrize("form", ["WEBP", "PNG", "GIF"])
def test_animations(form: str) -> None:
    """Have exactly the frames, colours and durations that were asked for."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 255, 0), (0, 0, 255)]
    durations = [50, 70, 210, 1000]
    data = pixels.animate([Image.new("RGB", (64, 32), colour) for colour in colours], durations, form=form)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == (form, (64, 32))
        seen: list[tuple[Any, int]] = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            seen.append((image.convert("RGB").getpixel((5, 5)), round(image.info["duration"])))
    merged = [(colours[0], 50), (colours[1], 280), (colours[3], 1000)]  # as Pillow may do, with the same look
    assert seen == list(zip(colours, durations, strict=True)) or (seen == merged and form != "WEBP")


@pytest.mark.parametrize("form", ["WEBP", "PNG", "GIF", "JPEG"])
@pytest.mark.parametrize("size", [(1, 1), (64, 32), (256, 128)])
def test_stills(form: str, size: tuple[int, int]) -> None:
    """Are what was drawn."""
    with Image.open(io.BytesIO(pixels.encode(pixels.plain("#20c020", size), form))) as image:
        assert (image.format, image.size) == (form, size)
        pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert all(abs(value - wanted) <= 2 for value, wanted in zip(pixel, (32, 192, 32), strict=True))


def test_what_people_see() -> None:
    """Each app and sample is a picture of at most 600 kB; text of any kind becomes one."""
    images = [app.image() for app in demo_apps() if callable(app.image)] + [make() for make in SAMPLES.values()]
    images += [
        pixel_apps.label(text)
        for text in ("Hi", "Lunch is ready", "A text that does not fit", "", "Ünïcode 日本 \N{GRINNING FACE}")
    ]
    for data in images:
        assert len(data) < 660_000
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.format == "WEBP"
    canvas = Image.new("L", (64, 32))
    assert write(canvas, "AB", (0, 0), 255) == 11
    assert canvas.getbbox() == (0, 0, 11, 7)
    assert canvas.crop((0, 0, 11, 1)).tobytes() == bytes([0, 255, 255, 255, 0, 0, 255, 255, 255, 255, 0])


@pytest.mark.parametrize(
    "name", sorted(set(pixels.HOSTILE) - {"WebP bomb", "PNG bomb", "large canvas", "30,000 frames", "over 2 MB", "empty"})
)
def test_hostile_files_are_no_pictures(name: str) -> None:
    """Or broken ones."""
    with pytest.raises((OSError, SyntaxError, ValueError, EOFError)):
        decode(pixels.HOSTILE[name]())


def decode(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()


def test_bombs() -> None:
    """Are small files of large pictures."""
    assert len(pixels.HOSTILE["WebP bomb"]()) < 100
    with Image.open(io.BytesIO(pixels.uniform((640, 320), (200, 30, 30)))) as image:
        assert image.convert("RGB").getcolors() == [(640 * 320, (200, 30, 30))]
    with Image.open(io.BytesIO(pixels.png_bomb(1000))) as image:
        assert image.convert("L").getextrema() == (0, 0)
    with Image.open(io.BytesIO(pixels.many_frames(50))) as image:
        assert getattr(image, "n_frames", 1) == 50
    assert len(pixels.HOSTILE["30,000 frames"]()) < 2_000_000 < len(pixels.HOSTILE["over 2 MB"]())
    assert 565_000 <= len(pixels.heavy()) < 665_000
