"""A sound card in memory, somebody who listens to it, and voices for it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agent.voice.adpcm import FRAME_BYTES, SAMPLES_PER_S, Encoder
from agent.voice.proxy import VoiceProxy
from tests.sound import PrivateSound
from tests.voice.ear import Ear

FRAME_S = 0.064
DEADLINE_S = 15.0


def tone(seconds: float, hertz: float = 440.0, amplitude: int = 10_000) -> bytes:
    """A sine as a server would send it."""
    count = round(seconds * SAMPLES_PER_S)
    samples = array("h", (round(amplitude * math.sin(2 * math.pi * hertz * i / SAMPLES_PER_S)) for i in range(count)))
    encoder = Encoder()
    return encoder.encode(samples) + encoder.finish()


def frames(data: bytes, size: int = FRAME_BYTES) -> list[bytes]:
    """The pieces; the last one may be shorter."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def figure(text: str) -> None:
    """A measured value, for whoever runs the tests with -s."""
    sys.stdout.write(f"FIGURE {text}\n")


async def until(condition: Callable[[], object], what: str = "", deadline_s: float = DEADLINE_S) -> None:
    """Returns as soon as `condition` holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(0.002)


async def announce(
    voice: VoiceProxy, data: bytes, *, speaker: object = "server", late_s: Callable[[int], float] = lambda _: 0.0
) -> float:
    """Streams an announcement in time, each frame so much late; the moment of its first frame."""
    voice.begin(speaker)
    started = time.monotonic()
    for number, frame in enumerate(frames(data)):
        await asyncio.sleep(started + number * FRAME_S + late_s(number) - time.monotonic())
        voice.frame(speaker, frame)
    voice.end(speaker)
    return started


async def at_best(check: Callable[[], Awaitable[None]]) -> None:
    """`check` passes within three tries: a machine that is busy with other tests may be late once, or twice."""
    for last in (False, False, True):
        try:
            await check()
        except AssertionError as error:
            if last:
                raise
            figure(f"once more: {str(error).splitlines()[0]}")
        else:
            return


@contextlib.asynccontextmanager
async def running(voice: VoiceProxy) -> AsyncIterator[VoiceProxy]:
    """Runs it as the daemon does."""
    task = asyncio.create_task(voice.run(), name="voice")
    try:
        yield voice
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


@pytest.fixture(scope="package")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSound]:
    """A card that mixes; `microphone` hears what it plays."""
    with PrivateSound(tmp_path_factory.mktemp("sound")) as sound:
        configuration = sound.directory / "asound.conf"
        microphone = f'pcm.microphone {{ type pulse server "unix:{sound.socket}" device "ci.monitor" }}\n'
        configuration.write_text(configuration.read_text() + microphone)
        with sound.activate():
            yield sound


@pytest.fixture(scope="package")
def ear(sound: PrivateSound) -> Iterator[Ear]:
    """Listens."""
    with Ear(sound) as ear:
        yield ear


@pytest.fixture(scope="package")
def exclusive_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ALSA hook of `exclusive.c`."""
    library = tmp_path_factory.mktemp("plugin") / "exclusive.so"
    source = Path(__file__).with_name("exclusive.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-DPIC", "-o", str(library), str(source), "-lasound"], check=True)
    return library


@pytest.fixture
def exclusive(sound: PrivateSound, exclusive_plugin: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PrivateSound:
    """The same card, but its only PCM takes one client: a second open gets EBUSY, as on hardware without mixing."""
    configuration = tmp_path / "asound.conf"
    configuration.write_text(
        "</usr/share/alsa/alsa.conf>\n"
        f'pcm.shared {{ type pulse server "unix:{sound.socket}" }}\n'
        f'pcm_hook_type.exclusive {{ lib "{exclusive_plugin}" install "exclusive_install" }}\n'
        "pcm.!default { type hooks slave.pcm shared "
        f'hooks.0 {{ type exclusive hook_args {{ path "{tmp_path / "lock"}" }} }} }}\n'
    )
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configuration))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path / 'nobody'}")  # nobody gets past ALSA
    os.environ.setdefault("PIPEWIRE_DEBUG", "0")
    return sound
