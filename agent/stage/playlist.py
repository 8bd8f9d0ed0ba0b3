"""What a playlist is to a screen: items whose files are known, in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agent.screen.messages import Shot, Transition

MediaId = int | str


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a playlist."""

    media_id: MediaId
    title: str
    path: str
    """The verified file; empty while there is none."""
    kind: Literal["image", "video"]
    duration_s: float
    """How long an image stays; a video lasts to its natural end."""
    times: int = 1
    """How often it is played in a row, 1 or more."""
    rect: tuple[float, float, float, float] | None = None
    """x, y, width, height as fractions of the canvas; None: all of it."""
    enter: Transition = "cut"
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0

    def shot(self, token: int, start_s: float = 0.0) -> Shot:
        """This item as something a screen can show."""
        return Shot(
            token=token,
            path=self.path,
            kind=self.kind,
            title=self.title,
            start_s=start_s,
            rect=self.rect,
            enter=self.enter,
            fade_in_s=self.fade_in_s,
            fade_out_s=self.fade_out_s,
        )


@dataclass(frozen=True, slots=True)
class Playlist:
    """Items in playing order, and how to play them."""

    playlist_id: int | str
    name: str
    items: tuple[Item, ...]
    passes: int | None = None
    """How often the whole list is played; None: endlessly."""
    background: str = "#000000"
    canvas: tuple[int, int] | None = None
    """Width and height in pixels that layouts and text sizes refer to; None: the screen's."""

    @property
    def playable(self) -> bool:
        """Whether anything of it is on disk."""
        return any(item.path for item in self.items)

    def index_of(self, media_id: MediaId) -> int | None:
        """Place of the item `media_id`; numbers and numeric strings are the same id."""
        return next((i for i, item in enumerate(self.items) if str(item.media_id) == str(media_id)), None)

    def without_files(self) -> Playlist:
        """The same list as if nothing were on disk."""
        return replace(self, items=tuple(replace(item, path="") for item in self.items))
