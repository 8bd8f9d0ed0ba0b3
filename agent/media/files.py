"""The store's directory. Everything here blocks and belongs into a thread.

md5-<hex>, sha256-<hex>      a complete file
md5-<hex>.<something>        made from it (a picture scaled down, say); goes when it goes
md5-<hex>.part, url-<hex>.part       an unfinished download
<...>.part.json              which answer of which server that was
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from agent.system.logs import Trouble

log = logging.getLogger(__name__)
BLOCK_BYTES = 1024 * 1024


class Hasher(Protocol):
    """What hashlib returns."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True)
class Stamp:
    """By this a file is known to be the one that was verified."""

    size_bytes: int
    mtime_ns: int


@dataclass
class Listing:
    """What lies in the directory."""

    files: dict[str, Stamp] = field(default_factory=dict)  # by digest
    parts: dict[str, int] = field(default_factory=dict)  # name → size
    derived_bytes: int = 0


def file_name(digest: str) -> str:
    """The name of the file with `digest` ("md5:<hex>")."""
    return digest.replace(":", "-")


def digest_of_name(name: str) -> str | None:
    """The digest of the file called `name`, or of the one it was made from; None for any other name."""
    match = _FILE.fullmatch(name)
    return f"{match['algorithm']}:{match['hex']}" if match else None


def new_hasher(algorithm: str) -> Hasher:
    """A fresh MD5 or SHA-256."""
    return hashlib.new(algorithm, usedforsecurity=False)


def stamp(path: Path) -> Stamp | None:
    """Size and modification time, or None if there is no such regular file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns) if S_ISREG(status.st_mode) else None


def remove(path: Path) -> bool:
    """Removes `path` if it is there; False if the disk does not let it go, which is said once."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _removing.is_("media file cannot be removed", error.strerror, name=path.name)
        return False
    _removing.over("media files can be removed again")
    return True


def list_directory(directory: Path, *, now: float, part_age_s: float) -> Listing:
    """What is there. Creates the directory; removes unfinished downloads older than `part_age_s` (`now` is the wall clock),
    what was made from files that are gone, and what somebody who was killed was making. Unknown names are left alone.

    To be called while nothing is being made from files. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    listing = Listing()
    derived: list[tuple[str, Path]] = []
    for path in sorted(directory.iterdir()):
        found = stamp(path)
        if found is None:
            continue
        if _PART.fullmatch(path.name):
            if now - found.mtime_ns / 1e9 <= part_age_s or not remove_part(path):
                listing.parts[path.name] = found.size_bytes
        elif (digest := digest_of_name(path.name)) is not None:
            if path.name == file_name(digest):
                listing.files[digest] = found
            elif not _is_note(path.name):
                derived.append((digest, path))
    for digest, path in derived:
        if digest not in listing.files or path.name.endswith(".part"):
            remove(path)
    for path in directory.glob("*.part.json*"):
        if path.name.removesuffix(".new").removesuffix(".json") not in listing.parts:
            remove(path)
    listing.derived_bytes = derived_bytes(directory)
    return listing


def derived_bytes(directory: Path) -> int:
    """How much of the directory was made from files in it."""
    try:
        with os.scandir(directory) as found:
            names = [entry.name for entry in found if "." in entry.name]
    except OSError:
        return 0
    made = (name for name in names if digest_of_name(name) and not _PART.fullmatch(name) and not _is_note(name))
    return sum(status.size_bytes for name in made if (status := stamp(directory / name)) is not None)


def part_note(part: Path) -> Path:
    """The file beside `part` that says which answer of which server it is."""
    return part.with_name(part.name + ".json")


def remove_part(part: Path) -> bool:
    """Removes an unfinished download, as `remove`; the note goes first, so that it never describes other bytes."""
    return remove(part_note(part)) and remove(part)


def remove_file(path: Path) -> bool:
    """Removes a file and what was made from it, as `remove`."""
    if not remove(path):
        return False
    for derived in path.parent.glob(f"{path.name}.*"):
        if not _PART.fullmatch(derived.name) and not _is_note(derived.name) and stamp(derived) is not None:
            remove(derived)
    return True


def take_in(part: Path, path: Path) -> Stamp:
    """Gives a verified and synced download its name, durably."""
    part.replace(path)
    part_note(part).unlink(missing_ok=True)
    sync_directory(path.parent)
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns)


def sync_directory(directory: Path) -> None:
    """Makes the directory's entries durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def space(directory: Path) -> tuple[int, int]:
    """Size of the disk that `directory` is on, or will be, and what of it is free for this user, in bytes. Raises OSError."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    status = os.statvfs(directory)
    return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


class Reading:
    """A file being hashed block by block. Drops from the page cache what it has read, so that playback keeps its share."""

    def __init__(self, path: Path, algorithm: str) -> None:
        self._path = path
        self._hasher = new_hasher(algorithm)
        self._file: FileIO | None = None
        self._done = 0

    def step(self) -> int:
        """Hashes the next block; its length, 0 at the end. Raises OSError."""
        if self._file is None:
            self._file = self._path.open("rb", buffering=0)
        block = self._file.read(BLOCK_BYTES)
        if block:
            self._hasher.update(block)
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file.fileno(), self._done, len(block), os.POSIX_FADV_DONTNEED)
            self._done += len(block)
        return len(block)

    def close(self) -> None:
        """Lets go of the file; not while a step runs."""
        if self._file is not None:
            self._file.close()

    def hexdigest(self) -> str:
        """Of what was read so far."""
        return self._hasher.hexdigest()


def matches(path: Path, digest: str) -> bool:
    """Whether the file has `digest`; False also if it is gone or unreadable. Raises OSError if nobody can tell."""
    algorithm, _, expected = digest.partition(":")
    reading = Reading(path, algorithm)
    try:
        while reading.step():
            pass
    except OSError as error:
        if is_loss(error):
            return False
        raise
    finally:
        reading.close()
    return reading.hexdigest() == expected


def is_loss(error: OSError) -> bool:
    """Whether a failed read says that the file is gone or damaged, rather than that the box is short of something."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA)


def _is_note(name: str) -> bool:
    return name.endswith((".part.json", ".part.json.new"))


_removing = Trouble(log)
_FILE = re.compile(r"(?P<algorithm>md5|sha256)-(?P<hex>(?<=md5-)[0-9a-f]{32}|(?<=sha256-)[0-9a-f]{64})(?:\.[\w.-]+)?")
_PART = re.compile(r"(?:md5-[0-9a-f]{32}|sha256-[0-9a-f]{64}|url-[0-9a-f]{64})\.part")
