"""The mapping between percent and mixer values."""

from __future__ import annotations

import pytest

from agent.hardware.loudness import DB_MUTE, Scale

HEADPHONE_JACK = Scale.of((-10239, 400), (-10239, 400))
"""The Raspberry Pi's: one raw unit is a hundredth of a dB."""


def test_half_of_a_long_range_is_not_silence() -> None:
    """50 % on a Pi's headphone jack is -13.6 dB, where half of the raw range would be -49.2 dB."""
    assert HEADPHONE_JACK.level(50) == pytest.approx(-1360, abs=10)


@pytest.mark.parametrize(("percent", "level"), [(0, -10239), (100, 400)])
def test_ends_of_a_long_range(percent: int, level: int) -> None:
    """0 and 100 % are the ends of the range."""
    assert HEADPHONE_JACK.level(percent) == level
    assert HEADPHONE_JACK.raw(percent) == level


@pytest.mark.parametrize(
    "scale",
    [
        HEADPHONE_JACK,
        Scale(0, 65536),
        Scale(0, 255, (-12750, 0)),
        Scale(0, 2400, (-2400, 0)),
        Scale(0, 10000, (DB_MUTE, 0)),
        Scale(-100, 0),
    ],
)
def test_every_percent_comes_back(scale: Scale) -> None:
    """All 101 values survive the way to the hardware and back where it is fine enough."""
    for percent in range(101):
        level = scale.level(percent) if scale.cdb else None
        assert scale.percent(scale.raw(percent), level) == percent


def test_short_range_is_linear_in_db() -> None:
    """A range of at most 24 dB is divided evenly."""
    scale = Scale.of((0, 24), (-2400, 0))
    assert [scale.level(percent) for percent in (0, 25, 50, 100)] == [-2400, -1800, -1200, 0]
    assert Scale.of((0, 25), (-2500, 0)).level(50) > -1250


def test_silence_at_the_lowest_step() -> None:
    """Where the lowest step is mute, the curve starts from nothing: 50 % is 18 dB below the top."""
    scale = Scale.of((0, 100), (DB_MUTE, 0))
    assert scale.cdb == (DB_MUTE, 0)
    assert scale.level(50) == -1806
    assert scale.level(10) == -6000
    assert scale.level(0) == DB_MUTE
    assert scale.percent(0, DB_MUTE) == 0


@pytest.mark.parametrize("garbage", [(140649946618624, 140649946618624), (0, 2000758208), (5, 5), (68, 1), (-30000, 0)])
def test_garbage_is_no_db_range(garbage: tuple[int, int]) -> None:
    """What cannot be a range in dB is ignored: the control is then linear in raw units."""
    assert Scale.of((0, 65536), garbage) == Scale(0, 65536)


@pytest.mark.parametrize(("raw", "control"), [((0, 255), "PCM"), ((0, 99), "SoftMaster")])
def test_softvol_is_not_curved_twice(raw: tuple[int, int], control: str) -> None:
    """A softvol's control is taken as it is."""
    assert Scale.of(raw, (-5100, 0), control).cdb is None


def test_a_two_step_volume_is_a_switch() -> None:
    """Some DACs' volume only mutes."""
    assert Scale(0, 1).is_switch
    assert not Scale(0, 31).is_switch


def test_nothing_leaves_the_scale() -> None:
    """What the hardware says beyond its own range is still a percentage."""
    assert HEADPHONE_JACK.percent(9999, 9999) == 100
    assert HEADPHONE_JACK.percent(-99999, -99999) == 0
    assert Scale(0, 0).percent(0) == 100
