"""A WebSocket connection of a link, with what its library leaves open: redirects, and servers that do not read."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, IPPROTO_TCP, TCP_USER_TIMEOUT

from websockets.asyncio.client import ClientConnection, connect

MOST_UNSENT_BYTES = 1024 * 1024
"""What is written to a connection and not taken by the server; with more the connection is given up."""


class Connect(connect):
    """Follows no redirect: the credentials in the address are for this server alone."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class Connection(ClientConnection):
    """Is given up when what it should send piles up: each ping is answered at once, whether or not the server reads."""

    given_up = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.given_up and self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.given_up = True
            self.transport.abort()


def takes_nothing(socket: ClientConnection) -> bool:
    """Whether the connection was given up because the server does not read."""
    return isinstance(socket, Connection) and socket.given_up


def give_up_unanswered(socket: ClientConnection, unanswered_s: float) -> None:
    """Lets the kernel end a connection whose other end takes nothing any more: a ping waits behind what is not sent yet."""
    connection = socket.transport.get_extra_info("socket")
    if connection is not None and connection.family in (AF_INET, AF_INET6):
        connection.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, int(unanswered_s * 1000))
