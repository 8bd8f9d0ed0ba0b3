"""Factories for what the backend says about screens (signage contract, section 2). Every field can be overridden or left out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.servers.files import MediaFile

SIDES = ("front", "back", "right", "left")

OMIT: Final = object()
"""As the value of an override: leave the field out."""

_media_ids = itertools.count(1001)


def item(
    media: MediaFile | None = None,
    *,
    duration_s: float | None = None,
    layout: Sequence[int] | None = None,
    fade: tuple[float, float] | None = None,
    transition: str | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """One media item.

    `media` gives name, type, URL, size and checksum; `layout` is x, y, width, height; `fade` the effects' fade_in and
    fade_out. `overrides` replace whole fields by any value, malformed ones too, or remove them with OMIT.
    """
    kind = "video" if media is not None and media.mimetype.startswith("video/") else "image"
    x, y, width, height = layout or (0, 0, 0, 0)
    made: dict[str, Any] = {
        "media_id": next(_media_ids),
        "order": OMIT,
        "media_name": media.name if media else "nothing.png",
        "media_type": kind,
        "mimetype": media.mimetype if media else "image/png",
        "media_url": media.url if media else "/media/nothing.png",
        "file_size": media.size if media else 0,
        "checksum": media.md5 if media else "",
        "layout": {"x": x, "y": y, "width": width, "height": height, "z_index": 0},
        "timing": {"start_time": 0, "duration": duration_s or 0, "loop": False},
        "effects": {
            "fade_in": fade[0] if fade else 0,
            "fade_out": fade[1] if fade else 0,
            "transition": transition if transition is not None else ("fade" if fade else "none"),
        },
        "n_time_play": 1,
    }
    return {**made, **overrides}


def playlist(
    playlist_id: int,
    items: Sequence[Any],
    *,
    repeat: bool = True,
    repeat_count: int = -1,
    background_color: str = "#000000",
    **overrides: Any,
) -> dict[str, Any]:
    """One playlist; items without an `order` get their place in the list. `overrides` as in `item`."""
    ordered = [
        {**entry, "order": place} if isinstance(entry, Mapping) and entry.get("order") is OMIT else entry
        for place, entry in enumerate(items)
    ]
    made: dict[str, Any] = {
        "id": playlist_id,
        "name": f"Playlist {playlist_id}",
        "width": 1280,
        "height": 720,
        "duration": 0,
        "media_items": [without_omitted(entry) for entry in ordered],
        "playback_config": {"repeat": repeat, "repeat_count": repeat_count, "background_color": background_color},
        "status": {"is_ready": False, "all_downloaded": False, "missing_files": [], "last_verified": None},
    }
    return dict(without_omitted({**made, **overrides}))


def screen(playlists: Sequence[Any], *, side: str = "front", current: int | None = None, **overrides: Any) -> dict[str, Any]:
    """What one side of a device shows; `current` becomes `current_playlist`."""
    made: dict[str, Any] = {
        "screen_id": SIDES.index(side) + 1 if side in SIDES else 9,
        "screen_name": f"{side.capitalize()} screen",
        "resolution": "1280x720",
        "current_playlist": OMIT if current is None else current,
        "playlists": list(playlists),
    }
    return dict(without_omitted({**made, **overrides}))


def without_omitted(value: Any) -> Any:
    """`value` without the entries that are OMIT."""
    if isinstance(value, Mapping):
        return {key: entry for key, entry in value.items() if entry is not OMIT}
    return value
