"""What a server's brightness means: percent in the field, 0-255 in the source document (tronbyt contract, section 2). Pure."""

from __future__ import annotations

from typing import Literal

Scale = Literal["auto", "percent", "byte"]

FULL_BYTE = 255
FULL_PERCENT = 100


class BrightnessScale:
    """Turns values into percent. `auto` is percent until a value above 100 comes, from then on byte; `byte_seen`: it has come."""

    def __init__(self, scale: Scale, *, byte_seen: bool = False) -> None:
        self._scale = scale
        self.byte_seen = byte_seen
        """A value above 100 has come."""

    def percent(self, value: float) -> float:
        """0 to 100 for a value of 0 to 255."""
        self.byte_seen |= value > FULL_PERCENT
        full = FULL_BYTE if self._scale == "byte" or (self._scale == "auto" and self.byte_seen) else FULL_PERCENT
        return min(100.0, value * 100 / full)
