"""Signs that a connection is no use although it is open, or does not stay open (tronbyt contract, section 1). Pure."""

from __future__ import annotations


class Silence:
    """A server owes an image to who connects, and for each `displaying`; while it does it may not be silent for `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: float | None = None

    def connected(self, now: float) -> None:
        """We have said who we are."""
        self._since = now

    def displayed(self, now: float) -> None:
        """A `displaying` has been sent."""
        self._since = now

    def heard(self, now: float, *, image: bool) -> None:
        """A message has come."""
        if self._since is not None:
            self._since = None if image else now

    @property
    def deadline(self) -> float | None:
        """When the server is as good as dead."""
        return None if self._since is None else self._since + self._limit_s


class Drops:
    """Connections that the server ends right after they began. Two devices with one id drop each other like that."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    @property
    def suspicious(self) -> bool:
        """Whether it has happened too often in a row."""
        return self._count >= self._most

    def dropped(self) -> None:
        """One was ended right after it began."""
        self._count += 1

    def steady(self) -> None:
        """One has lasted."""
        self._count = 0
