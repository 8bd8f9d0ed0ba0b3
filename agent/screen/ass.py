"""Text bars and colours in ASS, the language libmpv's overlays are written in. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from agent.screen.geometry import Rect, Screen
from agent.screen.messages import Ticker

FONT = "Noto Sans"
LINE_TO_EM = 1.362
"""ASS counts a font's size as the height of its line; this is the line of FONT for an em of 1."""
BAR_TO_FONT = 1.75
WORD_JOINER = "\u2060"

_HEX = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Colour:
    """Red, green, blue and opacity, 0-255 each."""

    red: int
    green: int
    blue: int
    alpha: int = 255

    @classmethod
    def parse(cls, text: str, default: str = "#000000") -> Colour:
        """From #RGB, #RRGGBB or #AARRGGBB, with or without #; anything else is `default`."""
        match = _HEX.fullmatch(text.strip()) or _HEX.fullmatch(default)
        assert match is not None
        digits = match[1]
        if len(digits) == 3:
            digits = "".join(2 * digit for digit in digits)
        alpha, red, green, blue = bytes.fromhex(digits.rjust(8, "F"))
        return cls(red, green, blue, alpha)

    @property
    def bgr(self) -> str:
        """As ASS wants it."""
        return f"{self.blue:02X}{self.green:02X}{self.red:02X}"

    @property
    def rgb(self) -> str:
        """#RRGGBB."""
        return f"#{self.red:02X}{self.green:02X}{self.blue:02X}"

    @property
    def tags(self) -> str:
        """ASS tags for the primary colour and its transparency."""
        return rf"\1c&H{self.bgr}&\1a&H{255 - self.alpha:02X}&"


def literal(text: str) -> str:
    """`text` as one line that ASS shows as it stands."""
    text = _BREAKS.sub(" ", text).strip()
    return text.replace("\\", "\\" + WORD_JOINER).replace("{", r"\{")


def box(rect: Rect, colour: Colour) -> str:
    """A filled rectangle."""
    x0, y0, x1, y1 = rect.x, rect.y, rect.right, rect.bottom
    return rf"{{\an7\pos(0,0)\bord0\shad0{colour.tags}\p1}}m {x0} {y0} l {x1} {y0} {x1} {y1} {x0} {y1}"


def mark(screen: Screen) -> str:
    """A small square in the upper right corner of the upright screen, to be seen on every colour."""
    width, height = screen.upright
    side = max(3, round(min(width, height) / 90))
    rim = Rect(width - 4 * side, side, 3 * side, 3 * side)
    core = Rect(width - 3 * side, 2 * side, side, side)
    return box(screen.rect(rim), Colour(0, 0, 0)) + "\n" + box(screen.rect(core), Colour(255, 140, 0))


def ticker_bar(ticker: Ticker, screen: Screen) -> Rect:
    """The physical rectangle a ticker's bar takes: as long as the edge it lies along."""
    return screen.rect(upright_ticker_bar(ticker, screen))


def upright_ticker_bar(ticker: Ticker, screen: Screen) -> Rect:
    """The same on the upright screen."""
    width, height = screen.upright
    thickness = round(ticker.font_size_px * screen.canvas_scale(ticker.canvas) * BAR_TO_FONT)
    thickness = min(max(thickness, 2), height if ticker.position in ("top", "bottom") else width)
    match ticker.position:
        case "top":
            return Rect(0, 0, width, thickness)
        case "bottom":
            return Rect(0, height - thickness, width, thickness)
        case "left":
            return Rect(0, 0, thickness, height)
        case "right":
            return Rect(width - thickness, 0, thickness, height)


def ticker_plan(ticker: Ticker, screen: Screen) -> dict[str, Any]:
    """What overlay.lua needs to draw a ticker and to move it: `x + at*dx, y + at*dy` is the text's first end `at` pixels along
    the bar. On the left and right edges a text reads downwards and moves upwards, so that its beginning comes first.
    """
    width, height = screen.upright
    bar = ticker_bar(ticker, screen)
    scale = screen.canvas_scale(ticker.canvas)
    along = ticker.position in ("top", "bottom")
    length = width if along else height
    direction = (1.0, 0.0) if along else (0.0, 1.0)
    middle_x, middle_y = bar.x + bar.width / 2, bar.y + bar.height / 2
    dx, dy = screen.direction(*direction)
    scroll = ticker.motion == "scroll"
    font = rf"\fn{FONT}\fs{ticker.font_size_px * scale * LINE_TO_EM:.2f}"
    turn = (0 if along else 90) + screen.rotate
    return {
        "res": [screen.width, screen.height],
        "bar": box(bar, Colour.parse(ticker.background)),
        "head": (
            rf"{{\an{4 if scroll else 5}\q2\bord0\shad0{font}\frz{-turn}"
            rf"{Colour.parse(ticker.color, '#FFFFFF').tags}\pos("
        ),
        "tail": ")}",
        "text": literal(ticker.text),
        "font": font,
        "x": middle_x - (dx * length / 2 if scroll else 0),
        "y": middle_y - (dy * length / 2 if scroll else 0),
        "dx": dx,
        "dy": dy,
        "length": length,
        "speed": ticker.speed_px_s * scale,
        "scroll": scroll,
    }
