"""Display connectors as the kernel sees them: what is plugged in, and when that changes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.hardware.side import SideThread

log = logging.getLogger(__name__)

NETLINK_KOBJECT_UEVENT = 15
KERNEL_EVENTS = 1
UEVENT_BYTES = 8192
READ_S = 5.0
"""Some drivers probe the connector while they are asked."""


@dataclass(frozen=True, slots=True)
class Connector:
    """One connector. `generation` grows each time a display newly appears there: another one, or the same after a pause."""

    name: str
    status: str
    modes: tuple[str, ...] = ()
    edid_digest: str = ""
    enabled: bool = False
    generation: int = 0

    @property
    def shows(self) -> bool:
        """Whether a picture can be shown there: some connectors say `unknown` for ever, and all need modes."""
        return self.status != "disconnected" and bool(self.modes)


class Displays:
    """Watches the connectors below `sysfs`, by the kernel's events and by a look every `look_s` seconds."""

    def __init__(self, sysfs: Path = Path("/sys"), *, look_s: float = 2.0) -> None:
        self._directory = sysfs / "class/drm"
        self._look_s = look_s
        self._connectors: dict[str, Connector] = {}
        self._seen: set[str] = set()
        self._listeners: list[Callable[[], None]] = []
        self._thread = SideThread("displays")
        self._event = asyncio.Event()
        self._started = asyncio.Event()
        self._slow = False

    def connectors(self) -> dict[str, Connector]:
        """The connectors by name, such as HDMI-A-1, as last seen."""
        return dict(self._connectors)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls `callback` after any connector has changed."""
        self._listeners.append(callback)

    async def started(self) -> None:
        """Waits for the first look."""
        await self._started.wait()

    def first(self, output: str = "auto") -> str:
        """The connector that `output` shows on: its own for `drm:NAME`, else the first with a display; "" if unknown."""
        if output.startswith("drm:"):
            return output.removeprefix("drm:")
        return next((name for name, connector in sorted(self._connectors.items()) if connector.shows), "")

    def usable(self, output: str, environment: Mapping[str, str] | None = None) -> tuple[bool, str]:
        """Whether a screen with this `output` (as configured) can show a picture; if not, why.

        A machine without connectors (virtual, or Xvfb) is always usable. An X server or a compositor may draw somewhere else
        than on this machine's connectors: it counts as unusable only once a display that was there has gone.
        """
        if output == "null" or not self._connectors:
            return True, ""
        if output.startswith("drm:"):
            return self._one_usable(output.removeprefix("drm:"))
        if any(connector.shows for connector in self._connectors.values()):
            return True, ""
        variables = os.environ if environment is None else environment
        drawn_elsewhere = output != "auto" or "WAYLAND_DISPLAY" in variables or "DISPLAY" in variables
        if drawn_elsewhere and not self._seen:
            return True, ""
        waiting = [name for name, connector in self._connectors.items() if connector.status == "connected"]
        if waiting:
            return False, f"the display on {waiting[0]} offers no modes yet"
        return False, f"no display is connected ({', '.join(sorted(self._connectors))})"

    def fingerprint(self, output: str) -> str:
        """Differs after another display, or the same one with other modes, has come to where `output` shows."""
        shown = sorted((name, connector) for name, connector in self._connectors.items() if connector.shows)
        name = self.first(output) if output.startswith("drm:") else ""
        return repr([connector for connector_name, connector in shown if name in ("", connector_name)])

    async def run(self) -> None:
        """Watches, for ever."""
        loop = asyncio.get_running_loop()
        events = _event_socket()
        if events is not None:
            loop.add_reader(events, self._take_events, events)
        try:
            while True:
                self._event.clear()
                await self._look()
                self._started.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._look_s):
                        await self._event.wait()
        finally:
            if events is not None:
                loop.remove_reader(events)
                events.close()
            self._thread.close()

    def _one_usable(self, name: str) -> tuple[bool, str]:
        connector = self._connectors.get(name)
        if connector is None:
            return False, f"there is no connector {name}; there are {', '.join(sorted(self._connectors))}"
        if connector.shows:
            return True, ""
        if connector.status == "connected":
            return False, f"the display on {name} offers no modes yet"
        return False, f"no display is connected to {name}"

    async def _look(self) -> None:
        try:
            found = await self._thread.call(lambda: read_connectors(self._directory), READ_S)
        except TimeoutError:
            log.log(logging.DEBUG if self._slow else logging.WARNING, "connectors do not answer deadline_s=%g", READ_S)
            self._slow = True
            return
        if self._slow:
            self._slow = False
            log.info("connectors answer again")
        now = {name: self._with_generation(connector) for name, connector in found.items()}
        if now == self._connectors:
            return
        for name in sorted(now.keys() | self._connectors.keys()):
            self._log_change(self._connectors.get(name), now.get(name))
        self._connectors = now
        self._seen.update(name for name, connector in now.items() if connector.shows)
        for listener in self._listeners:
            listener()

    def _with_generation(self, now: Connector) -> Connector:
        before = self._connectors.get(now.name)
        if before is None:
            return replace(now, generation=int(now.shows))
        another = not before.shows or (before.edid_digest, before.modes) != (now.edid_digest, now.modes)
        return replace(now, generation=before.generation + int(now.shows and another))

    def _log_change(self, before: Connector | None, now: Connector | None) -> None:
        if now is None or before == now:
            return
        if before is not None or now.shows:
            log.info(
                "connector changed name=%s status=%s modes=%d first_mode=%s",
                now.name, now.status, len(now.modes), now.modes[0] if now.modes else "none",
            )  # fmt: skip

    def _take_events(self, events: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    event = events.recv(UEVENT_BYTES)
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    self._event.set()  # ENOBUFS: some were lost
                    return
                if b"SUBSYSTEM=drm\0" in event:
                    self._event.set()


def read_connectors(directory: Path) -> dict[str, Connector]:
    """The connectors in `directory`, a class/drm of sysfs. Blocks."""
    found: dict[str, Connector] = {}
    for path in sorted(directory.glob("card*-*")):
        name = path.name.partition("-")[2]
        status = _text(path / "status")
        if not status or name.startswith("Writeback"):
            continue
        edid = b""
        with contextlib.suppress(OSError):
            edid = (path / "edid").read_bytes()
        connector = Connector(
            name=name,
            status=status,
            modes=tuple(_text(path / "modes").split()),
            edid_digest=hashlib.sha256(edid).hexdigest()[:16] if edid else "",
            enabled=_text(path / "enabled") == "enabled",
        )
        if name not in found or (connector.shows and not found[name].shows):
            found[name] = connector
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _event_socket() -> socket.socket | None:
    """The kernel's own event group needs no privilege; where the socket is not allowed the regular look must do."""
    try:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT)
    except OSError as error:
        log.debug("no kernel events error=%s", error)
        return None
    try:
        events.bind((0, KERNEL_EVENTS))
    except OSError as error:
        log.debug("no kernel events error=%s", error)
        events.close()
        return None
    return events
