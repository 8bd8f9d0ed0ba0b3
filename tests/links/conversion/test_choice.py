"""Which jobs count."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from agent.links.conversion import messages
from agent.links.conversion.choice import MOST_PAGES, Chances, Look, Mark

PAGE = 20


def job(number: int, status: str = "completed", **more: Any) -> dict[str, Any]:
    """One of a series; each was created a minute after the one before."""
    return {"id": f"job-{number}", "status": status, "created_at": 1_700_000_000 + number * 60, **more}


def read(look: Look, jobs: Sequence[dict[str, Any]]) -> list[str]:
    """Reads the list as far as the look wants it; the ids that were chosen."""
    for start in range(0, max(len(jobs), 1), PAGE):
        more = "http://server/api/jobs/?page=2" if start + PAGE < len(jobs) else None
        if not look.take(messages.page({"next": more, "results": jobs[start : start + PAGE]})):
            break
    return [str(chosen.job_id) for chosen in look.chosen()]


def listed(numbers: Sequence[int], **states: str) -> list[dict[str, Any]]:
    """Newest first; completed unless `states` says otherwise (`j5="queued"`)."""
    return [job(number, states.get(f"j{number}", "completed")) for number in sorted(numbers, reverse=True)]


def test_45_old_completed_jobs() -> None:
    """Nothing is downloaded; the whole list is read, once."""
    look = Look(None, ())
    assert read(look, listed(range(45))) == []
    assert look.pages == 3


def test_what_is_not_finished_at_the_first_look() -> None:
    """Wherever it stands in the list, the oldest first."""
    look = Look(None, ())
    states = {"j2": "queued", "j44": "processing", "j30": "failed", "j31": "cancelled", "j7": "pending", "j40": "analyzing"}
    assert read(look, listed(range(45), **states)) == ["job-2", "job-7", "job-40", "job-44"]


def test_new_jobs() -> None:
    """Also those that have come and gone between two looks, or while nobody looked; a cancelled one is nothing."""
    first = Look(None, ())
    read(first, listed(range(45)))
    second = Look(first.next_mark(), ())
    new = {"j46": "failed", "j47": "cancelled", "j48": "processing"}
    assert read(second, listed(range(49), **new)) == ["job-45", "job-46", "job-48"]
    assert second.pages == 1


def test_known_ones_are_not_chosen_again() -> None:
    """Whatever became of them."""
    first = Look(None, ())
    read(first, listed(range(3), j2="processing"))
    assert read(Look(first.next_mark(), {"job-2"}), listed(range(3), j2="processing")) == []


def test_more_new_jobs_than_a_page() -> None:
    """Pages are read until one meets what was seen before."""
    first = Look(None, ())
    read(first, listed(range(45)))
    look = Look(first.next_mark(), ())
    assert read(look, listed(range(100))) == [f"job-{number}" for number in range(45, 100)]
    assert look.pages == 3


def test_old_jobs_come_up_because_newer_ones_were_deleted() -> None:
    """They are as old as before."""
    first = Look(None, ())
    read(first, listed(range(1000, 1030)))
    assert read(Look(first.next_mark(), ()), listed(range(500))) == []


def test_an_unfinished_one_comes_up_late() -> None:
    """It counts, however old."""
    first = Look(None, ())
    read(first, listed(range(1000, 1030)))
    assert read(Look(first.next_mark(), ()), listed(range(10), j3="queued")) == ["job-3"]


def test_an_empty_list_at_first() -> None:
    """Then everything is new."""
    first = Look(None, ())
    assert read(first, []) == []
    assert read(Look(first.next_mark(), ()), listed(range(2))) == ["job-0", "job-1"]


def test_without_dates() -> None:
    """What stands before the first known one is new, what stands behind it is not."""
    first = Look(None, ())
    read(first, [{"id": "c", "status": "completed"}, {"id": "b", "status": "completed"}])
    mark = first.next_mark()
    again = [{"id": name, "status": "completed"} for name in ("e", "d", "b", "a")]
    assert read(Look(mark, ()), again) == ["d", "e"]
    assert read(Look(mark, ()), [{"id": "z", "status": "completed"}]) == []


@pytest.mark.parametrize("created_at", ["1970-01-01T00:05:00Z", "2099-01-01T00:00:00Z", None])
def test_the_clock_of_the_server_is_wrong(created_at: str | None) -> None:
    """What stands before a known one is new, whatever its date, also behind one from the future."""
    first = Look(None, ())
    future = job(90, created_at="2098-01-01T00:00:00Z")
    read(first, [future, *listed(range(2))])
    quick = {"id": "quick", "status": "completed", "created_at": created_at}
    assert read(Look(first.next_mark(), ()), [quick, future, *listed(range(2))]) == ["quick"]
    assert read(Look(first.next_mark(), ()), [future, quick, *listed(range(2))]) == ["quick"]
    assert read(Look(first.next_mark(), ()), [future, *listed(range(2)), quick]) == []


def test_a_job_that_ended_badly_is_done_again() -> None:
    """It counts once more when there is more to it than that it ended, wherever it stands."""
    states = {"j1": "failed", "j30": "cancelled"}
    first = Look(None, ())
    read(first, listed(range(45), **states))
    mark, known = first.next_mark(), {"job-1", "job-30"}
    assert read(Look(mark, known, ended=known), listed(range(45), **states)) == []
    again = {"j1": "processing", "j30": "completed"}
    assert read(Look(mark, known), listed(range(45), **again)) == []
    near = Look(mark, known, ended=known)
    assert read(near, listed(range(45), **again)) == ["job-30"]
    assert near.pages == 1
    far = Look(mark, known, ended=known, sought=known)
    assert read(far, listed(range(45), **again)) == ["job-1", "job-30"]
    assert far.pages == 3


def test_it_is_not_taken_up_at_each_look() -> None:
    """At once, then after a minute, doubling up to an hour; a thousand jobs are not remembered."""
    chances, moments, now = Chances(), list[float](), 0.0
    while len(moments) < 9:
        if chances.open("j1", now):
            chances.take("j1", now)
            moments.append(now)
        now += 1.0
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    for number in range(2000):
        chances.take(str(number), now)
    assert len(chances._taken) == 500


def test_the_newest_completed_one_as_well() -> None:
    """If that is configured; the list is read until there is one."""
    states = {f"j{number}": "failed" for number in range(20, 45)}
    first = Look(None, (), newest=True)
    assert read(first, listed(range(45), **states)) == ["job-19"]
    other = Look(None, ())
    read(other, listed(range(45), **states))
    assert read(Look(other.next_mark(), (), newest=True), listed(range(45), **states)) == ["job-19"]
    assert read(Look(other.next_mark(), {"job-19"}, newest=True), listed(range(45), **states)) == []


def test_the_newest_completed_one_is_deleted() -> None:
    """Then the one before it is as old as before."""
    first = Look(None, (), newest=True)
    assert read(first, listed(range(3))) == ["job-2"]
    again = Look(first.next_mark(), {"job-2"}, newest=True)
    assert read(again, listed(range(2))) == []
    assert read(Look(again.next_mark(), {"job-2"}, newest=True), listed([0, 1, 7])) == ["job-7"]


def test_pages_without_end() -> None:
    """A server that always has another page is not read for ever."""
    look = Look(None, ())
    number = 0
    while look.take(messages.page({"next": "more", "results": [job(number)]})):
        number += 1
    assert look.pages == MOST_PAGES


def test_the_same_page_again_and_again() -> None:
    """A server that does not know what a page is."""
    look = Look(None, ())
    same = messages.page({"next": "more", "results": [job(2), job(1)]})
    assert look.take(same)
    assert not look.take(same)


def test_the_list_grows_between_two_pages() -> None:
    """The same job on two pages is one job."""
    look = Look(None, ())
    assert look.take(messages.page({"next": "more", "results": [job(2, "queued"), job(1)]}))
    assert not look.take(messages.page({"next": None, "results": [job(1), job(0)]}))
    assert [chosen.job_id for chosen in look.chosen()] == ["job-2"]


def test_the_mark_is_bounded() -> None:
    """And keeps the newest."""
    look = Look(Mark(5.0, tuple(f"old-{number}" for number in range(500))), ())
    look.take(messages.page([job(1)]))
    mark = look.next_mark()
    assert (len(mark.ids), mark.ids[:2], mark.created_at) == (500, ("job-1", "old-0"), 1_700_000_060)
