"""Brushes for the demo's artwork: gradients, soft shadows, lettering. Colours are '#RRGGBB', positions pixels."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

SANS = ("NotoSansDisplay-Bold.ttf", "NotoSans-Bold.ttf", "DejaVuSans-Bold.ttf")
SANS_LIGHT = ("NotoSansDisplay-Regular.ttf", "NotoSans-Regular.ttf", "DejaVuSans.ttf")
SERIF = ("NotoSerifDisplay-Bold.ttf", "NotoSerif-Bold.ttf", "DejaVuSerif-Bold.ttf")
SERIF_ITALIC = ("NotoSerifDisplay-Italic.ttf", "NotoSerif-Italic.ttf", "DejaVuSerif.ttf")
FONT_FOLDERS = (Path("/usr/share/fonts/truetype/noto"), Path("/usr/share/fonts/truetype/dejavu"))

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@functools.cache
def font(names: tuple[str, ...], size: float) -> Font:
    """The first of these fonts that is installed, else Pillow's own."""
    for name in names:
        for folder in FONT_FOLDERS:
            if (folder / name).is_file():
                return ImageFont.truetype(str(folder / name), size)
    return ImageFont.load_default(size)


def rgb(colour: str, alpha: int = 255) -> tuple[int, int, int, int]:
    """The four components of '#RRGGBB'."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16), alpha


def gradient(size: tuple[int, int], *colours: str, sideways: bool = False) -> Image.Image:
    """A smooth run through the colours, top to bottom or left to right."""
    strip = Image.new("RGB", (1, len(colours)))
    for place, colour in enumerate(colours):
        strip.putpixel((0, place), rgb(colour)[:3])
    # BICUBIC over the pixel centres only: the outer half pixels would stay flat
    box = (0.0, 0.5, 1.0, len(colours) - 0.5)
    picture = strip.resize((1, 256), Image.Resampling.BILINEAR, box=box)
    if sideways:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    return picture.resize(size, Image.Resampling.BICUBIC)


def glow(canvas: Image.Image, centre: tuple[float, float], radius: float, colour: str, strength: float = 1.0) -> None:
    """A soft round spot of that colour."""
    spot = _spot(max(2, int(radius * 2))).point(lambda value: int(value * strength))
    place = int(centre[0] - radius), int(centre[1] - radius)
    canvas.paste(rgb(colour), (*place, place[0] + spot.width, place[1] + spot.height), spot)


def shape(canvas: Image.Image, points: Sequence[tuple[float, float]], fill: str, *, shade: float = 0.0) -> None:
    """A polygon, with a soft shadow of that blur under it."""
    if shade:
        _shadow(canvas, points, shade)
    ImageDraw.Draw(canvas).polygon([(x, y) for x, y in points], fill=fill)


def disc(canvas: Image.Image, centre: tuple[float, float], radius: float, fill: str, *, shade: float = 0.0) -> None:
    """A filled circle, with a soft shadow of that blur under it."""
    (x, y), steps = centre, [step / 90 * math.tau for step in range(90)]
    shape(canvas, [(x + radius * math.cos(step), y + radius * math.sin(step)) for step in steps], fill, shade=shade)


def letters(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    style: tuple[tuple[str, ...], float, str],
    *,
    tracking: float = 0.0,
    anchor: str = "l",
) -> float:
    """Writes one line on the baseline `place`, `tracking` pixels between letters; returns its width.

    `style` is font, size and colour; `anchor` is 'l', 'm' or 'r': which end of the line stands at `place`.
    """
    names, size, fill = style
    face = font(names, size)
    widths = [draw.textlength(letter, font=face) + tracking for letter in text]
    width = sum(widths) - tracking if tracking else draw.textlength(text, font=face)
    x, y = place
    x -= {"l": 0.0, "m": width / 2, "r": width}[anchor]
    if not tracking:
        draw.text((x, y), text, font=face, fill=fill, anchor="ls")
        return width
    for letter, step in zip(text, widths, strict=True):
        draw.text((x, y), letter, font=face, fill=fill, anchor="ls")
        x += step
    return width


def tag(canvas: Image.Image, box: tuple[float, float, float, float], text: str, *, fill: str, ink: str) -> None:
    """A rounded label with centred text."""
    size = (box[3] - box[1]) * 0.56
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle(box, radius=(box[3] - box[1]) / 2, fill=fill)
    draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, font=font(SANS, size), fill=ink, anchor="mm")


def _shadow(canvas: Image.Image, points: Sequence[tuple[float, float]], blur: float) -> None:
    """Darkens what lies under a polygon and a little below it."""
    margin, fall = int(blur * 3) + 1, int(blur * 0.6)
    left = max(0, int(min(x for x, _ in points)) - margin)
    top = max(0, int(min(y for _, y in points)) - margin)
    right = min(canvas.width, int(max(x for x, _ in points)) + margin)
    bottom = min(canvas.height, int(max(y for _, y in points)) + margin + fall)
    if right <= left or bottom <= top:
        return
    mask = Image.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(mask).polygon([(x - left, y - top + fall) for x, y in points], fill=110)
    canvas.paste((0, 0, 0), (left, top, right, bottom), mask.filter(ImageFilter.GaussianBlur(blur)))


@functools.cache
def _spot(size: int) -> Image.Image:
    """A round spot fading to its rim."""
    ramp = Image.radial_gradient("L").resize((size, size), Image.Resampling.BILINEAR)
    return ramp.point(lambda value: max(0, min(255, int((180 - value) * 255 / 180))))
