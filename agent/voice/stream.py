"""The sound between the daemon and the voice worker: packets on a socket of their own, in order with what they belong to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from enum import IntEnum

MAX_DATA_BYTES = 8192
"""Of one packet; more is sent as several."""
BACKLOG_BYTES = 8_000_000
"""What waits for the other end at most: 16 minutes of an announcement."""
_HEADER = struct.Struct("<BI")


class Kind(IntEnum):
    """What a packet is. To the worker: announcements; from it: what the microphone heard."""

    BEGIN = 1
    FRAME = 2
    END = 3
    STOP = 4


class Stream:
    """One end. `on_packet` gets kind, session and data in the event loop's thread; `on_gone` is called when the other end is."""

    def __init__(
        self,
        connection: socket.socket,
        on_packet: Callable[[Kind, int, bytes], None],
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._on_packet = on_packet
        self._on_gone = on_gone
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._read)

    def send(self, kind: Kind, session: int, data: bytes = b"") -> bool:
        """Sends at once, or as soon as the other end reads; to nobody when that is gone.

        False: too much waits already, and the data was dropped.
        """
        if self._connection.fileno() < 0:
            return True
        if data and self._backlog_bytes + len(data) > BACKLOG_BYTES:
            return False
        for start in range(0, max(1, len(data)), MAX_DATA_BYTES):
            packet = _HEADER.pack(kind, session) + data[start : start + MAX_DATA_BYTES]
            self._backlog.append(packet)
            self._backlog_bytes += len(packet)
        self._write()
        return True

    def close(self) -> None:
        """Hangs up; what was not sent yet is lost."""
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection)
            self._loop.remove_writer(self._connection)
            self._connection.close()

    def _write(self) -> None:
        try:
            while self._backlog:
                self._connection.send(self._backlog[0])
                self._backlog_bytes -= len(self._backlog.popleft())
        except BlockingIOError:
            self._loop.add_writer(self._connection, self._write)
            return
        except OSError:
            self._lose()
            return
        self._loop.remove_writer(self._connection)

    def _read(self) -> None:
        for _ in range(64):
            try:
                packet = self._connection.recv(_HEADER.size + MAX_DATA_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if len(packet) < _HEADER.size:
                self._lose()
                return
            kind, session = _HEADER.unpack_from(packet)
            self._on_packet(Kind(kind), session, packet[_HEADER.size :])
            if self._connection.fileno() < 0:
                return

    def _lose(self) -> None:
        self.close()
        if self._on_gone is not None:
            self._on_gone()


class Meeting:
    """The daemon's side of getting connected: an address for one worker, and nobody else."""

    def __init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.bind("")  # the kernel picks a free address without a file
        self._listener.listen(4)
        self.address = bytes(self._listener.getsockname())[1:].hex()
        """What the worker is told."""

    async def accept(self, pid: Callable[[], int | None]) -> socket.socket:
        """The connection of the process `pid`; anybody else's is refused."""
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            peer, uid, _ = struct.unpack("3i", credentials)
            if peer == pid() and uid == os.getuid():
                return connection
            connection.close()

    def close(self) -> None:
        """Nobody can come any more."""
        self._listener.close()


def meet(address: str) -> socket.socket:
    """The worker's side. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(b"\0" + bytes.fromhex(address))
    except BaseException:
        with contextlib.suppress(OSError):
            connection.close()
        raise
    return connection
