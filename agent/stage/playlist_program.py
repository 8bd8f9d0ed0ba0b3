"""A playlist on a stage: signage and its like."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agent.stage.playlist import Item, MediaId, Playlist
from agent.stage.program import Picture, ProgramStatus
from agent.stage.sequencer import Sequencer


class PlaylistProgram:
    """Shows one playlist at a time; `switch` changes it without a gap. Without a playlist it has nothing to show."""

    def __init__(
        self, name: str, priority: int, tokens: Iterator[int], *, on_failed: Callable[[Item], None] | None = None
    ) -> None:
        self.name = name
        self.priority = priority
        self.sequencer: Sequencer | None = None
        self._tokens = tokens
        self._on_failed = on_failed
        self._visible = False

    def switch(self, playlist: Playlist, now: float, *, at: tuple[MediaId, float] | None = None, paused: bool = False) -> None:
        """From now on this playlist, from its first item or from `at` (an item and seconds into it)."""
        self.sequencer = Sequencer(playlist, self._tokens, at=at, paused=paused, on_failed=self._on_failed)
        if self._visible:
            self.sequencer.shown(now)

    def clear(self) -> None:
        """Nothing to show any more."""
        self.sequencer = None

    def picture(self, now: float) -> Picture | None:
        """See `Program`."""
        return self.sequencer.picture(now) if self.sequencer else None

    def shown(self, now: float) -> None:
        """See `Program`."""
        self._visible = True
        if self.sequencer:
            self.sequencer.shown(now)

    def hidden(self, now: float) -> None:
        """See `Program`."""
        self._visible = False
        if self.sequencer:
            self.sequencer.hidden(now)

    def started(self, token: int, now: float, duration_s: float | None = None) -> None:
        """See `Program`."""
        del duration_s
        if self.sequencer:
            self.sequencer.started(token, now)

    def ended(self, token: int, now: float) -> None:
        """See `Program`."""
        if self.sequencer:
            self.sequencer.ended(token, now)

    def failed(self, token: int, now: float) -> None:
        """See `Program`."""
        if self.sequencer:
            self.sequencer.failed(token, now)

    def progress(self, token: int, position_s: float, now: float) -> None:
        """See `Program`."""
        if self.sequencer:
            self.sequencer.progress(token, position_s, now)

    def deadline(self, now: float) -> float | None:
        """See `Program`."""
        return self.sequencer.deadline(now) if self.sequencer else None

    def tick(self, now: float) -> None:
        """See `Program`."""
        if self.sequencer:
            self.sequencer.tick(now)

    def status(self, now: float) -> ProgramStatus:
        """See `Program`."""
        return self.sequencer.status(now) if self.sequencer else ProgramStatus("idle")
