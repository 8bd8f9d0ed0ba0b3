"""Ticker, fades and dimming, measured on a real X screen."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import numpy as np
import pytest

from agent.screen.messages import Ended, Started, Ticker
from tests.display import XServer, near
from tests.screen.conftest import BLUE, GREEN, RED, Bench, Media, Stand

CENTRE = (640, 360)
BAR = 70
"""Pixels a bar is thick for a font of 40."""


def ticker(text: str, **fields: Any) -> Ticker:
    """Yellow on dark blue, 40 px."""
    return Ticker(text, **{"font_size_px": 40.0, "background": "#FF000080", "color": "#FFFFFF00", "speed_px_s": 200.0, **fields})


def ink(pixels: bytes, width: int) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the yellow in raw pixels."""
    picture = np.frombuffer(pixels, np.uint8).reshape(-1, width, 4)
    rows, columns = np.nonzero((picture[:, :, 1] > 128) & (picture[:, :, 2] > 128))
    if len(columns) == 0:
        return None
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def bottom_ink(server: XServer) -> tuple[int, int, int, int] | None:
    """Of the bar at the lower edge."""
    return ink(server.raw(0, 720 - BAR, 1280, BAR), 1280)


TRIES = 4
"""A machine that does other things may hold up a whole measurement."""


def speed_of(edges: list[tuple[float, int]]) -> float:
    """Pixels a second to the left or up. The median, so that a moment in which nothing was drawn does not count."""
    at, place = np.array(edges).T
    half = len(edges) // 2
    return float(np.median((place[:half] - place[-half:]) / (at[-half:] - at[:half])))


async def cleared(worker: Bench, server: XServer) -> None:
    """No ticker any more."""
    worker.put(ticker=ticker("", motion="static"))
    await asyncio.to_thread(server.wait, lambda: bottom_ink(server) is None, 5, "an empty bar")


async def written(worker: Bench, server: XServer, text: str) -> int:
    """How wide a text is as a static ticker."""
    await cleared(worker, server)
    worker.put(ticker=ticker(text, motion="static"))
    await asyncio.to_thread(server.wait, lambda: bottom_ink(server) is not None, 5, f"{text!r}")
    box = bottom_ink(server)
    assert box is not None
    assert abs((box[0] + box[2]) / 2 - 640) < 12, "is centred"
    return box[2] - box[0]


async def test_speed_and_smoothness(stand: Stand, media: Media) -> None:
    """Right to left, within 2 % of the speed, from just outside the screen."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.red_png))
    speeds: list[float] = []
    while not speeds or abs(speeds[-1] - 200) >= 4:
        assert len(speeds) < TRIES, speeds
        await cleared(worker, stand.server)
        with stand.server.sampled(0, 660, 1280, 40) as samples:
            worker.put(ticker=ticker("Ink"))
            await asyncio.sleep(2.2)
        edges = [(at, box[0]) for at, data in samples if (box := ink(data, 1280)) is not None]
        assert edges[0][1] > 1100, "starts outside"
        speeds.append(speed_of(edges))
    assert len(edges) > 10, "many small steps"


async def test_a_cycle_is_bar_and_text(stand: Stand) -> None:
    """The text leaves completely before it comes again: one round is (bar + text) / speed."""
    worker = await stand.worker()
    width = await written(worker, stand.server, "Round and round")
    await cleared(worker, stand.server)
    with stand.server.sampled(640, 660, 1, 40) as samples:
        worker.put(ticker=ticker("Round and round", speed_px_s=1500.0))
        await asyncio.sleep(2.4)
    lit = [at for at, data in samples if ink(data, 1) is not None]
    starts = [lit[0]] + [after for before, after in itertools.pairwise(lit) if after - before > 0.3]
    assert len(starts) >= 2
    period = (starts[-1] - starts[0]) / (len(starts) - 1)
    assert abs(period - (1280 + width) / 1500) < 0.08


async def test_texts_are_shown_as_they_are(stand: Stand) -> None:
    """Braces, backslashes, several alphabets, emoji, line breaks: nothing is taken as a command, nothing is missing."""
    worker = await stand.worker()
    server = stand.server
    plain = await written(worker, server, "abc")
    assert await written(worker, server, "{abc}") > plain + 10
    assert await written(worker, server, r"{\b1}abc") > plain + 60
    assert await written(worker, server, r"a\Nb\hc") > plain + 40
    assert await written(worker, server, r"abc\{") > plain + 15
    box = bottom_ink(server)
    assert box is not None
    assert box[3] - box[1] < 50, "one line"
    assert abs(await written(worker, server, "a b") - await written(worker, server, "a\nb")) <= 1
    for text in ("Привет Ўқғҳ", "مرحبا بالعالم", "漢字仮名", "😀🎉", "<b>&amp;</b>"):
        assert await written(worker, server, text) > 30, text


async def test_two_thousand_characters(stand: Stand) -> None:
    """They come as one line and take the time of their length."""
    worker = await stand.worker()
    worker.put(ticker=ticker("Wort " * 400, speed_px_s=2000.0))
    await asyncio.to_thread(stand.server.wait, lambda: bottom_ink(stand.server) is not None)
    begun = time.monotonic()
    await asyncio.sleep(2.0)
    box = bottom_ink(stand.server)
    assert box is not None, "still passing"
    assert box[0] < 60
    assert box[2] > 1200
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize(
    ("position", "bar", "first"),
    [
        ("top", (0, 0, 1280, BAR), "right"),
        ("left", (0, 0, BAR, 720), "lower"),
        ("right", (1280 - BAR, 0, BAR, 720), "lower"),
    ],
)
async def test_positions(stand: Stand, position: Any, bar: tuple[int, int, int, int], first: str) -> None:
    """A bar along the whole edge, as thick as at the bottom; on the sides the text goes from the bottom up."""
    worker = await stand.worker()
    server = stand.server
    # With software GL, what lies in memory flashes up while a new window grows.
    await asyncio.to_thread(server.wait, lambda: ink(server.raw(*bar), bar[2]) is None)
    worker.put(ticker=ticker("Beginning and end", position=position, speed_px_s=100.0))
    await asyncio.to_thread(server.wait, lambda: ink(server.raw(*bar), bar[2]) is not None)
    box = ink(server.raw(*bar), bar[2])
    assert box is not None
    assert (box[0] > 1200) if first == "right" else (box[1] > 640)
    corners = [(bar[0], bar[1]), (bar[0] + bar[2] - 1, bar[1]), (bar[0], bar[1] + bar[3] // 3)]
    assert all(near(server.pixel(*corner), (0, 0, 0x80)) for corner in corners)
    beyond = {"top": (5, BAR + 1), "left": (BAR + 1, 5), "right": (1280 - BAR - 2, 5)}[position]
    assert near(server.pixel(*beyond), (0, 0, 0))


async def test_rotated_ticker(stand: Stand, media: Media) -> None:
    """At 90 degrees the lower edge of the upright screen is the left one of the panel; text comes in from the panel's bottom."""
    worker = await stand.worker("--rotate", "90")
    await worker.show(worker.shot(media.blue_webp))
    with stand.server.sampled(BAR // 2 - 10, 0, 20, 720) as samples:
        worker.put(ticker=ticker("Ink"))
        await asyncio.sleep(1.8)
    edges = [(at, box[1]) for at, data in samples if (box := ink(data, 20)) is not None]
    assert edges[0][1] > 600
    assert abs(speed_of(edges) - 200) < 40
    assert near(stand.server.pixel(2, 2), (0, 0, 0x80))
    assert near(stand.server.pixel(2, 717), (0, 0, 0x80))
    assert near(stand.server.pixel(BAR + 2, 2), (0, 0, 0))


async def test_canvas_pixels_are_scaled(stand: Stand) -> None:
    """A font of 80 on a canvas of 2560 x 1440 is one of 40 here."""
    worker = await stand.worker()
    width = await written(worker, stand.server, "Scale")
    worker.put(ticker=None)
    await stand.server.shows((5, 715), (0, 0, 0))
    worker.put(ticker=ticker("Scale", motion="static", font_size_px=80.0, canvas=(2560, 1440)))
    await stand.server.shows((5, 720 - BAR + 1), (0, 0, 0x80))
    box = bottom_ink(stand.server)
    assert box is not None
    assert abs(box[2] - box[0] - width) <= 2
    assert near(stand.server.pixel(5, 720 - BAR - 1), (0, 0, 0))


async def test_replaced_without_a_trace_and_kept_over_items(stand: Stand, media: Media) -> None:
    """A new text is there alone at once; item changes leave a moving text alone; the same ticker again does not start anew."""
    worker = await stand.worker()
    server = stand.server
    await worker.show(worker.shot(media.red_png))
    worker.put(ticker=ticker("MMMMMMMM", motion="static"))
    await asyncio.to_thread(server.wait, lambda: bottom_ink(server) is not None)
    with server.sampled(0, 660, 1280, 40) as samples:
        worker.put(ticker=ticker("ii", motion="static", background="#FF008000"))
        await asyncio.sleep(0.4)
    widths = [box[2] - box[0] for _, data in samples if (box := ink(data, 1280)) is not None]
    assert all(width > 200 or width < 60 for width in widths)
    assert widths[-1] < 60
    assert len(samples) == 2
    await cleared(worker, server)
    with server.sampled(0, 660, 1280, 40) as samples:
        worker.put(ticker=ticker("Ink"))
        for file in (media.green_jpg, media.blue_webm, media.green_mp4):
            await asyncio.sleep(0.4)
            await worker.show(worker.shot(file), ticker=ticker("Ink"))
    edges = [(at, box[0]) for at, data in samples if (box := ink(data, 1280)) is not None]
    assert abs(speed_of(edges) - 200) < 60
    assert all(after[1] <= before[1] for before, after in itertools.pairwise(edges))
    worker.put(ticker=None)
    await server.shows((5, 700), GREEN)


async def test_dimming_lies_above_everything(stand: Stand, media: Media) -> None:
    """50 percent halves picture and ticker; 0 takes it away."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.red_png), ticker=ticker(" ", motion="static"))
    worker.put(dim_percent=50.0)
    await stand.server.shows(CENTRE, (128, 0, 0))
    await stand.server.shows((5, 700), (0, 0, 64))
    worker.put(dim_percent=0.0)
    await stand.server.shows(CENTRE, RED)


async def test_an_image_fades(stand: Stand, media: Media) -> None:
    """It comes out of the background colour and goes back into it when the scene is closing; the ticker stays."""
    worker = await stand.worker()
    server = stand.server
    await worker.show(worker.shot(media.green_jpg), background="#404040", ticker=ticker(" ", motion="static"))
    with server.sampled(640, 360, 1, 1) as samples, server.sampled(5, 700, 1, 1) as bar:
        shot = worker.shot(media.red_png, enter="fade", fade_in_s=0.4, fade_out_s=0.4)
        await worker.show(shot)
        await asyncio.sleep(0.7)
        worker.put(closing=True)
        await asyncio.sleep(0.7)
        await worker.show(worker.shot(media.green_jpg), closing=False)
        await server.shows(CENTRE, GREEN)
    reds = [data[2] for _, data in samples]
    opening = [red for red in reds if 0x48 < red < 0xF0]
    assert len(opening) > 4, "many steps, both ways"
    assert max(reds) > 0xF8
    assert any(near((data[2], data[1], data[0]), (0x40, 0x40, 0x40)) for _, data in samples)
    assert not any(data[1] > 0x60 and data[2] > 0x60 for _, data in samples), "never both pictures"
    assert len(bar) == 1


async def test_a_video_fades_out_before_its_end(stand: Stand, media: Media) -> None:
    """By itself; a pause within the fade holds it; what follows is open."""
    worker = await stand.worker()
    server = stand.server
    shot, after = worker.shot(media.long_mp4, start_s=8.5, fade_out_s=1.0), worker.shot(media.blue_webm)
    await worker.show(shot, upcoming=after, background="#404040")
    await asyncio.to_thread(server.wait, lambda: server.pixel(*CENTRE)[1] < 0xC0, 5, "the fade")
    worker.put(paused=True)
    await asyncio.sleep(0.2)
    held = server.pixel(*CENTRE)
    await asyncio.sleep(0.5)
    assert server.pixel(*CENTRE) == held
    with server.sampled(*CENTRE, 1, 1) as samples:
        worker.put(paused=False)
        await worker.says(Ended, shot.token)
        await worker.says(Started, after.token)
        await server.shows(CENTRE, BLUE)
    greens = [data[1] for _, data in samples if data[0] < 0x80]
    assert min(greens) < 0x50
