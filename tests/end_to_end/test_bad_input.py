"""Files, playlists and messages that are malformed or malicious: a line in the log, and everything else goes on."""

from __future__ import annotations

import asyncio
import os
import re
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from agent.control.client import ControlClient
from tests.display import HEIGHT, WIDTH, XServer, near
from tests.end_to_end.art import BLUE, CYAN, GREEN, GREY, MAGENTA, RED, WHITE, YELLOW, Art
from tests.end_to_end.processes import cpu_s
from tests.end_to_end.shop import CENTRE, DEADLINE_S, Shop, figure, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, display: XServer) -> AsyncIterator[Shop]:
    """An agent that most tests of this module use, one after the other."""
    async with open_shop(tmp_path_factory.mktemp("shop"), display) as shop:
        yield shop


class Canary:
    """A server on loopback that notices when anybody connects."""

    def __init__(self) -> None:
        self.calls = 0
        self.port = 0

    async def start(self) -> asyncio.Server:
        """Listens."""

        def called(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.calls += 1
            writer.close()

        server = await asyncio.start_server(called, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server


def lists(address: str, film: Path) -> dict[str, str]:
    """Texts that players take for media and that make them open something else: an address, a film beside them."""
    opened = (address, str(film), f"file://{film}")
    return {
        "m3u": "#EXTM3U\n" + "".join(f"#EXTINF:5,x\n{one}\n" for one in opened),
        "edl": "# mpv EDL v0\n" + "".join(f"{one},0,5\n" for one in opened),
        "edl-uri": f"edl://{film};{address}",
        "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n"
        + "".join(f"#EXTINF:5.0,\n{one}\n" for one in opened)
        + "#EXT-X-ENDLIST\n",
        "concat": "ffconcat version 1.0\n" + "".join(f"file '{one}'\nduration 5\n" for one in opened),
        "pls": f"[playlist]\nFile1={address}\nFile2={film}\nNumberOfEntries=2\nVersion=2\n",
        "cue": f'FILE "{film}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><BaseURL>{address}</BaseURL>'
        f'<Period><AdaptationSet mimeType="video/mp4"><Representation id="1"><SegmentList><SegmentURL media="{address}"/>'
        "</SegmentList></Representation></AdaptationSet></Period></MPD>",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "path": f"{film}\n",
    }


async def test_lists_posing_as_media_open_nothing(shop: Shop, art: Art, tmp_path: Path) -> None:
    """M3U, EDL, HLS and the like with right checksums, as films and as images: refused, nobody is called, no other file shown."""
    canary = Canary()
    server = await canary.start()
    secret = art.video(MAGENTA, 2)
    items = [shop.item(art.image(RED), 0.3)]
    async with server:
        for name, text in lists(f"http://127.0.0.1:{canary.port}/x.mp4", secret).items():
            path = tmp_path / f"{name}.mp4"
            path.write_text(text)
            items.append(shop.item(path))
            items.append(shop.item(path, 0.2, media_type="image", media_name=f"{name}.png"))
        vector = tmp_path / "vector.png"
        vector.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="http://127.0.0.1:{canary.port}/"/></svg>'
        )
        items.append(shop.item(vector, 0.2))
        items.append(shop.item(art.image(BLUE), 0.3))
        with shop.screen.sampled(*CENTRE, 1, 1) as samples:
            playlist_id = await shop.put(items)
            await shop.says("ready", playlist_id)
            await shop.shows(BLUE)
            await shop.shows(RED)
            await shop.shows(BLUE)
    refused = set(re.findall(r"cannot be shown; skipped screen=front title='(.+?)' reason", shop.agent.log))
    assert refused == {entry["media_name"] for entry in items[1:-1]}, shop.agent.log[-6000:]
    assert canary.calls == 0
    shown = [(data[2], data[1], data[0]) for _, data in samples]
    assert not any(near(colour, MAGENTA, 60) for colour in shown)


async def test_damaged_media_is_skipped(shop: Shop, art: Art, tmp_path: Path) -> None:
    """Noise, nothing, halves of films and pictures: what cannot be shown is skipped and said once, the rest plays."""
    film, picture = art.video(GREEN, 1, "mp4").read_bytes(), art.image(CYAN, "jpg", (400, 300)).read_bytes()
    damaged = {
        "noise.mp4": os.urandom(20_000),
        "head.mp4": film[: len(film) // 4],
        "zeros.webm": bytes(5_000),
        "text.png": b"<html>not a picture</html>",
        "head.jpg": picture[:60],
        "noise.webp": b"RIFF\x00\x00\x01\x00WEBP" + os.urandom(500),
        "bomb.png": png_bomb(),
    }
    items = [shop.item(art.image(YELLOW), 0.3)]
    for name, data in damaged.items():
        path = tmp_path / name
        path.write_bytes(data)
        items.append(shop.item(path, 0.2))
    items.append(shop.item(art.image(BLUE), 0.3))
    before = shop.agent.log.count("cannot be shown; skipped")
    await shop.put(items)
    for colour in (YELLOW, BLUE, YELLOW, BLUE, YELLOW):
        await shop.shows(colour)
    log = shop.agent.log
    assert log.count("cannot be shown; skipped") - before == len(damaged), log[-5000:]
    assert (await shop.front())["worker_restarts"] == 0


def png_bomb() -> bytes:
    """A PNG that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


async def test_nothing_decodable_shows_the_background(shop: Shop, art: Art, tmp_path: Path) -> None:
    """All items undecodable: the background colour, no spinning, few lines; the next good playlist plays at once."""
    items = []
    for number in range(4):
        path = tmp_path / f"noise-{number}.mp4"
        path.write_bytes(os.urandom(3_000))
        items.append(shop.item(path))
    made = shop.playlist(items, background_color="#0000FF")
    shop.server.offer([made])
    await shop.send("reload_playlist", params={"new_solution_id": made["id"]})
    await shop.says("ready", made["id"])
    await shop.shows(BLUE)
    shop.offered = [made]
    assert shop.agent.process is not None
    lines, daemon, worker = len(shop.agent.log.splitlines()), shop.agent.process.pid, shop.agent.worker_pid()
    used_s = cpu_s(daemon) + cpu_s(worker)
    await asyncio.sleep(2.0)
    spent_s = cpu_s(daemon) + cpu_s(worker) - used_s
    figure(f"{spent_s:.2f} s of CPU in 2 s while nothing can be shown")
    assert spent_s < 0.3
    assert len(shop.agent.log.splitlines()) - lines <= 6
    assert near(shop.screen.pixel(*CENTRE), BLUE)
    await shop.put([shop.item(art.image(GREEN))])
    await shop.shows(GREEN)


async def test_large_and_turned_pictures(shop: Shop, tmp_path: Path) -> None:
    """6000 x 4000 pixels are shown whole; a photo with an EXIF turn stands upright."""
    large = tmp_path / "large.jpg"
    image = Image.new("RGB", (6000, 4000), RED)
    image.paste(GREEN, (3000, 0, 6000, 2000))
    image.paste(BLUE, (0, 2000, 3000, 4000))
    image.paste(WHITE, (3000, 2000, 6000, 4000))
    image.save(large, quality=80)
    await shop.put([shop.item(large)])
    left, right = (WIDTH - HEIGHT * 3 // 2) // 2, (WIDTH + HEIGHT * 3 // 2) // 2
    for point, colour in (
        ((left + 10, 10), RED), ((right - 10, 10), GREEN), ((left + 10, HEIGHT - 10), BLUE), ((right - 10, HEIGHT - 10), WHITE),
        ((left - 10, 10), GREY),
    ):  # fmt: skip
        await shop.shows(colour, point)
    turned = tmp_path / "turned.jpg"
    lying = Image.new("RGB", (360, 640), RED)
    lying.paste(GREEN, (0, 320, 360, 640))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what is on the left of the upright picture was at the bottom
    lying.save(turned, exif=exif, quality=90)
    await shop.put([shop.item(turned)])
    await shop.shows(GREEN, (20, 180))
    await shop.shows(RED, (WIDTH - 20, 180))


async def test_malformed_messages_and_playlists(shop: Shop, art: Art) -> None:
    """Garbage frames are named once and ignored; malformed items and playlists spoil nothing; the connection stays."""
    device = await shop.server.connected(shop.serial, DEADLINE_S)
    await shop.put([shop.item(art.image(CYAN))])
    await shop.shows(CYAN)
    connections = device.connections
    frames: list[str | bytes] = [
        "", "null", "[]", "42", "{", '"text"', b"\x00\xff\xfe", "{}", '{"action": null}', '{"action": ["play"]}', "[" * 100_000,
        '{"action": "reboot"}', '{"action": "set_volume", "volume": "loud"}', '{"action": "set_brightness"}',
        '{"action": "switch_playlist", "playlist_id": {}}', '{"action": "show_text_overlay", "text_overlay": 7}',
        '{"action": "play_media", "media_index": -1}', '{"action": "play_media", "media_id": 1e999}',
        '{"action": "cleanup_old_playlists", "playlistIdsToKeep": []}', '{"action": "set_volume", "volume": NaN}',
    ]  # fmt: skip
    before = len(shop.agent.log.splitlines())
    for _ in range(3):
        for frame in frames:
            await shop.server.send_raw(shop.serial, frame)
    bad: list[Any] = [
        None, "x", [], {"id": None, "media_items": []}, {"id": 5}, {"id": 6, "media_items": "none"},
        shop.playlist([]),
    ]  # fmt: skip
    mixed = shop.playlist(
        [
            shop.item(art.image(GREEN), media_name="../../../../pwned.png"),
            shop.item(art.image(YELLOW), media_url="file:///etc/passwd"),
            {"media_id": 7},
            None,
            shop.item(art.image(YELLOW), media_id=None),
        ]
    )
    shop.server.offer([*bad, mixed])
    await shop.send("reload_playlist", params={"new_solution_id": mixed["id"]})
    await shop.shows(GREEN)
    said = await shop.says("partial", mixed["id"])
    assert said["total_items"] == 5
    assert said["downloaded_items"] == 1
    assert len(said["missing_files"]) == 4
    assert (await shop.says("failed", bad[-1]["id"]))["error"] == "playlist has no items"
    assert device.connections == connections
    log = shop.agent.log.splitlines()[before:]
    assert len(log) < 60, log
    assert not any("Traceback" in line for line in log), log
    assert not list(shop.folder.rglob("*pwned*"))
    assert not (shop.folder.parent / "pwned.png").exists()


async def test_rotated_screen(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """rotate = 90: picture, layout, ticker and screenshot turn together, as if the screen stood upright."""
    picture = tmp_path / "quarters.png"
    image = Image.new("RGB", (360, 640), RED)
    image.paste(GREEN, (180, 0, 360, 320))
    image.paste(BLUE, (0, 320, 180, 640))
    image.paste(WHITE, (180, 320, 360, 640))
    image.save(picture)
    async with open_shop(tmp_path / "box", own_display, front="rotate = 90") as shop:
        await shop.put([shop.item(picture)], width=360, height=640)
        # The top of the picture is at the right of the screen as it lies.
        for point, colour in (((600, 90), RED), ((600, 270), GREEN), ((200, 90), BLUE), ((200, 270), WHITE)):
            await shop.shows(colour, point)
        overlay = {
            "text": "Upright",
            "animation": "static",
            "font_size": 40,
            "background_color": "#00AA88",
            "text_color": "#FFFFFF",
        }
        await shop.send("show_text_overlay", text_overlay=overlay)
        await shop.shows((0, 170, 136), (10, 5))
        await shop.shows((0, 170, 136), (10, 355))
        assert near(shop.screen.pixel(600, 90), RED)
        assert (await shop.server.wait_for(lambda: shop.device.registered))[-1]["screen_resolution"] == "360x640"
        data, mime = await asyncio.to_thread(ControlClient(shop.agent.socket).screenshot, None)
        assert mime == "image/png"
        shot = tmp_path / "shot.png"
        shot.write_bytes(data)
        with Image.open(shot) as taken:
            assert taken.size == (360, 640)
            upright = taken.convert("RGB")
        for at, colour in (((90, 40), RED), ((270, 40), GREEN), ((90, 440), BLUE), ((5, 630), (0, 170, 136))):
            seen = upright.getpixel(at)
            assert isinstance(seen, tuple)
            assert near(seen, colour), at
        await shop.put([shop.item(art.image(YELLOW), layout=(0, 0, 360, 202))], width=360, height=640)
        await shop.shows(YELLOW, (600, 180))
        await shop.shows(GREY, (300, 180))
