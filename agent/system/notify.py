"""What the daemon tells systemd: ready, what it is doing, still alive (sd_notify(3))."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time

log = logging.getLogger(__name__)


class Notifier:
    """The notification socket; without one (not started by systemd) every call does nothing."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self._last_status = ""
        self.watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        """The watchdog's deadline in seconds; 0: there is none."""

    def ready(self) -> None:
        """Start-up, or the reading of a changed configuration, is complete."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon has begun to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent only when it changed."""
        if text != self._last_status:
            self._last_status = text
            self._send(f"STATUS={text.splitlines()[0] if text else ''}")

    async def feed_watchdog(self) -> None:
        """Feeds the watchdog from the event loop for ever, and says when the loop was late."""
        interval_s = self.watchdog_s / 3
        if not interval_s:
            return
        loop = asyncio.get_running_loop()
        while True:
            self._send("WATCHDOG=1")
            due = loop.time() + interval_s
            await asyncio.sleep(interval_s)
            late_s = loop.time() - due
            if late_s > min(1.0, interval_s):
                log.warning("event loop was held up late_s=%.1f", late_s)

    def close(self) -> None:
        """Closes the socket."""
        if self._socket is not None:
            self._socket.close()

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            self._socket.sendto(text.encode(), address)
        except OSError as error:
            log.debug("systemd was not reached error=%s", error)
