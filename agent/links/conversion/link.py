"""The conversion link: finds the jobs that count, and takes each to its end (conversion contract)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from agent.device import Device
from agent.links.conversion.board import Board, BoardTimers
from agent.links.conversion.choice import Chances, Look, Mark, is_more
from agent.links.conversion.course import Around, Course
from agent.links.conversion.delivery import Delivery, DeliveryTimers
from agent.links.conversion.films import Films
from agent.links.conversion.follow import FollowTimers
from agent.links.conversion.jobs import ENDED, Jobs, Row, RowState
from agent.links.conversion.login import RestTimers
from agent.links.conversion.messages import AnyMessage, Job, JobChange, JobsList, to_id
from agent.links.conversion.parts import Screen
from agent.links.conversion.places import Places
from agent.links.conversion.rest import ConversionRest, NoSuchJobError
from agent.links.conversion.sockets import Complaints, Feed
from agent.links.link import Address, Link, RefusedError, UnavailableError, is_clock_fault
from agent.screen.messages import StripLine
from agent.system.logs import Trouble

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

FOLLOWED_AT_ONCE = 4
MOST_COURSES = 500
"""Jobs under way; more are taken up when there is room. For those that are finished there is as much again."""
CONFIRMED_AT_ONCE = 2
"""Jobs in line for which REST is asked."""
MOST_WARNINGS = 5
SETTLED_SHOWN = 10
"""Jobs in `status` whose end is known, the newest."""


@dataclass(frozen=True, slots=True)
class ConversionTimers:
    """Seconds; conversion contract, sections 1, 2 and 4."""

    look_busy_s: float = 15.0
    look_idle_s: float = 60.0
    """Between two looks at the list of jobs."""
    look_far_s: float = 600.0
    """Between two that go on until all have been met that are of interest: those in line, and those that came to no good end."""
    hint_s: float = 1.0
    """At most so often is it looked at because a socket speaks of an unknown job."""
    again_s: float = 60.0
    """Before a job whose course broke off is taken up again."""
    reopen_s: float = 82_800.0
    follow: FollowTimers = field(default_factory=FollowTimers)
    delivery: DeliveryTimers = field(default_factory=DeliveryTimers)
    rest: RestTimers = field(default_factory=RestTimers)
    board: BoardTimers = field(default_factory=BoardTimers)


class ConversionLink(Link):
    """One conversion server. Connected when its REST interface answers; every followed job has a socket of its own.

    `job` is `all`, `newest` or the id of one job; values are those of the configuration.
    """

    kind = "conversion"

    def __init__(
        self,
        name: str,
        device: Device,
        *,
        screen: Screen,
        url: str,
        token: str = "",
        username: str = "",
        password: str = "",
        session_cookie: str = "",
        job: str = "all",
        play: Literal["interrupt", "enqueue", "store"] = "interrupt",
        connect_to: str = "",
        priority: int = 50,
        spread_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
        timers: ConversionTimers = ConversionTimers(),
    ) -> None:
        super().__init__(name, spread_s=spread_s, tls=tls)
        self._board = Board(name, screen, self._lines, self.changed, timers.board)
        self._job = job if job in ("all", "newest") else to_id(job) or job
        self._timers = timers
        self._with_cookie = bool(session_cookie)
        self.broken = False
        """It ended by a fault of our own."""
        self._rest = ConversionRest(
            url,
            token=token,
            username=username,
            password=password,
            cookie=session_cookie,
            state=device.state,
            link=name,
            tls=tls,
            timers=timers.rest,
        )
        self._jobs = Jobs(name, self._rest.root, device.state)
        self._delivery = Delivery(
            name, self._rest, device.media, screen, connect_to=connect_to, tls=tls, timers=timers.delivery
        )  # fmt: skip
        self.films = Films(
            name,
            screen,
            priority=priority,
            after_item=play == "enqueue",
            on_begun=lambda job_id: self._settle(job_id, "played"),
            on_over=self._film_over,
        )
        self._complaints = Complaints()
        self._around = Around(
            link=name,
            rest=self._rest,
            jobs=self._jobs,
            delivery=self._delivery,
            films=self.films,
            places=Places(FOLLOWED_AT_ONCE),
            in_line=asyncio.Semaphore(CONFIRMED_AT_ONCE),
            open_feed=self._open_feed,
            store_only=play == "store",
            changed=self._board.repaint,
            notice=self._board.notice,
            trouble=Trouble(log),
            follow=timers.follow,
        )
        self._courses: dict[str, Course] = {}
        self._ends: dict[str, str] = {}
        """Why jobs did not come to a good end."""
        self._chances = Chances()
        self._far_look_at = 0.0
        self._look_now = asyncio.Event()
        self._connected_at = 0.0
        self._unknown_said = False
        self._crowd = Trouble(log)
        self._tasks: asyncio.TaskGroup

    # Life

    async def run(self) -> None:
        """See `Link`."""
        former = self.predecessor
        await self._rest.open(at_once=isinstance(former, ConversionLink) and not former.broken)  # whose settings were changed
        await self._jobs.load()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.films.start(former.films if isinstance(former, ConversionLink) else None)
                self._succeed()
                for row in self._jobs.active():
                    if self._job in ("all", "newest", row.job_id):
                        self._begin(row)
                works = {"looks for jobs": self._look_forever, "paints": self._board.run}
                if self._with_cookie:
                    works["listens"] = self._jobs_feed().run
                for what, work in works.items():
                    self._tasks.create_task(work(), name=f"{self.name}: {what}")
        finally:
            self.films.stop()
            await self._rest.close()

    def broke_off(self, error: BaseException) -> None:
        """See `Link`."""
        super().broke_off(error)
        self.broken = True

    def leave(self) -> None:
        """See `Link`."""
        super().leave()
        self.films.leave()
        self._board.clear()

    async def save(self) -> None:
        """Writes to disk what could not be written before, and that a film has begun."""
        for job_id in self.films.begun:
            await self._jobs.set(job_id, "played")
        await self._jobs.flush()

    def jobs(self) -> list[dict[str, Any]]:
        """Its entries among the jobs of `status --json`: what is under way, then what has come to an end, the newest first."""
        rows = reversed(self._jobs.rows.values())
        settled = [row for row in rows if row.job_id not in self._courses and (not row.active or row.job_id in self._ends)]
        return [course.status() for course in self._courses.values()] + [
            {
                "link": self.name,
                "id": row.job_id,
                "title": row.title,
                "state": "failed" if row.active else row.state,
                "percent": None,
                "stage": None,
                "eta_s": None,
                "error": self._ends.get(row.job_id),
            }
            for row in settled[:SETTLED_SHOWN]
        ]

    def warnings(self) -> list[str]:
        """See `Link`: also the outputs that will not come, and are tried again only after the next start."""
        rows = [row for row in self._jobs.active() if row.job_id not in self._courses and row.job_id in self._ends]
        lost = [f"link {self.name}: {row.title!r} was not loaded: {self._ends[row.job_id]}" for row in rows[-MOST_WARNINGS:]]
        return super().warnings() + lost

    async def address(self) -> Address:
        """See `Link`: the link itself has no socket, its jobs have."""
        raise UnavailableError("the link has no socket of its own")

    async def session(self, socket: ClientConnection) -> None:
        """See `address`."""
        raise NotImplementedError

    # Discovery

    async def _look_forever(self) -> None:
        """Asks REST for the jobs, again and again. The link is connected while it answers."""
        while True:
            self._look_now.clear()
            try:
                await self._look()
            except (RefusedError, UnavailableError) as error:
                self.clock_fault = is_clock_fault(error)
                await self._failed(str(error), refused=isinstance(error, RefusedError))
                continue
            except Exception as error:
                log.exception("look at the jobs broke off link=%s", self.name)
                self.clock_fault = False
                await self._failed(f"internal error: {type(error).__name__}")
                continue
            if self.state != "connected":
                self._connected_at = _now()
                self.established()
            await self._pause()

    async def _failed(self, error: str, *, refused: bool = False) -> None:
        """The answer did not come: waits until it is time for another try."""
        if self.state == "connected" and self._backoff.lived(_now() - self._connected_at):
            self._trouble = Trouble(log)
        await self._wait(error, refused=refused)

    async def _pause(self) -> None:
        """Until the next look: soon while a job runs, at once (but not too often) when a socket speaks of an unknown one."""
        await asyncio.sleep(self._timers.hint_s)
        busy = any(course.unfinished for course in self._courses.values())
        every_s = self._timers.look_busy_s if busy else self._timers.look_idle_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, every_s - self._timers.hint_s)):
                await self._look_now.wait()

    async def _look(self) -> None:
        """One look. Raises RefusedError or UnavailableError."""
        if self._job not in ("all", "newest"):
            await self._look_for(self._job)
            return
        again = [job_id for job_id in self._jobs.rows if self._may_come_again(job_id)]
        waiting = [course.job_id for course in self._courses.values() if course.step == "waiting"]
        far = _now() >= self._far_look_at
        sought = [*again, *waiting] if far else []
        look = Look(self._jobs.mark, self._jobs.rows, newest=self._job == "newest", ended=again, sought=sought)
        while look.take(page := await self._rest.page(look.pages + 1)):
            self._tell_waiting(page.jobs)
        self._tell_waiting(page.jobs)
        if far:
            self._far_look_at = _now() + self._timers.look_far_s
        await self._take_up(look.chosen(), look)

    async def _take_up(self, chosen: list[Job], look: Look) -> None:
        """As many as there is room for, the finished ones first."""
        room = {True: 2 * MOST_COURSES - len(self._courses), False: MOST_COURSES - len(self._courses)}
        taken = []
        for job in chosen:
            if room[job.finished] > 0:
                room[job.finished] -= 1
                taken.append(job)
        if len(chosen) > len(taken):
            self._crowd.is_("some jobs must wait until others are over", f"more than {MOST_COURSES} jobs", link=self.name)
        else:
            self._crowd.over(f"all jobs are taken up link={self.name}")
        await self._admit(taken, look.next_mark() if len(chosen) == len(taken) else None)

    async def _admit(self, jobs: list[Job], mark: Mark | None = None) -> None:
        """These count from now on."""
        rows = [self._row(job) for job in jobs]
        for row in rows:
            if row.job_id in self._jobs.rows:
                self._chances.take(row.job_id, _now())
        await self._jobs.admit(rows, mark)
        for row, job in zip(rows, jobs, strict=True):
            self._begin(row)
            self._courses[row.job_id].heard(JobChange(type="job_update", job=job))

    def _may_come_again(self, job_id: str) -> bool:
        """Whether a job that is known counts once more if the server has more to say of it: it came to no good end."""
        row = self._jobs.rows.get(job_id)
        ended = row is not None and row.state in ENDED and job_id not in self._courses
        return ended and self._chances.open(job_id, _now())

    async def _look_for(self, job_id: str) -> None:
        """The one job that is configured, whatever state it is in. Raises RefusedError or UnavailableError."""
        try:
            job = await self._rest.job(job_id)
        except NoSuchJobError:
            if not self._unknown_said and job_id not in self._jobs.rows:
                log.warning("the server has no job with the configured id link=%s job=%s", self.name, job_id)
            self._unknown_said = True
            return
        known = job_id in self._jobs.rows or job_id in self._courses
        if not known or (is_more(job) and self._may_come_again(job_id)):
            await self._admit([job.model_copy(update={"job_id": job_id})])

    def _tell_waiting(self, jobs: tuple[Job, ...]) -> None:
        """Jobs in line have no socket: the list speaks for them."""
        for job in jobs:
            course = self._courses.get(job.job_id or "")
            if course is not None and course.step == "waiting":
                course.heard(JobChange(type="job_update", job=job))

    @staticmethod
    def _row(job: Job) -> Row:
        assert job.job_id is not None
        return Row(job.job_id, job.title or job.job_id, size_bytes=job.output_bytes)

    def _begin(self, row: Row) -> None:
        if row.job_id in self._courses:
            return
        log.info("job counts link=%s job=%s title=%r", self.name, row.job_id, row.title)
        self._ends.pop(row.job_id, None)
        course = self._courses[row.job_id] = Course(row, self._around)
        self._tasks.create_task(self._take_to_the_end(course), name=f"{self.name}: job {row.job_id}")

    async def _take_to_the_end(self, course: Course) -> None:
        """One job's trouble, whatever it is, stays its own."""
        while True:
            try:
                await course.run()
                break
            except Exception as error:
                log.exception("course of a job broke off, taken up again later link=%s job=%s", self.name, course.job_id)
                course.error = f"internal error: {type(error).__name__}"
            await asyncio.sleep(self._timers.again_s)
        if course.error:
            self._ends[course.job_id] = course.error
            while len(self._ends) > MOST_COURSES:
                del self._ends[next(iter(self._ends))]
        if self._courses.get(course.job_id) is course:
            del self._courses[course.job_id]
        self._board.repaint()

    # Sockets

    def _open_feed(self, job_id: str, on_message: Callable[[AnyMessage], None]) -> Feed:
        return Feed(
            f"{self.name}/{job_id}",
            self._rest.job_socket(job_id),
            on_message,
            self._complaints,
            reopen_s=self._timers.reopen_s,
            tls=self._tls,
        )

    def _jobs_feed(self) -> Feed:
        return Feed(
            f"{self.name}/jobs",
            self._rest.jobs_socket(),
            self._on_jobs,
            self._complaints,
            reopen_s=self._timers.reopen_s,
            refresh_s=self._timers.look_busy_s,
            tls=self._tls,
        )

    def _on_jobs(self, message: AnyMessage) -> None:
        """The socket of all jobs: what it says of known ones is a hint for them, an unknown one is looked for."""
        match message:
            case JobsList(jobs=jobs):
                changes = [JobChange(type="job_update", job=job) for job in jobs]
            case JobChange():
                changes = [message]
            case _:
                return
        for change in changes:
            job_id = change.job.job_id
            course = self._courses.get(job_id or "")
            if course is not None:
                course.heard(change)
            elif job_id is not None and self._is_news(job_id, change.job):
                self._look_now.set()

    def _is_news(self, job_id: str, job: Job) -> bool:
        """Whether it may be a job that counts and is not known yet."""
        if self._job not in ("all", "newest", job_id):
            return False
        if job_id in self._jobs.rows:
            return is_more(job) and self._may_come_again(job_id)
        return not job.finished or self._jobs.mark is None or job_id not in self._jobs.mark.ids

    # Films

    def _settle(self, job_id: str, state: RowState) -> None:
        """Writes down what has become of a film, beside whatever else is going on."""
        with contextlib.suppress(RuntimeError):  # the link is ending; `save` writes it
            self._tasks.create_task(self._jobs.set(job_id, state), name=f"{self.name}: notes {state}")
        self._board.repaint()

    def _film_over(self, job_id: str, shown: bool) -> None:
        course = self._courses.get(job_id)
        if not shown:
            self._settle(job_id, "unplayable")
            if course is not None:
                course.error = "cannot be played"
        if course is not None:
            course.played()

    def _lines(self, now: float) -> list[StripLine]:
        """For the strip; what is followed stands before what waits."""
        courses = sorted(self._courses.values(), key=lambda course: course.step == "waiting")
        return [line for course in courses if (line := course.line(now)) is not None]


def _now() -> float:
    return asyncio.get_running_loop().time()
