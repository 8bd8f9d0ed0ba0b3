"""One job from the first sight of it to its end: followed, brought here, played."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agent.links.conversion import strip
from agent.links.conversion.delivery import Delivery, GaveUpError
from agent.links.conversion.films import Film, Films
from agent.links.conversion.follow import Follow, FollowTimers, Phase
from agent.links.conversion.jobs import Jobs, Row
from agent.links.conversion.messages import Analysis, AnyMessage, Failure, JobChange, Progress, Status
from agent.links.conversion.places import Places
from agent.links.conversion.rest import ConversionRest, NoSuchJobError
from agent.links.conversion.sockets import Feed
from agent.links.link import RefusedError, UnavailableError
from agent.screen.messages import StripLine
from agent.system.logs import Trouble

log = logging.getLogger(__name__)

Step = Literal["waiting", "following", "loading", "ready", "over"]
OpenFeed = Callable[[str, Callable[[AnyMessage], None]], Feed]


@dataclass(frozen=True, slots=True)
class Around:
    """What a course needs of its link."""

    link: str
    rest: ConversionRest
    jobs: Jobs
    delivery: Delivery
    films: Films
    places: Places
    """Of those that are followed at once."""
    in_line: asyncio.Semaphore
    """Of those that have no place and ask REST all the same."""
    open_feed: OpenFeed
    store_only: bool
    changed: Callable[[], None]
    notice: Callable[[StripLine], None]
    trouble: Trouble
    """Of asking REST for a job; shared, since the server is the same."""
    follow: FollowTimers


class Course:
    """One job that counts."""

    def __init__(self, row: Row, around: Around) -> None:
        self.job_id = row.job_id
        self.step: Step = "waiting"
        self.error = ""
        """Why it takes longer, or did not come."""
        self._row = row
        self._around = around
        self._follow = Follow(row.job_id, row.title, _now(), timers=around.follow)
        self._received: tuple[int, int | None] = (0, row.size_bytes)
        self._stalled_at: float | None = None
        """Since then the output does not come any further."""
        self._farthest_bytes = 0
        self._followed = False
        """It has had a place."""
        self._news = asyncio.Event()
        self._played = asyncio.Event()

    @property
    def title(self) -> str:
        """As on the screen."""
        return self._follow.title

    @property
    def unfinished(self) -> bool:
        """The server still has something to do, as far as is known."""
        return self.step in ("waiting", "following")

    @property
    def size_bytes(self) -> int | None:
        """Of the output, as announced."""
        return self._follow.output_bytes or self._row.size_bytes

    async def run(self) -> None:
        """Takes the job to its end; returns when nothing more is to be done in this run of the agent."""
        try:
            if self._row.state == "ready":
                path = await self._around.delivery.find(self.job_id, self.title, self.size_bytes)
                if path is not None:
                    await self._play(path)
                    return
            await self._follow_to_the_end()
            await self._conclude()
        finally:
            self._around.delivery.release(self.job_id)
            self._go("over")

    # What is heard

    def heard(self, message: AnyMessage) -> None:
        """One of the sockets, or the list, has something to say that may be about this job."""
        match message:
            case Analysis():
                first = not self._follow.streams
                level = logging.INFO if self._follow.analysed(message) and first else logging.DEBUG
                log.log(level, "film analysed link=%s job=%s streams=%r", self._around.link, self.job_id, message.words)
            case Failure() if not message.finished:
                log.debug("the server complains link=%s message=%r", self._around.link, message.reason)
                return
            case Progress() | Status() | Failure():
                self._follow.heard(message, _now())
            case JobChange(job=job):
                self._follow.heard(job, _now(), listed=True)
            case _:
                return
        self._news.set()
        self._around.changed()

    def played(self) -> None:
        """Its film is over."""
        self._played.set()

    # What people are told

    def line(self, now: float) -> StripLine | None:
        """Its line on the strip."""
        if self.step == "loading":
            stalled = self._stalled_at is not None and now - self._stalled_at >= self._around.follow.lost_s
            return None if stalled else strip.download_line(self.title, *self._received)
        if self.unfinished and self._follow.shown(now):
            return strip.follow_line(self._follow, now, in_line=not self._followed)
        return None

    def status(self) -> dict[str, Any]:
        """Its entry in `status --json`."""
        follow, now = self._follow, _now()
        eta_s = follow.eta_s(now) if follow.running else None
        percent = follow.percent
        state: str = follow.status
        if self.step == "loading":
            received, total = self._received
            state, percent = "downloading", None if not total else 100.0 * received / total
        elif self.step == "ready":
            state = "playing" if self.job_id in self._around.films.begun else "ready"
        elif follow.phase is Phase.CONFIRMING:
            state = "finishing"
        return {
            "link": self._around.link,
            "id": self.job_id,
            "title": self.title,
            "state": state,
            "percent": None if percent is None else round(percent, 1),
            "stage": follow.stage or None,
            "eta_s": None if eta_s is None else round(eta_s),
            "error": self.error or None,
        }

    # Following

    async def _follow_to_the_end(self) -> None:
        """Until REST has said that it is over, with a place or in line for one."""
        places = self._around.places
        places.enter(self.job_id, self._news.set)
        try:
            while not self._follow.over:
                if places.has(self.job_id):
                    self._go("following")
                    await self._listen()
                else:
                    self._go("waiting")
                    await self._stand_in_line()
        finally:
            places.leave(self.job_id)

    async def _listen(self) -> None:
        """Follows it on its socket, until it is over or, without a sign of life, in the way of others."""
        around, began_at = self._around, _now()
        self._followed = True
        feed = around.open_feed(self.job_id, self.heard)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(feed.run(), name=f"{feed.name}: listens")
            try:
                while not self._follow.over:
                    if not await self._ask_in_time(self._follow.ask_at):
                        continue
                    still_s = min(self._follow.still_s(_now()), _now() - began_at)
                    if around.places.crowded and still_s >= around.follow.give_way_s:
                        log.info("job does not move, others are followed link=%s job=%s", around.link, self.job_id)
                        around.places.leave(self.job_id)
                        around.places.enter(self.job_id, self._news.set)
                        return
            finally:
                listening.cancel()

    async def _stand_in_line(self) -> None:
        """Until there is a place, or none is needed: REST is asked only if somebody has said that the job is over."""
        while not self._follow.over and not self._around.places.has(self.job_id):
            await self._ask_in_time(self._follow.ask_at if self._follow.phase is Phase.CONFIRMING else None, self._around.in_line)

    async def _ask_in_time(self, due: float | None, turn: contextlib.AbstractAsyncContextManager[object] | None = None) -> bool:
        """Asks REST if that is due (True); else waits until it is, or until there is news."""
        if due is not None and due <= _now():
            async with turn or contextlib.nullcontext():
                await self._ask()
            return True
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._news.wait()
        return False

    async def _ask(self) -> None:
        follow, trouble = self._follow, self._around.trouble
        follow.asking()
        try:
            job = await self._around.rest.job(self.job_id)
        except NoSuchJobError:
            follow.missing()
        except RefusedError as error:
            trouble.is_("job cannot be asked for", error, link=self._around.link)
            follow.unanswered(_now(), refused=True)
        except UnavailableError as error:
            trouble.is_("job cannot be asked for", error, link=self._around.link)
            follow.unanswered(_now())
        else:
            trouble.over(f"jobs can be asked for again link={self._around.link}")
            follow.looked(job, _now())
        self._around.changed()

    # The end

    async def _conclude(self) -> None:
        follow, around = self._follow, self._around
        match follow.phase:
            case Phase.COMPLETED:
                log.info("job completed link=%s job=%s title=%r bytes=%s", around.link, self.job_id, self.title, self.size_bytes)
                await self._bring()
            case Phase.FAILED:
                self.error = follow.reason or "the server gives no reason"
                log.warning(
                    "conversion failed link=%s job=%s title=%r error=%r details=%r",
                    around.link, self.job_id, self.title, self.error, follow.details,
                )  # fmt: skip
                around.notice(strip.notice_line(self.title, f"Conversion failed: {self.error}"))
                await around.jobs.set(self.job_id, "failed", title=self.title)
            case Phase.CANCELLED:
                log.info("job was cancelled link=%s job=%s title=%r", around.link, self.job_id, self.title)
                await around.jobs.set(self.job_id, "cancelled", title=self.title)
            case _:
                log.info("the server has no such job any more link=%s job=%s title=%r", around.link, self.job_id, self.title)
                await around.jobs.set(self.job_id, "gone", title=self.title)

    async def _bring(self) -> None:
        around = self._around
        self._received = (0, self.size_bytes)
        self._go("loading")
        try:
            path = await around.delivery.bring(
                self.job_id, self.title, self.size_bytes, on_bytes=self._count, on_trouble=self._complain
            )  # fmt: skip
        except GaveUpError as error:
            self.error = str(error)
            log.warning("output will not be played link=%s job=%s title=%r cause=%s", around.link, self.job_id, self.title, error)
            around.notice(strip.notice_line(self.title, f"Cannot be played: {error}"))
            if error.state is not None:
                await around.jobs.set(self.job_id, error.state, title=self.title)
            return
        self.error = ""
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        if around.store_only:
            log.info("output is stored link=%s job=%s title=%r", around.link, self.job_id, self.title)
            await around.jobs.set(self.job_id, "stored", title=self.title, size_bytes=size_bytes)
            return
        await around.jobs.set(self.job_id, "ready", title=self.title, size_bytes=size_bytes)
        await self._play(path)

    async def _play(self, path: Path) -> None:
        if self._around.store_only:
            await self._around.jobs.set(self.job_id, "stored", title=self.title)
            return
        self._go("ready")
        self._around.films.add(Film(self.job_id, self.title, path))
        await self._played.wait()

    def _count(self, received: int, total: int | None) -> None:
        self._received = (received, total or self.size_bytes)
        if received > self._farthest_bytes:
            self._farthest_bytes, self._stalled_at = received, None
            self.error = ""
        self._around.changed()

    def _complain(self, sentence: str) -> None:
        self.error = sentence
        if self._stalled_at is None:
            self._stalled_at = _now()
        self._around.changed()

    def _go(self, step: Step) -> None:
        self.step = step
        self._around.changed()


def _now() -> float:
    return asyncio.get_running_loop().time()
