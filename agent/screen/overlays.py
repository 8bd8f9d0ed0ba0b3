"""What lies above the picture: ticker, progress strip, fades in the background colour, dimming; drawn by overlay.lua."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.screen.ass import Colour, mark, ticker_bar, ticker_plan
from agent.screen.geometry import Rect, Screen
from agent.screen.messages import Strip, Ticker
from agent.screen.player import Player
from agent.screen.strip import strip_bar, strip_plan

SCRIPT = Path(__file__).with_name("overlay.lua")
_NAME = "overlay"
_READY = "screen-overlay-ready"


class Overlays:
    """Sends the player's script what has changed; before the script has said that it is there, keeps it."""

    def __init__(self, player: Player, screen: Screen) -> None:
        self._player = player
        self._screen = screen
        self._ready = False
        self._ticker: Ticker | None = None
        self._strip: Strip | None = None
        self._phase = 0
        self.dim_percent = 0.0
        """How much darker everything is."""
        self._mark = False
        self._colour = Colour(0, 0, 0)
        self._fade: dict[str, Any] = {"act": "clear"}
        # The script says that it is there when it has been loaded; perhaps before anybody listened.
        player.post("script-message-to", _NAME, "announce")

    @property
    def shut(self) -> bool:
        """Whether the picture is hidden, or about to be, by a fade."""
        return self._fade["act"] in ("shut", "close")

    @property
    def bars(self) -> list[Rect]:
        """The physical rectangles of the ticker's bar and the strip, each at the edge of what the one before leaves."""
        bars = [] if self._ticker is None else [ticker_bar(self._ticker, self._screen)]
        return bars if self._strip is None else [*bars, strip_bar(self._strip, self._screen, self._ticker)]

    def ticker(self, ticker: Ticker | None) -> None:
        """Shows, replaces or removes the ticker; the same one again goes on undisturbed."""
        if ticker != self._ticker:
            self._ticker = ticker
            self._send_ticker()
            if self._strip is not None:
                self._send_strip()

    def strip(self, strip: Strip | None) -> None:
        """Shows, changes or removes the progress strip."""
        if strip != self._strip:
            self._strip = strip
            self._phase += 1
            self._send_strip()

    def dim(self, percent: float) -> None:
        """How much darker everything is, 0-100."""
        if percent != self.dim_percent:
            self.dim_percent = percent
            self._send_dim()

    def mark(self, on: bool) -> None:
        """A small mark in the corner."""
        if on != self._mark:
            self._mark = on
            self._send_mark()

    def background(self, colour: str) -> None:
        """The colour of fades, #RRGGBB."""
        parsed = Colour.parse(colour)
        if parsed != self._colour:
            self._colour = parsed
            self._send_fade({"act": "paint"})

    def close_now(self) -> None:
        """Hides the picture at once."""
        self._change_fade({"act": "shut"})

    def close(self, seconds: float) -> None:
        """Hides the picture bit by bit."""
        self._change_fade({"act": "close", "seconds": seconds})

    def reveal(self, seconds: float, close_at_end_s: float = 0.0) -> None:
        """Lets the picture be seen, bit by bit unless `seconds` is 0; hides it again that long before the file's end."""
        order: dict[str, Any] = {"act": "open", "seconds": seconds} if seconds > 0 else {"act": "clear"}
        if close_at_end_s > 0:
            order["tail"] = close_at_end_s
        self._change_fade(order)

    def resized(self, screen: Screen) -> None:
        """The output has another size."""
        if screen != self._screen:
            self._screen = screen
            self._send_everything()

    def heard(self, words: tuple[str, ...]) -> None:
        """A message from a script in the player."""
        if words == (_READY,) and not self._ready:
            self._ready = True
            self._send_everything()

    def _send_everything(self) -> None:
        if self._ticker is not None:
            self._send_ticker()
        if self._strip is not None:
            self._send_strip()
        if self.dim_percent:
            self._send_dim()
        if self._mark:
            self._send_mark()
        if self._fade["act"] == "shut":
            self._send_fade(self._fade)

    def _change_fade(self, order: dict[str, Any]) -> None:
        idle = {"act": "clear"}
        unchanged = order == idle == self._fade
        self._fade = order
        if not unchanged:
            self._send_fade(order)

    def _send_ticker(self) -> None:
        self._send("ticker", False if self._ticker is None else ticker_plan(self._ticker, self._screen))

    def _send_strip(self) -> None:
        plan = None if self._strip is None else strip_plan(self._strip, self._screen, self._ticker, self._phase)
        self._send("strip", False if plan is None else plan)

    def _send_dim(self) -> None:
        self._send("dim", {"res": self._size, "cover": min(max(self.dim_percent, 0.0), 100.0) / 100})

    def _send_mark(self) -> None:
        self._send("mark", {"res": self._size, "text": mark(self._screen)} if self._mark else False)

    def _send_fade(self, order: dict[str, Any]) -> None:
        self._send("fade", {**order, "res": self._size, "colour": self._colour.bgr})

    def _send(self, name: str, order: Any) -> None:
        if self._ready:
            self._player.post("script-message-to", _NAME, name, json.dumps(order))

    @property
    def _size(self) -> list[int]:
        return [self._screen.width, self._screen.height]
