"""Which binary frames are voice, and what the microphone hears in frames (speaker contract, section 4)."""

from __future__ import annotations

import pytest

from agent.links.speaker.voice import FRAME_BYTES, MOST_UNSENT, Announcements, PushToTalk
from tests.links.speaker.standins import StandInVoice


@pytest.fixture
def voice() -> StandInVoice:
    return StandInVoice()


@pytest.fixture
def announcements(voice: StandInVoice) -> Announcements:
    return Announcements(voice, "somebody")


@pytest.fixture
def talk(announcements: Announcements) -> PushToTalk:
    talk = PushToTalk(announcements, lambda: None)
    talk.connect()
    return talk


@pytest.mark.parametrize("opening", ["AUDIO_START", "SPEAK_START", "SPEAKING"])
@pytest.mark.parametrize("closing", ["TTS_END", "SPEAK_END", "DONE", "IDLE"])
def test_sessions(voice: StandInVoice, announcements: Announcements, opening: str, closing: str) -> None:
    """Between the two every frame is voice, outside none is."""
    announcements.frame(b"before")
    announcements.text(opening)
    announcements.frame(b"one")
    announcements.frame(b"")
    announcements.frame(b"two")
    announcements.text(closing)
    announcements.frame(b"after")
    announcements.text(closing)
    assert voice.calls == [("begin", b""), ("frame", b"one"), ("frame", b"two"), ("end", b"")]


@pytest.mark.parametrize(
    "word", ["PROCESSING", "PROCESSING_START", "LISTENING", "00", "42", "😀", "", "audio_start", "AUDIO_STARTED"]
)
def test_other_words(voice: StandInVoice, announcements: Announcements, word: str) -> None:
    """Open and close nothing."""
    announcements.text(word)
    announcements.frame(b"x")
    announcements.text("SPEAKING")
    announcements.text(word)
    announcements.frame(b"y")
    assert voice.heard == [b"y"]
    assert voice.words == ["begin", "frame"]


def test_two_openings(voice: StandInVoice, announcements: Announcements) -> None:
    """Two states before the first frame are one session; an opening after frames begins anew, predictor and all."""
    for word in ("AUDIO_START", "SPEAKING"):
        announcements.text(word)
    announcements.frame(b"a")
    announcements.text("AUDIO_START")
    announcements.frame(b"b")
    assert voice.words == ["begin", "frame", "end", "begin", "frame"]
    assert voice.heard == [b"a", b"b"]


def test_stop(voice: StandInVoice, announcements: Announcements) -> None:
    """Frames still on their way are dropped; also what an ended session still plays is silenced."""
    announcements.text("SPEAKING")
    announcements.frame(b"a")
    announcements.stop()
    announcements.frame(b"b")
    announcements.text("DONE")
    announcements.stop()
    assert voice.words == ["begin", "frame", "stop", "stop"]


def test_speech_in_frames(talk: PushToTalk) -> None:
    """START, frames of 512 bytes whatever pieces come, the last one filled up with zeros, END."""
    heard = bytes(range(1, 256)) * 5
    talk.start()
    for at in range(0, len(heard), 100):
        talk.frame(heard[at : at + 100])
    talk.end()
    start, *frames, end = talk.unsent
    assert (start, end) == ("START", "END")
    assert [len(frame) for frame in frames] == [FRAME_BYTES] * 3
    assert b"".join(frame for frame in frames if isinstance(frame, bytes)) == heard.ljust(3 * FRAME_BYTES, b"\0")


def test_speech_that_fits(talk: PushToTalk) -> None:
    """No frame of zeros alone; the next one begins without a rest of the first."""
    talk.start()
    talk.frame(b"\1" * FRAME_BYTES)
    talk.end()
    talk.start()
    talk.frame(b"\2")
    talk.end()
    talk.start()
    talk.end()
    last = b"\2".ljust(FRAME_BYTES, b"\0")
    assert list(talk.unsent) == ["START", b"\1" * FRAME_BYTES, "END", "START", last, "END", "START", "END"]


def test_barge_in(voice: StandInVoice, announcements: Announcements, talk: PushToTalk) -> None:
    """Who speaks stops the announcement, also when there is nobody to speak to."""
    announcements.text("SPEAKING")
    announcements.frame(b"a")
    talk.start()
    announcements.frame(b"b")
    assert voice.words == ["begin", "frame", "stop"]
    talk.end()
    talk.disconnect()
    announcements.text("SPEAKING")
    talk.start()
    assert voice.words[3:] == ["begin", "stop"]


def test_a_lost_connection_ends_what_was_begun(talk: PushToTalk) -> None:
    """The rest of it is not sent to whoever comes next."""
    talk.start()
    talk.frame(b"\1" * FRAME_BYTES)
    talk.disconnect()
    talk.frame(b"\1" * FRAME_BYTES)
    talk.connect()
    talk.frame(b"\1" * FRAME_BYTES)
    talk.end()
    assert not talk.unsent


def test_nobody_to_speak_to(announcements: Announcements) -> None:
    """Nothing is kept for later."""
    talk = PushToTalk(announcements, lambda: None)
    talk.start()
    talk.frame(b"\1" * FRAME_BYTES)
    talk.end()
    talk.connect()
    assert not talk.unsent


def test_a_slow_server_loses_frames_not_the_end(talk: PushToTalk) -> None:
    """Memory is bounded."""
    talk.start()
    for _ in range(2 * MOST_UNSENT):
        talk.frame(b"\1" * FRAME_BYTES)
    talk.end()
    assert len(talk.unsent) == MOST_UNSENT + 1
    assert talk.unsent[-1] == "END"
