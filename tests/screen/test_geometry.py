"""Places on an upright screen and where they are on the panel."""

from __future__ import annotations

import math

import pytest

from agent.screen.geometry import Rect, Screen

LYING = Screen(1920, 1080)


@pytest.mark.parametrize(
    ("rotate", "expected"),
    [
        (0, Rect(0, 0, 1920, 540)),
        (90, Rect(960, 0, 960, 1080)),
        (180, Rect(0, 540, 1920, 540)),
        (270, Rect(0, 0, 960, 1080)),
    ],
)
def test_the_upper_half(rotate: int, expected: Rect) -> None:
    """Clockwise: at 90 degrees what is up lies on the right."""
    assert Screen(1920, 1080, rotate).place((0, 0, 1, 0.5)) == expected


def test_upright_size_and_direction() -> None:
    """A panel turned by 90 degrees is a tall screen, whose right is the panel's down."""
    turned = Screen(1920, 1080, 90)
    assert turned.upright == (1080, 1920)
    assert turned.direction(1, 0) == (0, 1)
    assert Screen(1920, 1080, 180).direction(1, 0) == (-1, 0)
    assert Screen(1920, 1080, 270).direction(1, 0) == (0, -1)
    assert turned.point(0, 0) == (1920, 0)


@pytest.mark.parametrize(
    "fractions", [None, (0, 0, 0, 0), (0.5, 0.5, 0, 0.2), (2, 2, 1, 1), (math.nan, 0, math.nan, 1), (-3, 0, 2, 1)]
)
def test_no_place_is_the_whole_screen(fractions: tuple[float, float, float, float] | None) -> None:
    """Nothing given, nothing left, nothing sensible."""
    assert LYING.place(fractions) == Rect(0, 0, 1920, 1080)


def test_what_stands_out_is_cut_off() -> None:
    """On each side."""
    assert LYING.place((-0.5, 0.5, 1.0, 3.0)) == Rect(0, 540, 960, 540)


def test_margins_lead_back_to_the_same_pixels() -> None:
    """For every rectangle, whether the player rounds or cuts."""
    for x, y, width, height in ((0, 0, 1920, 1080), (1, 1, 1, 1), (13, 7, 301, 999), (960, 0, 960, 1080), (0, 1079, 1920, 1)):
        left, top, right, bottom = LYING.margins(Rect(x, y, width, height))
        for rounded in (math.floor, round):
            assert (rounded(left * 1920), rounded(top * 1080)) == (x, y)
            assert (1920 - rounded(right * 1920), 1080 - rounded(bottom * 1080)) == (x + width, y + height)


def test_whole_pixels() -> None:
    """The largest multiple, in the middle; turned with the screen; too large is only fitted."""
    assert LYING.whole_pixels(Rect(0, 0, 1920, 1080), 64, 32) == Rect(0, 60, 1920, 960)
    assert LYING.whole_pixels(Rect(100, 100, 200, 100), 64, 32) == Rect(104, 102, 192, 96)
    assert Screen(1920, 1080, 90).whole_pixels(Rect(0, 0, 1920, 1080), 64, 32) == Rect(704, 28, 512, 1024)
    assert LYING.whole_pixels(Rect(0, 0, 60, 30), 64, 32) == Rect(0, 0, 60, 30)


def test_canvas_scale() -> None:
    """The canvas is fitted to the upright screen; without one, or with a senseless one, a pixel is a pixel."""
    assert LYING.canvas_scale((1280, 720)) == 1.5
    assert LYING.canvas_scale((3840, 1080)) == 0.5
    assert Screen(1920, 1080, 90).canvas_scale((1080, 1920)) == 1
    assert LYING.canvas_scale(None) == LYING.canvas_scale((0, 5)) == 1


def test_beside_a_bar() -> None:
    """A bar is left free on whichever edge it is; one that covers everything leaves nothing."""
    whole = Rect(0, 0, 1280, 720)
    assert whole.beside(Rect(0, 0, 1280, 70)) == Rect(0, 70, 1280, 650)
    assert whole.beside(Rect(0, 650, 1280, 70)) == Rect(0, 0, 1280, 650)
    assert whole.beside(Rect(0, 0, 70, 720)) == Rect(70, 0, 1210, 720)
    assert whole.beside(Rect(1210, 0, 70, 720)) == Rect(0, 0, 1210, 720)
    assert Rect(70, 0, 1210, 720).beside(Rect(70, 600, 1210, 120)) == Rect(70, 0, 1210, 600)
    assert whole.beside(Rect(0, 0, 1280, 720)).height == 0


def test_around_and_within() -> None:
    """The smallest rectangle that holds two, and what two have in common."""
    one, other = Rect(10, 10, 20, 20), Rect(20, 0, 30, 15)
    assert one.around(other) == Rect(10, 0, 40, 30)
    assert one.within(other) == Rect(20, 10, 10, 5)
    apart = one.within(Rect(100, 100, 5, 5))
    assert (apart.width, apart.height) == (0, 0)


def test_what_a_place_holds() -> None:
    """A picture no larger than it, as a viewer sees it."""
    area = Rect(0, 0, 1280, 720)
    assert Screen(1280, 720).holds(area, 1280, 720)
    assert not Screen(1280, 720).holds(area, 720, 1280)
    assert Screen(1280, 720, 90).holds(area, 720, 1280)
