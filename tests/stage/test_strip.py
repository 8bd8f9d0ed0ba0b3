"""What links have to say of progress, as one strip."""

from __future__ import annotations

import pytest

from agent.screen.messages import TO_WORKER, Scene, Strip, StripLine
from agent.stage.strip import LONGEST, merged, words
from agent.system.wire import decode, encode


def line(**fields: object) -> StripLine:
    """The only line of a strip made of one with these fields."""
    strip = merged({"link": [StripLine(**{"title": "t", **fields})]}, ())  # type: ignore[arg-type]
    assert strip is not None
    return strip.lines[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb\u2028c\vd\te\x00f\x1b[2J", "a b c d e f [2J"),
        ("photo\u202egnp.exe\u202c\u2066x\u2069\u200e\u061c", "photognp.exex"),
        ("broken \ud800 half", "broken half"),
        ("می\u200cخواهم 👨\u200d👩\u200d👧", "می\u200cخواهم 👨\u200d👩\u200d👧"),
        ("   ", ""),
        ("x" * 10_000, "x" * (LONGEST - 1) + "…"),
        (r"{\b1}a\N", r"{\b1}a\N"),
    ],
)
def test_texts_are_one_harmless_line(text: str, shown: str) -> None:
    """No control characters, nothing that turns the direction of others, no half characters, no end that never comes."""
    assert line(title=text, detail=text, note=text) == StripLine(shown, shown, None, shown)


@pytest.mark.parametrize(
    ("fraction", "shown"), [(0.4, 0.4), (-1.0, 0.0), (7.0, 1.0), (float("inf"), 1.0), (float("nan"), None), (None, None)]
)
def test_fractions_are_between_nothing_and_all(fraction: float | None, shown: float | None) -> None:
    """What is no number is not known."""
    assert line(fraction=fraction).fraction == shown


def test_a_strip_always_fits_into_a_message() -> None:
    """However long the texts are and however many lines there are."""
    lines = [StripLine("😀" * 1_000_000, "\ud800" * 1_000_000, 0.5)] * 1000
    strip = merged({"link": lines}, ())
    scene = Scene(strip=strip)
    decoded, _ = decode(encode(scene), TO_WORKER)
    assert decoded == scene
    assert strip is not None
    assert strip.more == 997


def test_words() -> None:
    """What a technician reads is what stands there."""
    strip = Strip((StripLine("Film", "Encoding · 3 %", 0.03, "Sound: kept"), StripLine("Other")), 2)
    assert words(strip) == ("Film · Encoding · 3 % · Sound: kept", "Other", "and 2 more")
    assert words(None) == ()
