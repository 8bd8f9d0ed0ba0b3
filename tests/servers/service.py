"""What a fake server of one protocol is: state, routes, and its part of the console page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from aiohttp import web

from tests.servers.core import Hub
from tests.servers.exchange import Request
from tests.servers.faults import Fault
from tests.servers.files import MediaFile

T = TypeVar("T")


class Service:
    """A fake server of one protocol. Subclasses keep the state, add routes, and say what the console page shows.

    Alone: `async with SomeServer() as server`. Together: `SomeServer(hub=hub)` for each, then `async with hub`'s start/stop.
    """

    kind = ""
    title = ""

    def __init__(self, *, hub: Hub | None = None, **listen: Any) -> None:
        self.hub = hub if hub is not None else Hub(**listen)
        self.hub.add(self)

    def add_routes(self, app: web.Application) -> None:
        """Adds this protocol's paths."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What the console page shows, as JSON."""
        raise NotImplementedError

    async def command(self, name: str, args: Mapping[str, Any]) -> Any:
        """Carries out a command of the console page. Raises ValueError or KeyError for what makes no sense."""
        raise NotImplementedError

    def screenshot(self, device: str) -> bytes | None:
        """The newest picture (JPEG) of what that device shows."""
        return None

    def media_file(self, name: str) -> MediaFile | None:
        """A file the console page may show a preview of."""
        return None

    async def start(self) -> None:
        await self.hub.start()

    async def stop(self) -> None:
        await self.hub.stop()

    async def restart(self, *, after_s: float = 0.0) -> None:
        await self.hub.restart(after_s=after_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return self.hub.url

    @property
    def foreign_url(self) -> str:
        return self.hub.foreign_url

    @property
    def requests(self) -> list[Request]:
        return self.hub.requests

    def requests_to(self, path: str, *, method: str | None = None, foreign: bool | None = None) -> list[Request]:
        return self.hub.requests_to(path, method=method, foreign=foreign)

    def fault(self, path: str, **what: Any) -> Fault:
        return self.hub.fault(path, **what)

    def clear_faults(self) -> None:
        self.hub.clear_faults()

    async def wait_for(self, predicate: Callable[[], T], timeout_s: float = 10.0, *, what: Callable[[], str] | str = "") -> T:
        return await self.hub.wait_for(predicate, timeout_s, what=what)
