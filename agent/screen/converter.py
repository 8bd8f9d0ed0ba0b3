"""The process that decodes pictures of few pixels: `python -m agent.screen.converter FD`, started by `agent.screen.pictures`.

It is loaded once and never looks at a picture itself: for each it makes a copy of itself, which has limits and is gone
afterwards. A picture comes out as PNG, or APNG with a delay for every frame, of 8-bit RGB
with nothing else in it. Imports neither asyncio nor libmpv, so that it is small and soon there.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import itertools
import json
import os
import resource
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from agent.screen import apng

if TYPE_CHECKING:
    from PIL import Image

FRAMES = 1000
"""More are refused (tronbyt contract, section 4)."""
INPUT_BYTES = 8 << 20
STILL_PIXELS = 40_000_000
"""Of the canvas of a still picture."""
TOTAL_PIXELS = 128_000_000
"""Of all frames of an animation."""
OUTPUT_BYTES = 128 << 20
"""No more than this, and no more than a sixth of what the box has: two pictures are held, and others need memory, too."""
MEMORY_BYTES = 1 << 30
"""No more than this, and no more than half of what the box has."""
TIME_S = 8
"""Until a picture can be shown."""
WHOLE_S = 30
"""Until an animation that is being shown is complete."""
UNTIMED_MS = 50.0
"""For a frame whose duration is zero."""
AHEAD_S = 0.3
"""A player that has come to the end of what there is looks for more within this time."""
SLOWER = 1.5
"""The rest of an animation may take this much longer per frame than its beginning did."""
FORMATS = ("WEBP", "PNG", "JPEG", "GIF")
ACCEPTED = b"."


class PictureError(Exception):
    """The picture cannot be shown; str() says why."""


def main(channel: socket.socket) -> None:
    """Serves requests until the other end is closed. Says ACCEPTED when it is ready, and again for each request it has read.

    One is `{"number", "fit": px, "limit": px}` with three descriptors: the picture's file, the file to write to, and where the
    answer goes, in lines of JSON: `{"width", "height", "frames", "cycle_s"}` or `{"error"}`. For an animation that can be shown
    while the rest of it is decoded a line like the first, with `"more": true`, comes before that, and `{"error"}` after it says
    why the animation ends early. No answer means that the copy died. The other is `{"stop": number}`: nobody waits any more.
    """
    warnings.simplefilter("ignore")
    _load()
    channel.send(ACCEPTED)
    copies: dict[int, int] = {}
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, 4096, 3)
        if not message:
            for number in tuple(copies):
                _end(copies, number)
            return
        request = json.loads(message)
        for number, pid in tuple(copies.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del copies[number]
        if "stop" in request:
            _end(copies, request["stop"])
        elif (pid := os.fork()) == 0:
            channel.close()
            _serve(request, *descriptors)
        else:
            copies[request["number"]] = pid
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):
            channel.send(ACCEPTED)


def convert(
    data: bytes, target: BinaryIO, fit_px: int, limit_px: int, tell: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Writes the picture in `data` to `target`; what the answer says about it.

    A still whose longest side is more than `fit_px` is scaled to that; an animation has at most `limit_px`. `tell` gets the
    answer as soon as an animation can be shown without catching up with what is being written; then what is damaged later on
    only ends it early.
    Raises PictureError, or whatever Pillow makes of a damaged file.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - not in the process that asks

    Image.MAX_IMAGE_PIXELS = STILL_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError("is too large") from None
    except UnidentifiedImageError:
        raise PictureError("is no picture: neither WebP, PNG, JPEG nor GIF, or damaged at the beginning") from None
    if image.width * image.height > STILL_PIXELS:
        raise PictureError(f"is too large: {image.width} x {image.height}")
    if getattr(image, "is_animated", False) and image.format in ("WEBP", "PNG", "GIF"):
        if max(image.size) > limit_px:
            raise PictureError(f"is too large for an animation: {image.width} x {image.height}")
        durations = _webp_durations(data) if image.format == "WEBP" else []
        if len(durations) > FRAMES:
            raise PictureError(f"has more than {FRAMES} frames")
        early = _Early(image.size, durations if len(durations) == getattr(image, "n_frames", 0) else [], tell)
        written = apng.write(target, image.size, early.guard(_frames(image)), len(durations), early.progress)
        said = _answer(image.size, written.frames, written.cycle_ms)
        return said if early.fault is None else {"error": early.fault}
    image.draft("RGB", (fit_px, fit_px))
    upright = _over_black(ImageOps.exif_transpose(image))
    if max(upright.size) > fit_px:
        upright.thumbnail((fit_px, fit_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    apng.write(target, upright.size, iter([(upright, 0.0)]))
    return _answer(upright.size, 1, 0.0)


class _Early:
    """Says when an animation of these durations in ms may begin, with the rest of it still to come; never if none are known."""

    def __init__(self, size: tuple[int, int], durations: list[float], tell: Callable[[dict[str, Any]], None] | None) -> None:
        self.fault: str | None = None
        """Why it ends early."""
        self._size = size
        self._begins_s = [begin / 1000 for begin in itertools.accumulate(durations, initial=0.0)]
        self._since = time.monotonic()
        self._look_at = 2
        self._told = False
        # Once it is shown there must be room for all of it.
        fits = (3 * size[0] * size[1] + size[1] + apng.OVERHEAD_BYTES) * len(durations) < output_bytes()
        self._tell = tell if durations and fits else None

    def progress(self, written: apng.Written) -> None:
        """So much has been written."""
        if self._tell is None or self._told or written.frames < 2 or written.taken < self._look_at:
            return
        self._look_at = written.taken + max(1, written.taken // 4)
        frame_s = SLOWER * (time.monotonic() - self._since) / written.taken
        # A frame can be read when the head of the next is there, which may have been made of several.
        last = written.taken - apng.MERGED - 1
        begins_s = self._begins_s[written.taken - 1 : -1]
        if all(AHEAD_S + (n - last) * frame_s <= begin_s for n, begin_s in enumerate(begins_s, written.taken)):
            self._told = True
            self._tell(_answer(self._size, written.frames, 1000 * self._begins_s[-1]) | {"more": True})

    def guard(self, frames: Iterator[tuple[Image.Image, float]]) -> Iterator[tuple[Image.Image, float]]:
        """The frames; once the animation has begun, those before the first damaged one."""
        try:
            for frame in frames:
                if time.monotonic() > self._since + WHOLE_S:
                    raise PictureError(f"takes more than {WHOLE_S} s to decode")
                yield frame
        except Exception as error:
            if not self._told:
                raise
            self.fault = str(error) if isinstance(error, PictureError) else f"{type(error).__name__}: {error}"


def output_bytes() -> int:
    """How large a decoded picture may be."""
    return min(OUTPUT_BYTES, _box_bytes() // 6)


def _answer(size: tuple[int, int], frames: int, cycle_ms: float) -> dict[str, Any]:
    return {"width": size[0], "height": size[1], "frames": frames, "cycle_s": cycle_ms / 1000 if frames > 1 else None}


def _webp_durations(data: bytes) -> list[float]:
    """Milliseconds of each frame, without decoding it."""
    durations, at = [], 12
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 24 <= end:
        if data[at : at + 4] == b"ANMF":
            durations.append(float(int.from_bytes(data[at + 20 : at + 23], "little")) or UNTIMED_MS)
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return durations


def _frames(image: Image.Image) -> Iterator[tuple[Image.Image, float]]:
    """Each frame over black, and its milliseconds."""
    size, number = image.size, 0
    if image.info.get("default_image"):
        number = 1  # of an APNG: for those who know no animation
    first = number
    while True:
        try:
            image.seek(number)
            image.load()
        except EOFError as error:
            if "decode" in str(error):  # Pillow's word for a damaged WebP
                raise PictureError(f"cannot be decoded: {error}") from None
            return
        if number - first >= FRAMES:
            raise PictureError(f"has more than {FRAMES} frames")
        if size[0] * size[1] * (number - first + 1) > TOTAL_PIXELS:
            raise PictureError(f"is too much to decode: {size[0]} x {size[1]}, more than {number - first} frames")
        frame = _over_black(image)
        if frame.size != size:
            frame = frame.crop((0, 0, *size))
        yield frame, float(image.info.get("duration", 0)) or UNTIMED_MS
        number += 1


def _over_black(image: Image.Image) -> Image.Image:
    from PIL import Image  # noqa: PLC0415 - see `convert`

    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    picture = image.convert("RGBA")
    black = Image.new("RGB", picture.size)
    black.paste(picture, mask=picture.getchannel("A"))
    return black


def _load() -> None:
    """What decoding needs, so that no copy has to."""
    from PIL import (  # noqa: F401, PLC0415 - see `convert`
        GifImagePlugin,
        Image,
        ImageChops,
        ImageOps,
        JpegImagePlugin,
        MpoImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    Image.preinit()
    gc.freeze()


def _end(copies: dict[int, int], number: int) -> None:
    """Ends the copy for this request if it is still there."""
    pid = copies.pop(number, None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(request: dict[str, Any], source: int, target: int, answer: int) -> None:
    """In the copy: does one request and ends."""

    def say(said: dict[str, Any]) -> None:
        os.write(answer, json.dumps(said).encode() + b"\n")

    def begin(said: dict[str, Any]) -> None:
        say(said)
        _take_longer()

    try:
        _limit()
        with open(source, "rb") as file:
            data = file.read(INPUT_BYTES + 1)
        if len(data) > INPUT_BYTES:
            raise PictureError(f"is too large: more than {INPUT_BYTES} bytes")
        with open(target, "wb") as picture:
            said = convert(data, picture, request["fit"], request["limit"], begin)
    except PictureError as error:
        said = {"error": str(error)}
    except BaseException as error:  # noqa: BLE001 - whatever a hostile file makes of the decoder is one line for the log
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            said = {"error": f"is too large: more than {output_bytes() >> 20} MiB when decoded"}
        else:
            said = {"error": f"cannot be decoded: {type(error).__name__}: {error}".replace("\n", " ")[:300]}
    with contextlib.suppress(OSError):
        say(said)
    os._exit(0)


def _limit() -> None:
    """Whatever the box runs short of, this process is the one to go without."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    memory, output = min(MEMORY_BYTES, _box_bytes() // 2), output_bytes()
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, TIME_S, WHOLE_S + 5),
        (resource.RLIMIT_FSIZE, output, output),
        (resource.RLIMIT_NPROC, 0, 0),
    ):
        resource.setrlimit(what, (soft, hard))
    signal.alarm(TIME_S)


def _take_longer() -> None:
    """The picture can be shown: nobody waits for the rest of it, but perhaps for another."""
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_CPU, (WHOLE_S + 5, WHOLE_S + 5))
    signal.alarm(WHOLE_S + 5)


def _box_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(socket.socket(fileno=int(sys.argv[1])))
