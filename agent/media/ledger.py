"""The store's bookkeeping: what is there, who needs it, what may go. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from agent.media.files import Stamp
from agent.media.wants import FetchError, Want, digest_of, key_of, part_name


@dataclass
class Entry:
    """A verified file. `verified_at` and `used_at` only order the files; they never run backwards, whatever the clock does."""

    digest: str
    stamp: Stamp
    verified_at: float
    used_at: float
    name: str


@dataclass
class Claim:
    """Room that a running download has been given, and how much of it the download has filled. The download counts it up."""

    expected_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True)
class Victim:
    """What has to go to make room: a file (by digest) or an unfinished download (by its file's name)."""

    size_bytes: int
    digest: str | None = None
    part: str | None = None


@dataclass
class Ledger:
    """What the store knows."""

    entries: dict[str, Entry] = field(default_factory=dict)  # by digest
    unverified: dict[str, int] = field(default_factory=dict)  # complete files nobody vouches for yet: digest → size
    sources: dict[str, str] = field(default_factory=dict)  # source of a file without a checksum → digest
    parts: dict[str, int] = field(default_factory=dict)  # unfinished downloads that do not run: name → size
    claims: dict[str, Claim] = field(default_factory=dict)  # running downloads, by the name of their part
    derived_bytes: int = 0
    _kept: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # owner → key and part of each want
    _held: dict[str, set[str]] = field(default_factory=dict)  # owner → digests
    _latest: float = 0.0

    def tick(self, now: float) -> float:
        """A stamp later than all before; the wall clock `now` unless that has been set back."""
        self._latest = max(now, self._latest + 0.001)
        return self._latest

    def load(self, entries: Collection[Entry], sources: dict[str, str]) -> None:
        """Begins with what the state file says."""
        self.entries = {entry.digest: entry for entry in entries}
        self.sources = dict(sources)
        self._latest = max((max(entry.verified_at, entry.used_at) for entry in entries), default=0.0)

    def digest(self, want: Want) -> str | None:
        """The digest of `want` as far as it is known."""
        return digest_of(want) or self.sources.get(want.source)

    def lookup(self, want: Want) -> Entry | None:
        """The verified file for `want`, whatever its size."""
        return self.entries.get(self.digest(want) or "")

    def keep(self, owner: str, wants: Collection[Want]) -> None:
        """Replaces what `owner` references."""
        self._kept[owner] = list(_keys(wants))
        if not self._kept[owner]:
            del self._kept[owner]

    def hold(self, owner: str, digests: Collection[str]) -> None:
        """Replaces what `owner` has on a screen."""
        self._held[owner] = set(digests)
        if not digests:
            del self._held[owner]

    def needed(self) -> set[str]:
        """Digests that somebody keeps or holds."""
        needed = set().union(*self._held.values())
        for keys in self._kept.values():
            needed.update(self.sources.get(key.removeprefix("url:"), "") if key.startswith("url:") else key for key, _ in keys)
        return needed

    def kept_parts(self) -> set[str]:
        """Names of the parts of what somebody keeps."""
        return {part for keys in self._kept.values() for _, part in keys}

    def has(self, digest: str) -> bool:
        """Whether a complete file is there, verified or not."""
        return digest in self.entries or digest in self.unverified

    def used_bytes(self) -> int:
        """Of the store, including what running downloads were promised."""
        return (
            sum(entry.stamp.size_bytes for entry in self.entries.values())
            + sum(self.unverified.values())
            + sum(self.parts.values())
            + sum(max(claim.expected_bytes, claim.received_bytes) for claim in self.claims.values())
            + self.derived_bytes
        )

    def victims(self, extra_bytes: int, *, quota_bytes: int, reserve_bytes: int, free_bytes: int) -> list[Victim] | None:
        """What must go so that `extra_bytes` more fit into the store and on the disk; None if all that may go is not enough.

        `free_bytes` is what the disk has now. Unfinished downloads nobody references go first, then files from the least
        recently used one on, then unfinished downloads that wait for another try.
        """
        outstanding = sum(max(0, claim.expected_bytes - claim.received_bytes) for claim in self.claims.values())
        missing = max(
            self.used_bytes() + extra_bytes - quota_bytes,
            reserve_bytes + outstanding + extra_bytes - free_bytes,
        )
        chosen: list[Victim] = []
        for victim in self._dispensable():
            if missing <= 0:
                break
            chosen.append(victim)
            missing -= victim.size_bytes
        return chosen if missing <= 0 else None

    def _dispensable(self) -> Iterator[Victim]:
        kept_parts = self.kept_parts()
        needed = self.needed()
        parts = sorted(self.parts.items())
        yield from (Victim(size, part=name) for name, size in parts if name not in kept_parts)
        yield from (Victim(size, digest=digest) for digest, size in self.unverified.items() if digest not in needed)
        for entry in sorted(self.entries.values(), key=lambda entry: entry.used_at):
            if entry.digest not in needed:
                yield Victim(entry.stamp.size_bytes, digest=entry.digest)
        yield from (Victim(size, part=name) for name, size in parts if name in kept_parts)


def _keys(wants: Collection[Want]) -> Iterator[tuple[str, str]]:
    for want in wants:
        try:
            yield key_of(want), part_name(want)
        except FetchError:
            continue  # a checksum that can never be met
