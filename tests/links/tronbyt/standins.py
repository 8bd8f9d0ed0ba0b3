"""What stands in for the device: a screen that presents at once and looks into the files, a restart that is noted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from agent.hardware.identity import Identity
from agent.hardware.reboot import RebootError
from agent.links.tronbyt.files import LARGEST_BYTES
from agent.screen.messages import Failed, Shot, Started
from agent.stage.clip import ClipProgram
from agent.stage.playlist import Item
from agent.system.state import State
from tests.box import InstantScreen

MAC = "b8:27:eb:00:00:01"
DEVICE_ID = "0a1b2c3d"


def webp(words: str = "") -> bytes:
    """A file that begins like WebP. `broken`: no decoder takes it; `cycle=2.5`: an animation of so many seconds."""
    return b"RIFF\x10\x00\x00\x00WEBPVP8 " + words.encode()


def huge() -> bytes:
    """An image that is too large by one byte."""
    return webp() + bytes(LARGEST_BYTES + 1 - len(webp()))


class FeedScreen(InstantScreen):
    """Presents every picture after `latency_s`, if its file is there and whole."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.latency_s = 0.0
        self.numbers: list[int] = []
        """The images that were shown, by the number in the file's name; one that was only kept is not there twice."""
        self.missing: list[str] = []
        """Files that were not there when they were to be shown."""

    def _show(self, shot: Shot) -> None:
        asyncio.get_running_loop().call_later(self.latency_s, self._present, shot)

    def _present(self, shot: Shot) -> None:
        if self.scene.shot is None or self.scene.shot.token != shot.token:
            return
        try:
            content = Path(shot.path).read_bytes()
        except FileNotFoundError:
            self.missing.append(shot.path)
            content = b"broken"
        if b"broken" in content:
            self._on_message(Failed(shot.token, "no decoder"))
            return
        cycle = re.search(rb"cycle=([\d.]+)", content)
        self.history.append(shot)
        if Path(shot.path).stem.isdigit() and self.numbers[-1:] != [int(Path(shot.path).stem)]:
            self.numbers.append(int(Path(shot.path).stem))
        self._on_message(Started(shot.token, float(cycle.group(1)) if cycle else None))

    @property
    def number(self) -> int:
        """What should be on; 0 if it is nothing of a feed."""
        stem = Path(self.scene.shot.path).stem if self.scene.shot else ""
        return int(stem) if stem.isdigit() else 0

    def cover(self, path: Path) -> Callable[[], None]:
        """Something more important has the screen, until the returned function is called."""
        path.write_bytes(webp("cover"))
        item = Item(media_id="cover", title="cover", path=str(path), kind="image", duration_s=1000.0)
        clip = ClipProgram("cover", 90, self.stage.tokens, item, self._now())
        self.stage.put(clip, self._now())
        self.refresh()

        def uncover() -> None:
            self.stage.remove(clip, self._now())
            self.refresh()

        return uncover


class StandInReboot:
    """Notes when a restart was asked for; `fails` with that reason."""

    def __init__(self) -> None:
        self.requests = 0
        self.fails = ""

    async def request(self) -> None:
        """See `parts.Reboot`."""
        self.requests += 1
        if self.fails:
            raise RebootError(self.fails)


class StandInBox:
    """The device, with two screens; `async with` opens its state."""

    def __init__(self, directory: Path) -> None:
        self.identity = Identity("LOBBY", "B827EB000001", MAC, "Acme", "Sign 1", "Acme Ltd", "Debian 13")
        self.reboot = StandInReboot()
        self.front, self.rear = FeedScreen("front"), FeedScreen("rear")
        self.screens: Mapping[str, Any] = {"front": self.front, "rear": self.rear}
        self.runtime_dir = directory / "run"
        self._directory = directory

    @property
    def folder(self) -> Path:
        """Where the images of the link `feed` are."""
        return self.runtime_dir / "feed" / "feed"

    def files(self) -> set[str]:
        """Their names."""
        return {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()

    async def __aenter__(self) -> Self:
        self.state = await State.open(self._directory / "state.db")
        for screen in (self.front, self.rear):
            screen.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.state.close()
