"""What a link puts on a stage."""

from __future__ import annotations

import itertools

from agent.stage.clip import ClipProgram
from agent.stage.playlist_program import PlaylistProgram
from agent.stage.program import Program
from tests.stage.cinema import image


def test_every_kind_is_a_program() -> None:
    """What the stage asks of a program each kind has; a type checker reads this, too."""
    programs: list[Program] = [
        PlaylistProgram("list", 10, itertools.count(1)),
        ClipProgram("clip", 50, itertools.count(1), image("a"), 0.0),
    ]
    assert [(program.name, program.priority) for program in programs] == [("list", 10), ("clip", 50)]
