"""What a conversion server knows of one job, and how it says it: in the words of the source document, or in those of the field.

Habits (conversion contract, section 2): a `document` server says which job it means and what it does to which stream; one of the
`field` says only how far it is, begins with a snapshot, and tells a failure as progress.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from tests.servers.files import MediaFile

Habit = Literal["document", "field"]
Serves = Literal["output", "missing", "gone", "page", "posing", "truncated", "longer"]
"""What comes instead of the output: 404 from REST; 404 from the signed address; an error page; an error page of the right size
that calls itself a film; half of it; more than was announced."""

FINISHED = ("completed", "failed", "cancelled")
TOLD_KEPT = 40
FIELD_STAGES = {"analyzing": "INTEGRITY", "transcoding": "TRANSCODE", "verifying": "VERIFY", "completed": "DONE"}
TYPES = {".mkv": "video/x-matroska", ".mp4": "video/mp4", ".webm": "video/webm"}


@dataclasses.dataclass
class Told:
    """A message that went to the sockets of a job; `sockets`: to how many."""

    wall_ms: int
    message: Any
    sockets: int


@dataclasses.dataclass
class Download:
    """One request for the output. `at` is time.monotonic(); `status` is 0 until the answer has begun."""

    at: float
    signed: bool
    range: str
    status: int = 0
    whole: bool = False
    """The answer was sent to its end."""


@dataclasses.dataclass(eq=False)
class Peer:
    """One socket."""

    socket: web.WebSocketResponse
    request: web.Request


@dataclasses.dataclass(eq=False)
class ConversionJob:
    """One job. What stands here is what REST says; what its sockets say is up to whoever tells them."""

    name: str
    """Of the original, as its user named it."""
    status: str = "queued"
    progress: float = 0
    stage: str = ""
    """In the document's words."""
    eta_s: float | None = None
    job_id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    size_bytes: int = 0
    """Of the original."""
    output: MediaFile | None = None
    output_name: str = ""
    announced_bytes: int | None = None
    """REST says that the output is so large; None: the truth."""
    serves: Serves = "output"
    stale_addresses: int = 0
    """So many of its signed addresses have expired before they are used."""
    hidden: bool = False
    """Another user's: REST knows nothing of it."""
    error: str = ""
    message: str = ""
    details: str = ""
    streams: dict[str, Any] | None = None
    duration_s: float | None = None
    encoder: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the document's progress message: speed, frame, fps, size, time, bitrate."""
    created_at: float = dataclasses.field(default_factory=time.time)
    completed_at: float | None = None
    source: Path | None = None
    """What is really being converted."""
    script: str = ""

    sockets: list[Peer] = dataclasses.field(default_factory=list)
    """Those open now."""
    opened: int = 0
    """How many have been opened."""
    polls: int = 0
    """How often REST was asked for it."""
    addresses: int = 0
    """How often REST was asked where its output is."""
    downloads: list[Download] = dataclasses.field(default_factory=list)
    told: deque[Told] = dataclasses.field(default_factory=lambda: deque(maxlen=TOLD_KEPT))

    @property
    def finished(self) -> bool:
        """Nothing more becomes of it."""
        return self.status in FINISHED

    @property
    def output_bytes(self) -> int | None:
        """Of the output, as REST says."""
        if self.announced_bytes is not None:
            return self.announced_bytes
        return self.output.size if self.output is not None else None

    def set_output(self, data: bytes | Path, name: str = "") -> None:
        """The finished output; `name` is what REST calls it."""
        self.output_name = name or output_name(self.name)
        suffix = data.suffix if isinstance(data, Path) else Path(self.output_name).suffix
        self.output = MediaFile(self.output_name, data, TYPES.get(suffix, "video/x-matroska"))

    def item(self) -> dict[str, Any]:
        """Its entry in `GET /api/jobs/`."""
        return {
            "id": self.job_id,
            "original_filename": self.name,
            "original_file_size": self.size_bytes,
            "output_filename": self.output_name if self.status == "completed" else "",
            "output_file_size": self.output_bytes if self.status == "completed" else None,
            "status": self.status,
            "progress": int(self.progress),
            "current_stage": FIELD_STAGES.get(self.stage, self.stage),
            "created_at": _iso(self.created_at),
            "completed_at": _iso(self.completed_at),
        }

    def detail(self) -> dict[str, Any]:
        """`GET /api/jobs/{id}/`."""
        return {**self.item(), "eta_seconds": _whole(self.eta_s), "error_message": self.message, "container": "mkv", "logs": []}

    def state(self) -> dict[str, Any]:
        """What the console page shows."""
        return {
            "job_id": self.job_id,
            "name": self.name,
            "status": self.status,
            "progress": round(self.progress, 1),
            "stage": self.stage,
            "eta_s": self.eta_s,
            "speed": self.encoder.get("speed"),
            "size_bytes": self.size_bytes,
            "output_name": self.output_name,
            "output_bytes": self.output_bytes,
            "serves": self.serves,
            "script": self.script,
            "error": " · ".join(part for part in (self.message or self.error, self.details) if part),
            "streams": self.streams,
            "created_ms": int(self.created_at * 1000),
            "sockets": len(self.sockets),
            "opened": self.opened,
            "polls": self.polls,
            "addresses": self.addresses,
            "downloads": [{"status": one.status, "range": one.range, "whole": one.whole} for one in self.downloads[-8:]],
            "download_count": len(self.downloads),
            "told": [dataclasses.asdict(one) for one in list(self.told)[-12:]],
        }


# Messages


def progress_message(job: ConversionJob, habit: Habit) -> dict[str, Any]:
    """How far it is."""
    if habit == "field":
        return {"type": "progress", **_field_state(job)}
    return {
        "type": "progress",
        "job_id": job.job_id,
        "status": job.status,
        "progress": round(float(job.progress), 1),
        "stage": job.stage,
        "eta_seconds": _whole(job.eta_s),
        **job.encoder,
    }


def snapshot(job: ConversionJob, habit: Habit) -> dict[str, Any]:
    """The first message on a socket."""
    if habit == "field":
        return {"type": "status", **_field_state(job)}
    if job.status == "completed":
        return completed_message(job, habit)
    return failed_message(job, habit) if job.status == "failed" else progress_message(job, habit)


def completed_message(job: ConversionJob, habit: Habit) -> dict[str, Any]:
    """That it is completed, whatever REST says."""
    if habit == "field":
        return {"type": "progress", **_field_state(job), "progress": 100, "status": "completed", "stage": "DONE", "eta": 0}
    return {
        "type": "status",
        "job_id": job.job_id,
        "status": "completed",
        "output_filename": job.output_name or output_name(job.name),
        "output_size": job.output_bytes,
        "duration": _whole(job.duration_s),
    }


def failed_message(job: ConversionJob, habit: Habit) -> dict[str, Any]:
    """That it has failed."""
    if habit == "field":
        return {"type": "progress", **_field_state(job), "status": "failed"}
    return {
        "type": "error",
        "job_id": job.job_id,
        "status": "failed",
        "error": job.error or "ffmpeg_error",
        "message": job.message,
        "details": job.details,
    }


def analysis_message(job: ConversionJob) -> dict[str, Any]:
    """What is done to which stream; servers of the field do not say."""
    return {"type": "analysis", "job_id": job.job_id, "streams": job.streams}


def update_message(job: ConversionJob) -> dict[str, Any]:
    """On `/ws/jobs/`, as the document has it."""
    about = {"id": job.job_id, "filename": job.name, "status": job.status, "progress": round(float(job.progress), 1)}
    return {"type": "job_update", "job": about}


def output_name(name: str) -> str:
    """What a server makes of the name of an original: nothing but another ending."""
    stem = name.rpartition(".")[0] or name
    return f"{stem}_chromecast.mkv"


def plan_words(streams: Mapping[str, Any] | None) -> str:
    """The streams in one line, for the log of the console page."""
    video = (streams or {}).get("video")
    every = [
        *([video] if isinstance(video, dict) else []),
        *(streams or {}).get("audio", []),
        *(streams or {}).get("subtitle", []),
    ]
    return ", ".join(
        f"{one.get('codec')} → {one.get('target_codec')}" if one.get("action") == "transcode" else f"{one.get('codec')} copied"
        for one in every
    )


def _field_state(job: ConversionJob) -> dict[str, Any]:
    return {
        "progress": int(job.progress),
        "status": job.status,
        "stage": FIELD_STAGES.get(job.stage, job.stage),
        "eta": _whole(job.eta_s),
        "error": job.message if job.status == "failed" else "",
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def _iso(wall: float | None) -> str | None:
    return None if wall is None else datetime.fromtimestamp(wall, UTC).isoformat().replace("+00:00", "Z")
