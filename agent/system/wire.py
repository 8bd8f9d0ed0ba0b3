"""Typed JSON lines between the daemon and its workers.

A message is a frozen dataclass; its class name is its type on the wire. Both ends decode with the list of messages they
expect, so a wrong field stops at the border. Plain dataclasses rather than pydantic models because a worker should present
its first picture before pydantic would have been imported.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from typing import Any

MAX_LINE_BYTES = 1024 * 1024


class WireError(ValueError):
    """A line that is not a message this end expects."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ping:
    """Request to a worker, answered by Done at once: its loop runs and what it drives answers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Begin:
    """First message to a worker that was started without its arguments."""

    arguments: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """Answer to a request; `error` is empty when it succeeded."""

    error: str = ""


def encode(message: Any, *, request_id: int | None = None) -> bytes:
    """One line for `message`, a dataclass instance; `request_id` ties a request to its answer.

    Raises WireError if the line would exceed MAX_LINE_BYTES.
    """
    body: dict[str, Any] = {"type": type(message).__name__, **dataclasses.asdict(message)}
    if request_id is not None:
        body["id"] = request_id
    line = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise WireError(f"message too long: type={body['type']} bytes={len(line)}")
    return line


def decode(line: bytes, expected: tuple[type, ...]) -> tuple[Any, int | None]:
    """The message in `line` and its request id; `expected` are the dataclasses this end takes in.

    Raises WireError for anything else: no JSON, an unknown type, a missing, unknown or wrongly typed field.
    """
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from None
    if not isinstance(body, dict):
        raise WireError("not an object")
    name = body.pop("type", None)
    request_id = body.pop("id", None)
    if request_id is not None and type(request_id) is not int:
        raise WireError("id is not an integer")
    for cls in expected:
        if cls.__name__ == name:
            return _build(cls, body, cls.__name__), request_id
    raise WireError(f"unexpected type {name!r}")


@functools.cache
def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    """Field name → (type, has a default)."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: (
            hints[field.name],
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    }


def _build(cls: type, body: dict[str, Any], place: str) -> Any:
    fields = _fields(cls)
    for key in body:
        if key not in fields:
            raise WireError(f"{place}.{key}: unknown field")
    values = {}
    for key, (hint, optional) in fields.items():
        if key in body:
            values[key] = _value(hint, body[key], f"{place}.{key}")
        elif not optional:
            raise WireError(f"{place}.{key}: missing")
    return cls(**values)


def _value(hint: Any, value: Any, place: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        [hint] = [option for option in options if option is not type(None)]
        return _value(hint, value, place)
    if origin is tuple:
        if not isinstance(value, list):
            raise WireError(f"{place}: not a list")
        args = typing.get_args(hint)
        if args[-1] is Ellipsis:
            args = (args[0],) * len(value)
        if len(args) != len(value):
            raise WireError(f"{place}: {len(value)} elements instead of {len(args)}")
        return tuple(_value(arg, element, f"{place}[{i}]") for i, (arg, element) in enumerate(zip(args, value, strict=True)))
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise WireError(f"{place}: {value!r} is not one of {', '.join(map(str, typing.get_args(hint)))}")
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise WireError(f"{place}: not an object")
        return _build(typing.cast("type", hint), value, place)
    if hint is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise WireError(f"{place}: too large a number") from None
    if type(value) is not hint:
        raise WireError(f"{place}: {type(value).__name__} instead of {getattr(hint, '__name__', hint)}")
    return value
