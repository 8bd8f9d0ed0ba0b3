"""A private X server and what is on it, and media files made on the spot.

Used by every test that looks at a screen; imports nothing of the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from Xlib import X, display as xdisplay

Colour = tuple[int, int, int]
TOLERANCE = 6
WIDTH, HEIGHT = 640, 360
"""Of the screens of whole agents."""


class Samples(list[tuple[float, bytes]]):
    """What was seen: (monotonic seconds, raw pixels), a new entry whenever they changed."""

    looks = 0
    """How often it was looked at."""

    def darkest(self) -> int:
        """The brightness, 0-255, of the darkest pixel that was ever seen."""
        return min(int(np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].max(1).min()) for _, data in self)


class XServer:
    """An Xvfb of its own on a free display number.

    >>> with XServer(1280, 720) as server:
    ...     subprocess.Popen(command, env={**os.environ, "DISPLAY": server.display})
    ...     server.wait_colour((640, 360), (255, 0, 0))
    """

    def __init__(self, width: int = 1280, height: int = 720, number: int | None = None) -> None:
        self.width = width
        self.height = height
        self.display = ""
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Any = None
        self._lock = threading.Lock()

    def start(self) -> Self:
        """Starts it and waits until it takes clients; also again after `stop`, with the same number."""
        reading, writing = os.pipe()
        argv = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{self.width}x{self.height}x24", "-nolisten", "tcp"]
        if self._number is not None:
            argv.insert(1, f":{self._number}")
        self._process = subprocess.Popen([*argv, "-noreset"], pass_fds=[writing], stderr=subprocess.DEVNULL)
        os.close(writing)
        with os.fdopen(reading) as answer:
            number = answer.readline().strip()
        if not number:
            raise RuntimeError("Xvfb does not start")
        self._number = int(number)
        self.display = f":{number}"
        return self

    def stop(self) -> None:
        """Ends it, and with it every client."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def raw(self, x: int, y: int, width: int, height: int) -> bytes:
        """Part of the screen as rows of B, G, R, x."""
        with self._lock:
            if self._connection is None:
                self._connection = xdisplay.Display(self.display)
            root = self._connection.screen().root
            return bytes(root.get_image(x, y, width, height, X.ZPixmap, 0xFFFFFFFF).data)

    def pixel(self, x: int, y: int) -> Colour:
        """Red, green, blue at this point."""
        blue, green, red, _ = self.raw(x, y, 1, 1)
        return red, green, blue

    def image(self) -> Image.Image:
        """The whole screen."""
        data = self.raw(0, 0, self.width, self.height)
        return Image.frombuffer("RGB", (self.width, self.height), data, "raw", "BGRX", 0, 1)

    def save(self, path: Path | str) -> None:
        """The whole screen as a file, for a person to look at."""
        self.image().save(path)

    def wait(self, condition: Callable[[], bool], deadline_s: float = 10.0, what: str = "the screen to change") -> None:
        """Looks until `condition` holds. Raises AssertionError with the colours of a few points if it does not in time."""
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited {deadline_s:g} s for {what}; the screen has {self.sketch()}")
            time.sleep(0.005)

    def wait_colour(self, point: tuple[int, int], colour: Colour, deadline_s: float = 10.0) -> None:
        """Waits until this point has this colour, up to rounding."""
        self.wait(lambda: near(self.pixel(*point), colour), deadline_s, f"{colour} at {point}")

    async def shows(self, point: tuple[int, int], colour: Colour, deadline_s: float = 10.0) -> None:
        """`wait_colour` for a test with an event loop, which goes on running."""
        await asyncio.to_thread(self.wait_colour, point, colour, deadline_s)

    def sketch(self) -> str:
        """The colours of nine points, for messages."""
        rows = [[self.pixel(self.width * x // 6, self.height * y // 6) for x in (1, 3, 5)] for y in (1, 3, 5)]
        return "; ".join(" ".join("#{:02x}{:02x}{:02x}".format(*pixel) for pixel in row) for row in rows)

    @contextlib.contextmanager
    def sampled(self, x: int, y: int, width: int, height: int) -> Iterator[Samples]:
        """Looks at a part of the screen several hundred times a second while the block runs."""
        connection = xdisplay.Display(self.display)
        root = connection.screen().root
        samples = Samples()
        over = threading.Event()

        def look() -> None:
            while not over.is_set():
                data = bytes(root.get_image(x, y, width, height, X.ZPixmap, 0xFFFFFFFF).data)
                samples.looks += 1
                if not samples or samples[-1][1] != data:
                    samples.append((time.monotonic(), data))
                # Faster than any screen, and the one who draws has to get its turn, too.
                time.sleep(0.001)

        thread = threading.Thread(target=look, name="samples the screen")
        thread.start()
        try:
            yield samples
        finally:
            over.set()
            thread.join()
            connection.close()


def near(one: Sequence[int], other: Sequence[int], tolerance: int = TOLERANCE) -> bool:
    """Whether two colours are the same up to what conversion and decoding round."""
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def still(path: Path, colour: Colour = (0, 255, 0), size: tuple[int, int] = (640, 360)) -> Path:
    """An image of one colour; the format goes by the ending."""
    Image.new("RGB", size, colour).save(path)
    return path


def clip(
    path: Path,
    colour: Colour = (0, 255, 0),
    seconds: float = 1.0,
    *,
    size: tuple[int, int] = (640, 360),
    rate: int = 30,
    codec: str = "libx264",
    sound: bool = False,
    source: str = "",
) -> Path:
    """A video of one colour, or of an lavfi `source`, with a tone if `sound`."""
    picture = source or "color=c=0x{:02x}{:02x}{:02x}".format(*colour) + f":s={size[0]}x{size[1]}:r={rate}"
    argv = ["-f", "lavfi", "-t", str(seconds), "-i", picture]
    if sound:
        argv += [
            "-f",
            "lavfi",
            "-t",
            str(seconds),
            "-i",
            "sine=frequency=440",
            "-c:a",
            "libopus" if path.suffix == ".webm" else "aac",
        ]
    if codec == "libx264":
        # Marked, so that no player has to guess what the colours mean.
        coding = ["-preset", "ultrafast", "-g", str(rate), "-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709"]
    else:
        coding = ["-deadline", "realtime", "-cpu-used", "8"]
    ffmpeg(*argv, "-c:v", codec, "-pix_fmt", "yuv420p", *coding, str(path))
    return path


def ffmpeg(*arguments: str) -> None:
    """Runs ffmpeg, quietly."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, stdin=subprocess.DEVNULL)
