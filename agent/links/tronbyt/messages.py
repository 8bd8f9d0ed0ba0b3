"""The Tronbyt protocol's messages, both directions, and the headers of polling (tronbyt contract, sections 1, 2 and 4)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

SHORTEST_DWELL_S = 1.0
LONGEST_DWELL_S = 3600.0
BRIGHTEST = 255
LONGEST_TEXT = 64 * 1024
"""Characters; what is longer is no message."""
LONGEST_INTEGER = 300
"""Digits; longer ones are as good as infinite."""
LONGEST_WORDS = 4_000
"""Characters of a server's error that are kept: more than are shown, so that no secret in them is cut."""
MOST_KEYS = 100
"""Of an object; what has more is no message."""

DWELL_HEADER = "Tronbyt-Dwell-Secs"
BRIGHTNESS_HEADER = "Tronbyt-Brightness"
IMMEDIATE_HEADER = "Tronbyt-Immediate"

_NUMBER = re.compile(r"\s*(-?\d{1,12}(?:\.\d{1,12})?)\s*", re.ASCII)
_MEANT = frozenset({"dwell_secs", "brightness", "immediate", "status", "message", "reboot"})


class NotAMessageError(ValueError):
    """The text says nothing; str() says why, without quoting it."""


# From the server


def _to_dwell_s(value: Any) -> float:
    """Clamped to what an image may stay. Raises ValueError for what is no number."""
    return max(SHORTEST_DWELL_S, min(LONGEST_DWELL_S, _number(value)))


def _to_brightness(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= BRIGHTEST:
        raise ValueError(f"must be a number from 0 to {BRIGHTEST}")
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a finite number")
    return float(value)


def _to_words(value: Any) -> str:
    return " ".join(value.split())[:LONGEST_WORDS] if isinstance(value, str) else ""


def _is_true(value: Any) -> bool:
    return value is True


def _or_nothing(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A key with a wrong value is as good as absent; the others count all the same."""
    try:
        return check(value)
    except ValidationError:
        return None


class ServerMessage(BaseModel):
    """One object from the server: whatever of it makes sense."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    dwell_secs: Annotated[float | None, BeforeValidator(_to_dwell_s), WrapValidator(_or_nothing)] = None
    """How long the next image stays, 1 to 3600 s."""
    brightness: Annotated[float | None, BeforeValidator(_to_brightness), WrapValidator(_or_nothing)] = None
    """0 to 100 or 0 to 255, see `agent.links.tronbyt.brightness`."""
    immediate: Annotated[bool, BeforeValidator(_is_true)] = False
    """The newest image is to be shown now."""
    status: Annotated[str, BeforeValidator(_to_words)] = ""
    message: Annotated[str, BeforeValidator(_to_words)] = ""
    reboot: Annotated[bool, BeforeValidator(_is_true)] = False
    ignored: tuple[str, ...] = ()
    """Keys that mean nothing here, and those with a wrong value."""


def parse(text: str) -> ServerMessage:
    """The message in a text from the server. Raises NotAMessageError."""
    if len(text) > LONGEST_TEXT:
        raise NotAMessageError(f"a text of more than {LONGEST_TEXT} characters")
    try:
        body = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise NotAMessageError(f"invalid JSON: {type(error).__name__}") from None
    if not isinstance(body, dict):
        raise NotAMessageError("JSON that is no object")
    if len(body) > MOST_KEYS:
        raise NotAMessageError(f"an object with more than {MOST_KEYS} keys")
    known = {key: value for key, value in body.items() if key in _MEANT}
    found = ServerMessage.model_validate(known)
    wrong = [key for key in ("dwell_secs", "brightness") if key in known and getattr(found, key) is None]
    ignored = (*(key for key in body if key not in _MEANT), *wrong)
    return found.model_copy(update={"ignored": ignored}) if ignored else found


def parse_headers(headers: Mapping[str, str]) -> ServerMessage:
    """The same from the headers of a polled image; `headers` finds names in whatever case."""
    return ServerMessage.model_validate(
        {
            "dwell_secs": _header_number(headers.get(DWELL_HEADER, "")),
            "brightness": _header_number(headers.get(BRIGHTNESS_HEADER, "")),
            "immediate": headers.get(IMMEDIATE_HEADER, "").strip().lower() in {"1", "true"},
        }
    )


def _header_number(text: str) -> float | None:
    found = _NUMBER.fullmatch(text)
    return float(found.group(1)) if found else None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_INTEGER else float(digits)


# To the server


class Said(BaseModel):
    """A text to the server."""

    model_config = ConfigDict(frozen=True, strict=True)

    def text(self) -> str:
        """As it goes over the wire."""
        return self.model_dump_json()


class ClientInfo(Said):
    """Who we are."""

    firmware_version: str
    firmware_type: Literal["signage-agent"] = "signage-agent"
    protocol_version: Literal[1] = 1
    mac: str


class Hello(Said):
    """The first text of every connection."""

    client_info: ClientInfo


class Queued(Said):
    """Image number `queued` was received and buffered."""

    queued: int


class Displaying(Said):
    """Image number `displaying` is on the screen now; the server sends the next one."""

    displaying: int
