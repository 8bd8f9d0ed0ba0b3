"""The links of the configuration: one model per kind, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from agent.settings.tables import Table
from agent.settings.values import (
    Name,
    NoneIfEmpty,
    OptionalPath,
    Seconds,
    SecondsOrOff,
    SideOrTable,
    parse_host_port,
    parse_url,
)

Secret = Annotated[SecretStr, Field(min_length=1)]
OptionalSecret = Annotated[SecretStr | None, NoneIfEmpty]


class BaseLink(Table):
    """What every link has."""

    name: Name
    url: str = Field(repr=False)
    screen: str
    """Name of the screen its pictures go to."""
    priority: Annotated[int, Field(ge=0, le=100)]
    """Of its programs on the stage; the highest that has something to show is shown."""
    hold_s: Seconds = 0.0
    """How long its program keeps the screen after the connection was lost; 0: for ever."""
    spread_s: Seconds = 5.0
    """The first retry comes within so many seconds."""
    ca_file: OptionalPath = None
    """A PEM file with an authority to trust besides the system's."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return parse_url(value)


class SignageLink(BaseLink):
    """A playlist server."""

    kind: Literal["signage"]
    priority: Annotated[int, Field(ge=0, le=100)] = 10
    username: Annotated[str, Field(min_length=1)]
    password: Secret

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        root = parse_url(value).rstrip("/")
        if root.endswith("/api/v1"):
            raise ValueError("must not end in /api/v1, which the agent adds by itself: leave that out")
        return value

    side: SideOrTable = "front"
    screenshots: SecondsOrOff = "off"
    """Seconds between two uploads, or "off"."""
    screenshot_form: Literal["device", "cloud"] = "device"

    @property
    def sides(self) -> dict[str, str]:
        """The server's screens that are shown → the names of the screens that show them."""
        return dict(self.side.items()) if isinstance(self.side, dict) else {self.side: self.screen}


class SpeakerLink(BaseLink):
    """A server for announcements, volume and firmware."""

    kind: Literal["speaker"]
    priority: Annotated[int, Field(ge=0, le=100)] = 70
    device_id: str = ""
    """Empty: the primary MAC."""
    token: OptionalSecret = None
    require_sha256: bool = True

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return parse_url(value) if "://" in value or not value else parse_host_port(value)


class CameraLink(BaseLink):
    """A WebRTC signalling server."""

    kind: Literal["camera"]
    priority: Annotated[int, Field(ge=0, le=100)] = 0
    device_id: str = ""
    """Empty: the serial."""
    token: OptionalSecret = None
    heartbeat_s: Annotated[float, Field(ge=1, le=30, allow_inf_nan=False)] = 15.0


class TronbytLink(BaseLink):
    """A server that pushes small pictures."""

    kind: Literal["tronbyt"]
    priority: Annotated[int, Field(ge=0, le=100)] = 20
    key: OptionalSecret = None
    mode: Literal["socket", "poll"] = "socket"
    brightness_scale: Literal["auto", "percent", "byte"] = "auto"
    allow_reboot: bool = False
    offline_mark: bool = False

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if "{" in value:
            raise ValueError("put the device's own id in place of {...}")
        return parse_url(value)


class ConversionLink(BaseLink):
    """A server that converts films."""

    kind: Literal["conversion"]
    priority: Annotated[int, Field(ge=0, le=100)] = 50
    token: OptionalSecret = None
    username: str = ""
    password: OptionalSecret = None
    session_cookie: OptionalSecret = None
    job: Annotated[str, Field(min_length=1)] = "all"
    """`all`, `newest`, or the id of one job."""
    play: Literal["interrupt", "enqueue", "store"] = "interrupt"
    connect_to: str = ""
    """`host:port` that downloads are fetched from whatever host their address names; empty: the address's own."""

    @field_validator("connect_to")
    @classmethod
    def _check_connect_to(cls, value: str) -> str:
        return parse_host_port(value) if value else value

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password come together")
        return self


Link = Annotated[
    SignageLink | SpeakerLink | CameraLink | TronbytLink | ConversionLink,
    Field(discriminator="kind"),
]

LINK_KINDS: dict[str, type[BaseLink]] = {
    "signage": SignageLink,
    "speaker": SpeakerLink,
    "camera": CameraLink,
    "tronbyt": TronbytLink,
    "conversion": ConversionLink,
}

SECRET_KEYS: frozenset[str] = frozenset({"password", "token", "key", "session_cookie"})
"""Keys whose value is a secret in every kind that has them; each may be given as `<key>_file`."""
