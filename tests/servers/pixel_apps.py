"""What a person puts on a pixel display: a clock, the weather, the next trains, words that run through."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from tests.servers.pixel_letters import write
from tests.servers.pixels import SIZE, Size, animate, encode, hue

TEXT_STEP_MS = 40


def clock(hours_minutes: str, date: str) -> bytes:
    """The time, its colon blinking, over the date."""
    frames = []
    for on in (True, False):
        image = _night("#0b1030", "#1d1147")
        hours, _, minutes = hours_minutes.partition(":")
        write(image, hours, (27, 5), "#ffe9c4", scale=2, anchor="r")
        write(image, minutes, (37, 5), "#ffe9c4", scale=2)
        write(image, ":", (29, 5), "#ff8a5c" if on else "#402840", scale=2)
        write(image, date, (32, 24), "#8ea2ff", small=True, anchor="m")
        frames.append(image)
    return animate(frames, [500, 500])


def weather(degrees: int, words: str) -> bytes:
    """A sun with turning rays behind a cloud that drifts, and the temperature."""
    frames = []
    for step in range(16):
        image = _night("#1d6fd1", "#7cc4f5")
        _sun(image, (14, 12), step * math.tau / 64)
        _cloud(image, (7 + round(1.6 * math.sin(step * math.tau / 16)), 17))
        write(image, str(degrees), (57, 4), "#ffffff", scale=2, anchor="r")
        write(image, "°", (59, 4), "#ffffff")
        write(image, words, (62, 24), "#ffffff", small=True, anchor="r")
        frames.append(image)
    return animate(frames, 125)


def departures(rows: Sequence[tuple[str, str, int]]) -> bytes:
    """The next trains: line, destination, minutes; a train that leaves now blinks."""
    frames = []
    for on in (True, False):
        image = Image.new("RGB", SIZE, "#05070c")
        for place, (line, destination, minutes) in enumerate(rows[:3]):
            top = 1 + 11 * place
            image.paste(_line_colour(line), (1, top, 14, top + 9))
            write(image, line[:3], (7, top + 2), "#ffffff", small=True, anchor="m")
            write(image, destination[:9], (17, top + 2), "#ffc247", small=True)
            if minutes > 0:
                write(image, str(minutes), (63, top + 2), "#ffc247", small=True, anchor="r")
            elif on:
                write(image, "*", (63, top + 2), "#6ee7a8", small=True, anchor="r")
        frames.append(image)
    return animate(frames, [400, 400]) if any(minutes <= 0 for _, _, minutes in rows[:3]) else encode(frames[0])


def scroller(text: str, colour: str = "", *, step_ms: int = TEXT_STEP_MS) -> bytes:
    """The text runs through once from right to left, two pixels a step, in the colour or in all of them."""
    strip = Image.new("L", (1, 1))
    width = write(strip, text, (0, 0), 255, scale=2)
    strip = Image.new("L", (max(1, width), 14), 0)
    write(strip, text, (0, 0), 255, scale=2)
    frames = []
    for left in range(SIZE[0], -width - 1, -2):
        image = Image.new("RGB", SIZE, "#04050a")
        for x in range(SIZE[0]):
            image.paste(hue(x / 160 - left / 400, 0.8, 0.25), (x, 3, x + 1, 4))
            image.paste(hue(x / 160 - left / 400, 0.8, 0.25), (x, 28, x + 1, 29))
        ink = Image.new("RGB", strip.size, colour) if colour else _rainbow(strip.size, left)
        image.paste(ink, (left, 9), strip)
        frames.append(image)
    return animate(frames, step_ms)


def label(text: str, colour: str = "#ffffff", background: str = "#5b21b6") -> bytes:
    """The text in the middle where it fits, large or small; else as a scroller."""
    for scale, small, most in ((2, False, 60), (1, False, 60), (1, True, 62)):
        image = Image.new("RGB", SIZE, background)
        height = (5 if small else 7) * scale
        if write(image, text, (32, (32 - height) // 2), colour, scale=scale, small=small, anchor="m") <= most:
            return encode(image)
    return scroller(text, colour)


def heart() -> bytes:
    """It beats."""
    rows = (0x0, 0x666, 0xFFF, 0xFFF, 0xFFF, 0x7FE, 0x3FC, 0x1F8, 0x0F0, 0x060)
    frames = []
    for scale, red in ((2, "#ff2e63"), (1, "#b8123f"), (2, "#ff5c85"), (1, "#b8123f")):
        image = Image.new("RGB", SIZE, "#14040c")
        for y, row in enumerate(rows):
            for x in range(12):
                if row >> (11 - x) & 1:
                    left, top = 32 + (x - 6) * scale, 16 + (y - 5) * scale
                    image.paste(red, (left, top, left + scale, top + scale))
        frames.append(image)
    return animate(frames, [140, 100, 140, 620])


def _night(top: str, bottom: str) -> Image.Image:
    ends = Image.new("RGB", (1, 2), top)
    ends.paste(bottom, (0, 1, 1, 2))
    return ends.resize(SIZE, Image.Resampling.BILINEAR)


def _sun(image: Image.Image, centre: Size, turn: float) -> None:
    for x in range(centre[0] - 13, centre[0] + 14):
        for y in range(centre[1] - 13, centre[1] + 14):
            across, down = x - centre[0], y - centre[1]
            far = math.hypot(across, down)
            ray = math.cos(8 * (math.atan2(down, across) - turn)) > 0.35
            if (far < 6.4 or (8 < far < 11.2 and ray)) and x >= 0 <= y:
                image.putpixel((x, y), (255, 216, 77) if far < 6.4 else (255, 178, 51))


def _cloud(image: Image.Image, corner: Size) -> None:
    for across, down, radius in ((4, 5, 3.6), (10, 3, 4.8), (16, 5, 3.6)):
        for x in range(-6, 7):
            for y in range(-6, 7):
                if math.hypot(x, y) < radius and corner[1] + down + y < corner[1] + 9:
                    image.putpixel((corner[0] + across + x, corner[1] + down + y), (246, 250, 255) if y < 2 else (205, 222, 240))


def _line_colour(line: str) -> str:
    return {"S": "#138a4b", "U": "#1f5fd6", "B": "#8e3bd1"}.get(line[:1], "#c22f3f")


def _rainbow(size: Size, left: int) -> Image.Image:
    image = Image.new("RGB", (size[0], 1))
    image.putdata([hue((x + left) / 110, 0.72, 1.0) for x in range(size[0])])
    return image.resize(size, Image.Resampling.NEAREST)
