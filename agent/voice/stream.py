"""The sound between the daemon and the voice worker: packets on a socket of their own, in order with what they belong to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Collection
from enum import IntEnum

MAX_DATA_BYTES = 8192
"""Of one packet; more is sent as several."""
BACKLOG_BYTES = 8_000_000
"""What waits for the other end at most: 16 minutes of an announcement."""
_HEADER = struct.Struct("<BI")
_PACKET_BYTES = 128
"""What a packet takes in memory besides its data."""


class Kind(IntEnum):
    """What a packet is. To the worker: announcements; from it: what the microphone heard."""

    BEGIN = 1
    FRAME = 2
    END = 3
    STOP = 4


class Backlog:
    """Packets that wait, at most BACKLOG_BYTES of memory. Small pieces of a session that follow each other become one packet."""

    def __init__(self) -> None:
        self._packets: deque[bytearray] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, kind: Kind, session: int, data: bytes = b"") -> bool:
        """False: too much waits already, and nothing was taken. An END or a STOP always is: each belongs to a BEGIN."""
        if kind in (Kind.BEGIN, Kind.FRAME) and self._bytes + len(data) + _PACKET_BYTES > BACKLOG_BYTES:
            return False
        header = _HEADER.pack(kind, session)
        if kind is Kind.FRAME and self._packets and self._packets[-1].startswith(header):
            last = self._packets[-1]
            if len(last) + len(data) <= _HEADER.size + MAX_DATA_BYTES:
                last += data
                self._bytes += len(data)
                return True
        for start in range(0, max(1, len(data)), MAX_DATA_BYTES):
            packet = bytearray(header)
            packet += data[start : start + MAX_DATA_BYTES]
            self._packets.append(packet)
            self._bytes += len(packet) + _PACKET_BYTES
        return True

    def first(self) -> bytearray:
        """What is to be sent next."""
        return self._packets[0]

    def pop(self) -> None:
        """The first one was sent."""
        self._bytes -= len(self._packets.popleft()) + _PACKET_BYTES

    def drop(self, sessions: Collection[int]) -> set[int]:
        """Forgets what waits of these sessions; those of which the BEGIN was among it, so that nobody has heard of them."""
        unknown: set[int] = set()
        kept: deque[bytearray] = deque()
        for packet in self._packets:
            kind, session = _HEADER.unpack_from(packet)
            if session not in sessions:
                kept.append(packet)
            elif kind == Kind.BEGIN:
                unknown.add(session)
        self._packets = kept
        self._bytes = sum(len(packet) + _PACKET_BYTES for packet in kept)
        return unknown


class Stream:
    """One end. `on_packet` gets kind, session and data in the event loop's thread; `on_gone` is called when the other end is.

    `backlog` is sent first.
    """

    def __init__(
        self,
        connection: socket.socket,
        on_packet: Callable[[Kind, int, bytes], None],
        on_gone: Callable[[], None] | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._on_packet = on_packet
        self._on_gone = on_gone
        self._backlog = Backlog() if backlog is None else backlog
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._read)
        self._write()

    def send(self, kind: Kind, session: int, data: bytes = b"") -> bool:
        """Sends at once, or as soon as the other end reads; to nobody when that is gone.

        False: too much waits already, and the data was dropped.
        """
        if self._connection.fileno() < 0:
            return True
        if not self._backlog.add(kind, session, data):
            return False
        self._write()
        return True

    def stop(self, sessions: Collection[int]) -> None:
        """Sends a STOP for each of these sessions in the place of what waits of them."""
        for session in sorted(set(sessions) - self._backlog.drop(sessions)):
            self.send(Kind.STOP, session)

    def close(self) -> None:
        """Hangs up; what was not sent yet is lost."""
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection)
            self._loop.remove_writer(self._connection)
            self._connection.close()

    def _write(self) -> None:
        try:
            while self._backlog:
                self._connection.send(self._backlog.first())
                self._backlog.pop()
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
