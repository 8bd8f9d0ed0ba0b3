"""The conversion server's REST interface: login, jobs, where outputs are (conversion contract, sections 1 and 3)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from agent.links.conversion import messages
from agent.links.conversion.login import Login, RestTimers
from agent.links.conversion.messages import DownloadAnswer, Job, Page
from agent.links.conversion.replies import LARGEST_JOB_BYTES, LARGEST_PAGE_BYTES, body_of, is_missing, trouble_of, words_of
from agent.links.link import Address, RefusedError, UnavailableError
from agent.system.logs import hide
from agent.system.state import State

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

_SUCCESS = range(200, 300)
_FORBIDDEN = frozenset({401, 403})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_ADDRESS = 16_384
_LIST = "/api/jobs/"


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
        timers: RestTimers,
    ) -> None:
        parts = urlsplit(url)
        secure = parts.scheme in ("https", "wss")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = "" if parts.port in (None, 443 if secure else 80) else f":{parts.port}"
        self.origin = f"{'https' if secure else 'http'}://{host}{port}"
        """As a browser would write it."""
        self.root = self.origin + parts.path.rstrip("/")
        self._socket_root = self.root.replace("http", "ws", 1)
        self._cookie = cookie
        self._tls = tls
        self._timers = timers
        self._login = Login(
            self.root, self._post, token=token, username=username, password=password, state=state, link=link, timers=timers
        )  # fmt: skip
        self._session: aiohttp.ClientSession | None = None
        if cookie:
            hide(cookie, pinned=True)

    async def open(self, *, at_once: bool = False) -> None:
        """Takes up what an earlier run knew of its login; `at_once`: a refusal is over."""
        await self._login.open(at_once=at_once)

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
        async with self._authorized(f"{_LIST}?page={number}") as answer:
            if number > 1 and await is_missing(answer):
                return Page()  # the list has shrunk meanwhile
            if answer.status not in _SUCCESS:
                raise await trouble_of(answer, "list of jobs")
            body = await body_of(answer, LARGEST_PAGE_BYTES)
            if not isinstance(body, dict | list):
                raise UnavailableError("list of jobs: the answer is not what the interface promises")
            return await asyncio.to_thread(messages.page, body)

    async def job(self, job_id: str) -> Job:
        """One job. Raises NoSuchJobError, RefusedError or UnavailableError."""
        async with self._authorized(self._job_path(job_id)) as answer:
            if await is_missing(answer):
                raise NoSuchJobError
            if answer.status not in _SUCCESS:
                raise await trouble_of(answer, "job")
            body = await body_of(answer, LARGEST_JOB_BYTES)
            if not isinstance(body, dict):
                raise UnavailableError("job: the answer is not what the interface promises")
            return Job.model_validate(body)

    async def place(self, job_id: str) -> Place:
        """Where a job's output is. Raises NotCompletedError, NoOutputError, RefusedError or UnavailableError."""
        path = self._output_path(job_id)
        async with self._authorized(path) as answer:
            if answer.status == 400:
                raise NotCompletedError
            if await is_missing(answer):
                raise NoOutputError
            if answer.status in _REDIRECTS and (location := answer.headers.get("Location")):
                return self._signed(path, location)
            if answer.status not in _SUCCESS:
                raise await trouble_of(answer, "download")
            if answer.content_type == "text/html":
                raise UnavailableError("download: a web page came instead of the output")
            if not answer.content_type.endswith("json"):
                return self.direct_place(job_id)
            address = DownloadAnswer.model_validate(await body_of(answer)).download_url
            if not address:
                raise UnavailableError("download: the answer names no address")
            return self._signed(path, address)

    def direct_place(self, job_id: str) -> Place:
        """Where a server that gives outputs itself has this one."""
        return Place(self.root + self._output_path(job_id), signed=False)

    async def media_headers(self, refused: Mapping[str, str] | None) -> dict[str, str]:
        """For files on the server's own origin, with another token than in `refused`; nothing while there is none to be had."""
        with contextlib.suppress(RefusedError, UnavailableError):
            if refused:
                token = refused.get("Authorization", "").removeprefix("Token ")
                if not await self._is_taken(token):
                    await self._login.renew(token)
            token = await self._login.key()
            return {"Authorization": f"Token {token}"} if token else {}
        return {}

    # Inside

    @staticmethod
    def _job_path(job_id: str) -> str:
        return f"{_LIST}{quote(job_id, safe='')}/"

    def _output_path(self, job_id: str) -> str:
        return f"{self._job_path(job_id)}download/"

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
        token = await self._login.key()
        async with self._send("GET", path, token) as answer:
            if answer.status not in _FORBIDDEN:
                if answer.status in _SUCCESS:
                    await self._login.works()
                yield answer
                return
            words = await words_of(answer)
            said = f"(HTTP {answer.status}{words and ': '}{words})"
        listing = path.startswith(f"{_LIST}?")
        if not listing and await self._is_taken(token):
            raise RefusedError(f"the server lists the user's jobs, but refuses {path} {said}")
        if not self._login.possible:
            cause = "the server refuses the token; check token" if token else "the server wants a token, or username and password"
            raise RefusedError(f"{cause} {said}")
        await self._login.renew(token)
        async with self._send("GET", path, self._login.token) as answer:
            if answer.status in _FORBIDDEN:
                sentence = f"the server refuses a new token (HTTP {answer.status}: {await words_of(answer)})"
                if listing:
                    await self._login.refuse(sentence)
                raise RefusedError(sentence)
            if answer.status in _SUCCESS:
                await self._login.works()
            yield answer

    async def _is_taken(self, token: str) -> bool:
        """Whether the token is good: then a refusal means what was asked for, and another token would change nothing.

        Raises UnavailableError.
        """
        async with self._send("GET", f"{_LIST}?page=1", token) as answer:
            return answer.status in _SUCCESS

    def _post(self, credentials: Mapping[str, str]) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._send("POST", "/api/auth/login/", "", credentials)

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
