"""The agent as a process: its log under journald, secrets, signals, and the commands people type."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from tests.agent_process import CHECKOUT, signage_link
from tests.display import XServer, near
from tests.end_to_end.art import BLUE, GREEN, RED, WHITE, YELLOW, Art
from tests.end_to_end.processes import all_gone, family
from tests.end_to_end.shop import CENTRE, DEADLINE_S, LOAD, Shop, figure, open_shop
from tests.sound import PrivateSound

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "pässword & 100% s3cret/+"
IN_ADDRESS = "signature-of-media-Zm9vYmFy"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, display: XServer, sound_card: PrivateSound) -> AsyncIterator[Shop]:
    """An agent under journald, logging everything, with sound, and a server that wants a difficult password."""
    async with open_shop(
        tmp_path_factory.mktemp("shop"),
        display,
        sound=sound_card,
        level="debug",
        environment={"JOURNAL_STREAM": "8:12345"},
        link={"password": PASSWORD, "screenshots": 1},
        password=PASSWORD,
    ) as shop:
        yield shop


class Command:
    """`signage-agent` as somebody types it; what it prints."""

    def __init__(self, shop: Shop, *words: str) -> None:
        self.words = [sys.executable, "-m", "agent", words[0], "--socket", str(shop.agent.socket), *words[1:]]

    async def start(self) -> asyncio.subprocess.Process:
        """Starts it and lets it run."""
        return await asyncio.create_subprocess_exec(
            *self.words, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )

    async def run(self) -> tuple[int | None, str, str]:
        """Exit code, standard output, standard error."""
        process = await self.start()
        async with asyncio.timeout(DEADLINE_S):
            out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


async def test_status_is_shown_and_watched(shop: Shop, art: Art) -> None:
    """`status` names the item; `status --watch` prints a new picture whenever something changes, downloads with a bar."""
    await shop.put([shop.item(art.image(RED)), shop.item(art.image(GREEN))])
    await shop.shows(RED)
    code, text, _ = await Command(shop, "status").run()
    assert code == 0
    assert "red-320x180.png" in text
    assert "connected" in text
    code, text, _ = await Command(shop, "status", "--json").run()
    assert json.loads(text)["screens"]["front"]["title"] == "red-320x180.png"
    watching = await Command(shop, "status", "--watch").start()
    assert watching.stdout is not None
    try:
        shop.server.fault("/media/slow.bin", bytes_per_s=400_000.0)
        slow = shop.folder / "slow.bin"
        await asyncio.to_thread(slow.write_bytes, bytes(400_000))
        await shop.send("next")
        shop.server.offer([*shop.offered, shop.playlist([shop.item(slow, media_type="image")])])
        await shop.send("reload_playlist")
        seen = ""
        async with asyncio.timeout(DEADLINE_S):
            while not ("green-320x180.png" in seen and re.search(r"slow\.bin.*█.*░.* %.* of 400 kB", seen)):
                line = await watching.stdout.readline()
                assert line, f"the watch has ended: {seen}"
                seen += line.decode()
    finally:
        watching.terminate()
        await watching.communicate()
    shop.server.clear_faults()


async def test_screenshot_is_what_is_on_the_screen(shop: Shop, art: Art, tmp_path: Path) -> None:
    """`screenshot FILE` saves the picture with the ticker on it; the one that is uploaded is a JPEG of the same."""
    await shop.put([shop.item(art.image(BLUE))])
    await shop.shows(BLUE)
    await shop.send("show_text_overlay", text_overlay={"text": "x", "animation": "static", "background_color": "#00FF00"})
    await shop.shows(GREEN, (5, 355))
    path = tmp_path / "screen.png"
    assert (await Command(shop, "screenshot", str(path)).run())[0] == 0
    with Image.open(path) as image:
        assert image.size == (shop.screen.width, shop.screen.height)
        pixels = [image.convert("RGB").getpixel(at) for at in (CENTRE, (5, 355))]
    assert all(isinstance(pixel, tuple) and near(pixel, colour) for pixel, colour in zip(pixels, (BLUE, GREEN), strict=True))
    uploads = len(shop.device.screenshots)
    shot = await shop.device.wait_screenshot(after=uploads + 1)
    assert shot.image.startswith(b"\xff\xd8\xff")
    assert shot.fields["media_id"] == str((await shop.front())["media_id"])
    await shop.send("hide_text_overlay")


async def test_play_shows_a_file_over_the_playlist(shop: Shop, art: Art) -> None:
    """`play FILE` takes the screen and gives it back at the same place; nothing of the file is left."""
    await shop.put([shop.item(art.image(RED))])
    await shop.shows(RED)
    assert (await Command(shop, "play", str(art.video(YELLOW, 0.8))).run())[0] == 0
    await shop.shows(YELLOW)
    assert (await shop.front())["program"] == "play"
    await shop.shows(RED)
    await shop.agent.until(lambda status: status["screens"]["front"]["program"] == "signage")
    clips = shop.folder / "state" / "clips"
    await asyncio.to_thread(shop.screen.wait, lambda: not list(clips.glob("clip-*")), 5, "the file to go")
    assert (await Command(shop, "play", "/nowhere/film.mp4").run())[0] == 1


async def test_faulty_configuration_on_sighup_changes_nothing(shop: Shop, art: Art) -> None:
    """A file with faults: one line for each, with its place, and everything goes on as it was."""
    await shop.put([shop.item(art.image(WHITE))])
    await shop.shows(WHITE)
    good = shop.agent.config.read_text()
    connections = shop.device.connections
    shop.agent.config.write_text(good.replace("[log]", "[log]\nlovel = 3").replace('"software"', '"magic"'))
    before = len(shop.agent.log)
    shop.agent.hang_up()
    try:
        async with asyncio.timeout(DEADLINE_S):
            while "stays in force" not in shop.agent.log[before:]:
                await asyncio.sleep(0.02)
    finally:
        shop.agent.config.write_text(good)
    said = shop.agent.log[before:]
    assert re.search(r"^<3>.*log\.lovel", said, re.MULTILINE), said
    assert re.search(r"^<3>.*brightness\.backend", said, re.MULTILINE), said
    assert shop.device.connections == connections
    assert near(shop.screen.pixel(*CENTRE), WHITE)


async def test_every_line_has_a_priority_and_no_secret(shop: Shop, art: Art) -> None:
    """A DEBUG run under journald with sound, films, renewed tokens, failing media and a dying player: <N> before each line,
    and neither the password nor any token nor a signed address in any form, nor in the status."""
    await shop.put([shop.item(art.video(GREEN, 5, sound=True))])
    await shop.shows(GREEN)
    connections = shop.device.connections
    shop.server.tokens.expire_access()
    shop.server.drop(shop.serial)
    await shop.server.wait_for(lambda: shop.device.connections > connections, DEADLINE_S)
    shop.server.tokens.expire_all()
    shop.server.drop(shop.serial)
    await shop.server.wait_for(lambda: shop.device.connections > connections + 1, DEADLINE_S)
    lost = shop.item(art.image(RED), media_url=f"{shop.server.url}/media/gone.png?signature={IN_ADDRESS}", checksum="ab" * 16)
    foreign = shop.item(art.image(YELLOW), media_url=f"{shop.server.foreign_url}/media/yellow-320x180.png?token={IN_ADDRESS}")
    made = shop.playlist([lost, foreign])
    shop.server.offer([*shop.offered, made])
    await shop.send("reload_playlist")
    await shop.says("partial", made["id"])
    assert [request.bearer for request in shop.server.requests_to("/media/yellow", foreign=True)] == [""]
    worker = shop.agent.worker_pid()
    os.kill(worker, signal.SIGKILL)
    await all_gone([worker])
    await shop.shows(GREEN)
    status = await shop.agent.status()
    everyone = family(shop.agent.process.pid) if shop.agent.process else set()
    begun = time.monotonic()
    assert await shop.agent.stop() == 0
    took_s = time.monotonic() - begun
    figure(f"SIGTERM to the end with a film and sound {took_s:.2f} s")
    assert took_s < 2.0 * LOAD
    await all_gone(everyone, 0.5)
    bare = [line for line in shop.agent.log.splitlines() if not re.match(r"<[2-7]>", line)]
    assert not bare, f"lines without a priority: {bare[:20]}"
    assert "<7>" in shop.agent.log
    secrets = [PASSWORD, IN_ADDRESS, *shop.server.tokens._issued]
    for secret in secrets:
        for form in (secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), json.dumps(secret)[1:-1]):
            assert form not in shop.agent.log, line_with(form, shop.agent.log)
            assert form not in json.dumps(status, ensure_ascii=False)


def line_with(words: str, log: str) -> str:
    """The first line that holds them."""
    return next(line for line in log.splitlines() if words in line)


async def test_sighup_takes_a_changed_configuration(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """A turned screen: the same process starts afresh, goes on at the same item, and logs at the new level."""
    async with open_shop(tmp_path, own_display) as shop:
        await shop.put([shop.item(art.image(RED)), shop.item(art.image(GREEN))])
        await shop.send("next")
        await shop.shows(GREEN)
        process = shop.agent.process
        assert process is not None
        workers = family(process.pid) - {process.pid}
        front = await shop.front()
        turned = shop.tables.replace('output = "x11"', 'output = "x11"\nrotate = 90')
        shop.agent.configure([signage_link(shop.server.url)], turned, level="debug")
        shop.agent.hang_up()
        await all_gone(workers)
        status = await shop.agent.playing(front["title"])
        assert process.returncode is None
        assert status["screens"]["front"]["media_index"] == 1
        assert status["uptime_s"] < 30
        await asyncio.to_thread(shop.screen.wait, lambda: not near(shop.screen.pixel(40, 180), GREEN), DEADLINE_S, "the turn")
        await shop.shows(GREEN)
        assert "fresh_start=yes" in shop.agent.log
        connections = shop.device.connections
        shop.agent.configure([signage_link(shop.server.url, name="renamed")], turned)
        shop.agent.hang_up()
        status = await shop.agent.until(lambda status: [link["name"] for link in status["links"]] == ["renamed"])
        await shop.server.wait_for(lambda: shop.device.connections > connections, DEADLINE_S)
        await shop.agent.playing()
        assert "fresh_start=no" in shop.agent.log
