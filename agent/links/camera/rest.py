"""Registration of the device at the camera server (camera contract, section 1)."""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.links.link import RefusedError, UnavailableError
from agent.system.logs import hide

if TYPE_CHECKING:
    import aiohttp

REGISTER_PATH = "/api/devices/register"
SOCKET_PATH = "/ws/device"
EXISTS = 409
_SUCCESS = range(200, 300)
_LARGEST_ANSWER_BYTES = 256 * 1024


class CameraRest:
    """The server's addresses, and the one call there is."""

    def __init__(self, url: str, token: str = "", *, tls: ssl.SSLContext | None = None, request_s: float = 10.0) -> None:
        parts = urlsplit(url)
        secure = parts.scheme in ("https", "wss")
        self.origin = f"{'https' if secure else 'http'}://{parts.netloc}"
        path = parts.path if parts.path.strip("/") else SOCKET_PATH
        self.socket_url = f"{'wss' if secure else 'ws'}://{parts.netloc}{path}" + (f"?{parts.query}" if parts.query else "")
        """Where the WebSocket is: the configured address, or its usual place if that has no path."""
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tls = tls
        self._request_s = request_s
        self._token = token

    async def register(self, device_id: str, device_name: str) -> None:
        """Makes the device known; one that is known already stays as it is. Raises RefusedError or UnavailableError."""
        await asyncio.to_thread(importlib.import_module, "aiohttp")  # takes 0.1 s and more: not in the loop
        import aiohttp  # noqa: PLC0415 - see above

        self.hide()
        body = {"device_id": device_id, "device_name": device_name, "device_type": "camera"}
        try:
            async with (
                asyncio.timeout(self._request_s),
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=1),
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                session.post(
                    self.origin + REGISTER_PATH, json=body, headers=self.headers, allow_redirects=False
                ) as answer,
            ):  # fmt: skip
                words = await _words(answer)
        except TimeoutError:
            raise UnavailableError(f"no answer within {self._request_s:g} s: POST {REGISTER_PATH}") from None
        except aiohttp.ClientError as error:
            raise UnavailableError(f"{str(error) or type(error).__name__}: POST {REGISTER_PATH}") from error
        if answer.status in _SUCCESS or answer.status == EXISTS:
            return
        text = f"registration failed: HTTP {answer.status}{words and ' '}{words}"
        raise RefusedError(f"{text}; check token") if answer.status in (401, 403) else UnavailableError(text)

    def hide(self) -> None:
        """Keeps the token out of the log from now on."""
        if self._token:
            hide(self._token)


async def _words(answer: aiohttp.ClientResponse) -> str:
    """What an answer says is wrong."""
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > _LARGEST_ANSWER_BYTES:
            return ""
    try:
        body: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    found = (body.get("message") or body.get("detail")) if isinstance(body, dict) else ""
    return found[:200] if isinstance(found, str) else ""
