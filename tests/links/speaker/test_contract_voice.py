"""Voice through the wire: announcements down, push to talk up (speaker contract, section 4)."""

from __future__ import annotations

import asyncio
import math

import pytest

from tests.box import until
from tests.links.speaker.conftest import MakeLink
from tests.links.speaker.standins import DEVICE_ID, StandInBox
from tests.servers.adpcm import Coder
from tests.servers.speaker import FRAME_BYTES, SpeakerServer
from tests.servers.voices import tone


async def test_an_announcement_arrives_whole(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """Every frame in its order, the last short one too, opened and closed once."""
    sound = tone(440, 1.0)[: 1024 * 5 + 100]
    async with make_link():
        await server.connected(DEVICE_ID)
        await server.announce(DEVICE_ID, sound, at_once=True)
        await until(lambda: "end" in box.voice.words)
    [heard] = box.voice.heard
    assert heard == Coder().encode(sound)
    assert len(heard) == 5 * FRAME_BYTES + 50
    assert box.voice.words[:8] == ["begin", *["frame"] * 6, "end"]
    assert box.voice.priorities[:1] == [70]


@pytest.mark.parametrize("opening", ["AUDIO_START", "SPEAK_START", "SPEAKING", " SPEAKING\n"])
@pytest.mark.parametrize("closing", ["TTS_END", "SPEAK_END", "DONE", "IDLE"])
async def test_sessions(server: SpeakerServer, box: StandInBox, make_link: MakeLink, opening: str, closing: str) -> None:
    """Binary frames outside are dropped; other words change nothing and are not answered."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        for frame in (
            b"early",
            "PROCESSING_START",
            opening,
            b"one",
            "LISTENING",
            "😀",
            "07",
            b"two",
            "WHO KNOWS",
            closing,
            b"late",
        ):
            await server.send_raw(DEVICE_ID, frame)
        await server.ask(DEVICE_ID, "request_status")
        assert box.voice.heard == [b"onetwo"]
        assert box.voice.words == ["begin", "frame", "frame", "end"]
        assert len(speaker.messages) == 2


async def test_words_are_ignored_silently(server: SpeakerServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """No line in the log."""
    async with make_link():
        await server.connected(DEVICE_ID)
        caplog.clear()
        for word in ("PROCESSING", "LISTENING", "42", "HAPPY", "whatever", ""):
            await server.send_raw(DEVICE_ID, word)
        await server.ask(DEVICE_ID, "request_status")
    assert [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")] == []


@pytest.mark.parametrize("how", ["drop", "close"])
async def test_a_disconnect_ends_the_session(server: SpeakerServer, box: StandInBox, make_link: MakeLink, how: str) -> None:
    """And the next connection begins outside one."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, "SPEAKING")
        await server.send_raw(DEVICE_ID, b"voice")
        await until(lambda: box.voice.heard == [b"voice"])
        assert box.voice.attached == 1
        if how == "drop":
            server.drop(DEVICE_ID)
        else:
            await server.close(DEVICE_ID)
        await server.wait_for(lambda: speaker.connections == 2)
        await server.send_raw(DEVICE_ID, b"more")
        await server.ask(DEVICE_ID, "request_status")
        assert box.voice.words == ["begin", "frame", "stop"]
        await server.stop()
        await until(lambda: box.voice.attached == 0)


async def test_push_to_talk(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """START, frames of 512 bytes, the last filled up, END; what was spoken can be decoded."""
    sound = tone(440, 0.5)
    coded = Coder().encode(sound)
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        [uplink] = box.voice.uplinks
        uplink.start()
        for at in range(0, len(coded), 300):
            uplink.frame(coded[at : at + 300])
            await asyncio.sleep(0)
        uplink.end()
        await server.wait_for(lambda: speaker.recordings and speaker.recordings[-1].ended)
        [recording] = speaker.recordings
        assert {len(frame) for frame in recording.frames} == {FRAME_BYTES}
        assert b"".join(recording.frames).rstrip(b"\0") == coded.rstrip(b"\0")
        apart = [a - int(b) for a, b in zip(recording.samples(), sound, strict=False)][1000:]
        assert math.sqrt(sum(a * a for a in apart) / len(apart)) < 300
        assert not speaker.strays
        assert (await server.ask(DEVICE_ID, "request_status"))["status"] == "ok"


async def test_barge_in(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """START while the server speaks stops what is played; frames still on their way are dropped."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, "SPEAKING")
        await server.send_raw(DEVICE_ID, b"voice")
        await until(lambda: box.voice.heard == [b"voice"])
        [uplink] = box.voice.uplinks
        uplink.start()
        await server.wait_for(lambda: "START" in speaker.texts())
        await server.send_raw(DEVICE_ID, b"late")
        await server.send_raw(DEVICE_ID, "DONE")
        await server.ask(DEVICE_ID, "request_status")
        assert box.voice.words == ["begin", "frame", "stop"]


async def test_speech_without_a_server(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """Is not kept for later, nor taken up in the middle."""
    await server.stop()
    async with make_link() as link:
        await until(lambda: link.attempts >= 1)
        [uplink] = box.voice.uplinks
        uplink.start()
        uplink.frame(bytes(512))
        await server.start()
        speaker = await server.connected(DEVICE_ID)
        uplink.frame(bytes(512))
        uplink.end()
        await server.ask(DEVICE_ID, "request_status")
        assert len(speaker.messages) == 2
        uplink.start()
        uplink.frame(bytes(10))
        server.drop(DEVICE_ID)
        await server.wait_for(lambda: speaker.connections == 2)
        uplink.frame(bytes(512))
        uplink.end()
        since = speaker.mark()
        await server.ask(DEVICE_ID, "request_status")
        assert all(isinstance(one.raw, str) and one.raw != "END" for one in speaker.messages[since:])
