"""Percent to mixer values and back, so that half the percent sounds like about half as loud.

The mapping is alsamixer's (alsa-utils, volume_mapping.c): a control with a range of at most 24 dB is linear in dB, a longer one
follows `max + 60 * log10(v)`. A control without dB information, or one that is curved already (a sound server's, a softvol),
is linear in raw units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DB_MUTE = -9999999
"""SND_CTL_TLV_DB_GAIN_MUTE: the lowest step is silence."""
LINEAR_RANGE_DB = 24.0
CREDIBLE_CDB = 20000
"""Nothing real is beyond ±200 dB; pyalsaaudio returns uninitialised memory where a control has no dB information."""
SOFTVOL_RAW = (0, 255)
SOFTVOL_CDB = -5100
FEWEST_STEPS = 4
"""What has fewer steps is a switch that calls itself a volume."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What a control can be set to: raw units, and hundredths of a dB where it tells them credibly (`cdb`)."""

    minimum: int
    maximum: int
    cdb: tuple[int, int] | None = None

    @classmethod
    def of(cls, raw: tuple[int, int], cdb: tuple[int, int] | None, control: str = "") -> Scale:
        """The scale of a control called `control` from the ranges ALSA tells, the second of which may be garbage."""
        if cdb is None or not _credible(*cdb) or _is_softvol(raw, cdb, control):
            return cls(*raw)
        return cls(*raw, cdb)

    @property
    def is_switch(self) -> bool:
        """Whether it has too few steps to be a volume."""
        return self.maximum - self.minimum < FEWEST_STEPS - 1

    def raw(self, percent: int) -> int:
        """The raw value for `percent`, of a scale without dB; with dB, its raw units taken as linear in dB."""
        if self.cdb is None:
            share = percent / 100
        elif percent == 0:
            share = 0.0
        else:
            low, high = self.cdb
            low = max(low, -CREDIBLE_CDB)
            share = (self.level(percent) - low) / (high - low)
        return self.minimum + round(share * (self.maximum - self.minimum))

    def level(self, percent: int) -> int:
        """The level for `percent` in hundredths of a dB; only of a scale with dB."""
        assert self.cdb is not None
        low, high = self.cdb
        share = percent / 100
        if _is_linear(low, high):
            return low + round(share * (high - low))
        floor = _floor(low, high)
        value = share * (1 - floor) + floor
        return low if value <= 0 else max(low, high + round(6000 * math.log10(value)))

    def percent(self, raw: int, level: int | None = None) -> int:
        """What a control stands at, 0-100, from its raw value and its level in hundredths of a dB."""
        if self.cdb is None or level is None:
            span = self.maximum - self.minimum
            share = (raw - self.minimum) / span if span else 1.0
        else:
            low, high = self.cdb
            if _is_linear(low, high):
                share = (level - low) / (high - low)
            elif level <= low:
                share = 0.0
            else:
                floor = _floor(low, high)
                share = (10 ** ((level - high) / 6000) - floor) / (1 - floor)
        return min(100, max(0, round(share * 100)))


def _credible(low: int, high: int) -> bool:
    return low < high <= CREDIBLE_CDB and (low == DB_MUTE or low >= -CREDIBLE_CDB) and high > -CREDIBLE_CDB


def _is_softvol(raw: tuple[int, int], cdb: tuple[int, int], control: str) -> bool:
    return "soft" in control.lower() or (raw == SOFTVOL_RAW and cdb == (SOFTVOL_CDB, 0))


def _is_linear(low: int, high: int) -> bool:
    return low != DB_MUTE and high - low <= LINEAR_RANGE_DB * 100


def _floor(low: int, high: int) -> float:
    return 0.0 if low == DB_MUTE else 10 ** ((low - high) / 6000)
