"""Sound devices: 16 kHz, mono, 16 bits, whatever the hardware behind them takes."""

from __future__ import annotations

import errno
import os
from typing import Any, Literal

from agent.voice.adpcm import SAMPLES_PER_S

SAMPLE_BYTES = 2
PERIOD = 160
"""10 ms."""
OUTPUT_PERIODS = 12
INPUT_PERIODS = 40


class PcmError(Exception):
    """The device cannot be used now; str() says why, in ALSA's words."""


class PcmBusyError(PcmError):
    """Another client has the device, and it takes only one."""


class Pcm:
    """An open device. No call blocks, unless a driver or a sound server hangs."""

    def __init__(self, name: str, direction: Literal["output", "input"]) -> None:
        """Opens it; raises PcmError, PcmBusyError."""
        import alsaaudio  # noqa: PLC0415 - the module needs alsa-lib; what imports this one need not

        self._error: type[Exception] = alsaaudio.ALSAAudioError
        is_output = direction == "output"
        kind = alsaaudio.PCM_PLAYBACK if is_output else alsaaudio.PCM_CAPTURE
        periods = OUTPUT_PERIODS if is_output else INPUT_PERIODS
        wanted = {"rate": SAMPLES_PER_S, "channels": 1, "format": alsaaudio.PCM_FORMAT_S16_LE}
        found: dict[str, Any] = {}
        # Hardware that has no such rate or no mono is asked again through ALSA's converter.
        for device in (name, f"plug:'{name}'"):
            try:
                pcm = alsaaudio.PCM(kind, alsaaudio.PCM_NONBLOCK, device=device, periodsize=PERIOD, periods=periods, **wanted)
            except self._error as error:
                raise self._named(error) from None
            found = pcm.info()
            if (found["rate"], found["channels"], found["format"]) == tuple(wanted.values()):
                self._pcm = pcm
                break
            pcm.close()
        else:
            raise PcmError(f"no 16 kHz mono: rate={found['rate']} channels={found['channels']} [{name}]")
        self.buffer_samples = int(found["buffer_size"])
        """What the device holds at most."""

    def room(self) -> int:
        """How many samples `write` takes now."""
        available = int(self._pcm.avail())
        # After an underrun everything is free: the next write starts anew.
        return self.buffer_samples if available < 0 else available

    def write(self, data: bytes) -> int:
        """Gives samples to the device; how many it took. Raises PcmError."""
        try:
            taken = int(self._pcm.write(data))
            if taken == -errno.EPIPE:
                taken = int(self._pcm.write(data))
        except self._error as error:
            raise self._named(error) from None
        return max(0, taken)

    def read(self) -> bytes:
        """What the microphone has heard since the last call, up to a period; nothing: not yet. Raises PcmError."""
        try:
            taken, data = self._pcm.read()
        except self._error as error:
            raise self._named(error) from None
        return bytes(data) if taken > 0 else b""

    def close(self) -> None:
        """Silent at once; the device is free for others."""
        try:
            self._pcm.drop()
            self._pcm.close()
        except self._error:
            # A device that was unplugged cannot be closed properly either.
            return

    @staticmethod
    def _named(error: Exception) -> PcmError:
        text = str(error)
        return PcmBusyError(text) if text.startswith(os.strerror(errno.EBUSY)) else PcmError(text)
