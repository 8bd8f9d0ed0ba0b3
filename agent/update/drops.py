"""What the daemon has left for the root hand in state_dir/incoming: its own folder, so nothing in it is believed."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from agent.update import disk

log = logging.getLogger(__name__)

INCOMING = "incoming"
NAMES_LOOKED_AT = 1000
_DROP = re.compile(r"(?P<digest>[0-9a-f]{16})(?P<hand>\.by-hand)?\.bundle")


@dataclass
class Drop:
    """One bundle on its way."""

    name: str
    by_hand: bool
    digest: str
    """Of the whole once it is copied, before that what the name says."""
    version: str = ""
    downgrade: bool = False
    """It may lead to an older version; known once it is verified."""

    @property
    def key(self) -> str:
        """Under which attempts are counted."""
        return self.digest + (".by-hand" if self.by_hand else "")


class Incoming:
    """The folder. `stuck` has the names of what could not be removed."""

    def __init__(self, state_dir: Path) -> None:
        self.stuck: set[str] = set()
        self._state_dir = state_dir

    def opened(self) -> contextlib.AbstractContextManager[int]:
        """A descriptor of the folder; raises OSError."""
        return disk.foreign_directory(self._state_dir, INCOMING)

    def names(self) -> list[str]:
        """Of everything that is called a bundle."""
        names: list[str] = []
        with contextlib.suppress(OSError), self.opened() as directory, os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".bundle"):
                    names.append(entry.name)
                if len(names) == NAMES_LOOKED_AT:
                    break
        return names

    def drops(self) -> list[Drop]:
        """The bundles that wait, those that somebody asked for first. What is called otherwise is none and goes."""
        drops = []
        for name in self.names():
            if match := _DROP.fullmatch(name):
                drops.append(Drop(name, by_hand=match["hand"] is not None, digest=match["digest"]))
            else:
                log.warning("no bundle has such a name, removed name=%r", name[:80])
                self.take_away(name)
        return sorted(drops, key=lambda drop: (not drop.by_hand, drop.name))

    def take_away(self, name: str) -> bool:
        """Removes what has this name; whether nothing has it any more."""
        try:
            with self.opened() as directory:
                disk.remove_foreign(directory, name)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.stuck.add(name)
            log.warning("bundle cannot be removed name=%r error=%s", name[:80], error)
            return False
        return True
