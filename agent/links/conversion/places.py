"""The places of those jobs that are followed at once, and the line of the others (conversion contract, section 4). No I/O."""

from __future__ import annotations

from collections.abc import Callable


class Places:
    """At most `most` have a place; who comes when none is free stands in line. Who gets one later is called."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[str] = set()
        self._line: dict[str, Callable[[], None]] = {}

    @property
    def crowded(self) -> bool:
        """Somebody stands in line."""
        return bool(self._line)

    def has(self, name: str) -> bool:
        """Whether this one has a place."""
        return name in self._taken

    def enter(self, name: str, called: Callable[[], None]) -> None:
        """Takes a free place, or stands in line until `called`."""
        if name not in self._taken:
            self._line[name] = called
            self._move_up()

    def leave(self, name: str) -> None:
        """Gives up the place, or that in line."""
        self._taken.discard(name)
        self._line.pop(name, None)
        self._move_up()

    def _move_up(self) -> None:
        while self._line and len(self._taken) < self._most:
            name = next(iter(self._line))
            called = self._line.pop(name)
            self._taken.add(name)
            called()
