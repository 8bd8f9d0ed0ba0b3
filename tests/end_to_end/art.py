"""Media whose colour says what is on the screen, made once and kept for all tests."""

from __future__ import annotations

from pathlib import Path

from tests.display import Colour, clip, near, still

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
YELLOW, CYAN, MAGENTA = (255, 255, 0), (0, 255, 255), (255, 0, 255)
WHITE, ORANGE = (255, 255, 255), (255, 128, 0)
GREY = (64, 64, 64)
"""The background of every playlist here, so that black is never right."""
NAMES = {
    RED: "red", GREEN: "green", BLUE: "blue", YELLOW: "yellow", CYAN: "cyan", MAGENTA: "magenta", WHITE: "white",
    ORANGE: "orange", GREY: "grey",
}  # fmt: skip

CLOCK_S = 24.0
_CLOCK_START, _CLOCK_STEP = 40, 8
"""Luma at the start of the clock, and its growth each second."""


class Art:
    """Files in `folder`, by what they show."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def image(self, colour: Colour, ending: str = "png", size: tuple[int, int] = (320, 180)) -> Path:
        """A picture of one colour."""
        path = self.folder / f"{NAMES[colour]}-{size[0]}x{size[1]}.{ending}"
        return path if path.exists() else still(path, colour, size)

    def video(
        self, colour: Colour, seconds: float, ending: str = "mp4", size: tuple[int, int] = (320, 180), *, sound: bool = False
    ) -> Path:
        """A film of one colour, with a tone of 440 Hz if `sound`."""
        path = self.folder / f"{NAMES[colour]}-{seconds:g}s-{size[0]}x{size[1]}{'-tone' * sound}.{ending}"
        codec = "libvpx" if ending == "webm" else "libx264"
        return path if path.exists() else clip(path, colour, seconds, size=size, codec=codec, sound=sound)

    def clock(self) -> Path:
        """A film whose grey tells the time in it, see `clock_time`."""
        path = self.folder / "clock.mp4"
        source = f"color=black:s=64x36:r=10,geq=lum='{_CLOCK_START}+T*{_CLOCK_STEP}':cb=128:cr=128"
        return path if path.exists() else clip(path, seconds=CLOCK_S, rate=10, source=source)


def clock_time(pixel: Colour) -> float | None:
    """Seconds into the clock film, by a pixel of it; None if that is something else."""
    if max(pixel) - min(pixel) > 6 or near(pixel, GREY, 1):
        return None
    seconds = (sum(pixel) / 3 * 219 / 255 + 16 - _CLOCK_START) / _CLOCK_STEP
    return seconds if -0.2 <= seconds <= CLOCK_S + 0.2 else None
