"""Following one job: what is known of it, when to ask REST, when it is over (conversion contract, section 2). No I/O, no clock.

The socket gives hints, REST the truth: a job is completed, failed or cancelled when REST says so. All times are monotonic,
in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agent.links.conversion.messages import Analysis, Job, JobStatus, Progress


class Phase(StrEnum):
    """Where the following of a job stands."""

    WATCHING = "watching"
    CONFIRMING = "confirming"
    """The socket says that the job is over; REST is asked until it says so, too."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"
    """The server knows no such job (any more)."""


@dataclass(frozen=True, slots=True)
class FollowTimers:
    """Seconds; conversion contract, section 2."""

    poll_least_s: float = 10.0
    poll_most_s: float = 15.0
    """Between two questions to REST while nothing asks for one."""
    confirm_first_s: float = 0.5
    confirm_most_s: float = 5.0
    """Between two questions after the socket has said that the job is over."""
    confirm_s: float = 600.0
    """For so long; then it was said too early, and the job is watched as before."""
    refused_least_s: float = 30.0
    refused_most_s: float = 60.0
    silence_s: float = 30.0
    """Without news the percentage is no longer believed: elapsed time is shown instead."""
    lost_s: float = 120.0
    """Without a word from the server, news or not, nothing is shown any more."""
    still_s: float = 1800.0
    """Without a sign that the job moves, whatever is repeated of it, nothing is shown either: nobody works on it any more."""
    give_way_s: float = 300.0
    """Without such a sign for so long, a job gives up its place to one that waits."""


class Follow:
    """One job, from the first sight of it to its end."""

    def __init__(
        self,
        job_id: str,
        title: str,
        now: float,
        *,
        timers: FollowTimers = FollowTimers(),
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.job_id = job_id
        self.title = title
        self.phase = Phase.WATCHING
        self.status: JobStatus = "pending"
        """As last said, without the ends: those are phases."""
        self.percent: float | None = None
        """0-100; never falls."""
        self.stage = ""
        self.streams = ""
        """What will be done to which stream, in words."""
        self.reason = ""
        """Why it failed."""
        self.details = ""
        self.output_bytes: int | None = None
        self.known = False
        """The server has said something of it since we follow it."""
        self.ask_at: float | None = now
        """When REST is to be asked; None: a question is under way, or none is needed any more."""
        self._timers = timers
        self._uniform = uniform
        self._began_at: float | None = None
        self._news_at = now
        self._ready_at: float | None = None
        self._confirming_since = 0.0
        self._confirmations = 0
        self._word_at = now
        self._moved_at = now
        self._last_said: dict[str, object] = {}

    @property
    def over(self) -> bool:
        """Nothing more is to be followed."""
        return self.phase not in (Phase.WATCHING, Phase.CONFIRMING)

    @property
    def running(self) -> bool:
        """The server works on it, as far as is known."""
        return not self.over and self.status in ("analyzing", "processing")

    # What is heard

    def heard(self, job: Job, now: float, *, listed: bool = False) -> None:
        """A socket has said this; `listed`: among other jobs, so that it may be nothing new. Another job's is not for us."""
        if self.over or job.job_id not in (None, self.job_id):
            return
        self.known = True
        self._word_at = now
        if not listed and job.percent is not None:
            self._ready_at = None  # the job's own socket says with each percentage what is left, if it knows
        if isinstance(job, Progress):  # which is said while somebody works on it; a snapshot comes with each connection
            self._moved_at = now
        if self._take(job, now) or not listed:
            self._news_at = now
        if job.finished:
            self.reason = job.reason or self.reason
            self.details = job.details or self.details
            self._confirm(now)

    def analysed(self, analysis: Analysis) -> bool:
        """What will be done to which stream; True: that is news, and of this job."""
        words = analysis.words if analysis.job_id in (None, self.job_id) else ""
        if not words or words == self.streams:
            return False
        self.streams = words
        return True

    def asking(self) -> None:
        """A question to REST goes out."""
        self.ask_at = None

    def looked(self, job: Job, now: float) -> None:
        """REST has answered."""
        if self.over:
            return
        self.known = True
        self._word_at = now
        self.output_bytes = job.output_bytes or self.output_bytes
        match job.status:
            case "completed":
                self.percent = 100.0
                self._end(Phase.COMPLETED, job)
            case "failed":
                self._end(Phase.FAILED, job)
            case "cancelled":
                self._end(Phase.CANCELLED, job)
            case _:
                if self._take(job, now):
                    self._news_at = now
                self._again(now)

    def missing(self) -> None:
        """REST has answered that there is no such job."""
        if not self.over:
            self._end(Phase.GONE, Job())

    def unanswered(self, now: float, *, refused: bool = False) -> None:
        """REST has not answered; `refused`: it does not want to."""
        if self.over:
            return
        if refused:
            self._ask_at(now + self._uniform(self._timers.refused_least_s, self._timers.refused_most_s))
        else:
            self._again(now)

    # What people are told

    def silent(self, now: float) -> bool:
        """It is at work, and nothing has been heard of it for so long that its percentage means nothing."""
        return self.percent is None or now - self._news_at >= self._timers.silence_s

    def shown(self, now: float) -> bool:
        """Whether what is known is fresh enough for the screen."""
        fresh = now - self._word_at < self._timers.lost_s and self.still_s(now) < self._timers.still_s
        return self.known and not self.over and fresh

    def still_s(self, now: float) -> float:
        """Since the last sign that somebody works on it; 0 when it is over."""
        return 0.0 if self.over else now - self._moved_at

    def elapsed_s(self, now: float) -> float:
        """Since it was first seen at work; 0 before."""
        return 0.0 if self._began_at is None else max(0.0, now - self._began_at)

    def eta_s(self, now: float) -> float | None:
        """Seconds until it is done, as the server last said; None: nobody knows."""
        return None if self._ready_at is None or self.silent(now) else max(0.0, self._ready_at - now)

    # Inside

    def _take(self, job: Job, now: float) -> bool:
        """Whether the job has come further."""
        before = (self.percent, self.stage, self.status)
        if self._has_moved(job):
            self._moved_at = now
        self.title = job.title or self.title
        self.stage = job.stage if job.stage and not job.finished else self.stage
        if job.status is not None and not job.finished:
            self.status = job.status
            if self.running and self._began_at is None:
                self._began_at = now
        if job.percent is not None and not job.finished:
            self.percent = max(job.percent, self.percent or 0.0)
        if job.eta_s is not None:
            self._ready_at = now + job.eta_s
        return before != (self.percent, self.stage, self.status)

    def _has_moved(self, job: Job) -> bool:
        """Whether anything said of it is other than when that was last said, by whomever: not all say everything."""
        percent = None if job.percent is None or job.finished else round(job.percent)
        said = {"percent": percent, "stage": job.stage.lower(), "status": None if job.finished else job.status, "eta": job.eta_s}
        news = {key: value for key, value in said.items() if value not in (None, "") and value != self._last_said.get(key)}
        self._last_said |= news
        return bool(news)

    def _confirm(self, now: float) -> None:
        """Asks at once, then with back-off; what was said before does not begin it anew."""
        if self.phase is Phase.WATCHING:
            self.phase = Phase.CONFIRMING
            self._confirming_since, self._confirmations = now, 0
            self.ask_at = now

    def _again(self, now: float) -> None:
        timers = self._timers
        if self.phase is Phase.CONFIRMING and now - self._confirming_since >= timers.confirm_s:
            self.phase = Phase.WATCHING
        if self.phase is Phase.CONFIRMING:
            pause_s = min(timers.confirm_most_s, timers.confirm_first_s * 2.0 ** min(self._confirmations, 20))
            self._confirmations += 1
        else:
            pause_s = self._uniform(timers.poll_least_s, timers.poll_most_s)
        self._ask_at(now + pause_s)

    def _ask_at(self, moment: float) -> None:
        """The end may have been announced while the question was under way: then it is asked again at once."""
        self.ask_at = moment if self.ask_at is None else min(self.ask_at, moment)

    def _end(self, phase: Phase, job: Job) -> None:
        self.phase = phase
        self.ask_at = None
        self.title = job.title or self.title
        self.reason = job.reason or self.reason
        self.details = job.details or self.details
