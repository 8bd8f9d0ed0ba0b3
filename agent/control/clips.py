"""What somebody at the box asks of its screens: a file played now, a screenshot."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO

from agent.control.controlled import CommandError
from agent.device import Device
from agent.media.wants import amount
from agent.screen.proxy import Screen
from agent.stage.clip import ClipProgram
from agent.stage.playlist import Item
from agent.system.logs import Trouble

log = logging.getLogger(__name__)

PRIORITY = 80
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


class Clips:
    """Plays files that are handed in, one after the other forgotten when it has been shown.

    Before the first one `sweep` is to be awaited; `run` deletes what was shown.
    """

    def __init__(self, device: Device, directory: Path) -> None:
        self._device = device
        self._directory = directory
        self._numbers = itertools.count(1)
        self._playing: dict[ClipProgram, tuple[Screen, Path]] = {}
        self._gone: asyncio.Queue[Path] = asyncio.Queue()
        self._removing = Trouble(log)
        for screen in device.screens.values():
            screen.on_change(self._take_off)

    async def sweep(self) -> None:
        """Deletes what an earlier run left."""
        try:
            left = await asyncio.to_thread(lambda: list(self._directory.glob("clip-*")))
        except OSError as error:
            log.warning("files played earlier cannot be looked for error=%s", error.strerror)
        else:
            await self._remove(left)

    async def run(self) -> None:
        """Deletes the files of clips that are over, for ever."""
        while True:
            await self._remove([await self._gone.get()])

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
                    await asyncio.to_thread(self._append, file, chunk)
        except OSError as error:
            self._gone.put_nowait(path)
            raise CommandError(f"the file could not be kept: {error.strerror}") from None
        except BaseException:
            self._gone.put_nowait(path)
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

    def _append(self, file: BinaryIO, chunk: bytes) -> None:
        """Raises OSError; CommandError if the disk would become fuller than it may."""
        free, reserve = self._device.media.free_bytes(), self._device.media.reserve_bytes()
        if free - len(chunk) < reserve:
            raise CommandError(f"the disk is full: {amount(free)} free, of which {amount(reserve)} stay in reserve", status=507)
        file.write(chunk)

    async def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                await asyncio.to_thread(path.unlink, missing_ok=True)
            except OSError as error:
                self._removing.is_("file that was played cannot be removed", error.strerror, name=path.name)
            else:
                self._removing.over("files that were played can be removed again")

    def _screen(self, name: str | None) -> Screen:
        screens = self._device.screens
        if name is None:
            return next(iter(screens.values()))
        if name not in screens:
            raise CommandError(f"there is no screen {name!r}; there are: {', '.join(screens)}", status=404)
        return screens[name]

    def _take_off(self) -> None:
        """Takes clips that are over off their screens."""
        for clip, (screen, path) in list(self._playing.items()):
            if clip.over:
                del self._playing[clip]
                screen.stage.remove(clip, asyncio.get_running_loop().time())
                screen.refresh()
                self._gone.put_nowait(path)
