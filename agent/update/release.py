"""The release that this process runs from, and what the root side says about all of them. Everything here blocks, briefly."""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.update.slots import MARKER, RELEASES, ROOT, SLOTS, STATE_DIR, UPDATE, Releases, Slots, read_slots


@dataclass(frozen=True)
class Machine:
    """What a bundle must fit: `architecture` as uname says, `python` as 3.11, whether the camera's packages are installed."""

    architecture: str
    python: str
    camera: bool


@dataclass(frozen=True)
class Release:
    """`name` below `root`/releases; `digest` of the bundle it came from, empty if it did not come from one."""

    root: Path
    name: str
    digest: str = ""

    @classmethod
    def own(cls, prefix: Path | None = None) -> Release | None:
        """The one that this process runs from; None in a checkout and wherever else it was not installed by scripts/install."""
        place = (prefix or Path(sys.prefix)).resolve()
        if place.parent.name != RELEASES:
            return None
        try:
            digest = (place / MARKER).read_text().strip()
        except (OSError, ValueError):
            digest = ""
        return cls(place.parent.parent, place.name, digest)

    def reaches(self, state_dir: Path) -> bool:
        """Whether the root side finds what the daemon leaves in its `state_dir`: the units name one place."""
        return self.root != ROOT or state_dir == STATE_DIR

    def current(self) -> str:
        """The release that the next start will run; empty if nobody can tell."""
        return Releases(self.root).current()

    def slots(self) -> Slots:
        """What the root side has written down."""
        return read_slots(self.root / UPDATE / SLOTS)


def elsewhere(state_dir: Path) -> str:
    """What keeps the installer from an update in another `state_dir` than its own, in a sentence."""
    return f"updates are looked for in {STATE_DIR}, and [device] state_dir is {state_dir}"


def own_machine() -> Machine:
    """What a bundle must fit here."""
    return Machine(
        platform.machine(),
        f"{sys.version_info.major}.{sys.version_info.minor}",
        camera=importlib.util.find_spec("aiortc") is not None,
    )
