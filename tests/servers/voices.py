"""Sound for announcements: WAV files read and written, and samples made here. Everything is 16 kHz mono, 16 bit."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
LONGEST_S = 600.0
Samples = NDArray[np.int16]


def read_wav(data: bytes) -> Samples:
    """The sound in a PCM WAV file of any rate, width and number of channels. Raises ValueError with what is wrong."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            if file.getnframes() > LONGEST_S * rate:
                raise ValueError(f"longer than {LONGEST_S:g} s")
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"not a PCM WAV file: {error}") from None
    if not raw:
        raise ValueError("a WAV file without sound")
    whole = raw[: len(raw) // (width * channels) * width * channels]
    mono = _levels(whole, width).reshape(-1, channels).mean(axis=1)
    return _to_samples(_resampled(mono, rate))


def write_wav(samples: Sequence[int] | Samples) -> bytes:
    """A WAV file."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return data.getvalue()


def tone(hertz: float = 440.0, seconds: float = 2.0, *, dbfs: float = -12.0) -> Samples:
    """A sine; `dbfs` is its peak."""
    times = np.arange(round(seconds * RATE)) / RATE
    return _to_samples(np.sin(2 * np.pi * hertz * times) * 10 ** (dbfs / 20))


def chime() -> Samples:
    """Three bells going up, as before an announcement in a department store."""
    seconds, sound = 3.2, np.zeros(round(3.2 * RATE))
    for begin_s, hertz in ((0.0, 523.25), (0.42, 659.26), (0.84, 783.99)):
        times = np.arange(round((seconds - begin_s) * RATE)) / RATE
        bell = sum(
            level * np.exp(-times * fade) * np.sin(2 * np.pi * hertz * part * times)
            for part, level, fade in ((1.0, 1.0, 2.2), (2.0, 0.35, 3.4), (3.01, 0.18, 5.0), (5.4, 0.06, 9.0))
        )
        bell *= 1 - np.exp(-times * 400)
        sound[len(sound) - len(times) :] += bell
    sound *= np.minimum(1, (seconds - np.arange(len(sound)) / RATE) / 0.3)
    return _to_samples(sound / np.abs(sound).max() * 0.7)


SAMPLES = {"chime": ("Chime", chime), "tone": ("Tone, 440 Hz", tone)}
"""What the console page offers: name → title, maker."""


def _levels(raw: bytes, width: int) -> NDArray[np.float64]:
    """-1 to 1."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        bytes_ = np.frombuffer(raw, np.uint8).reshape(-1, 3).astype(np.int32)
        return ((bytes_[:, 0] << 8 | bytes_[:, 1] << 16 | bytes_[:, 2] << 24) >> 8) / float(1 << 23)
    if width in (2, 4):
        return np.frombuffer(raw, f"<i{width}") / float(1 << (8 * width - 1))
    raise ValueError(f"a WAV file with {8 * width} bits")


def _resampled(mono: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """At RATE; what that cannot hold is cut away in the spectrum."""
    if rate == RATE:
        return mono
    count = max(1, round(len(mono) * RATE / rate))
    quiet = np.concatenate([mono, np.zeros(rate // 10)])  # the transform takes the end for the neighbour of the beginning
    spectrum = np.fft.rfft(quiet)
    padded = round(len(quiet) * RATE / rate)
    kept = padded // 2 + 1
    spectrum = spectrum[:kept] if kept <= len(spectrum) else np.pad(spectrum, (0, kept - len(spectrum)))
    return np.fft.irfft(spectrum, padded)[:count] * (padded / len(quiet))


def _to_samples(levels: NDArray[np.float64]) -> Samples:
    assert math.isfinite(float(np.abs(levels).max(initial=0)))
    return (np.clip(levels, -1, 1) * 32767).round().astype(np.int16)
