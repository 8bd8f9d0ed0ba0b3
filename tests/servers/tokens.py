"""JSON Web Tokens as the backend gives them out (HS256, with `exp`), and the ways its answers tell how long they live."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from datetime import UTC, datetime
from typing import Any, Literal

ExpiryForm = Literal["int", "str", "iso", "none"]


class Tokens:
    """Gives out and checks tokens. The attributes may be changed at any time."""

    def __init__(self) -> None:
        self.access_lifetime_s: float = 3600.0
        self.refresh_lifetime_s: float = 7 * 86400.0
        self.expires_key = "expires_in"
        """'expires_in' or 'expire_in'."""
        self.expires_form: ExpiryForm = "int"
        """How the lifetime is said: a number, a numeric string, an ISO date, or not at all."""
        self.with_exp = True
        """Whether the token itself has an `exp` claim."""
        self.rotate_refresh = False
        """Whether a refresh also answers a new refresh token (and ends the old one)."""
        self._key = hashlib.sha256(b"fake signage backend").digest()
        self._numbers = itertools.count(1)
        self._ended: dict[str, float] = {}
        self._issued: dict[str, float] = {}

    def login(self) -> dict[str, Any]:
        """The answer to right credentials."""
        return {
            "access": self._new("access", self.access_lifetime_s),
            "refresh": self._new("refresh", self.refresh_lifetime_s),
            "role": "device",
            "refresh_expire": str(int(self.refresh_lifetime_s)),
            **self._expiry(),
        }

    def renewed(self, refresh: str) -> dict[str, Any]:
        """The answer to a valid refresh token."""
        answer = {"access": self._new("access", self.access_lifetime_s), **self._expiry()}
        if self.rotate_refresh:
            answer["refresh"] = self._new("refresh", self.refresh_lifetime_s)
            self._ended[refresh] = time.time()
        return answer

    def valid(self, token: str, kind: str = "access") -> bool:
        """Whether `token` is one of ours, of that kind and alive."""
        deadline = self._issued.get(token)
        return deadline is not None and token not in self._ended and time.time() < deadline and _kind(token) == kind

    def expire_access(self) -> None:
        """Every access token given out so far is over; refresh tokens live on."""
        self._end("access")

    def expire_all(self) -> None:
        """Every token given out so far is over."""
        self._end("access")
        self._end("refresh")

    def _end(self, kind: str) -> None:
        self._ended.update({token: time.time() for token in self._issued if _kind(token) == kind})

    def _expiry(self) -> dict[str, Any]:
        seconds = int(self.access_lifetime_s)
        if self.expires_form == "none":
            return {}
        if self.expires_form == "iso":
            return {self.expires_key: datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()}
        return {self.expires_key: seconds if self.expires_form == "int" else str(seconds)}

    def _new(self, kind: str, lifetime_s: float) -> str:
        now = time.time()
        claims: dict[str, Any] = {"token_type": kind, "iat": int(now), "jti": f"{next(self._numbers):032x}", "user_id": 7}
        if self.with_exp:
            claims["exp"] = int(now + lifetime_s)
        head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        body = _encode(json.dumps(claims).encode())
        signature = _encode(hmac.digest(self._key, f"{head}.{body}".encode(), "sha256"))
        token = f"{head}.{body}.{signature}"
        self._issued[token] = now + lifetime_s
        return token


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _kind(token: str) -> str:
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return str(claims["token_type"])
