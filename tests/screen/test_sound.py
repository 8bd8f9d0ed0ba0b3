"""Where sound goes, and that nothing is said about ways that are not there."""

from __future__ import annotations

import subprocess
import sys

from agent.screen import sound

OPEN_A_CARD = """
import ctypes, sys
from agent.screen import sound
if sys.argv[1] == "hushed":
    sound.hush()
alsa = ctypes.CDLL("libasound.so.2")
pcm = ctypes.c_void_p()
alsa.snd_pcm_open(ctypes.byref(pcm), b"hw:29", 0, 0)
"""


def said(how: str) -> str:
    """What a process writes to standard error when it opens a card that is not there."""
    return subprocess.run([sys.executable, "-c", OPEN_A_CARD, how], capture_output=True, text=True, check=True).stderr


def test_alsa_says_nothing() -> None:
    """A missing card fills no log; without the precaution it would."""
    assert "ALSA lib" in said("plain")
    assert said("hushed") == ""


def test_a_box_without_sound_plays_silently() -> None:
    """No way to a card is not the end of a film, and a screen that is not to sound opens none."""
    assert sound.options(sound=True, device="")["ao"].endswith(",null")
    assert sound.options(sound=False, device="alsa/default") == {"aid": "no", "ao": "null"}
    assert sound.options(sound=True, device="alsa/hdmi:CARD=vc4hdmi0")["audio-device"] == "alsa/hdmi:CARD=vc4hdmi0"
