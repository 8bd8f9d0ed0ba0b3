"""Serves the console page and keeps it up to date over a WebSocket.

The page gets `hello`, then `state` (of the hub and of each service, whenever something changed) and `events`; it sends
`{id, service, command, args}` and gets `done {id, error}` back.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from tests.servers.core import CONSOLE_PREFIX, Hub
from tests.servers.files import give

FILES = Path(__file__).parent / "console"
SETTLE_S = 0.05
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_routes(app: web.Application, hub: Hub) -> None:
    """Adds the page at '/', its files, its socket, and the pictures it shows."""
    page = _Page(hub)
    app.router.add_get("/", page.index)
    app.router.add_get("/favicon.ico", page.icon)
    app.router.add_get(f"{CONSOLE_PREFIX}socket", page.socket)
    app.router.add_get(f"{CONSOLE_PREFIX}media/{{name:.*}}", page.media)
    app.router.add_get(f"{CONSOLE_PREFIX}screenshot/{{service}}", page.screenshot)
    app.router.add_get(f"{CONSOLE_PREFIX}{{name}}", page.file)


class _Page:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(FILES / "index.html", headers=HEADERS)

    async def icon(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(FILES / "icon.svg", headers=HEADERS)

    async def file(self, request: web.Request) -> web.StreamResponse:
        path = FILES / request.match_info["name"]
        if path.parent != FILES or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers=HEADERS)

    async def media(self, request: web.Request) -> web.StreamResponse:
        """A file as the devices get it, without faults and outside the request log."""
        for service in self._hub.services.values():
            file = service.media_file(request.match_info["name"])
            if file is not None:
                return await give(request, file)
        raise web.HTTPNotFound

    async def screenshot(self, request: web.Request) -> web.StreamResponse:
        service = self._hub.services.get(request.match_info["service"])
        image = service.screenshot(request.query.get("device", "")) if service is not None else None
        if image is None:
            raise web.HTTPNotFound
        return web.Response(body=image, content_type="image/jpeg", headers={**HEADERS, "Cache-Control": "no-store"})

    async def socket(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        async with asyncio.TaskGroup() as tasks:
            updates = tasks.create_task(self._update(socket), name="console page updates")
            async for frame in socket:
                if frame.type == WSMsgType.TEXT:
                    await self._command(socket, frame.data)
            updates.cancel()
        return socket

    async def _update(self, socket: web.WebSocketResponse) -> None:
        hub = self._hub
        changed = hub.listen()
        shown: dict[str, Any] = {}
        newest = 0
        try:
            services = [{"kind": service.kind, "title": service.title} for service in hub.services.values()]
            await socket.send_json({"type": "hello", "services": services})
            while True:
                changed.clear()
                states = {"": hub.state(), **{kind: service.state() for kind, service in hub.services.items()}}
                for kind, state in states.items():
                    if shown.get(kind) != state:
                        await socket.send_json({"type": "state", "service": kind, "state": state})
                        shown[kind] = state
                events = [dataclasses.asdict(event) for event in hub.events if event.number > newest]
                if events:
                    newest = events[-1]["number"]
                    await socket.send_json({"type": "events", "events": events})
                await asyncio.sleep(SETTLE_S)  # a burst becomes one update
                await changed.wait()
        except ConnectionError:
            return
        finally:
            hub.unlisten(changed)

    async def _command(self, socket: web.WebSocketResponse, text: str) -> None:
        error = ""
        number: Any = None
        try:
            asked = json.loads(text)
            number = asked.get("id")
            kind = str(asked.get("service", ""))
            target = self._hub.services[kind] if kind else self._hub
            await target.command(str(asked["command"]), asked.get("args") or {})
        except (ValueError, KeyError, TypeError, AttributeError, ConnectionError) as fault:
            error = str(fault) or type(fault).__name__
        await socket.send_json({"type": "done", "id": number, "error": error})
