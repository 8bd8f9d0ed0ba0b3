"""The socket between daemon and worker that carries the sound."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from agent.voice.stream import BACKLOG_BYTES, MAX_DATA_BYTES, Backlog, Kind, Meeting, Stream, meet
from tests.voice.conftest import until


class Pair:
    """Two ends, and what the second one got."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.got: list[tuple[Kind, int, bytes]] = []
        self.gone: list[str] = []
        self.there = theirs
        self.sender = Stream(ours, lambda *_: None, lambda: self.gone.append("sender"))

    def listen(self) -> Stream:
        """Begins to read."""
        return Stream(self.there, lambda *packet: self.got.append(packet), lambda: self.gone.append("listener"))


async def test_packets_keep_their_order_and_borders() -> None:
    """Kinds, sessions and data arrive as they were sent; what is too long for one packet comes in several."""
    pair = Pair()
    listener = pair.listen()
    long = os.urandom(2 * MAX_DATA_BYTES + 1)
    pair.sender.send(Kind.BEGIN, 7)
    pair.sender.send(Kind.FRAME, 7, b"ab")
    pair.sender.send(Kind.FRAME, 7, long)
    pair.sender.send(Kind.END, 2**32 - 1)
    await until(lambda: len(pair.got) == 6)
    assert pair.got[:2] == [(Kind.BEGIN, 7, b""), (Kind.FRAME, 7, b"ab")]
    assert b"".join(data for _, _, data in pair.got[2:5]) == long
    assert pair.got[5] == (Kind.END, 2**32 - 1, b"")
    pair.sender.close()
    listener.close()


async def test_a_slow_reader_loses_nothing_until_it_is_too_much() -> None:
    """Megabytes wait for the other end; beyond the limit data is refused, but the end of a session still gets through."""
    pair = Pair()
    taken = 0
    while pair.sender.send(Kind.FRAME, 1, bytes(MAX_DATA_BYTES)):
        taken += MAX_DATA_BYTES
    assert BACKLOG_BYTES * 0.98 < taken < BACKLOG_BYTES
    assert pair.sender.send(Kind.END, 1)
    listener = pair.listen()
    await until(lambda: pair.got and pair.got[-1][0] is Kind.END)
    assert sum(len(data) for _, _, data in pair.got) == taken
    assert pair.sender.send(Kind.FRAME, 2, b"again")
    pair.sender.close()
    listener.close()


def test_what_waits_is_bounded_whatever_it_is() -> None:
    """Pieces of a byte take hardly more than their data; openings without data do not pile up for ever."""
    backlog = Backlog()
    for _ in range(20_000):
        assert backlog.add(Kind.FRAME, 1, b"x")
    assert len(backlog) == 3
    openings = 0
    while backlog.add(Kind.BEGIN, openings):
        assert backlog.add(Kind.END, openings)
        openings += 1
    assert openings < BACKLOG_BYTES / 200
    assert backlog.drop({1, 2}) == {1, 2}
    assert len(backlog) == 2 * (openings - 2)


async def test_the_other_end_is_gone() -> None:
    """It is said once; what is sent then is lost, and closing twice is no fault."""
    pair = Pair()
    listener = pair.listen()
    pair.sender.close()
    await until(lambda: pair.gone)
    assert pair.gone == ["listener"]
    for _ in range(2):
        assert listener.send(Kind.FRAME, 1, bytes(BACKLOG_BYTES - 1))
        assert pair.sender.send(Kind.BEGIN, 1)
    assert pair.gone == ["listener"]
    listener.close()
    pair.sender.close()


async def test_only_the_worker_is_let_in() -> None:
    """A process that is not the worker is sent away; the worker gets its connection."""
    meeting = Meeting()
    code = f"from agent.voice.stream import meet; s = meet('{meeting.address}'); print('in', flush=True); s.recv(1)"
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    try:
        accepting = asyncio.create_task(meeting.accept(os.getpid))
        assert stranger.stdout is not None
        assert await stranger.stdout.readline() == b"in\n"
        assert await asyncio.wait_for(stranger.wait(), 10) == 0, "its connection was closed"
        assert not accepting.done()
        ours = await asyncio.to_thread(meet, meeting.address)
        theirs = await accepting
        theirs.close()
        ours.close()
    finally:
        if stranger.returncode is None:
            stranger.kill()
            await stranger.wait()
        meeting.close()
    with pytest.raises(OSError, match="refused"):
        meet(meeting.address)
