"""Which of the server's jobs count (conversion contract, section 4). No I/O.

The list comes newest first. A job counts when it is not finished at the first sight of it, or when it is new: it came after what
had been seen before. What was finished before the agent ever looked is none of its business. The server's clock may be
wrong: it decides only where the order of the list does not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from agent.links.conversion.messages import Job, Page

MOST_PAGES = 25
"""Of one look: 500 jobs on real servers. What is further down is old, also if it is not finished; it can be had by its id."""
IDS_KEPT = 500
OVERLAP_S = 3600.0
"""A job may turn up later than another one that was created after it, but not by more."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the list had been seen at the last look."""

    created_at: float | None = None
    """Of the newest job, by the server's clock."""
    ids: tuple[str, ...] = ()
    """Of the newest jobs, newest first."""
    newest: bool = False
    """The newest completed one has been asked for as well; from then on only new ones count."""


@dataclass(slots=True)
class Look:
    """One reading of the list.

    `mark` is None if there has never been a complete one; `known` are jobs of which it is settled what becomes of them; `newest`:
    the newest completed one is wanted, too; `ended`: jobs that came to no good end, and count again if there is more to them now;
    `sought`: the list is read on until these are met.
    """

    mark: Mark | None
    known: Collection[str]
    newest: bool = False
    ended: Collection[str] = ()
    sought: Collection[str] = ()
    pages: int = 0
    complete: bool = False
    """Nothing further down the list could count."""
    _jobs: dict[str, Job] = field(default_factory=dict)
    """In the order of the list."""
    _before_known: frozenset[str] = frozenset()
    """Jobs that stand in the list before one that was seen before."""
    _met_known: bool = False

    def take(self, page: Page) -> bool:
        """Takes a page in; True: the next one is needed."""
        self.pages += 1
        before = len(self._jobs)
        for job in page.jobs:
            assert job.job_id is not None
            if job.job_id in self._jobs:
                continue  # the list has grown between two pages
            self._jobs[job.job_id] = job
            if self.mark is not None and job.job_id in self.mark.ids:
                self._met_known = True
                self._before_known = frozenset(self._jobs)
        looks_on = (self._newest_counts and self._newest() is None) or any(job_id not in self._jobs for job_id in self.sought)
        enough = self._met_known and not looks_on
        nothing_new = len(self._jobs) == before
        self.complete = not page.more or nothing_new or enough or self.pages >= MOST_PAGES
        return not self.complete

    def chosen(self) -> list[Job]:
        """The jobs to be followed from now on, the oldest first."""
        newest = self._newest() if self._newest_counts else None
        return [
            job
            for job_id, job in reversed(self._jobs.items())
            if (job_id not in self.known and (self._counts(job) or job is newest)) or (job_id in self.ended and is_more(job))
        ]

    def next_mark(self) -> Mark:
        """What the next look is to begin with."""
        moments = [job.created_at for job in self._jobs.values() if job.created_at is not None]
        former = self.mark or Mark()
        if former.created_at is not None:
            moments.append(former.created_at)
        ids = dict.fromkeys([*self._jobs, *former.ids])
        return Mark(max(moments, default=None), tuple(ids)[:IDS_KEPT], self.newest)

    def _counts(self, job: Job) -> bool:
        if not job.finished:
            return True
        return job.status != "cancelled" and self._is_new(job)

    def _is_new(self, job: Job) -> bool:
        if self.mark is None or job.job_id in self.mark.ids:
            return False
        if self._met_known:
            return job.job_id in self._before_known
        if job.created_at is not None and self.mark.created_at is not None:
            return job.created_at > self.mark.created_at - OVERLAP_S
        return not self.mark.ids

    @property
    def _newest_counts(self) -> bool:
        return self.newest and not (self.mark is not None and self.mark.newest)

    def _newest(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.status == "completed"), None)


def is_more(job: Job) -> bool:
    """Whether there is more to a job than that it came to no good end."""
    return job.status == "completed" or not job.finished


@dataclass(slots=True)
class Chances:
    """How often a job that came to no good end is taken up again: a server whose list says other than its jobs is not believed
    at each look."""

    first_s: float = 60.0
    most_s: float = 3600.0
    _taken: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How often, and until when not again, by the job's id."""

    def open(self, job_id: str, now: float) -> bool:
        """Whether it may be taken up again now."""
        return self._taken.get(job_id, (0, now))[1] <= now

    def take(self, job_id: str, now: float) -> None:
        """It is taken up again."""
        times = self._taken.pop(job_id, (0, 0.0))[0]
        self._taken[job_id] = (times + 1, now + min(self.most_s, self.first_s * 2.0 ** min(times, 10)))
        while len(self._taken) > IDS_KEPT:
            del self._taken[next(iter(self._taken))]
