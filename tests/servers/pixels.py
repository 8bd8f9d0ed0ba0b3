"""Pictures for displays of 64 by 32 pixels and their like: drawn here, encoded as files; and files that should do no harm.

Animated WebP is put together frame by frame, so that durations, loop count and number of frames are exactly those asked for.
"""

from __future__ import annotations

import colorsys
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence

from PIL import Image

from tests.servers.pixel_letters import write

SIZE = (64, 32)

Size = tuple[int, int]
Form = str
"""As Pillow names it: WEBP, PNG, GIF, JPEG."""


# files


def encode(image: Image.Image, form: Form = "WEBP") -> bytes:
    """The picture as a file, without loss where the format can (JPEG: hardly any)."""
    data = io.BytesIO()
    if form == "JPEG":
        image.convert("RGB").save(data, form, quality=95, subsampling=0)
    else:
        image.save(data, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
    return data.getvalue()


def animate(frames: Sequence[Image.Image], durations_ms: int | Sequence[int], *, form: Form = "WEBP", loops: int = 0) -> bytes:
    """The pictures as one file (WEBP, GIF or PNG), each on for its duration; `loops` as in the file, 0: for ever."""
    each = [durations_ms] * len(frames) if isinstance(durations_ms, int) else list(durations_ms)
    if form != "WEBP":
        data = io.BytesIO()
        frames[0].save(data, form, save_all=True, append_images=frames[1:], duration=each, loop=loops, disposal=1)
        return data.getvalue()
    return mux(frames[0].size, [(_bitstream(frame), duration) for frame, duration in zip(frames, each, strict=True)], loops=loops)


def mux(size: Size, frames: Iterable[tuple[bytes, int]], *, loops: int = 0) -> bytes:
    """An animated WebP of whole frames, each a bitstream chunk and its duration in ms."""
    screen = _int24(size[0] - 1) + _int24(size[1] - 1)
    parts = [
        _chunk(b"VP8X", b"\x12\0\0\0" + screen),
        _chunk(b"ANIM", b"\0\0\0\0" + struct.pack("<H", loops)),
        *(_chunk(b"ANMF", bytes(6) + screen + _int24(duration) + b"\x02" + stream) for stream, duration in frames),
    ]
    return _riff(b"".join(parts))


# test pictures


def plain(colour: str, size: Size = SIZE) -> Image.Image:
    """One colour."""
    return Image.new("RGB", size, colour)


def checkerboard(size: Size = SIZE, dark: str = "#101040", light: str = "#f0c020") -> Image.Image:
    """Every pixel unlike its neighbours, dark at the top left."""
    image = Image.new("RGB", size, dark)
    bright = Image.new("RGB", size, light)
    mask = Image.frombytes("L", size, bytes(255 * ((x + y) % 2) for y in range(size[1]) for x in range(size[0])))
    image.paste(bright, (0, 0), mask)
    return image


def numbered(number: int, size: Size = SIZE) -> Image.Image:
    """A picture that differs from that of every number near it: a colour of its own, the number in the middle."""
    image = Image.new("RGB", size, hue(number * 0.382, 0.75, 0.55))
    write(image, str(number), (size[0] // 2, (size[1] - 14) // 2), "#ffffff", scale=2, anchor="m")
    return image


def glass(size: Size = SIZE) -> Image.Image:
    """With alpha: solid at the left, clear at the right, even steps in between."""
    image = Image.new("RGBA", size, "#30c0ff")
    steps = bytes(255 - 255 * x // max(1, size[0] - 1) for x in range(size[0]))
    image.putalpha(Image.frombytes("L", size, steps * size[1]))
    return image


def noise(size: Size = SIZE, seed: int = 1) -> Image.Image:
    """What no encoder can make small."""
    return Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3))


def heavy(size_bytes: int = 565_000) -> bytes:
    """An animation of 256 by 128 pixels, 100 ms a frame, whose file is at least so large and hardly larger than 100 kB more."""
    size, frames = (256, 128), list[tuple[bytes, int]]()
    while sum(len(stream) for stream, _ in frames) < size_bytes:
        frames.append((_bitstream(noise(size, len(frames))), 100))
    return mux(size, frames)


def hue(turns: float, saturation: float, value: float) -> tuple[int, int, int]:
    """A colour by its place on the wheel, 0 to 1, and once more round."""
    red, green, blue = colorsys.hsv_to_rgb(turns % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


# what should do no harm


def uniform(size: Size, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """A WebP of one colour in some forty bytes, up to 16383 by 16383 pixels: a gigabyte for whoever decodes it."""
    return _riff(_uniform(size, colour))


def many_frames(count: int, duration_ms: int = 10, size: Size = (2, 2)) -> bytes:
    """An animation of tiny frames, about 50 bytes each, red and green by turns."""
    streams = [_uniform(size, colour) for colour in ((220, 0, 0), (0, 220, 0))]
    return mux(size, ((streams[number % 2], duration_ms) for number in range(count)))


def png_bomb(side: int = 30_000) -> bytes:
    """A PNG of side by side black pixels in a file of about a thousandth."""
    rows = zlib.compressobj(9)
    line = bytes(1 + (side + 7) // 8)
    body = b"".join(rows.compress(line) for _ in range(side)) + rows.flush()
    return _png(struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), body)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "truncated": lambda: _whole()[: len(_whole()) // 2],
    "header only": lambda: _whole()[:12],
    "one byte": lambda: b"R",
    "text": lambda: b"<html>502 Bad Gateway</html>",
    "zeros": lambda: bytes(4096),
    "garbled": lambda: _whole()[:40] + bytes(byte ^ 0x5A for byte in _whole()[40:]),
    "wrong sizes": lambda: _whole()[:4] + b"\xff\xff\xff\x7f" + _whole()[8:16] + b"\xff\xff\xff\x7f" + _whole()[20:],
    "WebP bomb": lambda: uniform((16383, 16383)),
    "PNG bomb": png_bomb,
    "30,000 frames": lambda: many_frames(30_000),
    "large canvas": lambda: mux((16384, 16384), [(_uniform((2, 2), (9, 9, 9)), 100)] * 2),
    "over 2 MB": lambda: encode(plain("#20c020")) + bytes(2 * 1024 * 1024),
    "cut GIF": lambda: animate([noise(seed=1), noise(seed=2)], 100, form="GIF")[:3000],
    "PNG of no size": lambda: _png(struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0), zlib.compress(b"")),
}
"""Files that cannot or must not be shown, by what is wrong with them. `empty` is an empty frame: no image at all."""


# the insides of files


def _bitstream(image: Image.Image) -> bytes:
    """The chunk with the picture's lossless bitstream out of the WebP that Pillow makes."""
    data = encode(image)
    at = 12
    while data[at : at + 4] != b"VP8L":
        at += 8 + _even(int.from_bytes(data[at + 4 : at + 8], "little"))
    return data[at : at + 8 + _even(int.from_bytes(data[at + 4 : at + 8], "little"))]


def _uniform(size: Size, colour: tuple[int, int, int]) -> bytes:
    """A lossless bitstream whose five codes have one symbol each, so that no pixel costs a bit."""
    bits = [(size[0] - 1, 14), (size[1] - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1)]
    red, green, blue = colour
    for symbol in (green, red, blue, 255):
        bits += [(1, 1), (0, 1), (1, 1), (symbol, 8)]
    bits += [(1, 1), (0, 1), (0, 1), (0, 1)]
    whole = shift = 0
    for value, width in bits:
        whole |= value << shift
        shift += width
    return _chunk(b"VP8L", b"\x2f" + whole.to_bytes((shift + 7) // 8 + 1, "little"))


def _whole() -> bytes:
    return encode(noise())


def _riff(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _png(header: bytes, body: bytes) -> bytes:
    parts = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def _int24(value: int) -> bytes:
    return value.to_bytes(3, "little")


def _even(size: int) -> int:
    return size + size % 2
