"""The status document, and how it is shown to people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, TypedDict


class DeviceStatus(TypedDict):
    serial: str
    device_id: str
    name: str


class VolumeStatus(TypedDict):
    percent: int
    muted: bool
    backend: str


class BrightnessStatus(TypedDict):
    percent: int
    backend: str


class OverlayStatus(TypedDict, total=False):
    text: str
    position: str
    animation: str


class ScreenStatus(TypedDict):
    state: Literal["playing", "paused", "ended", "idle", "down"]
    program: str | None
    playlist_id: int | str | None
    media_id: int | str | None
    media_index: int | None
    title: str | None
    since: str | None
    """When the item came on the screen, as `timestamp` writes it."""
    position_s: float | None
    overlay: OverlayStatus | None
    worker_restarts: int
    waiting: list[str]
    """Programs that have something to show but not the screen, the most important one first; clips with their titles."""
    strip: list[str]
    """The lines of the progress strip."""
    cause: str | None
    """Why the screen is down."""


class PlaylistStatus(TypedDict):
    link: str
    id: int | str
    name: str
    status: str
    total_items: int
    downloaded_items: int
    missing_files: list[str]
    error: str | None


class DownloadStatus(TypedDict):
    name: str
    received_bytes: int
    total_bytes: int | None


class JobStatus(TypedDict):
    link: str
    id: str
    title: str
    state: str
    """The server's word for it, then finishing, downloading, ready, playing, and what became of it."""
    percent: float | None
    stage: str | None
    eta_s: int | None
    error: str | None


class LinkStatus(TypedDict):
    name: str
    kind: str
    state: Literal["connected", "connecting", "waiting", "refused"]
    since: str | None
    attempts: int
    last_error: str | None


class CameraStatus(TypedDict):
    source: str
    viewers: int
    encoder: str | None


class CandidateStatus(TypedDict, total=False):
    version: str
    """Empty: not known."""
    state: Literal["waiting to be installed", "to be switched to", "installed", "on probation"]
    since: str
    by: str
    unmet: list[str]
    """What a version on probation does not do yet."""


class ResultStatus(TypedDict):
    result: Literal["committed", "rolled back", "refused"]
    version: str
    digest: str
    cause: str
    at: str


class UpdateStatus(TypedDict):
    version: str
    state: Literal["idle", "receiving", "checking", "installing", "restarting", "on probation"]
    candidate: CandidateStatus | None
    last_result: ResultStatus | None
    received_bytes: NotRequired[int]
    total_bytes: NotRequired[int | None]
    by: NotRequired[str]
    """Who sends it."""


class Status(TypedDict):
    """What `signage-agent status --json` prints. Other people's tools read these keys: add, never rename."""

    version: str
    uptime_s: float
    device: DeviceStatus
    volume: VolumeStatus
    brightness: BrightnessStatus
    screens: dict[str, ScreenStatus]
    playlists: list[PlaylistStatus]
    downloads: list[DownloadStatus]
    jobs: list[JobStatus]
    links: list[LinkStatus]
    camera: CameraStatus
    update: UpdateStatus
    warnings: list[str]


def timestamp(unix_s: float) -> str:
    """A point in time as the document writes it: ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render(status: Mapping[str, Any], *, now: datetime, width: int = 100, color: bool = False) -> list[str]:
    """Lines for a terminal of `width` columns. `now` is aware; times are shown in its zone.

    Keys may be missing: the daemon may be another version. Texts come from servers, so control characters are replaced.
    """
    lines: list[str] = []
    for title, section in (
        (None, _box(status)),
        ("Screens", _screens(status, now)),
        ("Links", _links(status, now)),
        ("Playlists", _playlists(status)),
        ("Downloads", _downloads(status, width)),
        ("Films", _jobs(status, width)),
        ("Camera", _camera(status)),
        ("Update", _update(status, now)),
        ("Warnings", [_Row("! ", "yellow", [str(text)]) for text in status.get("warnings") or []]),
    ):
        rows = list(section)
        if not rows:
            continue
        if title is not None:
            lines += ["", _paint(title, "bold", color)]
        lines += _table(rows, width, color)
    return lines


def size_text(size_bytes: float) -> str:
    """Bytes for people: 512 B, 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5 or unit == "GB":
            break
        size_bytes /= 1000
    return f"{size_bytes:.0f} {unit}" if unit == "B" or size_bytes >= 100 else f"{size_bytes:.1f} {unit}"


def bar(fraction: float, cells: int) -> str:
    """A bar that many cells wide, filled to `fraction` (0-1)."""
    full = round(max(0.0, min(1.0, fraction)) * cells)
    return "█" * full + "░" * (cells - full)


_COLORS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_STATE_COLORS = {
    "playing": "green",
    "connected": "green",
    "ready": "green",
    "down": "red",
    "refused": "red",
    "failed": "red",
    "missing": "red",
    "unplayable": "red",
    "waiting": "yellow",
    "connecting": "yellow",
    "partial": "yellow",
    "downloading": "yellow",
}
_LAST_COLUMN_MINIMUM = 20


class _Row:
    """Cells of one line; the cell with `painted` as its index is coloured. Columns of a section are aligned."""

    def __init__(self, lead: str, color: str, cells: list[str], painted: int = 0) -> None:
        self.lead, self.color, self.painted = lead, color, painted
        self.cells = [_printable(cell) for cell in cells]


def _box(status: Mapping[str, Any]) -> Iterator[_Row]:
    device, volume, brightness = (status.get(key) or {} for key in ("device", "volume", "brightness"))
    name, serial = device.get("name") or "", device.get("serial") or "no serial"
    title = f"{name} ({serial})" if name and name != serial else serial
    yield _Row("", "bold", [f"{title}  version {status.get('version', '?')}, up {_duration(status.get('uptime_s') or 0)}"])
    parts = []
    if volume:
        parts.append(f"volume {volume.get('percent')} %{', muted' if volume.get('muted') else ''} ({volume.get('backend')})")
    if brightness:
        parts.append(f"brightness {brightness.get('percent')} % ({brightness.get('backend')})")
    if parts:
        yield _Row("", "", ["   ".join(parts)])


def _screens(status: Mapping[str, Any], now: datetime) -> Iterator[_Row]:
    for name, screen in (status.get("screens") or {}).items():
        state = str(screen.get("state", "?"))
        words = []
        if screen.get("playlist_id") is not None:
            words.append(f"playlist {screen['playlist_id']}")
        if screen.get("media_index") is not None:
            words.append(f"item {screen['media_index'] + 1}")
        if screen.get("position_s") is not None:
            words.append(f"at {_clock(screen['position_s'])}")
        if screen.get("since"):
            words.append(f"since {_time(screen['since'], now)}")
        if state == "down" and screen.get("cause"):
            words.append(str(screen["cause"]))
        if screen.get("worker_restarts"):
            words.append(f"worker restarts: {screen['worker_restarts']}")
        yield _Row("", _STATE_COLORS.get(state, ""), [name, state, screen.get("title") or "-", ", ".join(words)], painted=1)
        overlay = screen.get("overlay")
        if overlay:
            yield _Row("", "", ["", "ticker", str(overlay.get("text", "")), ""])
        for line in screen.get("strip") or []:
            yield _Row("", "", ["", "strip", "", str(line)])
        if screen.get("waiting") and state != "down":
            yield _Row("", "", ["", "waiting", "", ", ".join(map(str, screen["waiting"]))])


def _links(status: Mapping[str, Any], now: datetime) -> Iterator[_Row]:
    for link in status.get("links") or []:
        state = str(link.get("state", "?"))
        words = [f"since {_time(link['since'], now)}"] if link.get("since") else []
        if state != "connected" and link.get("attempts"):
            words.append(f"{link['attempts']} attempts")
        if state != "connected" and link.get("last_error"):
            words.append(str(link["last_error"]))
        color = _STATE_COLORS.get(state, "")
        yield _Row("", color, [str(link.get("name")), str(link.get("kind")), state, ", ".join(words)], painted=2)


def _playlists(status: Mapping[str, Any]) -> Iterator[_Row]:
    for playlist in status.get("playlists") or []:
        state = str(playlist.get("status", "?"))
        words = []
        if playlist.get("error"):
            words.append(str(playlist["error"]))
        if playlist.get("missing_files"):
            words.append(f"missing: {', '.join(map(str, playlist['missing_files']))}")
        title = f"{playlist.get('name') or 'without a name'} ({playlist.get('id')})"
        items = f"{playlist.get('downloaded_items')}/{playlist.get('total_items')}"
        yield _Row("", _STATE_COLORS.get(state, ""), [title, state, items, "; ".join(words)], painted=1)


def _downloads(status: Mapping[str, Any], width: int) -> Iterator[_Row]:
    cells = max(10, min(40, width - 60))
    for download in status.get("downloads") or []:
        received, total = download.get("received_bytes") or 0, download.get("total_bytes")
        if total:
            row = [bar(received / total, cells), f"{100 * received // total:3} %", f"{size_text(received)} of {size_text(total)}"]
        else:
            row = ["░" * cells, "  ? %", size_text(received)]
        yield _Row("", "green", [_crop(_printable(str(download.get("name"))), 30), *row], painted=1)


def _jobs(status: Mapping[str, Any], width: int) -> Iterator[_Row]:
    cells = max(10, min(40, width - 60))
    for job in status.get("jobs") or []:
        state, percent = str(job.get("state", "?")), job.get("percent")
        words = []
        if percent is not None:
            words.append(f"{bar(percent / 100, cells)} {percent:3.0f} %")
        if job.get("stage"):
            words.append(str(job["stage"]).lower())
        if job.get("eta_s") is not None:
            words.append(f"{_clock(job['eta_s'])} left")
        if job.get("error"):
            words.append(str(job["error"]))
        title = _crop(_printable(str(job.get("title"))), 40)
        yield _Row("", _STATE_COLORS.get(state, ""), [title, state, ", ".join(words)], painted=1)


def _camera(status: Mapping[str, Any]) -> Iterator[_Row]:
    camera = status.get("camera") or {}
    if camera.get("viewers"):
        yield _Row("", "", [f"{camera['viewers']} watching", f"{camera.get('source')}, {camera.get('encoder')}"])


def _update(status: Mapping[str, Any], now: datetime) -> Iterator[_Row]:
    update = status.get("update") or {}
    candidate, last = update.get("candidate"), update.get("last_result")
    if update.get("received_bytes") is not None:
        received, total = update["received_bytes"], update.get("total_bytes")
        words = [f"{size_text(received)} of {size_text(total)}" if total else size_text(received)]
        yield _Row("", "yellow", [str(update.get("state")), "from " + str(update.get("by")), *words])
    if isinstance(candidate, dict):
        words = [f"since {_time(candidate['since'], now)}"] if candidate.get("since") else []
        words += map(str, candidate.get("unmet") or [])
        version = f"version {candidate.get('version') or 'unknown'}"
        yield _Row("", "yellow", [str(candidate.get("state")), version, "; ".join(words)])
    if isinstance(last, dict):
        color = "green" if last.get("result") == "committed" else "red"
        words = [str(last["cause"])] if last.get("cause") else []
        words += [_time(last["at"], now)] if last.get("at") else []
        yield _Row("", color, [str(last.get("result")), f"version {last.get('version') or 'unknown'}", ", ".join(words)])


def _table(rows: list[_Row], width: int, color: bool) -> list[str]:
    """Aligned lines, none wider than `width`; the last column takes what is left and is cropped."""
    columns = max(len(row.cells) for row in rows)
    widths = [max((_cells(row.cells[at]) for row in rows if at < len(row.cells)), default=0) for at in range(columns)]
    room = width - _LAST_COLUMN_MINIMUM if columns > 2 else width
    for at in sorted(range(columns - 1), key=lambda at: -widths[at]):
        excess = sum(widths[:-1]) + 2 * columns - room
        if excess > 0:
            widths[at] = max(min(widths[at], 8), widths[at] - excess)
    lines = []
    for row in rows:
        indent = "  " if columns > 1 or row.lead else ""
        left = width - len(indent) - len(row.lead)
        parts = []
        for at, cell in enumerate(row.cells):
            last = at == len(row.cells) - 1
            text = _crop(cell, left if last else min(left, widths[at]))
            padding = "" if last else " " * (widths[at] - _cells(text) + 2)
            left = max(0, left - _cells(text) - len(padding))
            parts.append((_paint(text, row.color, color) if at == row.painted else text) + padding)
        lines.append(f"{indent}{row.lead}{''.join(parts)}".rstrip())
    return lines


def _paint(text: str, name: str, color: bool) -> str:
    return f"\x1b[{_COLORS[name]}m{text}\x1b[0m" if color and name in _COLORS and text else text


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _cells(text: str) -> int:
    """Columns that the text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _crop(text: str, width: int) -> str:
    if _cells(text) <= width:
        return text
    while text and _cells(text) > width - 1:
        text = text[:-1]
    return text + "…" if width > 0 else ""


def _duration(seconds: float) -> str:
    minutes, hours, days = int(seconds // 60 % 60), int(seconds // 3600 % 24), int(seconds // 86400)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02}"


def _time(value: Any, now: datetime) -> str:
    """The time of day of a timestamp, with the date unless it is today's."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        moment = datetime.fromisoformat(value).astimezone(now.tzinfo)
        return moment.strftime("%H:%M:%S" if moment.date() == now.date() else "%Y-%m-%d %H:%M")
    return str(value)
