"""A worker that does what it is told, and misbehaves on demand: `python -m tests.system.child`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass

from agent.system.wire import MAX_LINE_BYTES, Done, Ping
from agent.system.worker import Channel, open_channel


@dataclass(frozen=True, slots=True)
class Do:
    """What to do, see `obey`."""

    what: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What it has to say."""

    text: str


TO_CHILD: tuple[type, ...] = (Do, Ping)
FROM_CHILD: tuple[type, ...] = (Said, Done)


def write_raw(channel: Channel, line: bytes) -> None:
    """Past the wire format."""
    channel._writer.write(line)


def obey(channel: Channel, order: Do, request_id: int | None) -> None:
    """Does it at once."""
    match order.what:
        case "say":
            channel.send(Said(order.text))
        case "answer":
            channel.send(Done(order.text), request_id=request_id)
        case "answer strangely":
            channel.send(Said("that is no answer"), request_id=request_id)
            channel.send(Done(), request_id=request_id)
        case "keep silent":
            pass
        case "exit":
            os._exit(int(order.text))
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            channel.send(Said("hangs"))
            asyncio.get_running_loop().call_later(0.05, time.sleep, 3600)
        case "garbage":
            for line in (b"what?\n", b"\xff\xfe\n", b'{"type":"Nobody"}\n', b'{"type":"Said","text":5}\n', b"[" * 50_000 + b"\n"):
                write_raw(channel, line)
            channel.send(Said("after the garbage"))
        case "flood":
            write_raw(channel, b"x" * (MAX_LINE_BYTES + 10_000))
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            channel.send(Said("deaf"))


async def main() -> None:
    """Lives until the daemon hangs up; the deaf one beyond that."""
    channel = await open_channel(TO_CHILD)
    channel.send(Said(f"here {os.getpid()} {' '.join(sys.argv[1:])}"))
    async for message, request_id in channel.messages():
        if isinstance(message, Ping):
            channel.send(Done(), request_id=request_id)
        else:
            obey(channel, message, request_id)


if __name__ == "__main__":
    asyncio.run(main())
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        time.sleep(3600)
