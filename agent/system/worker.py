"""Child processes that do what may hang or crash, and the channel to them.

The daemon's end is `Worker`: one run of one child, pinged while it lives and killed when it no longer answers. The child's
end is `open_channel`. Starting it again, and when, is its owner's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from agent.system.child import CHANNEL_VARIABLE, Child, start
from agent.system.wire import MAX_LINE_BYTES, Begin, Done, Ping, WireError, decode, encode

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
HUNG = "hung"
"""So begins what `Worker.run` says of a child that no longer answered."""


class WorkerGoneError(Exception):
    """The worker ended, or was never started, before it could answer."""


@dataclass(frozen=True, slots=True)
class WorkerTimers:
    """Seconds; design, section 1."""

    ping_s: float = 2.0
    pings_lost: int = 3
    leave_s: float = 0.3
    """Between hanging up and SIGTERM."""
    term_s: float = 0.7
    """Between SIGTERM and SIGKILL."""
    kill_s: float = 30.0
    """After SIGKILL: then the kernel holds the process."""


class Worker:
    """One run of a child process `python -m <module> <arguments>`.

    `expected` are the messages it may send; each one but the answers to requests goes to `on_message`.
    `on_open` is called when messages can be sent, `on_stuck` when it survives SIGKILL. A `spare` of the same module is used
    instead of starting a child.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        expected: tuple[type, ...],
        on_message: Callable[[Any], None],
        on_open: Callable[[], None] | None = None,
        on_stuck: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
        spare: Child | None = None,
        timers: WorkerTimers = WorkerTimers(),
    ) -> None:
        self.name = name
        self.pid: int | None = None
        self._module = module
        self._arguments = arguments
        self._spare = spare
        self._expected = expected
        self._on_message = on_message
        self._on_open = on_open
        self._on_stuck = on_stuck
        self._environment = environment or {}
        self._timers = timers
        self._writer: asyncio.StreamWriter | None = None
        self._answers: dict[int, asyncio.Future[Done]] = {}
        self._ids = itertools.count(1)

    @property
    def unread_bytes(self) -> int:
        """What was sent and neither the child nor the kernel has taken."""
        return self._writer.transport.get_write_buffer_size() if self._writer is not None else 0

    async def run(self) -> str:
        """Starts the child and stays until it has ended; says how, in words. Cancelled: ends the child first."""
        spare, self._spare = self._spare, None
        try:
            child = spare or start(self._module, self._arguments, self._environment)
        except OSError as error:
            return f"cannot be started ({error})"
        self.pid = child.pid
        log.debug("worker started name=%s pid=%d", self.name, child.pid)
        reason = ""
        try:
            reader, self._writer = await asyncio.open_connection(sock=child.connection, limit=MAX_LINE_BYTES + 1)
            if spare is not None:
                self.send(Begin(tuple(self._arguments)))
            if self._on_open is not None:
                self._on_open()
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(reader), name=f"{self.name}: reads")
                pinging = group.create_task(self._ping(), name=f"{self.name}: pings")
                done, _ = await asyncio.wait({reading, pinging}, return_when=asyncio.FIRST_COMPLETED)
                reason = next(iter(done)).result()
                reading.cancel()
                pinging.cancel()
        finally:
            await _to_the_end(asyncio.create_task(self._end(child), name=f"{self.name}: ends"))
        return f"{reason}; exit {_exit_text(child.returncode)}"

    def send(self, message: Any) -> None:
        """Sends without an answer. A worker that is not running, or ends meanwhile, never gets it."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def request(self, message: Any, deadline_s: float) -> None:
        """Sends and waits for the answer.

        Raises WorkerGoneError, TimeoutError, or RuntimeError with what the worker said was wrong.
        """
        if self._writer is None or self._writer.is_closing():
            raise WorkerGoneError(f"{self.name} is not running")
        request_id = next(self._ids)
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(encode(message, request_id=request_id))
            async with asyncio.timeout(deadline_s):
                done = await answer
        finally:
            del self._answers[request_id]
        if done.error:
            raise RuntimeError(done.error)

    async def _read(self, reader: asyncio.StreamReader) -> str:
        with contextlib.suppress(ConnectionError):
            while line := await _readline(reader):
                try:
                    message, request_id = decode(line, self._expected)
                except WireError as error:
                    log.warning("worker said something unknown name=%s error=%s", self.name, error)
                    continue
                self._take(message, request_id)
        return "ended"

    def _take(self, message: Any, request_id: int | None) -> None:
        if request_id is not None:
            answer = self._answers.get(request_id)
            if answer is not None and not answer.done() and isinstance(message, Done):
                answer.set_result(message)
            return
        try:
            self._on_message(message)
        except Exception:
            log.exception("message of a worker could not be handled name=%s type=%s", self.name, type(message).__name__)

    async def _ping(self) -> str:
        lost = 0
        while lost < self._timers.pings_lost:
            if not lost:
                await asyncio.sleep(self._timers.ping_s)
            try:
                await self.request(Ping(), self._timers.ping_s)
                lost = 0
            except TimeoutError:
                lost += 1
                log.debug("worker did not answer a ping name=%s lost=%d", self.name, lost)
            except (WorkerGoneError, RuntimeError, ConnectionError) as error:
                return f"no longer usable ({error})"
        return f"{HUNG}: {lost} pings lost"

    async def _end(self, child: Child) -> None:
        if self._writer is not None:
            self._writer.close()
        else:
            child.connection.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WorkerGoneError(f"{self.name} ended"))
        timers = self._timers
        for number, wait_s in ((None, timers.leave_s), (signal.SIGTERM, timers.term_s), (signal.SIGKILL, timers.kill_s)):
            if child.returncode is None:
                if number is not None:
                    with contextlib.suppress(ProcessLookupError):
                        child.send_signal(number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await child.wait()
        if child.returncode is None:
            log.error("worker survives SIGKILL; the kernel holds it name=%s pid=%d", self.name, child.pid)
            if self._on_stuck is not None:
                self._on_stuck()
        self.pid = None


async def _to_the_end(task: asyncio.Task[None]) -> None:
    """Waits for `task` however often the caller is cancelled meanwhile; then the cancellation goes on."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


class Channel:
    """The worker's end: messages from the daemon in, answers and events out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, expected: tuple[type, ...]) -> None:
        self._reader = reader
        self._writer = writer
        self._expected = expected

    @classmethod
    async def over(cls, connection: socket.socket, expected: tuple[type, ...]) -> Self:
        """A channel over one end of a socketpair."""
        reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_LINE_BYTES + 1)
        return cls(reader, writer, expected)

    async def messages(self) -> AsyncIterator[tuple[Any, int | None]]:
        """Each message with the id to answer under (None: no answer wanted); ends when the daemon is gone."""
        with contextlib.suppress(ConnectionError):
            while line := await _readline(self._reader):
                try:
                    yield decode(line, self._expected)
                except WireError as error:
                    log.warning("daemon said something unknown error=%s", error)

    def send(self, message: Any, *, request_id: int | None = None) -> None:
        """Sends at once, or as soon as the daemon reads; to be called in the event loop's thread."""
        if not self._writer.is_closing():
            self._writer.write(encode(message, request_id=request_id))

    async def close(self) -> None:
        """Sends what is left and hangs up."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


async def open_channel(expected: tuple[type, ...]) -> Channel:
    """Called by a worker when it starts: binds its life to the daemon's and opens its end of the channel."""
    die_with_parent()
    descriptor = int(os.environ.pop(CHANNEL_VARIABLE))
    return await Channel.over(socket.socket(fileno=descriptor), expected)


def die_with_parent() -> None:
    """The kernel kills this process when its parent dies, however that ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


async def _readline(reader: asyncio.StreamReader) -> bytes:
    """The next line; nothing at the end, and after a line so long that what follows cannot be trusted either."""
    try:
        return await reader.readline()
    except ValueError:
        log.warning("a line is too long; the channel is given up limit_bytes=%d", MAX_LINE_BYTES)
        return b""


def _exit_text(code: int | None) -> str:
    if code is None:
        return "unknown"
    return str(code) if code >= 0 else signal.Signals(-code).name
