"""The old picture's snapshot: hiding a change of place, and sliding out."""

from __future__ import annotations

import asyncio

import numpy as np

from agent.screen.messages import Ticker
from tests.display import near
from tests.screen.conftest import BLUE, GREEN, RED, Media, Stand


async def test_a_change_of_place_is_not_seen(stand: Stand, media: Media) -> None:
    """Old picture in its place, then new picture in its own: nothing else in between, background included."""
    worker = await stand.worker()
    server = stand.server
    await worker.show(worker.shot(media.red_png, rect=(0, 0, 0.5, 0.5)), background="#606060")
    await server.shows((160, 90), RED)
    with server.sampled(0, 180, 1280, 1) as samples:
        await worker.show(worker.shot(media.green_mp4, rect=(0.5, 0, 0.5, 0.5)), background="#808080")
        await server.shows((960, 180), GREEN)
    old, new = ((0x60, 0x60, 0x60), RED), ((0x80, 0x80, 0x80), GREEN)
    for _, data in samples:
        left, right = (tuple(data[4 * x : 4 * x + 3][::-1]) for x in (320, 960))
        assert (near(left, old[1]) and near(right, old[0])) or (near(left, new[0]) and near(right, new[1])), (left, right)


async def test_slide(stand: Stand, media: Media) -> None:
    """The old picture moves out to the left in about half a second, the new one is behind it; the ticker stays as it is."""
    worker = await stand.worker()
    server = stand.server
    text = Ticker("Ticker", motion="static", font_size_px=40, background="#FF000080", color="#FFFFFF00")
    await worker.show(worker.shot(media.red_png), ticker=text, dim_percent=20.0)
    await server.shows((5, 700), (0, 0, 0x66))
    with server.sampled(0, 300, 1280, 1) as samples, server.sampled(0, 655, 1280, 60) as bar:
        await worker.show(worker.shot(media.green_jpg, enter="slide"))
        await server.shows((5, 300), (0, 204, 0))
    edges = []
    for at, data in samples:
        row = np.frombuffer(data, np.uint8).reshape(-1, 4)
        edges.append((at, int((row[:, 2] > 128).sum())))
        assert row[:, :3].max(1).min() > 180, "no gap between the two"
    widths = [width for _, width in edges]
    assert widths == sorted(widths, reverse=True)
    moving = [at for at, width in edges if 0 < width < 1280]
    assert len(moving) > 3
    assert 0.1 < moving[-1] - moving[0] < 5.0
    assert len(bar) == 1


async def test_slide_on_a_turned_screen(stand: Stand, media: Media) -> None:
    """To the left of the upright screen: up on a panel turned by 90 degrees."""
    worker = await stand.worker("--rotate", "90")
    server = stand.server
    await worker.show(worker.shot(media.blue_webp), background="#404040")
    await server.shows((640, 360), BLUE)
    with server.sampled(640, 0, 1, 720) as samples:
        await worker.show(worker.shot(media.blue_webp, enter="slide", rect=(0, 0, 0.1, 0.1)))
        await asyncio.sleep(0.7)
    tops = []
    for _, data in samples:
        column = np.frombuffer(data, np.uint8).reshape(-1, 4)
        (blue,) = np.nonzero(column[:, 0] > 200)
        if len(blue):
            tops.append(int(blue.max()))
    assert len(set(tops)) > 3
    assert tops == sorted(tops, reverse=True)
