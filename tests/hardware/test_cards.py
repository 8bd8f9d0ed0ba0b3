"""Which card sounds, and which control is its volume."""

from __future__ import annotations

import pytest

from agent.hardware.cards import Choice, Survey, choose_card, in_order

PI_4 = ("Headphones", "vc4hdmi0", "vc4hdmi1")


@pytest.mark.parametrize(
    ("connector", "device"),
    [
        ("HDMI-A-1", "hw:CARD=vc4hdmi0"),
        ("HDMI-A-2", "hw:CARD=vc4hdmi1"),
        ("", "hw:CARD=vc4hdmi0"),
        ("DSI-1", "hw:CARD=Headphones"),
        ("HDMI-A-3", "hw:CARD=Headphones"),
    ],
)
def test_sound_follows_the_first_screen(connector: str, device: str) -> None:
    """The HDMI port of the first screen sounds; a screen without one leaves the first card."""
    survey = Survey(cards=PI_4, default_controls=["PCM"], first_controls=["PCM"])
    choice = choose_card("auto", connector, survey)
    assert choice is not None
    assert choice.device == device
    assert choice.audio_device == device.replace("hw:", "alsa/sysdefault:")


def test_a_sound_server_comes_first() -> None:
    """Where the default mixer is not the first card's, a sound server stands behind it."""
    survey = Survey(cards=PI_4, default_controls=["Master", "Capture"], first_controls=["PCM"])
    assert choose_card("auto", "HDMI-A-1", survey) == Choice("default", "")


def test_a_sound_server_without_cards() -> None:
    """A server with a null sink has no card at all."""
    assert choose_card("auto", "", Survey(default_controls=["Master"])) == Choice("default", "")


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("pcm.!default { type hw card Device }\nctl.!default { type hw card Device }", "default"),
        ("defaults.pcm.card 1\ndefaults.ctl.card 1", "default"),
        ('pcm.!default { type plug slave.pcm "hw:Device" }', "hw:CARD=Device"),
        ("pcm.!default { type plug slave.pcm { type hw card 1 } }", "hw:CARD=1"),
        ("# pcm.!default { type hw card Device }", "hw:CARD=vc4hdmi0"),
        ("pcm.other { type hw card Device }", "hw:CARD=vc4hdmi0"),
    ],
)
def test_what_the_owner_configured_counts(text: str, device: str) -> None:
    """An asound.conf that names a default decides, also one that names it for sound only and forgets the mixer."""
    survey = Survey(configuration=text, cards=PI_4, default_controls=["PCM"], first_controls=["PCM"])
    choice = choose_card("auto", "HDMI-A-1", survey)
    assert choice is not None
    assert choice.device == device


def test_a_named_card() -> None:
    """A card is addressed by name, also while it is unplugged; other words are ALSA's own names."""
    assert choose_card("Device", "", Survey()) == Choice("hw:CARD=Device", "alsa/sysdefault:CARD=Device")
    assert choose_card("default", "", Survey()) == Choice("default", "")
    assert choose_card("hw:CARD=Device", "", Survey()) == Choice("hw:CARD=Device", "alsa/hw:CARD=Device")


def test_no_card() -> None:
    """Without cards and server there is nothing to choose."""
    assert choose_card("auto", "", Survey()) is None


def test_the_likeliest_control_first() -> None:
    """Known names by preference, then the card's own order, each once."""
    assert in_order(["Mic", "Headphone", "PCM", "PCM", "Master", "Bass"]) == ["Master", "PCM", "Headphone", "Mic", "Bass"]
