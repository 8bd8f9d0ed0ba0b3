"""PNG and APNG of 8-bit RGB, written frame by frame: what has been written can be shown while the rest is being made."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

MERGED = 8
"""At most so many frames that look the same are made one, after the first: a reader does not have to wait for more."""
OVERHEAD_BYTES = 256
"""A frame takes no more than its pixels and this."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2
_UP = b"\2"


@dataclass(slots=True)
class Written:
    """What is in a file."""

    frames: int = 0
    taken: int = 0
    """Frames it was made of."""
    cycle_ms: float = 0.0


def write(
    target: BinaryIO,
    size: tuple[int, int],
    frames: Iterator[tuple[Image.Image, float]],
    expected: int = 0,
    progress: Callable[[Written], None] | None = None,
) -> Written:
    """Writes PNG, or APNG with these milliseconds for each frame if there are two frames that differ; there is at least one.

    `frames` are RGB images; `expected`: how many, as far as known. `progress` is called after each frame of an APNG.
    """
    width, height = size
    target.write(_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)))
    control_at = target.tell()
    written = Written()
    picture, wait_ms = next(frames)
    pixels, taken, sequence, more = picture.tobytes(), 1, 0, True
    while more:
        following = next(frames, None)
        while following is not None and (not written.frames or taken < MERGED) and following[0].tobytes() == pixels:
            wait_ms += following[1]
            taken += 1
            following = next(frames, None)
        more = following is not None
        rows = _rows(picture)
        data = b""
        if more and not written.frames:
            data = _chunk(b"acTL", struct.pack(">II", max(expected, 2), 0))
        if more or written.frames:
            delay = struct.pack(">HHBB", *_delay(wait_ms), 0, 0)
            data += _chunk(b"fcTL", struct.pack(">IIIII", sequence, width, height, 0, 0) + delay)
            sequence += 1
        if written.frames:
            data += _chunk(b"fdAT", struct.pack(">I", sequence) + rows)
            sequence += 1
        else:
            data += _chunk(b"IDAT", rows)
        target.write(data)
        target.flush()
        written.frames += 1
        written.taken += taken
        written.cycle_ms += wait_ms
        if following is not None:
            if progress is not None:
                progress(written)
            picture, wait_ms = following
            pixels, taken = picture.tobytes(), 1
    target.write(_chunk(b"IEND", b""))
    if written.frames > 1:
        target.seek(control_at)
        target.write(_chunk(b"acTL", struct.pack(">II", written.frames, 0)))
    target.flush()
    return written


def finish(descriptor: int) -> None:
    """Gives an APNG whose writer has died an end, after its last whole frame."""
    at = whole = len(_SIGNATURE)
    size = os.fstat(descriptor).st_size
    while len(head := os.pread(descriptor, 8, at)) == 8 and at + 12 + int.from_bytes(head[:4], "big") <= size:
        at += 12 + int.from_bytes(head[:4], "big")
        if head[4:] in (b"IDAT", b"fdAT"):
            whole = at
    os.ftruncate(descriptor, whole)
    os.pwrite(descriptor, _chunk(b"IEND", b""), whole)


def _rows(picture: Image.Image) -> bytes:
    """The pixels as PNG has them: each row as its difference from the one above. Made fast; other filters and matches gain a
    twentieth and cost twice the time.
    """
    from PIL import Image, ImageChops  # noqa: PLC0415 - not in the process that asks

    above = Image.new("RGB", picture.size)
    above.paste(picture, (0, 1))
    data = ImageChops.subtract_modulo(picture, above).tobytes()
    stride = 3 * picture.width
    press = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_RLE)
    return press.compress(b"".join([_UP + data[at : at + stride] for at in range(0, len(data), stride)])) + press.flush()


def _delay(milliseconds: float) -> tuple[int, int]:
    """As a fraction of a second with 16 bits above and below the line."""
    for per_second in (1000, 100, 10, 1):
        if (units := round(milliseconds * per_second / 1000)) <= 0xFFFF:
            return max(units, 1), per_second
    return 0xFFFF, 1


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
