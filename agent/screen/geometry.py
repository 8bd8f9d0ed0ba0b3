"""Where things stand on a screen that may be hung turned.

The upright screen is what a viewer sees: x to the right, y down. The physical screen is what the output scans out. `rotate` is
how far, clockwise in degrees, the upright picture is turned on the physical one.
"""

from __future__ import annotations

from dataclasses import dataclass

Rotation = int
"""0, 90, 180 or 270."""


@dataclass(frozen=True, slots=True)
class Rect:
    """Pixels; x and y of the upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column beyond it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row beyond it."""
        return self.y + self.height

    def around(self, other: Rect) -> Rect:
        """The smallest rectangle that holds both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Rect(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)

    def within(self, other: Rect) -> Rect:
        """What both have in common; without width or height if that is nothing."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Rect(x, y, max(0, min(self.right, other.right) - x), max(0, min(self.bottom, other.bottom) - y))

    def beside(self, bar: Rect) -> Rect:
        """What a bar along one of the edges leaves of it."""
        if bar.width >= self.width:
            return Rect(self.x, bar.bottom if bar.y <= self.y else self.y, self.width, max(0, self.height - bar.height))
        return Rect(bar.right if bar.x <= self.x else self.x, self.y, max(0, self.width - bar.width), self.height)


@dataclass(frozen=True, slots=True)
class Screen:
    """A physical screen of `width` x `height` pixels whose picture is turned by `rotate`."""

    width: int
    height: int
    rotate: Rotation = 0

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a viewer sees them."""
        return (self.height, self.width) if self.rotate in (90, 270) else (self.width, self.height)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point of the upright screen on the physical one."""
        match self.rotate:
            case 90:
                return self.width - y, x
            case 180:
                return self.width - x, self.height - y
            case 270:
                return y, self.height - x
        return x, y

    def direction(self, dx: float, dy: float) -> tuple[float, float]:
        """A direction on the upright screen as one on the physical one."""
        x0, y0 = self.point(0, 0)
        x1, y1 = self.point(dx, dy)
        return x1 - x0, y1 - y0

    def rect(self, upright: Rect) -> Rect:
        """A rectangle of the upright screen on the physical one."""
        x0, y0 = self.point(upright.x, upright.y)
        x1, y1 = self.point(upright.right, upright.bottom)
        return Rect(round(min(x0, x1)), round(min(y0, y1)), round(abs(x1 - x0)), round(abs(y1 - y0)))

    def place(self, fractions: tuple[float, float, float, float] | None) -> Rect:
        """The physical rectangle of x, y, width, height given as fractions of the upright screen; None: all of it.

        What would lie outside the screen is cut off; what would be empty or not a number is the whole screen.
        """
        whole = Rect(0, 0, self.width, self.height)
        if fractions is None:
            return whole
        width, height = self.upright
        left, top, right, bottom = (
            _clamp(edge) for edge in (fractions[0], fractions[1], fractions[0] + fractions[2], fractions[1] + fractions[3])
        )
        x0, y0, x1, y1 = round(left * width), round(top * height), round(right * width), round(bottom * height)
        if x1 - x0 < 1 or y1 - y0 < 1:
            return whole
        return self.rect(Rect(x0, y0, x1 - x0, y1 - y0))

    def margins(self, rect: Rect) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of a physical rectangle as fractions of the physical screen.

        A quarter of a pixel is added so that a player which cuts the fraction off arrives at the same pixel.
        """

        def ratio(pixels: int, size: int) -> float:
            return round((pixels + 0.25) / size, 7) if pixels > 0 else 0.0

        return (
            ratio(rect.x, self.width),
            ratio(rect.y, self.height),
            ratio(self.width - rect.right, self.width),
            ratio(self.height - rect.bottom, self.height),
        )

    def whole_pixels(self, area: Rect, width: int, height: int) -> Rect:
        """The largest whole multiple of an upright `width` x `height` picture in the middle of a physical area.

        A picture larger than the area is fitted as any other: the area itself is returned.
        """
        if self.rotate in (90, 270):
            width, height = height, width
        factor = min(area.width // max(width, 1), area.height // max(height, 1))
        if factor < 1:
            return area
        width, height = width * factor, height * factor
        return Rect(area.x + (area.width - width) // 2, area.y + (area.height - height) // 2, width, height)

    def holds(self, area: Rect, width: int, height: int) -> bool:
        """Whether an upright `width` x `height` picture is no larger than a physical area."""
        if self.rotate in (90, 270):
            width, height = height, width
        return width <= area.width and height <= area.height

    def canvas_scale(self, canvas: tuple[int, int] | None) -> float:
        """Screen pixels for one pixel of a canvas that is fitted to the upright screen."""
        if canvas is None or min(canvas) < 1:
            return 1.0
        width, height = self.upright
        return min(width / canvas[0], height / canvas[1])


def _clamp(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0) if fraction == fraction else 0.0  # noqa: PLR0124 - not a number
