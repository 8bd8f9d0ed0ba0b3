"""IMA ADPCM as the speaker contract has it (section 4): mono, high nibble first, no block header, state (0, 0) at the start.

The arithmetic is the IMA's own (additions of shifted steps, as ffmpeg's `adpcm_ima_ssi`), in tables: one entry per step index
and nibble.
"""

from __future__ import annotations

import sys
from array import array

SAMPLES_PER_S = 16_000
FRAME_BYTES = 512
"""1,024 samples, 64 ms."""

_STEPS = (
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107, 118, 130,
    143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282,
    1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493,
    10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
)  # fmt: skip
_MOVES = (-1, -1, -1, -1, 2, 4, 6, 8)
_LAST = len(_STEPS) - 1
_LOW, _HIGH = -32768, 32767


def _difference(step: int, nibble: int) -> int:
    size = (step >> 3) + (step if nibble & 4 else 0) + (step >> 1 if nibble & 2 else 0) + (step >> 2 if nibble & 1 else 0)
    return -size if nibble & 8 else size


_DIFFERENCE = [_difference(step, nibble) for step in _STEPS for nibble in range(16)]
"""By 16 * index + nibble."""
_NEXT = [16 * min(_LAST, max(0, index + _MOVES[nibble & 7])) for index in range(len(_STEPS)) for nibble in range(16)]
"""16 * the next index, by 16 * index + nibble."""


class Decoder:
    """One session; the state runs on from call to call."""

    def __init__(self) -> None:
        self._predictor = 0
        self._row = 0

    def decode(self, data: bytes) -> array[int]:
        """The samples in `data`, two per byte, 16 bits in the machine's byte order."""
        difference, following = _DIFFERENCE, _NEXT
        predictor, row = self._predictor, self._row
        samples = array("h", bytes(4 * len(data)))
        place = 0
        for byte in data:
            entry = row + (byte >> 4)
            predictor += difference[entry]
            if predictor > _HIGH:
                predictor = _HIGH
            elif predictor < _LOW:
                predictor = _LOW
            samples[place] = predictor
            entry = following[entry] + (byte & 15)
            predictor += difference[entry]
            if predictor > _HIGH:
                predictor = _HIGH
            elif predictor < _LOW:
                predictor = _LOW
            samples[place + 1] = predictor
            row = following[entry]
            place += 2
        self._predictor, self._row = predictor, row
        return samples


class Encoder:
    """One session; the state runs on from call to call."""

    def __init__(self) -> None:
        self._predictor = 0
        self._row = 0
        self._half: int | None = None

    def encode(self, samples: array[int]) -> bytes:
        """The bytes for `samples`; an odd one waits for the next call."""
        data = bytearray()
        predictor, row, half = self._predictor, self._row, self._half
        for sample in samples:
            step = _STEPS[row >> 4]
            left = sample - predictor
            nibble = 0
            if left < 0:
                nibble, left = 8, -left
            if left >= step:
                nibble |= 4
                left -= step
            step >>= 1
            if left >= step:
                nibble |= 2
                left -= step
            if left >= step >> 1:
                nibble |= 1
            entry = row + nibble
            predictor = min(_HIGH, max(_LOW, predictor + _DIFFERENCE[entry]))
            row = _NEXT[entry]
            if half is None:
                half = nibble << 4
            else:
                data.append(half | nibble)
                half = None
        self._predictor, self._row, self._half = predictor, row, half
        return bytes(data)

    def finish(self) -> bytes:
        """The byte of an odd last sample, if there is one."""
        half, self._half = self._half, None
        return b"" if half is None else bytes((half,))


def little_endian(samples: array[int]) -> bytes:
    """The samples as a sound device takes them (S16_LE)."""
    if sys.byteorder == "big":
        samples = array("h", samples)
        samples.byteswap()
    return samples.tobytes()


def from_little_endian(data: bytes) -> array[int]:
    """The reverse of `little_endian`; half a sample at the end is left out."""
    samples = array("h", data[: len(data) & ~1])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def louder(samples: array[int], factor: float) -> array[int]:
    """The samples times `factor`, 0 to 1."""
    if factor >= 1:
        return samples
    if factor <= 0:
        return array("h", bytes(2 * len(samples)))
    return array("h", [int(sample * factor) for sample in samples])
