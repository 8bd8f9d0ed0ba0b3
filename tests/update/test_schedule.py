"""When boxes look for updates: moments in, moments out."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from agent.update.schedule import INSTALL_S, MARGIN_S, SPREAD_S, QuietHours, Schedule, share

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


def updated_after(schedule: Schedule, published: datetime, last: datetime, download_s: float) -> tuple[datetime, int]:
    """When a box that runs all the time has the version that was published then, and how often it has fetched it for that."""
    now, fetched = last, 0
    while True:
        now += timedelta(seconds=schedule.due_in_s(now, last, LONG_UP_S))
        if now < published:
            last = now
            continue
        fetched += 1
        if download_s <= schedule.install_in_s(now):
            return now + timedelta(seconds=download_s), fetched
        now += timedelta(seconds=schedule.install_in_s(now) + 600)  # left for later, which is no check


@pytest.mark.parametrize(
    ("text", "download_s", "period_s"),
    [
        ("", 60.0, DAY_S),
        ("08:00-22:00", 60.0, DAY_S),
        ("08:00-22:00", 2400.0, DAY_S),
        ("08:00-22:00", 7200.0, DAY_S),
        ("08:00-22:00", 2400.0, DAY_S / 4),
        ("22:00-06:00", 2400.0, DAY_S),
        ("03:00-01:00", 1200.0, DAY_S),
    ],
)
def test_ten_thousand_boxes(text: str, download_s: float, period_s: float) -> None:
    """Each has a new version within two days and nothing of it happens in the quiet hours, wherever its place would be; at no
    hour do too many come, and next to none fetches a bundle twice."""
    quiet = QuietHours.parse(text)
    chance = random.Random(1)
    days, twice = Counter[int](), 0
    boxes = 10_000
    for number in range(boxes):
        schedule = Schedule(period_s, f"BOX-{number}", quiet)
        published = NIGHT + timedelta(days=2, seconds=chance.uniform(0, DAY_S))
        last = after_quiet(schedule, published - timedelta(days=1), published - timedelta(days=1, seconds=period_s))
        done, fetched = updated_after(schedule, published, last, download_s)
        assert done - published < timedelta(days=2)
        assert quiet.left_s(done) == 0.0
        assert quiet.begin_in_s(done) >= INSTALL_S
        days[(done - timedelta(seconds=download_s)).hour] += 1
        twice += fetched > 1
    hours = (DAY_S - quiet.early(MARGIN_S).length_s) / 3600
    most = 1.2 * boxes / hours + twice if period_s == DAY_S else boxes / 3  # four in a night: the first one brings it
    assert max(days.values()) < most
    assert twice < boxes * (0.25 if download_s > MARGIN_S else 0.001)


def test_a_place_within_the_quiet_hours_is_moved_in_proportion() -> None:
    """What is spread over the quiet hours is spread over the others: no hour has more than 15 % above the mean."""
    quiet = QuietHours.parse("08:00-22:00")
    hours = Counter[int]()
    for number in range(9000):
        moment = after_quiet(Schedule(DAY_S, f"BOX-{number}", quiet), NIGHT, NIGHT - timedelta(hours=1))
        hours[moment.hour] += 1
    assert set(hours) == {22, 23, 0, 1, 2, 3, 4, 5, 6}
    assert max(hours[hour] for hour in (23, 0, 1, 2, 3, 4, 5, 6)) < 1150


def test_last_orders() -> None:
    """So long before the quiet hours no installation begins; where next to nothing is left of the day it is half of that."""
    schedule = Schedule(DAY_S, "BOX-1", QuietHours.parse("08:00-22:00"))
    assert schedule.install_in_s(NIGHT + timedelta(hours=7, minutes=44)) == 60.0
    for minutes in (0, 14, 15, 600, 854):
        assert schedule.install_in_s(NIGHT + timedelta(hours=7, minutes=45 + minutes)) == 0.0
    assert schedule.install_in_s(NIGHT + timedelta(hours=22)) == 9.75 * 3600
    assert Schedule(DAY_S, "BOX-1", QuietHours()).install_in_s(NIGHT) == float("inf")
    assert Schedule(DAY_S, "BOX-1", QuietHours.parse("00:00-23:58")).install_in_s(NIGHT + timedelta(minutes=1438)) == 60.0


def test_the_night_on_which_the_clocks_change() -> None:
    """An hour more or less is never an hour of the quiet ones."""
    zone = ZoneInfo("Europe/Berlin")
    quiet = QuietHours.parse("08:00-22:00")
    for change in (datetime(2027, 3, 28, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)):
        for number in range(60):
            schedule = Schedule(DAY_S, f"BOX-{number}", quiet)
            now = last = change - timedelta(days=1)
            while now < change + timedelta(days=2):
                # The daemon has the offset of the moment, not the zone.
                local = now.astimezone(zone).replace(tzinfo=timezone(now.astimezone(zone).utcoffset() or timedelta()))
                wait_s = min(600, schedule.due_in_s(local, last, LONG_UP_S))
                if wait_s == 0:
                    assert quiet.left_s(local) == 0.0
                    assert now == last or now - last < timedelta(days=2)
                    last, wait_s = now, 1
                now += timedelta(seconds=wait_s)
            assert now - last < timedelta(days=2)


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
