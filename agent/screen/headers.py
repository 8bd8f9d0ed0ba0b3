"""What the first bytes of an image say about it: size, turn, animation. Reads a few KiB and decodes nothing."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

_EXIF_TURN = 0x0112
_SEGMENTS = 256
_CHUNKS = 64
_EXIF_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Header:
    """Of an image file."""

    kind: Literal["jpeg", "png", "webp", "gif", "bmp"]
    width: int
    height: int
    turn: int = 1
    """EXIF orientation, 1-8; 1 is upright."""
    animated: bool = False


def read(path: str) -> Header | None:
    """The header of the file; None if it is none of the known kinds, or broken. Raises OSError."""
    with Path(path).open("rb") as file:
        start = file.read(32)
        file.seek(0)
        try:
            if start.startswith(b"\xff\xd8"):
                return _jpeg(file)
            if start.startswith(b"\x89PNG\r\n\x1a\n"):
                return _png(file)
            if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
                return _webp(file)
            if start[:6] in (b"GIF87a", b"GIF89a"):
                return Header("gif", *struct.unpack_from("<HH", start, 6))
            if start[:2] == b"BM":
                width, height = struct.unpack_from("<ii", start, 18)
                return Header("bmp", width, abs(height))
        except (struct.error, IndexError):
            return None
    return None


def _jpeg(file: BinaryIO) -> Header | None:
    turn = 1
    file.seek(2)
    for _ in range(_SEGMENTS):
        marker = file.read(2)
        while len(marker) == 2 and marker == b"\xff\xff":
            marker = b"\xff" + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF:
            return None
        (length,) = struct.unpack(">H", file.read(2))
        # Start of frame, all coding processes; C4, C8 and CC are tables.
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            _, height, width = struct.unpack(">BHH", file.read(5))
            return Header("jpeg", width, height, turn)
        if marker[1] == 0xE1:
            body = file.read(length - 2)
            if body.startswith(b"Exif\0\0"):
                turn = _exif_turn(body[6:])
        else:
            file.seek(length - 2, 1)
    return None


def _png(file: BinaryIO) -> Header | None:
    file.seek(8)
    size: tuple[int, int] | None = None
    turn, animated = 1, False
    for _ in range(_CHUNKS):
        length, name = struct.unpack(">I4s", file.read(8))
        if name == b"IHDR":
            size = struct.unpack(">II", file.read(8))
            file.seek(length - 8 + 4, 1)
            continue
        if name in (b"IDAT", b"IEND"):
            break
        if name == b"eXIf" and length <= _EXIF_BYTES:
            turn = _exif_turn(file.read(length))
            file.seek(4, 1)
            continue
        animated = animated or name == b"acTL"
        file.seek(length + 4, 1)
    return None if size is None else Header("png", *size, turn, animated)


def _webp(file: BinaryIO) -> Header | None:
    file.seek(12)
    header: Header | None = None
    for _ in range(_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        body_at = file.tell()
        if name == b"VP8X":
            body = file.read(10)
            width, height = (1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
            header = Header("webp", width, height, animated=bool(body[0] & 2))
            if not body[0] & 8:
                return header
        elif name == b"VP8 " and header is None:
            width, height = struct.unpack_from("<HH", file.read(10), 6)
            return Header("webp", width & 0x3FFF, height & 0x3FFF)
        elif name == b"VP8L" and header is None:
            bits = int.from_bytes(file.read(5)[1:], "little")
            return Header("webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        elif name == b"EXIF" and header is not None and length <= _EXIF_BYTES:
            turn = _exif_turn(file.read(length).removeprefix(b"Exif\0\0"))
            return Header("webp", header.width, header.height, turn, header.animated)
        file.seek(body_at + length + (length & 1))
    return header


def _exif_turn(body: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(body[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", body, 4)
        (count,) = struct.unpack_from(order + "H", body, at)
        for entry in range(min(count, 512)):
            tag, _, _, value = struct.unpack_from(order + "HHIH", body, at + 2 + 12 * entry)
            if tag == _EXIF_TURN:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
