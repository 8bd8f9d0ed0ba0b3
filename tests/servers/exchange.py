"""One HTTP request at a fake server: its log entry, its fault, its body, and the errors it may be answered with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from tests.servers.faults import Fault

FAULT = web.RequestKey("fault", Fault)
RECORD = web.RequestKey("record", object)


@dataclasses.dataclass
class Request:
    """One HTTP request as it arrived. `at` is time.monotonic(); `status` is 0 until the answer has begun."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    headers: CIMultiDict[str]
    foreign: bool
    body: Any = None
    status: int = 0

    @property
    def bearer(self) -> str:
        """The token in its Authorization header, or ''."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""


def abort(request: web.Request) -> None:
    """Resets the connection of `request`: what a pulled cable or a killed server looks like."""
    if request.transport is not None:
        request.transport.abort()


def record_of(request: web.Request) -> Request:
    """The log entry of a request that a Service handles."""
    record = request[RECORD]
    assert isinstance(record, Request)
    return record


def refusal(status: int, message: str) -> web.Response:
    """An error answer as the backends give it."""
    return web.json_response({"message": message, "status_code": status}, status=status)


async def json_body(request: web.Request) -> dict[str, Any]:
    """The JSON object in a request, noted in its log entry; 400 for anything else."""
    try:
        body = json.loads(await request.text(), parse_constant=no_number)
    except ValueError:
        raise web.HTTPBadRequest(text="JSON parse error") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="expected an object")
    record_of(request).body = body
    return body


def no_number(name: str) -> float:
    """Refuses NaN and Infinity, which Python's JSON takes and nobody else's does."""
    raise ValueError(f"{name} is not JSON")


def hide_tokens(value: Any) -> Any:
    """`value` with the secrets of known keys shortened, for the console's log only."""
    if isinstance(value, Mapping):
        return {
            key: (f"{str(item)[:8]}…" if key in ("token", "access", "refresh", "password") else hide_tokens(item))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hide_tokens(item) for item in value]
    return value
