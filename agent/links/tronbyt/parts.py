"""What the Tronbyt link needs of the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from agent.screen.proxy import Screen


class Identity(Protocol):
    """Who the box is."""

    @property
    def mac(self) -> str: ...


class State(Protocol):
    """Settings on disk."""

    async def get(self, key: str, default: Any = None) -> Any: ...
    async def put(self, key: str, value: Any) -> None:
        """Raises StateError."""


class Reboot(Protocol):
    """Restart of the machine."""

    async def request(self) -> None:
        """Restarts it. Raises RebootError with the reason when the platform refuses."""


class Box(Protocol):
    """The device."""

    @property
    def identity(self) -> Identity: ...
    @property
    def state(self) -> State: ...
    @property
    def reboot(self) -> Reboot: ...
    @property
    def screens(self) -> Mapping[str, Screen]: ...
    @property
    def runtime_dir(self) -> Path: ...
