"""The device as its links see it: one volume, one brightness, one store, some screens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.hardware.brightness import Brightness
from agent.hardware.identity import Identity
from agent.hardware.volume import Volume
from agent.media.store import MediaStore
from agent.screen.proxy import Screen
from agent.system.state import State


@dataclass(frozen=True)
class Device:
    """Put together by the daemon; used by links, which it does not know."""

    identity: Identity
    state: State
    media: MediaStore
    volume: Volume
    brightness: Brightness
    screens: Mapping[str, Screen]
    """By name; the first is the default."""
    image_s: float
    """How long an image without a duration stays."""
    runtime_dir: Path
    """Files that need not survive, in memory where possible."""
