"""Which of the server's jobs count (conversion contract, section 4). No I/O.

The list comes newest first. A job counts when it is not finished at the first sight of it, or when it is new: it came after what
had been seen before. What was finished before the agent ever looked is none of its business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from agent.links.conversion.messages import Job, Page

MOST_PAGES = 25
"""Of one look; what is further down is old."""
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


@dataclass(slots=True)
class Look:
    """One reading of the list.

    `mark` is None if there has never been a complete one; `known` are jobs of which it is settled what becomes of them; `newest`:
    the newest completed one is wanted, too.
    """

    mark: Mark | None
    known: Collection[str]
    newest: bool = False
    pages: int = 0
    complete: bool = False
    """Nothing further down the list could count."""
    _jobs: dict[str, Job] = field(default_factory=dict)
    _met_known: bool = False
    _older: set[str] = field(default_factory=set)
    """Jobs that stand in the list behind one that was seen before."""

    def take(self, page: Page) -> bool:
        """Takes a page in; True: the next one is needed."""
        self.pages += 1
        before = len(self._jobs)
        for job in page.jobs:
            assert job.job_id is not None
            if job.job_id in self._jobs:
                continue  # the list has grown between two pages
            self._jobs[job.job_id] = job
            if self._met_known:
                self._older.add(job.job_id)
            if self.mark is not None and job.job_id in self.mark.ids:
                self._met_known = True
        enough = self._met_known and not (self.newest and self._newest() is None)
        nothing_new = len(self._jobs) == before
        self.complete = not page.more or nothing_new or enough or self.pages >= MOST_PAGES
        return not self.complete

    def chosen(self) -> list[Job]:
        """The jobs to be followed from now on, the oldest first."""
        newest = self._newest() if self.newest else None
        chosen = [job for job in self._jobs.values() if self._counts(job) or job is newest]
        return [job for job in reversed(chosen) if job.job_id not in self.known]

    def unfinished(self) -> bool:
        """Something on the pages read is still to come."""
        return any(not job.finished for job in self._jobs.values())

    def next_mark(self) -> Mark:
        """What the next look is to begin with."""
        moments = [job.created_at for job in self._jobs.values() if job.created_at is not None]
        former = self.mark or Mark()
        if former.created_at is not None:
            moments.append(former.created_at)
        ids = dict.fromkeys([*self._jobs, *former.ids])
        return Mark(max(moments, default=None), tuple(ids)[:IDS_KEPT])

    def _counts(self, job: Job) -> bool:
        if not job.finished:
            return True
        return job.status != "cancelled" and self._is_new(job)

    def _is_new(self, job: Job) -> bool:
        if self.mark is None or job.job_id in self.mark.ids or job.job_id in self._older:
            return False
        if job.created_at is not None and self.mark.created_at is not None:
            return job.created_at > self.mark.created_at - OVERLAP_S
        return self._met_known or not self.mark.ids

    def _newest(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.status == "completed"), None)
