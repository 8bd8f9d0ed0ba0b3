"""Colours, literal text and the ticker's bar in ASS."""

from __future__ import annotations

import pytest

from agent.screen.ass import Colour, box, literal, ticker_bar, ticker_plan
from agent.screen.geometry import Rect, Screen
from agent.screen.messages import Ticker


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("#102030", Colour(0x10, 0x20, 0x30)),
        ("80102030", Colour(0x10, 0x20, 0x30, 0x80)),
        ("#1aF", Colour(0x11, 0xAA, 0xFF)),
        ("red", Colour(0, 0, 0)),
        ("#12345", Colour(0, 0, 0)),
        ("", Colour(0, 0, 0)),
    ],
)
def test_colours(text: str, colour: Colour) -> None:
    """#RGB, #RRGGBB, #AARRGGBB, with or without #; anything else is the default."""
    assert Colour.parse(text) == colour


def test_tags_are_blue_first_and_transparent() -> None:
    """ASS counts transparency, and the other way round."""
    assert Colour(1, 2, 3, 255).tags == r"\1c&H030201&\1a&H00&"
    assert Colour(0, 0, 0, 0x40).tags.endswith(r"\1a&HBF&")
    assert box(Rect(1, 2, 3, 4), Colour(0, 0, 0)).endswith("m 1 2 l 4 2 4 6 1 6")


def test_text_has_no_commands() -> None:
    """Braces and backslashes are escaped, every kind of line break is a space."""
    assert literal(r"{\b1}a\N") == "\\{\\\u2060b1}a\\\u2060N"
    assert literal("a\r\nb\u2028c\vd\te") == "a b c d e"


@pytest.mark.parametrize(
    ("position", "bar"),
    [
        ("top", Rect(0, 0, 1280, 70)),
        ("bottom", Rect(0, 650, 1280, 70)),
        ("left", Rect(0, 0, 70, 720)),
        ("right", Rect(1210, 0, 70, 720)),
    ],
)
def test_bars(position: str, bar: Rect) -> None:
    """Along the whole edge."""
    ticker = Ticker("x", position, font_size_px=40)  # type: ignore[arg-type]
    assert ticker_bar(ticker, Screen(1280, 720)) == bar


def test_an_absurd_font_covers_the_screen_and_no_more() -> None:
    """The bar ends at the screen's edge."""
    assert ticker_bar(Ticker("x", font_size_px=1e5), Screen(1280, 720)) == Rect(0, 0, 1280, 720)


def test_plan_of_a_moving_text() -> None:
    """From the far end of the bar; the canvas scales speed and font."""
    plan = ticker_plan(Ticker("x", speed_px_s=50, font_size_px=20, canvas=(640, 360)), Screen(1280, 720))
    assert (plan["x"], plan["y"], plan["dx"], plan["dy"]) == (0, 685, 1, 0)
    assert (plan["length"], plan["speed"], plan["scroll"]) == (1280, 100, True)
    upwards = ticker_plan(Ticker("x", "left", font_size_px=40), Screen(1280, 720))
    assert (upwards["x"], upwards["y"], upwards["dx"], upwards["dy"]) == (35, 0, 0, 1)
    assert r"\frz-90" in upwards["head"]
