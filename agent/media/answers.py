"""Reads what servers answer to a download: where the body begins, how long the file is, whether an old part can be continued."""

from __future__ import annotations

import functools
import hashlib
import http
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.media.wants import FetchError, MismatchError, Want, digest_of

if TYPE_CHECKING:
    import aiohttp

_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"})
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Note = dict[str, Any]


def range_headers(want: Want, note: Note, offset: int) -> dict[str, str]:
    """The headers that ask for what follows the `offset` bytes at hand; none if those cannot be trusted to belong to it.

    Without a checksum a validator, or an identity and a size, tie the two halves together, and only if no power cut may have
    come between.
    """
    size = want.expected_bytes
    if not offset or (size and offset > size):
        return {}
    validator = note.get("validator") if note.get("url") == _mark(want) else None
    tied = validator is not None or (want.identity and size)
    if digest_of(want) is None and (not tied or note.get("boot") != _boot_id()):
        return {}
    headers = {"Range": f"bytes={offset}-"}
    if validator is not None:
        headers["If-Range"] = validator
    return headers


def judge(response: aiohttp.ClientResponse, want: Want, note: Note, offset: int) -> tuple[int, int | None]:
    """Where the body begins and how long the whole file is, if that is known.

    `offset` is what was asked for with Range, else 0. A beginning that equals the length means that nothing is missing.
    Raises FetchError; MismatchError if the bytes at hand are worthless.
    """
    where = want.where
    if response.status == http.HTTPStatus.OK:
        start, total = 0, response.content_length
    elif response.status == http.HTTPStatus.PARTIAL_CONTENT and offset:
        start, total = offset, _partial(response, want, note, offset)
    elif response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
        match = re.fullmatch(r"bytes \*/(\d{1,18})", response.headers.get("Content-Range", ""))
        if match and int(match[1]) == offset:
            return offset, offset
        raise MismatchError("size", f"size: the server's file is not longer than the {offset} bytes received before ({where})")
    else:
        raise _http_error(response, where)
    if response.headers.get("Content-Encoding", "").strip().lower() in _ENCODINGS:
        raise FetchError("http", f"HTTP: the server sent the file compressed though asked not to ({where})", temporary=False)
    expected, unproven = want.expected_bytes, digest_of(want) is None
    if unproven and response.content_type == "text/html":
        raise FetchError("http", f"HTTP: a web page came instead of the file ({where})")
    if unproven and want.expect == "media" and _is_words(response.content_type):
        raise FetchError("http", f"HTTP: {response.content_type[:40]} came instead of a media file ({where})")
    if total is not None and expected is not None and total != expected:
        raise FetchError("size", f"size: the server sends {total} bytes instead of {expected} ({where})")
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if unproven and total is None and expected is None and not chunked:
        raise FetchError("size", f"size: the server gave no checksum, no size and no length ({where})", temporary=False)
    return start, total


def can_resume(response: aiohttp.ClientResponse, want: Want) -> bool:
    """Whether the download could be continued later."""
    known = digest_of(want) is not None or _validator(response) is not None or bool(want.identity and want.expected_bytes)
    return known and response.headers.get("Accept-Ranges", "").lower() == "bytes"


def new_note(response: aiohttp.ClientResponse, want: Want) -> bytes:
    """What to keep beside a part."""
    note = {
        "url": _mark(want),
        "etag": response.headers.get("ETag"),
        "validator": _validator(response),
        "boot": _boot_id(),
    }
    return json.dumps(note).encode()


def read_note(text: bytes) -> Note:
    """What `new_note` said; empty if it is missing or was cut short."""
    try:
        note = json.loads(text)
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _partial(response: aiohttp.ClientResponse, want: Want, note: Note, offset: int) -> int | None:
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", response.headers.get("Content-Range", ""))
    etag, former = response.headers.get("ETag"), note.get("etag")
    same = etag is None or former is None or etag == former or note.get("url") != _mark(want)
    if not match or int(match[1]) != offset or not same:
        raise MismatchError("size", f"size: the server sent another part than asked for ({want.where})")
    return None if match[3] == "*" else int(match[3])


def _http_error(response: aiohttp.ClientResponse, where: str) -> FetchError:
    try:
        phrase = f" {http.HTTPStatus(response.status).phrase}"
    except ValueError:
        phrase = ""
    wait = response.headers.get("Retry-After", "")
    return FetchError(
        "http",
        f"HTTP status {response.status}{phrase} ({where})",
        temporary=response.status in (408, 425, 429) or response.status >= 500,
        status=response.status,
        retry_after_s=float(wait) if re.fullmatch("[0-9]{1,6}", wait) else 0.0,
        content_type=response.content_type,
    )


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """What If-Range may hold: a strong ETag or a date."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _is_words(content_type: str) -> bool:
    return content_type.startswith("text/") or content_type.endswith(("json", "xml"))


def _mark(want: Want) -> str:
    """Tells sources apart; addresses without the query, which may hold a signature that changes."""
    parts = urlsplit(want.url)
    source = want.identity or f"{parts.scheme}://{parts.netloc}{parts.path}"
    return hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()


@functools.cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
