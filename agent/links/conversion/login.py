"""The link's token: configured, kept from an earlier login, or from a new one (conversion contract, section 1)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never

from agent.links.conversion import messages
from agent.links.conversion.messages import LoginAnswer
from agent.links.conversion.replies import body_of, trouble_of, words_of
from agent.links.link import RefusedError, UnavailableError
from agent.system.logs import hide
from agent.system.state import State, StateError

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

Post = Callable[[Mapping[str, str]], contextlib.AbstractAsyncContextManager["aiohttp.ClientResponse"]]
"""Sends credentials to the server. Raises UnavailableError."""
_SUCCESS = range(200, 300)
_ROUNDS = 100_000


@dataclass(frozen=True, slots=True)
class RestTimers:
    """Seconds. Real servers lock out an address after 5 refused logins within 15 min, an account after 10 within 30 min."""

    request_s: float = 30.0
    refused_s: float = 300.0
    """After a refused login no other is tried, also not after a restart; doubles with each up to `refused_most_s`."""
    refused_most_s: float = 3600.0


class Login:
    """Gives the token and renews it. Never logs out: that would revoke the user's only token."""

    def __init__(
        self,
        root: str,
        post: Post,
        *,
        token: str,
        username: str,
        password: str,
        state: State,
        link: str,
        timers: RestTimers,
    ) -> None:
        self.token = token
        """The one in use; empty on a server that asks for none."""
        self.possible = bool(username)
        """There are credentials to log in with."""
        self._root = root
        self._post = post
        self._configured = token
        self._username = username
        self._password = password
        self._state = state
        self._link = link
        self._timers = timers
        self._lock = asyncio.Lock()
        self._refusal = ""
        self._refusals = 0
        self._refused_until = 0.0
        self._mark = ""
        """Changes when the login is another one."""
        for secret in (token, password):
            if secret:
                hide(secret, pinned=True)

    async def open(self, *, at_once: bool = False) -> None:
        """Takes up the token of an earlier login with the same name, and a refusal of the same credentials.

        `at_once`: somebody has seen to it, so that one more try makes sense now.
        """
        if not self.possible:
            return
        password, salt = self._password.encode(errors="surrogatepass"), self._name_mark().encode()
        self._mark = (await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", password, salt, _ROUNDS)).hex()
        self._recall(await self._state.get(self._key))
        if at_once:
            self._refused_until = 0.0
        if self._configured:
            return

        def read(database: sqlite3.Connection) -> str:
            row = database.execute("SELECT value FROM tokens WHERE link = ?", (self._link,)).fetchone()
            return row[0] if row else "{}"

        try:
            kept = json.loads(await self._state.read(read))
            token = kept["token"] if kept.get("for") == self._name_mark() else ""
        except (StateError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
            log.warning("stored token is not readable; logging in anew link=%s", self._link)
            return
        if isinstance(token, str) and messages.is_plain_token(token):
            hide(token)
            self.token = token

    async def key(self) -> str:
        """The token to use; empty on a server that asks for none. Raises RefusedError or UnavailableError."""
        if not self.token and self.possible:
            await self.renew("")
        return self.token

    async def renew(self, refused: str) -> None:
        """Logs in, unless somebody else did meanwhile. Raises RefusedError or UnavailableError."""
        async with self._lock:
            if self.token != refused:
                return
            if not self.possible:
                raise RefusedError("the server refuses the token; check token")
            if self._refusal and _now() < self._refused_until:
                raise RefusedError(self._refusal)
            async with self._post({"email_or_username": self._username, "password": self._password}) as answer:
                if answer.status == 429:
                    await self.refuse(f"login refused: too many logins; waits before the next ({await words_of(answer)})")
                if answer.status in (400, 401, 403):
                    words = await words_of(answer) or f"HTTP {answer.status}"
                    await self.refuse(f"login refused: {words}; check username and password")
                if answer.status not in _SUCCESS:
                    raise await trouble_of(answer, "login")
                said = LoginAnswer.model_validate(await body_of(answer))
            if said.requires_2fa:
                words = "the account wants a second factor, which a box does not have; configure a token"
                await self.refuse(f"login refused: {words}")
            if not messages.is_plain_token(said.token):
                raise UnavailableError("login: the answer holds no token")
            log.info("logged in link=%s", self._link)
            await self._take(said.token)

    async def refuse(self, sentence: str) -> Never:
        """No login for a while: accounts lock. Raises RefusedError."""
        self._refusals += 1
        self._refusal, self._refused_until = sentence, _now() + self._wait_s()
        await self._keep({"for": self._mark, "until": time.time() + self._wait_s(), "times": self._refusals, "words": sentence})
        raise RefusedError(sentence)

    async def works(self) -> None:
        """The server has taken the token: what it refused before is over."""
        if self._refusals:
            self._refusal, self._refusals = "", 0
            await self._keep(None)

    def _wait_s(self) -> float:
        return min(self._timers.refused_most_s, self._timers.refused_s * 2.0 ** min(self._refusals - 1, 10))

    def _recall(self, kept: Any) -> None:
        """Takes up a refusal of an earlier run. The clock may have been set meanwhile: it is never longer than it was."""
        if not isinstance(kept, dict) or kept.get("for") != self._mark:
            return
        times, until, words = kept.get("times"), messages.to_number(kept.get("until")), kept.get("words")
        if isinstance(times, int) and times > 0 and until is not None and isinstance(words, str):
            self._refusals, self._refusal = times, words
            self._refused_until = _now() + min(max(0.0, until - time.time()), self._wait_s())

    async def _take(self, token: str) -> None:
        hide(token)
        self.token, self._refusal = token, ""
        text = json.dumps({"token": token, "for": self._name_mark()})
        try:
            await self._state.write(
                lambda database: database.execute("INSERT OR REPLACE INTO tokens (link, value) VALUES (?, ?)", (self._link, text))
            )
        except StateError as error:
            log.warning("token not kept for the next start link=%s error=%s", self._link, error)

    async def _keep(self, refusal: Mapping[str, Any] | None) -> None:
        try:
            await self._state.put(self._key, refusal)
        except StateError as error:
            log.warning("refusal of the login not kept for the next start link=%s error=%s", self._link, error)

    def _name_mark(self) -> str:
        return hashlib.sha256(f"{self._root}\0{self._username}".encode()).hexdigest()

    @property
    def _key(self) -> str:
        return f"conversion.{self._link}.refusal"


def _now() -> float:
    return asyncio.get_running_loop().time()
