"""Where a playing video is, said about once a second; nothing is asked while none plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agent.screen.messages import Progress
from agent.screen.player import Player
from agent.screen.reel import Take

INTERVAL_S = 1.0


class ProgressReports:
    """Call `follow` whenever what is shown, or whether it runs, may have changed."""

    def __init__(self, player: Player, say: Callable[[Progress], None]) -> None:
        self._player = player
        self._say = say
        self._take: Take | None = None
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, take: Take, *, paused: bool) -> None:
        """Reports on `take` while it plays."""
        playing = take.shown and take.timed and not take.ended and not paused
        self._take = take if playing else None
        if not playing and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif playing and self._timer is None:
            self._set_timer()

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._ask)

    def _ask(self) -> None:
        take = self._take

        def told(position: Any) -> None:
            if position and take is not None and take is self._take and take.announced and not take.ended:
                self._say(Progress(take.shot.token, float(position)))

        self._player.post("expand-text", "${=time-pos:}", then=told)
        self._set_timer()
