"""The worker of the fake conversion server: films that were uploaded, one after the other, through ffmpeg."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING

from tests.servers import conversion_ffmpeg as ffmpeg
from tests.servers.conversion_jobs import ConversionJob

if TYPE_CHECKING:
    from tests.servers.conversion import ConversionServer

EVER_S = 1e9
SETTLE_STEPS = 1.0
"""In the field it takes so many steps from the first "completed" until REST says so, too."""


class Worker:
    """One film at a time."""

    def __init__(self, server: ConversionServer) -> None:
        self.job: ConversionJob | None = None
        """What is being converted."""
        self._server = server
        self._suspended = True
        self._begun = False
        self._work: asyncio.Task[None] | None = None

    def take(self) -> None:
        """There is something to do."""
        if not self._begun:
            self._begun = True
            self._server.spawn(self._work_off(), "worker")
        self._server.hub.changed()

    def look(self) -> None:
        """The film that is being converted may no longer be wanted."""
        if self._work is not None and self.job is not None and not self._wanted(self.job):
            self._work.cancel()
        self._server.hub.changed()

    def resume(self) -> None:
        """Goes on."""
        self._suspended = False
        self._server.hub.changed()

    async def suspend(self) -> None:
        """Stops; ffmpeg has ended when this returns."""
        self._suspended = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def _work_off(self) -> None:
        server = self._server
        while True:
            job = await server.wait_for(self._next, EVER_S)
            assert job is not None
            self.job = job
            self._work = asyncio.create_task(self._convert(job), name=f"conversion of {job.name}")
            try:
                await asyncio.wait({self._work})
            finally:
                self._work.cancel()
            if not self._work.cancelled() and (fault := self._work.exception()) is not None:
                await server.fail(job, f"{type(fault).__name__}: {fault}", error="internal_error")
            if self._wanted(job) and not job.finished:  # the server went down in the middle
                job.status, job.progress, job.stage, job.eta_s = "queued", 0, "", None
            self.job = self._work = None

    def _next(self) -> ConversionJob | None:
        if self._suspended:
            return None
        waiting = [job for job in self._server.jobs if job.source is not None and job.status == "queued"]
        return waiting[-1] if waiting else None

    def _wanted(self, job: ConversionJob) -> bool:
        return job in self._server.jobs and job.status != "cancelled"

    async def _convert(self, job: ConversionJob) -> None:
        server = self._server
        assert job.source is not None
        target = server.directory / f"{uuid.uuid4()}.mkv"
        try:
            await server.update(job, status="analyzing", stage="analyzing", progress=0)
            if server.least_s:
                await server.pause()
            plan = await ffmpeg.analyse(job.source)
            job.streams, job.duration_s = plan.streams, plan.duration_s
            await server.report_plan(job)

            async def step(how_far: ffmpeg.Step) -> None:
                job.encoder = how_far.encoder
                await server.update(
                    job, status="processing", stage="transcoding", progress=how_far.percent, eta_s=how_far.eta_s
                )  # fmt: skip

            job.duration_s = await ffmpeg.convert(job.source, target, plan, step, least_s=server.least_s)
            job.set_output(target)
            if server.habit == "field":
                for percent in (95, 98):
                    await server.update(job, stage="verifying", progress=percent, eta_s=None)
                    await server.pause(SETTLE_STEPS / 2)
                await server.say_completed(job)
                await server.pause(SETTLE_STEPS)
                await server.complete(job, silently=True)
            else:
                await server.complete(job)
        except ffmpeg.ConversionFailedError as error:
            await server.fail(job, str(error), error=error.kind, details=error.details)
        finally:
            if job.output is None or job.output.data != target:
                with contextlib.suppress(OSError):
                    target.unlink(missing_ok=True)
