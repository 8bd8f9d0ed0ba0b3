"""The camera protocol's messages, both directions (camera contract, sections 1 and 2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from agent.camera import messages as camera

LONGEST_ID = 200
LONGEST_SDP = 200_000
LONGEST_CANDIDATE = 4_000
MOST_SERVERS = 32
LONGEST_TEXT = 500


class UnknownMessageError(ValueError):
    """Not a message of this protocol, or one that lacks what its type needs. The text says what is wrong."""


def encodable(text: str) -> str:
    """`text` without lone surrogates, which JSON may hold and nothing that carries it on can encode."""
    return text.encode(errors="replace").decode()


def timestamp(moment: datetime | None = None) -> str:
    """A moment, by default now, as `ts` has it: UTC with milliseconds and Z."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_session_id(value: object) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("not an id")  # noqa: TRY004 - pydantic turns ValueError into a finding
    if not 0 < len(str(value)) <= LONGEST_ID or not str(value).isprintable():
        raise ValueError("not an id")
    return value


SessionId = Annotated[str | int, BeforeValidator(_to_session_id)]
"""As the server wrote it, so that it comes back the same."""


class Payload(BaseModel):
    """What a message carries; keys that are not known mean nothing."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Empty(Payload):
    """Nothing."""


class Candidate(Payload):
    """An ICE candidate; with an empty text there are no more."""

    model_config = ConfigDict(populate_by_name=True)

    candidate: str = ""
    sdp_mid: str | None = Field(default=None, alias="sdpMid")
    sdp_mline_index: int | None = Field(default=None, alias="sdpMLineIndex")

    @field_validator("candidate", mode="before")
    @classmethod
    def _text(cls, value: object) -> str:
        return encodable(value.strip()[:LONGEST_CANDIDATE]) if isinstance(value, str) else ""

    @field_validator("sdp_mid", mode="before")
    @classmethod
    def _mid(cls, value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        return encodable(str(value)[:LONGEST_ID])

    @field_validator("sdp_mline_index", mode="before")
    @classmethod
    def _index(cls, value: object) -> int | None:
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value[:6])
        return value if type(value) is int and 0 <= value < 1_000 else None


class IceServer(Payload):
    """A STUN or TURN server, not checked."""

    urls: tuple[str, ...]
    username: str = ""
    credential: SecretStr = SecretStr("")

    def named(self) -> camera.IceServer:
        """The same as the camera knows it."""
        return camera.IceServer(self.urls, self.username, self.credential.get_secret_value())


# From the server


class Incoming(BaseModel):
    """A message from the server. Its `ts` is not looked at: servers write it in many ways, and nothing depends on it."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    request_id: str | int | None = None

    @field_validator("request_id", mode="before")
    @classmethod
    def _lenient_id(cls, value: object) -> str | int | None:
        return value if isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= LONGEST_ID else None


class HelloAck(Incoming):
    """We are known; from now on everything may be said."""

    type: Literal["hello_ack"]


class HeartbeatAck(Incoming):
    """The server reads what we send."""

    type: Literal["heartbeat_ack"]


class WatchRequestPayload(Payload):
    """Which session, and what helps to reach the viewer."""

    session_id: SessionId
    ice_servers: tuple[IceServer, ...] = ()

    @field_validator("ice_servers", mode="before")
    @classmethod
    def _servers(cls, value: object) -> list[dict[str, Any]]:
        return list(_ice_servers(value))[:MOST_SERVERS]


class WatchRequest(Incoming):
    """A viewer wants to watch."""

    type: Literal["watch_request"]
    payload: WatchRequestPayload


class SignalOfferPayload(Payload):
    """`sdp` is empty when what came cannot be an offer."""

    session_id: SessionId
    sdp: str = ""

    @field_validator("sdp", mode="before")
    @classmethod
    def _text(cls, value: object) -> str:
        if isinstance(value, dict):
            value = value.get("sdp") if value.get("type", "offer") == "offer" else ""
        return encodable(value) if isinstance(value, str) and len(value) <= LONGEST_SDP else ""


class SignalOffer(Incoming):
    """The viewer's SDP offer."""

    type: Literal["signal_offer"]
    payload: SignalOfferPayload


class SignalIcePayload(Payload):
    """`candidate` is None at the end of the candidates."""

    session_id: SessionId
    candidate: Candidate | None

    @field_validator("candidate", mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        return {"candidate": value} if isinstance(value, str) else value


class SignalIce(Incoming):
    """A candidate of the viewer."""

    type: Literal["signal_ice"]
    payload: SignalIcePayload


class WatchEndedPayload(Payload):
    """`reason` is whatever the server says."""

    session_id: SessionId
    reason: str = ""

    @field_validator("reason", mode="before")
    @classmethod
    def _reason(cls, value: object) -> str:
        return _short(value)


class WatchEnded(Incoming):
    """The session is over."""

    type: Literal["watch_ended"]
    payload: WatchEndedPayload


class ErrorPayload(Payload):
    """What is wrong, in the server's words."""

    message: str = ""
    session_id: SessionId | None = None

    @field_validator("message", mode="before")
    @classmethod
    def _message(cls, value: object) -> str:
        return _short(value)

    @field_validator("session_id", mode="before")
    @classmethod
    def _lenient_session(cls, value: object) -> str | int | None:
        try:
            return _to_session_id(value)
        except ValueError:
            return None


class ServerError(Incoming):
    """Something we sent was not liked."""

    type: Literal["error"]
    payload: ErrorPayload = ErrorPayload()


AnyIncoming = HelloAck | HeartbeatAck | WatchRequest | SignalOffer | SignalIce | WatchEnded | ServerError
_INCOMING: TypeAdapter[AnyIncoming] = TypeAdapter(Annotated[AnyIncoming, Field(discriminator="type")])


def parse(frame: str | bytes) -> AnyIncoming:
    """The message in a frame from the server. Raises UnknownMessageError."""
    if isinstance(frame, bytes):
        raise UnknownMessageError(f"binary frame of {len(frame)} bytes")
    try:
        body = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise UnknownMessageError(f"invalid JSON: {type(error).__name__}") from None
    if not isinstance(body, dict):
        raise UnknownMessageError("not an object")
    if body.get("payload") is None:
        body.pop("payload", None)
    try:
        return _INCOMING.validate_python(body)
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in finding["loc"][1:])
        fault = "unknown" if finding["type"].startswith("union_tag") else f"{place + ': ' if place else ''}{finding['msg']}"
        raise UnknownMessageError(f"type {str(body.get('type'))[:40]!r}: {fault}") from None


# To the server


class Outgoing(BaseModel):
    """A message to the server."""

    model_config = ConfigDict(frozen=True)

    type: str
    request_id: str | int | None = None
    ts: str = Field(default_factory=timestamp)

    def text(self) -> str:
        """As it goes over the wire; a request_id only where there is one to answer."""
        body = self.model_dump(by_alias=True)
        if body["request_id"] is None:
            del body["request_id"]
        return json.dumps(body)


class HelloPayload(Payload):
    """Who we are."""

    device_id: str


class Hello(Outgoing):
    """The first message on every connection."""

    type: Literal["hello"] = "hello"
    payload: HelloPayload


class Heartbeat(Outgoing):
    """Asks for a heartbeat_ack."""

    type: Literal["heartbeat"] = "heartbeat"
    payload: Empty = Empty()


class Description(Payload):
    """An SDP answer."""

    type: Literal["answer"] = "answer"
    sdp: str


class SignalAnswerPayload(Payload):
    """Of one session."""

    session_id: str | int
    sdp: Description


class SignalAnswer(Outgoing):
    """Our SDP answer."""

    type: Literal["signal_answer"] = "signal_answer"
    payload: SignalAnswerPayload


class LocalIcePayload(Payload):
    """Of one session; None: there are no more."""

    session_id: str | int
    candidate: Candidate | None


class LocalIce(Outgoing):
    """A candidate of ours that is not in the answer."""

    type: Literal["signal_ice"] = "signal_ice"
    payload: LocalIcePayload


class PresencePayload(Payload):
    """Percent or None, °C or None, and whether somebody watches."""

    battery: int | None
    temperature: int | None
    recording: bool


class DevicePresence(Outgoing):
    """How the device is."""

    type: Literal["device_presence"] = "device_presence"
    payload: PresencePayload


class RefusalPayload(Payload):
    """Which session, and why it has ended."""

    session_id: str | int
    message: str


class Refusal(Outgoing):
    """A session cannot be served, or has ended by itself."""

    type: Literal["error"] = "error"
    payload: RefusalPayload


AnyOutgoing = Hello | Heartbeat | SignalAnswer | LocalIce | DevicePresence | Refusal
OUTGOING: TypeAdapter[AnyOutgoing] = TypeAdapter(Annotated[AnyOutgoing, Field(discriminator="type")])


def _ice_servers(value: object) -> Iterator[dict[str, Any]]:
    """What can be used of a list of servers; an entry that cannot is left out."""
    for entry in [value] if isinstance(value, dict) else value if isinstance(value, list) else []:
        if not isinstance(entry, dict):
            continue
        urls = entry.get("urls", entry.get("url"))
        listed = urls if isinstance(urls, list) else [urls]
        texts = [encodable(url) for url in listed[:MOST_SERVERS] if isinstance(url, str) and 0 < len(url) <= LONGEST_TEXT]
        if texts:
            yield {
                "urls": texts,
                "username": _word(entry.get("username")),
                "credential": _word(entry.get("credential")),
            }


def _word(value: object) -> str:
    return encodable(value) if isinstance(value, str) and len(value) <= LONGEST_CANDIDATE else ""


def _short(value: object) -> str:
    return encodable(value[:LONGEST_TEXT]) if isinstance(value, str) else ""
