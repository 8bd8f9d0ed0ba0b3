"""Which board this is."""

from __future__ import annotations

from enum import Enum


class Platform(Enum):
    """With an encoder of its own, and without."""

    VC4 = 0
    PISP = 1


_platform = Platform.VC4


def get_platform() -> Platform:
    return _platform
