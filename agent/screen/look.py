"""What holds for the whole output rather than for one file: changing it moves the picture that is still shown."""

from __future__ import annotations

from dataclasses import dataclass

from agent.screen import compat
from agent.screen.ass import Colour
from agent.screen.geometry import Rect, Screen
from agent.screen.player import Player
from agent.screen.reel import Take

_MARGINS = ("video-margin-ratio-left", "video-margin-ratio-top", "video-margin-ratio-right", "video-margin-ratio-bottom")
_SCALERS = ("scale", "dscale", "cscale")
_SMOOTH, _SHARP = "bilinear", "nearest"

START_OPTIONS = dict.fromkeys(_SCALERS, _SMOOTH)
"""For a player that is to look like `Look()`."""


@dataclass(frozen=True, slots=True)
class Look:
    """Where a picture stands, how it is scaled and what surrounds it."""

    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Left, top, right, bottom as fractions of the physical screen."""
    sharp: bool = False
    background: str = "#000000"

    @classmethod
    def of(cls, take: Take, screen: Screen, background: str) -> Look:
        """The look that belongs to a take."""
        area = screen.place(take.shot.rect)
        sharp = take.shot.pixelated and screen.holds(area, take.source.width, take.source.height)
        return cls(screen.margins(area_of(take, screen)), sharp, Colour.parse(background).rgb)

    def apply(self, player: Player, before: Look) -> None:
        """Sets what differs from `before`, which the player has now."""
        if self.margins != before.margins:
            for name, margin in zip(_MARGINS, self.margins, strict=True):
                player.set(name, f"{margin:.7f}")
        if self.sharp != before.sharp:
            if player.is_plain:
                # Drawn plainly, a picture is smooth whatever the scaler.
                player.set("gpu-dumb-mode", "no" if self.sharp else "yes")
            for name in _SCALERS:
                player.set(name, _SHARP if self.sharp else _SMOOTH)
        if self.background != before.background:
            player.set(compat.background_option(), self.background)


def area_of(take: Take, screen: Screen) -> Rect:
    """The physical rectangle inside which a take is shown."""
    area = screen.place(take.shot.rect)
    return screen.whole_pixels(area, take.source.width, take.source.height) if take.shot.pixelated else area
