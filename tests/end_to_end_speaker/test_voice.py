"""Voice end to end, by what comes out of the sound server while a playlist with sound plays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from tests.end_to_end_speaker.lab import (
    DEADLINE_S,
    DEVICE_ID,
    MUSIC_HZ,
    STEP_S,
    Lab,
    figure,
    frequency_hz,
    levels_dbfs,
    open_lab,
    recording,
    write_fifo,
)
from tests.servers.voices import RATE as VOICE_RATE, tone
from tests.sound import RATE, PrivateSound

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOICE_HZ = 440.0
VOICE_DBFS = -12.0
LAST_HZ = 2600.0
"""What the last short frame holds."""
DUCK_DB = 12.0
LOAD = 4.0
"""What a limit is multiplied with: the machine does other things, too."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory, sound_card: PrivateSound) -> AsyncIterator[Lab]:
    """An agent that plays music into the sound server, with a microphone that hears what is played, and a button."""
    folder = tmp_path_factory.mktemp("lab")
    os.mkfifo(folder / "button")
    sound_card.set_percent(100)
    tables = f'[audio]\nduck_db = {DUCK_DB}\n[voice]\nmicrophone = "default"\nbutton = "terminal:{folder / "button"}"'
    async with open_lab(folder, sound=sound_card, tables=tables) as lab:
        await lab.connected()
        await lab.play_music()
        await until_level(sound_card, MUSIC_HZ, -60, 0)
        yield lab


async def until_level(sound: PrivateSound, hertz: float, low: float, high: float) -> float:
    """Listens until a tone has a level within these limits; its level then."""
    end = time.monotonic() + DEADLINE_S
    heard: list[float] = []
    while not heard or not low <= heard[-1] <= high:
        assert time.monotonic() < end, f"{low} to {high} dBFS expected at {hertz} Hz, heard {heard[-10:]}"
        heard.append(float(np.median(levels_dbfs(await asyncio.to_thread(sound.record, 0.2), hertz))))
    return heard[-1]


async def test_an_announcement_over_music(lab: Lab, sound_card: PrivateSound) -> None:
    """440 Hz at the level it was sent with, music down by duck_db meanwhile and back after; the last short frame is heard."""
    await lab.ask("set_volume", volume=100)
    whole_frames, last = tone(VOICE_HZ, 1024 * 24 / VOICE_RATE, dbfs=VOICE_DBFS), tone(LAST_HZ, 0.04, dbfs=VOICE_DBFS)
    sound = np.concatenate([whole_frames, last])
    assert 0 < len(sound) % 1024 == len(last) < 1024
    async with recording(sound_card) as record:
        begun = time.monotonic()
        await lab.server.announce(DEVICE_ID, sound)
        figure(f"announced for {time.monotonic() - begun:.2f} s")
        samples = await record.heard(VOICE_HZ, above_dbfs=VOICE_DBFS - 10, quiet_s=2.0)
    voice, music, end = (levels_dbfs(samples, hertz) for hertz in (VOICE_HZ, MUSIC_HZ, LAST_HZ))

    speaking = np.flatnonzero(voice > VOICE_DBFS - 10)
    first, over = speaking[0], speaking[-1]
    within = slice(first + 10, over - 5)
    level, hertz = (
        float(np.median(voice[within])),
        frequency_hz(samples[round((first + 10) * STEP_S * RATE) : round(over * STEP_S * RATE)]),
    )
    length_s = (over + 1 - first) * STEP_S
    figure(f"voice {hertz:.1f} Hz at {level:.1f} dBFS for {length_s:.2f} s")
    assert abs(hertz - VOICE_HZ) < 1.5
    assert abs(level - VOICE_DBFS) < 1.0
    assert abs(length_s - len(whole_frames) / VOICE_RATE) < 0.2
    assert np.mean(voice[within] > VOICE_DBFS - 3) > 0.9, "whole, but for what a busy machine holds up"

    before, ducked, after = (
        float(np.median(music[part])) for part in (slice(2, first - 2), slice(over - 25, over - 5), slice(-15, None))
    )
    steps = music[over:]
    figure(f"music {before:.1f} dBFS before, {ducked:.1f} dBFS during, {after:.1f} dBFS after")
    assert abs(before - ducked - DUCK_DB) < 1.5
    assert abs(after - before) < 1.0
    assert np.all(np.diff(steps) < 8), "comes back smoothly"

    loudest_last = float(end[over - 3 : over + 6].max())
    figure(f"last short frame at {loudest_last:.1f} dBFS, before it at most {float(end[within].max()):.1f} dBFS")
    assert loudest_last > VOICE_DBFS - 6
    assert loudest_last > end[within].max() + 15


async def test_quieter_and_all_at_once(lab: Lab, sound_card: PrivateSound) -> None:
    """The device's volume, set by this server, is the voice's, too; a server that does not wait is heard whole, in real time."""
    await lab.ask("set_volume", volume=50)
    async with recording(sound_card) as record:
        await lab.server.announce(DEVICE_ID, tone(VOICE_HZ, 1.0, dbfs=VOICE_DBFS), at_once=True)
        voice = levels_dbfs(await record.heard(VOICE_HZ, above_dbfs=VOICE_DBFS - 24), VOICE_HZ)
    await lab.ask("set_volume", volume=100)
    heard = voice > VOICE_DBFS - 24
    assert abs(np.count_nonzero(heard) * STEP_S - 1.0) < 0.2
    assert abs(float(np.median(voice[heard])) - (VOICE_DBFS - 18)) < 2.0


async def test_from_the_first_frame_to_the_sound(lab: Lab, sound_card: PrivateSound) -> None:
    """150 ms at most."""
    took_s = []
    for _ in range(3):
        async with listening(sound_card) as hear:
            quiet = 0
            while quiet < 60:  # 0.3 s: the one before is over
                quiet = quiet + 1 if np.abs(await hear()).max() < 0.5 else 0
            announcing = asyncio.create_task(lab.server.announce(DEVICE_ID, tone(VOICE_HZ, 0.3, dbfs=-3)))
            await lab.server.wait_for(lambda: lab.speaker.announcing)
            begun = time.monotonic()
            async with asyncio.timeout(DEADLINE_S):
                while np.abs(await hear()).max() < 0.5:
                    pass
            took_s.append(time.monotonic() - begun)
            await announcing
    figure(f"first frame to sound {', '.join(f'{1000 * one:.0f}' for one in took_s)} ms")
    assert min(took_s) < 0.15
    assert max(took_s) < 0.15 * LOAD


@contextlib.asynccontextmanager
async def listening(sound: PrivateSound) -> AsyncIterator[Callable[[], Awaitable[NDArray[np.float32]]]]:
    """Gives what comes out of the sink 5 ms at a time, as it comes."""
    recorder = await asyncio.create_subprocess_exec(
        *("parec", "--device=ci.monitor", "--format=float32le", f"--rate={RATE}", "--channels=1", "--latency-msec=5"),
        env={**os.environ, **sound.environment},
        stdout=asyncio.subprocess.PIPE,
    )
    assert recorder.stdout is not None
    stdout = recorder.stdout

    async def hear() -> NDArray[np.float32]:
        return np.frombuffer(await stdout.readexactly(4 * RATE // 200), dtype="<f4")

    try:
        await hear()
        yield hear
    finally:
        recorder.kill()
        await recorder.wait()


async def test_push_to_talk_and_barge_in(lab: Lab, sound_card: PrivateSound) -> None:
    """The button stops the announcement at once; what the microphone hears arrives in whole frames until it is let go."""
    speaker = lab.speaker
    announcing = asyncio.create_task(lab.server.announce(DEVICE_ID, tone(VOICE_HZ, 20.0, dbfs=VOICE_DBFS)))
    await until_level(sound_card, VOICE_HZ, VOICE_DBFS - 3, VOICE_DBFS + 3)
    async with recording(sound_card) as record:
        await asyncio.to_thread(write_fifo, lab.folder / "button", "\n")
        await lab.server.wait_for(lambda: speaker.recordings, DEADLINE_S, what="START")
        await record.heard(VOICE_HZ, above_dbfs=-40, quiet_s=0.5)
        assert not announcing.done(), "it was not the button"
    await until_level(sound_card, MUSIC_HZ, -60, 0)
    await asyncio.sleep(1.0)
    await asyncio.to_thread(write_fifo, lab.folder / "button", "\n")
    [spoken] = speaker.recordings
    await lab.server.wait_for(lambda: spoken.ended, DEADLINE_S, what="END")
    announcing.cancel()
    assert {len(frame) for frame in spoken.frames} == {512}
    assert spoken.seconds > 1.0
    assert not speaker.strays
    heard = np.asarray(spoken.samples(), dtype=np.float64)[VOICE_RATE // 2 :]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert abs(float(np.argmax(spectrum)) * VOICE_RATE / len(heard) - MUSIC_HZ) < 5
    assert (await lab.ask("request_status"))["status"] == "ok"


async def test_a_disconnect_silences(lab: Lab, sound_card: PrivateSound) -> None:
    """The connection breaks off in mid-sentence: silence, music as loud as before, and the next announcement is heard."""
    announcing = asyncio.create_task(lab.server.announce(DEVICE_ID, tone(VOICE_HZ, 4.0, dbfs=VOICE_DBFS)))
    await until_level(sound_card, VOICE_HZ, VOICE_DBFS - 3, VOICE_DBFS + 3)
    connections = lab.speaker.connections
    lab.server.drop(DEVICE_ID)
    await asyncio.gather(announcing, return_exceptions=True)
    await until_level(sound_card, VOICE_HZ, -150, -40)
    await lab.server.wait_for(lambda: lab.speaker.connections > connections, DEADLINE_S)
    async with recording(sound_card) as record:
        await lab.server.announce(DEVICE_ID, tone(VOICE_HZ, 0.5, dbfs=VOICE_DBFS))
        samples = await record.heard(VOICE_HZ, above_dbfs=VOICE_DBFS - 10)
    assert levels_dbfs(samples, VOICE_HZ).max() > VOICE_DBFS - 3


async def test_the_meter() -> None:
    """What the tests measure with measures right."""
    times = np.arange(RATE) / RATE
    sine = (0.25 * np.sin(2 * np.pi * 440 * times) + 0.1 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)
    samples = np.stack([sine, sine], axis=1)
    assert np.all(np.abs(levels_dbfs(samples, 440) + 12.04) < 0.3)
    assert np.all(np.abs(levels_dbfs(samples, 1000) + 20) < 0.5)
    assert abs(frequency_hz(samples) - 440) < 0.3
