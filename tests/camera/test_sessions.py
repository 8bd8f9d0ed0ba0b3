"""Many sessions."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from pathlib import Path

import pytest

from agent.camera import sessions as module
from agent.camera.messages import Answer, Refused
from tests.camera.conftest import OpenRoom, Room
from tests.camera.viewer import DEADLINE_S, without_candidates
from tests.conftest import rounds


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
    """Opened and closed many times: no more tasks, descriptors or objects than after the first few.

    Memory is measured where it counts, in the worker (test_proxy): here it is mostly that of the viewers' decoders.
    """
    watched = room()
    for number in range(6):
        await once(watched, str(number))

    async def left() -> tuple[int, int, int]:
        await watched.until(lambda: watched.studio._capture is None)
        await asyncio.sleep(0.05)
        watched.said[:] = [watched.state]
        gc.collect()
        return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir())), len(gc.get_objects())

    before = await left()
    for number in range(rounds(90)):
        await once(watched, str(100 + number))
    # What is closed may take its time to be gone; what has leaked stays however long it is waited for.
    limits = (before[0], before[1] + 2, before[2] + 600)
    ends = time.monotonic() + DEADLINE_S
    after = await left()
    while any(number > limit for number, limit in zip(after, limits, strict=True)) and time.monotonic() < ends:
        await asyncio.sleep(0.2)
        after = await left()
    assert after[0] <= limits[0]
    assert after[1] <= limits[1]
    assert after[2] <= limits[2]
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


async def test_too_many_that_do_not_connect(room: OpenRoom) -> None:
    """The oldest of them gives way, with a message: who wants to watch is not kept out, who watches stays."""
    watched = room()
    watching = await watched.watch("watching")
    for number in range(1, module.MOST_SESSIONS):
        watched.open(str(number))
    late = await watched.watch("late")
    assert "too many" in (await watched.hears("1", Refused)).message
    assert len(watched.sessions._sessions) == module.MOST_SESSIONS
    await watching.sees()
    await late.sees()
    assert [key for key in ("watching", "2", "late") if watched.ended(key)] == []


async def test_too_many_that_watch(room: OpenRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit, and a message; who is served stays so."""
    monkeypatch.setattr(module, "MOST_SESSIONS", 2)
    watched = room()
    viewers = [await watched.watch(key) for key in ("one", "two")]
    watched.open("three")
    assert "too many" in (await watched.hears("three", Refused)).message
    for viewer in viewers:
        await viewer.sees()
    assert watched.state.viewers == 2


async def test_a_flood_of_offers_makes_few_connections(room: OpenRoom) -> None:
    """At most one a second, and the newest of those that wait counts; of each connection the candidates end once."""
    watched = room()
    first, last = await watched.watch("one"), watched.viewer()
    [(session, _)] = watched.sessions._sessions.values()
    began, junk = time.monotonic(), without_candidates(await watched.viewer().offer())
    for number in range(300):
        watched.offer("one", re.sub(r"a=ice-ufrag:.*", f"a=ice-ufrag:u{number:04}", junk))
        watched.candidate("one", "")
    watched.offer("one", await last.offer())
    await watched.until(lambda: len(watched.of("one", Answer)) >= 2)
    assert session._inbox.qsize() <= 512
    await last.accept(watched.of("one", Answer)[-1].sdp)
    await last.sees()
    assert len(watched.of("one", Answer)) <= 2 + (time.monotonic() - began)
    await first.until(lambda: first.state == "closed")
    for _ in range(100):
        watched.candidate("one", "")
    await watched.until(lambda: not session._inbox.qsize())
    assert sum("waits with the end of candidates" in task.get_name() for task in asyncio.all_tasks()) <= 2


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
