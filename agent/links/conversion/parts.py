"""What the conversion link needs of a screen (`agent.screen.proxy.Screen`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.stage.stage import Stage


class Screen(Protocol):
    """An output with a stage; after every change to the stage `refresh` must be called."""

    stage: Stage
    up: bool

    def refresh(self) -> None: ...
    def on_change(self, callback: Callable[[], None]) -> None: ...
    def off_change(self, callback: Callable[[], None]) -> None: ...
    async def probe(self, path: Path) -> None:
        """Opens the file as media without showing it. Raises UnplayableFileError; RuntimeError if it cannot be tried now."""
