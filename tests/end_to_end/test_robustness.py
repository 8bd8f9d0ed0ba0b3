"""Kills, lost servers, expired tokens, full disks and clocks that jump: the picture stays, and everything comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from tests.conftest import rounds
from tests.display import Colour, XServer, near
from tests.end_to_end.art import BLUE, GREEN, MAGENTA, ORANGE, RED, YELLOW, Art, clock_time
from tests.end_to_end.processes import all_gone, family
from tests.end_to_end.shop import CENTRE, DEADLINE_S, LOAD, Shop, figure, open_shop
from tests.servers import REFRESH_PATH, SOCKET_PATH, MediaFile, SignageServer, item
from tests.sound import PrivateSound

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = rounds(20)
BACK_S = 2.0
"""Design, section 1: from the death of a player to its picture."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, display: XServer) -> AsyncIterator[Shop]:
    """An agent that most tests of this module use, one after the other."""
    async with open_shop(tmp_path_factory.mktemp("shop"), display, tables='[media]\nreserve = "1MB"') as shop:
        yield shop


async def until_pixel(shop: Shop, wanted: Any, what: str, deadline_s: float = DEADLINE_S) -> Colour:
    """Waits until `wanted` holds for the middle of the screen; what it is then."""
    seen: list[Colour] = []

    def looked() -> bool:
        seen.append(shop.screen.pixel(*CENTRE))
        return bool(wanted(seen[-1]))

    await asyncio.to_thread(shop.screen.wait, looked, deadline_s, what)
    return seen[-1]


def clock_now(shop: Shop) -> float:
    """Where the clock film on the screen is."""
    seconds = clock_time(shop.screen.pixel(*CENTRE))
    assert seconds is not None
    return seconds


def kill(pid: int) -> None:
    """SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def test_back_in_time_and_place_after_the_player_died(shop: Shop, art: Art) -> None:
    """kill -9 of the worker: the picture is there again within 2 s, at nearly the same place of the film."""
    restarts = (await shop.front())["worker_restarts"]
    await shop.put([shop.item(art.clock())])
    await until_pixel(shop, lambda pixel: (clock_time(pixel) or 0) > 1.2, "the film to run")
    before_s = clock_now(shop)
    kill(shop.agent.worker_pid())
    begun = time.monotonic()
    await until_pixel(shop, lambda pixel: pixel == (0, 0, 0), "the window to go")
    after_s = clock_time(await until_pixel(shop, lambda pixel: clock_time(pixel) is not None, "the film to come back"))
    took_s = time.monotonic() - begun
    assert after_s is not None
    figure(f"back after {took_s:.2f} s; the film was at {before_s:.2f} s and is at {after_s:.2f} s")
    assert took_s < BACK_S * LOAD
    assert before_s - 1.6 < after_s < before_s + 1.0
    assert (await shop.front())["worker_restarts"] == restarts + 1


async def test_item_that_kills_the_player_twice_is_set_aside(shop: Shop, art: Art) -> None:
    """The player dies each time a film is on: after the second time it is not shown again, and the rest of the list is."""
    killer = art.video(GREEN, 8)
    await shop.put([shop.item(killer), shop.item(art.image(BLUE), 0.5), shop.item(art.image(YELLOW), 0.5)])
    for deaths in (1, 2):
        await shop.agent.playing(killer.name)
        await shop.shows(GREEN)
        kill(shop.agent.worker_pid())
        await logged(shop, f"title='{killer.name}' deaths={deaths}")
    await shop.shows(BLUE)
    assert f"killed the player twice screen=front title='{killer.name}'" in shop.agent.log
    with shop.screen.sampled(*CENTRE, 1, 1) as samples:
        for _ in range(2):
            await shop.shows(YELLOW)
            await shop.shows(BLUE)
    assert not any(near((data[2], data[1], data[0]), GREEN) for _, data in samples)
    await shop.send("reload_playlist")
    await shop.shows(GREEN)


async def logged(shop: Shop, words: str) -> str:
    """The log, once it has these words."""
    async with asyncio.timeout(DEADLINE_S):
        while words not in shop.agent.log:
            await asyncio.sleep(0.02)
    return shop.agent.log


@pytest.mark.long
async def test_player_that_hangs(shop: Shop, art: Art) -> None:
    """A player that answers no more is killed after three lost pings, and the item is on again."""
    await shop.put([shop.item(art.image(RED)), shop.item(art.image(BLUE))])
    await shop.shows(RED)
    restarts = (await shop.front())["worker_restarts"]
    stuck = shop.agent.worker_pid()
    os.kill(stuck, signal.SIGSTOP)
    begun = time.monotonic()
    await shop.agent.until(lambda status: status["screens"]["front"]["worker_restarts"] > restarts, 30)
    await shop.agent.playing()
    await shop.shows(RED)
    figure(f"a player that hangs is replaced after {time.monotonic() - begun:.1f} s")
    await all_gone([stuck])


async def test_token_expired_while_reconnecting(shop: Shop, art: Art) -> None:
    """The connection breaks and the token is over: one refresh, one immediate retry, and the picture never moves."""
    await shop.put([shop.item(art.image(RED))])
    await shop.shows(RED)
    refreshes, refused = len(shop.server.requests_to(REFRESH_PATH)), len(shop.server.requests_to(SOCKET_PATH))
    connections = shop.device.connections
    with shop.screen.sampled(*CENTRE, 1, 1) as samples:
        shop.server.tokens.expire_access()
        shop.server.drop(shop.serial)
        await shop.server.wait_for(lambda: shop.device.connections > connections, DEADLINE_S)
        await shop.agent.until(lambda status: status["links"][0]["state"] == "connected")
    assert len(samples) == 1
    assert len(shop.server.requests_to(REFRESH_PATH)) == refreshes + 1
    assert [request.status for request in shop.server.requests_to(SOCKET_PATH)[refused:]] == [403, 101]


async def test_what_was_due_is_said_once(shop: Shop, art: Art, tmp_path: Path) -> None:
    """The server is away while files arrive from elsewhere: back again, it hears the newest status, and hears it once."""
    await shop.put([shop.item(art.image(RED))])
    async with SignageServer() as elsewhere:
        slow = elsewhere.media.add("slow.bin", os.urandom(150_000))
        elsewhere.fault("/media/*", bytes_per_s=200_000.0)
        image = elsewhere.media.add("blue.png", art.image(BLUE))
        made = shop.playlist([distant(elsewhere, image), distant(elsewhere, slow)])
        shop.server.offer([*shop.offered, made])
        await shop.send("reload_playlist")
        await shop.says("downloading", made["id"])
        shop.server.hub.away = True
        await shop.agent.until(lambda status: any(p["id"] == made["id"] and p["status"] == "ready" for p in status["playlists"]))
        assert (await shop.front())["state"] == "playing"
        since = shop.device.mark()
        shop.server.hub.away = False
        await shop.says("ready", made["id"], since=since)
        await shop.device.wait_for(lambda said: made["id"] in said["playlist_ids"], type="ready_playlists", since=since)
        await asyncio.sleep(0.3)
    told = [message.data for message in shop.device.messages[since:] if message.data.get("playlist_id") == made["id"]]
    assert [message["status"] for message in told] == ["ready"]


def distant(server: SignageServer, media: MediaFile) -> dict[str, Any]:
    """An item whose file lies on another server."""
    return item(media, duration_s=600.0, media_url=f"{server.url}{media.url}", media_type="image")


@pytest.mark.timeout(120 + ROUNDS * 20)
async def test_kills_at_random_times(tmp_path: Path, own_display: XServer, sound_card: PrivateSound, art: Art) -> None:
    """kill -9 of player and daemon amid downloads and playback: nothing unverified is shown, all that was set comes back."""
    seed = random.SystemRandom().randrange(1_000_000)
    figure(f"seed {seed}")
    chance = random.Random(seed)
    tables = '[media]\nreserve = "1MB"'
    async with open_shop(tmp_path, own_display, sound=sound_card, tables=tables, start=False) as shop:
        made = shop.playlist(
            [
                shop.item(art.clock()),
                shop.item(art.image(RED), 0.7),
                *unverifiable(shop, art),
                shop.item(art.video(GREEN, 0.7, "webm")),
                shop.item(art.image(BLUE, "jpg", (800, 600)), 0.7),
            ]
        )
        growing: list[Any] = []
        shop.server.offer([made])
        shop.server.fault("/media/*.bmp", bytes_per_s=400_000.0)
        with shop.screen.sampled(*CENTRE, 1, 1) as samples:
            await shop.agent.start()
            await shop.agent.playing()
            await shop.send("set_volume", volume=37)
            await shop.send("set_brightness", brightness=80)
            await shop.send("show_text_overlay", text_overlay={"text": "Stays", "animation": "static"})
            await shop.agent.until(lambda status: status["brightness"]["percent"] == 80 and status["volume"]["percent"] == 37)
            await shop.agent.until(lambda status: status["screens"]["front"]["overlay"])
            for number in range(ROUNDS):
                growing.append(shop.item(picture(tmp_path, f"more-{number}.bmp", chance), 0.3))
                more = shop.playlist(growing[-3:])
                shop.server.offer([made, more], current=made["id"])
                await shop.send("reload_playlist")
                if chance.random() < 0.5:
                    await shop.send("next")
                await asyncio.sleep(chance.uniform(0.05, 1.5))
                await one_kill(shop, made["id"], daemon=number % 2 == 1)
                await everything_is_back(shop, made["id"])
                assert await asyncio.to_thread(sound_card.percent) == 37
            for tried in ("name='short.jpg' cause='size:", "name='wrong.png' cause='checksum:"):
                await logged(shop, tried)
            await shop.agent.stop()
    shown = {(data[2], data[1], data[0]) for _, data in samples}
    assert samples.looks > 100
    assert not [colour for colour in shown if forbidden(colour)], f"something unverified was shown, seed {seed}"
    stored = {path.stat().st_size for path in (tmp_path / "state" / "media").iterdir() if path.is_file()}
    assert stored


def unverifiable(shop: Shop, art: Art) -> list[dict[str, Any]]:
    """Items that any player would show and whose files are not what the server says: other content, a part of it."""
    wrong = shop.server.media.add("wrong.png", art.image(MAGENTA))
    short = shop.server.media.add("short.jpg", art.image(ORANGE, "jpg", (900, 700)))
    shop.server.fault("/media/short.jpg", short_by=40)
    return [
        shop.item(art.image(MAGENTA), 0.5, media_url=wrong.url, checksum="0123456789abcdef" * 2, media_name="wrong.png"),
        shop.item(art.image(ORANGE, "jpg", (900, 700)), 0.5, media_url=short.url, media_name="short.jpg"),
    ]


def picture(folder: Path, name: str, chance: random.Random) -> Path:
    """A yellow picture of a few hundred KB whose bytes are unlike any other's."""
    path = folder / name
    image = Image.new("RGB", (500, 300), YELLOW)
    image.putpixel((0, 0), (chance.randrange(200, 256), chance.randrange(200, 256), chance.randrange(40)))
    image.putpixel((1, 0), (chance.randrange(200, 256), chance.randrange(200, 256), chance.randrange(40)))
    image.save(path)
    return path


def forbidden(colour: Colour) -> bool:
    """Magenta or orange, dimmed or not."""
    red, green, blue = colour
    return red > 120 and ((blue > 120 and green < 80) or (0.35 * red < green < 0.65 * red and blue < 60))


async def one_kill(shop: Shop, playlist_id: int, *, daemon: bool) -> None:
    """Kills the daemon, or the player, and waits until what must go has gone; what was on is on again."""
    before = await shop.front()
    assert shop.agent.process is not None
    if daemon:
        everyone = family(shop.agent.process.pid)
        await shop.agent.kill()
        await all_gone(everyone)
        assert shop.sound is not None
        await asyncio.to_thread(shop.sound.set_percent, 90)
        await shop.agent.start()
    else:
        kill(shop.agent.worker_pid())
    after = (await shop.agent.playing())["screens"]["front"]
    assert after["playlist_id"] == playlist_id
    if before["title"] == "clock.mp4" and after["title"] == before["title"]:
        # On disk at each new item, and within one every 30 s.
        assert after["position_s"] <= before["position_s"] + 3.0
    elif before["title"] is not None:
        count = 6
        apart = (after["media_index"] - before["media_index"]) % count
        assert apart in (0, 1, 2, 3, count - 1), (before, after)


async def everything_is_back(shop: Shop, playlist_id: int) -> None:
    """Volume, brightness, overlay, playlist and picture."""
    status = await shop.agent.until(
        lambda status: (
            status["screens"]["front"]["state"] == "playing"
            and status["volume"]["backend"].startswith("alsa")
            and status["volume"]["percent"] == 37
        )
    )
    front = status["screens"]["front"]
    assert front["playlist_id"] == playlist_id
    assert front["overlay"]["text"] == "Stays"
    assert status["brightness"]["percent"] == 80
    await until_pixel(shop, lambda pixel: max(pixel) > 30, "a picture")


async def test_offline_from_what_is_on_disk(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """No server, tokens long over: the box starts with its last playlist and place; when the server is back, it logs in."""
    async with open_shop(tmp_path, own_display) as shop:
        playlist_id = await shop.put([shop.item(art.image(RED)), shop.item(art.clock())])
        await shop.says("ready", playlist_id)
        await shop.send("next")
        await until_pixel(shop, lambda pixel: (clock_time(pixel) or 0) > 1.2, "the film to run")
        assert shop.agent.process is not None
        everyone = family(shop.agent.process.pid)
        was_at_s, begun = clock_now(shop), time.monotonic()
        assert await shop.agent.stop() == 0
        took_s = time.monotonic() - begun
        figure(f"SIGTERM to the end {took_s:.2f} s")
        assert took_s < 2.0 * LOAD
        await all_gone(everyone, 0.5)
        await shop.server.stop()
        shop.server.tokens.expire_all()
        begun = time.monotonic()
        await shop.agent.start()
        is_at_s = clock_time(await until_pixel(shop, lambda pixel: clock_time(pixel) is not None, "the film"))
        assert is_at_s is not None
        took_s = time.monotonic() - begun
        figure(f"offline, first picture after {took_s:.2f} s; the film was at {was_at_s:.1f}, is at {is_at_s:.1f} s")
        assert was_at_s - 1.6 < is_at_s < was_at_s + 1.0
        front = await shop.front()
        assert (front["playlist_id"], front["media_index"]) == (playlist_id, 1)
        status = await shop.agent.until(lambda status: status["links"][0]["state"] == "waiting")
        assert status["playlists"][0]["status"] == "ready"
        since, connections = shop.device.mark(), shop.device.connections
        await shop.server.start()
        await shop.server.wait_for(lambda: shop.device.connections > connections, DEADLINE_S)
        await shop.device.wait_for(type="ready_playlists", playlist_ids=[playlist_id], since=since)


async def test_full_disk(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """What does not fit is reported as storage full; what fits plays, and the box takes commands as ever."""
    async with small_disk(tmp_path / "state") as limits, open_shop(tmp_path, own_display, tables=limits) as shop:
        big = tmp_path / "big.mp4"
        await asyncio.to_thread(big.write_bytes, os.urandom(6_000_000))
        some = shop.playlist([shop.item(art.image(BLUE)), shop.item(big)])
        none = shop.playlist([shop.item(big)])
        shop.server.offer([some, none])
        await shop.send("reload_playlist")
        partial = await shop.says("partial", some["id"])
        failed = await shop.says("failed", none["id"])
        assert partial["missing_files"] == ["big.mp4"]
        assert "storage full" in failed["error"]
        await shop.shows(BLUE)
        await shop.send("set_volume", volume=21)
        await shop.agent.until(lambda status: status["volume"]["percent"] == 21)
        await shop.agent.stop()
        await shop.agent.start()
        await shop.agent.until(lambda status: status["volume"]["percent"] == 21)
        await shop.shows(BLUE)


@contextlib.asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[str]:
    """A disk of 4 MB mounted there, or where that is not allowed a store that may take no more; tables for agent.toml."""
    folder.mkdir()
    mounted = os.geteuid() == 0 and await called("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder))
    try:
        yield '[media]\nreserve = "100KB"' if mounted else '[media]\nreserve = "1MB"\nquota = "4MB"'
    finally:
        if mounted:
            assert await called("umount", "--lazy", str(folder))


async def called(*command: str) -> bool:
    """Whether a command did its work."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait() == 0


async def test_clock_jump_moves_no_timer(tmp_path: Path, own_display: XServer, art: Art) -> None:
    """The wall clock jumps a year on and a decade back: an image stays as long as it should, tokens and connection live on."""
    command = ("-m", "tests.end_to_end.jumping_clock")
    async with open_shop(tmp_path, own_display, command=command, environment={"JUMPS": str(tmp_path / "jumps")}) as shop:
        await shop.put([shop.item(art.image(RED), 2.0), shop.item(art.image(GREEN), 600.0)])
        await shop.shows(RED)
        begun = time.monotonic()
        connections, requests = shop.device.connections, len(shop.server.requests)
        for jump_s in (365 * 86_400, -10 * 365 * 86_400):
            (tmp_path / "jumps").write_text(str(jump_s))
            assert shop.agent.process is not None
            shop.agent.process.send_signal(signal.SIGUSR1)
            await logged(shop, f"clock jumps by={jump_s}")
            assert near(shop.screen.pixel(*CENTRE), RED)
        await shop.shows(GREEN)
        stayed_s = time.monotonic() - begun
        figure(f"an image of 2 s stayed {stayed_s:.2f} s over two jumps of the clock")
        assert 1.5 < stayed_s < 2.0 * LOAD
        await shop.send("set_volume", volume=33)
        await shop.agent.until(lambda status: status["volume"]["percent"] == 33)
        assert shop.device.connections == connections
        assert len(shop.server.requests) == requests, "nothing was asked for because of the clock"
        assert (await shop.agent.status())["uptime_s"] < 60
