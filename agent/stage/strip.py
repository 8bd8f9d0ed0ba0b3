"""The strip of a stage: what links have to say of progress, as one bar of a few lines. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from agent.screen.messages import Strip, StripLine

MOST_LINES = 3
LONGEST = 300
"""Characters of one text; a screen holds fewer."""
_JOINERS = "\u200c\u200d"
"""Invisible, but Persian and emoji need them."""


def merged(lines: Mapping[str, Sequence[StripLine]], order: Sequence[str]) -> Strip | None:
    """One strip of the lines of all links, those first that stand first in `order`, and what went wrong before all else."""
    places = {name: place for place, name in enumerate(order)}
    names = sorted(lines, key=lambda name: (places.get(name, len(places)), name))
    every = sorted((line for name in names for line in lines[name]), key=lambda line: not line.alarm)
    if not every:
        return None
    return Strip(tuple(_tidy(line) for line in every[:MOST_LINES]), max(0, len(every) - MOST_LINES))


def words(strip: Strip | None) -> tuple[str, ...]:
    """What stands on a strip, as text."""
    if strip is None:
        return ()
    lines = [" · ".join(part for part in (line.title, line.detail, line.note) if part) for line in strip.lines]
    return (*lines, f"and {strip.more} more") if strip.more else tuple(lines)


def _tidy(line: StripLine) -> StripLine:
    fraction = line.fraction
    if fraction is not None:
        fraction = min(max(fraction, 0.0), 1.0) if fraction == fraction else None  # noqa: PLR0124 - not a number
    return StripLine(_plain(line.title), _plain(line.detail), fraction, _plain(line.note), line.alarm)


def _plain(text: str) -> str:
    """One line without characters that are not to be seen or turn the direction of others."""
    text = text[: 4 * LONGEST]
    shown = (" " if character.isspace() or unicodedata.category(character) == "Cc" else character for character in text)
    kept = (character for character in shown if character in _JOINERS or unicodedata.category(character) not in ("Cf", "Cs"))
    text = " ".join("".join(kept).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
