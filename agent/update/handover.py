"""What is handed from the daemon to the root side, and what becomes of it.

The daemon leaves a checked bundle in a folder of its own (`incoming`); the root side decides, says so in its record
(`agent.update.slots`), takes the bundle away and, if it has not refused it, switches to the new release.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from agent.update import disk
from agent.update.slots import Slots

log = logging.getLogger(__name__)

PART = ".part"
"""So ends the name of a bundle that has not come whole."""
BUNDLE = ".bundle"
BY_HAND = ".by-hand"
_DIGITS = 16


@dataclass(frozen=True)
class Handover:
    """A bundle that waits to be installed."""

    file: str
    version: str
    """Empty: not known, the state was lost."""
    digest: str
    """Of the whole bundle; where the state was lost, as much of it as stands in the name."""
    by: str
    at: str

    def is_of(self, digest: str) -> bool:
        """Whether it is the bundle with this digest; of either, no more than the beginning may be known."""
        known = min(len(digest), len(self.digest))
        return known >= _DIGITS and digest[:known] == self.digest[:known]

    def as_json(self) -> dict[str, Any]:
        """What `from_json` understands."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self | None:
        """What was written down; None if that makes no sense."""
        content = value if isinstance(value, dict) else {}
        texts = {field.name: text for field in fields(cls) if isinstance(text := content.get(field.name), str)}
        return cls(**texts) if len(texts) == len(fields(cls)) and "/" not in texts["file"] else None


@dataclass(frozen=True)
class Outcome:
    """How it ended. `cause` is a sentence, empty if the version was switched to.

    `settled`: it was, and has proved itself or was gone back from since; whoever has to know hears of that (`agent.update.news`).
    """

    version: str
    cause: str = ""
    settled: bool = False


def bundle_name(digest: str, *, by_hand: bool) -> str:
    """What a bundle is called while it waits. The root side reads from it whether somebody asked for just this one."""
    return digest[:_DIGITS] + (BY_HAND if by_hand else "") + BUNDLE


def outcome(handover: Handover, *, there: bool, slots: Slots, current: str) -> Outcome | None:
    """What has become of it; None: nothing yet.

    `there`: whether the bundle still lies where it was left, looked at before `slots` was read. `current` is the release that
    the link to the present one names.
    """
    if there:
        return None
    candidate, last, verdict = slots.candidate, slots.last_result, slots.verdict
    if candidate is not None and handover.is_of(candidate.digest):
        return Outcome(candidate.version) if candidate.release == current else None
    if last is not None and last.result == "refused" and handover.is_of(last.digest):
        return Outcome(handover.version, last.cause or "the installer refused it")
    if verdict is not None and handover.is_of(verdict.digest):
        return Outcome(verdict.version, verdict.cause, settled=True)
    return None


def hand_over(part: Path, handover: Handover) -> None:
    """Gives the bundle its name in the same folder; on the disk when this returns. Raises OSError."""
    part.rename(part.with_name(handover.file))
    disk.sync_directory(part.parent)


def take_back(directory: Path, handover: Handover) -> None:
    """Removes a bundle that nobody installs. Raises OSError."""
    (directory / handover.file).unlink(missing_ok=True)
    disk.sync_directory(directory)


def is_there(directory: Path, handover: Handover) -> bool:
    """Whether the bundle lies where it was left; a disk that cannot be read has not lost it."""
    try:
        os.lstat(directory / handover.file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def waiting(directory: Path) -> list[str]:
    """The names of the bundles that wait, the oldest first; what an earlier run had not received whole is removed."""
    found: list[tuple[int, str]] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(PART):
                    log.info("update that had not come whole is removed name=%s", entry.name)
                    os.unlink(entry.path)  # noqa: PTH108 - what scandir gives
                elif entry.name.endswith(BUNDLE):
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("folder of updates cannot be read path=%s error=%s", directory, error.strerror)
    return [name for _, name in sorted(found)]
