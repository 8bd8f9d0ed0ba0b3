"""What goes up while the button is pressed."""

from __future__ import annotations

import asyncio

import pytest

from agent.voice import microphone as microphone_module
from agent.voice.adpcm import Decoder
from agent.voice.microphone import Microphone, MicrophoneTimers
from agent.voice.pcm import PcmError
from tests.voice.conftest import until


class FakePcm:
    """A microphone that hears 160 samples whenever it is asked once, or breaks."""

    errors: list[PcmError]
    heard: list[bytes]
    closed: int

    def __init__(self, name: str, direction: str) -> None:
        if self.errors:
            raise self.errors.pop(0)
        assert (name, direction) == ("mic", "input")

    def read(self) -> bytes:
        if self.heard and self.heard[0] == b"broken":
            raise PcmError("No such device [mic]")
        return self.heard.pop(0) if self.heard else b""

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the microphone said; its device is a fake."""
    FakePcm.errors, FakePcm.heard, FakePcm.closed = [], [], 0
    monkeypatch.setattr(microphone_module, "Pcm", FakePcm)
    return []


def microphone(said: list[object], longest_s: float = 60.0) -> Microphone:
    """One that keeps what it says."""
    return Microphone(
        "mic",
        start=lambda: said.append("start"),
        frame=said.append,
        end=lambda: said.append("end"),
        trouble=lambda text: said.append(("trouble", text)),
        timers=MicrophoneTimers(tick_s=0.005, longest_s=longest_s),
    )


async def test_whole_frames_and_a_last_one_filled_up(said: list[object]) -> None:
    """1,024 samples to a frame; what is left at the end comes with zeros behind it, and the state begins anew each time."""
    heard = microphone(said)
    for _ in range(2):
        said.clear()
        FakePcm.heard = [b"\x00\x10" * 160 for _ in range(10)]
        heard.open()
        heard.open()
        await until(lambda: not FakePcm.heard)
        heard.close()
        heard.close()
        assert said[0] == "start"
        assert said[-1] == "end"
        pieces = [piece for piece in said if isinstance(piece, bytes)]
        assert [len(piece) for piece in pieces] == [512, 512]
        assert pieces[1][288:] == bytes(224), "1,600 samples are 800 bytes"
        samples = Decoder().decode(pieces[0] + pieces[1][:288])
        assert abs(samples[-1] - 0x1000) < 100
    assert FakePcm.closed == 2


async def test_nothing_to_be_heard(said: list[object]) -> None:
    """A microphone that cannot be opened is said, and nothing starts; one that breaks off ends what has begun."""
    heard = microphone(said)
    FakePcm.errors = [PcmError("No such file or directory [mic]")]
    heard.open()
    assert said == [("trouble", "No such file or directory [mic]")]
    heard.close()
    said.clear()
    FakePcm.heard = [b"\x00\x10" * 160, b"broken"]
    heard.open()
    await until(lambda: "end" in said)
    assert said[0] == "start"
    assert ("trouble", "No such device [mic]") in said
    FakePcm.heard = []
    said.clear()
    heard.open()
    heard.close()
    assert said == ["start", ("trouble", ""), "end"]


async def test_a_button_that_is_stuck(said: list[object], caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is listened to for ever."""
    heard = microphone(said, longest_s=0.05)
    heard.open()
    await until(lambda: "end" in said)
    assert "too long" in caplog.text
    await asyncio.sleep(0.02)
    assert FakePcm.closed == 1
    heard.close()
    assert said.count("end") == 1
