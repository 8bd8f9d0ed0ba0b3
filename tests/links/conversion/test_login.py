"""Logins, and what is remembered of one that was refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent.links.conversion.login import Login, RestTimers
from agent.links.conversion.rest import ConversionRest
from agent.links.link import RefusedError
from agent.system.state import State, StateError

WRONG = "wrong"


@dataclass
class Server:
    """Takes one password, and counts."""

    password: str = "right"
    logins: int = 0
    url: str = ""
    tried: list[str] = field(default_factory=list)

    async def login(self, request: web.Request) -> web.Response:
        said = await request.json()
        self.logins += 1
        self.tried.append(said["password"])
        if said["password"] != self.password:
            return web.json_response({"detail": "no"}, status=400)
        return web.json_response({"token": "t0k3n"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    known, app = Server(), web.Application()
    app.router.add_post("/api/auth/login/", known.login)
    async with TestServer(app) as running:
        known.url = f"http://127.0.0.1:{running.port}"
        yield known


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


@contextlib.asynccontextmanager
async def run(server: Server, state: State, *, password: str = WRONG, **timers: float) -> AsyncIterator[Login]:
    """One run of the agent."""
    options: dict[str, Any] = {"username": "lobby", "password": password, "state": state, "link": "films"}
    rest = ConversionRest(server.url, timers=RestTimers(**timers), **options)
    await rest.open()
    yield rest._login
    await rest.close()


async def test_a_refusal_outlives_the_agent(server: Server, state: State) -> None:
    """The same credentials are not tried again before it is over; the reason is still known."""
    for _ in range(3):
        async with run(server, state) as login:
            with pytest.raises(RefusedError, match="login refused: no; check username and password"):
                await login.key()
    assert server.logins == 1
    async with run(server, state, password="right") as login:
        assert await login.key() == "t0k3n"
    assert server.tried == ["wrong", "right"]


async def test_it_doubles_across_restarts(server: Server, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """5, 10, 20 minutes, by whatever clock there is."""
    now, waits = 1e9, []
    monkeypatch.setattr("agent.links.conversion.login.time.time", lambda: now)
    for number in range(1, 6):
        async with run(server, state) as login:
            with pytest.raises(RefusedError):
                await login.key()
        assert server.logins == number
        waits.append((await state.get("conversion.films.refusal"))["until"] - now)
        now += waits[-1]
    assert waits == [300, 600, 1200, 2400, 3600]


async def test_the_clock_was_set_back(server: Server, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lasts no longer than it would have."""
    async with run(server, state, refused_s=0.001) as login:
        with pytest.raises(RefusedError):
            await login.key()
        monkeypatch.setattr("agent.links.conversion.login.time.time", lambda: 0.0)
    async with run(server, state, refused_s=0.001) as login:
        assert login._refused_until <= asyncio.get_running_loop().time() + 0.001


async def test_a_token_that_works_ends_it(server: Server, state: State) -> None:
    """The next refusal is a first one."""
    async with run(server, state) as login:
        with pytest.raises(RefusedError):
            await login.key()
        await login.works()
    assert await state.get("conversion.films.refusal") is None
    async with run(server, state) as login:
        with pytest.raises(RefusedError):
            await login.key()
    assert server.logins == 2


@pytest.mark.parametrize(
    "kept", [7, {}, {"for": 1}, {"times": "x", "until": [], "words": None}, {"times": 0, "until": 1e18, "words": ""}]
)
async def test_a_refusal_that_cannot_be_understood(server: Server, state: State, kept: Any) -> None:
    """It is as if there were none."""
    async with run(server, state) as login:
        mark = login._mark
    await state.put("conversion.films.refusal", {"for": mark, **kept} if isinstance(kept, dict) and kept else kept)
    async with run(server, state) as login:
        with pytest.raises(RefusedError):
            await login.key()
    assert server.logins == 1


async def test_a_disk_that_takes_nothing(
    server: Server, state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The login is refused all the same, and the log says that it is not remembered."""

    async def refuse(*_: object, **__: object) -> None:
        raise StateError("disk full")

    async with run(server, state) as login:
        monkeypatch.setattr(State, "write", refuse)
        for _ in range(2):
            with pytest.raises(RefusedError):
                await login.key()
    assert server.logins == 1
    assert "refusal of the login not kept" in caplog.text


async def test_the_password_is_not_on_the_disk(server: Server, state: State) -> None:
    """Nor in what is kept of its refusal."""
    async with run(server, state, password="correct horse battery") as login:
        with pytest.raises(RefusedError):
            await login.key()
    kept = cast("Mapping[str, Any]", await state.get("conversion.films.refusal"))
    assert "horse" not in str(kept)
    assert len(kept["for"]) == 64
