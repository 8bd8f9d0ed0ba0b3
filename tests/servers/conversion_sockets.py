"""The sockets of the fake conversion server: one per job, and one for all jobs of the user."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from tests.servers.conversion_jobs import ConversionJob, Peer, Told, snapshot
from tests.servers.exchange import FAULT, record_of

if TYPE_CHECKING:
    from tests.servers.conversion import ConversionServer

JOB_SOCKET_PATH = "/ws/conversion/{job_id}/"
JOBS_SOCKET_PATH = "/ws/jobs/"
LISTED = 50
"""Jobs in a `jobs_list`."""


class Sockets:
    """Who may open one, what comes first on it, what is answered."""

    def __init__(self, server: ConversionServer) -> None:
        self._server = server

    def add_routes(self, app: web.Application) -> None:
        """Adds the paths."""
        app.router.add_get(JOB_SOCKET_PATH, self._job_socket)
        app.router.add_get(JOBS_SOCKET_PATH, self._jobs_socket)

    async def _job_socket(self, request: web.Request) -> web.StreamResponse:
        self._server.rest.look_for_leaks(request)
        if "Authorization" in request.headers:
            self._server.complain("a token on the socket of a job, which needs none")
        socket = await self._handshake(request)
        if not isinstance(socket, web.WebSocketResponse):
            return socket
        job = self._server.job(request.match_info["job_id"])
        peer = Peer(socket, request)
        if job is not None:
            job.opened += 1
            job.sockets.append(peer)
            self._server.hub.event(self._server.kind, job.name[:60], "in", "follows", {"sockets": job.opened})
        try:
            if job is not None:
                first = snapshot(job, self._server.habit)
                await socket.send_json(first)
                job.told.append(Told(int(time.time() * 1000), first, 1))
            async for frame in socket:
                if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._answer(socket, frame.data, job)
        finally:
            if job is not None:
                job.sockets.remove(peer)
                self._server.hub.event(self._server.kind, job.name[:60], "note", "follows no longer", {"code": socket.close_code})
        return socket

    async def _answer(self, socket: web.WebSocketResponse, data: str | bytes, job: ConversionJob | None) -> None:
        try:
            asked = json.loads(data)
        except ValueError:
            await socket.send_json({"type": "error", "message": "Invalid JSON"})
            return
        if job is not None and isinstance(asked, dict) and asked.get("action") == "status":
            await socket.send_json(snapshot(job, self._server.habit))

    async def _jobs_socket(self, request: web.Request) -> web.StreamResponse:
        if self._server.rest.authentication and request.cookies.get("sessionid") != self._server.rest.cookie:
            self._server.handshakes_refused += 1
            return web.json_response({"detail": "Authentication credentials were not provided."}, status=403)
        socket = await self._handshake(request)
        if not isinstance(socket, web.WebSocketResponse):
            return socket
        peer = Peer(socket, request)
        self._server.jobs_opened += 1
        self._server.jobs_sockets.append(peer)
        self._server.hub.event(self._server.kind, "", "in", "listens to all jobs")
        try:
            if self._server.habit == "field":
                await self._send_list(peer)
            async for frame in socket:
                if frame.type == WSMsgType.TEXT and self._server.habit == "field":
                    with contextlib.suppress(ValueError, AttributeError):
                        if json.loads(frame.data).get("action") == "refresh":
                            await self._send_list(peer)
        finally:
            self._server.jobs_sockets.remove(peer)
            self._server.hub.event(self._server.kind, "", "note", "listens no longer", {"code": socket.close_code})
        return socket

    async def _send_list(self, peer: Peer) -> None:
        jobs = [job.item() for job in self._server.jobs if not job.hidden]
        await peer.socket.send_json({"type": "jobs_list", "jobs": jobs[:LISTED]})

    async def _handshake(self, request: web.Request) -> web.StreamResponse:
        """The open socket, or the answer instead of one."""
        fault = request[FAULT]
        own = f"{request.scheme}://{request.host}"
        if self._server.refuse_sockets or request.headers.get("Origin") != own:
            self._server.handshakes_refused += 1
            return web.Response(status=403, text="Access denied")
        socket = web.WebSocketResponse(compress=False, max_msg_size=64 * 1024, timeout=2.0)
        await socket.prepare(request)
        record_of(request).status = 101
        if fault.close_code is not None:
            await socket.close(code=fault.close_code)
        if fault.deaf:
            await asyncio.Event().wait()
        return socket
