"""One file played once, over whatever else is on; then the screen goes back to what was there."""

from __future__ import annotations

from collections.abc import Iterator

from agent.stage.playlist import Item, Playlist
from agent.stage.playlist_program import PlaylistProgram
from agent.stage.program import Picture


class ClipProgram(PlaylistProgram):
    """Has something to show until its only item is over or could not be shown."""

    def __init__(self, name: str, priority: int, tokens: Iterator[int], item: Item, now: float) -> None:
        super().__init__(name, priority, tokens, on_failed=lambda _item: self.clear())
        self.switch(Playlist(playlist_id=name, name=item.title, items=(item,), passes=1), now)

    @property
    def over(self) -> bool:
        """Nothing will come any more."""
        return self.sequencer is None or self.sequencer.finished

    def picture(self, now: float) -> Picture | None:
        """See `Program`."""
        return None if self.over else super().picture(now)
