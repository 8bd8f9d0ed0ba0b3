"""Reads what the REST interface answers, within bounds, and tells its own words from those of a proxy before it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from agent.links.conversion import messages
from agent.links.link import UnavailableError

if TYPE_CHECKING:
    import aiohttp

LARGEST_JOB_BYTES = 8 * 1024 * 1024
"""A job's answer holds its log."""
LARGEST_PAGE_BYTES = 1024 * 1024
LARGEST_WORD_BYTES = 64 * 1024
_LARGE_BYTES = 512 * 1024
"""From here on reading it takes so long that the loop must not wait for it."""
_MOST_BRACKETS = 200_000
"""Lists and objects are what makes JSON slow to read; the interpreter does nothing else meanwhile. A log may hold some, too."""


async def body_of(answer: aiohttp.ClientResponse, most_bytes: int = LARGEST_WORD_BYTES) -> Any:
    """The body, None if it is no JSON. Raises UnavailableError if there is more of it than can be."""
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > most_bytes:
            raise UnavailableError(f"answer larger than {most_bytes} bytes")
    if raw.count(b"[") + raw.count(b"{") > _MOST_BRACKETS:
        raise UnavailableError(f"answer with more than {_MOST_BRACKETS} parts")
    try:
        if len(raw) >= _LARGE_BYTES:
            return await asyncio.to_thread(json.loads, raw)
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


async def is_missing(answer: aiohttp.ClientResponse) -> bool:
    """The interface itself says that there is no such thing; a proxy says it in other words while the server restarts."""
    if answer.status not in (404, 410) or not answer.content_type.endswith("json"):
        return False
    return isinstance(await body_of(answer), dict)


async def trouble_of(answer: aiohttp.ClientResponse, what: str) -> UnavailableError:
    """What to raise for an answer that is none."""
    words = await words_of(answer)
    return UnavailableError(f"{what}: HTTP {answer.status}{words and ' '}{words}")


async def words_of(answer: aiohttp.ClientResponse) -> str:
    """What an answer says is wrong: `detail`, `message`, or the first of a form's faults."""
    try:
        body = await body_of(answer)
    except UnavailableError:
        return ""
    if not isinstance(body, dict):
        return ""
    found = body.get("detail") or body.get("message") or next(iter(body.values()), "")
    return messages.clean(found[0] if isinstance(found, list) and found else found, 200)
