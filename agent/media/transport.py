"""HTTP for the store. The only module here that loads aiohttp; it is imported with the first download."""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import re
from collections.abc import AsyncIterator, Mapping

import aiohttp
from yarl import URL

from agent import __version__
from agent.media.wants import FetchError, Timers, Want, plain_host, plain_url

log = logging.getLogger(__name__)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_READ_BYTES = 256 * 1024
_AS_IT_IS = re.compile(r"(?:[!$&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]|%[0-9A-Fa-f]{2})+")


class Transport:
    """A session without cookies, proxies from the environment or .netrc."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_READ_BYTES,
            timeout=aiohttp.ClientTimeout(total=None, sock_read=timers.stall_s),
            headers={"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"signage-agent/{__version__}"},
        )

    @contextlib.asynccontextmanager
    async def get(self, want: Want, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a GET for `want`, whatever its status, its body not yet read. `headers` go to every server asked.

        Raises FetchError, also for what goes wrong while the body is read.
        """
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(self._timers.response_s):
                response = await self._open(want, headers)
            yield response
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError and SSLError are OSErrors
            reason = _reason(error, self._timers, body=response is not None)
            raise FetchError("network", f"network: {reason} ({want.where})") from error
        finally:
            if response is not None:
                response.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def _open(self, want: Want, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        url = _address(want.url, want.where)
        trusted = _origin(_address(want.trusted_origin, plain_url(want.trusted_origin))) if want.trusted_origin else None
        refused: Mapping[str, str] | None = None
        at_home = want.headers is not None  # the way so far did not leave the trusted origin
        for _ in range(_MAX_REDIRECTS + 2):
            at_home = at_home and _origin(url) == trusted
            own = await _authorization(want, refused) if at_home else {}
            if any(name.lower() == "authorization" for name in own):
                url = url.with_user(None)
            dialled, host = _dialled(url, want.connect_to)
            response = await self._session.get(
                dialled,
                headers={**own, **headers, **host},
                allow_redirects=False,
                ssl=want.tls if want.tls is not None else True,
                server_hostname=url.host if host and url.scheme == "https" else None,
            )
            if response.status == http.HTTPStatus.UNAUTHORIZED and at_home and refused is None:
                refused = own
            elif response.status in _REDIRECTS and (place := response.headers.get("Location")):
                url = _redirected(url, place)
            else:
                return response
            response.close()
        raise FetchError("http", f"HTTP: more than {_MAX_REDIRECTS} redirects ({want.where})", temporary=False)


async def _authorization(want: Want, refused: Mapping[str, str] | None) -> Mapping[str, str]:
    if want.headers is None:
        return {}
    try:
        return await want.headers(refused)
    except (FetchError, TimeoutError):
        raise
    except Exception as error:
        log.debug("authorization for a download failed name=%r error=%s", want.name, type(error).__name__)
        raise FetchError("network", f"network: no authorization for the download ({type(error).__name__})") from error


def _address(text: str, where: str) -> URL:
    try:
        url = URL(text, encoded=_AS_IT_IS.fullmatch(text) is not None).with_fragment(None)
        if url.scheme in ("http", "https") and url.host and url.port:
            return url
    except ValueError:  # yarl's word for whatever it cannot read
        pass
    raise FetchError("address", f"address is not one of http or https: {where}", temporary=False)


def _dialled(url: URL, connect_to: str) -> tuple[URL, dict[str, str]]:
    """What to connect to, and the Host header that goes with it; the certificate must be that of `url` all the same."""
    if not connect_to:
        return url, {}
    other = URL(f"{url.scheme}://{connect_to}")
    host = url.authority.rpartition("@")[2] if not url.is_default_port() else (url.raw_host or "")
    return url.with_host(other.host or "").with_port(other.port), {"Host": host}


def _redirected(url: URL, place: str) -> URL:
    try:
        target = str(url.join(URL(place, encoded=_AS_IT_IS.fullmatch(place) is not None)))
        return _address(target, plain_host(target))
    except ValueError:
        raise FetchError("address", f"address that {plain_host(str(url))} redirects to cannot be read", temporary=False) from None


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, url.host, url.port


def _reason(error: BaseException, timers: Timers, *, body: bool) -> str:
    if isinstance(error, TimeoutError):
        return f"no data for {timers.stall_s:g} s" if body else f"no answer within {timers.response_s:g} s"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        return f"certificate is not accepted: {getattr(inner, 'verify_message', '') or type(inner).__name__}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "host name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionResetError)):
        return "connection lost" if body else "connection closed without an answer"
    return f"{type(error).__name__}"
