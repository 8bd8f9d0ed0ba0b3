"""Faults a fake server shows on demand: each one names the paths it concerns, what goes wrong and how often."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web

_numbers = itertools.count(1)


@dataclasses.dataclass
class Fault:
    """One fault. Several that match a request act together; of two that say the same, the older one counts.

    `path` is an fnmatch pattern of the decoded path; `times` the number of requests it concerns (None: until removed).
    """

    path: str
    times: int | None = None
    method: str | None = None
    skip: int = 0
    """So many matching requests pass untouched first."""

    # before the answer
    delay_s: float = 0.0
    drop: bool = False
    """Reset the connection instead of an answer."""
    status: int | None = None
    """Answer this status; on a WebSocket path: refuse the upgrade with it."""
    body: str | None = None
    """Body of that answer, or with no status of a 200; default: the error object."""
    content_type: str = "application/json"
    redirect_to: str | None = None
    """Answer 302 to this origin with the same path, or to this address if it has a path."""

    # in the body of a file
    corrupt: bool = False
    """Right length, wrong bytes."""
    cut_after: int | None = None
    """Reset the connection after so many bytes of this answer."""
    stall_after: int | None = None
    """Send nothing more after so many bytes, until the fault is removed."""
    bytes_per_s: float | None = None
    ignore_range: bool = False
    chunked: bool = False
    """No Content-Length."""
    short_by: int = 0
    """A complete, well-formed answer (200, honest Content-Length) that lacks so many bytes at its end."""
    no_etag: bool = False
    new_etag: bool = False
    """Another ETag each time, as if the file changed: If-Range never matches."""

    # on a WebSocket
    close_code: int | None = None
    """Accept the upgrade, then close with this code at once."""
    deaf: bool = False
    """Accept, then never answer a ping nor read what comes."""

    hits: int = dataclasses.field(default=0, init=False)
    number: int = dataclasses.field(default_factory=lambda: next(_numbers), init=False)
    over: asyncio.Event = dataclasses.field(default_factory=asyncio.Event, init=False, repr=False)

    def describe(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as JSON."""
        said = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.init and field.name != "path" and getattr(self, field.name) != field.default
        }
        return {"number": self.number, "path": self.path, "hits": self.hits, "what": said}

    def answer(self, request: web.Request) -> web.Response | None:
        """The whole answer, where the fault takes the place of one."""
        if self.redirect_to is not None:
            path_less = self.redirect_to.count("/") <= 2
            target = self.redirect_to + request.raw_path if path_less else self.redirect_to
            return web.Response(status=302, headers={"Location": target})
        if self.status is None and self.body is None:
            return None
        status = self.status or 200
        if self.body is not None:
            return web.Response(status=status, text=self.body, content_type=self.content_type)
        return web.json_response({"message": "fault on demand", "status_code": status}, status=status)


class Faults:
    """The faults that are set, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def remove(self, number: int) -> None:
        """Ends the fault with that number, if it is still there."""
        for fault in self._faults:
            if fault.number == number:
                fault.over.set()
        self._faults = [fault for fault in self._faults if fault.number != number]

    def clear(self) -> None:
        for fault in self._faults:
            fault.over.set()
        self._faults.clear()

    def describe(self) -> list[dict[str, Any]]:
        return [fault.describe() for fault in self._faults]

    def match(self, path: str, *, method: str) -> Fault:
        """What goes wrong with this request: all faults that concern it in one; counts them as used."""
        merged = Fault(path=path)
        for fault in tuple(self._faults):
            if not fnmatchcase(path, fault.path) or fault.method not in (None, method):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.hits += 1
            if fault.times is not None and fault.hits >= fault.times:
                self._faults.remove(fault)
            _merge(merged, fault)
        return merged


def _merge(into: Fault, fault: Fault) -> None:
    for field in dataclasses.fields(Fault):
        if not field.init or field.name in ("path", "times", "method", "skip"):
            continue
        if getattr(into, field.name) == field.default:
            setattr(into, field.name, getattr(fault, field.name))
    if fault.stall_after is not None:
        into.over = fault.over
