"""When boxes look for updates: moments in, moments out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from agent.update.schedule import SPREAD_S, QuietHours, Schedule, share

DAY_S = 86_400.0
NIGHT = datetime(2026, 11, 21, 0, 0, tzinfo=timezone(timedelta(hours=1)))
LONG_UP_S = 1e6


def after_quiet(schedule: Schedule, now: datetime, last: datetime | None, up_s: float = LONG_UP_S) -> datetime:
    """The moment of the next check."""
    return now + timedelta(seconds=schedule.due_in_s(now, last, up_s))


def test_once_in_each_period() -> None:
    """From one check to the next it is one period, at the box's own place, whenever the daemon is asked."""
    schedule = Schedule(6 * 3600.0, "BOX-1", QuietHours())
    moment = after_quiet(schedule, NIGHT, NIGHT)
    for _ in range(8):
        following = after_quiet(schedule, moment + timedelta(seconds=1), moment)
        assert (following - moment).total_seconds() == pytest.approx(6 * 3600.0, abs=10)
        assert after_quiet(schedule, moment + timedelta(hours=3), moment) == following
        moment = following


def test_a_fleet_is_spread_over_the_period() -> None:
    """No quarter of an hour of the day has more than 3 % of 2,000 boxes."""
    counts = [0] * 96
    for number in range(2000):
        due_s = Schedule(DAY_S, f"BOX-{number}", QuietHours()).due_in_s(NIGHT, NIGHT, LONG_UP_S)
        counts[int(due_s / 900) % 96] += 1
    assert max(counts) < 60


def test_a_missed_check_waits_for_its_place_after_the_start() -> None:
    """When the power comes back a fleet comes within the hour, not at once."""
    last = NIGHT - timedelta(days=3)
    dues = sorted(Schedule(DAY_S, f"BOX-{number}", QuietHours()).due_in_s(NIGHT, last, 0.0) for number in range(500))
    assert dues[0] < 60
    assert 3000 < dues[-1] <= SPREAD_S
    box = Schedule(DAY_S, "BOX-1", QuietHours())
    wait_s = box.due_in_s(NIGHT, last, 0.0)
    assert box.due_in_s(NIGHT + timedelta(seconds=wait_s), last, wait_s) == 0


def test_the_first_check_ever() -> None:
    """A box that never checked does so within a period."""
    for number in range(50):
        assert 0 <= Schedule(DAY_S, f"BOX-{number}", QuietHours()).due_in_s(NIGHT, None, 0.0) <= DAY_S


@pytest.mark.parametrize("text", ["08:00-22:00", "22:00-06:00", "00:00-23:59"])
def test_never_in_quiet_hours(text: str) -> None:
    """Whatever the place, the last check and the start were; and it comes within two days."""
    quiet = QuietHours.parse(text)
    for number in range(60):
        schedule = Schedule(6 * 3600.0, f"BOX-{number}", quiet)
        for hours in range(0, 24, 7):
            now = NIGHT + timedelta(hours=hours, minutes=number)
            for last in (None, now, now - timedelta(days=9)):
                for up_s in (0.0, LONG_UP_S):
                    moment = after_quiet(schedule, now, last, up_s)
                    assert quiet.left_s(moment) == 0.0
                    assert moment - now < timedelta(days=2)


def test_the_end_of_the_quiet_hours_is_no_rush_hour() -> None:
    """What became due during them is spread over an hour after them, and stays where it is when asked again."""
    quiet = QuietHours.parse("08:00-22:00")
    noon = NIGHT + timedelta(hours=12)
    last = NIGHT - timedelta(hours=6)
    tens = [0] * 6
    for number in range(400):
        schedule = Schedule(6 * 3600.0, f"BOX-{number}", quiet)
        moment, up_s = noon, 3600.0
        while wait_s := min(600, schedule.due_in_s(moment, last, up_s)):
            moment += timedelta(seconds=wait_s)
            up_s += wait_s
        assert quiet.left_s(moment) == 0.0
        tens[int((moment - (NIGHT + timedelta(hours=22))).total_seconds() // 600)] += 1
    assert min(tens) > 40
    assert max(tens) < 95


def test_a_clock_that_was_set_back() -> None:
    """A check in the future does not put the next one off for years."""
    schedule = Schedule(DAY_S, "BOX-1", QuietHours())
    assert schedule.due_in_s(NIGHT, NIGHT + timedelta(days=4000), LONG_UP_S) <= DAY_S


def test_quiet_hours() -> None:
    """Their end is how far away; none, and a span over midnight."""
    assert QuietHours.parse("").left_s(NIGHT) == 0.0
    night = QuietHours.parse("22:30-06:00")
    assert night.left_s(NIGHT) == 6 * 3600
    assert night.left_s(NIGHT + timedelta(hours=22, minutes=30)) == 7.5 * 3600
    assert night.left_s(NIGHT + timedelta(hours=6)) == 0.0
    assert night.left_s(NIGHT + timedelta(hours=12)) == 0.0


def test_the_place_of_a_box() -> None:
    """From its serial, the same at every start, whatever the serial is."""
    assert share("BOX-1") == share("BOX-1") != share("BOX-2")
    assert all(0 <= share(serial) < 1 for serial in ("", "\ud800", "ä" * 1000))
    assert Schedule(DAY_S, "BOX-1", QuietHours()).due_in_s(datetime.now(UTC), None, 0.0) >= 0
