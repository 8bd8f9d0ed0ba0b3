"""Whether a new version does what the old one did: what it must show before it is kept.

Pure: what can be seen goes in with the time, monotonic seconds; what is missing comes out, in sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

STALL_S = 10.0
"""An event loop that was held up for so long has to begin anew: the watchdog would have gone without food as long."""
LIVES_S = 60.0
"""So long, or half of the probation, must a version run without a stall."""

_MOST_NAMES = 64


@dataclass(frozen=True)
class Before:
    """What the version before did when it gave way.

    `screens` are those that presented pictures, with whether an item of a playlist was among them, which comes back by itself
    after a restart. `links` are those that were connected.
    """

    screens: Mapping[str, bool] = field(default_factory=dict)
    links: tuple[str, ...] = ()

    def united(self, other: Self) -> Self:
        """What worked at one of two moments of the same update: a server may be gone in the very one in which it is written."""
        names = (*self.screens, *(name for name in other.screens if name not in self.screens))
        shown = {name: self.screens.get(name, False) or other.screens.get(name, False) for name in names[:_MOST_NAMES]}
        links = (*self.links, *(name for name in other.links if name not in self.links))
        return type(self)(shown, links[:_MOST_NAMES])

    def as_json(self) -> dict[str, Any]:
        """What `from_json` understands."""
        return {"screens": dict(self.screens), "links": list(self.links)}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """What another version wrote; what is missing or makes no sense was not there before."""
        content = value if isinstance(value, dict) else {}
        screens, links = content.get("screens"), content.get("links")
        return cls(
            {
                name: shows is True
                for name, shows in list(screens.items() if isinstance(screens, dict) else ())[:_MOST_NAMES]
                if isinstance(name, str)
            },
            tuple(name for name in (links if isinstance(links, list) else [])[:_MOST_NAMES] if isinstance(name, str)),
        )


@dataclass(frozen=True)
class ScreenNow:
    """One screen, as it is at a moment."""

    usable: bool
    """A picture on it could be seen: its display is on."""
    up: bool
    """It presents pictures, if only black ones."""
    shows: bool = False
    """An item is on it."""
    plays_list: bool = False
    """That item is one of a playlist."""
    cause: str = ""
    """Why it is down."""


class Probation:
    """One run of a new version, from the moment `now` at which it was ready."""

    def __init__(self, before: Before, probation_s: float, now: float) -> None:
        self._before = before
        self._needs_s = min(LIVES_S, probation_s / 2)
        self._since = now
        self._looked_at = now
        self._shown: set[str] = set()
        self._reached = False

    def look(self, now: float, screens: Mapping[str, ScreenNow], connected: bool) -> list[str]:
        """What is missing; nothing: the version may be kept.

        To be called every second: a longer gap means that the event loop was held up. A screen that is gone from the
        configuration or whose display is off counts neither for nor against; a link that the configuration has lost cannot
        be told from one that does not connect, so any connection will do. What was seen once counts: a server that restarts
        meanwhile is no fault of the version.
        """
        if now - self._looked_at > STALL_S:
            self._since = now
        self._looked_at = now
        unmet = [] if now - self._since >= self._needs_s else [f"it did not run for {self._needs_s:g} s without a stall"]
        for name, was_shown in self._before.screens.items():
            screen = screens.get(name)
            if screen is None or not screen.usable:
                continue
            if screen.up and screen.shows:
                self._shown.add(name)
            if not screen.up:
                unmet.append(f"screen {name} presented no picture" + (f" ({screen.cause})" if screen.cause else ""))
            elif was_shown and name not in self._shown:
                unmet.append(f"screen {name} showed nothing of its playlist")
        self._reached |= connected
        if self._before.links and not self._reached:
            unmet.append(f"no server was reached; before the update {_listed(self._before.links)} was")
        return unmet


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else "one of " + ", ".join(names)
