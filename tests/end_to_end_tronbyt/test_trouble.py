"""A feed whose server or connection fails, or whose screen does: what stays on the screen, and how it goes on."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.display import XServer
from tests.end_to_end_tronbyt.wall import DEADLINE_S, DEVICE_ID, SIZE, Wall, encoded, feed_link, figure, numbers, open_wall
from tests.servers import pixels

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMPATIENT = str(Path(__file__).with_name("impatient.py"))
SILENCE_S = 3.0
HOUR = 3600


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_wall(tmp_path_factory: pytest.TempPathFactory, display: XServer) -> AsyncIterator[Wall]:
    """A wall that all tests of this module use, one after the other, with an agent that does not wait long."""
    folder = tmp_path_factory.mktemp("wall")
    async with open_wall(folder, display, command=[IMPATIENT], environment={"SILENCE_S": str(SILENCE_S)}) as wall:
        yield wall


@pytest_asyncio.fixture(loop_scope="module")
async def wall(module_wall: Wall) -> AsyncIterator[Wall]:
    """The module's, with number 1 on the screen for an hour and number 2 waiting."""
    await module_wall.server.connected(DEVICE_ID, DEADLINE_S)
    module_wall.rotate((), HOUR)
    await module_wall.put(encoded(1))
    await module_wall.shows_number(1)
    await waits(module_wall, 2)
    yield module_wall
    module_wall.server.clear_faults()
    assert module_wall.display.complaints == []


async def waits(wall: Wall, number: int) -> None:
    """Sends a picture that is to be shown within the hour."""
    await wall.display.wait_queued(await wall.send(encoded(number), dwell_secs=HOUR, immediate=False), DEADLINE_S)


async def connected_again(wall: Wall, connections: int, deadline_s: float = DEADLINE_S) -> None:
    """Waits for a connection after that many."""
    await wall.server.wait_for(
        lambda: wall.display.connections > connections and wall.display.live == 1 and wall.display.peers[0].introduced,
        deadline_s,
        what=lambda: f"connection {connections + 1}; {wall.agent.log[-2000:]}",
    )


@pytest.mark.parametrize("end", ["reset", "1012", "away"])
async def test_the_connection_ends(wall: Wall, end: str) -> None:
    """The picture stays, without a word on it; the agent comes back, says who it is, and shows what it is then sent."""
    connections, infos = wall.display.connections, len(wall.display.client_infos)
    with wall.watched() as samples:
        if end == "reset":
            wall.server.drop(DEVICE_ID)
        elif end == "1012":
            await wall.server.close(DEVICE_ID, 1012, "restart")
        else:
            wall.server.leave(DEVICE_ID)
            status = await wall.agent.until(lambda status: status["links"][0]["state"] == "waiting")
            assert status["screens"]["front"]["program"] == "feed"
            assert status["links"][0]["last_error"]
            wall.server.leave(DEVICE_ID, value=False)
        await connected_again(wall, connections)
        await asyncio.sleep(0.3)
    assert [number for _, number in numbers(samples)] == [1]
    assert len(samples) == 1, "not one pixel has moved"
    assert len(wall.display.client_infos) == infos + 1
    await wall.put(encoded(3))
    await wall.shows_number(3)


async def test_refused_for_a_while(wall: Wall) -> None:
    """403: said with what to do, tried again slowly, and all is well when the server knows the device again."""
    connections = wall.display.connections
    fault = wall.server.fault(f"/{DEVICE_ID}/ws", status=403)
    with wall.watched() as samples:
        wall.server.drop(DEVICE_ID)
        status = await wall.agent.until(lambda status: status["links"][0]["state"] == "refused")
        assert "403" in status["links"][0]["last_error"]
        await wall.server.wait_for(lambda: fault.hits >= 2, DEADLINE_S)
        wall.server.clear_faults()
        await connected_again(wall, connections)
    assert [number for _, number in numbers(samples)] == [1]
    assert wall.agent.log.count("HTTP 403 to the WebSocket handshake") == 1
    await wall.put(encoded(3))
    await wall.shows_number(3)


async def silence(wall: Wall, silence_s: float) -> None:
    """A server that sends nothing more, with an image left to show: the picture stays, and a new connection is made in time."""
    connections = wall.display.connections
    sent = await wall.send(encoded(4), dwell_secs=HOUR, immediate=False)
    await wall.display.wait_queued(sent, DEADLINE_S)
    await wall.server.send(DEVICE_ID, {"immediate": True})
    wall.server.silence(DEVICE_ID)
    said_at = await wall.display.wait_displaying(sent, DEADLINE_S)
    await wall.shows_number(4)
    with wall.watched() as samples:
        await connected_again(wall, connections, silence_s + DEADLINE_S)
    took_s = wall.display.peers[0].opened_at - said_at
    figure(f"connected again after {took_s:.2f} s of silence")
    assert took_s > silence_s - 0.1
    assert [number for _, number in numbers(samples)] == [4]
    assert "no image came for" in wall.agent.log
    await wall.put(encoded(5))
    await wall.shows_number(5)


async def test_a_silent_server(wall: Wall) -> None:
    """It answers pings, but owes an image: given up after a while."""
    await silence(wall, SILENCE_S)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_silent_server_for_150_s(tmp_path: Path, own_display: XServer) -> None:
    """The contract's own time."""
    async with open_wall(tmp_path, own_display) as wall:
        await silence(wall, 150.0)


async def test_the_player_is_killed(wall: Wall) -> None:
    """The same picture is back, acknowledged no second time, and what waited is shown at its turn."""
    before = (wall.display.queued, wall.display.displayed)
    front = await wall.front()
    pid = wall.agent.worker_pid()
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    await wall.agent.until(lambda status: status["screens"]["front"]["worker_restarts"] == front["worker_restarts"] + 1)
    await wall.shows_number(1)
    figure(f"back after {time.monotonic() - begun:.2f} s")
    await asyncio.sleep(0.3)
    assert (wall.display.queued, wall.display.displayed) == before
    await wall.server.send(DEVICE_ID, {"immediate": True})
    await wall.shows_number(2)
    await wall.server.wait_for(lambda: wall.display.displayed == [*before[1], wall.display.queued[-1]], DEADLINE_S)


async def test_the_player_is_killed_again_and_again(wall: Wall) -> None:
    """In a rotation that goes on by time: nothing is skipped in what is said, and the right picture is back."""
    await wall.put(pixels.plain("#303030", SIZE))
    since = len(wall.display.sent)
    wall.rotate(range(1, 9), 1)
    wall.server.push(DEVICE_ID, wall.display.apps[0])
    for number in range(3):
        await wall.server.wait_for(
            lambda n=number: [s for s in wall.display.sent[since:] if s.displaying_at][n:],  # type: ignore[misc]
            DEADLINE_S,
        )
        os.kill(wall.agent.worker_pid(), signal.SIGKILL)
        await asyncio.sleep(0.1)
    said = [sent for sent in wall.display.sent[since:] if sent.displaying_at]
    wall.rotate((), HOUR)
    times = [sent.displaying_at or 0.0 for sent in said]
    assert all(after - at > 0.9 for at, after in itertools.pairwise(times))
    await wall.put(encoded(3))
    await wall.shows_number(3)
    assert "set aside" not in wall.agent.log


async def test_the_agent_is_killed(wall: Wall) -> None:
    """After its restart it shows what it is sent, counts from 1 again, and has not kept the images of its former life."""
    images = wall.agent.socket.parent / "feed" / "feed"
    left = {path.name for path in images.iterdir()}
    assert 2 <= len(left) <= 6
    connections = wall.display.connections
    await wall.agent.kill()
    await wall.agent.start()
    await connected_again(wall, connections)
    assert list(images.iterdir()) == []
    sent = await wall.put(encoded(3))
    await wall.shows_number(3)
    assert sent.number == 1


async def test_polling(tmp_path: Path, own_display: XServer) -> None:
    """Where there is no WebSocket: each picture for its time, no socket and no acknowledgement, brightness too."""
    async with open_wall(
        tmp_path, own_display, links=lambda wall: [feed_link(wall.server, mode="poll")], command=[IMPATIENT],
        environment={"SILENCE_S": "150"},
    ) as wall:  # fmt: skip
        wall.rotate(range(1, 5), 1)
        await wall.shows_number(1)
        with wall.watched() as samples:
            await wall.shows_number(2)
            await wall.shows_number(3)
            await wall.shows_number(4)
        gaps = [after - at for (at, _), (after, _) in itertools.pairwise(numbers(samples)[1:])]
        figure(f"each for {', '.join(f'{gap:.3f}' for gap in gaps)} s")
        assert [number for _, number in numbers(samples)] == [1, 2, 3, 4]
        assert all(0.9 < gap < 2.5 for gap in gaps)
        status = await wall.agent.status()
        assert (status["links"][0]["state"], status["screens"]["front"]["program"]) == ("connected", "feed")
        wall.rotate((9,), 1)
        await wall.shows_number(9)
        fault = wall.server.fault(f"/{DEVICE_ID}/next", status=500)
        await wall.server.wait_for(lambda: fault.hits >= 2, DEADLINE_S)
        wall.server.clear_faults()
        assert wall.number() == 9
        wall.rotate((8,), 1)
        await wall.shows_number(8)
        assert (wall.display.connections, wall.display.acks, wall.display.complaints) == (0, [], [])
        await wall.server.set_brightness(DEVICE_ID, 0)
        await wall.screen.shows((5, 5), (0, 0, 0))
