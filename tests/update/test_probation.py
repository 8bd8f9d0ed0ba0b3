"""What a new version must show, as a story in seconds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.update.probation import LIVES_S, STALL_S, Before, Probation, ScreenNow

PLAYS = ScreenNow(usable=True, up=True, shows=True, plays_list=True)
BLACK = ScreenNow(usable=True, up=True)
DOWN = ScreenNow(usable=True, up=False, cause="the player died")
OFF = ScreenNow(usable=False, up=False, cause="no display is connected")
BEFORE = Before({"front": True}, ("main",))


def lived(probation: Probation, until_s: float, screens: dict[str, ScreenNow], *, connected: bool = True) -> list[str]:
    """Looks every second until then; what is missing at the end."""
    unmet: list[str] = []
    for now in range(int(until_s) + 1):
        unmet = probation.look(float(now), screens, connected)
    return unmet


@pytest.mark.parametrize(("probation_s", "needs_s"), [(120.0, LIVES_S), (300.0, LIVES_S), (40.0, 20.0)])
def test_it_has_to_live_for_a_while(probation_s: float, needs_s: float) -> None:
    """A minute, or half of a shorter probation."""
    probation = Probation(BEFORE, probation_s, 0.0)
    assert lived(probation, needs_s - 1, {"front": PLAYS}) == [f"it did not run for {needs_s:g} s without a stall"]
    assert probation.look(needs_s, {"front": PLAYS}, connected=True) == []


def test_a_stall_begins_anew() -> None:
    """A loop that was held up would have starved the watchdog."""
    probation = Probation(BEFORE, 120.0, 0.0)
    lived(probation, 50, {"front": PLAYS})
    at = 50 + STALL_S + 1
    assert probation.look(at, {"front": PLAYS}, connected=True) != []
    for second in range(1, 60):
        assert probation.look(at + second, {"front": PLAYS}, connected=True) != []
    assert probation.look(at + 60, {"front": PLAYS}, connected=True) == []


def test_a_picture_if_there_was_one() -> None:
    """A screen that is down, and one that is black where an item of a playlist was, are named."""
    before = Before({"front": True, "rear": False})
    unmet = lived(Probation(before, 10.0, 0.0), 20, {"front": BLACK, "rear": DOWN})
    assert unmet == ["screen front showed nothing of its playlist", "screen rear presented no picture (the player died)"]


def test_no_picture_is_asked_for_where_there_was_none() -> None:
    """A box that was dark before may stay dark, and a screen that showed no playlist may be black."""
    assert lived(Probation(Before(), 10.0, 0.0), 20, {"front": DOWN}) == []
    assert lived(Probation(Before({"front": False}), 10.0, 0.0), 20, {"front": BLACK}) == []


def test_a_picture_counts_once_it_was_there() -> None:
    """A playlist that a server empties meanwhile is no fault of the version."""
    probation = Probation(BEFORE, 120.0, 0.0)
    lived(probation, 30, {"front": PLAYS})
    for now in range(31, 61):
        unmet = probation.look(float(now), {"front": BLACK}, connected=True)
    assert unmet == []


def test_a_display_that_is_off_counts_neither_for_nor_against() -> None:
    """Nobody can tell; but another screen still has to do its part, and so has this one when it is switched on."""
    before = Before({"front": True, "rear": True})
    probation = Probation(before, 10.0, 0.0)
    assert lived(probation, 20, {"front": OFF, "rear": PLAYS}) == []
    assert probation.look(21.0, {"front": DOWN, "rear": PLAYS}, connected=True) != []
    assert lived(Probation(before, 10.0, 0.0), 20, {"front": OFF, "rear": DOWN}) != []


def test_a_screen_that_the_configuration_has_lost() -> None:
    """It is not waited for."""
    assert lived(Probation(BEFORE, 10.0, 0.0), 20, {"other": BLACK}) == []


def test_a_server_if_one_was_reached() -> None:
    """Any one will do; the sentence names those from before."""
    before = Before(links=("main", "voice"))
    assert lived(Probation(before, 10.0, 0.0), 20, {}, connected=False) == [
        "no server was reached; before the update one of main, voice was"
    ]
    assert lived(Probation(before, 10.0, 0.0), 20, {}, connected=True) == []
    assert lived(Probation(Before(), 10.0, 0.0), 20, {}, connected=False) == []


def test_a_server_counts_once_it_was_reached() -> None:
    """One that restarts at the end of the probation is no fault of the version."""
    probation = Probation(BEFORE, 120.0, 0.0)
    for now in range(121):
        unmet = probation.look(float(now), {"front": PLAYS}, connected=5 <= now < 58)
    assert unmet == []


def test_what_worked_at_one_of_two_moments() -> None:
    """Counts, in the order in which it is known; what showed a playlist at one of them shows one."""
    earlier = Before({"front": True, "rear": False}, ("main", "voice"))
    later = Before({"rear": True, "side": False, "front": False}, ("other", "voice"))
    assert earlier.united(later) == Before({"front": True, "rear": True, "side": False}, ("main", "voice", "other"))
    assert earlier.united(Before()) == Before().united(earlier) == earlier
    many = Before({f"screen {number}": True for number in range(60)}, tuple(map(str, range(60))))
    both = many.united(Before({f"other {number}": True for number in range(60)}, tuple("x" * number for number in range(60))))
    assert len(both.screens) == len(both.links) == 64


def test_before_survives_json() -> None:
    """What one version writes the next reads."""
    assert Before.from_json(json.loads(json.dumps(BEFORE.as_json()))) == BEFORE


@pytest.mark.parametrize("value", [None, [], "x", {"screens": [1], "links": {"a": 1}}, {"screens": {"a": 3}, "links": [None, 4]}])
def test_what_another_version_may_have_written(value: Any) -> None:
    """Nonsense asks for nothing that cannot be had."""
    before = Before.from_json(value)
    assert before.links == ()
    assert True not in before.screens.values()
