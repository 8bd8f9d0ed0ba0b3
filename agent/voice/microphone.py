"""What the microphone hears while the button is pressed, as frames of the speaker contract (section 4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from agent.voice.adpcm import FRAME_BYTES, Encoder, from_little_endian
from agent.voice.pcm import Pcm, PcmError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MicrophoneTimers:
    """Seconds."""

    tick_s: float = 0.016
    longest_s: float = 120.0
    """A button that stays pressed, or is stuck, is heard no longer."""


class Microphone:
    """The capture device `pcm`, open only while somebody speaks.

    `start`, `frame` (512 bytes, the last one filled up with zeros) and `end` are called in that order; `trouble` with a sentence
    when there is nothing to be heard, with an empty one when that is over.
    """

    def __init__(
        self,
        pcm: str,
        *,
        start: Callable[[], None],
        frame: Callable[[bytes], None],
        end: Callable[[], None],
        trouble: Callable[[str], None],
        timers: MicrophoneTimers = MicrophoneTimers(),
    ) -> None:
        self._name = pcm
        self._start = start
        self._frame = frame
        self._end = end
        self._trouble = trouble
        self._timers = timers
        self._pcm: Pcm | None = None
        self._encoder = Encoder()
        self._unsent = bytearray()
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """The button is pressed."""
        if self._pcm is not None:
            return
        try:
            self._pcm = Pcm(self._name, "input")
            self._encoder = Encoder()
            self._unsent.clear()
            self._until = asyncio.get_running_loop().time() + self._timers.longest_s
            self._start()
            self._listen()
        except PcmError as error:
            self._broken(error)
        else:
            self._trouble("")

    def close(self) -> None:
        """The button was let go: what was heard until now is still sent."""
        if self._pcm is None:
            return
        try:
            self._take()
        except PcmError as error:
            self._broken(error)
            return
        self._hang_up()

    def _tick(self) -> None:
        if asyncio.get_running_loop().time() >= self._until:
            log.warning("the button has been pressed for too long; nobody is listened to until it is let go")
            self.close()
            return
        try:
            self._listen()
        except PcmError as error:
            self._broken(error)

    def _listen(self) -> None:
        self._take()
        self._timer = asyncio.get_running_loop().call_later(self._timers.tick_s, self._tick)

    def _take(self) -> None:
        """Sends what has been heard, in whole frames."""
        assert self._pcm is not None
        while data := self._pcm.read():
            self._unsent += self._encoder.encode(from_little_endian(data))
        while len(self._unsent) >= FRAME_BYTES:
            self._frame(bytes(self._unsent[:FRAME_BYTES]))
            del self._unsent[:FRAME_BYTES]

    def _hang_up(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pcm is not None:
            self._pcm.close()
            self._pcm = None
            self._unsent += self._encoder.finish()
            if self._unsent:
                self._frame(bytes(self._unsent.ljust(FRAME_BYTES, b"\0")))
            self._end()

    def _broken(self, error: PcmError) -> None:
        self._trouble(str(error))
        self._hang_up()
