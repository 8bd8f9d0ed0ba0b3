"""Which card sounds, and which of its controls is the volume. Cards have names: their numbers change with every plug."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CONTROL_PREFERENCE = (
    "Master",
    "PCM",
    "HDMI",
    "Speaker",
    "Digital",
    "Headphone",
    "Headphones",
    "Headset",
    "Line Out",
    "Lineout",
    "Playback",
    "Front",
    "DAC",
)
_NO_CARD = ("default", "sysdefault", "pulse", "pipewire", "jack")
_CARD_NAME = re.compile(r"[A-Za-z0-9_-]+")
_COMMENT = re.compile(r"#[^\n]*")
_PCM_DEFAULT = re.compile(r"\bpcm\s*\.\s*[!?+-]?\s*default\b|\bdefaults\s*\.\s*pcm\s*\.\s*!?\s*card\b")
_CTL_DEFAULT = re.compile(r"\bctl\s*\.\s*[!?+-]?\s*default\b|\bdefaults\s*\.\s*ctl\s*\.\s*!?\s*card\b")
_CARD_IN_CONF = re.compile(r"\bhw:(?:CARD=)?([A-Za-z0-9_-]+)|\bcard\s*=?\s*\"?([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is: the text of the ALSA configuration, the cards' names by number, and the controls of two of them."""

    configuration: str = ""
    cards: Sequence[str] = ()
    default_controls: Sequence[str] = ()
    first_controls: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """`device`: the mixer's ALSA name; `audio_device`: the same card as mpv names it, empty for its own choice."""

    device: str
    audio_device: str


def choose_card(card: str, connector: str, survey: Survey) -> Choice | None:
    """The card for the setting `card`; None if there is none.

    For `auto`: what a sound server or an asound.conf made the default, else the HDMI port of the first screen (`connector`),
    else the first card.
    """
    if card != "auto":
        is_card = card in survey.cards or (_CARD_NAME.fullmatch(card) is not None and card not in _NO_CARD)
        return _of(card) if is_card else Choice(card, "" if card == "default" else f"alsa/{card}")
    text = _COMMENT.sub("", survey.configuration)
    if _CTL_DEFAULT.search(text):
        return Choice("default", "")
    if (found := _PCM_DEFAULT.search(text)) and (named := _CARD_IN_CONF.search(text, found.start())):
        return Choice(f"hw:CARD={named[1] or named[2]}", "")
    if survey.default_controls and (not survey.cards or list(survey.default_controls) != list(survey.first_controls)):
        return Choice("default", "")
    hdmi = _hdmi_card(connector, survey.cards)
    if hdmi is not None:
        return _of(hdmi)
    return _of(survey.cards[0]) if survey.cards else None


def in_order(controls: Iterable[str]) -> list[str]:
    """The controls, the likeliest volume first."""
    names = list(dict.fromkeys(controls))
    known = [name for name in CONTROL_PREFERENCE if name in names]
    return known + [name for name in names if name not in known]


def _of(card: str) -> Choice:
    return Choice(f"hw:CARD={card}", f"alsa/sysdefault:CARD={card}")


def _hdmi_card(connector: str, cards: Sequence[str]) -> str | None:
    """The Raspberry Pi's sound card of an HDMI connector; of the first one if no connector is known."""
    port = re.fullmatch(r"HDMI-A-(\d+)", connector or "HDMI-A-1")
    if port is None:
        return None
    for name in (f"vc4hdmi{int(port[1]) - 1}", "vc4hdmi"):
        if name in cards:
            return name
    return None
