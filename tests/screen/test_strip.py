"""The progress strip: where it stands, what it says, and what it costs what lies beneath it."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.screen.geometry import Rect, Screen
from agent.screen.messages import Ended, Started, Strip, StripLine, Ticker
from agent.screen.strip import DONE, pieces, strip_bar, strip_plan
from tests.display import XServer, near
from tests.screen.conftest import GREEN, RED, Media, Stand

HD = Screen(1280, 720)
PANEL_ON_RED = (40, 16, 21)
PANEL_ON_GREEN = (13, 42, 21)
FILM = StripLine("Film.mkv", "Encoding · 40 %", 0.4)
DONE_RGB = (DONE.red, DONE.green, DONE.blue)


def strip(*lines: StripLine, more: int = 0) -> Strip:
    """Of these lines; of the usual one if there are none."""
    return Strip(lines or (FILM,), more)


def place(shown: Strip, screen: Screen = HD, ticker: Ticker | None = None) -> Rect:
    """Where it is."""
    return strip_bar(shown, screen, ticker)


# Where it stands


def test_it_lies_along_the_lower_edge() -> None:
    """Every line makes it higher, and it never covers more than half of the screen; what has no room is counted."""
    one, three = place(strip()), place(strip(FILM, FILM, FILM, more=4))
    assert (one.x, one.bottom, one.width) == (0, 720, 1280)
    assert one.height < three.height < 360
    noted = replace(FILM, note="Sound: kept", alarm=True)
    flat = Screen(1920, 160)
    crowded = strip_plan(strip(noted, noted, noted), flat, None)
    assert place(strip(noted, noted, noted), flat).height <= 120
    assert any("and 2 more" in "".join(text["pieces"]) for text in crowded["texts"])


@pytest.mark.parametrize(
    ("position", "rest"),
    [
        ("bottom", Rect(0, 0, 1280, 650)),
        ("top", Rect(0, 70, 1280, 650)),
        ("left", Rect(70, 0, 1210, 720)),
        ("right", Rect(0, 0, 1210, 720)),
    ],
)
def test_it_leaves_the_ticker_its_bar(position: Any, rest: Rect) -> None:
    """It stands at the lower edge of what the ticker leaves."""
    bar = place(strip(), HD, Ticker("x", position, font_size_px=40))
    assert (bar.x, bar.bottom, bar.width) == (rest.x, rest.bottom, rest.width)


@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_it_turns_with_the_screen(rotate: int) -> None:
    """Its place on the panel is that of the upright one, turned."""
    screen = Screen(1280, 720, rotate)
    width, height = screen.upright
    upright = place(strip(), Screen(width, height))
    assert place(strip(), screen) == screen.rect(upright)
    head = strip_plan(strip(), screen, None)["texts"][0]["head"]
    assert rf"\frz{-rotate}" in head


def test_an_absurd_ticker_leaves_nothing() -> None:
    """No room is no failure."""
    assert place(strip(FILM, FILM), HD, Ticker("x", font_size_px=1e5)).height == 0
    strip_plan(strip(FILM, FILM), HD, Ticker("x", font_size_px=1e5))


def test_texts_are_literal_and_have_their_room() -> None:
    """Nothing in a text is a command; title and detail do not meet."""
    plan = strip_plan(strip(StripLine(r"{\b1}a\N", r"\h{", 0.5)), HD, None)
    detail, title = plan["texts"]
    assert "".join(title["pieces"]) == "\\{\\\u2060b1}a\\\u2060N"
    assert "".join(detail["pieces"]) == "\\\u2060h\\{"
    assert title["room"] + detail["room"] < 1280 - 2 * 27


def test_bars() -> None:
    """As long as what is done; hatched and each time a step further when nobody knows; none when something went wrong."""
    done = rf"\1c&H{DONE.bgr}&"
    assert done not in strip_plan(strip(replace(FILM, fraction=0.0)), HD, None)["boxes"]
    assert strip_plan(strip(replace(FILM, fraction=1.0)), HD, None)["boxes"].count(done) == 1
    unknown = strip(replace(FILM, fraction=None))
    steps = [strip_plan(unknown, HD, None, phase)["boxes"] for phase in range(8)]
    assert len(set(steps)) == 4
    assert steps[0] == steps[4]
    assert strip_plan(strip(), HD, None, 1) == strip_plan(strip(), HD, None, 2)
    assert done not in strip_plan(strip(replace(FILM, alarm=True)), HD, None)["boxes"]


def test_letters_stay_whole() -> None:
    """What makes up one letter for a reader is one piece."""
    assert pieces("ab") == ["a", "b"]
    assert pieces("e\u0301x") == ["e\u0301", "x"]
    assert pieces("👨\u200d👩\u200d👧!") == ["👨\u200d👩\u200d👧", "!"]
    assert pieces("👍🏽🇫🇷🇩🇪") == ["👍🏽", "🇫🇷", "🇩🇪"]
    assert pieces("\u0301") == ["\u0301"]


# On the screen


def lit(server: XServer, rect: Rect) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of what is nearly white there."""
    data = np.frombuffer(server.raw(rect.x, rect.y, rect.width, rect.height), np.uint8).reshape(rect.height, rect.width, 4)
    rows, columns = np.nonzero((data[:, :, :3] > 180).all(2))
    if len(columns) == 0:
        return None
    return (
        int(columns.min()) + rect.x, int(rows.min()) + rect.y, int(columns.max()) + rect.x, int(rows.max()) + rect.y
    )  # fmt: skip


def ends_before(server: XServer, rect: Rect, x: int) -> bool:
    """Whether nothing is written there from `x` on."""
    box = lit(server, rect)
    return box is None or box[2] < x


async def written(server: XServer, rect: Rect) -> tuple[int, int, int, int]:
    """Waits until something is written there."""
    await asyncio.to_thread(server.wait, lambda: lit(server, rect) is not None, 10, f"writing in {rect}")
    box = lit(server, rect)
    assert box is not None
    return box


async def test_it_comes_and_goes_and_leaves_the_picture_alone(stand: Stand, media: Media) -> None:
    """Above the picture and the ticker's bar, under the dimming; nothing of it stays."""
    worker = await stand.worker()
    server = stand.server
    await worker.show(worker.shot(media.red_png))
    bar = place(strip())
    with server.sampled(640, bar.y - 2, 1, 1) as samples:
        worker.put(strip=strip())
        await server.shows((5, 718), PANEL_ON_RED)
        await written(server, bar)
        worker.put(ticker=Ticker("", motion="static", font_size_px=40, background="#FF0000FF"))
        await server.shows((5, 718), (0, 0, 255))
        raised = place(strip(), HD, Ticker("", font_size_px=40))
        assert raised.bottom == 650
        await server.shows((5, 648), PANEL_ON_RED)
        worker.put(ticker=None)
        await server.shows((5, 718), PANEL_ON_RED)
        worker.put(dim_percent=50.0)
        await server.shows((5, 718), (20, 8, 10))
        worker.put(dim_percent=0.0)
        worker.put(strip=None)
        await server.shows((5, 718), RED)
        assert lit(server, Rect(0, 360, 1280, 360)) is None
    assert len(worker.all(Started)) == 1
    assert near(samples[0][1][:3], (0, 0, 255))


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280)])
async def test_it_is_upright_however_the_panel_hangs(size: tuple[int, int], media: Media) -> None:
    """On panels turned in all four ways, lying and standing: a text between the margins, and half of the bar done."""
    shown = strip(replace(FILM, title="W" * 300, fraction=0.5))
    with XServer(*size) as server:
        for rotate in (0, 90, 180, 270):
            stand = Stand(server)
            worker = await stand.worker("--rotate", str(rotate))
            screen = Screen(*size, rotate)
            width, height = screen.upright
            upright = place(shown, Screen(width, height))
            await worker.show(worker.shot(media.red_png), strip=shown)
            await written(server, screen.rect(upright))
            pixels = np.asarray(server.image().rotate(rotate, expand=True))[upright.y :].astype(int)
            assert pixels.shape[:2] == (height - upright.y, width)
            columns = np.nonzero((pixels > 180).all(2))[1]
            assert 0.02 * width < columns.min() < 0.06 * width
            assert columns.max() < 0.98 * width
            done = np.nonzero((abs(pixels - DONE_RGB) < 12).all(2))[1]
            assert abs(done.max() - width / 2) < 4
            await stand.close()


async def test_long_titles_are_cut_where_their_room_ends(stand: Stand, media: Media) -> None:
    """By their real width, whatever the letters are; a short one is not touched."""
    worker = await stand.worker()
    server = stand.server
    await worker.show(worker.shot(media.red_png))
    for title in ("i" * 300, "W" * 300, "漢" * 300, "م" * 300, "😀" * 300, "a\u0301\u0302\u0303" * 150, "Wort " * 60):
        shown = strip(StripLine(title, "", 0.0))
        bar = place(shown)
        row = Rect(0, bar.y + 8, 1280, 36)
        worker.put(strip=shown)
        left, _, right, _ = await written(server, row)
        assert 30 <= left < 60, title[:4]
        assert 1180 < right < 1250, title[:4]
        worker.put(strip=strip(StripLine(title[:4], "", 0.0)))
        await asyncio.to_thread(server.wait, functools.partial(ends_before, server, row, 250))
        worker.put(strip=None)
        await asyncio.to_thread(server.wait, functools.partial(ends_before, server, row, 1))


async def test_no_text_leaves_its_place(stand: Stand, media: Media) -> None:
    """Commands of the subtitle language, towers of accents and wide ornaments: above the strip the picture is untouched."""
    worker = await stand.worker()
    server = stand.server
    await worker.show(worker.shot(media.red_png))
    for text in (r"{\fs300\pos(640,100)}BIG", r"\N\N\Nup", "Z" + "\u0310\u0321\u0334" * 90, "\ufdfd" * 40, "{" * 300, "\\" * 300):
        shown = strip(StripLine(text, text, None, text), StripLine(text, text, 0.5, text, alarm=True))
        worker.put(strip=shown)
        bar = place(shown)
        await written(server, bar)
        above = np.frombuffer(server.raw(0, 0, 1280, bar.y), np.uint8).reshape(-1, 4)
        assert (above[:, 2] > 240).all(), text[:8]
        assert (above[:, :2] < 15).all(), text[:8]


async def test_what_went_wrong_has_another_colour(stand: Stand, media: Media) -> None:
    """A notice is orange where a stage is grey."""
    worker = await stand.worker()
    server = stand.server
    await worker.show(worker.shot(media.red_png))

    def orange() -> int:
        bar = place(strip(FILM, replace(FILM, alarm=True)))
        pixels = np.frombuffer(server.raw(0, bar.y, 1280, bar.height), np.uint8).reshape(-1, 4).astype(int)
        return int(((pixels[:, 2] > 230) & (abs(pixels[:, 1] - 135) < 30) & (abs(pixels[:, 0] - 100) < 30)).sum())

    worker.put(strip=strip(FILM, FILM))
    await written(server, place(strip(FILM, FILM)))
    assert orange() == 0
    worker.put(strip=strip(FILM, replace(FILM, alarm=True, detail="Conversion failed")))
    await asyncio.to_thread(server.wait, lambda: orange() > 100)


async def test_a_change_does_not_flicker_and_a_film_goes_on(stand: Stand, media: Media) -> None:
    """Percentages come many times while a film plays: the strip is there in every picture, the film loses none of its time."""
    worker = await stand.worker()
    server = stand.server
    shot = worker.shot(media.long_mp4, start_s=7.0)
    await worker.show(shot, strip=strip(replace(FILM, fraction=0.0)))
    await server.shows((5, 718), PANEL_ON_GREEN)
    box = await written(server, place(strip()))
    with server.sampled(5, 716, 1, 1) as panel, server.sampled(box[0], box[1], 60, box[3] - box[1]) as title:
        for percent in range(1, 41):
            worker.put(strip=strip(replace(FILM, fraction=percent / 100, detail=f"Encoding · {percent} %")))
            await asyncio.sleep(0.025)
        await worker.says(Ended, shot.token)
    assert all(near((data[2], data[1], data[0]), PANEL_ON_GREEN, 10) for _, data in panel)
    inks = [int((np.frombuffer(data, np.uint8) > 180).sum()) for _, data in title]
    assert min(inks) > 0.8 * max(inks), "the title stands still"


async def test_a_slide_passes_above_it(stand: Stand, media: Media) -> None:
    """The old picture slides out above strip and ticker, which stay as they are."""
    worker = await stand.worker()
    server = stand.server
    bottom = Ticker("", motion="static", font_size_px=40, background="#FF0000FF")
    await worker.show(worker.shot(media.red_png), strip=strip(), ticker=bottom)
    bar = place(strip(), HD, bottom)
    ink = await written(server, bar)
    words = (bar.x + 30, ink[1], 200, 30)
    await server.shows((5, 718), (0, 0, 255))
    await server.shows((5, bar.bottom - 2), PANEL_ON_RED)

    def white(data: bytes) -> int:
        return int((np.frombuffer(data, np.uint8) > 200).sum())

    with server.sampled(*words) as samples:
        await worker.show(worker.shot(media.green_jpg, enter="slide"))
        await server.shows((1270, 5), GREEN)
        await server.shows((5, 5), GREEN)
    counts = [white(data) for _, data in samples]
    assert min(counts) > 0.9 * max(counts) > 0
    await server.shows((5, bar.bottom - 2), PANEL_ON_GREEN)


async def test_without_a_screen_it_costs_nothing(stand: Stand, media: Media) -> None:
    """Where nothing is presented a strip is no failure."""
    worker = await stand.worker(output="null")
    await worker.show(worker.shot(media.red_png), strip=strip(replace(FILM, title="W" * 300), FILM, more=3))
    worker.put(strip=None)
    await worker.show(worker.shot(media.green_jpg))
