"""What the server is told about the device (signage contract, section 2)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from agent import __version__
from agent.device import Device
from agent.hardware.identity import ip_address
from agent.links.signage.rest import SignageRest
from agent.system.state import StateError

log = logging.getLogger(__name__)

UNKNOWN_RESOLUTION = "0x0"


class Registration:
    """Registers the device when it is unknown, and again when its version, address or resolution has changed."""

    def __init__(self, device: Device, rest: SignageRest, screen: str) -> None:
        self._device = device
        self._rest = rest
        self._screen = screen
        self._ip_address: str | None = None
        self._resolution_seen = ""
        self._kept_resolution: str | None = None
        """Of an earlier start: what is said while the screen is not up."""
        self._key = f"screen.{screen}.resolution"
        self._registered: tuple[Any, ...] | None = None

    @property
    def pending(self) -> bool:
        """The server has not been told what it should know."""
        return self._state() != self._registered

    def has_news(self) -> bool:
        """The screen's resolution has changed since it was last told, or asked here."""
        resolution = self._resolution()
        if self._registered is None or resolution == self._resolution_seen:
            return False
        self._resolution_seen = resolution
        return bool(resolution != self._registered[2])

    async def register(self, *, anew: bool = False) -> None:
        """Registers if anything has changed, or `anew`. Raises RefusedError or UnavailableError."""
        self._ip_address = await ip_address(*self._rest.host)
        if self._kept_resolution is None:
            self._kept_resolution = str(await self._device.state.get(self._key, UNKNOWN_RESOLUTION))
        state = self._state()
        if state == self._registered and not anew:
            return
        await self._rest.register(await self._body())
        self._registered = state
        if self._resolution() != self._kept_resolution:
            self._kept_resolution = self._resolution()
            try:
                await self._device.state.put(self._key, self._kept_resolution, durable=False)
            except StateError as error:
                log.debug("resolution not kept for the next start error=%s", error)
        log.info("device registered serial=%s", self._device.identity.serial)

    def _state(self) -> tuple[Any, ...]:
        return (__version__, self._ip_address, self._resolution())

    async def _body(self) -> dict[str, Any]:
        identity = self._device.identity
        total_bytes = await asyncio.to_thread(self._device.media.total_bytes)
        free_bytes = await asyncio.to_thread(self._device.media.free_bytes)
        body: dict[str, Any] = {
            "sn_number": identity.serial,
            "brand": identity.brand,
            "model": identity.model,
            "manufacturer": identity.manufacturer,
            "os_version": identity.os_version,
            "screen_resolution": self._resolution(),
            "total_storage": _gigabytes(total_bytes),
            "free_storage": _gigabytes(free_bytes),
            "app_version": __version__,
            "brightness": self._device.brightness.percent,
            "volume": self._device.volume.percent,
        }
        if identity.mac:
            body["mac_address"] = identity.mac
        if self._ip_address:
            body["ip_address"] = self._ip_address
        return body

    def _resolution(self) -> str:
        size = self._device.screens[self._screen].size
        return "{}x{}".format(*size) if size else self._kept_resolution or UNKNOWN_RESOLUTION


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB"
