"""Playlists as the signage server sends them, made into what a screen can play (signage contract, sections 2 and 6)."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import unquote, urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator
from pydantic_core.core_schema import ValidationInfo

from agent.links.signage.messages import Id, encodable, to_colour, to_id, to_number
from agent.screen.messages import Transition
from agent.stage.playlist import Item, Playlist

log = logging.getLogger(__name__)

SIDES = ("front", "back", "right", "left")
Side = Literal["front", "back", "right", "left"]

_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_LONGEST_FADE_S = 10.0
_DEFAULT_FADE_S = 0.5
_MOST_TIMES = 1_000_000
_LONGEST_IMAGE_S = 30 * 86_400.0
_MOST_ITEMS = 10_000
"""Of one playlist; what is beyond is left out."""
_LONGEST_NAME = 300
_MOST_FINDINGS = 1_000
"""A server that invents names must fill neither the memory nor the log."""
_DEVICE_KEYS = ("sn_number", *(f"{side}_screen" for side in SIDES))


class _Lenient(BaseModel):
    """Every field with a default falls back to it when it is null or wrongly typed; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _fall_back(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return handler(value)
        except ValueError:
            field_info = cls.model_fields[info.field_name or ""]
            if field_info.is_required():
                raise
            return field_info.get_default(call_default_factory=True)


class _Layout(_Lenient):
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


class _Timing(_Lenient):
    duration: float = 0.0


class _Effects(_Lenient):
    fade_in: float | bool = 0.0
    fade_out: float | bool = 0.0
    transition: str = ""
    fade_duration: float = 0.0
    """Milliseconds."""


class _Media(_Lenient):
    media_id: Id
    media_url: str = Field(min_length=1)
    order: float = float("inf")
    media_name: str = ""
    media_type: str = ""
    mimetype: str = ""
    file_size: float = 0.0
    checksum: str = ""
    layout: _Layout = _Layout()
    timing: _Timing = _Timing()
    effects: _Effects = _Effects()
    n_time_play: float = 1.0

    @field_validator("media_id", mode="before")
    @classmethod
    def _id(cls, value: object) -> Id:
        return to_id(value)


class _Playback(_Lenient):
    repeat: bool = True
    repeat_count: float = -1
    background_color: str = ""


class _List(_Lenient):
    id: Id
    media_items: list[Any]
    name: str = ""
    width: float = 0.0
    height: float = 0.0
    playback_config: _Playback = _Playback()

    @field_validator("id", mode="before")
    @classmethod
    def _id(cls, value: object) -> Id:
        return to_id(value)


class _Screen(_Lenient):
    current_playlist: Any = None
    playlists: list[Any] = []


@dataclass(frozen=True, slots=True)
class Media:
    """One playable entry: the item without its file, and where the file comes from."""

    item: Item
    url: str
    file_name: str
    """For people and reports; never a path."""
    size_bytes: int | None
    checksum: str


@dataclass(frozen=True, slots=True)
class ServerPlaylist:
    """One playlist of the server."""

    playlist_id: Id
    name: str
    media: tuple[Media, ...]
    malformed: tuple[str, ...] = ()
    """Names of the entries that cannot be used."""
    passes: int | None = None
    background: str = "#000000"
    canvas: tuple[int, int] | None = None

    @property
    def total_items(self) -> int:
        """All entries, malformed ones too."""
        return len(self.media) + len(self.malformed)

    def with_files(self, path_of: Callable[[Media], str]) -> Playlist:
        """As the stage plays it; `path_of` gives the verified file of an entry, or an empty string."""
        return Playlist(
            playlist_id=self.playlist_id,
            name=self.name,
            items=tuple(replace(media.item, path=path_of(media)) for media in self.media),
            passes=self.passes,
            background=self.background,
            canvas=self.canvas,
        )


@dataclass(frozen=True, slots=True)
class SidePlaylists:
    """What the server has for one side of the device."""

    playlists: tuple[ServerPlaylist, ...] = ()
    current: Id | None = None
    bodies: tuple[Any, ...] = field(default=(), compare=False)
    """The playlists as they came, to be kept on disk."""


class PlaylistReader:
    """Reads the server's answer.

    `root` is the server's origin, against which relative addresses resolve; `image_s` the duration of an image without one.
    What is malformed is named once in the log and left out.
    """

    def __init__(self, root: str, image_s: float) -> None:
        self._root = root
        self._image_s = image_s
        self._named: set[str] = set()

    def screens(self, body: Any, sides: list[str]) -> dict[str, SidePlaylists]:
        """The sides asked for; one that is null or missing has no playlists. Raises ValueError if `body` is no device."""
        if isinstance(body, dict) and isinstance(body.get("data"), dict):
            body = body["data"]
        if not isinstance(body, dict) or not any(key in body for key in _DEVICE_KEYS):
            raise ValueError("the answer is not a device's screens")
        return {side: self._side(body.get(f"{side}_screen"), side) for side in sides}

    def side(self, bodies: list[Any], current: Id | None = None) -> SidePlaylists:
        """One side from the bodies of its playlists."""
        bodies = [self._bounded(body) for body in bodies]
        lists = [playlist for body in bodies if (playlist := self._playlist(body)) is not None]
        unique: dict[Id, ServerPlaylist] = {}
        for playlist in lists:
            unique.setdefault(playlist.playlist_id, playlist)
        return SidePlaylists(tuple(unique.values()), current, tuple(bodies))

    def _side(self, body: Any, side: str) -> SidePlaylists:
        if body is None:
            return SidePlaylists()
        try:
            screen = _Screen.model_validate(body)
        except ValidationError:
            self._name(f"screen {side} is malformed")
            return SidePlaylists()
        current = screen.current_playlist
        try:
            current = to_id(current.get("id") if isinstance(current, dict) else current)
        except ValueError:
            current = None
        return self.side(screen.playlists, current)

    def _bounded(self, body: Any) -> Any:
        items = _peek(body, "media_items")
        if not isinstance(items, list) or len(items) <= _MOST_ITEMS:
            return body
        self._name(f"playlist is too long and cut id={_said(body, 'id')!r} items={len(items)} used={_MOST_ITEMS}")
        return {**body, "media_items": items[:_MOST_ITEMS]}

    def _playlist(self, body: Any) -> ServerPlaylist | None:
        try:
            listed = _List.model_validate(body)
        except ValidationError as error:
            self._name(f"playlist is malformed and skipped id={_said(body, 'id')} fault={_fault(error)}")
            return None
        media: list[tuple[float, Media]] = []
        malformed: list[str] = []
        for number, entry in enumerate(listed.media_items, start=1):
            try:
                parsed = _Media.model_validate(entry)
                media.append((parsed.order, self._media(parsed, listed)))
            except ValidationError as error:
                fault = _fault(error)
            except ValueError as error:
                fault = str(error)
            else:
                continue
            malformed.append(_file_name(_said(entry, "media_name"), _said(entry, "media_url")) or f"item {number}")
            self._name(f"item is malformed and skipped playlist={listed.id} item={malformed[-1]!r} fault={fault}")
        media.sort(key=lambda pair: pair[0])
        config = listed.playback_config
        passes = (max(1, int(config.repeat_count)) if 1 < config.repeat_count < _MOST_TIMES else None) if config.repeat else 1
        canvas = (int(listed.width), int(listed.height)) if 1 <= listed.width <= 32_768 and 1 <= listed.height <= 32_768 else None
        return ServerPlaylist(
            playlist_id=listed.id,
            name=listed.name[:_LONGEST_NAME],
            media=tuple(entry for _, entry in media),
            malformed=tuple(malformed),
            passes=passes,
            background="#" + to_colour(config.background_color, "#FF000000")[3:],
            canvas=canvas,
        )

    def _media(self, media: _Media, listed: _List) -> Media:
        url = urljoin(self._root + "/", media.media_url.strip())
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("media_url: not an http address")
        file_name = _file_name(media.media_name, url) or str(media.media_id)
        kind = _kind(media, parts.path)
        duration_s = media.timing.duration if 0 < media.timing.duration <= _LONGEST_IMAGE_S else self._image_s
        enter, fade_in_s, fade_out_s = _effects(media.effects)
        if kind == "image":
            fade_in_s, fade_out_s = min(fade_in_s, duration_s / 2), min(fade_out_s, duration_s / 2)
        item = Item(
            media_id=media.media_id,
            title=file_name,
            path="",
            kind=kind,
            duration_s=duration_s,
            times=int(min(_MOST_TIMES, max(1, media.n_time_play))),
            rect=_rect(media.layout, listed),
            enter=enter,
            fade_in_s=fade_in_s,
            fade_out_s=fade_out_s,
        )
        checksum = media.checksum.strip().lower()
        if len(checksum) not in (32, 64) or not set(checksum) <= set("0123456789abcdef"):
            if checksum:
                self._name(f"checksum is neither MD5 nor SHA-256 and ignored playlist={listed.id} item={file_name!r}")
            checksum = ""
        size = int(media.file_size) if 0 < media.file_size < 1 << 60 else None
        return Media(item, url, file_name, size, checksum)

    def _name(self, finding: str) -> None:
        known = finding in self._named or len(self._named) >= _MOST_FINDINGS
        log.log(logging.DEBUG if known else logging.WARNING, "%s", finding)
        if not known:
            self._named.add(finding)


def _kind(media: _Media, path: str) -> Literal["image", "video"]:
    for word in (media.media_type.lower(), media.mimetype.lower().split("/")[0]):
        if word == "image":
            return "image"
        if word == "video":
            return "video"
    return "image" if path.lower().endswith(_IMAGE_ENDINGS) else "video"


def _rect(layout: _Layout, listed: _List) -> tuple[float, float, float, float] | None:
    """Fractions of the canvas; None: all of it."""
    if layout.width <= 0 or layout.height <= 0 or listed.width <= 0 or listed.height <= 0:
        return None
    left, top = layout.x / listed.width, layout.y / listed.height
    right, bottom = left + layout.width / listed.width, top + layout.height / listed.height
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in (left, top, right, bottom))
    if right - left < 1e-3 or bottom - top < 1e-3:
        return None
    rect = (left, top, right - left, bottom - top)
    return None if rect == (0.0, 0.0, 1.0, 1.0) else rect


def _effects(effects: _Effects) -> tuple[Transition, float, float]:
    """How an item comes in and its fades in seconds. Servers write fades as seconds, milliseconds or just true."""
    word = effects.transition.strip().lower()
    enter: Transition = "slide" if word.startswith("slide") else "fade" if word in ("fade", "crossfade", "dissolve") else "cut"
    fade_in_s, fade_out_s = _fade_s(effects.fade_in), _fade_s(effects.fade_out)
    if enter == "fade" and not fade_in_s and not fade_out_s:
        fade_in_s = fade_out_s = _fade_s(effects.fade_duration / 1000) or _DEFAULT_FADE_S
    return enter, fade_in_s, fade_out_s


def _fade_s(value: float | bool) -> float:
    if value is True:
        return _DEFAULT_FADE_S
    try:
        number = to_number(value)
    except ValueError:
        return 0.0
    if number > 20:
        number /= 1000
    return min(_LONGEST_FADE_S, max(0.0, number))


def _file_name(name: str, url: str) -> str:
    """`media_name`, else the last part of the address."""
    name = name.strip()
    if not name:
        try:
            name = unquote(posixpath.basename(urlsplit(url).path))
        except ValueError:
            name = ""
    return encodable(name[:_LONGEST_NAME])


def _peek(body: Any, key: str) -> Any:
    return body.get(key) if isinstance(body, dict) else None


def _said(body: Any, key: str) -> str:
    """What stands there, for people."""
    value = _peek(body, key)
    return "" if value is None else str(value)[:_LONGEST_NAME]


def _fault(error: ValidationError) -> str:
    finding = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in finding['loc']) or 'item'}: {finding['msg']}"
