"""The progress strip in ASS: where its texts and bars stand. Pure; overlay.lua shortens the texts to their room."""

from __future__ import annotations

import string
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from agent.screen.ass import FONT, LINE_TO_EM, Colour, box, literal, upright_ticker_bar
from agent.screen.geometry import Rect, Screen
from agent.screen.messages import Strip, StripLine, Ticker

PANEL = Colour(14, 17, 22, 0xE4)
TITLE = Colour(255, 255, 255)
DETAIL = Colour(205, 212, 220)
NOTE = Colour(172, 181, 191)
TRACK = Colour(255, 255, 255, 0x38)
DONE = Colour(77, 171, 247)
ALARM = Colour(255, 135, 100)

_EMS_HIGH = 32
"""The shorter side of the screen in title letters."""
_SMALLEST_EM_PX = 12.0
_MOST_OF_HEIGHT = 0.5
_PHASES = 4
_EMS = {**dict.fromkeys(string.ascii_lowercase + string.digits, 0.6), **dict.fromkeys(" .,:·", 0.32)}
"""Of a letter in FONT, on the average of a text; others are wider."""
_ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class _Text:
    """A text in its cell: `room` pixels wide, beginning or ending there."""

    text: str
    colour: Colour
    em: float
    cell: Rect
    right: bool = False
    bold: bool = False


@dataclass(slots=True)
class _Row:
    """One line of the strip, from its own upper edge."""

    height: int = 0
    texts: list[_Text] = field(default_factory=list)
    boxes: list[tuple[Rect, Colour]] = field(default_factory=list)
    hatched: Rect | None = None


@dataclass(frozen=True, slots=True)
class _Measures:
    """Pixels of the upright screen."""

    area: Rect
    """What a ticker leaves."""
    em: float
    margin: int

    @classmethod
    def of(cls, screen: Screen, ticker: Ticker | None) -> _Measures:
        width, height = screen.upright
        em = max(_SMALLEST_EM_PX, min(width, height) / _EMS_HIGH)
        area = Rect(0, 0, width, height)
        if ticker is not None:
            area = area.beside(upright_ticker_bar(ticker, screen))
        return cls(area, em, round(max(1.2 * em, 0.025 * width)))

    def px(self, ems: float) -> int:
        """Whole pixels."""
        return round(ems * self.em)


def strip_bar(strip: Strip, screen: Screen, ticker: Ticker | None) -> Rect:
    """The physical rectangle a strip takes."""
    return screen.rect(_arranged(strip, _Measures.of(screen, ticker))[0])


def strip_plan(strip: Strip, screen: Screen, ticker: Ticker | None, phase: int = 0) -> dict[str, Any]:
    """What overlay.lua needs to draw a strip: finished boxes, and texts as pieces that may be left away at their end.

    `phase`: where the hatching of bars whose end nobody knows stands; the next number is a step further.
    """
    measures = _Measures.of(screen, ticker)
    bar, rows = _arranged(strip, measures)
    boxes, texts = [box(screen.rect(bar), PANEL)], []
    top = bar.y + measures.px(0.35)
    for row in rows:
        for rect, colour in row.boxes:
            boxes.append(box(screen.rect(_moved(rect, top)), colour))
        if row.hatched is not None:
            boxes.append(_hatching(_moved(row.hatched, top), screen, phase))
        texts += [_text(text, _moved(text.cell, top), screen) for text in row.texts if text.text]
        top += row.height
    return {
        "res": [screen.width, screen.height],
        "scale": -(-max(screen.upright) // screen.width),
        "boxes": "\n".join(boxes),
        "texts": texts,
    }


def pieces(text: str) -> list[str]:
    """`text` cut where a reader would: what belongs to a letter stays with it."""
    cut: list[str] = []
    flag = False
    for character in text:
        joined = bool(cut) and (
            cut[-1].endswith(_ZERO_WIDTH_JOINER)
            or character == _ZERO_WIDTH_JOINER
            or unicodedata.category(character) in ("Mn", "Me", "Mc")
            or "\U0001f3fb" <= character <= "\U0001f3ff"
            or (flag and _is_flag_half(character))
        )
        flag = _is_flag_half(character) and not joined
        if joined:
            cut[-1] += character
        else:
            cut.append(character)
    return cut


def _arranged(strip: Strip, measures: _Measures) -> tuple[Rect, list[_Row]]:
    """The strip on the upright screen and its rows; lines for which there is no room are counted."""
    area, most = measures.area, measures.area.height * _MOST_OF_HEIGHT
    rows = [_row(line, measures) for line in strip.lines]
    more = strip.more
    frame = measures.px(0.35) + measures.px(0.4)
    while len(rows) > 1 and sum(row.height for row in rows) + frame > most:
        del rows[-1]
        more += 1
    if more:
        rows.append(_more(more, measures))
    height = min(sum(row.height for row in rows) + frame, area.height)
    return Rect(area.x, area.bottom - height, area.width, height), rows


def _row(line: StripLine, measures: _Measures) -> _Row:
    em, px = measures.em, measures.px
    left, right = measures.area.x + measures.margin, measures.area.right - measures.margin
    row = _Row()
    stacked = line.alarm or measures.area.width < 36 * em
    if line.alarm:
        indent = px(0.7)
        left += indent
    title_right = right
    if not stacked:
        detail = min(_about(line.detail, 0.85 * em), round(0.6 * (right - left)))
        title_right = right - detail - (px(1.0) if detail else 0)
        row.texts.append(_Text(line.detail, DETAIL, 0.85 * em, Rect(right - detail, 0, detail, px(1.6)), right=True))
    row.texts.append(_Text(line.title, TITLE, em, Rect(left, 0, title_right - left, px(1.6)), bold=True))
    row.height = px(1.6)
    if stacked and line.detail:
        colour = ALARM if line.alarm else DETAIL
        row.texts.append(_Text(line.detail, colour, 0.85 * em, Rect(left, row.height, right - left, px(1.3))))
        row.height += px(1.3)
    if line.note:
        row.texts.append(_Text(line.note, NOTE, 0.7 * em, Rect(left, row.height, right - left, px(1.1))))
        row.height += px(1.1)
    if line.alarm:
        side = Rect(left - indent, px(0.25), px(0.22), row.height - px(0.35))
        row.boxes.append((side, ALARM))
    else:
        row.height += px(0.12)
        track = Rect(left, row.height, right - left, max(3, px(0.26)))
        row.height = track.bottom
        row.boxes.append((track, TRACK))
        if line.fraction is None:
            row.hatched = track
        elif done := round(line.fraction * track.width):
            row.boxes.append((Rect(track.x, track.y, done, track.height), DONE))
    row.height += px(0.3)
    return row


def _more(count: int, measures: _Measures) -> _Row:
    left = measures.area.x + measures.margin
    cell = Rect(left, 0, measures.area.width - 2 * measures.margin, measures.px(1.2))
    return _Row(cell.height, [_Text(f"and {count} more", NOTE, 0.75 * measures.em, cell)])


def _text(text: _Text, cell: Rect, screen: Screen) -> dict[str, Any]:
    font = rf"\fn{FONT}\fs{text.em * LINE_TO_EM:.2f}\b{int(text.bold)}\fe-1"
    x, y = screen.point(cell.right if text.right else cell.x, cell.y + cell.height / 2)
    slack = round(0.2 * text.em)
    seen = screen.rect(Rect(cell.x - slack, cell.y - slack, cell.width + 2 * slack, cell.height + 2 * slack))
    return {
        "head": (
            rf"{{\an{6 if text.right else 4}\q2\bord0\shad0{font}\frz{-screen.rotate}{text.colour.tags}"
            rf"\pos({x:.2f},{y:.2f})\clip({seen.x},{seen.y},{seen.right},{seen.bottom})}}"
        ),
        "font": font,
        "room": cell.width,
        "pieces": [_literal(piece) for piece in pieces(text.text)],
    }


def _literal(piece: str) -> str:
    return literal(piece) if not piece.isspace() else " "


def _hatching(track: Rect, screen: Screen, phase: int) -> str:
    """Slanted stripes along a bar."""
    period = max(_PHASES, 4 * track.height)
    shift, wide = period * (phase % _PHASES) // _PHASES, period // 2
    stripes = []
    for at in range(track.x - period + shift, track.right, period):
        corners = (
            (at + track.height, track.y), (at + track.height + wide, track.y), (at + wide, track.bottom), (at, track.bottom)
        )  # fmt: skip
        points = [screen.point(min(max(x, track.x), track.right), y) for x, y in corners]
        first, *others = (f"{x:g} {y:g}" for x, y in points)
        stripes.append(f"m {first} l {' '.join(others)}")
    return rf"{{\an7\pos(0,0)\bord0\shad0{DONE.tags}\p1}}{' '.join(stripes)}"


def _about(text: str, em: float) -> int:
    """Pixels that are certainly enough for a text, the same for texts that differ in digits."""
    return round(em * sum(_EMS[c] if c in _EMS else 1.0 if c.isascii() else 1.3 for c in text))


def _moved(rect: Rect, down: int) -> Rect:
    return Rect(rect.x, rect.y + down, rect.width, rect.height)


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
