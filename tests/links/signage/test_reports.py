"""Which reports are due when; no I/O, the clock is passed in (signage contract, section 4)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.links.signage.messages import PlaylistStatus
from agent.links.signage.reports import INTERVAL_S, REPEAT_S, Reports


def status(word: Any = "downloading", count: int = 0, playlist_id: int = 1) -> PlaylistStatus:
    return PlaylistStatus(playlist_id=playlist_id, status=word, total_items=9, downloaded_items=count)


class Sent:
    """A sender that sends whatever is due when it looks."""

    def __init__(self, reports: Reports) -> None:
        self.reports = reports
        self.sent: list[tuple[float, str, int]] = []

    def at(self, now: float) -> int:
        due = self.reports.due(now)
        for one in due:
            self.sent.append((now, one.status, one.downloaded_items))
            self.reports.sent(one, now)
        return len(due)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def sender(reports: Reports) -> Sent:
    return Sent(reports)


def test_the_defaults() -> None:
    """One a second, repeated every 30 s."""
    assert (INTERVAL_S, REPEAT_S) == (1.0, 30.0)


def test_the_first_is_due_at_once(reports: Reports, sender: Sent) -> None:
    """Whatever it says, and once."""
    reports.update(status())
    assert reports.deadline() == 0.0
    assert sender.at(100.0) == 1
    assert (sender.at(100.0), reports.deadline()) == (0, None)


def test_counts_wait_for_the_interval(reports: Reports, sender: Sent) -> None:
    """At most one a second; the newest is sent, those between are not."""
    reports.update(status())
    sender.at(100.0)
    for count in (1, 2, 3):
        reports.update(status(count=count))
    assert reports.deadline() == 101.0
    assert sender.at(100.9) == 0
    sender.at(101.0)
    assert sender.sent == [(100.0, "downloading", 0), (101.0, "downloading", 3)]


@pytest.mark.parametrize("final", ["ready", "partial", "failed"])
def test_a_final_status_is_not_held_up(reports: Reports, sender: Sent, final: str) -> None:
    """It comes at once, takes the place of what waited, and is said once."""
    reports.update(status())
    sender.at(100.0)
    reports.update(status(count=8))
    reports.update(status(final, 9))
    assert reports.deadline() == 0.0
    sender.at(100.1)
    reports.update(status(final, 9))
    assert (sender.at(500.0), reports.deadline()) == (0, None)
    assert sender.sent[1:] == [(100.1, final, 9)]


def test_downloading_again_after_a_final_status_is_due_at_once(reports: Reports, sender: Sent) -> None:
    """A file was lost."""
    reports.update(status("ready", 9))
    sender.at(100.0)
    reports.update(status(count=8))
    assert sender.at(100.0) == 1


def test_again_repeats_what_was_said(reports: Reports, sender: Sent) -> None:
    """After a reload, at once for a final status, after the interval for a count."""
    reports.update(status("ready", 9))
    sender.at(100.0)
    reports.update(status("ready", 9), again=True)
    assert (sender.at(100.1), sender.at(100.2)) == (1, 0)
    reports.update(status(playlist_id=2))
    sender.at(100.3)
    reports.update(status(playlist_id=2), again=True)
    assert (sender.at(101.2), sender.at(101.3), sender.at(110.0)) == (0, 1, 0)


def test_repeated_only_while_bytes_flow(reports: Reports, sender: Sent) -> None:
    """Every 30 s if something came since."""
    reports.update(status())
    sender.at(100.0)
    assert reports.deadline() is None
    reports.bytes_flow(1, 105.0)
    assert reports.deadline() == 130.0
    assert (sender.at(129.9), sender.at(130.0)) == (0, 1)
    assert reports.deadline() is None
    reports.bytes_flow(1, 200.0)
    assert sender.at(200.0) == 1


def test_bytes_do_not_repeat_a_final_status(reports: Reports, sender: Sent) -> None:
    """Nor does a playlist nobody knows make anything due."""
    reports.update(status("ready", 9))
    sender.at(100.0)
    reports.bytes_flow(1, 200.0)
    reports.bytes_flow(7, 200.0)
    assert (sender.at(300.0), reports.deadline()) == (0, None)


def test_an_update_while_one_is_on_its_way(reports: Reports) -> None:
    """What changed while the older one was being sent stays due."""
    reports.update(status())
    [going] = reports.due(100.0)
    reports.update(status("ready", 9), again=True)
    reports.sent(going, 100.1)
    assert [one.status for one in reports.due(100.1)] == ["ready"]


def test_playlists_do_not_wait_for_each_other(reports: Reports, sender: Sent) -> None:
    """The limit counts per playlist."""
    reports.update(status())
    sender.at(100.0)
    reports.update(status(playlist_id=2))
    reports.update(status(count=1))
    assert (sender.at(100.1), reports.deadline()) == (1, 101.0)


def test_forgotten_playlists_are_not_spoken_of(reports: Reports, sender: Sent) -> None:
    """Until they are there again."""
    reports.update(status())
    reports.update(status(playlist_id=2))
    reports.forget({2})
    assert (reports.status(1), reports.status(2)) == (None, status(playlist_id=2))
    assert sender.at(100.0) == 1
    reports.sent(status(), 100.0)
    reports.update(status())
    assert sender.at(100.0) == 1
