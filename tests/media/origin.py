"""A web server for media that can be told to misbehave, request by request."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def random_bytes(size: int, seed: int = 1) -> bytes:
    """Always the same for the same seed."""
    return random.Random(seed).randbytes(size)


def md5(body: bytes) -> str:
    """In hex digits."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def sha256(body: bytes) -> str:
    """In hex digits."""
    return hashlib.sha256(body).hexdigest()


@dataclass
class File:
    """What is served under one path. `cuts` are the numbers of bytes after which the next requests' connections break."""

    body: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    if_range: bool = True
    length: bool = True
    announced: int | None = None
    cuts: list[int] = field(default_factory=list)
    piece_bytes: int = 65536
    pause_s: float = 0.0  # between two pieces
    holds_after: int | None = None  # sends so much, then nothing more
    statuses: list[int] = field(default_factory=list)  # of the next requests, before any success
    headers: Mapping[str, str] = field(default_factory=dict)
    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Origin:
    """The server. `requests` are those it has seen."""

    files: dict[str, File] = field(default_factory=dict)
    handlers: dict[str, Handler] = field(default_factory=dict)
    requests: list[web.Request] = field(default_factory=list)
    port: int = 0
    busy: int = 0
    most_busy: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listens on a free port of the loopback."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Closes all connections."""
        for file in self.files.values():
            file.released.set()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """scheme://host:port"""
        return f"http://127.0.0.1:{self.port}"

    def put(self, path: str, body: bytes, **options: object) -> File:
        """Serves `body` under `path`."""
        self.files[path] = file = File(body, **options)  # type: ignore[arg-type]
        return file

    def seen(self, header: str) -> list[str | None]:
        """The values of `header` in the requests so far."""
        return [request.headers.get(header) for request in self.requests]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if (handler := self.handlers.get(request.path)) is not None:
                return await handler(request)
            file = self.files.get(request.path)
            if file is None:
                return web.Response(status=404)
            return await send(request, file)
        finally:
            self.busy -= 1


async def send(request: web.Request, file: File) -> web.StreamResponse:
    """Answers with the file as it is told to."""
    if file.statuses:
        return web.Response(status=file.statuses.pop(0))
    start = _start(request, file)
    if start is None:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(file.body)}"})
    body = file.body[start:]
    response = web.StreamResponse(status=206 if start else 200, headers=file.headers)
    if file.etag is not None:
        response.headers["ETag"] = file.etag
    if file.ranges:
        response.headers["Accept-Ranges"] = "bytes"
    if start:
        response.headers["Content-Range"] = f"bytes {start}-{len(file.body) - 1}/{len(file.body)}"
    if file.length:
        response.content_length = len(body) if file.announced is None else file.announced
    else:
        response.enable_chunked_encoding()
    await response.prepare(request)
    cut = file.cuts.pop(0) if file.cuts else None
    sent = 0
    while sent < len(body):
        if file.holds_after is not None and sent >= file.holds_after:
            await file.released.wait()
            file.holds_after = None
        end = min(sent + file.piece_bytes, len(body), *(limit for limit in (cut, file.holds_after) if limit is not None))
        await response.write(body[sent:end])
        sent = end
        if sent == cut:
            await asyncio.sleep(0.05)  # lets what was sent arrive before the reset
            if request.transport is not None:
                request.transport.abort()
            return response
        await asyncio.sleep(file.pause_s)
    await response.write_eof()
    return response


def _start(request: web.Request, file: File) -> int | None:
    match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if not match or not file.ranges:
        return 0
    validator = request.headers.get("If-Range")
    if file.if_range and validator is not None and validator != file.etag:
        return 0
    return int(match[1]) if int(match[1]) < len(file.body) else None
