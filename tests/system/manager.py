"""systemd's end of the notification socket."""

from __future__ import annotations

import asyncio
import socket


class Manager:
    """The end at which systemd listens."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Everything that has come since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    async def hears(self, message: str, deadline_s: float = 15.0) -> list[str]:
        """Waits for a message that begins like this; everything heard until then, this one last."""
        heard: list[str] = []
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline_s):
                while not (heard and heard[-1].startswith(message)):
                    heard.append((await loop.sock_recv(self.socket, 4096)).decode())
        except TimeoutError:
            raise AssertionError(f"{message} was not heard; heard {heard}") from None
        return heard
