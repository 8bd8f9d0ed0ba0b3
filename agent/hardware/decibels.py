"""Whether a mixer control knows decibels, asked of alsa-lib itself.

pyalsaaudio ignores alsa-lib's answer "no such information" and returns uninitialised memory, which may look like a range.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any


def db_range(device: str, control: str) -> tuple[int, int] | None:
    """Lowest and highest playback level of `control` in hundredths of a dB; None if it has no such information."""
    alsa = _library()
    mixer, name = ctypes.c_void_p(), ctypes.c_void_p()
    if alsa is None or alsa.snd_mixer_open(ctypes.byref(mixer), 0) != 0:
        return None
    try:
        if (
            alsa.snd_mixer_attach(mixer, device.encode()) != 0
            or alsa.snd_mixer_selem_register(mixer, None, None) != 0
            or alsa.snd_mixer_load(mixer) != 0
            or alsa.snd_mixer_selem_id_malloc(ctypes.byref(name)) != 0
        ):
            return None
        alsa.snd_mixer_selem_id_set_name(name, control.encode())
        element = alsa.snd_mixer_find_selem(mixer, name)
        low, high = ctypes.c_long(), ctypes.c_long()
        known = element and alsa.snd_mixer_selem_get_playback_dB_range(element, ctypes.byref(low), ctypes.byref(high)) == 0
        return (low.value, high.value) if known else None
    finally:
        if name.value is not None:
            alsa.snd_mixer_selem_id_free(name)
        alsa.snd_mixer_close(mixer)


@functools.cache
def _library() -> Any:
    try:
        alsa = ctypes.CDLL("libasound.so.2")
    except OSError:
        return None
    handle, text = ctypes.c_void_p, ctypes.c_char_p
    alsa.snd_mixer_attach.argtypes = [handle, text]
    alsa.snd_mixer_selem_register.argtypes = [handle, handle, handle]
    alsa.snd_mixer_load.argtypes = [handle]
    alsa.snd_mixer_close.argtypes = [handle]
    alsa.snd_mixer_selem_id_set_name.argtypes = [handle, text]
    alsa.snd_mixer_selem_id_set_name.restype = None
    alsa.snd_mixer_selem_id_free.argtypes = [handle]
    alsa.snd_mixer_selem_id_free.restype = None
    alsa.snd_mixer_find_selem.argtypes = [handle, handle]
    alsa.snd_mixer_find_selem.restype = handle
    alsa.snd_mixer_selem_get_playback_dB_range.argtypes = [handle, handle, handle]
    return alsa
