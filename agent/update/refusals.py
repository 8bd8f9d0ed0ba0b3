"""What came of bundles that the periodic check has fetched: so that none is fetched over and over again. Pure.

Times are of the wall clock, in seconds since the epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

PASSING_S = 20 * 3600.0
"""So long a bundle is left alone that was refused because of the box: the disk was full, a Debian package was missing. A daily
check comes at the same time each day, give or take what the download took."""

_MOST = 32


def judge(version: str, trusted_keys: Collection[str]) -> str:
    """Who says that a bundle is no good: another version, or one that trusts others, may see it otherwise."""
    return f"{version} {hashlib.sha256(repr(sorted(trusted_keys)).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Refusals:
    """Digests, each with who has refused it and when; no time: it is the bundle that is at fault."""

    entries: tuple[tuple[str, str, float | None], ...] = ()

    def added(self, digest: str, by: str, at: float | None) -> Self:
        """One more; the oldest ones are forgotten."""
        others = tuple(entry for entry in self.entries if entry[0] != digest)
        return type(self)((*others, (digest, by, at))[-_MOST:])

    def barred(self, by: str, now: float) -> set[str]:
        """The digests that are not to be fetched now. A time to come was of a clock that stood wrong."""
        return {digest for digest, judged_by, at in self.entries if judged_by == by and (at is None or 0 <= now - at < PASSING_S)}

    def as_json(self) -> list[list[str | float | None]]:
        """What `from_json` understands."""
        return [list(entry) for entry in self.entries]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """What was kept, by whatever version; what makes no sense is left out."""
        entries = value if isinstance(value, list) else []
        return cls(tuple((one[0], one[1], one[2]) for one in entries[:_MOST] if isinstance(one, list) and _is_entry(one)))


def _is_entry(one: list[Any]) -> bool:
    return (
        len(one) == 3 and isinstance(one[0], str) and isinstance(one[1], str) and (one[2] is None or type(one[2]) in (int, float))
    )
