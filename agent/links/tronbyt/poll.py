"""Images fetched one by one, where there is no WebSocket (tronbyt contract, section 4)."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

from agent import __version__
from agent.links.link import RefusedError, UnavailableError
from agent.links.tronbyt.files import LARGEST_BYTES
from agent.links.tronbyt.messages import ServerMessage, parse_headers

if TYPE_CHECKING:
    import aiohttp

MOST_REDIRECTS = 3
_REFUSALS = frozenset({401, 403, 404})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Polled:
    """One answer; `data` is empty when there is no image, and cut one byte beyond the largest."""

    data: bytes
    said: ServerMessage


class Poller:
    """Asks one address for images; `async with` holds its connection. `key` is a bearer key, or empty."""

    def __init__(self, url: str, key: str = "", *, tls: ssl.SSLContext | None = None, request_s: float = 30.0) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._tls = tls
        self._request_s = request_s
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(importlib.import_module, "aiohttp")  # takes 0.1 s and more: not in the loop
        import aiohttp  # noqa: PLC0415 - see above

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=1),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": f"signage-agent/{__version__}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def fetch(self) -> Polled:
        """The next image. Raises RefusedError when the server does not know us, UnavailableError for all else."""
        import aiohttp  # noqa: PLC0415 - loaded by now

        try:
            async with asyncio.timeout(self._request_s):
                return await self._follow()
        except TimeoutError:
            raise UnavailableError(f"no image within {self._request_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnavailableError(_words(error)) from error

    async def _follow(self) -> Polled:
        """Goes where the server sends us, but to no other server."""
        url = self._url
        for _ in range(MOST_REDIRECTS + 1):
            async with self._session.get(url, headers=self._headers, allow_redirects=False) as answer:
                if answer.status not in _REDIRECTS:
                    return await self._read(answer)
                target = urljoin(url, answer.headers.get("Location", ""))
            if _origin(target) != _origin(self._url):
                raise UnavailableError(f"the server redirects to another one, which is not followed: {_plain_origin(target)}")
            url = target
        raise UnavailableError(f"more than {MOST_REDIRECTS} redirects")

    async def _read(self, answer: aiohttp.ClientResponse) -> Polled:
        if answer.status in _REFUSALS:
            raise RefusedError(f"the server answered HTTP {answer.status} when it was asked for an image")
        if answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            return Polled(b"", parse_headers(answer.headers))
        if answer.status != HTTPStatus.OK:
            raise UnavailableError(f"the server answered HTTP {answer.status} when it was asked for an image")
        data = bytearray()
        async for chunk in answer.content.iter_chunked(_READ_BYTES):
            data += chunk[: LARGEST_BYTES + 1 - len(data)]
            if len(data) > LARGEST_BYTES:
                answer.close()
                break
        return Polled(bytes(data), parse_headers(answer.headers))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _plain_origin(url: str) -> str:
    scheme, host, port = _origin(url)
    return f"{scheme}://{host}:{port}"


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
