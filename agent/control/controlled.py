"""What the control socket needs from the daemon."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol


class CommandError(Exception):
    """A command that cannot be carried out; the text is a sentence for whoever gave it.

    `status` is the HTTP status of the answer: 404 for a screen that does not exist, 409 for what is not possible now.
    """

    def __init__(self, sentence: str, *, status: int = 409) -> None:
        super().__init__(sentence)
        self.status = status


class Controlled(Protocol):
    """The daemon as local people and tools see it. A screen of None is the default screen."""

    def status(self) -> dict[str, Any]:
        """The document of `agent.control.status.Status`, new with every call."""
        ...

    async def screenshot(self, screen: str | None) -> Path:
        """A temporary JPEG or PNG of what is on the screen; the caller deletes it. Raises CommandError."""
        ...

    async def play(self, screen: str | None, name: str, stream: AsyncIterator[bytes]) -> None:
        """Stores what `stream` brings under a name of its own and plays it over the running playlist; `name` is its title.

        Returns when the clip is on the stage. Raises CommandError; so does `stream` when the upload breaks off.
        """
        ...

    def update(
        self, source: AsyncIterator[bytes] | str | None, *, size: int | None, by_hand: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Takes in an update: what `source` brings (`size` bytes, None: unknown), what is at that URL, or the newest there is.

        Yields how it gets on - {"state"}, with {"received_bytes", "total_bytes"} while there is something to count - and last
        {"version"}, when that has been switched to: whoever asked for the next item then has told of it, and the agent restarts.
        `by_hand`: a version that did not work here before is taken all the same. Raises CommandError; so does `source`.
        """
        ...

    def look(self) -> None:
        """The root side has done something about an update."""
        ...

    def on_change(self, callback: Callable[[], None]) -> object:
        """`callback` is called in the loop whenever `status` would say something else, the passing of time apart."""
        ...
