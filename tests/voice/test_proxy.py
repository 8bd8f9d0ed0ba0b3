"""Announcements and push to talk through the real worker, heard at the monitor of a null sink."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from agent.voice.adpcm import SAMPLES_PER_S, Decoder
from agent.voice.proxy import MOST_SESSIONS, VoiceProxy, VoiceTimers, pcm_name
from tests.sound import PrivateSound
from tests.voice.conftest import FRAME_S, announce, at_best, figure, frames, running, tone, until
from tests.voice.ear import Ear, frequency

LATENCY_S = 0.15
"""Issue, item 3: from the first frame to sound."""
COLD_S = 1.5
"""The same while the worker has yet to be started: an interpreter's start, on a machine that is busy with other tests."""


def silent(voice: VoiceProxy) -> bool:
    """Everything has been played."""
    return not voice.sounding and not voice._unfinished


async def test_a_tone_is_heard_in_time_and_whole(sound: PrivateSound, ear: Ear) -> None:
    """At most 150 ms after the first frame, later when the worker has yet to be started; to the very end."""
    data = tone(0.45)
    assert 0 < len(data) % 512 < 512, "the last frame is a shorter one"

    async def check(case: str, longest_s: float) -> None:
        before = time.monotonic()
        started = await announce(voice, data)
        await until(lambda: silent(voice))
        await asyncio.sleep(0.1)
        heard = ear.since(before)
        latency_s = heard.first_sound() - started
        figure(f"{case}: sound {1000 * latency_s:.0f} ms after the first frame; {heard.seconds():.4f} s of 0.45 s")
        assert latency_s <= longest_s
        if case == "warm":
            assert abs(heard.seconds() - 0.45) < 0.01
            assert heard.longest_gap() < 0.005
            assert abs(heard.frequency() - 440) < 1.5
            rms_db = 20 * np.log10(np.sqrt(np.mean(np.square(heard.audible()))))
            assert abs(rms_db - 20 * np.log10(10_000 / 32_768 / np.sqrt(2))) < 0.3

    async with running(VoiceProxy()) as voice:
        await check("cold", COLD_S)
        await at_best(lambda: check("warm", LATENCY_S))


async def test_no_gap_while_frames_are_a_little_late(sound: PrivateSound, ear: Ear) -> None:
    """Each frame comes 0 to 40 ms later than due: nothing of that is heard."""
    late = random.Random(5)

    async def check() -> None:
        before = time.monotonic()
        await announce(voice, tone(0.9), late_s=lambda number: late.uniform(0, 0.04) if number else 0.0)
        await until(lambda: silent(voice))
        await asyncio.sleep(0.1)
        heard = ear.since(before)
        figure(f"longest silence within a tone {1000 * heard.longest_gap():.1f} ms")
        assert heard.longest_gap() < 0.005
        assert abs(heard.seconds() - 0.9) < 0.01

    async with running(VoiceProxy()) as voice:
        await at_best(check)


async def test_a_burst_and_a_short_word(sound: PrivateSound, ear: Ear) -> None:
    """An announcement sent all at once, in pieces of any size, is played whole; so is one of a few milliseconds."""
    async with running(VoiceProxy()) as voice:
        for seconds in (0.5, 0.02):
            before = time.monotonic()
            voice.begin("server")
            for piece in frames(tone(seconds), 1000):
                voice.frame("server", piece)
            voice.end("server")
            await until(lambda: silent(voice))
            await asyncio.sleep(0.1)
            assert abs(ear.since(before).seconds() - seconds) < 0.005


async def test_two_speakers_one_after_the_other(sound: PrivateSound, ear: Ear) -> None:
    """Their sessions overlap in time; what is heard does not, and each has its own decoder."""
    async with running(VoiceProxy()) as voice:
        before = time.monotonic()
        voice.begin("one")
        voice.begin("two")
        for first, second in zip(frames(tone(0.35, 440)), frames(tone(0.35, 880)), strict=True):
            voice.frame("two", second)
            voice.frame("one", first)
        voice.end("two")
        voice.end("one")
        await until(lambda: silent(voice))
        await asyncio.sleep(0.1)
        heard = ear.since(before).audible()
        assert abs(len(heard) / 48_000 - 0.7) < 0.02
        half = len(heard) // 2
        assert abs(frequency(heard[: half - 2400], 48_000) - 440) < 2
        assert abs(frequency(heard[half + 2400 :], 48_000) - 880) < 2


async def test_stopped_at_once(sound: PrivateSound, ear: Ear) -> None:
    """`stop` in the middle: silence within moments, frames that still come are dropped, the next session is heard."""
    async with running(VoiceProxy()) as voice:
        voice.begin("server")
        for piece in frames(tone(5.0)):
            voice.frame("server", piece)
        await until(lambda: voice.sounding)
        await asyncio.sleep(0.3)
        voice.stop("server")
        stopped = time.monotonic()
        voice.frame("server", tone(1.0))
        await until(lambda: not voice.sounding)
        await asyncio.sleep(0.4)
        heard = ear.since(stopped)
        tail = np.flatnonzero(np.abs(heard.samples) > 0.02)
        tail_s = (tail[-1] / 48_000) if len(tail) else 0.0
        figure(f"sound goes on for {1000 * tail_s:.0f} ms after a stop")
        assert tail_s < 0.1
        before = time.monotonic()
        await announce(voice, tone(0.2))
        await until(lambda: silent(voice))
        await asyncio.sleep(0.1)
        assert abs(ear.since(before).seconds() - 0.2) < 0.01


async def test_many_sessions_do_not_pile_up(caplog: pytest.LogCaptureFixture) -> None:
    """At most 32 are open or wait, the oldest that waits is dropped; the first one and an open one stay, and it is said once."""
    voice = VoiceProxy()
    voice.begin("first")
    voice.end("first")
    voice.begin("open")
    for _ in range(10_000):
        voice.begin("server")
        voice.end("server")
    assert len(voice._unfinished) == MOST_SESSIONS
    assert list(voice._unfinished.values())[:2] == ["first", "open"]
    assert len(voice._outbox) == 2 * MOST_SESSIONS - 1
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1
    voice.stop("server")
    assert list(voice._unfinished.values()) == ["first", "open"]
    voice.frame("open", b"x")
    assert len(voice._outbox) == 4


async def test_frames_of_a_byte_take_no_more_than_their_sound() -> None:
    """What waits for a worker is bounded in memory, however it is cut."""
    voice = VoiceProxy()
    tracemalloc.start()
    try:
        voice.begin("server")
        for _ in range(100_000):
            voice.frame("server", b"x")
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


async def test_killed_in_the_middle(sound: PrivateSound, ear: Ear, caplog: pytest.LogCaptureFixture) -> None:
    """The worker is killed: everything is as if nothing sounded, the open session is over, the next one is heard in time."""
    told: list[tuple[bool, bool]] = []
    voice = VoiceProxy(on_playback=lambda sounding, released: told.append((sounding, released)))
    async with running(voice):
        voice.begin("server")
        for piece in frames(tone(5.0)):
            voice.frame("server", piece)
        await until(lambda: voice.sounding)
        first = voice.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: not voice.sounding)
        assert told == [(True, False), (False, False)]
        voice.frame("server", tone(1.0))
        await until(lambda: any("broke off" in record.getMessage() for record in caplog.records))
        await until(voice.warnings)
        assert "broke off" in voice.warnings()[0]
        await asyncio.sleep(0.2)
        before = time.monotonic()
        started = await announce(voice, tone(0.3))
        await until(lambda: silent(voice))
        await asyncio.sleep(0.1)
        heard = ear.since(before)
        assert heard.first_sound() - started <= COLD_S
        assert abs(heard.seconds() - 0.3) < 0.01
        assert voice.pid not in (None, first)
        assert voice.warnings() == []


async def test_runs_only_while_needed(sound: PrivateSound) -> None:
    """No process before the first announcement, none a little after the last, unless somebody is attached."""
    async with running(VoiceProxy(timers=VoiceTimers(linger_s=0.3))) as voice:
        await asyncio.sleep(0.05)
        assert not process_of(voice)
        await announce(voice, tone(0.1))
        await until(lambda: silent(voice))
        pid = process_of(voice)
        assert pid
        await until(lambda: voice.pid is None)
        await until(lambda: not Path(f"/proc/{pid}").exists())
        voice.attach("server")
        await until(lambda: voice.pid is not None)
        await asyncio.sleep(0.5)
        assert process_of(voice), "it is kept for a speaker that is attached"
        voice.detach("server")
        await until(lambda: voice.pid is None)
        voice.begin("server")
        voice.stop("server")
        voice.frame("server", b"\1")
        voice.end("server")
        assert silent(voice)


async def test_as_loud_as_the_player(sound: PrivateSound, ear: Ear) -> None:
    """Where no mixer does the work, the announcement follows the player's volume, on its scale, and its mute."""
    level = [(50.0, False)]
    async with running(VoiceProxy(level=lambda: level[0])) as voice:
        before = time.monotonic()
        await announce(voice, tone(0.3, amplitude=30_000))
        await until(lambda: silent(voice))
        await asyncio.sleep(0.1)
        rms_db = 20 * np.log10(np.sqrt(np.mean(np.square(ear.since(before).audible()[2400:-2400]))))
        assert abs(rms_db - (20 * np.log10(30_000 / 32_768 / np.sqrt(2)) - 18.06)) < 0.5
        level[0] = (100.0, True)
        voice.refresh()
        before = time.monotonic()
        await announce(voice, tone(0.3))
        await until(lambda: silent(voice))
        assert ear.since(before).loudness() < -100


async def test_the_first_sound_goes_where_it_should(sound: PrivateSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is known before the first session begins, also when it was looked at while the worker started."""
    configuration = tmp_path / "asound.conf"
    wrong = 'pcm.!default { type file slave.pcm null file "WRONG" format raw }\n'.replace("WRONG", str(tmp_path / "wrong"))
    right = f'pcm.chosen {{ type pulse server "unix:{sound.socket}" }}\n'
    configuration.write_text(f"</usr/share/alsa/alsa.conf>\n{wrong}{right}")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configuration))
    async with running(VoiceProxy(pcm=lambda: "chosen")) as voice:
        voice.begin("server")
        voice.frame("server", tone(0.2))
        voice.end("server")
        await until(lambda: voice._worker is not None)
        voice.refresh()
        await until(lambda: silent(voice))
        assert voice.warnings() == []
    assert not (tmp_path / "wrong").exists()


class Talk:
    """An uplink that keeps what it gets."""

    def __init__(self) -> None:
        self.said: list[str | bytes] = []

    def start(self) -> None:
        self.said.append("START")

    def frame(self, data: bytes) -> None:
        self.said.append(data)

    def end(self) -> None:
        self.said.append("END")


async def test_push_to_talk(sound: PrivateSound, ear: Ear, tmp_path: Path) -> None:
    """The button is pressed: announcements stop, and what the microphone hears goes up until it is let go."""
    button = tmp_path / "button"
    os.mkfifo(button)
    voice = VoiceProxy(microphone="microphone", button=f"terminal:{button}")
    talk, other = Talk(), Talk()
    voice.listen(talk)
    voice.listen(other)
    voice.unlisten(other)
    async with running(voice):
        await until(lambda: voice.pid is not None and voice._stream is not None)
        player = sound.play_tone(seconds=10, hertz=600)
        try:
            voice.begin("server")
            voice.frame("server", tone(5.0))
            await until(lambda: voice.sounding)
            with button.open("w") as finger:
                finger.write("\n")
                finger.flush()
                await until(lambda: len(talk.said) > 12)
                assert not voice.sounding
                assert not voice._unfinished
                finger.write("\n")
            await until(lambda: talk.said[-1] == "END")
        finally:
            player.kill()
    assert talk.said[0] == "START"
    assert other.said == []
    pieces = [piece for piece in talk.said if isinstance(piece, bytes)]
    assert len(pieces) == len(talk.said) - 2
    assert {len(piece) for piece in pieces} == {512}
    samples = np.frombuffer(Decoder().decode(b"".join(pieces)).tobytes(), "<i2").astype(np.float32) / np.float32(32768)
    assert len(samples) / SAMPLES_PER_S > 10 * FRAME_S
    middle = samples[len(samples) // 2 : -2048]
    assert abs(frequency(middle, SAMPLES_PER_S) - 600) < 5


async def test_talk_breaks_off_with_the_worker(sound: PrivateSound, tmp_path: Path) -> None:
    """Killed while somebody speaks: the uplink is told of the end, and the next press works."""
    button = tmp_path / "button"
    os.mkfifo(button)
    talk = Talk()
    voice = VoiceProxy(microphone="microphone", button=f"terminal:{button}")
    voice.listen(talk)
    async with running(voice):
        for _ in range(2):
            talk.said.clear()
            await talk_until_killed(voice, talk, button)


async def talk_until_killed(voice: VoiceProxy, talk: Talk, button: Path) -> None:
    """Presses the button, and kills the worker while it listens."""
    await until(lambda: voice._stream is not None)
    pid = voice.pid
    assert pid is not None
    await until(lambda: str(button) in open_files(pid))
    with button.open("w") as finger:
        finger.write("\n")
    await until(lambda: len(talk.said) > 2)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: talk.said[-1] == "END" and voice.pid != pid)


async def test_a_button_that_does_not_exist(sound: PrivateSound) -> None:
    """Said in the warnings; announcements work all the same."""
    async with running(VoiceProxy(microphone="microphone", button="key:NONSENSE")) as voice:
        await until(voice.warnings)
        assert "'key:NONSENSE' is no button" in voice.warnings()[0]
        await announce(voice, tone(0.1))
        await until(lambda: silent(voice))


def test_alsa_names() -> None:
    """What libmpv calls a device, and what ALSA does."""
    assert pcm_name("") == "default"
    assert pcm_name("alsa/sysdefault:CARD=vc4hdmi0") == "sysdefault:CARD=vc4hdmi0"
    assert pcm_name("alsa/") == "default"
    assert pcm_name("pulse/somewhere") == "default"


def process_of(voice: VoiceProxy) -> int:
    """The worker's process id; 0 while there is none."""
    return voice.pid or 0


def open_files(pid: int) -> set[str]:
    """What a process has open."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.add(str(entry.readlink()))
        except OSError:
            continue
    return found
