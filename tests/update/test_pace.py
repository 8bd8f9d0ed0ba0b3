"""Transfers that get on and such that do not, as a story in seconds."""

from __future__ import annotations

import pytest

from agent.update.pace import LIMITS, Limits, Pace

SMALL = Limits(idle_s=10.0, slow_s=30.0, slow_bytes=3000, total_s=3600.0)


def ends(pace: Pace, *, bytes_s: float, until_s: int, disk_s: float = 0.0) -> tuple[int, str]:
    """When it is given up with so many bytes in each second, and why; (0, "") if it is not."""
    for now in range(1, until_s + 1):
        if cause := pace.fault(now):
            return now, cause
        pace.received(int(bytes_s), now, disk_s)
    return 0, ""


def test_one_that_gets_on() -> None:
    """Is left alone."""
    assert ends(Pace(SMALL, 0.0), bytes_s=110, until_s=3599) == (0, "")


def test_nothing_comes() -> None:
    """It ends when the time without a byte is over, not before."""
    pace = Pace(SMALL, 100.0)
    assert pace.deadline == 110.0
    assert pace.fault(109.9) == ""
    assert pace.fault(110.0) == "nothing more of the update came for 10 s"
    pace.received(1, 109.0)
    assert pace.deadline == 119.0


def test_a_trickle() -> None:
    """Too little in one of the times ends it; a pause that is made good for does not."""
    assert ends(Pace(SMALL, 0.0), bytes_s=1, until_s=100) == (30, "the update came too slowly: 29 bytes in 30 s")
    pace = Pace(SMALL, 0.0)
    for now in (1.0, 10.0, 19.0, 28.0):
        pace.received(1, now)
    pace.received(3000, 29.0)
    assert pace.fault(38.0) == ""


def test_the_disk_is_not_the_sender() -> None:
    """Time that the disk took does not count."""
    assert ends(Pace(SMALL, 0.0), bytes_s=11, until_s=250, disk_s=0.9) == (0, "")
    assert 250 < ends(Pace(SMALL, 0.0), bytes_s=9, until_s=1000, disk_s=0.9)[0] < 310


def test_all_of_it_takes_too_long() -> None:
    """However fast it is."""
    assert ends(Pace(SMALL, 0.0), bytes_s=1e6, until_s=4000) == (3600, "the update did not come within 1 h")


@pytest.mark.parametrize("silence_s", [59, 120])
def test_what_servers_are_allowed(silence_s: int) -> None:
    """The contract ends a transfer after 60 s of silence: one shorter, with an ordinary line before and after, does no harm."""
    pace = Pace(LIMITS, 0.0)
    now = 0
    for _ in range(20):
        for _ in range(30):
            now += 1
            pace.received(20_000, now)
            assert pace.fault(now) == ""
        now += silence_s
        assert pace.fault(now) == ""
