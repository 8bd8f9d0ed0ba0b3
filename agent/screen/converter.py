"""The process that decodes pictures of few pixels: `python -m agent.screen.converter FD`, started by `agent.screen.pictures`.

It is loaded once and never looks at a picture itself: for each it makes a copy of itself, which has limits and is gone
afterwards. A picture comes out as PNG, or APNG with a delay for every frame, of 8-bit RGB
with nothing else in it. Imports neither asyncio nor libmpv, so that it is small and soon there.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

FRAMES = 1000
"""More are refused (tronbyt contract, section 4)."""
INPUT_BYTES = 8 << 20
STILL_PIXELS = 40_000_000
"""Of the canvas of a still picture."""
TOTAL_PIXELS = 128_000_000
"""Of all frames of an animation."""
OUTPUT_BYTES = 32 << 20
MEMORY_BYTES = 1 << 30
"""No more than this, and no more than half of what the box has."""
TIME_S = 20
UNTIMED_MS = 50.0
"""For a frame whose duration is zero."""
FORMATS = ("WEBP", "PNG", "JPEG", "GIF")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2


class PictureError(Exception):
    """The picture cannot be shown; str() says why."""


def main(channel: socket.socket) -> None:
    """Serves requests until the other end is closed.

    Each is `{"fit": px, "limit": px}` with three descriptors: the picture's file, the file to write to, and where the answer
    goes as JSON: `{"width", "height", "frames", "cycle_s"}` or `{"error"}`. No answer means that the copy died. One picture at
    a time: a new request, or one without descriptors, ends the one before.
    """
    _load()
    child = 0
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, 4096, 3)
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            child = 0
        if not request:
            return
        if len(descriptors) == 3:
            child = os.fork()
            if child == 0:
                channel.close()
                _serve(json.loads(request), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def convert(data: bytes, target: BinaryIO, fit_px: int, limit_px: int) -> dict[str, Any]:
    """Writes the picture in `data` to `target`; what the answer says about it.

    A still whose longest side is more than `fit_px` is scaled to that; an animation has at most `limit_px`.
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
        return _write(target, image.size, _frames(image))
    image.draft("RGB", (fit_px, fit_px))
    upright = _over_black(ImageOps.exif_transpose(image))
    if max(upright.size) > fit_px:
        upright.thumbnail((fit_px, fit_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _write(target, upright.size, iter([(upright.tobytes(), 0.0)]))


def _frames(image: Image.Image) -> Iterator[tuple[bytes, float]]:
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
        yield frame.tobytes(), float(image.info.get("duration", 0)) or UNTIMED_MS
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


def _write(target: BinaryIO, size: tuple[int, int], frames: Iterator[tuple[bytes, float]]) -> dict[str, Any]:
    """Writes PNG, or APNG if there are two frames that differ. Frames that look the same are one."""
    width, height = size
    target.write(_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)))
    pixels, wait_ms = next(frames)
    control_at = target.tell()
    count = sequence = 0
    cycle_ms = 0.0
    more = True
    while more:
        following = next(frames, None)
        while following is not None and following[0] == pixels:
            wait_ms += following[1]
            following = next(frames, None)
        more = following is not None
        rows = zlib.compress(b"".join(b"\0" + pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width)), 1)
        if count == 0 and more:
            target.write(_chunk(b"acTL", struct.pack(">II", 1, 0)))
        if count or more:
            delay = struct.pack(">HHBB", *_delay(wait_ms), 0, 0)
            target.write(_chunk(b"fcTL", struct.pack(">IIIII", sequence, width, height, 0, 0) + delay))
            sequence += 1
        if count == 0:
            target.write(_chunk(b"IDAT", rows))
        else:
            target.write(_chunk(b"fdAT", struct.pack(">I", sequence) + rows))
            sequence += 1
        count += 1
        cycle_ms += wait_ms
        if following is not None:
            pixels, wait_ms = following
    target.write(_chunk(b"IEND", b""))
    if count > 1:
        target.seek(control_at)
        target.write(_chunk(b"acTL", struct.pack(">II", count, 0)))
    return {"width": width, "height": height, "frames": count, "cycle_s": cycle_ms / 1000 if count > 1 else None}


def _delay(milliseconds: float) -> tuple[int, int]:
    """As a fraction of a second with 16 bits above and below the line."""
    for per_second in (1000, 100, 10, 1):
        if (units := round(milliseconds * per_second / 1000)) <= 0xFFFF:
            return max(units, 1), per_second
    return 0xFFFF, 1


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def _load() -> None:
    """What decoding needs, so that no copy has to."""
    from PIL import (  # noqa: F401, PLC0415 - see `convert`
        GifImagePlugin,
        Image,
        ImageOps,
        JpegImagePlugin,
        MpoImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    Image.preinit()
    gc.freeze()


def _serve(request: dict[str, Any], source: int, target: int, answer: int) -> None:
    """In the copy: does one request and ends."""
    try:
        _limit()
        with open(source, "rb") as file:
            data = file.read(INPUT_BYTES + 1)
        if len(data) > INPUT_BYTES:
            raise PictureError(f"is too large: more than {INPUT_BYTES} bytes")
        with open(target, "wb") as file:
            said = convert(data, file, request["fit"], request["limit"])
    except PictureError as error:
        said = {"error": str(error)}
    except BaseException as error:  # noqa: BLE001 - whatever a hostile file makes of the decoder is one line for the log
        said = {"error": f"cannot be decoded: {type(error).__name__}: {error}".replace("\n", " ")[:300]}
    with contextlib.suppress(OSError):
        os.write(answer, json.dumps(said).encode())
    os._exit(0)


def _limit() -> None:
    """Whatever the box runs short of, this process is the one to go without."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    memory = min(MEMORY_BYTES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, TIME_S),
        (resource.RLIMIT_FSIZE, OUTPUT_BYTES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))
    signal.alarm(TIME_S)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(socket.socket(fileno=int(sys.argv[1])))
