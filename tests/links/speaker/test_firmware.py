"""Images that come although they were refused: which frames are theirs, and what is answered (speaker contract, section 3)."""

from __future__ import annotations

import struct

import pytest

from agent.links.speaker.firmware import RefusedFirmware
from agent.links.speaker.messages import OtaNack


def chunk(seq: int, data: bytes = b"data") -> bytes:
    """A frame of form 3."""
    return struct.pack("<III", seq, len(data), 0) + data


def test_nothing_was_asked_for() -> None:
    """Binary frames are somebody else's."""
    assert not RefusedFirmware().is_swallowing(0)


def test_form_1_ends_with_a_text() -> None:
    """It has no end marker."""
    firmware = RefusedFirmware()
    firmware.begin(1, 0)
    assert firmware.is_swallowing(1)
    assert firmware.frame(b"x" * 2048, 1) is None
    assert firmware.is_swallowing(5.9)
    firmware.text()
    assert not firmware.is_swallowing(5.9)


def test_form_1_ends_with_5_s_of_silence() -> None:
    """From the last frame, or from the request."""
    firmware = RefusedFirmware()
    firmware.begin(1, 10)
    assert firmware.is_swallowing(15)
    assert not firmware.is_swallowing(15.1)
    firmware.begin(1, 20)
    for at in (24, 28, 32):
        assert firmware.is_swallowing(at)
        firmware.frame(b"x", at)
    assert not firmware.is_swallowing(37.1)


@pytest.mark.parametrize("form", [2, 3])
def test_forms_with_an_end_marker(form: int) -> None:
    """Texts and pauses do not end them; the marker does, and 60 s without a frame."""
    firmware = RefusedFirmware()
    firmware.begin(form, 0)
    firmware.text()
    firmware.frame(chunk(0), 1)
    assert firmware.is_swallowing(61)
    assert not firmware.is_swallowing(61.1)
    firmware.begin(form, 100)
    firmware.end()
    assert not firmware.is_swallowing(100)


def test_chunks_are_nacked() -> None:
    """Each with its own number; a short one with the number that is expected, 0, since none was ever taken."""
    firmware = RefusedFirmware()
    firmware.begin(3, 0)
    answers = [
        firmware.frame(frame, 0) for frame in (chunk(0), chunk(0), chunk(7), chunk(0xFFFFFFFF), b"", b"x" * 11, chunk(8, b""))
    ]
    assert answers == [OtaNack(ota_nack=seq) for seq in (0, 0, 7, 0xFFFFFFFF, 0, 0, 8)]


@pytest.mark.parametrize("form", [2, 3])
def test_a_voice_begins_where_no_image_flows(form: int) -> None:
    """A server that honours the refusal sends neither image nor marker; one that does not is not taken for a voice."""
    firmware = RefusedFirmware()
    assert firmware.gives_way(0)
    firmware.begin(form, 0)
    assert firmware.gives_way(0.1)
    firmware.frame(chunk(0), 1)
    assert not firmware.gives_way(1.1)
    assert not firmware.gives_way(6)
    assert firmware.gives_way(6.1)
