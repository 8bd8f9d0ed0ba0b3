"""A look into a wheel before pip unpacks it: a plain zip file whose members stay inside and are as long as they say."""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from typing import BinaryIO

from agent.update.disk import CHUNK_BYTES
from agent.update.manifest import BundledFile, BundleError, shown

MEMBERS = 10_000

_CONTENTS_BYTES = 2 * 1024**2
_MEMBER_NAME_CHARACTERS = 500
_DEVICE = re.compile(r"[A-Za-z]:")
_FILE_TYPES = (0, stat.S_IFREG, stat.S_IFDIR)
_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_LOCATOR_64 = struct.Struct("<4sLQL")
_LOCATOR_64_MAGIC = b"PK\x06\x07"

# All that zipfile raises on a file that is not what it should be.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,  # encrypted, or NotImplementedError
    ValueError,  # names that are not text
    OverflowError,
)


def look(file: BinaryIO, begin: int, wheel: BundledFile) -> None:
    """Checks the wheel that begins at byte `begin` of `file` and has the length stated in `wheel`. Raises BundleError."""
    window = _Window(file, begin, wheel.size)
    _check_end(window, wheel)
    try:
        with zipfile.ZipFile(window) as archive:
            _check_members(archive.infolist(), wheel)
            for member in archive.infolist():
                _read_through(archive, member, wheel)
    except (*_UNREADABLE, _OutsideError) as exc:
        raise BundleError(f"{wheel.name} is damaged inside: {str(exc) or type(exc).__name__}") from None


def unpacked_bytes(wheel: BinaryIO) -> int:
    """What the members of a wheel are long together when unpacked, as the wheel itself says. Raises BundleError."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(member.file_size for member in archive.infolist())
    except _UNREADABLE as exc:
        raise BundleError(f"is not a wheel: {exc}") from None


class _OutsideError(OSError):
    """A zip file that points outside itself."""


class _Window(io.RawIOBase):
    """A part of a file as a file of its own, read only."""

    def __init__(self, file: BinaryIO, begin: int, size: int) -> None:
        self._file = file
        self._begin = begin
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise _OutsideError("it points outside itself")
        self._position = position
        return position

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._position)
        count = left if size is None or size < 0 else min(size, left)
        self._file.seek(self._begin + self._position)
        data = self._file.read(count)
        self._position += len(data)
        return data


def _check_end(window: _Window, wheel: BundledFile) -> None:
    """Sees to it that the file can be read in one way only: its list of contents ends where the end record begins, and that
    closes the file. No comment, no 64-bit records, nothing before the first member: no builder of wheels writes these.
    """
    window.seek(max(0, wheel.size - _END.size - _LOCATOR_64.size))
    tail = window.read()
    if len(tail) < _END.size:
        raise BundleError(f"{wheel.name} is not a zip file")
    magic, disk, first_disk, here, members, contents_bytes, contents_at, comment_bytes = _END.unpack(tail[-_END.size :])
    if magic != _END_MAGIC or disk or first_disk or here != members or comment_bytes:
        raise BundleError(f"{wheel.name} is not a plain zip file")
    if contents_at + contents_bytes + _END.size != wheel.size or tail.startswith(_LOCATOR_64_MAGIC):
        raise BundleError(f"{wheel.name} is not a plain zip file")
    if members > MEMBERS or contents_bytes > _CONTENTS_BYTES:
        raise BundleError(f"{wheel.name} has {members} members; {MEMBERS} are allowed")


def _check_members(members: list[zipfile.ZipInfo], wheel: BundledFile) -> None:
    names = set()
    if len(members) > MEMBERS:
        raise BundleError(f"{wheel.name} has {len(members)} members; {MEMBERS} are allowed")
    for member in members:
        # Not `filename`, from which zipfile has cut what follows a zero byte.
        name = member.orig_filename
        if not _stays_inside(name):
            raise BundleError(f"{wheel.name} holds {shown(name)}, which would lie outside the place it is unpacked to")
        if stat.S_IFMT(member.external_attr >> 16) not in _FILE_TYPES:
            raise BundleError(f"{wheel.name} holds {shown(name)}, which is a link or a device")
        if member.flag_bits & 1 or member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise BundleError(f"{wheel.name} holds {shown(name)}, which is encrypted or compressed in a way that wheels are not")
        if name.rstrip("/") in names:
            raise BundleError(f"{wheel.name} holds {shown(name)} twice")
        names.add(name.rstrip("/"))
    unpacked = sum(member.file_size for member in members)
    if unpacked != wheel.unpacked:
        raise BundleError(f"{wheel.name} is {unpacked} bytes when unpacked; the manifest says {wheel.unpacked}")


def _stays_inside(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    return (
        len(name) <= _MEMBER_NAME_CHARACTERS
        and name.isprintable()
        and "\\" not in name
        and not _DEVICE.match(name)
        and not any(part in {"", ".", ".."} for part in parts)
    )


def _read_through(archive: zipfile.ZipFile, member: zipfile.ZipInfo, wheel: BundledFile) -> None:
    """Unpacks a member to nowhere: zipfile compares its name, length and checksum on the way."""
    left = member.file_size
    with archive.open(member) as stream:
        while data := stream.read(CHUNK_BYTES):
            left -= len(data)
    if left:
        raise BundleError(f"{wheel.name} holds {shown(member.orig_filename)}, which is not as long as stated")
