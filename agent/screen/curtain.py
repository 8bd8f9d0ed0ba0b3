"""A snapshot of the old picture in front of the new one: hides the change when the two stand differently, and slides away.

The player draws such bitmaps above its text overlays, so the snapshot leaves their bars free and is dimmed by itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import importlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from agent.screen.ass import Colour
from agent.screen.geometry import Rect, Screen
from agent.screen.player import PLAYER_ERRORS, Player

log = logging.getLogger(__name__)

SLIDE_S = 0.5
_STEP_S = 1 / 60
_OVERLAY = 1


class Curtain:
    """At most one snapshot at a time; where nothing is presented (`enabled` false) there is none."""

    def __init__(self, player: Player, *, enabled: bool) -> None:
        self._player = player
        self._enabled = enabled
        self._pixels: ctypes.Array[ctypes.c_char] | None = None
        self._area = Rect(0, 0, 0, 0)
        self._screen = Screen(0, 0)
        self._sliding: asyncio.Task[None] | None = None

    @property
    def drawn(self) -> bool:
        """Whether a snapshot waits in front of the picture."""
        return self._pixels is not None and self._sliding is None

    async def load(self) -> None:
        """Loads what a snapshot needs, so that the first one takes no longer."""
        if self._enabled:
            await asyncio.to_thread(importlib.import_module, "PIL.Image")

    async def draw(
        self, background: str, dim_percent: float, screen: Screen, bars: Sequence[Rect], *, sharp: bool, reach: Rect | None
    ) -> None:
        """Puts a snapshot of what is shown now, without ticker and strip, in front of it; one that is there already stays.

        `sharp`: its pixels are squares. `reach`: where the new picture will be, if nothing changes beside the two.
        """
        if not self._enabled or self.drawn:
            return
        self.lift()
        names = ("w", "h", "ml", "mt", "mr", "mb")
        try:
            picture = await self._player.command("screenshot-raw", "video")
            values = await self._player.get(*(f"osd-dimensions/{name}" for name in names))
            width, height, left, top, right, bottom = (int(float(value)) for value in values)
        except (*PLAYER_ERRORS, ValueError) as error:
            log.debug("no snapshot of the old picture error=%s", error)
            return
        place = Rect(left, top, width - left - right, height - top - bottom)
        area = functools.reduce(Rect.beside, bars, Rect(0, 0, width, height))
        if reach is not None:
            area = place.around(reach).within(area)
        if area.width < 1 or area.height < 1:
            return
        pixels = await asyncio.to_thread(_compose, picture, place, area, Colour.parse(background), dim_percent, sharp=sharp)
        self._pixels, self._area, self._screen = pixels, area, screen
        self._place(0, 0)

    def lift(self) -> None:
        """Takes the snapshot away at once."""
        if self._sliding is not None:
            self._sliding.cancel()
            self._sliding = None
        pixels, self._pixels = self._pixels, None
        if pixels is not None:

            def removed(_: object) -> None:
                # Only now has every earlier command that reads the pixels been carried out.
                ctypes.memset(pixels, 0, 0)

            self._player.post("overlay-remove", _OVERLAY, then=removed)

    def slide_away(self, group: asyncio.TaskGroup) -> None:
        """Moves the snapshot out to the left of the upright screen."""
        self._sliding = group.create_task(self._slide(), name="slides the old picture away")

    async def _slide(self) -> None:
        begun = time.monotonic()
        dx, dy = self._screen.direction(-1, 0)
        way = self._screen.upright[0]
        while (part := (time.monotonic() - begun) / SLIDE_S) < 1:
            distance = way * part * part * (3 - 2 * part)
            self._place(round(dx * distance), round(dy * distance))
            await asyncio.sleep(_STEP_S)
        self._sliding = None
        self.lift()

    def _place(self, dx: int, dy: int) -> None:
        assert self._pixels is not None
        area = self._area
        width, height = area.width - abs(dx), area.height - abs(dy)
        if width < 1 or height < 1:
            return
        stride = area.width * 4
        offset = max(-dy, 0) * stride + max(-dx, 0) * 4
        x, y = area.x + max(dx, 0), area.y + max(dy, 0)
        address = ctypes.addressof(self._pixels) + offset
        self._player.post("overlay-add", _OVERLAY, x, y, f"&{address}", 0, "bgra", width, height, stride)


def _compose(
    picture: Any, place: Rect, area: Rect, background: Colour, dim_percent: float, *, sharp: bool
) -> ctypes.Array[ctypes.c_char]:
    from PIL import Image  # noqa: PLC0415 - costs memory that most screens never need

    # Blue, green and red stay where they are, whatever Pillow calls them: every other order costs a copy of the screen.
    size = (int(picture["w"]), int(picture["h"]))
    old = Image.frombuffer("RGBA", size, picture["data"], "raw", "RGBA", int(picture["stride"]), 1).copy()
    old.putalpha(255)
    if old.size != (place.width, place.height) and min(place.width, place.height) > 0:
        old = old.resize((place.width, place.height), Image.Resampling.NEAREST if sharp else Image.Resampling.BILINEAR)
    sheet = Image.new("RGBA", (area.width, area.height), (background.blue, background.green, background.red, 255))
    sheet.paste(old, (place.x - area.x, place.y - area.y))
    if dim_percent > 0:
        light = 1 - min(dim_percent, 100.0) / 100
        sheet = sheet.point([*([round(value * light) for value in range(256)] * 3), *range(256)])
    data = sheet.tobytes()
    return ctypes.create_string_buffer(data, len(data))
