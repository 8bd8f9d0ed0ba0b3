"""Pictures of what is on the screen, overlays included, as a viewer sees it."""

from __future__ import annotations

import asyncio
from typing import Any

from agent.screen.geometry import Rotation, Screen
from agent.screen.player import PLAYER_ERRORS, Player

QUALITY = 90


class ScreenshotError(Exception):
    """No picture could be written; str() says why."""


async def write(player: Player, screen: Screen, path: str) -> None:
    """Writes a JPEG or PNG, by the ending of `path`. Raises ScreenshotError.

    An output that presents nothing has no overlays: then it is the bare picture.
    """
    if not path.lower().endswith((".jpg", ".jpeg", ".png")):
        raise ScreenshotError("neither a JPEG nor a PNG is asked for")
    try:
        if screen.rotate == 0:
            await player.command("screenshot-to-file", path, "window")
        else:
            picture = await player.command("screenshot-raw", "window")
            await asyncio.to_thread(_save_upright, picture, screen.rotate, path)
    except OSError as error:
        raise ScreenshotError(error.strerror or str(error)) from None
    except PLAYER_ERRORS:
        try:
            await player.command("screenshot-to-file", path, "video")
        except PLAYER_ERRORS as error:
            raise ScreenshotError(player.complaints or str(error)) from None


def _save_upright(picture: Any, rotate: Rotation, path: str) -> None:
    from PIL import Image  # noqa: PLC0415 - costs memory that most screens never need

    size = (int(picture["w"]), int(picture["h"]))
    image = Image.frombuffer("RGB", size, picture["data"], "raw", "BGRX", int(picture["stride"]), 1)
    turns = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    image.transpose(turns[rotate]).save(path, quality=QUALITY)
