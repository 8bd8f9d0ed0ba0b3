"""Listens to a null sink all the time, with the moment at which each sample was heard."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tests.sound import RATE, SILENCE_DBFS, SINK, PrivateSound, loudness_dbfs

AUDIBLE = 0.02
"""Of full scale."""
WAKE_S = 2.2
"""A null sink that nobody listened to has rendered so much silence ahead (its longest latency is 2 s)."""


class Ear:
    """Records what comes out of the sink until the end of the `with`."""

    def __init__(self, sound: PrivateSound) -> None:
        self._sound = sound
        self._chunks: list[tuple[float, NDArray[np.float32]]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["parec", f"--device={SINK}.monitor", "--format=float32le", f"--rate={RATE}", "--channels=1", "--latency-msec=5"],
            env={**os.environ, **self._sound.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._thread = threading.Thread(target=self._listen, name="ear", daemon=True)
        self._thread.start()
        time.sleep(WAKE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def since(self, moment: float) -> Recording:
        """What was heard since then (`time.monotonic`)."""
        with self._lock:
            chunks = [(at, data) for at, data in self._chunks if at >= moment]
        data = np.concatenate([data for _, data in chunks]) if chunks else np.zeros(0, "<f4")
        return Recording(data, chunks[0][0] if chunks else moment, [(at, len(part)) for at, part in chunks])

    def _listen(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        rest = b""
        while data := os.read(descriptor, 65536):
            now = time.monotonic()
            data = rest + data
            whole = len(data) // 4 * 4
            rest = data[whole:]
            with self._lock:
                self._chunks.append((now, np.frombuffer(data[:whole], dtype="<f4")))


@dataclass
class Recording:
    """A piece of what was heard."""

    samples: NDArray[np.float32]
    started: float
    arrivals: list[tuple[float, int]]

    def first_sound(self) -> float:
        """When the first audible sample had arrived: no earlier than it was heard."""
        loud = np.flatnonzero(np.abs(self.samples) > AUDIBLE)
        assert len(loud), "nothing was heard"
        place = 0
        for at, count in self.arrivals:
            place += count
            if place > loud[0]:
                return at
        raise AssertionError

    def audible(self) -> NDArray[np.float32]:
        """From the first audible sample to the last."""
        loud = np.flatnonzero(np.abs(self.samples) > AUDIBLE)
        assert len(loud), "nothing was heard"
        return self.samples[loud[0] : loud[-1] + 1]

    def seconds(self) -> float:
        """From the first audible sample to the last."""
        return len(self.audible()) / RATE

    def longest_gap(self) -> float:
        """Seconds of the longest silence between two audible samples."""
        loud = np.flatnonzero(np.abs(self.audible()) > AUDIBLE)
        return float(np.max(np.diff(loud))) / RATE if len(loud) > 1 else 0.0

    def frequency(self) -> float:
        """The strongest one, in Hz."""
        return frequency(self.audible(), RATE)

    def levels(self, hertz: float, step_s: float = 0.02) -> list[float]:
        """dBFS of that tone, RMS, for each step."""
        size = int(RATE * step_s)
        wave = np.exp(-2j * np.pi * hertz * np.arange(size) / RATE)
        pieces = self.samples[: len(self.samples) // size * size].reshape(-1, size)
        amplitudes = np.abs(pieces @ wave) * 2 / size
        return [20 * float(np.log10(max(a, 1e-9) / np.sqrt(2))) for a in amplitudes]

    def loudness(self) -> float:
        """dBFS of everything, RMS."""
        return loudness_dbfs(self.samples) if len(self.samples) else SILENCE_DBFS


def frequency(samples: NDArray[np.float32], rate: int) -> float:
    """The strongest one, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 18))
    return float(np.argmax(spectrum)) * rate / (1 << 18)
