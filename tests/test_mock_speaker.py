"""The fake speaker server by itself: its coder, its sound files, its commands at the prompt."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect

from agent.voice import adpcm
from tests.servers import SpeakerServer
from tests.servers.adpcm import Coder
from tests.servers.speaker import FRAME_BYTES, SOCKET_PATH
from tests.servers.speaker_prompt import HELP, run_line
from tests.servers.voices import RATE, SAMPLES, Samples, read_wav, tone, write_wav

DEVICE_ID = "A1B2C3D4E5F6"
HANDSHAKE = {"cmd": "device_handshake", "device_id": DEVICE_ID, "device_name": "PTalk"}


@pytest.fixture
async def server() -> AsyncIterator[SpeakerServer]:
    async with SpeakerServer() as server:
        yield server


@pytest.fixture
async def device(server: SpeakerServer) -> AsyncIterator[ClientConnection]:
    """A device driven by hand, its handshake said."""
    async with connect(server.url.replace("http", "ws", 1) + SOCKET_PATH, proxy=None, compression=None) as socket:
        await socket.send(json.dumps(HANDSHAKE))
        await server.connected(DEVICE_ID)
        yield socket


async def hear(socket: ClientConnection) -> Any:
    async with asyncio.timeout(10):
        frame = await socket.recv()
    return json.loads(frame) if isinstance(frame, str) and frame.startswith("{") else frame


def noise_db(sound: Samples, heard: list[int]) -> float:
    """Level of the difference against that of the sound."""
    apart = np.asarray(heard[: len(sound)], dtype=np.float64) - sound
    return float(10 * np.log10(np.mean(np.square(apart)) / np.mean(np.square(sound, dtype=np.float64))))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_coder_is_good(name: str) -> None:
    """What is decoded again is the sound; and the agent's own decoder, written by somebody else, hears the same."""
    sound = SAMPLES[name][1]()
    coded = Coder().encode(sound)
    heard = Coder().decode(coded)
    assert noise_db(sound, heard) < -20
    assert list(adpcm.Decoder().decode(coded)) == heard
    assert adpcm.Encoder().encode(array("h", sound.tolist())) == coded


def test_the_coder_runs_on() -> None:
    """In pieces as in one."""
    sound = tone(440, 0.3)
    coder = Coder()
    pieces = b"".join(coder.encode(sound[at : at + 100]) for at in range(0, len(sound), 100))
    assert pieces == Coder().encode(sound)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_files(width: int, rate: int, channels: int) -> None:
    """Of every kind become 16 kHz mono, as loud and as high as they were."""
    times = np.arange(rate // 2) / rate
    levels = 0.5 * np.sin(2 * np.pi * 440 * times)
    whole = np.round(levels * (2 ** (8 * width - 1) - 1)).astype("<i8")
    if width == 1:
        whole += 128
    raw = b"".join(int(value).to_bytes(8, "little", signed=True)[:width] * channels for value in whole)
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(raw)
    samples = read_wav(data.getvalue())
    assert abs(len(samples) - RATE // 2) <= 1
    wanted = 0.5 * 32767 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / RATE)
    inner = slice(400, -400)
    assert np.max(np.abs(samples[inner] - wanted[inner])) < 32767 * (0.02 if width == 1 else 0.012)
    assert np.array_equal(read_wav(write_wav(samples)), samples) or np.max(np.abs(read_wav(write_wav(samples)) - samples)) <= 1


@pytest.mark.parametrize("data", [b"", b"RIFF", b"nonsense" * 100, write_wav([])])
def test_no_wav_files(data: bytes) -> None:
    """Said in words."""
    with pytest.raises(ValueError, match="WAV"):
        read_wav(data)


async def test_strangers_are_sent_away(server: SpeakerServer) -> None:
    """Whoever does not begin with a handshake."""
    async with connect(server.url.replace("http", "ws", 1) + SOCKET_PATH, proxy=None) as socket:
        await socket.send('{"cmd": "hello"}')
        async with asyncio.timeout(10):
            await socket.wait_closed()
    assert socket.close_code == 1008
    assert not server.speakers


async def test_an_announcement_is_spoken_in_time(server: SpeakerServer, device: ClientConnection) -> None:
    """64 ms a frame, between the two texts."""
    sound = tone(440, 0.4)
    loop = asyncio.get_running_loop()
    announcing = asyncio.create_task(server.announce(DEVICE_ID, sound))
    assert await hear(device) == "AUDIO_START"
    begun = loop.time()
    frames = []
    while isinstance(frame := await hear(device), bytes):
        frames.append(frame)
    assert frame == "TTS_END"
    assert loop.time() - begun > 0.3
    assert [len(one) for one in frames] == [FRAME_BYTES] * 6 + [128]
    assert noise_db(sound, Coder().decode(b"".join(frames))) < -20
    await announcing


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("vol 75", {"cmd": "set_volume", "volume": 75}),
        ('vol "75"', {"cmd": "set_volume", "volume": "75"}),
        ("bright 80", {"cmd": "set_brightness", "brightness": 80}),
        ("name Living Room", {"cmd": "set_device_name", "device_name": "Living Room"}),
        ("status", {"cmd": "request_status"}),
        ("reboot", {"cmd": "reboot"}),
        ("wifi home secret", {"cmd": "set_wifi", "ssid": "home", "password": "secret"}),
        ("wsurl ws://x", {"cmd": "set_ws_url", "url": "ws://x"}),
        ('send {"cmd": "x"}', {"cmd": "x"}),
    ],
)
async def test_the_prompt(server: SpeakerServer, device: ClientConnection, line: str, message: dict[str, Any]) -> None:
    """The commands of the source document's command line; the answer is shown."""
    asking = asyncio.create_task(run_line(server.hub, line))
    assert await hear(device) == message
    await device.send('{"status": "ok", "device_id": "A1B2C3D4E5F6", "x": "ü"}')
    assert json.loads(await asking)["x"] == "ü"
    assert line.split(maxsplit=1)[0] in HELP


async def test_the_prompt_does_more(server: SpeakerServer, device: ClientConnection, tmp_path: Path) -> None:
    """Announcements, updates, words, breaking the connection, and sentences for what makes no sense."""
    await asyncio.to_thread((tmp_path / "a.wav").write_bytes, write_wav(tone(440, 0.1)))
    for line in ("announce tone", f"announce {tmp_path / 'a.wav'}"):
        await run_line(server.hub, line)
        assert await hear(device) == "AUDIO_START"
        while await hear(device) != "TTS_END":
            pass
        await server.wait_for(lambda: server.speakers[DEVICE_ID].announcing is None)
    await run_line(server.hub, "ota 2")
    request = await hear(device)
    assert request["cmd"] == "request_ota"
    size = 0
    while isinstance(frame := await hear(device), bytes):
        size += len(frame)
    assert (size, frame) == (request["size"], "OTA_COMPLETE")
    await run_line(server.hub, "say SPEAKING")
    assert await hear(device) == "SPEAKING"
    assert DEVICE_ID in await run_line(server.hub, "list")
    for line in ("nonsense", "vol", "announce /nowhere.wav", "ota 9", "send []"):
        with pytest.raises(ValueError, match=r"."):
            await run_line(server.hub, line)
    await run_line(server.hub, "drop")
    await server.wait_for(lambda: not server.speakers[DEVICE_ID].live)
    with pytest.raises(ValueError, match="no speaker is connected"):
        await run_line(server.hub, "status")
