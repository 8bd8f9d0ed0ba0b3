"""What the console page shows of a signage device, as JSON, however malformed its playlists were made on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.servers.devices import Device
from tests.servers.files import MediaFile, MediaFiles
from tests.servers.playlists import SIDES

ITEMS_SHOWN = 60
"""So many items of a playlist the page shows."""


def overview(device: Device, screens: Mapping[str, Any], media: MediaFiles) -> dict[str, Any]:
    """The device with the playlists of `screens`, the body of its playlists request."""
    shown = ((side, screens.get(f"{side}_screen")) for side in SIDES)
    playlists = [
        _playlist(entry, side, media) for side, one in shown if isinstance(one, dict) for entry in _objects(one.get("playlists"))
    ]
    return {**device.state(), "playlists": playlists}


def _playlist(entry: dict[str, Any], side: str, media: MediaFiles) -> dict[str, Any]:
    """What the console page needs of a playlist, however malformed."""
    items = entry.get("media_items")
    return {
        "id": entry.get("id"),
        "name": str(entry.get("name", "")),
        "side": side,
        "items": [
            {
                "media_id": one.get("media_id"),
                "name": str(one.get("media_name", "")),
                "type": str(one.get("media_type", "")),
                "preview": _preview(media.by_url(str(one.get("media_url", "")))),
            }
            for one in sorted(_objects(items), key=_order)[:ITEMS_SHOWN]
        ],
    }


def _objects(items: Any) -> list[dict[str, Any]]:
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def _order(one: dict[str, Any]) -> float:
    order = one.get("order")
    return order if isinstance(order, int | float) else 0


def _preview(file: MediaFile | None) -> str:
    return file.url.replace("/media/", "/console/media/", 1) if file is not None else ""
