"""What conversion servers say, by WebSocket and by REST, in both shapes (conversion contract, sections 2 and 3).

Nothing here is ever refused for a missing key, a null, a number in quotes or a value out of range: what cannot be used is as if
it had not been said.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

JobStatus = Literal["pending", "queued", "analyzing", "processing", "completed", "failed", "cancelled"]
STATUSES: frozenset[str] = frozenset(get_args(JobStatus))
FINISHED = frozenset({"completed", "failed", "cancelled"})
LONGEST_ID = 100
LONGEST_TEXT = 500
"""Characters of a title or an error that are kept."""
MOST_JOBS = 1_000
"""Of one list; more are not looked at."""
MOST_STREAMS = 32
LARGEST_BYTES = 1 << 50
_LONGEST_NUMBER = 32
_REFRESH = json.dumps({"action": "refresh"})


class UnknownMessageError(ValueError):
    """Not a message that means anything here. The text says why, without quoting it."""


# Values


def clean(value: object, longest: int = LONGEST_TEXT) -> str:
    """Text for people in one line: no control or direction characters, no more than `longest`; empty if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = "".join(" " if _is_blank(character) else character for character in str(value)[: 4 * longest] if _is_shown(character))
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def to_number(value: object) -> float | None:
    """A finite number, perhaps given as text ("45.5", "45 %")."""
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        try:
            value = float(value.strip().removesuffix("%"))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def to_id(value: object) -> str | None:
    """The id of a job as it stands in an address: a UUID in lower case, or whatever the server uses."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value).strip() if isinstance(value, str) or abs(value) < 10**18 else ""
    if not 0 < len(text) <= LONGEST_ID or not text.isprintable() or text in (".", ".."):
        return None
    try:
        return str(uuid.UUID(text)) if len(text) == 36 else text
    except ValueError:
        return text


def _is_blank(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp", "Zs")


def _is_shown(character: str) -> bool:
    return character in "\u200c\u200d" or unicodedata.category(character) not in ("Cf", "Cs")


def _to_status(value: object) -> str | None:
    status = value.strip().lower() if isinstance(value, str) else None
    return status if status in STATUSES else None


def _to_percent(value: object) -> float | None:
    number = to_number(value)
    return None if number is None else min(100.0, max(0.0, number))


def _to_seconds(value: object) -> float | None:
    number = to_number(value)
    return number if number is not None and 0 <= number < 1e7 else None


def _to_bytes(value: object) -> int | None:
    number = to_number(value)
    return int(number) if number is not None and 0 < number <= LARGEST_BYTES else None


def _to_moment(value: object) -> float | None:
    """Seconds since the epoch by the server's clock, from a number or an ISO date."""
    if (number := to_number(value)) is not None:
        return number
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


Text = Annotated[str, BeforeValidator(clean)]
Short = Annotated[str, BeforeValidator(lambda value: clean(value, 60))]
JobId = Annotated[str | None, BeforeValidator(to_id)]
Percent = Annotated[float | None, BeforeValidator(_to_percent)]
Seconds = Annotated[float | None, BeforeValidator(_to_seconds)]
Bytes = Annotated[int | None, BeforeValidator(_to_bytes)]


# Models


class _Tolerant(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """A null says no more than a missing key."""
        if isinstance(value, BaseModel):
            return value
        return {key: entry for key, entry in value.items() if entry is not None} if isinstance(value, Mapping) else {}


class Job(_Tolerant):
    """What somebody said of a job; None or empty: nothing was said about that."""

    job_id: JobId = Field(None, validation_alias=AliasChoices("job_id", "id"))
    status: Annotated[JobStatus | None, BeforeValidator(_to_status)] = None
    percent: Percent = Field(None, validation_alias=AliasChoices("progress", "percent"))
    stage: Short = Field("", validation_alias=AliasChoices("stage", "current_stage"))
    eta_s: Seconds = Field(None, validation_alias=AliasChoices("eta_seconds", "eta"))
    speed: Short = ""
    title: Text = Field("", validation_alias=AliasChoices("original_filename", "filename"))
    output_bytes: Bytes = Field(None, validation_alias=AliasChoices("output_file_size", "output_size"))
    message: Text = Field("", validation_alias=AliasChoices("message", "error_message"))
    error: Text = ""
    details: Text = ""
    created_at: Annotated[float | None, BeforeValidator(_to_moment)] = None

    @property
    def finished(self) -> bool:
        """Nothing more will become of it."""
        return self.status in FINISHED

    @property
    def reason(self) -> str:
        """Why it failed, in the words meant for people."""
        return self.message or self.error or self.details


class Progress(Job):
    """How far a job is; in the field also that it failed."""

    type: Literal["progress"]


class Status(Job):
    """A change of state; in the field the snapshot after connecting."""

    type: Literal["status"]


class Failure(Job):
    """A job's error, or a complaint about a message."""

    type: Literal["error"]


class Stream(_Tolerant):
    """One stream of the original, and what becomes of it."""

    codec: Short = ""
    action: Short = ""
    target_codec: Short = ""
    language: Short = ""

    @property
    def words(self) -> str:
        """For people."""
        if self.target_codec and self.target_codec != self.codec:
            return f"{self.codec or '?'} → {self.target_codec}"
        return f"{self.codec or '?'} {'copied' if self.action == 'copy' else self.action}".rstrip()


class Streams(_Tolerant):
    """The streams of a film by their kind."""

    video: Annotated[tuple[Stream, ...], BeforeValidator(lambda value: _objects(value, MOST_STREAMS))] = ()
    audio: Annotated[tuple[Stream, ...], BeforeValidator(lambda value: _objects(value, MOST_STREAMS))] = ()
    subtitle: Annotated[tuple[Stream, ...], BeforeValidator(lambda value: _objects(value, MOST_STREAMS))] = ()


class Analysis(_Tolerant):
    """What will be done to which stream."""

    type: Literal["analysis"]
    job_id: JobId = Field(None, validation_alias=AliasChoices("job_id", "id"))
    streams: Streams = Streams()

    @property
    def words(self) -> str:
        """For people: "video hevc → h264, audio dts → aac, aac copied"; empty if nothing was said."""
        parts = []
        for kind in ("video", "audio", "subtitle"):
            streams = cast("tuple[Stream, ...]", getattr(self.streams, kind))
            if streams:
                parts.append(f"{kind} {', '.join(stream.words for stream in streams)}")
        return clean("; ".join(parts))


class JobsList(_Tolerant):
    """The user's newest jobs."""

    type: Literal["jobs_list"]
    jobs: Annotated[tuple[Job, ...], BeforeValidator(lambda value: _objects(value, MOST_JOBS))] = ()


class JobChange(_Tolerant):
    """One of the user's jobs has changed."""

    type: Literal["job_update"]
    job: Job = Job()


class Page(_Tolerant):
    """One page of the list of jobs, newest first."""

    next: Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")] = ""
    results: Annotated[tuple[Job, ...], BeforeValidator(lambda value: _objects(value, MOST_JOBS))] = ()

    @property
    def more(self) -> bool:
        """There is another page."""
        return bool(self.next)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Those that can be spoken of."""
        return tuple(job for job in self.results if job.job_id is not None)


class DownloadAnswer(_Tolerant):
    """Where an output is."""

    download_url: Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")] = ""
    expires_in: Seconds = None


class LoginAnswer(_Tolerant):
    """What a login gives."""

    token: Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")] = ""
    requires_2fa: Annotated[bool, BeforeValidator(lambda value: value is True or value == "true")] = False


AnyMessage = Progress | Status | Failure | Analysis | JobsList | JobChange
_MESSAGES: TypeAdapter[AnyMessage] = TypeAdapter(Annotated[AnyMessage, Field(discriminator="type")])
_TYPES = frozenset({"progress", "status", "error", "analysis", "jobs_list", "job_update"})


def parse(frame: str | bytes) -> AnyMessage:
    """A frame of either socket. Raises UnknownMessageError."""
    try:
        body = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise UnknownMessageError(f"invalid JSON: {type(error).__name__}") from None
    if not isinstance(body, dict):
        raise UnknownMessageError("no object")
    kind = body.get("type")
    if kind is None and ("status" in body or "progress" in body):
        kind = "progress"
    if not isinstance(kind, str) or kind not in _TYPES:
        raise UnknownMessageError(f"unknown type {clean(kind, 40)!r}")
    try:
        return _MESSAGES.validate_python({**body, "type": kind})
    except ValidationError as error:  # kept for what nobody thought of: one message never ends a connection
        raise UnknownMessageError(f"malformed: {error.error_count()} faults") from None


def refresh() -> str:
    """Asks `/ws/jobs/` for the list again."""
    return _REFRESH


def page(body: object) -> Page:
    """One page of `GET /api/jobs/`, or the bare list that a server without pages gives."""
    return Page.model_validate({"results": body} if isinstance(body, list) else body)


def is_plain_token(token: str) -> bool:
    """Whether a header can hold it."""
    return re.fullmatch(r"[\x21-\x7e]{1,4096}", token) is not None


def _objects(value: object, most: int) -> list[Any]:
    """The objects of a list; a single object is a list of one (the source document's `video`)."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        return []
    return [entry for entry in value[:most] if isinstance(entry, Mapping | BaseModel)]
