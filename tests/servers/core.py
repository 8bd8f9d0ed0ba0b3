"""The hub all fake servers stand on: one HTTP listener, its request log, its event log, faults on demand, the console page.

A fake server is a Service. Alone it makes a hub of its own; several given the same hub share one process, one port and one
console page. Nothing here imports the agent: the fakes know the wire format, not its implementation.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict

from tests.servers.exchange import FAULT, RECORD, Request, abort, hide_tokens, refusal
from tests.servers.faults import Fault, Faults

if TYPE_CHECKING:
    from tests.servers.service import Service

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONSOLE_PREFIX = "/console/"
EVENTS_KEPT = 1000
REQUESTS_KEPT = 20_000


@dataclasses.dataclass(frozen=True)
class Event:
    """One line of the console's log. `direction` is 'in' (from a device), 'out' (to one), 'http' or 'note'."""

    number: int
    wall_ms: int
    service: str
    device: str
    direction: str
    title: str
    data: Any


class Hub:
    """One listener (two ports: the server, and `foreign_url`, the same files under an origin that deserves no token)."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.foreign_port = 0
        self.requests: list[Request] = []
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.faults = Faults()
        self.services: dict[str, Service] = {}
        self._away = False
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._numbers = itertools.count(1)
        self._waiters: set[asyncio.Event] = set()
        self._live: dict[int, web.Request] = {}

    @property
    def url(self) -> str:
        """Address of the server without a path, as its operator would give it."""
        return self._origin(self.port)

    @property
    def foreign_url(self) -> str:
        """Another origin in the same process; requests that arrive there are logged with `foreign` set."""
        return self._origin(self.foreign_port)

    @property
    def running(self) -> bool:
        return self._runner is not None

    def add(self, service: Service) -> None:
        """Makes `service` part of this server; to be called before `start`."""
        self.services[service.kind] = service

    async def start(self) -> None:
        """Listens; a port of 0 takes a free one and keeps it for every later start."""
        if self._runner is not None:
            return
        from tests.servers import page  # noqa: PLC0415 - the page is made of the hub's types

        app = web.Application(middlewares=[self._serve], client_max_size=64 * 1024 * 1024)
        page.add_routes(app, self)
        for service in self.services.values():
            service.add_routes(app)
        runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True, access_log=None)
        await runner.setup()
        try:
            self.port = await self._listen(runner, self.port)
            self.foreign_port = await self._listen(runner, self.foreign_port)
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Gone at once: every connection is reset, nothing listens any more. State is kept."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for request in tuple(self._live.values()):
            abort(request)
        await runner.cleanup()
        self.changed()

    async def restart(self, *, after_s: float = 0.0) -> None:
        """Stops, waits `after_s`, and listens again on the same ports."""
        await self.stop()
        await asyncio.sleep(after_s)
        await self.start()

    @property
    def away(self) -> bool:
        """While set, devices find nobody: their connections are reset. The console page stays."""
        return self._away

    @away.setter
    def away(self, value: bool) -> None:
        self._away = value
        if value:
            for request in tuple(self._live.values()):
                if not _for_console(request.path):
                    abort(request)
        self.note("server is away" if value else "server is back")

    def fault(self, path: str, **what: Any) -> Fault:
        """Adds a Fault for requests whose path matches the pattern `path` (as in fnmatch); see Fault for the kinds."""
        fault = self.faults.add(Fault(path=path, **what))
        self.note(f"fault set: {path}", fault.describe()["what"])
        return fault

    def clear_faults(self) -> None:
        """Ends all faults; bodies that stall go on."""
        self.faults.clear()
        self.note("faults cleared")

    def requests_to(self, path: str, *, method: str | None = None, foreign: bool | None = None) -> list[Request]:
        """The logged requests whose path begins with `path`, oldest first."""
        return [
            request
            for request in self.requests
            if request.path.startswith(path) and method in (None, request.method) and foreign in (None, request.foreign)
        ]

    def event(self, service: str, device: str, direction: str, title: str, data: Any = None) -> None:
        """Writes a line of the console's log and wakes whoever waits."""
        number = next(self._numbers)
        self.events.append(Event(number, int(time.time() * 1000), service, device, direction, title, data))
        self.changed()

    def note(self, title: str, data: Any = None) -> None:
        """A line about the server itself."""
        self.event("", "", "note", title, data)

    def changed(self) -> None:
        """Something is different: every waiter looks again, the console page is brought up to date."""
        for waiter in self._waiters:
            waiter.set()

    def listen(self) -> asyncio.Event:
        """An event that is set at every change, until `unlisten`."""
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        return waiter

    def unlisten(self, waiter: asyncio.Event) -> None:
        self._waiters.discard(waiter)

    async def wait_for(self, predicate: Callable[[], T], timeout_s: float = 10.0, *, what: Callable[[], str] | str = "") -> T:
        """The first true value of `predicate`, which is asked after every change.

        Raises TimeoutError, with what was waited for in its text.
        """
        waiter = self.listen()
        try:
            async with asyncio.timeout(timeout_s):
                while not (value := predicate()):
                    await waiter.wait()
                    waiter.clear()
                return value
        except TimeoutError:
            text = what() if callable(what) else what
            raise TimeoutError(f"not within {timeout_s} s: {text or predicate}") from None
        finally:
            self.unlisten(waiter)

    async def command(self, name: str, args: Mapping[str, Any]) -> Any:
        """A command of the console page to the server itself. Raises ValueError for what makes no sense."""
        if name == "fault":
            known = {field.name for field in dataclasses.fields(Fault) if field.init}
            what = {key: value for key, value in args.items() if key in known}
            if what.get("redirect_to") == "foreign":
                what["redirect_to"] = self.foreign_url
            self.fault(str(what.pop("path", "*")), **what)
        elif name == "clear_faults":
            self.clear_faults()
        elif name == "remove_fault":
            self.faults.remove(int(args["number"]))
            self.changed()
        elif name == "away":
            self.away = bool(args.get("value"))
        else:
            raise ValueError(f"no such command: {name}")

    def state(self) -> dict[str, Any]:
        """What the console page shows of the server itself."""
        return {"url": self.url, "away": self._away, "faults": self.faults.describe()}

    def _origin(self, port: int) -> str:
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def _listen(self, runner: web.AppRunner, port: int) -> int:
        site = web.TCPSite(runner, self.host, port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        address: tuple[Any, ...] = runner.addresses[-1]
        return int(address[1])

    @web.middleware
    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._live[id(request)] = request
        try:
            if _for_console(request.path):
                return await handler(request)
            if self._away:
                abort(request)
                return web.Response()
            return await self._serve_device(request, handler)
        except ConnectionError:  # the peer is gone, or a fault has aborted the connection
            abort(request)
            return web.Response()
        finally:
            self._live.pop(id(request), None)

    async def _serve_device(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        record = self._record(request)
        fault = self.faults.match(record.path, method=record.method)
        request[FAULT] = fault
        request[RECORD] = record
        self.changed()
        try:
            if fault.delay_s:
                await asyncio.sleep(fault.delay_s)
            if fault.drop:
                abort(request)
                raise ConnectionResetError("dropped on purpose")
            response = fault.answer(request) or await handler(request)
            record.status = response.status
        except web.HTTPException as error:
            record.status = error.status
            response = refusal(error.status, error.text or error.reason)
        finally:
            self._describe(record)
        return response

    def _record(self, request: web.Request) -> Request:
        name = request.transport.get_extra_info("sockname") if request.transport else None
        record = Request(
            at=time.monotonic(),
            method=request.method,
            path=unquote(request.rel_url.raw_path),
            query=dict(request.query),
            headers=CIMultiDict(request.headers),
            foreign=bool(name and name[1] == self.foreign_port),
        )
        self.requests.append(record)
        if len(self.requests) > REQUESTS_KEPT:
            del self.requests[: REQUESTS_KEPT // 2]
        return record

    def _describe(self, record: Request) -> None:
        data: dict[str, Any] = {"status": record.status, "query": hide_tokens(record.query)}
        if "Range" in record.headers:
            data["range"] = record.headers["Range"]
        if record.body is not None:
            data["body"] = hide_tokens(record.body)
        if record.foreign:
            data["foreign"] = True
        device = str(record.query.get("sn_number", ""))
        if isinstance(record.body, dict):
            device = str(record.body.get("sn_number", device))
        self.event("", device, "http", f"{record.method} {record.path} → {record.status or 'cut'}", data)


def _for_console(path: str) -> bool:
    return path in ("/", "/favicon.ico") or path.startswith(CONSOLE_PREFIX)
