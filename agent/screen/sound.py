"""Where a screen's sound goes, and quiet about it: sound libraries otherwise write to the log whatever they tried in vain."""

from __future__ import annotations

import ctypes
import os
from typing import Any

OUTPUTS = "pipewire,pulse,alsa,null"
"""Tried in this order; without any of them films play silently, at the right speed."""

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
# What fails, mpv says by itself. alsa-lib keeps the pointer, so it lives as long as the module.
_say_nothing = _Handler(lambda _file, _line, _function, _error, _format: None)


def hush() -> None:
    """Keeps alsa-lib and PipeWire from writing to standard error. Call before the player is made."""
    os.environ.setdefault("PIPEWIRE_DEBUG", "0")
    try:
        alsa: Any = ctypes.CDLL("libasound.so.2")
    except OSError:
        return
    alsa.snd_lib_error_set_handler(_say_nothing)


def options(*, sound: bool, device: str) -> dict[str, str]:
    """libmpv's options; `device` as libmpv names it, empty for its own choice."""
    if not sound:
        return {"aid": "no", "ao": "null"}
    return {"ao": OUTPUTS, **({"audio-device": device} if device else {})}
