"""Version slots: which release is current, which one is on probation, and what became of the last one.

    ROOT/releases/NAME/            a virtual environment; its file `.complete`, written last, has the digest of what it came from
    ROOT/current                   a link to releases/NAME: what the next start runs
    ROOT/update/slots.json         the record, and slots.copy.json, the same for the day on which the first is damaged

All of it belongs to root; the daemon reads it. A later version may add keys to the record and must not change the meaning of
those here: the guard and the version that is gone back to read it. Standard library only, as the guard runs from a copy.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from agent.update import disk

FORMAT = 1
RELEASES = "releases"
CURRENT = "current"
MARKER = ".complete"
COMMAND = "bin/signage-agent"
UPDATE = "update"
SLOTS = "slots.json"
COPY = "slots.copy.json"
LOCK = "lock"
OVERFLOW = "signage-agent-slots.json"
"""Below /run: the record while the disk cannot be written."""

RECORD_BYTES = 256 * 1024
TEXT_CHARACTERS = 1000
ROLLED_BACK_KEPT = 64
ATTEMPTS_KEPT = 32

Outcome = Literal["committed", "rolled back", "refused"]


@dataclass(frozen=True)
class Candidate:
    """A release that has been decided for and has not yet proved itself.

    From the moment it is in the record it is switched to, by whoever comes first. Times are of the monotonic clock of the boot
    `boot_id`, in seconds.
    """

    release: str
    version: str
    digest: str
    previous: str
    """The release to go back to."""
    by: str = ""
    """"hand" if somebody asked for just this bundle."""
    drop: str = ""
    """What the bundle is called in state_dir/incoming."""
    probation_s: float = 120.0
    starts: int = 0
    boot_id: str = ""
    switched_monotonic: float | None = None
    first_start_monotonic: float | None = None
    """The first start in this boot."""
    lived_s: float = 0.0
    """In this boot, as last written down."""
    spent_s: float = 0.0
    """In the boots before."""
    cause: str = ""
    """Not empty: it is being gone back from."""


@dataclass(frozen=True)
class Result:
    """How the last update ended; `cause` is a sentence, empty when committed; `at` is ISO 8601 in UTC."""

    result: Outcome
    version: str
    digest: str
    cause: str
    at: str


@dataclass(frozen=True)
class Slots:
    """The record. `rolled_back` has digests that are refused until somebody asks for one by hand; `attempts` how often the
    installer has begun with a bundle without coming to an end."""

    candidate: Candidate | None = None
    last_result: Result | None = None
    rolled_back: tuple[str, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    revision: int = field(default=0, compare=False)
    """The highest one is the newest of several copies."""

    def attempted(self, key: str) -> Self:
        """The installer begins with a bundle."""
        attempts = {**self.attempts, key: self.attempts.get(key, 0) + 1}
        while len(attempts) > ATTEMPTS_KEPT:
            attempts.pop(next(one for one in attempts if one != key))
        return replace(self, attempts=attempts)

    def without_attempts(self, key: str) -> Self:
        """The installer has come to an end with a bundle."""
        return replace(self, attempts={one: count for one, count in self.attempts.items() if one != key})

    def decided(self, candidate: Candidate) -> Self:
        """The candidate is to be switched to."""
        return replace(self, candidate=candidate, rolled_back=tuple(one for one in self.rolled_back if one != candidate.digest))

    def started(self, now: float, boot_id: str) -> Self:
        """The candidate is about to be started."""
        candidate = self.candidate
        assert candidate is not None
        if candidate.boot_id != boot_id or candidate.first_start_monotonic is None:
            spent_s = candidate.spent_s + candidate.lived_s
            candidate = replace(candidate, boot_id=boot_id, first_start_monotonic=now, lived_s=0.0, spent_s=spent_s)
        return replace(self, candidate=replace(candidate, starts=candidate.starts + 1))

    def settled(self, result: Outcome, cause: str, at: str) -> Self:
        """The candidate has proved itself, or was gone back from."""
        candidate = self.candidate
        assert candidate is not None
        settled = replace(
            self, candidate=None, last_result=Result(result, candidate.version, candidate.digest, cause[:TEXT_CHARACTERS], at)
        )
        if result == "rolled back":
            others = [one for one in self.rolled_back if one != candidate.digest]
            settled = replace(settled, rolled_back=(*others, candidate.digest)[-ROLLED_BACK_KEPT:])
        return settled


class DamagedError(Exception):
    """A record that cannot be understood."""


def parse(data: bytes) -> Slots:
    """The record in `data`; keys that are not known here are passed over. Raises DamagedError."""
    try:
        content = json.loads(data)
        if not isinstance(content, dict):
            raise DamagedError("no object")
        return Slots(
            candidate=_fields(Candidate, content.get("candidate")),
            last_result=_fields(Result, content.get("last_result")),
            rolled_back=tuple(_checked(one, str) for one in _checked(content.get("rolled_back", []), list)),
            attempts={key: _checked(count, int) for key, count in _checked(content.get("attempts", {}), dict).items()},
            revision=_checked(content.get("revision", 0), int),
        )
    except (ValueError, RecursionError, TypeError) as error:
        raise DamagedError(str(error) or type(error).__name__) from None


def serialise(slots: Slots) -> bytes:
    """What `parse` understands."""
    content = {"format": FORMAT, **asdict(slots)}
    return json.dumps(content, indent=1).encode() + b"\n"


def read_slots(path: Path) -> Slots:
    """The record as the daemon sees it; an empty one if there is none or none can be read."""
    for one in (path, path.with_name(COPY)):
        with contextlib.suppress(OSError, DamagedError):
            return parse(_read(one))
    return Slots()


class Record:
    """The record of one box, for root. Changes belong between `held()`."""

    def __init__(self, root: Path, run: Path | None = None) -> None:
        """`run` is /run, where it goes while the disk cannot be written."""
        self._places = [root / UPDATE / SLOTS, root / UPDATE / COPY]
        self._overflow = run / OVERFLOW if run else None
        self._lock = root / UPDATE / LOCK
        self._revision = 0
        self.complaint = ""
        """What was wrong with the record when it was read last."""

    @contextlib.contextmanager
    def held(self, wait_s: float = 10.0) -> Iterator[bool]:
        """Keeps others from changing it; whether it does. Goes on without after `wait_s`: a start must not wait for ever."""
        with disk.locked(self._lock, wait_s) as taken:
            yield taken

    def load(self) -> Slots:
        """The newest record that can be read; an empty one if there is none."""
        self.complaint = ""
        found: list[Slots] = []
        for path in (*self._places, *([self._overflow] if self._overflow else [])):
            try:
                found.append(parse(_read(path)))
            except FileNotFoundError:
                continue
            except (OSError, DamagedError) as error:
                self.complaint = f"{path.name}: {error}"
        newest = max(found, key=lambda slots: slots.revision, default=Slots())
        self._revision = newest.revision
        return newest

    def store(self, slots: Slots) -> None:
        """Writes it to the disk; if that does not work, to memory, where it is until the power goes, and raises OSError."""
        self._revision += 1
        data = serialise(replace(slots, revision=self._revision))
        try:
            disk.make_directory(self._lock.parent)
            disk.write_file(self._places[0], data)
        except OSError:
            if self._overflow:
                with contextlib.suppress(OSError):
                    disk.write_file(self._overflow, data)
            raise
        with contextlib.suppress(OSError):  # the first one is there
            disk.write_file(self._places[1], data)
        if self._overflow and self._overflow.exists():
            with contextlib.suppress(OSError):  # it is older than the first one
                disk.remove_file(self._overflow)


class Releases:
    """The releases of one box and the link to the current one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / RELEASES

    def path(self, name: str) -> Path:
        """Where a release is."""
        return self.folder / name

    def current(self) -> str:
        """The release that `current` names, whether it is there or not; empty if it names none."""
        try:
            target = (self.root / CURRENT).readlink()
        except OSError:
            return ""
        if not target.is_absolute():
            target = self.root / target
        return target.name if target.parent in (self.folder, self.folder.resolve()) else ""

    def complete(self, name: str) -> bool:
        """Whether it can be switched to: nothing else may ever be linked."""
        release = self.path(name)
        return bool(name) and (release / MARKER).is_file() and (release / COMMAND).exists()

    def digest(self, name: str) -> str:
        """What a complete release came from; empty if it is not complete."""
        try:
            return (self.path(name) / MARKER).read_text("ascii").strip() if self.complete(name) else ""
        except (OSError, ValueError):
            return ""

    def names(self) -> list[str]:
        """Everything below releases/, what was made complete last first."""
        with contextlib.suppress(OSError):
            return sorted((path.name for path in self.folder.iterdir()), key=self._age)
        return []

    def fallback(self, previous: str, *, not_release: str = "", not_digests: Collection[str] = ()) -> str:
        """The release to go back to: `previous`, else the newest that was not rolled back; empty if there is none."""
        others = [name for name in self.names() if name != not_release and self.complete(name)]
        if previous in others:
            return previous
        return next((name for name in others if self.digest(name) not in not_digests), next(iter(others), ""))

    def switch(self, name: str) -> None:
        """Makes `name` the current release, as of the next start."""
        disk.link(self.root / CURRENT, f"{RELEASES}/{name}")

    def _age(self, name: str) -> tuple[float, str]:
        try:
            return (-(self.path(name) / MARKER).stat().st_mtime, name)
        except OSError:
            return (0.0, name)


def carry_out(candidate: Candidate, releases: Releases, state_dir: Path) -> None:
    """Switches to a candidate of the record. Again and again until it has been done once, whoever does it.

    The bundle goes first, so that it is not found again by the version that came out of it; so does what an earlier run of that
    version said about itself.
    """
    stale = [("incoming", candidate.drop)] if candidate.drop else []
    for folder, name in [*stale, ("update", "committed.json"), ("update", "probation.json")]:
        # It is not the daemon's to keep a version from being switched to.
        with contextlib.suppress(OSError), disk.foreign_directory(state_dir, folder) as directory:
            disk.remove_foreign(directory, name)
    releases.switch(candidate.release)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise DamagedError("not a file")
        data = file.read(RECORD_BYTES + 1)
    if len(data) > RECORD_BYTES:
        raise DamagedError("too long")
    return data


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) in (int, float),
    "float | None": lambda value: value is None or type(value) in (int, float),
    "Outcome": lambda value: value in ("committed", "rolled back", "refused"),
}


def _fields(kind: Any, content: Any) -> Any:
    """A Candidate or Result out of JSON; None for none. Raises TypeError."""
    if content is None:
        return None
    known = {name: value for name, value in _checked(content, dict).items() if name in kind.__dataclass_fields__}
    for name, value in known.items():
        if not _CHECKS[kind.__dataclass_fields__[name].type](value):
            raise TypeError(f"{name} is {value!r:.50}")
    return kind(**known)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.50} is no {kind.__name__}")
    return value
