"""The conversion server's REST interface: login, jobs, where outputs are (conversion contract, sections 1 and 3)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import json
import logging
import sqlite3
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from agent.links.conversion import messages
from agent.links.conversion.messages import DownloadAnswer, Job, LoginAnswer, Page
from agent.links.link import Address, RefusedError, UnavailableError
from agent.system.logs import hide
from agent.system.state import State, StateError

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

_SUCCESS = range(200, 300)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
"""A job's answer holds its log."""
_LARGE_ANSWER_BYTES = 512 * 1024
"""From here on reading it takes so long that the loop must not wait for it."""
_LONGEST_ADDRESS = 16_384


class NoSuchJobError(Exception):
    """The server has no such job, or does not show it to us."""


class NotCompletedError(Exception):
    """The output is not there yet, whatever was said before."""


class NoOutputError(Exception):
    """The job's output is gone."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an output can be fetched: a signed address, which gets no credentials, or the file itself, which needs them."""

    url: str
    signed: bool


@dataclass(frozen=True, slots=True)
class RestTimers:
    """Seconds. Real servers lock out an address after 5 refused logins within 15 min, an account after 10 within 30 min."""

    request_s: float = 30.0
    refused_s: float = 300.0
    """After a refused login no other is tried; doubles with each up to `refused_most_s`."""
    refused_most_s: float = 3600.0


class ConversionRest:
    """One server's REST interface, logged in as needed. Never logs out: that would revoke the user's only token."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        username: str = "",
        password: str = "",
        cookie: str = "",
        state: State,
        link: str,
        tls: ssl.SSLContext | None = None,
        timers: RestTimers = RestTimers(),
    ) -> None:
        parts = urlsplit(url)
        secure = parts.scheme in ("https", "wss")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = "" if parts.port in (None, 443 if secure else 80) else f":{parts.port}"
        self.origin = f"{'https' if secure else 'http'}://{host}{port}"
        """As a browser would write it."""
        self.root = self.origin + parts.path.rstrip("/")
        self._socket_root = self.root.replace("http", "ws", 1)
        self._configured = token
        self._username = username
        self._password = password
        self._cookie = cookie
        self._state = state
        self._link = link
        self._tls = tls
        self._timers = timers
        self._token = token
        self._logging_in = asyncio.Lock()
        self._refusal = ""
        self._refusals = 0
        self._refused_until = 0.0
        self._session: aiohttp.ClientSession | None = None
        for secret in (token, password, cookie):
            if secret:
                hide(secret, pinned=True)

    async def open(self) -> None:
        """Takes up the token of an earlier login, if it was with the same credentials."""
        if self._configured or not self._username:
            return

        def read(database: sqlite3.Connection) -> str:
            row = database.execute("SELECT value FROM tokens WHERE link = ?", (self._link,)).fetchone()
            return row[0] if row else "{}"

        try:
            kept = json.loads(await self._state.read(read))
            token = kept["token"] if kept.get("for") == self._credentials_mark() else ""
        except (StateError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
            log.warning("stored token is not readable; logging in anew link=%s", self._link)
            return
        if isinstance(token, str) and messages.is_plain_token(token):
            hide(token)
            self._token = token

    async def close(self) -> None:
        """Closes its connections."""
        if self._session is not None:
            await self._session.close()

    # Sockets

    def job_socket(self, job_id: str) -> Address:
        """Where one job is followed; needs no credentials, so it gets none."""
        return Address(f"{self._socket_root}/ws/conversion/{quote(job_id, safe='')}/", {"Origin": self.origin})

    def jobs_socket(self) -> Address:
        """Where all jobs of the user are followed; needs the session cookie."""
        return Address(f"{self._socket_root}/ws/jobs/", {"Origin": self.origin, "Cookie": f"sessionid={self._cookie}"})

    # Calls

    async def page(self, number: int) -> Page:
        """One page of the user's jobs, newest first, from 1. Raises RefusedError or UnavailableError."""
        async with self._authorized(f"/api/jobs/?page={number}") as answer:
            if answer.status == 404 and number > 1:
                return Page()  # the list has shrunk meanwhile
            if answer.status not in _SUCCESS:
                raise await _trouble(answer, "list of jobs")
            body = await _json(answer)
            if not isinstance(body, dict | list):
                raise UnavailableError("list of jobs: the answer is not what the interface promises")
            return await asyncio.to_thread(messages.page, body)

    async def job(self, job_id: str) -> Job:
        """One job. Raises NoSuchJobError, RefusedError or UnavailableError."""
        async with self._authorized(self._job_path(job_id)) as answer:
            if answer.status in (404, 410):
                raise NoSuchJobError
            if answer.status not in _SUCCESS:
                raise await _trouble(answer, "job")
            body = await _json(answer)
            if not isinstance(body, dict):
                raise UnavailableError("job: the answer is not what the interface promises")
            return Job.model_validate(body)

    async def place(self, job_id: str) -> Place:
        """Where a job's output is. Raises NotCompletedError, NoOutputError, RefusedError or UnavailableError."""
        path = f"{self._job_path(job_id)}download/"
        async with self._authorized(path) as answer:
            if answer.status == 400:
                raise NotCompletedError
            if answer.status in (404, 410):
                raise NoOutputError
            if answer.status in _REDIRECTS and (location := answer.headers.get("Location")):
                return self._signed(path, location)
            if answer.status not in _SUCCESS:
                raise await _trouble(answer, "download")
            if answer.content_type == "text/html":
                raise UnavailableError("download: a web page came instead of the output")
            if not answer.content_type.endswith("json"):
                return Place(self.root + path, signed=False)
            body = await _json(answer)
            address = DownloadAnswer.model_validate(body).download_url
            if not address:
                raise UnavailableError("download: the answer names no address")
            return self._signed(path, address)

    async def media_headers(self, refused: Mapping[str, str] | None) -> dict[str, str]:
        """For files on the server's own origin, with another token than in `refused`; nothing while there is none to be had."""
        with contextlib.suppress(RefusedError, UnavailableError):
            if refused:
                await self._renew(refused.get("Authorization", "").removeprefix("Token "))
            token = await self._key()
            return {"Authorization": f"Token {token}"} if token else {}
        return {}

    # Inside

    @staticmethod
    def _job_path(job_id: str) -> str:
        return f"/api/jobs/{quote(job_id, safe='')}/"

    def _signed(self, path: str, address: str) -> Place:
        try:
            url = urljoin(self.root + path, address)
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and len(url) <= _LONGEST_ADDRESS
        except ValueError:
            usable = False
        if not usable:
            raise UnavailableError("download: the answer names an address that cannot be used")
        if parts.query:
            hide(parts.query)
        return Place(url, signed=True)

    @contextlib.asynccontextmanager
    async def _authorized(self, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a GET, with another token if the first is refused. Raises RefusedError or UnavailableError."""
        token = await self._key()
        async with self._send("GET", path, token) as answer:
            if answer.status not in (401, 403):
                yield answer
                return
            words = await _words(answer)
        if not self._username:
            cause = "the server refuses the token; check token" if token else "the server wants a token, or username and password"
            raise RefusedError(f"{cause} (HTTP {answer.status}{words and ': '}{words})")
        await self._renew(token)
        async with self._send("GET", path, self._token) as answer:
            if answer.status in (401, 403):
                self._refuse(f"the server refuses a new token (HTTP {answer.status}: {await _words(answer)})")
            yield answer

    async def _key(self) -> str:
        """The token to use; empty on a server that asks for none."""
        if not self._token and self._username:
            await self._renew("")
        return self._token

    async def _renew(self, refused: str) -> None:
        """Logs in, unless somebody else did meanwhile. Raises RefusedError or UnavailableError."""
        async with self._logging_in:
            if self._token != refused:
                return
            if not self._username:
                raise RefusedError("the server refuses the token; check token")
            if self._refusal and _monotonic() < self._refused_until:
                raise RefusedError(self._refusal)
            credentials = {"email_or_username": self._username, "password": self._password}
            async with self._send("POST", "/api/auth/login/", "", credentials) as answer:
                if answer.status == 429:
                    self._refuse(f"login refused: too many logins; waits before the next ({await _words(answer)})")
                if answer.status in (400, 401, 403):
                    words = await _words(answer) or f"HTTP {answer.status}"
                    self._refuse(f"login refused: {words}; check username and password")
                if answer.status not in _SUCCESS:
                    raise await _trouble(answer, "login")
                said = LoginAnswer.model_validate(await _json(answer))
            if said.requires_2fa:
                self._refuse("login refused: the account wants a second factor, which a box does not have; configure a token")
            if not messages.is_plain_token(said.token):
                raise UnavailableError("login: the answer holds no token")
            log.info("logged in link=%s", self._link)
            await self._take(said.token)

    def _refuse(self, sentence: str) -> None:
        """No login for a while: accounts lock. Raises RefusedError."""
        wait_s = min(self._timers.refused_most_s, self._timers.refused_s * 2.0 ** min(self._refusals, 10))
        self._refusals += 1
        self._refusal, self._refused_until = sentence, _monotonic() + wait_s
        raise RefusedError(sentence)

    async def _take(self, token: str) -> None:
        hide(token)
        if token != self._token:
            self._refusals = 0
        self._token, self._refusal = token, ""
        text = json.dumps({"token": token, "for": self._credentials_mark()})
        try:
            await self._state.write(
                lambda database: database.execute("INSERT OR REPLACE INTO tokens (link, value) VALUES (?, ?)", (self._link, text))
            )
        except StateError as error:
            log.warning("token not kept for the next start link=%s error=%s", self._link, error)

    def _credentials_mark(self) -> str:
        """Changes when the login is another one."""
        return hashlib.sha256(f"{self.root}\0{self._username}".encode()).hexdigest()

    @contextlib.asynccontextmanager
    async def _send(
        self, method: str, path: str, token: str, body: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, its body not yet read; what is not read is dropped with the connection. Raises UnavailableError."""
        await asyncio.to_thread(importlib.import_module, "aiohttp")  # takes 0.1 s and more: not in the loop
        import aiohttp  # noqa: PLC0415 - see above

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=8),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": "application/json, */*"},
            )
        what = f"{method} {path.partition('?')[0]}"
        headers = {"Authorization": f"Token {token}"} if token else {}
        answer: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(self._timers.request_s):
                answer = await self._session.request(
                    method, self.root + path, json=body, headers=headers, allow_redirects=False
                )  # fmt: skip
                yield answer
        except TimeoutError:
            raise UnavailableError(f"no answer within {self._timers.request_s:g} s: {what}") from None
        except aiohttp.ClientError as error:
            raise UnavailableError(f"{str(error) or type(error).__name__}: {what}") from error
        finally:
            if answer is not None:
                answer.close()


async def _json(answer: aiohttp.ClientResponse) -> Any:
    """The body, None if it is no JSON. Raises UnavailableError if there is no end of it."""
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > _LARGEST_ANSWER_BYTES:
            raise UnavailableError(f"answer larger than {_LARGEST_ANSWER_BYTES} bytes")
    try:
        if len(raw) >= _LARGE_ANSWER_BYTES:
            return await asyncio.to_thread(json.loads, raw)
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


async def _trouble(answer: aiohttp.ClientResponse, what: str) -> UnavailableError:
    words = await _words(answer)
    return UnavailableError(f"{what}: HTTP {answer.status}{words and ' '}{words}")


async def _words(answer: aiohttp.ClientResponse) -> str:
    """What an answer says is wrong: `detail`, `message`, or the first of a form's faults."""
    try:
        body = await _json(answer)
    except UnavailableError:
        return ""
    if not isinstance(body, dict):
        return ""
    found = body.get("detail") or body.get("message") or next(iter(body.values()), "")
    return messages.clean(found[0] if isinstance(found, list) and found else found, 200)


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
