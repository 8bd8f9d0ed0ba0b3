"""The kinds of values that appear in settings: sizes, addresses, outputs, modes. Each has one parser.

A parser takes what TOML or an environment variable gave and raises ValueError with a sentence for the installer. No sentence
repeats an address, because an address may hold a password.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from agent.update.keys import parse_key

Side = Literal["front", "back", "right", "left"]
SIDES: tuple[Side, ...] = ("front", "back", "right", "left")
NAME_RULE = "letters, digits, '-', '_' and '.', beginning with a letter or digit, 64 at most"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b)?", re.IGNORECASE)
_PIXELS = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})")
_MODE = re.compile(_PIXELS.pattern + r"(@[1-9]\d{0,2}(\.\d{1,3})?)?")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_SCHEMES = ("http", "https", "ws", "wss")
_SOCKET_PATH_BYTES = 107


def parse_name(value: str) -> str:
    """The name of a link or a screen; it becomes part of environment variables, file names and log lines."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"a name has {NAME_RULE}")
    return value


def parse_size(value: Any) -> int:
    """Bytes in "8GB", "500 MB", "1.5GiB" or a plain number of bytes. GB is 1000^3, GiB is 1024^3."""
    if type(value) is int and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a size such as "8GB" or "500MB"')
    number, prefix, binary = match.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** ("kmgt".index(prefix.lower()) + 1 if prefix else 0))


def parse_path(value: Any) -> Path:
    """A path; `~` is the home directory of whoever runs the agent."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path in quotes")
    return Path(value).expanduser()


def parse_optional_path(value: Any) -> Path | None:
    """A path, or None for the empty text."""
    return None if value is None or value == "" else parse_path(value)


def parse_socket(value: Any) -> Path:
    """The path of a Unix socket, which the kernel bounds."""
    path = parse_path(value)
    if len(str(path).encode()) > _SOCKET_PATH_BYTES:
        raise ValueError(f"is too long for a socket: {_SOCKET_PATH_BYTES} bytes at most")
    return path


def parse_output(value: str) -> str:
    """`auto`, `x11`, `wayland`, `null`, or `drm:` with the name of a connector such as HDMI-A-1."""
    if value in {"auto", "x11", "wayland", "null"} or re.fullmatch(r"drm:[A-Za-z][A-Za-z0-9-]*-\d+", value):
        return value
    raise ValueError("must be auto, x11, wayland, null, or drm: with a connector such as drm:HDMI-A-1")


def parse_mode(value: str) -> str:
    """`auto`, or width x height with an optional rate: 1920x1080, 1920x1080@60, 1920x1080@59.94."""
    if value == "auto" or _MODE.fullmatch(value):
        return value
    raise ValueError("must be auto or a mode such as 1920x1080@60")


def parse_window(value: str) -> str:
    """Empty for the full screen, or width x height."""
    if value == "" or _PIXELS.fullmatch(value):
        return value
    raise ValueError('must be empty or a size in pixels such as "1280x720"')


def parse_camera_source(value: str) -> str:
    """`auto`, `picamera2`, `test`, `none`, or `v4l2:` with a device such as /dev/video0."""
    if value in {"auto", "picamera2", "test", "none"} or re.fullmatch(r"v4l2:/dev/[\w./:+-]+", value):
        return value
    raise ValueError("must be auto, picamera2, test, none, or v4l2: with a device such as v4l2:/dev/video0")


def parse_quiet_hours(value: str) -> str:
    """Empty, or a span of local time such as 08:00-22:00; it may cross midnight."""
    match = _HOURS.fullmatch(value)
    if value == "" or (match and match.group(1, 2) != match.group(3, 4)):
        return value
    raise ValueError('must be empty or two different times such as "08:00-22:00"')


def parse_trusted_key(value: str) -> str:
    """`ed25519:` and the 32 bytes of a public key in base64."""
    parse_key(value)
    return value


def parse_url(value: str, *, schemes: tuple[str, ...] = _SCHEMES) -> str:
    """The address of a server: a scheme, a host, no user name or password in it."""
    if not value:
        raise ValueError("missing: the server's address, such as https://signage.example")
    if re.search(r"[\s\x00-\x1f\x7f]", value):
        raise ValueError("must not hold spaces or line ends")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not an address: the host or the port is malformed") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {', '.join(f'{scheme}://' for scheme in schemes)}")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password: there are keys for them")
    if not host or port == 0:
        raise ValueError("must name a host, such as https://signage.example")
    return value


def parse_optional_web_address(value: str) -> str:
    """Empty, or an http or https address."""
    return parse_url(value, schemes=("http", "https")) if value else value


def parse_host_port(value: str) -> str:
    """`host:port`, `[v6]:port`."""
    try:
        parts = urlsplit(f"//{value}")
        good = bool(parts.hostname and parts.port) and parts.netloc == value and "@" not in value
    except ValueError:
        good = False
    if not good or re.search(r"\s", value):
        raise ValueError("must be a host and a port, such as 192.168.1.20:8000")
    return value


def parse_seconds_or_off(value: Any) -> float | Literal["off"]:
    """`off`, or a number of seconds from 1 to 86,400."""
    if value == "off":
        return "off"
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 1 <= seconds <= 86400:
        raise ValueError('must be "off" or a number of seconds from 1 to 86400')
    return seconds


def parse_side(value: Any) -> Side | dict[Side, str]:
    """One of the server's screens, or a table that says which screen of this box shows which of them."""
    if isinstance(value, str) and value in SIDES:
        return value
    if not isinstance(value, dict):
        raise ValueError(f"must be one of {', '.join(SIDES)}, or a table such as {{ front = 'front', back = 'rear' }}")  # noqa: TRY004
    if not value:
        raise ValueError("must name at least one side")
    for side, screen in value.items():
        if side not in SIDES:
            raise ValueError(f"{side!r} is not a side: {', '.join(SIDES)}")
        if not isinstance(screen, str):
            raise ValueError(f"{side} must be the name of a screen")  # noqa: TRY004 - pydantic collects ValueErrors only
    if len(set(value.values())) < len(value):
        raise ValueError("two sides are given the same screen")
    return dict(value)


def _lowered(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _listed(check: Callable[[str], str]) -> Callable[[list[str]], list[str]]:
    return lambda values: [check(value) for value in values]


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _filled(value: list[str]) -> list[str]:
    if not value or not all(value):
        raise ValueError('must be a command and its arguments, such as ["systemctl", "reboot"]')
    return value


Name = Annotated[str, AfterValidator(parse_name)]
Bytes = Annotated[int, PlainValidator(parse_size)]
FilePath = Annotated[Path, PlainValidator(parse_path)]
OptionalPath = Annotated[Path | None, PlainValidator(parse_optional_path)]
SocketPath = Annotated[Path, PlainValidator(parse_socket)]
Output = Annotated[str, AfterValidator(parse_output)]
Mode = Annotated[str, AfterValidator(parse_mode)]
Window = Annotated[str, AfterValidator(parse_window)]
CameraSource = Annotated[str, AfterValidator(parse_camera_source)]
QuietHours = Annotated[str, AfterValidator(parse_quiet_hours)]
TrustedKeys = Annotated[list[str], AfterValidator(_listed(parse_trusted_key))]
Command = Annotated[list[str], AfterValidator(_filled)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lowered)]
SecondsOrOff = Annotated[float | Literal["off"], PlainValidator(parse_seconds_or_off)]
SideOrTable = Annotated[Side | dict[Side, str], PlainValidator(parse_side)]
OptionalWebAddress = Annotated[str, AfterValidator(parse_optional_web_address)]
NoneIfEmpty = BeforeValidator(_none_if_empty)
Percent = Annotated[int, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]
