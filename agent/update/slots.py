"""Version slots: which release is current, which one is on probation, and what became of the last one.

    ROOT/releases/NAME/            a virtual environment; its file `.complete`, written last, has the digest of what it came from;
                                   `.unproved`: it came with an update and was never kept
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
UNPROVED = ".unproved"
COMMAND = "bin/signage-agent"
UPDATE = "update"
SLOTS = "slots.json"
COPY = "slots.copy.json"
LOCK = "lock"
OVERFLOW = "signage-agent-slots.json"
"""Below /run: the record while the disk cannot be written."""
ROOT = Path("/opt/signage-agent")
STATE_DIR = Path("/var/lib/signage-agent")
"""The daemon's own folder, where the units, the guard and the root hand look for it."""
RUN = Path("/run")

RECORD_BYTES = 256 * 1024
TEXT_CHARACTERS = 1000
ROLLED_BACK_KEPT = 64
ATTEMPTS_KEPT = 32
DOWNGRADES_KEPT = 256
_MOST = 2**53
"""No number in the record comes near it."""

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
    clean_ends: int = 0
    """How many of the starts came to an end because somebody asked for it."""
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
    installer has begun with a bundle, or taken up a file of the daemon's, without coming to an end; `downgrades` the digests of
    bundles that may lead to an older version and have been installed: they may do so again only by hand."""

    candidate: Candidate | None = None
    last_result: Result | None = None
    rolled_back: tuple[str, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    last_verdict: Result | None = None
    """The last result that is no refusal."""
    downgrades: tuple[str, ...] = ()
    revision: int = field(default=0, compare=False)
    """The highest one is the newest of several copies."""

    @property
    def verdict(self) -> Result | None:
        """What became of the last version that was switched to, also if other bundles were refused since."""
        last = self.last_result
        # A version that does not know `last_verdict` drops it.
        return last if last is not None and last.result != "refused" else self.last_verdict

    def refused(self, version: str, digest: str, cause: str, at: str) -> Self:
        """A bundle is not installed."""
        return replace(self, last_result=Result("refused", version, digest, cause, at), last_verdict=self.verdict)

    def downgraded(self, digest: str) -> Self:
        """A bundle that may lead to an older version is installed."""
        others = [one for one in self.downgrades if one != digest]
        return replace(self, downgrades=(*others, digest)[-DOWNGRADES_KEPT:])

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
        first = candidate.first_start_monotonic
        if candidate.boot_id != boot_id or first is None or first > now:
            spent_s = candidate.spent_s + candidate.lived_s
            candidate = replace(candidate, boot_id=boot_id, first_start_monotonic=now, lived_s=0.0, spent_s=spent_s)
        return replace(self, candidate=replace(candidate, starts=candidate.starts + 1))

    def settled(self, result: Outcome, cause: str, at: str) -> Self:
        """The candidate has proved itself, or was gone back from."""
        candidate = self.candidate
        assert candidate is not None
        verdict = Result(result, candidate.version, candidate.digest, cause[:TEXT_CHARACTERS], at)
        settled = replace(self, candidate=None, last_result=verdict, last_verdict=verdict)
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
            attempts={key: _count(count) for key, count in _checked(content.get("attempts", {}), dict).items()},
            last_verdict=_fields(Result, content.get("last_verdict")),
            downgrades=tuple(_checked(one, str) for one in _checked(content.get("downgrades", []), list)),
            revision=_count(content.get("revision", 0)),
        )
    except (ValueError, RecursionError, TypeError) as error:
        raise DamagedError(str(error) or type(error).__name__) from None


def serialise(slots: Slots) -> bytes:
    """What `parse` understands."""
    content = {"format": FORMAT, **asdict(slots)}
    return json.dumps(content, indent=1).encode() + b"\n"


def read_slots(path: Path, run: Path = RUN) -> Slots:
    """The record as the daemon sees it; an empty one if there is none or none can be read. `run` is /run."""
    found: list[Slots] = []
    for one in (path, path.with_name(COPY), run / OVERFLOW):
        with contextlib.suppress(OSError, DamagedError):
            found.append(parse(_read(one)))
    return max(found, key=lambda slots: slots.revision, default=Slots())


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
        self.lost = False
        """There was none, or none that could be read."""
        self.unsaved = False
        """The newest one is in memory only."""

    @contextlib.contextmanager
    def held(self, wait_s: float = 10.0) -> Iterator[bool]:
        """Keeps others from changing it; whether it does. Goes on without after `wait_s`: a start must not wait for ever."""
        with disk.locked(self._lock, wait_s) as taken:
            yield taken

    def load(self) -> Slots:
        """The newest record that can be read; an empty one if there is none."""
        self.complaint = ""
        self.unsaved = False
        found: list[Slots] = []
        for path in (*self._places, *([self._overflow] if self._overflow else [])):
            try:
                slots = parse(_read(path))
            except FileNotFoundError:
                continue
            except (OSError, DamagedError) as error:
                self.complaint = f"{path.name}: {error}"
                continue
            self.unsaved = path == self._overflow and all(slots.revision > one.revision for one in found)
            found.append(slots)
        self.lost = not found
        newest = max(found, key=lambda slots: slots.revision, default=Slots())
        self._revision = newest.revision
        return newest

    def store(self, slots: Slots) -> None:
        """Writes it to the disk; if that does not work, to memory, where it is until the power goes, and raises OSError."""
        self._revision += 1
        data = serialise(replace(slots, revision=self._revision))
        self.unsaved = False
        try:
            disk.make_directory(self._lock.parent)
            disk.write_file(self._places[0], data)
        except OSError:
            self.unsaved = True
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
        try:
            return bool(name) and (release / MARKER).is_file() and (release / COMMAND).exists()
        except OSError:  # also a name that no file can have
            return False

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
        """The release to go back to; empty if there is none.

        `previous`, else the newest that was neither rolled back nor still has to prove itself, else the best of the others.
        """
        others = [name for name in self.names() if name != not_release and self.complete(name)]
        if previous in others:
            return previous
        return min(others, key=lambda name: (self.digest(name) in not_digests, self.unproved(name)), default="")

    def unproved(self, name: str) -> bool:
        """Whether it came with an update and was never kept. What scripts/install has built needs no proof."""
        try:
            return (self.path(name) / UNPROVED).exists()
        except OSError:
            return False

    def doubt(self, name: str) -> None:
        """It has to prove itself."""
        if not self.unproved(name):
            disk.write_file(self.path(name) / UNPROVED, b"")

    def trust(self, name: str) -> None:
        """It has proved itself."""
        if self.unproved(name):
            disk.remove_file(self.path(name) / UNPROVED)

    def spoil(self, name: str) -> None:
        """Makes it one that is never switched to again. Works on a full disk."""
        disk.remove_file(self.path(name) / MARKER)

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
    if candidate.drop:
        _take_away(state_dir, "incoming", candidate.drop)
    forget_claims(state_dir)
    releases.switch(candidate.release)


def forget_claims(state_dir: Path) -> None:
    """Removes what the daemon has said about itself: nothing of it comes from a version that was not started yet."""
    for name in ("committed.json", "probation.json"):
        _take_away(state_dir, "update", name)


def _take_away(state_dir: Path, folder: str, name: str) -> None:
    # It is not the daemon's to keep a version from being switched to.
    with contextlib.suppress(OSError), disk.foreign_directory(state_dir, folder) as directory:
        disk.remove_foreign(directory, name)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise DamagedError("not a file")
        data = file.read(RECORD_BYTES + 1)
    if len(data) > RECORD_BYTES:
        raise DamagedError("too long")
    return data


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str) and "\0" not in value,
    "int": lambda value: type(value) is int and 0 <= value < _MOST,
    "float": lambda value: type(value) in (int, float) and 0 <= value < _MOST,
    "float | None": lambda value: value is None or (type(value) in (int, float) and 0 <= value < _MOST),
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


def _count(value: Any) -> int:
    if not _CHECKS["int"](value):
        raise TypeError(f"{value!r:.50} is no count")
    return int(value)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.50} is no {kind.__name__}")
    return value
