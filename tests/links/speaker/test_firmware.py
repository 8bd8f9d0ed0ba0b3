"""Which binary frames are an image's, and what is done about each (speaker contract, section 3)."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import pytest

from agent.links.speaker.firmware import NO_BUNDLE, TOO_MUCH, Firmware, Verdict
from agent.links.speaker.messages import Form, OtaAck, OtaNack
from tests.links.speaker.updates import make_bundle

ACK = [Verdict(answer=OtaAck(ota_ack=seq)) for seq in range(9)]
NACK = [Verdict(answer=OtaNack(ota_nack=seq)) for seq in range(9)]
SWALLOW, VOICE = Verdict(), Verdict(ours=False)


def chunk(seq: int, data: bytes = b"data", *, length: int | None = None, crc: int | None = None) -> bytes:
    """A frame of form 3."""
    header = struct.pack("<III", seq, len(data) if length is None else length, zlib.crc32(data) if crc is None else crc)
    return header + data


def written(seq: int, data: bytes = b"data") -> Verdict:
    """A good chunk."""
    return Verdict(data=data, answer=OtaAck(ota_ack=seq))


def accepted(form: Form, size: int | None = None, now: float = 0.0) -> Firmware:
    """An image of this form is to come."""
    firmware = Firmware()
    firmware.accept(form, size, now)
    return firmware


def test_nothing_was_asked_for() -> None:
    """Binary frames are somebody else's, the end of an image is none, and nothing is waited for."""
    firmware = Firmware()
    assert firmware.frame(b"voice", 0) == VOICE
    assert firmware.complete() is None
    assert firmware.deadline is None
    assert firmware.expire(1e9) == firmware.text() == ""
    assert firmware.voice(0)


# Form 2


def test_form_2() -> None:
    """Bare frames of any length until all is there; the next frame is a voice's again."""
    firmware = accepted(2, 5000)
    for data in (bytes(2048), bytes(2048), b"", bytes(904)):
        assert firmware.frame(data, 1) == Verdict(data=data)
    assert firmware.progress == (5000, 5000)
    assert firmware.complete() == ""
    assert firmware.frame(b"voice", 1) == VOICE
    assert firmware.complete() is None


def test_form_2_that_is_too_short() -> None:
    """Said with numbers."""
    firmware = accepted(2, 5000)
    firmware.frame(bytes(2048), 1)
    assert firmware.complete() == "The image is incomplete: 2048 of 5000 bytes came."
    assert not firmware.takes


def test_form_2_that_is_too_long() -> None:
    """What is too much is never written; the rest is swallowed until its end."""
    firmware = accepted(2, 5000)
    assert firmware.frame(bytes(4999), 1).data
    assert firmware.frame(bytes(2), 1) == Verdict(fault=TOO_MUCH)
    assert firmware.frame(bytes(2), 1) == SWALLOW
    assert firmware.complete() is None


# Form 3


def test_form_3() -> None:
    """Each chunk is written and acknowledged."""
    firmware = accepted(3, 10)
    assert firmware.frame(chunk(0), 1) == written(0)
    assert firmware.frame(chunk(1), 1) == written(1)
    assert firmware.frame(chunk(2, b"xy"), 1) == written(2, b"xy")
    assert firmware.complete() == ""


def test_form_3_answers_as_the_contract_says() -> None:
    """Short: nack(expected). Length or checksum wrong: nack(seq). Below: ack, not written. Ahead: nack(seq)."""
    firmware = accepted(3, 12)
    assert firmware.frame(b"", 0) == firmware.frame(b"x" * 11, 0) == NACK[0]
    assert firmware.frame(chunk(0), 0) == written(0)
    assert firmware.frame(b"x" * 11, 0) == NACK[1]
    for bad in (chunk(1, length=3), chunk(1, length=5), chunk(1, crc=7), chunk(1, b"")[:11] + b"\x01"):
        assert firmware.frame(bad, 0) == NACK[1]
    assert firmware.frame(chunk(0, length=1), 0) == NACK[0], "broken, though below"
    assert firmware.frame(chunk(0), 0) == ACK[0]
    assert firmware.frame(chunk(0, b"other"), 0) == ACK[0]
    assert firmware.frame(chunk(2), 0) == NACK[2]
    assert firmware.frame(chunk(0xFFFFFFFF), 0) == Verdict(answer=OtaNack(ota_nack=0xFFFFFFFF))
    assert firmware.frame(chunk(1), 0) == written(1)
    assert firmware.frame(chunk(2, bytes(5)), 0) == NACK[2], "more than announced"
    assert firmware.frame(chunk(2), 0) == written(2)
    assert firmware.complete() == ""


def test_form_3_after_three_failures() -> None:
    """The server goes on to the next chunks, none of which fits, and says OTA_COMPLETE: too short."""
    firmware = accepted(3, 12)
    firmware.frame(chunk(0), 0)
    assert [firmware.frame(chunk(seq), 0) for seq in (2, 2, 2)] == [NACK[2]] * 3
    assert firmware.complete() == "The image is incomplete: 4 of 12 bytes came."


# Form 1


def test_form_1() -> None:
    """A bundle is collected to the end it states, in frames of any length; texts do not matter; what fills up is nothing."""
    image = make_bundle(5000)
    firmware = accepted(1)
    assert firmware.frame(image[:2048], 1) == Verdict(data=image[:2048])
    assert firmware.text() == ""
    assert not firmware.voice(9)
    assert firmware.frame(image[2048:4096], 1) == Verdict(data=image[2048:4096])
    assert firmware.frame(image[4096:] + bytes(1144), 1) == Verdict(data=image[4096:], ends=True)
    assert firmware.frame(bytes(2048), 1) == SWALLOW
    assert firmware.complete() is None
    assert firmware.frame(b"voice", 1) == VOICE


def test_form_1_in_tiny_frames() -> None:
    """The beginning is put together first."""
    image = make_bundle(300)
    firmware = accepted(1)
    verdicts = [firmware.frame(image[at : at + 3], 1) for at in range(0, 300, 3)]
    assert b"".join(verdict.data for verdict in verdicts) == image
    assert [verdict.ends for verdict in verdicts] == [False] * 99 + [True]


def test_form_1_in_one_frame() -> None:
    """Begins and ends at once."""
    image = make_bundle(300)
    assert accepted(1).frame(image + b"more", 1) == Verdict(data=image, ends=True)


@pytest.mark.parametrize("end", ["text", "OTA_COMPLETE", "silence"])
def test_form_1_of_something_else(end: str) -> None:
    """Swallowed until some text or 5 s of silence; then it is said that this was no bundle, and frames are a voice's."""
    firmware = accepted(1)
    for at in (4, 8, 12):
        assert firmware.frame(b"x" * 2048, at) == SWALLOW
        assert firmware.expire(at + 4.9) == ""
    assert not firmware.voice(12)
    if end == "text":
        assert firmware.text() == "foreign"
    elif end == "silence":
        assert firmware.deadline == 17
        assert firmware.expire(17) == "foreign"
    else:
        assert firmware.complete() == NO_BUNDLE
    assert firmware.frame(b"voice", 12) == VOICE


def test_form_1_after_something_else() -> None:
    """A bundle that comes late is one."""
    firmware = accepted(1)
    assert firmware.frame(b"x" * 2048, 1) == SWALLOW
    assert firmware.frame(make_bundle(300), 4).ends


def test_form_1_of_which_nothing_comes() -> None:
    """It is to be fetched after 5 s, whatever is said meanwhile; also when a voice begins, whose frames are its own."""
    for speaks in (False, True):
        firmware = accepted(1, now=10)
        assert firmware.text() == ""
        assert firmware.complete() is None
        if speaks:
            assert firmware.voice(11)
            assert firmware.frame(b"voice", 12) == VOICE
        assert firmware.expire(14.9) == ""
        assert firmware.expire(15) == "fetch"
        assert firmware.frame(b"voice", 15) == VOICE


@pytest.mark.parametrize("length", [0, 16, 116, 1024**3 + 1, 2**64 - 1])
def test_form_1_of_an_absurd_length(length: int) -> None:
    """Refused at once, its frames swallowed."""
    firmware = accepted(1)
    assert firmware.frame(struct.pack("<8sQ", b"SIGNBNDL", length) + bytes(100), 1).fault
    assert not firmware.takes
    assert firmware.frame(bytes(2048), 2) == SWALLOW
    assert firmware.frame(b"voice", 7.1) == VOICE


# Endings


@pytest.mark.parametrize("form", [1, 2, 3])
def test_60_s_without_a_frame(form: Any) -> None:
    """The image is lost; frames are a voice's again."""
    firmware = accepted(form, None if form == 1 else 5000)
    image = make_bundle(5000)
    firmware.frame(chunk(0, image[:2048]) if form == 3 else image[:2048], 30)
    assert firmware.expire(89.9) == ""
    assert firmware.deadline == 90
    assert firmware.expire(90) == "lost"
    assert firmware.frame(b"voice", 90) == VOICE


def test_the_disks_time_is_not_the_servers() -> None:
    """Counted from when the frame was dealt with."""
    firmware = accepted(2, 5000)
    firmware.frame(bytes(2048), 10)
    firmware.touch(40)
    assert firmware.deadline == 100


@pytest.mark.parametrize("form", [2, 3])
def test_a_form_2_or_3_that_never_begins(form: Any) -> None:
    """Is lost after 60 s, too."""
    firmware = accepted(form, 5000)
    assert firmware.expire(59) == ""
    assert firmware.expire(60) == "lost"


@pytest.mark.parametrize("form", [1, 2, 3])
def test_an_image_that_failed(form: Any) -> None:
    """Its further frames are swallowed, or nacked."""
    firmware = accepted(form, None if form == 1 else 5000)
    image = make_bundle(5000)
    firmware.frame(chunk(0, image[:2048]) if form == 3 else image[:2048], 1)
    firmware.fail()
    assert firmware.frame(chunk(1), 1) == (NACK[1] if form == 3 else SWALLOW)
    assert firmware.complete() is None
    assert firmware.frame(b"voice", 1) == VOICE


@pytest.mark.parametrize("form", [1, 2, 3])
def test_a_disconnect(form: Any) -> None:
    """Ends everything."""
    firmware = accepted(form, 500)
    firmware.end()
    assert firmware.deadline is None
    assert firmware.frame(b"voice", 0) == VOICE


# Refused images


def refused(form: Form, now: float = 0.0) -> Firmware:
    """The server was told no; some send all the same."""
    firmware = Firmware()
    firmware.refuse(form, now)
    return firmware


def test_refused_form_1_ends_with_a_text_or_5_s_of_silence() -> None:
    """It has no end marker."""
    firmware = refused(1, 10)
    for at in (14, 18, 22):
        assert firmware.frame(make_bundle(300), at) == SWALLOW
    assert firmware.frame(b"voice", 27.1) == VOICE
    firmware = refused(1, 10)
    assert firmware.frame(b"x", 10) == SWALLOW
    assert firmware.text() == "over"
    assert firmware.frame(b"voice", 10) == VOICE
    firmware = refused(1, 10)
    assert firmware.expire(15) == "over"


@pytest.mark.parametrize("form", [2, 3])
def test_refused_forms_with_an_end_marker(form: Any) -> None:
    """Texts and pauses do not end them; the marker does, and 60 s without a frame."""
    firmware = refused(form)
    firmware.text()
    assert firmware.frame(chunk(0), 1).ours
    assert firmware.frame(chunk(0), 60.9).ours
    assert not firmware.frame(chunk(0), 121).ours
    firmware = refused(form, 100)
    assert firmware.complete() is None
    assert firmware.frame(b"voice", 100) == VOICE


def test_refused_chunks_are_nacked() -> None:
    """Each with its own number; a short one with the number that is expected."""
    firmware = refused(3)
    frames = (chunk(0), chunk(0), chunk(7), chunk(5, crc=1), b"", b"x" * 11, chunk(8, b""))
    assert [firmware.frame(frame, 0) for frame in frames] == [NACK[seq] for seq in (0, 0, 7, 5, 0, 0, 8)]


@pytest.mark.parametrize("form", [2, 3])
def test_a_voice_begins_where_no_refused_image_flows(form: Any) -> None:
    """A server that honours the refusal sends neither image nor marker; one that does not is not taken for a voice."""
    firmware = refused(form)
    assert firmware.voice(0.1)
    assert firmware.frame(b"voice", 0.1) == VOICE
    firmware = refused(form)
    firmware.frame(chunk(0), 1)
    assert not firmware.voice(1.1)
    assert not firmware.voice(6)
    assert firmware.voice(6.1)


# Hostile streams


@pytest.mark.parametrize("form", [1, 2, 3])
def test_mutated_streams(form: Any) -> None:
    """2,000 of them: never a crash, never a byte beyond the announced size, and whole only with the bytes that were meant."""
    image = make_bundle(3000)
    for seed in range(667):
        chance = random.Random(seed)
        firmware = accepted(form, None if form == 1 else len(image))
        taken, now, whole = bytearray(), 0.0, False
        for frame in mutate(frames_of(image, form), chance):
            now += chance.choice((0.0, 0.1, 1.0, 4.0, 30.0, 70.0)) if chance.random() < 0.05 else 0.01
            firmware.expire(now)
            if isinstance(frame, str):
                said = firmware.complete() if frame == "OTA_COMPLETE" else firmware.text() or None
                whole |= said == ""
                continue
            verdict = firmware.frame(frame, now)
            taken += verdict.data
            whole |= verdict.ends
            assert verdict.answer is None or form == 3
        assert len(taken) <= len(image) or (form == 1 and taken[:16] != image[:16])
        if form == 3:
            assert image.startswith(bytes(taken)), "what is checked chunk by chunk is right or missing"
            assert not whole or taken == image
        elif form == 2:
            assert not whole or len(taken) == len(image)


def frames_of(image: bytes, form: Form) -> list[bytes | str]:
    """As a good server sends it."""
    pieces: list[bytes | str] = []
    for seq, at in enumerate(range(0, len(image), 256)):
        data = image[at : at + 256]
        pieces.append(chunk(seq, data) if form == 3 else data)
    return pieces if form == 1 else [*pieces, "OTA_COMPLETE"]


def mutate(frames: list[bytes | str], chance: random.Random) -> list[bytes | str]:
    """One to five faults: frames lost, repeated, swapped, cut, lengthened, with wrong bytes, or that are something else."""
    frames = list(frames)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(frames))
        frame = frames[at]
        data = bytearray(frame.encode() if isinstance(frame, str) else frame)
        match chance.randrange(9):
            case 0:
                del frames[at : at + chance.randint(1, 3)]
            case 1:
                frames.insert(chance.randrange(len(frames)), frame)
            case 2:
                other = chance.randrange(len(frames))
                frames[at], frames[other] = frames[other], frames[at]
            case 3:
                frames[at] = bytes(data[: chance.randrange(len(data) + 1)])
            case 4:
                frames[at] = bytes(data) + chance.randbytes(chance.randint(1, 300))
            case 5 | 6:
                for _ in range(chance.randint(1, 4) if data else 0):
                    data[chance.randrange(len(data) if chance.random() < 0.5 else min(12, len(data)))] = chance.randrange(256)
                frames[at] = bytes(data)
            case 7:
                frames.insert(at, chance.randbytes(chance.choice((0, 1, 11, 12, 13, 512, 2060))))
            case _:
                frames.insert(at, chance.choice(("TEXT", "OTA_COMPLETE")))
        if not frames:
            return []
    return frames
