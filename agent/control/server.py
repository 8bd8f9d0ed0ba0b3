"""The control socket: HTTP on a Unix socket for the command line and other local tools.

    GET  /status             the status document
    GET  /status?watch       the same as JSON lines, one whenever it changes, until the client goes
    GET  /screenshot?screen= what is on a screen, JPEG or PNG
    POST /play?name=&screen= the body is a media file, played over the running playlist
    POST /update             the body is a bundle, or JSON: {"url"}, {} for the newest of the configured source. Answered with
                             JSON lines: {"state", ...} as it gets on, last {"version"} or {"error"}. With the header
                             X-By-Hand: yes, a version that did not work here before is taken, too
    POST /update/look        the installer has done something

Whoever may open the socket (mode 0660) may do all of it. Errors are `{"error": "a sentence"}`. The daemon opens no path that
a client names: files travel through the socket. This module imports aiohttp, which takes a while: import it late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.control.controlled import CommandError, Controlled
from agent.control.door import ControlError, listen

__all__ = ["CommandError", "ControlError", "ControlServer", "Controlled"]

log = logging.getLogger(__name__)

_CHUNK_BYTES = 256 * 1024
_MAX_NAME_BYTES = 255
_MAX_URL_CHARACTERS = 4096
_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}


class ControlServer:
    """Serves `control` on the socket `path` from `start` to `close`."""

    def __init__(
        self,
        control: Controlled,
        path: Path,
        *,
        play_limit_bytes: int = 8_000_000_000,
        push_interval_s: float = 0.2,
        look_interval_s: float = 1.0,
    ) -> None:
        """`push_interval_s`: a watcher gets no two lines closer than this. `look_interval_s`: how often what changes with
        time alone, such as the position in a video, is looked at while somebody watches."""
        self._control = control
        self._path = path
        self._play_limit_bytes = play_limit_bytes
        self._push_interval_s = push_interval_s
        self._look_interval_s = look_interval_s
        self._watchers: set[asyncio.Event] = set()
        self._closing = False
        self._runner: web.AppRunner | None = None
        self._inode: int | None = None

    async def start(self, listener: socket.socket | None = None) -> None:
        """Serves `listener`, or opens the socket itself. Raises ControlError."""
        listener = listener or listen(self._path)
        self._inode = self._path.stat().st_ino
        app = web.Application(middlewares=[_answer_in_json])
        app.router.add_get("/status", self._status, allow_head=False)
        app.router.add_get("/screenshot", self._screenshot, allow_head=False)
        app.router.add_post("/play", self._play)
        app.router.add_post("/update", self._update)
        app.router.add_post("/update/look", self._look)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        self._control.on_change(self._wake)

    async def close(self) -> None:
        """Ends all connections within a second and removes the socket."""
        self._closing = True
        self._wake()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    async def _status(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        return web.json_response(self._control.status())

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        changed = asyncio.Event()
        self._watchers.add(changed)
        told: dict[str, Any] = {}
        try:
            while not self._closing and request.transport is not None and not request.transport.is_closing():
                changed.clear()
                document = self._control.status()
                if {**document, "uptime_s": None} != told:
                    told = {**document, "uptime_s": None}
                    await response.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")
                    await asyncio.sleep(self._push_interval_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._look_interval_s):
                        await changed.wait()
        except ConnectionError:
            pass  # the client has seen enough
        finally:
            self._watchers.discard(changed)
        return response

    async def _screenshot(self, request: web.Request) -> web.StreamResponse:
        path = await self._control.screenshot(request.query.get("screen") or None)
        try:
            picture = await asyncio.to_thread(path.open, "rb")
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        with picture:
            response = web.StreamResponse(headers={"Content-Type": _TYPES.get(path.suffix.lower(), "application/octet-stream")})
            response.content_length = os.fstat(picture.fileno()).st_size
            await response.prepare(request)
            while chunk := await asyncio.to_thread(picture.read, _CHUNK_BYTES):
                await response.write(chunk)
        return response

    async def _play(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("name", "")
        if not name or "/" in name or not name.isprintable() or len(name.encode()) > _MAX_NAME_BYTES:
            raise CommandError("name must be the name of a file, without a directory", status=400)
        if (request.content_length or 0) > self._play_limit_bytes:
            raise self._too_big()
        await self._control.play(request.query.get("screen") or None, name, self._body(request, self._play_limit_bytes))
        return web.json_response({"playing": name})

    async def _update(self, request: web.Request) -> web.StreamResponse:
        source: AsyncIterator[bytes] | str | None
        size: int | None = None
        if request.content_type == "application/json":
            source = await _url(request)
        else:
            source, size = self._body(request), request.content_length
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        by_hand = request.headers.get("X-By-Hand") == "yes"
        try:
            async with contextlib.aclosing(self._control.update(source, size=size, by_hand=by_hand)) as events:
                async for event in events:
                    if not response.prepared:
                        await response.prepare(request)
                    await response.write(json.dumps(event).encode() + b"\n")
                    if "version" in event:
                        await response.write_eof()
        except CommandError as error:
            if not response.prepared:
                raise
            log.info("control command refused command=%s reason=%s", request.path, error)
            await response.write(json.dumps({"error": str(error)}).encode() + b"\n")
        return response

    async def _look(self, request: web.Request) -> web.StreamResponse:
        del request
        self._control.look()
        return web.json_response({})

    async def _body(self, request: web.Request, limit_bytes: int | None = None) -> AsyncIterator[bytes]:
        """The file that a client sends. Raises CommandError when it breaks off or is too big."""
        received = 0
        try:
            async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)
                if limit_bytes is not None and received > limit_bytes:
                    raise self._too_big()
                yield chunk
        except (ConnectionError, web.RequestPayloadError) as error:
            raise CommandError(f"the file broke off after {received} bytes", status=400) from error
        if request.content_length is not None and received != request.content_length:
            raise CommandError(f"the file broke off after {received} of {request.content_length} bytes", status=400)

    def _too_big(self) -> CommandError:
        return CommandError(f"the file is bigger than the store: {self._play_limit_bytes} bytes", status=413)


async def _url(request: web.Request) -> str | None:
    """The URL in the body; None: there is none in it. Raises CommandError."""
    try:
        content = await request.json()
        url = content.get("url")
    except (ValueError, AttributeError):
        raise CommandError("the body must be a JSON object", status=400) from None
    if url is None or (isinstance(url, str) and 0 < len(url) <= _MAX_URL_CHARACTERS):
        return url
    raise CommandError("url must be an address", status=400)


@web.middleware
async def _answer_in_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except CommandError as error:
        log.info("control command refused command=%s reason=%s", request.path, error)
        return web.json_response({"error": str(error)}, status=error.status)
    except web.HTTPException as error:
        return web.json_response({"error": f"{error.reason}: {request.method} {request.path}"}, status=error.status)
    except ConnectionError:
        raise
    except Exception:
        log.exception("control command failed command=%s", request.path)
        return web.json_response({"error": "the agent failed at this; its log says why"}, status=500)
