"""What a brightness means (tronbyt contract, section 2)."""

from __future__ import annotations

import pytest

from agent.links.tronbyt.brightness import BrightnessScale, Scale


@pytest.mark.parametrize(
    ("scale", "value", "percent"),
    [
        ("percent", 0, 0),
        ("percent", 40, 40),
        ("percent", 100, 100),
        ("percent", 128, 100),
        ("byte", 0, 0),
        ("byte", 51, 20),
        ("byte", 255, 100),
        ("auto", 0, 0),
        ("auto", 100, 100),
        ("auto", 255, 100),
        ("auto", 102, 40),
    ],
)
def test_one_value(scale: Scale, value: float, percent: float) -> None:
    """Percent or byte as configured; `auto` takes percent until there is a value above 100."""
    assert BrightnessScale(scale).percent(value) == pytest.approx(percent)


def test_auto_does_not_go_back() -> None:
    """After a value above 100 the small ones are bytes, too, also in the next run."""
    scale = BrightnessScale("auto")
    found = [(scale.percent(value), scale.byte_seen) for value in (51, 204, 51)]
    assert found == [(51, False), (pytest.approx(80), True), (pytest.approx(20), True)]
    assert BrightnessScale("auto", byte_seen=True).percent(51) == pytest.approx(20)


def test_percent_stays_percent() -> None:
    """Also after a value that makes no sense there."""
    scale = BrightnessScale("percent", byte_seen=True)
    assert (scale.percent(200), scale.percent(51)) == (100, 51)
