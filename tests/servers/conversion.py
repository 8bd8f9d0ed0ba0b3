"""A fake of mkv2castUI: jobs, their sockets, REST, signed addresses on the hub's second port, and real conversions by ffmpeg.

`ConversionServer(hub=...)` beside other services, or alone with `async with`. Nothing runs by itself: tests say what becomes of a
job (`update`, `complete`, `fail`, ...), start a script (`start_script`), or hand in a film (`upload`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.servers import conversion_sample
from tests.servers.conversion_console import answer_command, require_own_page, shown, store_upload
from tests.servers.conversion_jobs import (
    ConversionJob,
    Habit,
    Peer,
    Told,
    analysis_message,
    completed_message,
    failed_message,
    plan_words,
    progress_message,
    update_message,
)
from tests.servers.conversion_outputs import Outputs
from tests.servers.conversion_rest import PASSWORD, USERNAME, Rest
from tests.servers.conversion_scripts import SCRIPTS
from tests.servers.conversion_sockets import Sockets
from tests.servers.conversion_work import Worker
from tests.servers.core import CONSOLE_PREFIX, Hub
from tests.servers.exchange import abort
from tests.servers.service import Service

CONSOLE_PATH = f"{CONSOLE_PREFIX}conversion/"


class ConversionServer(Service):
    """The backend. Attributes are knobs and may be changed at any time; more faults through `fault(...)`: "/api/*" is REST,
    "/ws/*" are the sockets, "/bucket/*" the signed addresses (status, delay, cut, stall, slow, corrupt, chunked, ...).
    """

    kind = "conversion"
    title = "Film conversion"

    def __init__(
        self,
        *,
        habit: Habit = "document",
        username: str = USERNAME,
        password: str = PASSWORD,
        hub: Hub | None = None,
        **listen: Any,
    ) -> None:
        super().__init__(hub=hub, **listen)
        self.habit: Habit = habit
        self.jobs: list[ConversionJob] = []
        """Newest first."""
        self.refuse_sockets = False
        """Every handshake gets 403."""
        self.film: bytes | Path | None = None
        """The output of scripted jobs; None: the sample film."""
        self.pace_s = 0.7
        """Seconds of a script's step."""
        self.least_s = 6.0
        """No real conversion takes less than this, so that people see something; 0: as fast as it goes."""
        self.complaints: list[str] = []
        """What a client did against the contract."""
        self.jobs_sockets: list[Peer] = []
        self.jobs_opened = 0
        """How many sockets of all jobs have been opened."""
        self.handshakes_refused = 0
        self.rest = Rest(self, username, password)
        """Accounts, tokens, who is let in."""
        self.outputs = Outputs(self)
        """How outputs are given."""
        self.sockets = Sockets(self)
        self.worker = Worker(self)
        self._open = asyncio.Event()
        self._directory: Path | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Jobs

    def job(self, job_id: str) -> ConversionJob | None:
        """The job with that id."""
        return next((job for job in self.jobs if job.job_id == job_id), None)

    def add(self, name: str, **fields: Any) -> ConversionJob:
        """A new job, the newest; a completed one has an output if `film` is set."""
        job = ConversionJob(name, **fields)
        newest = max((one.created_at for one in self.jobs), default=0.0)
        job.created_at = max(job.created_at, newest + 0.001)
        if job.status == "completed":
            job.completed_at = job.created_at
            if job.output is None and self.film is not None:
                job.set_output(self.film)
        self.jobs.insert(0, job)
        self.hub.event(self.kind, job.name[:60], "note", f"job {job.status}", {"id": job.job_id})
        return job

    def add_old(self, count: int) -> list[ConversionJob]:
        """So many completed jobs of the days before."""
        day_s = 86_400.0
        oldest = min([job.created_at for job in self.jobs] + [time.time() - day_s])
        moments = [oldest - 3600.0 * number for number in range(1, count + 1)]
        old = [
            ConversionJob(f"Film of old {number}.mkv", "completed", 100, created_at=at, completed_at=at + 600)
            for number, at in enumerate(moments)
        ]
        for job in old:
            job.set_output(self.film if self.film is not None else b"an old film")
        self.jobs += old
        self.hub.event(self.kind, "", "note", f"{count} jobs of old")
        return old

    async def update(self, job: ConversionJob, **changes: Any) -> None:
        """Changes what REST says, and tells the sockets."""
        for key, value in changes.items():
            if not hasattr(job, key):
                raise ValueError(f"a job has no {key}")
            setattr(job, key, value)
        await self.tell(job, progress_message(job, self.habit))
        await self.tell_update(job)

    async def complete(self, job: ConversionJob, output: bytes | Path | None = None, *, silently: bool = False) -> None:
        """It is completed, in REST and, not `silently`, by its sockets; without `output` with `film` or the sample."""
        if output is not None or job.output is None:
            job.set_output(output if output is not None else await self.default_film())
        job.status, job.progress, job.stage, job.eta_s = "completed", 100, "completed", 0
        job.completed_at = time.time()
        self.hub.event(self.kind, job.name[:60], "note", "completed", {"bytes": job.output_bytes})
        if not silently:
            await self.say_completed(job)

    async def say_completed(self, job: ConversionJob) -> None:
        """The sockets say completed, whatever REST says."""
        await self.tell(job, completed_message(job, self.habit))
        await self.tell_update(job)

    async def fail(self, job: ConversionJob, message: str, *, error: str = "ffmpeg_error", details: str = "") -> None:
        """It has failed."""
        job.status, job.message, job.error, job.details = "failed", message, error, details
        job.completed_at = time.time()
        await self.tell(job, failed_message(job, self.habit))
        await self.tell_update(job)

    def cancel(self, job: ConversionJob) -> None:
        """It is cancelled; nobody is told."""
        job.status = "cancelled"
        self.worker.look()
        self.hub.event(self.kind, job.name[:60], "note", "cancelled, and nobody is told")

    def delete(self, job: ConversionJob) -> None:
        """It is gone; nobody is told, its sockets stay open."""
        self.jobs.remove(job)
        self.worker.look()
        self.hub.event(self.kind, job.name[:60], "note", "deleted, and nobody is told")

    # Films

    @property
    def directory(self) -> Path:
        """Where films lie; gone with this server."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="films-"))
            weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        return self._directory

    async def sample(self) -> Path:
        """The sample film, to be converted. Raises ValueError where it cannot be made."""
        path = self.directory / "sample.mkv"
        if not path.exists():
            part = self.directory / f"{uuid.uuid4()}.mkv"
            try:
                await asyncio.to_thread(conversion_sample.make_sample, part)
            except RuntimeError as error:
                raise ValueError(str(error)) from None
            part.replace(path)
        return path

    async def default_film(self) -> bytes | Path:
        """The output of jobs of which nothing else is said."""
        return self.film if self.film is not None else await self.sample()

    def upload(self, source: Path, name: str) -> ConversionJob:
        """Converts the film that lies there, for real, as soon as those before it are done."""
        job = self.add(name, size_bytes=source.stat().st_size, source=source)
        self.worker.take()
        return job

    async def upload_sample(self) -> ConversionJob:
        """`upload` of the sample film. Raises ValueError."""
        return self.upload(await self.sample(), conversion_sample.NAME)

    async def report_plan(self, job: ConversionJob) -> None:
        """What is done to which stream is known."""
        self.hub.event(self.kind, job.name[:60], "note", "analysed", {"plan": plan_words(job.streams)})
        if self.habit == "document":
            await self.tell(job, analysis_message(job))

    # Scripts

    def start_script(self, script: str, name: str = "Holiday in Norway.mkv") -> ConversionJob:
        """A job that goes by a script of SCRIPTS, one step every `pace_s`. Raises ValueError."""
        if script not in SCRIPTS:
            raise ValueError(f"the scripts are {', '.join(SCRIPTS)}")
        job = self.add(name, size_bytes=1_482_184_292, duration_s=900.0, script=script)
        self.spawn(self._go_by(script, job), f"script {script}")
        return job

    async def pause(self, steps: float = 1) -> None:
        """So many steps of a script; while the server is down its worker waits."""
        await asyncio.sleep(self.pace_s * steps)
        await self._open.wait()

    async def _go_by(self, script: str, job: ConversionJob) -> None:
        try:
            await SCRIPTS[script][1](self, job)
        except ValueError as error:
            await self.fail(job, str(error), error="no_film")

    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Runs in the background."""
        task = asyncio.create_task(work, name=f"conversion server: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What tests wait for

    async def followed(self, *jobs: ConversionJob, timeout_s: float = 10.0) -> None:
        """Waits until each of them has a socket."""
        await self.wait_for(
            lambda: all(job.sockets for job in jobs), timeout_s, what=lambda: f"sockets of {[job.name for job in jobs]}"
        )  # fmt: skip

    async def downloaded(self, job: ConversionJob, timeout_s: float = 20.0) -> None:
        """Waits until its output was fetched to the end."""
        await self.wait_for(
            lambda: any(one.whole for one in job.downloads), timeout_s, what=lambda: f"download of {job.name}: {job.downloads}"
        )  # fmt: skip

    # The wire

    async def tell(self, job: ConversionJob, message: Any) -> None:
        """Sends a message on every socket of the job."""
        await self.tell_raw(job, json.dumps(message), message)

    async def tell_raw(self, job: ConversionJob, frame: str | bytes, message: Any = None) -> None:
        """Sends a frame as it is on every socket of the job."""
        for peer in tuple(job.sockets):
            with contextlib.suppress(ConnectionError):
                await (peer.socket.send_str(frame) if isinstance(frame, str) else peer.socket.send_bytes(frame))
        said = message if message is not None else repr(frame[:200])
        job.told.append(Told(int(time.time() * 1000), said, len(job.sockets)))
        if job.sockets:
            title = str(said.get("type", "object")) if isinstance(said, dict) else "odd frame"
            self.hub.event(self.kind, job.name[:60], "out", title, said)
        else:
            self.hub.changed()

    async def tell_update(self, job: ConversionJob) -> None:
        """On the sockets of all jobs; servers of the field do not."""
        self.hub.changed()
        if self.habit == "document" and not job.hidden:
            for peer in tuple(self.jobs_sockets):
                with contextlib.suppress(ConnectionError):
                    await peer.socket.send_json(update_message(job))

    def complain(self, words: str) -> None:
        """A client did something against the contract."""
        self.complaints.append(words)
        self.hub.event(self.kind, "", "note", f"against the contract: {words}")

    def drop(self, job: ConversionJob) -> None:
        """Resets the sockets of a job, without a close frame."""
        for peer in tuple(job.sockets):
            abort(peer.request)

    async def close(self, job: ConversionJob, code: int = 1000) -> None:
        """Closes the sockets of a job with that code."""
        for peer in tuple(job.sockets):
            await peer.socket.close(code=code)

    def add_routes(self, app: web.Application) -> None:
        self.sockets.add_routes(app)
        self.rest.add_routes(app)
        self.outputs.add_routes(app)
        app.router.add_post(f"{CONSOLE_PATH}upload", self._take_upload)
        app.on_startup.append(self._come_up)
        app.on_cleanup.append(self._go_down)

    async def _come_up(self, _: web.Application) -> None:
        self._open.set()
        self.worker.resume()

    async def _go_down(self, _: web.Application) -> None:
        """Ends ffmpeg; when the server is back, its worker begins that film anew and goes on with the others."""
        self._open.clear()
        await self.worker.suspend()

    # The console page

    def state(self) -> dict[str, Any]:
        return shown(self)

    async def command(self, name: str, args: Mapping[str, Any]) -> Any:
        await answer_command(self, name, args)

    async def _take_upload(self, request: web.Request) -> web.StreamResponse:
        require_own_page(request)
        return await store_upload(self, request)
