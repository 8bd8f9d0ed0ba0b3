"""A small conversion server for tests of the link alone, and a box without hardware."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

from aiohttp import web

from agent.links.conversion.board import BoardTimers
from agent.links.conversion.delivery import DeliveryTimers
from agent.links.conversion.follow import FollowTimers
from agent.links.conversion.link import ConversionLink, ConversionTimers
from agent.links.conversion.login import RestTimers
from agent.media.store import MediaStore
from agent.screen.messages import StripLine
from agent.screen.proxy import UnplayableFileError
from agent.system.state import State
from tests.box import QUICK_STORE, InstantScreen, until

if TYPE_CHECKING:
    from agent.device import Device

TOKEN = "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"
COOKIE = "s3ss10n-0f-the-user"
SIGNATURE = "f00dfacef00dface"
MEDIA = b"\x1a\x45\xdf\xa3 as good as a film "
QUICK = ConversionTimers(
    look_busy_s=0.1,
    look_idle_s=0.15,
    hint_s=0.01,
    again_s=0.05,
    follow=FollowTimers(poll_least_s=0.1, poll_most_s=0.15, confirm_first_s=0.02, confirm_most_s=0.05),
    delivery=DeliveryTimers(missing_s=0.01, storage_s=0.05, storage_most_s=0.05, probe_s=0.02),
    rest=RestTimers(request_s=5.0, refused_s=60.0),
    board=BoardTimers(notice_s=0.5, paint_s=0.01, clock_s=0.05),
)


class FakeServer:
    """A conversion server with the habits of the field; what it is asked is noted.

    `token` is empty on a server that asks for none. Outputs lie behind signed addresses on a second port, unless `direct`.
    """

    def __init__(self, *, token: str = TOKEN, direct: bool = False) -> None:
        self.token = token
        self.direct = direct
        self.password = "correct horse"
        self.requires_2fa = False
        self.jobs: list[dict[str, Any]] = []
        """Newest first."""
        self.outputs: dict[str, bytes] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Path with query, and headers, of all that came to this port."""
        self.signed_requests: list[tuple[str, dict[str, str]]] = []
        """The same of the second port."""
        self.logins = 0
        self.sockets: dict[str, list[web.WebSocketResponse]] = {}
        self.expired: set[str] = set()
        """Signatures that are no longer taken."""
        self.signatures = 0
        self.signed_host = ""
        """Instead of the second port's own address."""
        self.down = False
        """Answers 503 to everything."""
        self.restarting = False
        """The proxy before it answers 404 to everything, in its own words."""
        self.forbidden: set[str] = set()
        """Jobs that are listed and not shown."""
        self.unknown: set[str] = set()
        """Jobs that are listed, and then nobody knows them."""
        self.new_tokens = False
        """Each login gives another token."""
        self.signed_path = "bucket"
        """Where outputs lie on the second port."""
        self.break_at: int | None = None
        """The second port sends no more than so many bytes of an answer, once."""
        self.break_always_at: int | None = None
        """A direct server sends no more than so many bytes of an output."""
        self.signed_restarting = False
        """The proxy before the second port answers 404, in its own words."""
        self.signed_missing = False
        """The second port says, in its own words, that there is no such thing."""
        self.on_signed: Callable[[str], None] = lambda _path: None
        """Called when a request to the second port has been let in."""
        self.handshakes_refused = 0
        self.refuse_sockets = False
        self._runners: list[web.AppRunner] = []
        self.port = self.signed_port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Also after `stop`: on the same ports."""
        main = web.Application(middlewares=[self._note])
        main.router.add_post("/api/auth/login/", self._login)
        main.router.add_get("/api/jobs/", self._list)
        main.router.add_get("/api/jobs/{id}/", self._detail)
        main.router.add_get("/api/jobs/{id}/download/", self._download)
        main.router.add_get("/ws/conversion/{id}/", self._job_socket)
        main.router.add_get("/ws/jobs/", self._jobs_socket)
        signed = web.Application()
        signed.router.add_get("/{path}/{id}", self._signed)
        self.port = await self._serve(main, self.port)
        self.signed_port = await self._serve(signed, self.signed_port)

    async def stop(self) -> None:
        """Drops everything at once, as if it were killed."""
        for sockets in self.sockets.values():
            for socket in sockets:
                with contextlib.suppress(Exception):
                    assert socket._req is not None
                    socket._req.transport.abort()  # type: ignore[union-attr]
        self.sockets.clear()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _serve(self, app: web.Application, port: int) -> int:
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        self._runners.append(runner)
        return int(runner.addresses[0][1])

    # What tests do with it

    def add(
        self, job_id: str, status: str = "processing", *, title: str = "", output: bytes | None = None, **more: Any
    ) -> dict[str, Any]:
        """A job at the head of the list; a completed one has an output."""
        job = {
            "id": job_id,
            "original_filename": title or f"{job_id}.mkv",
            "original_file_size": 99,
            "output_filename": f"{job_id}.mp4",
            "output_file_size": 0,
            "status": status,
            "progress": 0,
            "current_stage": "",
            "error_message": "",
            "created_at": f"2026-01-05T09:{len(self.jobs) // 60:02}:{len(self.jobs) % 60:02}Z",
            **more,
        }
        self.jobs.insert(0, job)
        if status == "completed":
            self.complete(job_id, output)
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        return next(job for job in self.jobs if job["id"] == job_id)

    def complete(self, job_id: str, output: bytes | None = None) -> bytes:
        """In REST only."""
        data = MEDIA * 100 + job_id.encode() if output is None else output
        self.outputs[job_id] = data
        self.job(job_id).update(status="completed", progress=100, output_file_size=len(data))
        return data

    async def say(self, job_id: str, /, **message: Any) -> None:
        """On the sockets of a job."""
        for socket in self.sockets.get(job_id, []):
            if not socket.closed:
                await socket.send_str(json.dumps(message))

    async def progress(self, job_id: str, percent: float, status: str = "processing", **more: Any) -> None:
        """As the field says it."""
        await self.say(
            job_id, type="progress", progress=percent, status=status, **{"stage": "TRANSCODE", "eta": None, "error": "", **more}
        )

    def asked(self, path: str) -> int:
        """How often a path was asked for, whatever the query."""
        return sum(request.partition("?")[0] == path for request, _ in self.requests)

    async def followed(self, *job_ids: str) -> None:
        """Waits until these jobs have a socket."""
        await until(lambda: all(any(not s.closed for s in self.sockets.get(i, [])) for i in job_ids), f"sockets of {job_ids}")

    # What it answers

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.path_qs, dict(request.headers)))
        if self.down:
            return web.Response(status=503, text="<html>down</html>", content_type="text/html")
        if self.restarting:
            return web.Response(status=404, text="404 page not found\n")
        if request.path.startswith("/api/jobs/") and self.token and request.headers.get("Authorization") != f"Token {self.token}":
            return web.json_response({"detail": "Authentication credentials were not provided."}, status=403)
        if request.path.startswith("/ws/") and (self.refuse_sockets or request.headers.get("Origin") != self.url):
            self.handshakes_refused += 1
            return web.Response(status=403)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _login(self, request: web.Request) -> web.Response:
        self.logins += 1
        said = await request.json()
        if said != {"email_or_username": "lobby", "password": self.password}:
            return web.json_response({"non_field_errors": ["Invalid credentials."]}, status=400)
        if self.new_tokens:
            self.token = f"{self.logins:040d}"
        if self.requires_2fa:
            return web.json_response({"requires_2fa": True, "email": "lobby@example", "message": "Please enter your 2FA code."})
        return web.json_response({"user": {}, "token": self.token, "requires_2fa": False})

    async def _list(self, request: web.Request) -> web.Response:
        start = (int(request.query.get("page", "1")) - 1) * 20
        if start and start >= len(self.jobs):
            return web.json_response({"detail": "Invalid page."}, status=404)
        more = "http://internal:8000/api/jobs/?page=2" if start + 20 < len(self.jobs) else None
        return web.json_response(
            {"count": len(self.jobs), "next": more, "previous": None, "results": self.jobs[start : start + 20]}
        )

    async def _detail(self, request: web.Request) -> web.Response:
        job = next((job for job in self.jobs if job["id"] == request.match_info["id"]), None)
        if request.match_info["id"] in self.unknown:
            job = None
        if request.match_info["id"] in self.forbidden:
            return web.json_response({"detail": "You do not have permission to perform this action."}, status=403)
        return web.json_response(job) if job else web.json_response({"detail": "Not found."}, status=404)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        job_id = request.match_info["id"]
        job = next((job for job in self.jobs if job["id"] == job_id), None)
        if job is not None and job["status"] != "completed":
            return web.json_response({"detail": "Job is not completed yet."}, status=400)
        if job is None or job_id not in self.outputs:
            return web.json_response({"detail": "Output file not found."}, status=404)
        if self.direct and self.break_always_at is not None:
            return await self._broken(request, self.outputs[job_id])
        if self.direct:
            return web.Response(body=self.outputs[job_id], content_type="application/octet-stream")
        self.signatures += 1
        host = self.signed_host or f"127.0.0.1:{self.signed_port}"
        url = f"http://{host}/{self.signed_path}/{job_id}?X-Amz-Signature={SIGNATURE}{self.signatures}"
        return web.json_response({"download_url": url, "expires_in": 3600, "filename": job["output_filename"]})

    async def _broken(self, request: web.Request, data: bytes) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(data)), "Content-Type": "video/mp4"})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionResetError):
            await answer.write(data[: self.break_always_at])
            await asyncio.sleep(0.05)
        if request.transport is not None:
            request.transport.abort()
        return answer

    async def _signed(self, request: web.Request) -> web.StreamResponse:
        self.signed_requests.append((request.path_qs, dict(request.headers)))
        signature = request.query.get("X-Amz-Signature", "")
        job_id = request.match_info["id"]
        if signature in self.expired or "Authorization" in request.headers or request.method != "GET":
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        if self.signed_restarting:
            return web.Response(status=404, text="404 page not found\n")
        if self.signed_missing or job_id not in self.outputs:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml")
        self.on_signed(request.path_qs)
        data, headers, status = self.outputs[job_id], {"ETag": f'"{job_id}"', "Accept-Ranges": "bytes"}, 200
        if "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data, status = data[start:], 206
        answer = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(data))})
        await answer.prepare(request)
        if self.break_at is not None:
            cut, self.break_at = self.break_at, None
            await answer.write(data[:cut])
            await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.abort()
            return answer
        await answer.write(data)
        return answer

    async def _job_socket(self, request: web.Request) -> web.WebSocketResponse:
        job_id = request.match_info["id"]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.setdefault(job_id, []).append(socket)
        job = next((job for job in self.jobs if job["id"] == job_id), None)
        if job is not None:
            snapshot = {"progress": job["progress"], "status": job["status"], "stage": job["current_stage"], "eta": None}
            await socket.send_str(json.dumps({"type": "status", **snapshot, "error": job["error_message"]}))
        async for _ in socket:
            await socket.send_str('{"type": "error", "message": "Invalid JSON"}')
        return socket

    async def _jobs_socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Cookie") != f"sessionid={COOKIE}":
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.setdefault("", []).append(socket)
        await socket.send_str(json.dumps({"type": "jobs_list", "jobs": self.jobs[:50]}))
        async for message in socket:
            if json.loads(message.data) == {"action": "refresh"}:
                await socket.send_str(json.dumps({"type": "jobs_list", "jobs": self.jobs[:50]}))
        return socket


class ProbingScreen(InstantScreen):
    """A screen that can be asked whether a file opens as media."""

    def __init__(self) -> None:
        super().__init__("front")
        self.probed: list[bytes] = []
        """What was in the files."""

    async def probe(self, path: Path, kind: str = "video", deadline_s: float = 10.0) -> None:  # type: ignore[override,unused-ignore]
        """Takes what begins like a film."""
        data = path.read_bytes()
        self.probed.append(data)
        if not data.startswith(MEDIA[:4]):
            raise UnplayableFileError("no decoder takes it")


class FilmBox:
    """One run after the other of a conversion link in the same directory."""

    def __init__(self, directory: Path, server: FakeServer, **options: Any) -> None:
        self.directory = directory
        self.server = server
        self.options = options
        self.quota_bytes = int(options.pop("quota_bytes", 1 << 40))
        self.timers = options.pop("timers", QUICK)
        self.state: State
        self.media: MediaStore
        self.screen: ProbingScreen
        self.link: ConversionLink
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Brings it up as the daemon does."""
        self.state = await State.open(self.directory / "state.db")
        self.media = MediaStore(
            self.directory / "media", self.state, quota_bytes=self.quota_bytes, reserve_bytes=0, parallel=3, timers=QUICK_STORE
        )
        await self.media.start()
        self.screen = ProbingScreen()
        self.screen.open()
        self._make_link()
        self._tasks = [asyncio.create_task(part.run(), name=f"box: {type(part).__name__}") for part in (self.media, self.link)]

    def _make_link(self) -> None:
        device = cast("Device", SimpleNamespace(state=self.state, media=self.media))
        options = {"url": self.server.url, "token": TOKEN, "spread_s": 0.0, **self.options}
        self.link = ConversionLink("films", device, screen=self.screen, timers=self.timers, **options)

    async def stop(self, *, orderly: bool = True) -> None:
        """Ends it as SIGTERM does, or, not `orderly`, as if the plug were pulled. What broke off is raised."""
        if orderly:
            await self.link.save()
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait({task})
        await self.media.close()
        await self.state.close()
        for task in self._tasks:
            if not task.cancelled():
                task.result()

    async def relink(self) -> None:
        """Another link takes this one's place, as after a change of its settings."""
        former, running = self.link, self._tasks.pop()
        await former.save()
        running.cancel()
        await asyncio.wait({running})
        self._make_link()
        self.link.predecessor = former
        self._tasks.append(asyncio.create_task(self.link.run(), name="box: next link"))

    async def restart(self, *, orderly: bool = True) -> None:
        """Another run."""
        await self.stop(orderly=orderly)
        await self.start()

    # What tests wait for

    @property
    def lines(self) -> list[StripLine]:
        """The strip."""
        return list(self.screen.stage.strips.get("films", []))

    def status(self, job_id: str) -> dict[str, Any]:
        """Of one job; empty if it does not count."""
        return next((entry for entry in self.link.jobs() if entry["id"] == job_id), {})

    async def connected(self) -> None:
        """REST has answered."""
        await until(lambda: self.link.state == "connected", "connected")

    async def reaches(self, job_id: str, state: str) -> dict[str, Any]:
        """Waits until `status` says that of a job."""
        try:
            await until(lambda: self.status(job_id).get("state") == state)
        except AssertionError:
            raise AssertionError(f"{job_id} is {self.status(job_id)}, not {state}") from None
        return self.status(job_id)

    async def shows(self, title: str) -> None:
        """Waits until that film is on."""
        try:
            await until(lambda: self.screen.title == title and self.screen.titles[-1:] == [title])
        except AssertionError:
            raise AssertionError(f"shown so far: {self.screen.titles}; jobs: {self.link.jobs()}") from None

    async def looks(self, times: int = 2) -> None:
        """Waits for so many more looks at the list."""
        before = self.server.asked("/api/jobs/")
        await until(lambda: self.server.asked("/api/jobs/") >= before + times, "looks")
