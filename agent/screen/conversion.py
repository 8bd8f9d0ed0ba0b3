"""The process that decodes pictures (`agent.screen.converter`), seen from the player's: started, asked, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from agent.screen.converter import TIME_S

log = logging.getLogger(__name__)

START_S = 15.0
"""Until the process is there; a box that starts has much to do."""
ACCEPT_S = 4.0
"""Until it has read a request; longer: it hangs."""
LATE_S = 1.0
"""A copy that has not answered this long after its time is over hangs."""
_GONE_S = 0.2
"""When a copy dies with the process, this is how much later the latter's death is known at most."""
_ANSWER_BYTES = 65536


class ConverterGoneError(Exception):
    """The process has ended or hung, for which the picture may not be to blame."""


class Conversion:
    """One request under way. `over` is done when nothing more is written: with the last answer; None: there is none."""

    def __init__(self, number: int, reading: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.number = number
        self.first: asyncio.Future[dict[str, Any] | None] = self._loop.create_future()
        self.over: asyncio.Future[dict[str, Any] | None] = self._loop.create_future()
        self._reading = reading
        self._text = b""
        self._loop.add_reader(reading, self._readable)

    def abandon(self) -> None:
        """Nothing more is heard of it."""
        if not self.over.done():
            self._close()

    def _readable(self) -> None:
        data = os.read(self._reading, _ANSWER_BYTES)
        self._text += data
        *lines, self._text = self._text.split(b"\n")
        try:
            for line in lines:
                self._heard(json.loads(line))
        except ValueError as error:
            log.debug("nonsense from the process that decodes pictures error=%s", error)
            data = b""
        if not data or len(self._text) > _ANSWER_BYTES or self.over.done():
            self._close()

    def _heard(self, said: Any) -> None:
        if not isinstance(said, dict):
            raise ValueError("not an object")  # noqa: TRY004 - as for any other nonsense
        if not self.first.done():
            self.first.set_result(said)
        if not said.get("more") and not self.over.done():
            self.over.set_result(said)

    def _close(self) -> None:
        self._loop.remove_reader(self._reading)
        os.close(self._reading)
        for future in (self.first, self.over):
            if not future.done():
                future.set_result(None)


@dataclass(slots=True, eq=False)
class _Running:
    process: subprocess.Popen[bytes]
    channel: socket.socket
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is lost, too."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    unheard: int = 1
    """What it has not said to have read; first of all, that it is there."""
    timer: asyncio.TimerHandle | None = None


class ConverterProcess:
    """At most one process, started with the first request and whenever there is none."""

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs, as far as known."""
        return None if self._running is None else self._running.process.pid

    async def ask(self, source: int, target: int, fit_px: int, limit_px: int) -> Conversion:
        """Begins a conversion (`converter.main`) and waits for its first answer.

        Raises ConverterGoneError; OSError if there is no process to be had.
        """
        running = self._running or await self._start()
        await running.ready.wait()
        number = next(self._numbers)
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        conversion = Conversion(number, reading)
        try:
            request = json.dumps({"number": number, "fit": fit_px, "limit": limit_px}).encode()
            try:
                socket.send_fds(running.channel, [request], [source, target, writing])
            except OSError as error:
                running.process.kill()
                self._lose(running)
                raise ConverterGoneError(f"does not listen: {error.strerror}") from None
            finally:
                os.close(writing)
            self._expect(running)
            async with asyncio.timeout(TIME_S + LATE_S):
                await self._answered(running, conversion)
        except TimeoutError:
            self.stop(conversion)
            raise ConverterGoneError("does not answer") from None
        except BaseException:
            self.stop(conversion)
            raise
        return conversion

    def stop(self, conversion: Conversion) -> None:
        """Nobody waits for it any more."""
        if conversion.over.done():
            return
        conversion.abandon()
        running = self._running
        if running is not None:
            try:
                running.channel.send(json.dumps({"stop": conversion.number}).encode())
                self._expect(running)
            except OSError as error:
                log.debug("the process that decodes pictures cannot be told to stop error=%s", error)

    def close(self) -> None:
        """Ends the process."""
        if self._running is not None:
            self._lose(self._running)

    async def _answered(self, running: _Running, conversion: Conversion) -> None:
        """Waits for the first answer. A copy that outlives the process gives its own."""
        if await asyncio.shield(conversion.first) is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_S):
                    await running.lost.wait()
                raise ConverterGoneError("has ended")

    async def _start(self) -> _Running:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            process = await asyncio.to_thread(_launch, theirs)
        except BaseException:
            ours.close()
            raise
        running = self._running = _Running(process, ours)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._heard, running)
        running.timer = loop.call_later(START_S, self._hangs, running, START_S)
        return running

    def _expect(self, running: _Running) -> None:
        """It has been sent something."""
        running.unheard += 1
        if running.timer is None:
            running.timer = asyncio.get_running_loop().call_later(ACCEPT_S, self._hangs, running, ACCEPT_S)

    def _heard(self, running: _Running) -> None:
        try:
            data = running.channel.recv(64)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(running)
            return
        running.ready.set()
        running.unheard -= len(data)
        if running.timer is not None:
            running.timer.cancel()
            running.timer = None
        if running.unheard:
            running.timer = asyncio.get_running_loop().call_later(ACCEPT_S, self._hangs, running, ACCEPT_S)

    def _hangs(self, running: _Running, after_s: float) -> None:
        log.warning("the process that decodes pictures hangs and is ended after_s=%g", after_s)
        running.process.kill()
        self._lose(running)

    def _lose(self, running: _Running) -> None:
        """Has nothing to do with it any more. It ends when it finds that out, for which nobody need wait."""
        if running.lost.is_set():
            return
        asyncio.get_running_loop().remove_reader(running.channel)
        running.channel.close()
        if running.timer is not None:
            running.timer.cancel()
            running.timer = None
        with contextlib.suppress(OSError):
            running.process.poll()
        running.lost.set()
        running.ready.set()
        if self._running is running:
            self._running = None


def _launch(channel: socket.socket) -> subprocess.Popen[bytes]:
    with channel:
        descriptor = channel.fileno()
        argv = [sys.executable, "-m", "agent.screen.converter", str(descriptor)]
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[descriptor])
