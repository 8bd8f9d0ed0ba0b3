"""The signage server's REST interface: tokens, registration, playlists, screenshots (signage contract, sections 1 and 2)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib
import json
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from agent.links.backoff import Backoff
from agent.links.link import RefusedError, UnavailableError
from agent.links.signage.messages import to_number
from agent.system import clock
from agent.system.logs import hide
from agent.system.state import State, StateError

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

UNAUTHORIZED = 401
NOT_FOUND = 404
_SUCCESS = range(200, 300)
"""A redirect is none: it is not followed, since it may lead to another host."""
_DEFAULT_LIFETIME_S = 3600.0
_LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
_LARGE_ANSWER_BYTES = 1024 * 1024
"""From here on reading it takes so long that the loop must not wait for it."""
_LONGEST_TOKEN = 16_384


class UnknownDeviceError(UnavailableError):
    """The server does not know this device: register, then ask again."""


class _UnauthorizedError(Exception):
    """The access token was not taken."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gives. `expires_at` is the wall clock's, `lifetime_s` counts from when the server gave it."""

    access: str
    refresh: str = ""
    expires_at: float = 0.0
    lifetime_s: float = _DEFAULT_LIFETIME_S


@dataclass(frozen=True, slots=True)
class RestTimers:
    """Seconds."""

    request_s: float = 30.0
    renew_before_s: float = 300.0
    renew_every_s: float = 30.0
    """At most so often is a token renewed because it is old, whatever the server says of its lifetime."""
    refused_s: float = 25.0
    """After refused credentials the server is not asked again."""


class SignageRest:
    """One server's REST interface, logged in as needed. Concurrent calls share one renewal of the token."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        state: State,
        link: str,
        *,
        tls: ssl.SSLContext | None = None,
        timers: RestTimers = RestTimers(),
    ) -> None:
        parts = urlsplit(url)
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        self.origin = f"{scheme}://{parts.netloc}"
        self.host = (parts.hostname or "", parts.port or (443 if scheme == "https" else 80))
        """Name and port of the server."""
        self.root = f"{self.origin}{parts.path.rstrip('/')}/api/v1"
        self._socket_root = f"{self.origin.replace('http', 'ws', 1)}{parts.path.rstrip('/')}"
        self._username = username
        self._password = password
        self._state = state
        self._link = link
        self._tls = tls
        self._timers = timers
        self._tokens: Tokens | None = None
        self._received_at = 0.0
        self._renewing = asyncio.Lock()
        self._login_refusal = ""
        self._login_refused_at = 0.0
        self._session: aiohttp.ClientSession | None = None
        hide(password, pinned=True)

    async def open(self) -> None:
        """Takes up the tokens of an earlier run."""

        def read(database: Any) -> str | None:
            row = database.execute("SELECT value FROM tokens WHERE link = ?", (self._link,)).fetchone()
            return row[0] if row else None

        try:
            stored = await self._state.read(read)
            if stored is None:
                return
            tokens = Tokens(**json.loads(stored))
            if not _is_token(tokens.access + tokens.refresh):
                raise ValueError("no tokens")
            self._take(tokens)
        except (StateError, TypeError, ValueError, RecursionError):
            log.warning("stored tokens are not readable; logging in anew link=%s", self._link)
            return
        assert self._tokens is not None
        if clock.is_set():
            left_s = self._tokens.expires_at - time.time()
            self._received_at -= max(0.0, self._tokens.lifetime_s - left_s)

    async def close(self) -> None:
        """Closes its connections."""
        if self._session is not None:
            await self._session.close()

    def socket_url(self, serial: str, access: str) -> str:
        """Where the WebSocket is."""
        return f"{self._socket_root}/ws/cloud/tb_device/?token={quote(access, safe='')}&sn_number={quote(serial, safe='')}"

    # Tokens

    async def access(self) -> str:
        """A token that is good for now. Raises RefusedError or UnavailableError."""
        if self._tokens is None:
            await self.renew(None)
        elif self.renew_in_s() <= 0:
            try:
                await self.renew(self._tokens.access)
            except UnavailableError as error:
                log.debug("token not renewed yet, the old one is used link=%s error=%s", self._link, error)
        assert self._tokens is not None
        return self._tokens.access

    def renew_in_s(self) -> float:
        """Seconds until the token should be renewed; before the middle of its life it is never due."""
        if self._tokens is None:
            return 0.0
        lifetime_s = self._tokens.lifetime_s
        age_s = max(lifetime_s - self._timers.renew_before_s, lifetime_s / 2, self._timers.renew_every_s)
        return self._received_at + age_s - _monotonic()

    async def renew(self, refused: str | None) -> None:
        """Gets a new access token, by the refresh token or by logging in, unless somebody else replaced `refused` already.

        Raises RefusedError or UnavailableError; the tokens are kept through trouble of network and server.
        """
        async with self._renewing:
            if self._tokens is not None and self._tokens.access != refused:
                return  # somebody else was faster
            if self._tokens is not None and self._tokens.refresh:
                status, body = await self._send("POST", "/auth/token/refresh/", json_body={"refresh": self._tokens.refresh})
                if status == UNAUTHORIZED:
                    log.info("refresh token no longer valid; logging in link=%s", self._link)
                elif access := _token(body, "access"):
                    refresh = _token(body, "refresh") or self._tokens.refresh
                    await self._store(Tokens(access, refresh, *_lifetime(body, access)))
                    return
                else:
                    raise _trouble(status, body, "token refresh")
            await self._log_in()

    async def keep_fresh(self) -> None:
        """Renews the token before it expires, for ever."""
        backoff = Backoff(self._timers.request_s)
        while True:
            await asyncio.sleep(max(1.0, self.renew_in_s()))
            if self._tokens is None or self.renew_in_s() > 0:
                continue
            try:
                await self.renew(self._tokens.access)
                backoff.lived(float("inf"))
            except (RefusedError, UnavailableError) as error:
                log.debug("token not renewed link=%s error=%s", self._link, error)
                await asyncio.sleep(backoff.wait_s(refused=isinstance(error, RefusedError)))
            except Exception:
                log.exception("token not renewed link=%s", self._link)
                await asyncio.sleep(backoff.wait_s(refused=True))

    async def _log_in(self) -> None:
        if self._login_refusal and _monotonic() < self._login_refused_at + self._timers.refused_s:
            raise RefusedError(self._login_refusal)
        credentials = {"username": self._username, "password": self._password}
        status, body = await self._send("POST", "/auth/token/", json_body=credentials)
        access = _token(body, "access")
        if status in (400, 401, 403):
            self._tokens = None
            self._login_refused_at = _monotonic()
            self._login_refusal = f"login refused: {_message(body) or f'HTTP {status}'}; check username and password"
            raise RefusedError(self._login_refusal)
        if status >= 400 or not access:
            raise _trouble(status, body, "login")
        log.info("logged in link=%s", self._link)
        await self._store(Tokens(access, _token(body, "refresh"), *_lifetime(body, access)))

    def _take(self, tokens: Tokens) -> None:
        hide(tokens.access)
        if tokens.refresh:
            hide(tokens.refresh)
        self._tokens = tokens
        self._received_at = _monotonic()

    async def _store(self, tokens: Tokens) -> None:
        self._take(tokens)
        text = json.dumps({name: getattr(tokens, name) for name in Tokens.__slots__})
        try:
            await self._state.write(
                lambda database: database.execute("INSERT OR REPLACE INTO tokens (link, value) VALUES (?, ?)", (self._link, text))
            )
        except StateError as error:
            log.warning("tokens not kept for the next start link=%s error=%s", self._link, error)

    # Calls

    async def register(self, device: Mapping[str, Any]) -> None:
        """Makes the device known. Raises RefusedError or UnavailableError."""
        status, body = await self._authorized("POST", "/admin/cloud/device/register/", json_body=dict(device))
        if status not in _SUCCESS:
            raise _trouble(status, body, "registration")

    async def playlists(self, serial: str) -> Any:
        """The device's screens, as the server sends them. Raises UnknownDeviceError, RefusedError or UnavailableError."""
        status, body = await self._authorized("GET", f"/admin/cloud/playlists?sn_number={quote(serial, safe='')}")
        if status == NOT_FOUND:
            raise UnknownDeviceError(f"the server does not know the device: {_message(body) or 'HTTP 404'}")
        if status not in _SUCCESS or body is None:
            raise _trouble(status, body, "playlists")
        return body

    async def send_screenshot(self, serial: str, media_id: int | str | None, picture: bytes, form: str) -> None:
        """Uploads a JPEG in the form `device` or `cloud`. Raises RefusedError or UnavailableError."""
        import aiohttp  # noqa: PLC0415 - costs the start of the daemon 0.1 s

        fields = aiohttp.FormData()
        if form == "cloud":
            path, picture_field = "/admin/cloud/screenshots/", "screenshot"
            fields.add_field("sn_number", serial)
            fields.add_field("timestamp", str(int(time.time() * 1000)))
        else:
            path, picture_field = "/screenshot", "image_file"
            fields.add_field("device_id", serial)
        fields.add_field("media_id", "" if media_id is None else str(media_id))
        fields.add_field(picture_field, picture, filename="screen.jpg", content_type="image/jpeg")
        access = await self.access()
        status, body = await self._send("POST", path, form=fields, access=access)
        if status == UNAUTHORIZED:
            await self.renew(access)
        if status not in _SUCCESS:
            raise _trouble(status, body, "screenshot")

    async def media_headers(self, refused: Mapping[str, str] | None) -> dict[str, str]:
        """For media on the server's own origin, with another token than in `refused`; nothing while there is none to be had."""
        try:
            if refused:
                await self.renew(refused["Authorization"].removeprefix("Bearer "))
            return {"Authorization": f"Bearer {await self.access()}"}
        except (RefusedError, UnavailableError):
            return {}

    async def _authorized(self, method: str, path: str, *, json_body: Any = None) -> tuple[int, Any]:
        access = await self.access()
        status, body = await self._send(method, path, json_body=json_body, access=access)
        if status == UNAUTHORIZED:
            await self.renew(access)
            access = await self.access()
            status, body = await self._send(method, path, json_body=json_body, access=access)
            if status == UNAUTHORIZED:
                raise RefusedError(f"the server refuses a new token: {_message(body) or 'HTTP 401'}")
        return status, body

    async def _send(
        self, method: str, path: str, *, json_body: Any = None, form: Any = None, access: str = ""
    ) -> tuple[int, Any]:
        """One request; status and JSON body (None if it is none). Raises UnavailableError."""
        await asyncio.to_thread(importlib.import_module, "aiohttp")  # takes 0.1 s and more: not in the loop
        import aiohttp  # noqa: PLC0415 - see above

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=4),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        headers = {"Authorization": f"Bearer {access}"} if access else {}
        try:
            async with asyncio.timeout(self._timers.request_s):
                async with self._session.request(
                    method, self.root + path, json=json_body, data=form, headers=headers, allow_redirects=False
                ) as answer:
                    raw = await _bounded(answer)
        except TimeoutError:
            raise UnavailableError(f"no answer within {self._timers.request_s:g} s: {method} {_plain(path)}") from None
        except aiohttp.ClientError as error:
            raise UnavailableError(f"{str(error) or type(error).__name__}: {method} {_plain(path)}") from error
        try:
            if len(raw) >= _LARGE_ANSWER_BYTES:
                return answer.status, await asyncio.to_thread(json.loads, raw)
            return answer.status, json.loads(raw)
        except (ValueError, RecursionError):
            return answer.status, None


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > _LARGEST_ANSWER_BYTES:
            raise UnavailableError(f"answer larger than {_LARGEST_ANSWER_BYTES} bytes")
    return bytes(raw)


def _trouble(status: int, body: Any, what: str) -> Exception:
    text = f"{what} failed: HTTP {status}" + (f" {message}" if (message := _message(body)) else "")
    if status < 400:
        text = f"{what} failed: the answer (HTTP {status}) is not what the interface promises"
    return RefusedError(text) if status in (401, 403) else UnavailableError(text)


def _message(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    return str(body.get("message") or body.get("detail") or "")[:200]


def _token(body: Any, key: str) -> str:
    """A token, or an empty string if there is none that a header could hold."""
    value = _value(body, key)
    return value if isinstance(value, str) and _is_token(value) else ""


def _is_token(value: str) -> bool:
    return value.isascii() and value.isprintable() and len(value) <= _LONGEST_TOKEN


def _value(body: Any, key: str) -> Any:
    """What an answer says, at the top or inside `data`."""
    if isinstance(body, dict) and isinstance(body.get("data"), dict) and key not in body:
        body = body["data"]
    return body.get(key) if isinstance(body, dict) else None


def _lifetime(body: Any, access: str) -> tuple[float, float]:
    """When the token expires by the wall clock, and its lifetime in seconds."""
    now = time.time()
    lifetime_s = _DEFAULT_LIFETIME_S
    for value in (_value(body, "expires_in"), _value(body, "expire_in"), _jwt_lifetime(access)):
        if (seconds := _seconds(value, now)) is not None and seconds > 0:
            lifetime_s = seconds
            break
    return now + lifetime_s, lifetime_s


def _seconds(value: Any, now: float) -> float | None:
    """A lifetime given in seconds, as a number or a string, or as an ISO date."""
    if value is None:
        return None
    try:
        return to_number(value)
    except ValueError:
        if not isinstance(value, str):
            return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now if clock.is_set(now) else None


def _jwt_lifetime(access: str) -> float | None:
    """Lifetime in seconds by the token's own claims: from `iat`, or from now where it has none."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(access.split(".")[1] + "=="))
        expires = to_number(claims["exp"])
        issued = to_number(claims["iat"]) if "iat" in claims else time.time()
    except (IndexError, KeyError, TypeError, ValueError, RecursionError, binascii.Error):
        return None
    return expires - issued


def _plain(path: str) -> str:
    return path.split("?", maxsplit=1)[0]


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
