"""A box with a signage and a speaker link, both to one fake server, and what can be heard of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.agent_process import AgentProcess, signage_link
from tests.display import ffmpeg
from tests.servers import SignageServer, item, playlist
from tests.servers.speaker import SpeakerServer
from tests.servers.speaker_devices import Speaker
from tests.sound import RATE, PrivateSound

DEVICE_ID = "A1B2C3D4E5F6"
DEADLINE_S = 20.0
MUSIC_HZ = 1000.0
STEP_S = 0.02


@dataclass
class Lab:
    """The agent may be stopped and started at will; everything ends with the block of `open_lab`."""

    folder: Path
    signage: SignageServer
    server: SpeakerServer
    agent: AgentProcess
    sound: PrivateSound | None

    @property
    def speaker(self) -> Speaker:
        """The box as the speaker server knows it."""
        return self.server.speaker(DEVICE_ID)

    async def connected(self) -> Speaker:
        """The box, once its handshake has come."""
        return await self.server.connected(DEVICE_ID, DEADLINE_S)

    async def ask(self, cmd: str, **values: Any) -> dict[str, Any]:
        """A command's answer."""
        await self.connected()
        return await self.server.ask(DEVICE_ID, cmd, **values)

    async def play_music(self) -> None:
        """Puts on a film with a tone of MUSIC_HZ that never ends."""
        path = self.folder / "music.mp4"
        if not path.exists():
            tone = f"sine=frequency={MUSIC_HZ:g}:sample_rate=48000"
            sources = ["-f", "lavfi", "-i", "color=blue:s=160x90:r=10", "-f", "lavfi", "-i", tone]
            await asyncio.to_thread(
                ffmpeg, *sources, "-t", "300", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", str(path)
            )
        made = playlist(7, [item(self.signage.media.add(path.name, path))])
        self.signage.offer([made])
        await self.signage.connected(self.agent.serial, DEADLINE_S)
        await self.signage.send(self.agent.serial, {"action": "reload_playlist"})
        await self.agent.playing(deadline_s=DEADLINE_S)


def figure(text: str) -> None:
    """Something measured, for whoever runs the tests with -s, and with a failure."""
    sys.stdout.write(f"FIGURE {text}\n")


@contextlib.asynccontextmanager
async def open_lab(
    folder: Path, *, sound: PrivateSound | None = None, tables: str = "", reboot: str = '["false"]', level: str = "info",
    start: bool = True,
) -> AsyncIterator[Lab]:  # fmt: skip
    """A lab with an agent that runs, unless `start` is false. `reboot` is the restart command, `tables` further tables.

    In both, SERVER stands for the server's address.
    """
    (folder / "sys").mkdir(parents=True, exist_ok=True)
    fixed = [
        f'[hardware]\nsysfs = "{folder / "sys"}"\nreboot_command = {reboot}',
        '[brightness]\nbackend = "software"',
        f'[screens.front]\noutput = "null"\nsound = {str(sound is not None).lower()}',
    ]
    if sound is None:
        fixed.append('[audio]\ncard = "none-in-this-test"')
    async with SignageServer() as signage:
        server = SpeakerServer(hub=signage.hub)
        await signage.hub.stop()
        await signage.hub.start()  # with the routes of both
        agent = AgentProcess(
            folder,
            links=[
                signage_link(signage.url),
                {"kind": "speaker", "url": signage.url, "device_id": DEVICE_ID, "spread_s": 0.1},
            ],
            tables="\n".join([*fixed, tables]).replace("SERVER", signage.url),
            environment=sound.environment if sound else None,
            level=level,
        )
        async with contextlib.AsyncExitStack() as end:
            end.push_async_exit(agent)  # also of one that does not come up
            if start:
                await agent.start()
            yield Lab(folder, signage, server, agent, sound)


class Recording:
    """What comes out of the sink, from the moment `recording` begins."""

    def __init__(self, stdout: asyncio.StreamReader) -> None:
        self._stdout = stdout
        self._data = bytearray()

    @property
    def samples(self) -> NDArray[np.float32]:
        """So far: from -1 to 1, one row per frame, two columns."""
        return np.frombuffer(bytes(self._data[: len(self._data) // 8 * 8]), dtype="<f4").reshape(-1, 2)

    async def more(self, seconds: float) -> None:
        """Goes on for so long, by the clock of the sound server."""
        wanted = len(self._data) + round(seconds * RATE) * 8
        async with asyncio.timeout(seconds + DEADLINE_S):
            while len(self._data) < wanted:
                data = await self._stdout.read(1 << 16)
                assert data, "the recorder ended"
                self._data += data

    async def heard(self, hertz: float, *, above_dbfs: float, quiet_s: float = 1.0) -> NDArray[np.float32]:
        """Everything recorded, once a tone of this frequency has come and has then been away for `quiet_s`."""
        quiet = round(quiet_s / STEP_S)
        async with asyncio.timeout(DEADLINE_S * 2):
            while True:
                await self.more(0.25)
                loud = np.flatnonzero(levels := levels_dbfs(self.samples, hertz) > above_dbfs)
                if loud.size and loud[-1] + quiet < len(levels):
                    return self.samples


@contextlib.asynccontextmanager
async def recording(sound: PrivateSound) -> AsyncIterator[Recording]:
    """Records within the block; its first samples are there when it begins."""
    recorder = await asyncio.create_subprocess_exec(
        *("parec", "--device=ci.monitor", "--format=float32le", f"--rate={RATE}", "--channels=2", "--latency-msec=10"),
        env={**os.environ, **sound.environment},
        stdout=asyncio.subprocess.PIPE,
    )
    assert recorder.stdout is not None
    try:
        found = Recording(recorder.stdout)
        await found.more(0.3)
        yield found
    finally:
        recorder.kill()
        await recorder.wait()


def levels_dbfs(samples: NDArray[np.float32], hertz: float, step_s: float = STEP_S) -> NDArray[np.float64]:
    """The peak level of a sine of this frequency, every `step_s`, in a recording of two columns."""
    mono = samples.mean(axis=1, dtype=np.float64)
    count = round(step_s * RATE)
    whole = mono[: len(mono) // count * count].reshape(-1, count)
    window = np.hanning(count)
    wave = window * np.exp(-2j * math.pi * hertz * np.arange(count) / RATE)
    found = 2 * np.abs(whole @ wave) / window.sum()
    levels: NDArray[np.float64] = 20 * np.log10(np.maximum(found, 1e-6))
    return levels


def frequency_hz(samples: NDArray[np.float32]) -> float:
    """The strongest frequency."""
    mono = samples.mean(axis=1, dtype=np.float64)
    size = 8 * len(mono)
    return float(np.argmax(np.abs(np.fft.rfft(mono * np.hanning(len(mono)), size))) * RATE / size)


def write_fifo(path: Path, text: str) -> None:
    """Writes to a named pipe that somebody reads."""
    number = os.open(path, os.O_WRONLY)
    try:
        os.write(number, text.encode())
    finally:
        os.close(number)
