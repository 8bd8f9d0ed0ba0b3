"""Playlists from a server to the pixels of an X screen."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from tests.conftest import rounds
from tests.display import HEIGHT, WIDTH, Colour, Samples, XServer, near
from tests.end_to_end.art import BLUE, CYAN, GREEN, GREY, MAGENTA, RED, WHITE, YELLOW, Art
from tests.end_to_end.shop import CENTRE, DEADLINE_S, Shop, figure, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRANSITIONS = rounds(500)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def paused(tmp_path_factory: pytest.TempPathFactory, art: Art) -> AsyncIterator[asyncio.Task[None]]:
    """What `test_pause_keeps_what_is_left_of_an_image` waits for, beside the other tests: it takes long and does little."""
    task = asyncio.create_task(pause_an_image(tmp_path_factory.mktemp("paused"), art), name="pauses an image")
    yield task
    task.cancel()
    await asyncio.wait({task})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, display: XServer, paused: asyncio.Task[None]) -> AsyncIterator[Shop]:
    """An agent that all tests of this module use, one after the other."""
    async with open_shop(tmp_path_factory.mktemp("shop"), display) as shop:
        yield shop


def colours(samples: Samples) -> list[Colour]:
    """What the first pixel of the samples looked like, one entry per change."""
    seen: list[Colour] = []
    for _, data in samples:
        colour = (data[2], data[1], data[0])
        if not seen or not near(seen[-1], colour):
            seen.append(colour)
    return seen


async def test_from_nothing_to_a_picture(shop: Shop, art: Art) -> None:
    """A box without anything connects, downloads what it is given, reports it as the contract says, and shows it."""
    device = await shop.server.connected(shop.serial, DEADLINE_S)
    await device.wait_for(type="ready_playlists", playlist_ids=[])
    await shop.agent.until(lambda status: status["screens"]["front"]["state"] == "idle")
    assert shop.screen.pixel(*CENTRE) == (0, 0, 0)
    first, second = art.image(RED), art.video(GREEN, 0.5)
    made = shop.playlist([shop.item(first), shop.item(second)])
    shop.server.fault("/media/*", delay_s=0.2)
    shop.server.offer([made])
    since = device.mark()
    await shop.send("reload_playlist")
    await shop.shows(RED)
    await shop.says("ready", made["id"])
    await device.wait_for(type="ready_playlists", playlist_ids=[made["id"]])
    shop.server.clear_faults()
    said = [message.data for message in device.messages[since:] if message.data["type"] == "playlist_status"]
    counts = [message["downloaded_items"] for message in said]
    assert said[0]["status"] == "downloading"
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert [message["status"] for message in said].count("ready") == 1
    assert said[-1]["status"] == "ready"
    status = await shop.agent.playing(first.name)
    assert status["links"][0]["state"] == "connected"
    assert status["downloads"] == []
    assert {key: status["playlists"][0][key] for key in ("id", "status", "total_items", "downloaded_items")} == {
        "id": made["id"], "status": "ready", "total_items": 2, "downloaded_items": 2,
    }  # fmt: skip
    assert (await shop.server.wait_for(lambda: device.registered))[-1]["screen_resolution"] == f"{WIDTH}x{HEIGHT}"


@pytest.mark.timeout(120 + TRANSITIONS * 2)
async def test_no_black_between_items(shop: Shop, art: Art) -> None:
    """Transitions of images and films of all sizes, two switches and two reloads among them: never a black sample."""
    mixed = [
        shop.item(art.image(RED), 0.05),
        shop.item(art.video(GREEN, 0.2, size=(640, 360))),
        shop.item(art.image(BLUE, "jpg", (1920, 1080)), 0.05),
        shop.item(art.video(YELLOW, 0.2, "webm", (200, 300))),
        shop.item(art.image(CYAN, "webp", (300, 700)), 0.05),
        shop.item(art.video(MAGENTA, 0.2, size=(1280, 720))),
        shop.item(art.image(WHITE, size=(33, 17)), 0.05),
    ]
    other = await shop.put(mixed[3:])
    made = await shop.put(mixed)  # the other one stays on offer
    await asyncio.to_thread(shop.screen.wait, lambda: max(shop.screen.pixel(*CENTRE)) > 40, DEADLINE_S, "a picture")
    with shop.screen.sampled(CENTRE[0], 0, 1, HEIGHT) as column, shop.screen.sampled(0, CENTRE[1], WIDTH, 1) as row:
        begun = time.monotonic()
        for action, arguments in (
            ("reload_playlist", {}),
            ("switch_playlist", {"playlist_id": other}),
            ("reload_playlist", {}),
            ("switch_playlist", {"playlist_id": made}),
        ):
            await asyncio.sleep(1.0)
            await shop.send(action, **arguments)
        async with asyncio.timeout(TRANSITIONS * 1.5):
            while len(colours(row)) <= TRANSITIONS:
                await asyncio.sleep(0.1)
        seconds = time.monotonic() - begun
    figure(f"{len(colours(row)) - 1} transitions in {seconds:.1f} s, {row.looks + column.looks} looks")
    assert not (dark := darkness(column, begun) + darkness(row, begun)), f"{dark[:10]}\n{shop.agent.log[-6000:]}"


def darkness(samples: Samples, begun: float) -> list[str]:
    """Where anything was darker than the background of the playlists, which is the darkest colour there is."""
    found = []
    for at, data in samples:
        pixels = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].max(1)
        if (dark := np.flatnonzero(pixels < 40)).size:
            found.append(f"at {at - begun:.3f} s {dark.size} of {pixels.size} pixels, {dark[0]} to {dark[-1]}")
    return found


async def test_commands_act_on_the_picture(shop: Shop, art: Art) -> None:
    """Next, previous, play_media, pause and play: each changes the pixels as it says."""
    paths = [art.image(RED), art.image(GREEN), art.image(BLUE)]
    items = [shop.item(path) for path in paths]
    await shop.put(items)
    await shop.shows(RED)
    await shop.send("next")
    await shop.shows(GREEN)
    for _ in range(3):
        await shop.send("next")
    await shop.agent.until(lambda status: status["screens"]["front"]["media_index"] == 1)
    await shop.send("previous")
    await shop.shows(RED)
    await shop.send("previous")
    await shop.shows(BLUE)
    await shop.send("play_media", media_id=items[1]["media_id"])
    await shop.shows(GREEN)
    await shop.put([shop.item(art.clock())])
    await shop.send("pause")
    await shop.agent.until(lambda status: status["screens"]["front"]["state"] == "paused")
    await asyncio.sleep(0.2)
    frozen = shop.screen.pixel(*CENTRE)
    await asyncio.sleep(0.5)
    assert shop.screen.pixel(*CENTRE) == frozen
    await shop.send("play")
    await asyncio.to_thread(shop.screen.wait, lambda: shop.screen.pixel(*CENTRE)[0] > frozen[0] + 5)


async def test_ticker_comes_and_goes(shop: Shop, art: Art) -> None:
    """A bar in its own colours at the bottom, over every item, replaced and taken away; the picture beneath stays."""
    bar, middle_of_bar = (0, 0, 136), (5, HEIGHT - 20)
    await shop.put([shop.item(art.image(RED)), shop.item(art.image(GREEN))])
    await shop.shows(RED)
    overlay = {"text": "Now open", "position": "bottom", "animation": "static", "font_size": 40}
    await shop.send("show_text_overlay", text_overlay={**overlay, "background_color": "#000088", "text_color": "#FFFF00"})
    await shop.shows(bar, middle_of_bar)
    await asyncio.to_thread(shop.screen.wait, lambda: text_pixels(shop.screen) > 100, 5, "the text")
    assert near(shop.screen.pixel(*CENTRE), RED)
    assert (await shop.front())["overlay"] == {"text": "Now open", "position": "bottom", "animation": "static"}
    await shop.send("next")
    await shop.shows(GREEN)
    assert near(shop.screen.pixel(*middle_of_bar), bar)
    await shop.send("show_text_overlay", text_overlay={**overlay, "position": "top", "background_color": "#000088"})
    await shop.shows(GREEN, middle_of_bar)
    await shop.shows(bar, (5, 20))
    await shop.send("hide_text_overlay")
    await shop.shows(GREEN, (5, 20))


def text_pixels(screen: XServer) -> int:
    """How many yellow pixels there are near the bottom."""
    data = screen.raw(0, HEIGHT - 60, WIDTH, 60)
    return sum(near((data[at + 2], data[at + 1], data[at]), YELLOW, 40) for at in range(0, len(data), 4))


async def test_brightness_darkens_the_picture(shop: Shop, art: Art) -> None:
    """40 % leaves about two fifths of the light, ticker or not, and is in the status; 100 % gives it all back."""
    await shop.put([shop.item(art.image(WHITE))])
    await shop.shows(WHITE)
    await shop.send("set_brightness", brightness=40)
    await asyncio.to_thread(shop.screen.wait, lambda: 80 < shop.screen.pixel(*CENTRE)[0] < 125, 5, "less light")
    assert (await shop.agent.status())["brightness"] == {"percent": 40, "backend": "software"}
    await shop.send("set_brightness", brightness=100)
    await shop.shows(WHITE)


async def test_layout_and_background(shop: Shop, art: Art) -> None:
    """An item stands in its rectangle of the canvas with its proportions kept; the background colour fills the rest."""
    await shop.put([shop.item(art.image(RED), layout=(320, 0, 320, 180))])
    for point, colour in (((480, 90), RED), ((325, 5), RED), ((635, 175), RED), ((310, 90), GREY), ((480, 190), GREY)):
        await shop.shows(colour, point)
    square = shop.item(art.image(BLUE, size=(100, 100)), layout=(0, 180, 320, 180))
    await shop.put([square], background_color="#0A6")
    for point, colour in (((160, 270), BLUE), ((75, 270), BLUE), ((60, 270), (0, 170, 102)), ((480, 90), (0, 170, 102))):
        await shop.shows(colour, point)


async def test_fade_and_slide_are_seen(shop: Shop, art: Art) -> None:
    """A fade darkens towards the background and comes back; a slide moves one picture out before the other."""
    fade = {"transition": "fade", "fade_duration": 200}
    made = [shop.item(art.image(RED), 0.7, effects=fade), shop.item(art.image(GREEN), 0.7, effects=fade)]
    await shop.put(made, background_color="#0000FF")
    with shop.screen.sampled(*CENTRE, 1, 1) as samples:
        await shop.shows(GREEN)
        await shop.shows(RED)
    seen = colours(samples)
    for full in (0, 1):
        steps = {colour for colour in seen if 30 < colour[full] < 225 and colour[2] > 20}
        assert len(steps) >= 3, f"a fade from or to the background: {seen}"
    slide = {"transition": "slide", "fade_duration": 300}
    made = [shop.item(art.image(RED), 0.7, effects=slide), shop.item(art.image(GREEN), 0.7, effects=slide)]
    await shop.put(made)
    with shop.screen.sampled(0, CENTRE[1], WIDTH, 1) as row:
        await shop.shows(GREEN)
        await shop.shows(RED)
    shares = {share for _, data in row if 0.02 < (share := red_share(data)) < 0.98}
    assert len(shares) >= 3, f"both pictures beside each other: {sorted(shares)}"


def red_share(row: bytes) -> float:
    """The part of a row that is red."""
    return sum(row[at + 2] > 200 and row[at + 1] < 60 for at in range(0, len(row), 4)) / (len(row) / 4)


async def test_times_and_the_last_frame(shop: Shop, art: Art) -> None:
    """n_time_play shows an item so often in a row; with repeat off the last frame stands, and play starts over."""
    twice = shop.item(art.video(GREEN, 0.25), n_time_play=3)
    with shop.screen.sampled(*CENTRE, 1, 1) as samples:
        await shop.put([shop.item(art.image(RED), 0.4), twice, shop.item(art.video(BLUE, 0.5))], repeat=False)
        await shop.agent.until(lambda status: status["screens"]["front"]["state"] == "ended")
        await asyncio.sleep(0.6)
    assert near(shop.screen.pixel(*CENTRE), BLUE)
    spans = lengths(samples, (RED, GREEN, BLUE))
    figure(f"red {spans[0]:.2f} s, green {spans[1]:.2f} s")
    assert 0.6 < spans[1] < 5.0
    assert (await shop.front())["state"] == "ended"
    await shop.send("play")
    await shop.shows(RED)


def lengths(samples: Samples, order: Sequence[Colour]) -> list[float]:
    """How long each colour was on before the next one came, the last one left out."""
    changes = iter(samples)
    starts = [next(at for at, data in changes if near((data[2], data[1], data[0]), colour)) for colour in order]
    return [after - before for before, after in itertools.pairwise(starts)]


async def test_pause_keeps_what_is_left_of_an_image(paused: asyncio.Task[None]) -> None:
    """Paused at 6.4 s left, through a reload and a reconnect: once it plays again, the image stays 6.4 s more."""
    await paused


async def pause_an_image(folder: Path, art: Art) -> None:
    """See `test_pause_keeps_what_is_left_of_an_image`."""
    with XServer(WIDTH, HEIGHT) as screen:
        async with open_shop(folder, screen) as shop:
            await pause_it(shop, art)


async def pause_it(shop: Shop, art: Art) -> None:
    """The story itself."""
    await shop.put([shop.item(art.image(CYAN), 7.0), shop.item(art.image(YELLOW), 60.0)])
    await shop.shows(CYAN)
    await shop.agent.until(lambda status: (status["screens"]["front"]["position_s"] or 0) > 0.5)
    await shop.send("pause")
    paused = await shop.agent.until(lambda status: status["screens"]["front"]["state"] == "paused")
    left_s = 7.0 - paused["screens"]["front"]["position_s"]
    assert 5.4 < left_s < 6.5
    connections = shop.device.connections
    shop.server.drop(shop.serial)
    await shop.server.wait_for(lambda: shop.device.connections > connections, DEADLINE_S)
    await shop.send("reload_playlist")
    await asyncio.sleep(0.5)
    front = await shop.front()
    assert front["state"] == "paused"
    assert 7.0 - front["position_s"] == pytest.approx(left_s, abs=0.001)
    assert near(shop.screen.pixel(*CENTRE), CYAN)
    await shop.send("play")
    begun = time.monotonic()
    await shop.shows(YELLOW)
    stayed_s = time.monotonic() - begun
    figure(f"left {left_s:.3f} s, stayed {stayed_s:.3f} s")
    assert left_s - 0.2 <= stayed_s <= left_s + 0.6
