"""The demo's playlists, from a directory of media files."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from tests.servers.files import MediaFile
from tests.servers.make_media import media_names
from tests.servers.playlists import item, playlist
from tests.servers.signage import SignageServer

SOFT = {"transition": "fade", "fade_duration": 600}
SLIDE = {"transition": "slide", "fade_duration": 500}


def media_files(directory: Path) -> list[Path]:
    """The images and videos in a directory, by name."""
    return sorted(path for path in directory.iterdir() if not path.name.startswith(".") and _kind(path) in ("image", "video"))


def furnish(server: SignageServer, directory: Path) -> None:
    """Adds every media file of the directory to the server and offers every device the playlists made of them.

    The demo's own files become Lobby, Sale and the upright Gelateria; others become a playlist of their own.
    """
    media = {path.name: server.media.add(path.name, path) for path in media_files(directory)}
    offered = [playlist(110, [item(file, duration_s=6, effects=SOFT) for file in _others(media)], name="Other files")]
    if all(name in media for name in media_names()):
        offered = [_lobby(media), _sale(media), _gelateria(media), *offered]
    server.offer([one for one in offered if one["media_items"]], current=offered[0]["id"])


def _lobby(media: dict[str, MediaFile]) -> dict[str, object]:
    return playlist(
        101,
        [
            item(media["good-evening.jpg"], duration_s=5, effects=SOFT),
            item(media["late-thursday.mp4"], effects=SOFT),
            item(media["flat-white.jpg"], duration_s=5, effects=SLIDE),
            item(media["lagoon.webm"], effects=SOFT),
            item(media["fresh-flowers.webp"], duration_s=5, effects=SLIDE),
        ],
        name="Lobby",
        duration=26,
    )


def _sale(media: dict[str, MediaFile]) -> dict[str, object]:
    return playlist(
        102,
        [
            item(media["summer-sale.png"], duration_s=4, effects=SLIDE),
            item(media["fresh-flowers.webp"], duration_s=4, layout=(128, 72, 1024, 576), effects=SOFT),
            item(media["lagoon.webm"], layout=(160, 90, 960, 540), effects=SOFT),
        ],
        name="Sale",
        duration=13,
        background_color="#3A1C71",
    )


def _gelateria(media: dict[str, MediaFile]) -> dict[str, object]:
    return playlist(
        103,
        [
            item(media["gelato.mp4"], n_time_play=2),
            item(media["three-scoops.png"], duration_s=5, effects=SOFT),
        ],
        name="Gelateria (upright)",
        width=720,
        height=1280,
        duration=13,
        background_color="#0F766E",
    )


def _others(media: dict[str, MediaFile]) -> list[MediaFile]:
    return [file for name, file in media.items() if name not in media_names()]


def _kind(path: Path) -> str:
    return (mimetypes.guess_type(path.name)[0] or "").partition("/")[0]
