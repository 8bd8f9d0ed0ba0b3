"""Everything that updates change on the disk: the installer and the guard change it through these operations only.

Each operation leaves the disk as it was or as it should be, also when the power fails in between, and what it did is on the disk
when it returns. All raise OSError. Standard library only: the guard uses this module from a copy outside the releases.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 256 * 1024
NEW = ".new"
"""What is being written is called .NAME.new until it is complete."""


def _no_step(name: str, path: Path, when: str) -> None:
    del name, path, when


step: Callable[[str, Path, str], None] = _no_step
"""Called "before" and "after" each single change; tests pull the plug here."""


@contextlib.contextmanager
def operation(name: str, path: Path) -> Iterator[None]:
    """One change of the disk, such as "rename", at `path`."""
    step(name, path, "before")
    yield
    step(name, path, "after")


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Makes a directory, whose parent exists, unless it is there."""
    if path.is_dir() and not path.is_symlink():
        return
    with operation("make directory", path):
        path.mkdir(mode)
        path.chmod(mode)
        sync_directory(path.parent)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Puts a file with `data` in the place of `path`."""
    new = path.with_name(f".{path.name}{NEW}")
    with operation("write", new):
        new.unlink(missing_ok=True)
        with open_new(new, mode) as file:
            file.write(data)
            sync_file(file)
    _put_in_place(new, path)


def link(path: Path, target: str) -> None:
    """Makes `path` a symbolic link to `target`, in the place of what it was."""
    new = path.with_name(f".{path.name}{NEW}")
    with operation("link", new):
        new.unlink(missing_ok=True)
        new.symlink_to(target)
    _put_in_place(new, path)


def remove_file(path: Path) -> None:
    """Removes a file or link, if it is there."""
    with operation("remove", path):
        path.unlink(missing_ok=True)
        sync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Removes whatever is at `path`; never follows a link. A power cut leaves a part of it."""
    if not path.is_symlink() and not path.exists():
        return
    # Not at the top: the guard runs before each start and needs neither.
    import shutil  # noqa: PLC0415

    with operation("remove tree", path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        sync_directory(path.parent)


def sync_tree(path: Path) -> None:
    """Puts everything on the file system of `path` on the disk; raises OSError when some of it could not be written."""
    import subprocess  # noqa: PLC0415 - as above

    with operation("sync", path):
        done = subprocess.run(["sync", "--file-system", path], check=False, capture_output=True)
        if done.returncode:
            raise OSError(errno.EIO, done.stderr.decode(errors="replace").strip() or "sync failed")


def sync_file(file: BinaryIO) -> None:
    """Puts what was written to `file` on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Puts the names in a directory on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_new(path: Path, mode: int) -> BinaryIO:
    """Makes a file that is not there yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


# --- in a directory of a user who is not trusted ------------------------------------------------------------------------------


@contextlib.contextmanager
def foreign_directory(path: Path, *inside: str) -> Iterator[int]:
    """A descriptor of `path`/`inside`..., to which no link leads on the way below `path`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in inside:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_foreign(directory: int, name: str) -> BinaryIO:
    """Opens a plain file for reading: no link, not a second name of some other file, nothing that blocks."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    file = os.fdopen(os.open(name, flags, dir_fd=directory), "rb")
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        file.close()
        raise OSError(errno.EINVAL, "not a plain file", name)
    return file


def read_foreign(directory: int, name: str, limit_bytes: int) -> bytes:
    """The contents of a plain file of at most `limit_bytes`."""
    with open_foreign(directory, name) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise OSError(errno.EFBIG, f"more than {limit_bytes} bytes", name)
    return data


def copy_in(file: BinaryIO, path: Path, size: int) -> str:
    """Copies a foreign file of exactly `size` bytes to `path`, which is not there yet; the copy's SHA-256 in hex."""
    hasher = hashlib.sha256()
    copied = 0
    with operation("copy", path), open_new(path, 0o600) as copy:
        while chunk := file.read(min(CHUNK_BYTES, size + 1 - copied)):
            copied += len(chunk)
            if copied > size:
                break
            copy.write(chunk)
            hasher.update(chunk)
        if copied != size:
            raise OSError(errno.EINVAL, f"not {size} bytes long")
        sync_file(copy)
    return hasher.hexdigest()


def digest_of(file: BinaryIO, size: int) -> str:
    """The SHA-256 in hex of the first `size` bytes of a foreign file."""
    hasher = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(CHUNK_BYTES, size))):
        hasher.update(chunk)
        size -= len(chunk)
    return hasher.hexdigest()


def remove_foreign(directory: int, name: str) -> None:
    """Removes whatever has this name, if anything has."""
    with operation("remove", Path(name)):
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            import shutil  # noqa: PLC0415 - as above

            try:
                shutil.rmtree(name, dir_fd=directory)
            except RecursionError:
                raise OSError(errno.ELOOP, "too deep to be removed", name) from None
        os.fsync(directory)


# --- two at once --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path: Path, wait_s: float) -> Iterator[bool]:
    """Holds the lock file `path` meanwhile; whether it does: not after `wait_s`, and not on a disk that cannot be written."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        yield _take(descriptor, time.monotonic() + wait_s)
    finally:
        os.close(descriptor)


def _take(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _put_in_place(new: Path, path: Path) -> None:
    with operation("rename", path):
        new.replace(path)
    with operation("sync directory", path.parent):
        sync_directory(path.parent)
