"""One file played once, over whatever else is on or after it; then the screen goes back to what was there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from agent.stage.playlist import Item, Playlist
from agent.stage.playlist_program import PlaylistProgram
from agent.stage.program import Picture

LONGEST_WAIT_S = 600.0
"""For which a still picture that would stand longer holds up a clip that is to come after it."""
Outcome = Literal["", "played", "failed", "stopped"]
"""Of a clip: not over yet; shown to its end; could not be shown; cleared by its owner, or given up because it stood still."""


class ClipProgram(PlaylistProgram):
    """Has something to show until its only item is over or could not be shown.

    `after_item`: it lets what is on beneath it come to its end first, a still picture no later than `waits_until` (see `Stage`).
    `on_started` is called when its first frame is on the screen for the first time, `on_over` with the outcome when it is over,
    once each. Both are called from inside the stage: they may take note, no more.
    """

    def __init__(
        self,
        name: str,
        priority: int,
        tokens: Iterator[int],
        item: Item,
        now: float,
        *,
        after_item: bool = False,
        on_started: Callable[[], None] | None = None,
        on_over: Callable[[Outcome], None] | None = None,
    ) -> None:
        super().__init__(name, priority, tokens, on_failed=lambda _item: self._end("failed"))
        self.after_item = after_item
        self.waits_until = now + LONGEST_WAIT_S
        self.title = item.title
        self.begun = False
        """Its first frame has been on the screen."""
        self.outcome: Outcome = ""
        self._on_started = on_started
        self._on_over = on_over
        self.switch(Playlist(playlist_id=name, name=item.title, items=(item,), passes=1), now)

    @property
    def over(self) -> bool:
        """Nothing will come any more."""
        return self.sequencer is None or self.sequencer.finished

    def wait(self, now: float) -> None:
        """What is beneath it could not be seen until now: the longest wait begins."""
        self.waits_until = now + LONGEST_WAIT_S

    def clear(self) -> None:
        """See `PlaylistProgram`."""
        self._end("stopped")

    def picture(self, now: float) -> Picture | None:
        """See `Program`."""
        return None if self.over else super().picture(now)

    def started(self, token: int, now: float, duration_s: float | None = None) -> None:
        """See `Program`."""
        super().started(token, now, duration_s)
        picture = None if self.begun else self.picture(now)
        if picture is not None and picture.shot is not None and picture.shot.token == token:
            self.begun = True
            if self._on_started is not None:
                self._on_started()

    def ended(self, token: int, now: float) -> None:
        """See `Program`."""
        super().ended(token, now)
        self._look()

    def deadline(self, now: float) -> float | None:
        """See `Program`."""
        due = super().deadline(now)
        if self.over or self.begun or not self.after_item or now >= self.waits_until:
            return due
        return self.waits_until if due is None else min(due, self.waits_until)

    def tick(self, now: float) -> None:
        """See `Program`."""
        super().tick(now)
        self._look()

    def _look(self) -> None:
        if self.sequencer is not None and self.sequencer.finished:
            self._say("stopped" if self.sequencer.stuck else "played")

    def _end(self, outcome: Outcome) -> None:
        super().clear()
        self._say(outcome)

    def _say(self, outcome: Outcome) -> None:
        if not self.outcome:
            self.outcome = outcome
            if self._on_over is not None:
                self._on_over(outcome)
