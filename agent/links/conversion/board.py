"""The link's lines on the screen's strip: who is under way, and for a while what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.links.conversion.parts import Screen
from agent.screen.messages import StripLine

MOST_NOTICES = 5


@dataclass(frozen=True, slots=True)
class BoardTimers:
    """Seconds; conversion contract, section 4."""

    notice_s: float = 15.0
    paint_s: float = 0.5
    """Between two pictures of the strip."""
    clock_s: float = 1.0
    """Between two pictures of a strip on which nothing but time has moved."""


class Board:
    """Brings lines to the strip, not too often. `lines(now)` gives those of the jobs; `painted` is called after each picture."""

    def __init__(
        self,
        name: str,
        screen: Screen,
        lines: Callable[[float], Sequence[StripLine]],
        painted: Callable[[], None],
        timers: BoardTimers = BoardTimers(),
    ) -> None:
        self._name = name
        self._screen = screen
        self._lines = lines
        self._painted = painted
        self._timers = timers
        self._notices: deque[tuple[float, StripLine]] = deque(maxlen=MOST_NOTICES)
        self._due = asyncio.Event()

    async def run(self) -> None:
        """Paints whenever something has changed, for ever."""
        while True:
            self._due.clear()
            lines = self._present(_now())
            self._show(lines)
            self._painted()
            await asyncio.sleep(self._timers.paint_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._timers.clock_s - self._timers.paint_s) if lines else None):
                    await self._due.wait()

    def repaint(self) -> None:
        """Something has changed."""
        self._due.set()

    def notice(self, line: StripLine) -> None:
        """Something went wrong: shown for a while."""
        self._notices.append((_now() + self._timers.notice_s, line))
        self.repaint()

    def clear(self) -> None:
        """Takes everything off."""
        self._show([])

    def _present(self, now: float) -> list[StripLine]:
        while self._notices and self._notices[0][0] <= now:
            self._notices.popleft()
        return [*(line for _, line in self._notices), *self._lines(now)]

    def _show(self, lines: list[StripLine]) -> None:
        strips = self._screen.stage.strips
        if list(strips.get(self._name, [])) == lines:
            return
        if lines:
            strips[self._name] = lines
        else:
            del strips[self._name]
        self._screen.refresh()


def _now() -> float:
    return asyncio.get_running_loop().time()
