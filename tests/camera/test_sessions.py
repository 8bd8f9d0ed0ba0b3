"""Many sessions."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

from agent.camera import sessions as module
from agent.camera.messages import Answer, Refused
from tests.camera.conftest import OpenRoom, Room
from tests.conftest import rounds


def memory_kb() -> int:
    """Of this process, resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


async def once(watched: Room, key: str) -> None:
    """A whole session, ended in one of three ways."""
    viewer = await watched.watch(key, more=1)
    if int(key) % 3 == 0:
        await viewer.close()
        await watched.until(lambda: watched.ended(key))
    elif int(key) % 3 == 1:
        watched.close(key)
    else:
        watched.open(key)
        watched.close(key)
    await viewer.close()
    watched.viewers.remove(viewer)
    await watched.until(lambda: watched.state.sessions == 0)


async def test_sessions_leave_nothing_behind(room: OpenRoom) -> None:
    """Opened and closed many times: no more tasks, descriptors or objects than after the first few, and memory stays."""
    watched = room()
    for number in range(6):
        await once(watched, str(number))

    async def left() -> tuple[int, int, int]:
        await watched.until(lambda: watched.studio._capture is None)
        await asyncio.sleep(0.05)
        watched.said[:-1] = []
        gc.collect()
        return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir())), len(gc.get_objects())

    before, kb = await left(), memory_kb()
    total = rounds(300)
    for number in range(total):
        await once(watched, str(100 + number))
    after = await left()
    assert after[0] <= before[0]
    assert after[1] <= before[1] + 2
    assert after[2] <= before[2] + 600
    assert memory_kb() - kb < 8_000 + 30 * total
    assert watched.studio._leases == set()
    assert watched.sessions._sessions == {}


async def test_twenty_at_once(room: OpenRoom) -> None:
    """All are answered in a moment, and all see the camera through one encoder."""
    watched = room()
    viewers = [watched.viewer() for _ in range(20)]
    offers = await asyncio.gather(*(viewer.offer() for viewer in viewers))
    for number, sdp in enumerate(offers):
        watched.open(str(number))
        watched.offer(str(number), sdp)
    for number, viewer in enumerate(viewers):
        await viewer.accept((await watched.hears(str(number), Answer)).sdp)
    await asyncio.gather(*(viewer.sees(1) for viewer in viewers))
    assert watched.state.viewers == 20
    assert watched.state.encoder == "libx264"


async def test_too_many(room: OpenRoom, monkeypatch: object) -> None:
    """There is a limit, and a message; who is served stays so."""
    watched = room()
    for number in range(module.MOST_SESSIONS + 1):
        watched.open(str(number))
    assert "too many" in (await watched.hears(str(module.MOST_SESSIONS), Refused)).message
    assert len(watched.sessions._sessions) == module.MOST_SESSIONS


async def test_packets_get_lost(room: OpenRoom) -> None:
    """One in ten: the viewer still sees the camera, since lost packets are sent again and keyframes made."""
    watched = room()
    viewer = await watched.watch("one")
    [(session, _)] = watched.sessions._sessions.values()
    assert session._peer is not None
    transport = session._peer._video.sender.transport
    send, count = transport._send_rtp, 0

    async def lossy(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % 10:
            await send(data)

    transport._send_rtp = lossy  # type: ignore[method-assign]
    await viewer.sees(30)


async def test_a_viewer_whose_line_is_full_skips(room: OpenRoom) -> None:
    """What cannot be sent is not piled up: the viewer goes on with a keyframe, the other sees every picture."""
    watched = room()
    full = await watched.watch("full")
    other = await watched.watch("other")
    [(session, _), _] = watched.sessions._sessions.values()
    peer = session._peer
    assert peer is not None
    backlog = peer._track._backlog
    peer._track._backlog = lambda: 10**9
    await asyncio.sleep(0.2)
    seen = len(full.numbers)
    await other.sees(10)
    assert len(full.numbers) <= seen + 1
    peer._track._backlog = backlog
    await full.sees(5)
