"""The test picture: colour bars, a running band, grain, a clock, and two numbers a program can read back from the picture.

The top of the picture holds two rows of 32 blocks, each 1/32 of the width and 1/18 of the height: the first row is the
frame number, the second the wall clock in milliseconds, both modulo 2^28. In each row block 0 is white and block 1 black;
blocks 2 to 29 are the bits of the number, the highest first, white for 1; block 30 is white if the number of ones is odd;
block 31 is black. Read the luma in the middle of each block: ((i + 0.5) / 32, 0.5 / 18) of width and height in the first
row, ((i + 0.5) / 32, 1.5 / 18) in the second; above 128 is white.
"""

from __future__ import annotations

import random
import threading
import time
from itertools import pairwise

from av import VideoFrame

from agent.camera.source import Hardware, Picture

BLOCKS = 32
BITS = 28
ROWS = 18
RING = 6
"""Frames in turn: some are still being encoded while the next is drawn."""
WHITE, BLACK = 235, 16
BARS = (
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
    (16, 128, 128),
)
"""Luma and both chromas: grey, yellow, cyan, green, magenta, red, blue, black."""
BAND_SPEED = 6
"""Pixels of each frame."""
GRAIN = 32
"""Of the rushing strip, in steps of luma: without it the picture would take far fewer bits than a camera's."""

_SEGMENTS = {
    "0": "abcdef",
    "1": "bc",
    "2": "abged",
    "3": "abgcd",
    "4": "fgbc",
    "5": "afgcd",
    "6": "afgedc",
    "7": "abc",
    "8": "abcdefg",
    "9": "abcdfg",
}
"""Of a seven-segment digit: a on top, then clockwise, g in the middle."""


class PatternSource:
    """Draws only what changes from one frame to the next."""

    name = "test"
    hardware: Hardware | None = None

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._interval_s = 1.0 / picture.framerate
        self._began = time.monotonic()
        self._number = -1
        self._turn = 0
        self._closed = threading.Event()
        background = _Canvas(picture)
        background.draw_background()
        self._canvases = [background, *(_Canvas(picture, background) for _ in range(RING - 1))]

    def read(self) -> VideoFrame | None:
        """The next frame, when its time has come; a reader that is late misses frames, and their numbers."""
        now = time.monotonic()
        number = max(self._number + 1, int((now - self._began) / self._interval_s))
        if self._closed.wait(max(0.0, self._began + number * self._interval_s - now)):
            return None
        self._number = number
        self._turn = (self._turn + 1) % RING
        canvas = self._canvases[self._turn]
        canvas.draw(number, time.time())
        return canvas.frame

    def close(self) -> None:
        """Ends a wait for the next frame."""
        self._closed.set()


def row_of_blocks(number: int, width: int) -> bytes:
    """One line of pixels of the blocks that say `number`."""
    bits = f"{number % (1 << BITS):0{BITS}b}"
    colours = (WHITE, BLACK, *(WHITE if bit == "1" else BLACK for bit in bits), WHITE if bits.count("1") % 2 else BLACK, BLACK)
    edges = [round(i * width / BLOCKS) for i in range(BLOCKS + 1)]
    return b"".join(bytes((colour,)) * (right - left) for colour, (left, right) in zip(colours, pairwise(edges), strict=True))


class _Canvas:
    """One frame and where to draw on it."""

    def __init__(self, picture: Picture, like: _Canvas | None = None) -> None:
        self.frame = VideoFrame(picture.width, picture.height, "yuv420p")
        self._width, self._height = picture.width, picture.height
        self.planes = [memoryview(plane).cast("B") for plane in self.frame.planes]
        self._strides = [plane.line_size for plane in self.frame.planes]
        self._clock = _Clock(max(6, picture.height // 9))
        texture = bytes(40 + abs((x * 5) % 352 - 176) for x in range(352))
        self._band = texture * (picture.width // 352 + 2)
        self._grain = bytes(128 + value % GRAIN - GRAIN // 2 for value in random.Random(1).randbytes(4 * picture.width))
        if like is not None:
            for plane, other in zip(self.planes, like.planes, strict=True):
                plane[:] = other

    def draw_background(self) -> None:
        for plane, stride in enumerate(self._strides):
            width, height = (self._width, self._height) if plane == 0 else (self._width // 2, self._height // 2)
            edges = [round(i * width / len(BARS)) for i in range(len(BARS) + 1)]
            line = b"".join(
                bytes((bar[plane],)) * (right - left) for bar, (left, right) in zip(BARS, pairwise(edges), strict=True)
            )
            self._fill(plane, 0, height, line + bytes(stride - width))
            # Under the numbers, the clock, the band and the grain everything is grey.
            for top, bottom in ((0, 2 / ROWS), (0.4, 0.6), (0.8, 1.0)):
                if plane:
                    self._fill(plane, int(top * height), min(height, int(bottom * height) + 1), bytes((128,)) * stride)

    def draw(self, number: int, clock_s: float) -> None:
        width, height = self._width, self._height
        block = height / ROWS
        self._fill(0, 0, round(block), row_of_blocks(number, width))
        self._fill(0, round(block), round(2 * block), row_of_blocks(int(clock_s * 1000), width))
        offset = number * BAND_SPEED % 352
        self._fill(0, int(0.8 * height), int(0.9 * height), self._band[offset : offset + width])
        for line in range(int(0.9 * height), height):
            start = (number * 7919 + line * 104729) % (3 * width)
            self._fill(0, line, line + 1, self._grain[start : start + width])
        text = time.strftime("%H:%M:%S", time.localtime(clock_s)) + f".{int(clock_s * 1000) % 1000:03d}"
        left = (width - self._clock.width(text)) // 2
        top = int(0.5 * height) - self._clock.height // 2
        if left >= 0:
            for first, last, pixels in self._clock.lines(text):
                self._fill(0, top + first, top + last, pixels, left)

    def _fill(self, plane: int, top: int, bottom: int, line: bytes, left: int = 0) -> None:
        """The same line of pixels from `top` to `bottom`."""
        pixels, stride, size = self.planes[plane], self._strides[plane], len(line)
        for start in range(top * stride + left, bottom * stride + left, stride):
            pixels[start : start + size] = line


class _Clock:
    """Seven-segment digits: five kinds of lines, however high they are."""

    def __init__(self, height: int) -> None:
        self.height = height
        self._bar = bar = max(1, height // 8)
        self._side = (height - 3 * bar) // 2
        self._digit = height // 2
        self._gap = bar
        self._kinds = ("a", "fb", "g", "ec", "d")
        self._pieces = [{char: self._piece(char, kind) for char in "0123456789:."} for kind in self._kinds]

    def width(self, text: str) -> int:
        return sum(len(self._pieces[0][char]) for char in text)

    def lines(self, text: str) -> list[tuple[int, int, bytes]]:
        """From line, to line, and the pixels of each line between."""
        lines, top = [], 0
        for kind, pieces in zip(self._kinds, self._pieces, strict=True):
            bottom = top + (self._side if len(kind) == 2 else self._bar)
            lines.append((top, bottom, b"".join(map(pieces.__getitem__, text))))
            top = bottom
        return lines

    def _piece(self, char: str, kind: str) -> bytes:
        def colour(*, on: bool, width: int) -> bytes:
            return bytes((WHITE if on else BLACK,)) * width

        if char == ":":
            return colour(on=kind in {"fb", "ec"}, width=self._bar) + colour(on=False, width=self._gap)
        if char == ".":
            return colour(on=kind == "d", width=self._bar) + colour(on=False, width=self._gap)
        lit, bar, middle = _SEGMENTS[char], self._bar, self._digit - 2 * self._bar
        if len(kind) == 2:
            pixels = colour(on=kind[0] in lit, width=bar) + colour(on=False, width=middle) + colour(on=kind[1] in lit, width=bar)
        else:
            pixels = colour(on=kind in lit, width=self._digit)
        return pixels + colour(on=False, width=self._gap)
