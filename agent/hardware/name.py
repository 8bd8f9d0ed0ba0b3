"""What the device is called: by its configuration, or by a server since then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Self

from agent.system.state import State, StateError

log = logging.getLogger(__name__)

NAME_KEY = "name"
MAX_CHARACTERS = 64


class DeviceName:
    """The name, for all links. One set by a server holds until the configured one changes.

    Empty in the configuration: `fallback`, the serial.
    """

    def __init__(self, state: State, value: str, configured: str) -> None:
        self.value = value
        self._state = state
        self._configured = configured
        self._lock = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []

    def __str__(self) -> str:
        return self.value

    @classmethod
    async def load(cls, state: State, *, configured: str, fallback: str) -> Self:
        """The name that holds now. One that the configuration has overtaken is forgotten, so that it never comes back."""
        kept = await state.get(NAME_KEY)
        value = configured or fallback
        if isinstance(kept, dict):
            if kept.get("configured") != configured:
                try:
                    await state.put(NAME_KEY, None)
                except StateError as error:
                    log.warning("the name that a server had set is not forgotten error=%s", error)
            elif is_name(kept.get("name")):
                value = kept["name"]
        return cls(state, value, configured)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls `callback` after the name has changed."""
        self._listeners.append(callback)

    async def set(self, name: str) -> None:
        """A server names the device; on disk when this returns, and only then reported.

        Raises ValueError for what is no name, StateError if it could not be stored; the old name then stays.
        """
        if not is_name(name):
            raise ValueError(f"a name has 1 to {MAX_CHARACTERS} characters, not only blanks")
        async with self._lock:
            try:
                await self._state.put(NAME_KEY, {"name": name, "configured": self._configured})
            except asyncio.CancelledError:
                self._take(name)  # what has been handed over is written all the same
                raise
            self._take(name)

    def _take(self, name: str) -> None:
        if name != self.value:
            log.info("device is named name=%r", name)
            self.value = name
            for listener in self._listeners:
                listener()


def is_name(value: object) -> bool:
    """Whether `value` is a text of 1 to 64 characters, not only blanks, that can be written as UTF-8."""
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_CHARACTERS:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)
