"""The demo's slides: each function draws one advert of the arcade at twice its size, for smooth edges."""

from __future__ import annotations

import functools
import math
import random

from PIL import Image, ImageDraw, ImageFilter

from tests.servers.artwork.brushes import (
    SANS,
    SANS_LIGHT,
    SERIF,
    SERIF_ITALIC,
    disc,
    glow,
    gradient,
    letters,
    shape,
    tag,
)

Point = tuple[float, float]


def coffee() -> Image.Image:
    """1920x1080: a cup from above."""
    canvas = gradient((1920, 1080), "#F6E7D2", "#EBCDA8")
    glow(canvas, (1300, 300), 1100, "#FFF8EC", 0.8)
    centre = (1430.0, 560.0)
    disc(canvas, centre, 440, "#FBF6EF", shade=44)
    disc(canvas, centre, 400, "#EFE4D6")
    disc(canvas, centre, 388, "#FBF6EF")
    shape(canvas, _turned([(250, -52), (430, -40), (430, 40), (250, 52)], centre, -0.6), "#F2E8DB", shade=14)
    disc(canvas, centre, 296, "#FFFFFF", shade=26)
    disc(canvas, centre, 262, "#5A2E16")
    disc(canvas, centre, 250, "#A8683A")
    disc(canvas, centre, 232, "#B87A48")
    _rosette(canvas, centre)
    for x, y, turn in ((800, 930, 0.4), (890, 985, 1.3), (980, 915, -0.5), (1830, 140, 0.9), (1755, 90, -0.3)):
        _bean(canvas, (x, y), turn)
    draw = ImageDraw.Draw(canvas)
    letters(draw, (130, 250), "CAFÉ ARKADE", (SANS, 34, "#A4562A"), tracking=10)
    letters(draw, (122, 440), "Flat White", (SERIF, 158, "#3B1E10"))
    letters(draw, (126, 570), "& a warm croissant", (SERIF_ITALIC, 88, "#6B3A1E"))
    draw.line((132, 640, 432, 640), fill="#C98B55", width=5)
    letters(draw, (130, 730), "Every morning until eleven", (SANS_LIGHT, 48, "#6B3A1E"))
    tag(canvas, (130, 790, 400, 900), "€ 4.90", fill="#C2502B", ink="#FFF6EA")
    return canvas


def sale() -> Image.Image:
    """1280x720: shapes and a very large number."""
    canvas = gradient((2560, 1440), "#FF4D6D", "#FF7A45", sideways=True)
    disc(canvas, (2270, 250), 430, "#FFC93C")
    disc(canvas, (2270, 250), 250, "#FF6B5B")
    shape(canvas, [(1500, 1440), (2560, 760), (2560, 1440)], "#3A1C71", shade=40)
    shape(canvas, [(1990, 1440), (2560, 1080), (2560, 1440)], "#6A3FC0")
    draw = ImageDraw.Draw(canvas)
    for row in range(6):
        for column in range(9):
            x, y = 2010 + column * 62, 560 + row * 62
            draw.ellipse((x, y, x + 16, y + 16), fill="#FFE3D8")
    points = [(150 + step * 70, 1290 + (34 if step % 2 else -34)) for step in range(14)]
    draw.line(points, fill="#FFD6C9", width=16, joint="curve")
    letters(draw, (140, 330), "SUMMER SALE", (SANS, 150, "#FFFFFF"), tracking=22)
    letters(draw, (112, 960), "–50 %", (SANS, 660, "#FFFFFF"))
    letters(draw, (150, 1150), "on everything with a red dot", (SANS_LIGHT, 104, "#FFF1EC"))
    disc(canvas, (1620, 1118), 44, "#E11D48", shade=10)
    letters(draw, (2470, 1380), "only until Saturday", (SANS, 66, "#FFC93C"), anchor="r")
    return canvas.resize((1280, 720), Image.Resampling.LANCZOS)


def flowers() -> Image.Image:
    """1600x900: a bunch of paper flowers."""
    canvas = gradient((1600, 900), "#123B33", "#0B2A2B")
    glow(canvas, (1150, 420), 760, "#2E6B55", 0.7)
    dice = random.Random(7)
    for _ in range(26):
        start = (1160 + dice.uniform(-40, 40), 960.0)
        end = (1160 + dice.uniform(-430, 400), dice.uniform(90, 640))
        _leaf(canvas, start, end, dice.choice(("#2F7D5B", "#3E9467", "#1F6650", "#56A874")))
    blooms = (
        (1010, 300, 150, "#FF8FA3", "#FFE5EC"), (1330, 250, 170, "#FFB703", "#FFF1C9"), (1190, 500, 200, "#F9F4EF", "#FFD166"),
        (880, 530, 130, "#F4845F", "#FFE8D6"), (1450, 520, 140, "#E56B9A", "#FFE5EC"), (1040, 720, 130, "#C77DFF", "#F3E3FF"),
        (1350, 740, 150, "#FF6B6B", "#FFE3E3"), (1180, 150, 100, "#9BD1F9", "#F1FAFF"),
    )  # fmt: skip
    for x, y, size, petal, heart in blooms:
        _bloom(canvas, (x, y), size, (petal, heart), dice.uniform(0, 1))
    draw = ImageDraw.Draw(canvas)
    letters(draw, (104, 210), "FLORA & SONS", (SANS, 30, "#8FD3AE"), tracking=9)
    letters(draw, (98, 370), "Fresh from", (SERIF, 116, "#FDF8F2"))
    letters(draw, (98, 500), "the field", (SERIF_ITALIC, 124, "#FFD9A0"))
    letters(draw, (104, 600), "Bunches tied while you wait,", (SANS_LIGHT, 40, "#CFE6DA"))
    letters(draw, (104, 656), "ground floor, next to the fountain.", (SANS_LIGHT, 40, "#CFE6DA"))
    tag(canvas, (104, 720, 350, 796), "from € 9", fill="#FFD9A0", ink="#123B33")
    return canvas


def welcome() -> Image.Image:
    """1280x720: hills at dusk, and the opening hours."""
    canvas = gradient((2560, 1440), "#1B1B4B", "#5B3A8C", "#F0727A", "#FFC27A")
    glow(canvas, (1880, 830), 620, "#FFB870", 0.8)
    disc(canvas, (1880, 830), 170, "#FFE9C2")
    dice = random.Random(3)
    draw = ImageDraw.Draw(canvas)
    for _ in range(120):
        x, y, size = dice.uniform(0, 2560), dice.uniform(0, 520), dice.uniform(1, 4)
        draw.ellipse((x, y, x + size, y + size), fill="#CFC6F2")
    for layer, colour in enumerate(("#A8507F", "#74407F", "#452D6B", "#241B4A", "#120F2C")):
        base = 880 + layer * 115
        ridge = [
            (x, base + 90 * math.sin(x / (330 - layer * 31) + layer * 2.1) + 42 * math.sin(x / 121 + layer * 5))
            for x in range(0, 2570, 10)
        ]
        shape(canvas, [(0, 1440), *ridge, (2560, 1440)], colour)
    draw = ImageDraw.Draw(canvas)
    letters(draw, (150, 420), "Good evening", (SERIF, 230, "#FFFFFF"))
    letters(draw, (158, 560), "and welcome to the Arkade", (SERIF_ITALIC, 104, "#FFE1C4"))
    for row, (days, hours) in enumerate((("Monday – Thursday", "9 – 20"), ("Friday, Saturday", "9 – 22"), ("Sunday", "11 – 18"))):
        y = 1120 + row * 92
        letters(draw, (160, y), days, (SANS_LIGHT, 66, "#D9CCF5"))
        letters(draw, (1010, y), hours, (SANS, 66, "#FFFFFF"), anchor="r")
    return canvas.resize((1280, 720), Image.Resampling.LANCZOS)


def gelato(*, wobble: float = 0.0, price: bool = True) -> Image.Image:
    """720x1280, portrait: three scoops. `wobble` (radians) leans the cone, for the film."""
    canvas = _gelato_ground().copy()
    foot = (360.0, 1130.0)
    cone = _turned([(-135, -430), (135, -430), (0, 0)], foot, wobble)
    shape(canvas, cone, "#E0A458", shade=24)
    draw = ImageDraw.Draw(canvas)
    for step in range(1, 6):
        part = step / 6
        for side in (0, 1):
            start = _between(cone[side], cone[2], part)
            end = _between(cone[1 - side], cone[side], part)
            draw.line((start, end), fill="#C2843A", width=5)
    scoops = ((-78, -492, 104, "#F48FB1"), (78, -492, 104, "#8BC34A"), (0, -640, 112, "#FFF3C4"))
    for x, y, size, colour in scoops:
        _scoop(canvas, _turned([(x, y)], foot, wobble * 1.2)[0], size, colour)
    cherry = _turned([(0, -770)], foot, wobble * 1.3)[0]
    disc(canvas, cherry, 34, "#D7263D", shade=8)
    disc(canvas, (cherry[0] - 10, cherry[1] - 12), 8, "#FF9AA8")
    draw = ImageDraw.Draw(canvas)
    letters(draw, (360, 158), "GELATERIA LUNA", (SANS, 26, "#0F766E"), tracking=9, anchor="m")
    letters(draw, (360, 268), "Three scoops", (SERIF, 92, "#7A2E4D"), anchor="m")
    if price:
        tag(canvas, (250, 1160, 470, 1240), "€ 3.50", fill="#0F766E", ink="#F0FDFA")
    return canvas


@functools.cache
def _gelato_ground() -> Image.Image:
    canvas = gradient((720, 1280), "#BDEFEA", "#FDF1DC")
    for stripe in range(-2, 12):
        x = stripe * 140
        shape(canvas, [(x, 0), (x + 70, 0), (x - 230, 1280), (x - 300, 1280)], "#C9F1EA" if stripe < 5 else "#D2F2E8")
    return canvas


def _turned(points: list[Point], centre: Point, angle: float) -> list[Point]:
    sine, cosine = math.sin(angle), math.cos(angle)
    return [(centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine) for x, y in points]


def _between(start: Point, end: Point, part: float) -> Point:
    return start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part


def _scoop(canvas: Image.Image, centre: Point, radius: float, colour: str) -> None:
    disc(canvas, centre, radius, colour, shade=16)
    for step in range(7):
        angle = math.pi * (0.08 + 0.14 * step)
        disc(canvas, (centre[0] + math.cos(angle) * radius * 0.86, centre[1] + math.sin(angle) * radius * 0.5 + 36), 26, colour)
    glow(canvas, (centre[0] - radius * 0.3, centre[1] - radius * 0.35), radius * 0.7, "#FFFFFF", 0.28)


def _rosette(canvas: Image.Image, centre: Point) -> None:
    """The milk in the cup: leaves, largest below, and a stem."""
    milk = Image.new("L", canvas.size, 0)
    draw = ImageDraw.Draw(milk)
    for layer in range(5):
        y = centre[1] + 120 - layer * 62
        width, height = 168 - layer * 26, 62 - layer * 6
        draw.ellipse((centre[0] - width, y - height, centre[0] + width, y + height), fill=255)
        draw.ellipse((centre[0] - width * 1.15, y - height - 30, centre[0] + width * 1.15, y + height * 0.42), fill=0)
    draw.line((centre[0], centre[1] - 190, centre[0], centre[1] + 180), fill=255, width=12)
    milk = milk.filter(ImageFilter.GaussianBlur(3))
    canvas.paste(Image.new("RGB", canvas.size, "#F7E6CE"), (0, 0), milk)


def _bean(canvas: Image.Image, centre: Point, turn: float) -> None:
    outline = [(46 * math.cos(step / 20 * math.tau), 30 * math.sin(step / 20 * math.tau)) for step in range(20)]
    shape(canvas, _turned(outline, centre, turn), "#5B3420", shade=9)
    crease = [(-42 + step * 4.2, 7 * math.sin(step / 20 * math.tau)) for step in range(21)]
    ImageDraw.Draw(canvas).line(_turned(crease, centre, turn), fill="#2F170B", width=6, joint="curve")


def _leaf(canvas: Image.Image, start: Point, end: Point, colour: str) -> None:
    length = math.dist(start, end)
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    upper = [(length * (0.35 + step / 16 * 0.65), -length * 0.07 * math.sin(step / 16 * math.pi)) for step in range(17)]
    lower = [(x, -y) for x, y in reversed(upper)]
    ImageDraw.Draw(canvas).line((start, end), fill=colour, width=5)
    shape(canvas, _turned(upper + lower, start, angle), colour, shade=6)


def _bloom(canvas: Image.Image, centre: Point, size: float, colours: tuple[str, str], turn: float) -> None:
    petal, heart = colours
    for ring, petals in ((1.0, 9), (0.68, 7)):
        for step in range(petals):
            angle = turn + ring + step / petals * math.tau
            reach, breadth = size * ring, size * 0.27 * ring
            outline = [
                (reach * (0.5 - 0.5 * math.cos(part)), breadth * math.sin(part) * (1.0 + 0.3 * (1 - math.cos(part))))
                for part in (index / 24 * math.tau for index in range(24))
            ]
            shape(canvas, _turned(outline, centre, angle), petal, shade=5 * ring)
    disc(canvas, centre, size * 0.2, heart, shade=5)
