"""IMA ADPCM as speakers on the wire have it: mono, high nibble first, no block header; predictor and index begin at 0."""

from __future__ import annotations

from collections.abc import Iterable

STEPS = (
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107, 118, 130,
    143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282,
    1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630,
    9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
)  # fmt: skip
MOVES = (-1, -1, -1, -1, 2, 4, 6, 8) * 2


class Coder:
    """One session in one direction; its state runs on from call to call."""

    def __init__(self) -> None:
        self._predictor = 0
        self._index = 0

    def encode(self, samples: Iterable[int]) -> bytes:
        """Two 16-bit samples a byte; a last odd one is doubled."""
        coded = [self._encode(int(sample)) for sample in samples]
        if len(coded) % 2:
            coded.append(0)
        return bytes(first << 4 | second for first, second in zip(coded[::2], coded[1::2], strict=True))

    def decode(self, data: bytes) -> list[int]:
        """The samples in `data`, two a byte."""
        return [self._take(nibble) for byte in data for nibble in (byte >> 4, byte & 15)]

    def _encode(self, sample: int) -> int:
        step = STEPS[self._index]
        apart = sample - self._predictor
        nibble = 0
        if apart < 0:
            nibble, apart = 8, -apart
        for bit in (4, 2, 1):
            if apart >= step:
                nibble |= bit
                apart -= step
            step >>= 1
        self._take(nibble)
        return nibble

    def _take(self, nibble: int) -> int:
        """The sample that a nibble stands for; moves the state on."""
        step = STEPS[self._index]
        by = step >> 3
        if nibble & 4:
            by += step
        if nibble & 2:
            by += step >> 1
        if nibble & 1:
            by += step >> 2
        self._predictor = max(-32768, min(32767, self._predictor + (-by if nibble & 8 else by)))
        self._index = max(0, min(88, self._index + MOVES[nibble]))
        return self._predictor
