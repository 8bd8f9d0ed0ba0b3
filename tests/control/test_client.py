"""The command line's side of the control socket, against the real server."""

from __future__ import annotations

import asyncio
import io
import socket
from pathlib import Path

import pytest

from agent.control.client import ControlClient, NoAgentError, RefusedError
from tests.control.conftest import PICTURE, StandIn


async def test_status_and_screenshot(socket_path: Path, stand_in: StandIn) -> None:
    """One request each."""
    client = ControlClient(socket_path)
    assert await asyncio.to_thread(client.status) == stand_in.document
    assert await asyncio.to_thread(client.screenshot, "front") == (PICTURE, "image/jpeg")
    with pytest.raises(RefusedError, match="no screen is called 'left'"):
        await asyncio.to_thread(client.screenshot, "left")


async def test_watch(socket_path: Path, stand_in: StandIn) -> None:
    """Every change is one document."""
    documents = ControlClient(socket_path).watch()
    assert await asyncio.to_thread(next, documents) == stand_in.document
    stand_in.change(warnings=[])
    assert (await asyncio.to_thread(next, documents))["warnings"] == []
    documents.close()  # type: ignore[attr-defined]


async def test_play(socket_path: Path, stand_in: StandIn) -> None:
    """Files with and without a known size; a file that is too big is refused with the agent's own sentence."""
    client, sent = ControlClient(socket_path), list[int]()
    await asyncio.to_thread(client.play, "a.mp4", io.BytesIO(b"x" * 600_000), 600_000, "front", sent.append)
    await asyncio.to_thread(client.play, "b.mp4", io.BytesIO(b"y" * 300_000), None, None)
    assert stand_in.played == [("front", "a.mp4", b"x" * 600_000), (None, "b.mp4", b"y" * 300_000)]
    assert sent[-1] == 600_000
    with pytest.raises(RefusedError, match="bigger than the store"):
        await asyncio.to_thread(client.play, "c.mp4", io.BytesIO(b"z" * 3_000_000), 3_000_000, None)
    with pytest.raises(RefusedError, match="became shorter"):
        await asyncio.to_thread(client.play, "d.mp4", io.BytesIO(b"z"), 2, None)


def test_no_agent(tmp_path: Path) -> None:
    """No socket, and one that a killed agent left behind."""
    path = tmp_path / "control.sock"
    with pytest.raises(NoAgentError, match=r"no agent answers at .*No such file"):
        ControlClient(path).status()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
        with pytest.raises(NoAgentError, match="Connection refused"):
            ControlClient(path).status()


async def test_an_agent_that_closes_without_an_answer(tmp_path: Path) -> None:
    """An agent that ends in the middle is no agent."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    server = await asyncio.start_unix_server(hang_up, tmp_path / "control.sock")
    async with server:
        with pytest.raises(NoAgentError, match="ended before it answered"):
            await asyncio.to_thread(ControlClient(tmp_path / "control.sock").status)


async def test_update(socket_path: Path, stand_in: StandIn) -> None:
    """A file of known and of unknown size, a URL, and the newest; always by hand, and the last word is the version."""
    client, sent = ControlClient(socket_path), list[int]()
    for source, size in (
        (io.BytesIO(b"x" * 600_000), 600_000),
        (io.BytesIO(b"y" * 10), None),
        ("http://host/a", None),
        (None, None),
    ):
        events = await asyncio.to_thread(lambda: list(client.update(source, "a.bundle", size, sent.append)))  # noqa: B023
        assert events[-1] == {"version": "1.2.3"}
    assert [by_hand for _, _, by_hand in stand_in.updates] == [True] * 4
    assert stand_in.updates[0][0] == b"x" * 600_000
    assert sent[-2:] == [600_000, 10]


async def test_update_refused(socket_path: Path) -> None:
    """Early or late, with the agent's own sentence."""
    client = ControlClient(socket_path)
    with pytest.raises(RefusedError, match="signature"):
        await asyncio.to_thread(lambda: list(client.update(io.BytesIO(b"no"), "a.bundle", 2)))
    with pytest.raises(RefusedError, match="no room"):
        await asyncio.to_thread(lambda: list(client.update("http://host/refused")))


async def test_an_agent_that_ends_during_an_update(tmp_path: Path) -> None:
    """Nobody knows what came of it, and where to look is said."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"state": "installing"}\n')
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(hang_up, tmp_path / "control.sock")
    async with server:
        with pytest.raises(NoAgentError, match="what came of the update; see signage-agent status"):
            await asyncio.to_thread(lambda: list(ControlClient(tmp_path / "control.sock").update(None)))
