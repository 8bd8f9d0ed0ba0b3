"""Updates from the command line: the real server and client, real bundles, a stand-in for the root side."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.control.client import ControlClient, RefusedError
from agent.control.controlled import CommandError
from agent.control.server import ControlServer
from agent.control.updating import update
from agent.update.pace import Limits
from tests.control.conftest import StandIn
from tests.media.origin import Origin
from tests.update import bundles
from tests.update.bundles import NEXT
from tests.update.roothand import RootHand, until
from tests.update.test_updates import Box


class Daemon(StandIn):
    """Does with updates what the daemon does."""

    def __init__(self, folder: Path, box: Box) -> None:
        super().__init__(folder)
        self._box = box

    def update(
        self, source: AsyncIterator[bytes] | str | None, *, size: int | None, by_hand: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """As the daemon."""
        return update(self._box.updates, source, size=size, by_hand=by_hand)


@pytest.fixture(scope="module")
def key() -> Ed25519PrivateKey:
    return bundles.new_key()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, key: Ed25519PrivateKey) -> bytes:
    return bundles.make_bundle(tmp_path_factory.mktemp("bundle") / "next.bundle", key).read_bytes()


@pytest.fixture
async def box(tmp_path: Path, key: Ed25519PrivateKey) -> AsyncIterator[Box]:
    box = Box(tmp_path, RootHand(tmp_path), [bundles.trusted(key)])
    await box.start()
    yield box
    await box.stop()


@pytest.fixture
async def client(tmp_path: Path, box: Box) -> AsyncIterator[ControlClient]:
    path = tmp_path / "run/control.sock"
    server = ControlServer(Daemon(tmp_path, box), path)
    await server.start()
    yield ControlClient(path)
    await server.close()


async def test_a_file(box: Box, client: ControlClient, bundle: bytes) -> None:
    """The client learns the version before the agent restarts."""
    taking = asyncio.create_task(box.hand.takes(hashlib.sha256(bundle).hexdigest()))
    events = await asyncio.to_thread(lambda: list(client.update(io.BytesIO(bundle), "next.bundle", len(bundle))))
    await taking
    assert events[-1] == {"version": NEXT}
    await until(lambda: box.restarts == 1)


async def test_a_url(box: Box, client: ControlClient, bundle: bytes) -> None:
    """The daemon fetches it; what is counted is told."""
    origin = Origin()
    await origin.start()
    try:
        origin.put("/next.bundle", bundle, piece_bytes=200, pause_s=0.05)
        taking = asyncio.create_task(box.hand.takes(hashlib.sha256(bundle).hexdigest()))
        events = await asyncio.to_thread(lambda: list(client.update(f"{origin.url}/next.bundle")))
        await taking
    finally:
        await origin.stop()
    assert any(0 < event.get("received_bytes", 0) < event.get("total_bytes", 0) for event in events)
    assert events[-1] == {"version": NEXT}


async def test_refusals(box: Box, client: ControlClient, bundle: bytes) -> None:
    """A damaged file, a pipe that brings none, the root side, and no source: each one sentence, nothing left, and not busy."""
    damaged = bundle[:-1] + bytes([bundle[-1] ^ 1])
    with pytest.raises(RefusedError, match="damaged"):
        await asyncio.to_thread(lambda: list(client.update(io.BytesIO(damaged), "next.bundle", len(damaged))))
    with pytest.raises(RefusedError, match="not a bundle"):
        await asyncio.to_thread(lambda: list(client.update(io.BytesIO(b"GIF89a" * 100), "a.gif")))
    refusing = asyncio.create_task(box.hand.refuses("a package is missing"))
    with pytest.raises(RefusedError, match="a package is missing"):
        await asyncio.to_thread(lambda: list(client.update(io.BytesIO(bundle), "next.bundle")))
    await refusing
    with pytest.raises(RefusedError, match="source_url"):
        await asyncio.to_thread(lambda: list(client.update(None)))
    assert box.hand.left() == []
    assert not box.updates.busy
    assert box.restarts == 0


async def test_a_client_that_neither_sends_nor_goes(box: Box, bundle: bytes) -> None:
    """Is told so after a while, and others have their turn."""
    await box.stop()
    await box.start(limits=Limits(idle_s=0.05))

    async def pieces() -> AsyncIterator[bytes]:
        yield bundle[:1000]
        await asyncio.get_running_loop().create_future()

    with pytest.raises(CommandError, match="nothing more of the update came"):
        await anext(update(box.updates, pieces(), size=len(bundle), by_hand=True))
    assert box.hand.left() == []
    assert not box.updates.busy


async def test_a_client_that_goes(box: Box, bundle: bytes) -> None:
    """Before the bundle is whole all of it is forgotten; after that it is installed all the same."""

    async def pieces() -> AsyncIterator[bytes]:
        yield bundle[:1000]
        await asyncio.get_running_loop().create_future()

    sending = asyncio.create_task(anext(update(box.updates, pieces(), size=None, by_hand=True)))
    await until(box.hand.left)
    sending.cancel()
    await asyncio.wait({sending})
    await until(lambda: not box.updates.busy)
    assert box.hand.left() == []

    async def whole() -> AsyncIterator[bytes]:
        yield bundle

    events = update(box.updates, whole(), size=None, by_hand=True)
    async for _ in events:
        if box.hand.dropped():
            break
    await events.aclose()
    await box.hand.takes(hashlib.sha256(bundle).hexdigest())
    await until(lambda: box.restarts == 1)
