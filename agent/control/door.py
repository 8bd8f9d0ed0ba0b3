"""The control socket before anybody has used it: it listens, at next to no cost in memory.

The HTTP server behind it takes 0.1 s and some megabytes, so it is loaded when the first client comes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import stat
from pathlib import Path

log = logging.getLogger(__name__)


class ControlError(Exception):
    """The socket cannot be served; the text says why and what to do."""


class TakenError(ControlError):
    """Another agent serves this socket."""


async def first_client(listener: socket.socket) -> None:
    """Waits until somebody connects, without accepting."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(listener, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(listener)


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0660; one that nobody serves any more is replaced. Raises ControlError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            path.chmod(0o660)  # nobody can connect before listen(), so not with the wrong mode either
            listener.listen(64)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ControlError(f"control socket cannot be opened: path={path} error={error.strerror or error}") from error
    log.info("control socket open path=%s", path)
    return listener


def _clear(path: Path) -> None:
    """Removes a socket that nobody serves any more. Raises ControlError if somebody does, or if it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlError(
            f"control socket cannot be opened: {path} is there and is not a socket; move it away or set control.socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        refusal = probe.connect_ex(str(path))
    if refusal in {0, errno.EAGAIN, errno.ETIMEDOUT}:
        raise TakenError(f"another agent answers at {path}; stop it or set another control.socket")
    path.unlink(missing_ok=True)
