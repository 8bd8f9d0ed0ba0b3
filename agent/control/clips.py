"""What somebody at the box asks of its screens: a file played now, a screenshot."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from agent.control.controlled import CommandError
from agent.device import Device
from agent.screen.proxy import Screen
from agent.stage.clip import ClipProgram
from agent.stage.playlist import Item

log = logging.getLogger(__name__)

PRIORITY = 80
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


class Clips:
    """Plays files that are handed in, one after the other forgotten when it has been shown."""

    def __init__(self, device: Device, directory: Path) -> None:
        self._device = device
        self._directory = directory
        self._numbers = itertools.count(1)
        self._playing: dict[ClipProgram, tuple[Screen, Path]] = {}
        for left in self._directory.glob("clip-*"):
            left.unlink(missing_ok=True)
        for screen in device.screens.values():
            screen.on_change(self._sweep)

    async def play(self, screen_name: str | None, name: str, stream: AsyncIterator[bytes]) -> None:
        """See `Controlled`."""
        screen = self._screen(screen_name)
        if not screen.up:
            raise CommandError(f"screen {screen.name} is down: {screen.cause}")
        path = self._directory / f"clip-{next(self._numbers)}"
        try:
            await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True)
            with await asyncio.to_thread(path.open, "wb") as file:
                async for chunk in stream:
                    await asyncio.to_thread(file.write, chunk)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise CommandError(f"the file could not be kept: {error.strerror}") from None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        now = asyncio.get_running_loop().time()
        item = Item(
            media_id=path.name,
            title=name,
            path=str(path),
            kind="image" if name.lower().endswith(IMAGE_ENDINGS) else "video",
            duration_s=self._device.image_s,
        )
        clip = ClipProgram("play", PRIORITY, screen.stage.tokens, item, now)
        self._playing[clip] = (screen, path)
        log.info("plays a file from the command line screen=%s name=%r", screen.name, name)
        screen.stage.put(clip, now)
        screen.refresh()

    async def screenshot(self, screen_name: str | None) -> Path:
        """See `Controlled`."""
        screen = self._screen(screen_name)
        path = self._device.runtime_dir / f"screenshot-{next(self._numbers)}.png"
        try:
            await screen.screenshot(path)
        except RuntimeError as error:
            path.unlink(missing_ok=True)
            raise CommandError(str(error)) from None
        return path

    def _screen(self, name: str | None) -> Screen:
        screens = self._device.screens
        if name is None:
            return next(iter(screens.values()))
        if name not in screens:
            raise CommandError(f"there is no screen {name!r}; there are: {', '.join(screens)}", status=404)
        return screens[name]

    def _sweep(self) -> None:
        """Takes clips that are over off their screens and deletes their files."""
        for clip, (screen, path) in list(self._playing.items()):
            if clip.over:
                del self._playing[clip]
                screen.stage.remove(clip, asyncio.get_running_loop().time())
                screen.refresh()
                path.unlink(missing_ok=True)
