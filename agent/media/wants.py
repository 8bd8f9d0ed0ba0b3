"""What others ask of the store, and what it answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

Headers = Callable[[Mapping[str, str] | None], Awaitable[Mapping[str, str]]]
"""Headers for a request; its argument are those that were just refused with a 401, or None."""
OnBytes = Callable[[int, int | None], None]
Cause = Literal["network", "http", "checksum", "size", "storage", "address", "stopped"]


class FetchError(Exception):
    """A file could not be had. The text is a sentence that names the cause and holds no secret.

    `status` is the HTTP status of the cause "http", `content_type` that of the answer, which tells a storage's own word from that
    of a proxy before it; `temporary` says whether trying again soon makes sense.
    """

    def __init__(
        self,
        cause: Cause,
        sentence: str,
        *,
        temporary: bool = True,
        status: int | None = None,
        retry_after_s: float = 0.0,
        content_type: str = "",
    ) -> None:
        super().__init__(sentence)
        self.cause: Cause = cause
        self.temporary = temporary
        self.status = status
        self.retry_after_s = retry_after_s
        self.content_type = content_type


class MismatchError(FetchError):
    """What came is not what was announced; the bytes at hand are worthless."""


@dataclass(frozen=True)
class Want:
    """A file that a server offers (signage contract, sections 1 and 4).

    `checksum` is empty, an MD5 (32 hex digits) or a SHA-256 (64), in any case. A size of None, 0 or less is unknown. `headers`
    gives what goes to `trusted_origin` ("scheme://host[:port]") and nowhere else; after a 401 it is asked once more, for others.
    `tls` is for servers with a certificate authority of their own.

    A file without a checksum is known by its address, or by its `identity` where the address changes while the file does not
    (signed addresses). `connect_to` ("host:port") is dialled instead of the address's host, which is still what is asked for.
    Of `expect="media"` no text or JSON is taken, which is how servers word their errors. Of a `signed` address people and logs
    are told no more than the host: what it grants may stand anywhere in it.
    """

    url: str
    name: str
    size_bytes: int | None = None
    checksum: str = ""
    headers: Headers | None = None
    trusted_origin: str | None = None
    tls: ssl.SSLContext | None = None
    identity: str = ""
    connect_to: str = ""
    expect: Literal["", "media"] = ""
    signed: bool = False

    @property
    def expected_bytes(self) -> int | None:
        """The size, if it is known."""
        return self.size_bytes if self.size_bytes is not None and self.size_bytes > 0 else None

    @property
    def where(self) -> str:
        """The address for people and logs."""
        return plain_host(self.url) if self.signed else plain_url(self.url)

    @property
    def source(self) -> str:
        """What a file without a checksum is known by."""
        return self.identity or self.url


@dataclass(frozen=True)
class DownloadStatus:
    """A download under way."""

    name: str
    received_bytes: int
    total_bytes: int | None


@dataclass(frozen=True)
class Timers:
    """The store's times and limits; seconds unless the name says otherwise."""

    response_s: float = 30.0  # authorization, name lookup, connection, TLS, redirects, head of the answer: all together
    stall_s: float = 30.0  # without a byte
    slow_window_s: float = 60.0
    slow_bytes_s: float = 1024.0  # mean over the window, time spent waiting for the own disk not counted
    tries: int = 5  # in a row without getting further
    mismatch_tries: int = 3  # wrong size or checksum
    retry_first_s: float = 1.0
    retry_last_s: float = 60.0
    progress_s: float = 0.2  # between two calls of `on_bytes`
    part_age_s: float = 7 * 86400.0  # older unfinished downloads are removed at start
    verify_after_s: float = 120.0  # from the start to the first verification
    verify_round_s: float = 86400.0  # between two rounds
    verify_bytes_s: float = 1024.0 * 1024.0
    upkeep_s: float = 600.0  # between two writes of "last used" and two looks at the reserve


def digest_of(want: Want) -> str | None:
    """The digest `want` names, "md5:<hex>" or "sha256:<hex>", or None. Raises FetchError if it is neither."""
    checksum = want.checksum.strip().lower()
    if not checksum:
        return None
    algorithm = {32: "md5", 64: "sha256"}.get(len(checksum))
    if algorithm is None or not re.fullmatch("[0-9a-f]+", checksum):
        raise FetchError("checksum", "checksum is neither an MD5 nor a SHA-256 in hex digits", temporary=False)
    return f"{algorithm}:{checksum}"


def key_of(want: Want) -> str:
    """What makes two wants the same file: the digest, else the source. Raises FetchError as `digest_of`."""
    return digest_of(want) or f"url:{want.source}"


def part_name(want: Want) -> str:
    """The name of the file an unfinished download of `want` is kept in. Raises FetchError as `digest_of`."""
    digest = digest_of(want)
    if digest is None:
        address = hashlib.sha256(f"{want.expected_bytes} {want.source}".encode(errors="surrogatepass")).hexdigest()
        return f"url-{address}.part"
    return f"{digest.replace(':', '-')}.part"


def plain_url(url: str) -> str:
    """`url` without user, password, query and fragment, for people and logs."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}" if parts.scheme and host else "(incomplete address)"
    except ValueError:
        return "(unreadable address)"


def plain_host(url: str) -> str:
    """`plain_url` without the path."""
    plain = plain_url(url)
    return plain if plain.startswith("(") else "/".join(plain.split("/", 3)[:3])


def amount(size_bytes: float) -> str:
    """A size for people: "12.3 MB"."""
    for unit in ("bytes", "kB", "MB"):
        if abs(size_bytes) < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"
