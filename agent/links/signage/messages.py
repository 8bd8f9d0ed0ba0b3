"""The signage protocol's messages, both directions (signage contract, sections 3 to 5)."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from agent.screen.messages import Motion, Position, Ticker

Id = int | str

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_COLOUR = re.compile(r"#?([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})")
_CONTROL = re.compile("\r\n|[\x01-\x1f\x7f-\x9f\u2028\u2029]")
_FASTEST_PX_S = 10_000.0
_LARGEST_FONT_PX = 2_000.0
_LONGEST_TEXT = 4_000
_LONGEST_ID = 200


class UnknownMessageError(ValueError):
    """Not a message of this protocol, or one that lacks what its action needs. The text says what is wrong."""


def to_id(value: object) -> Id:
    """An id as servers write it: an integer, a numeric string (the same id) or another string. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value == "" or len(str(value)) > _LONGEST_ID:
        raise ValueError("not an id")
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("not an id")
        return int(value)
    if isinstance(value, str) and value.isascii() and value.strip().removeprefix("-").isdecimal():
        return int(value)
    return encodable(value) if isinstance(value, str) else value


def encodable(text: str) -> str:
    """`text` without lone surrogates, which JSON may hold and nothing that carries it on can encode."""
    return text.encode(errors="replace").decode()


def to_number(value: object) -> float:
    """A number, also as a numeric string. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")  # noqa: TRY004 - pydantic turns ValueError into a finding
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("not a finite number") from None
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def to_percent(value: object) -> int:
    """A number clamped to 0-100. Raises ValueError."""
    return round(min(100.0, max(0.0, to_number(value))))


def to_colour(value: object, default: str) -> str:
    """`#RGB`, `#RRGGBB` or `#AARRGGBB`, with or without `#`, as `#AARRGGBB`; `default` for anything else."""
    match = _COLOUR.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return default
    digits = match[1].upper()
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    return f"#{digits.rjust(8, 'F')}"


def _to_index(value: object) -> int:
    number = to_number(value)
    if not number.is_integer():
        raise ValueError("not an integer")
    return int(number)


def _to_ids(value: object) -> list[Id]:
    if not isinstance(value, list):
        raise ValueError("not a list")  # noqa: TRY004 - pydantic turns ValueError into a finding
    return [to_id(element) for element in value]


AnyId = Annotated[Id, BeforeValidator(to_id)]
Percent = Annotated[int, BeforeValidator(to_percent)]


class Action(BaseModel):
    """A message from the server."""

    model_config = ConfigDict(frozen=True)


class Play(Action):
    """Resume."""

    action: Literal["play"]


class Pause(Action):
    """Freeze."""

    action: Literal["pause"]


class Next(Action):
    """One item on."""

    action: Literal["next"]


class Previous(Action):
    """One item back."""

    action: Literal["previous"]


class ReloadPlaylist(Action):
    """Fetch again; with `new_solution_id` then switch to that playlist."""

    action: Literal["reload_playlist"]
    new_solution_id: Id | None = None

    @field_validator("new_solution_id", mode="before")
    @classmethod
    def _lenient(cls, value: object) -> Id | None:
        try:
            return to_id(value)
        except ValueError:
            return None


class SwitchPlaylist(Action):
    """Play another playlist."""

    action: Literal["switch_playlist"]
    playlist_id: AnyId


class PlayMedia(Action):
    """Jump to an item."""

    action: Literal["play_media"]
    media_id: Id | None = None
    media_index: int | None = None
    playlist_id: Id | None = None

    @field_validator("media_id", "playlist_id", mode="before")
    @classmethod
    def _id(cls, value: object) -> Id | None:
        return None if value is None else to_id(value)

    @field_validator("media_index", mode="before")
    @classmethod
    def _index(cls, value: object) -> int | None:
        return None if value is None else _to_index(value)


class TextOverlay(BaseModel):
    """A text bar; everything but the text falls back to its default on its own."""

    model_config = ConfigDict(frozen=True)

    text: str
    position: Position = "bottom"
    animation: Motion = "scroll"
    speed: float = 50.0
    font_size: float = 24.0
    background_color: str = "#FF000000"
    text_color: str = "#FFFFFFFF"

    @field_validator("text", mode="before")
    @classmethod
    def _text(cls, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError("no text")
        return encodable(_CONTROL.sub(" ", value[:_LONGEST_TEXT].replace("\0", "")))

    @field_validator("position", mode="before")
    @classmethod
    def _position(cls, value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        return word if word in ("top", "bottom", "left", "right") else "bottom"

    @field_validator("animation", mode="before")
    @classmethod
    def _animation(cls, value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        return word if word in ("scroll", "static") else "scroll"

    @field_validator("speed", mode="before")
    @classmethod
    def _speed(cls, value: object) -> float:
        return _between(value, _FASTEST_PX_S, 50.0)

    @field_validator("font_size", mode="before")
    @classmethod
    def _font_size(cls, value: object) -> float:
        return _between(value, _LARGEST_FONT_PX, 24.0)

    @field_validator("background_color", mode="before")
    @classmethod
    def _background(cls, value: object) -> str:
        return to_colour(value, "#FF000000")

    @field_validator("text_color", mode="before")
    @classmethod
    def _color(cls, value: object) -> str:
        return to_colour(value, "#FFFFFFFF")

    def ticker(self) -> Ticker:
        """The same as the screen knows it."""
        return Ticker(
            text=self.text,
            position=self.position,
            motion=self.animation,
            speed_px_s=self.speed,
            font_size_px=self.font_size,
            background=self.background_color,
            color=self.text_color,
        )


class ShowTextOverlay(Action):
    """Show a text bar, or replace the one that is shown."""

    action: Literal["show_text_overlay"]
    text_overlay: TextOverlay


class HideTextOverlay(Action):
    """Remove the text bar."""

    action: Literal["hide_text_overlay"]


class SetBrightness(Action):
    """Brightness, clamped to 0-100."""

    action: Literal["set_brightness"]
    brightness: Percent


class SetVolume(Action):
    """Volume, clamped to 0-100."""

    action: Literal["set_volume"]
    volume: Percent


class CleanupOldPlaylists(Action):
    """Delete the files of all other playlists."""

    action: Literal["cleanup_old_playlists"]
    playlist_ids_to_keep: Annotated[list[Id], BeforeValidator(_to_ids), Field(min_length=1)]


AnyAction = (
    Play
    | Pause
    | Next
    | Previous
    | ReloadPlaylist
    | SwitchPlaylist
    | PlayMedia
    | ShowTextOverlay
    | HideTextOverlay
    | SetBrightness
    | SetVolume
    | CleanupOldPlaylists
)
_ACTION: TypeAdapter[AnyAction] = TypeAdapter(Annotated[AnyAction, Field(discriminator="action")])


def parse(frame: str | bytes) -> AnyAction | None:
    """The action in a frame from the server; None for a greeting, which is normal and means nothing.

    Arguments may stand at the top or inside `params`, in snake_case or camelCase. Raises UnknownMessageError.
    """
    if isinstance(frame, bytes):
        raise UnknownMessageError(f"binary frame of {len(frame)} bytes")
    try:
        body = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise UnknownMessageError(f"invalid JSON: {type(error).__name__}") from None
    if not isinstance(body, dict):
        raise UnknownMessageError("not an object")
    if "action" not in body:
        if isinstance(body.get("type"), str):
            return None
        raise UnknownMessageError("no action")
    flat = _snake(body)
    params = flat.pop("params", None)
    if isinstance(params, dict):
        flat = {**params, **{key: value for key, value in flat.items() if value is not None or key not in params}}
    try:
        return _ACTION.validate_python(flat)
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in finding["loc"][1:])
        fault = "unknown" if finding["type"].startswith("union_tag") else f"{place + ': ' if place else ''}{finding['msg']}"
        raise UnknownMessageError(f"action {str(body['action'])[:40]!r}: {fault}") from None


def _snake(value: Any, depth: int = 0) -> Any:
    """Keys in snake_case, down to the arguments of an overlay inside `params`."""
    if isinstance(value, dict) and depth < 3:
        return {_CAMEL.sub("_", key).lower(): _snake(element, depth + 1) for key, element in value.items()}
    return value


def _between(value: object, largest: float, default: float) -> float:
    """A positive number up to `largest`, else `default`."""
    try:
        number = to_number(value)
    except ValueError:
        return default
    return number if 0 < number <= largest else default


class Report(BaseModel):
    """A message to the server."""

    def text(self) -> str:
        """As it goes over the wire; what does not apply is left out."""
        return encodable(json.dumps(self.model_dump(exclude_none=True), ensure_ascii=False))


class ReadyPlaylists(Report):
    """Playlists whose every item is on disk and verified."""

    type: Literal["ready_playlists"] = "ready_playlists"
    playlist_ids: list[Id]


class PlaylistStatus(Report):
    """How far a playlist's download is."""

    type: Literal["playlist_status"] = "playlist_status"
    playlist_id: Id
    status: Literal["ready", "downloading", "partial", "failed"]
    total_items: int
    downloaded_items: int
    missing_files: list[str] | None = None
    error: str | None = None
