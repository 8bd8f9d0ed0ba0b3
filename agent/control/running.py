"""The running agent as the control socket sees it (`agent.control.controlled.Controlled`), made of its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.control.clips import Clips

if TYPE_CHECKING:
    from agent.device import Device
    from agent.hardware.health import Health
    from agent.links.link import Link


class RunningAgent:
    """Everything there is to see and to command. `started_at` is in monotonic seconds; call `changed` after each change."""

    def __init__(self, device: Device, links: Iterable[Link], health: Health, clips: Clips, started_at: float) -> None:
        self.device = device
        self.links = links
        self.health = health
        self.started_at = started_at
        self._clips = clips
        self._listeners: list[Callable[[], None]] = []

    def status(self) -> dict[str, Any]:
        """See `Controlled`."""
        from agent.control.overview import overview  # noqa: PLC0415 - memory: many a box is never asked

        return overview(self)

    def sentence(self) -> str:
        """What it does, in one line, as `systemctl status` shows it."""
        now = asyncio.get_running_loop().time()
        words = []
        for name, screen in self.device.screens.items():
            playing = screen.stage.status(now).playing
            words.append(f"{name}: {playing.state} {playing.title}".rstrip() if screen.up else f"{name}: down ({screen.cause})")
        states = [link.state for link in self.links]
        words.append(f"{states.count('connected')} of {len(states)} links connected")
        return "; ".join(words)

    async def screenshot(self, screen: str | None) -> Path:
        """See `Controlled`."""
        return await self._clips.screenshot(screen)

    async def play(self, screen: str | None, name: str, stream: AsyncIterator[bytes]) -> None:
        """See `Controlled`."""
        await self._clips.play(screen, name, stream)

    def update(
        self, source: AsyncIterator[bytes] | str | None, *, size: int | None, by_hand: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """See `Controlled`."""
        from agent.control.updating import update  # noqa: PLC0415 - memory: next to nobody asks for it

        return update(self.device.updates, source, size=size, by_hand=by_hand)

    def look(self) -> None:
        """See `Controlled`."""
        self.device.updates.look()

    def on_change(self, callback: Callable[[], None]) -> object:
        """See `Controlled`."""
        self._listeners.append(callback)
        return callback

    def changed(self) -> None:
        """Tells the listeners."""
        for listener in self._listeners:
            listener()
