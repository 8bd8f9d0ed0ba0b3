"""A sound card without hardware: a private PulseAudio with a null sink, reached through ALSA.

with PrivateSound(tmp_path) as sound:
    subprocess.run(["mpv", "--ao=alsa", ...], env={**os.environ, **sound.environment})
    print(sound.loudness_dbfs())
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import signal
import subprocess
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

SINK = "ci"
RATE = 48000
SILENCE_DBFS = -150.0
START_S = 10.0


class PrivateSound:
    """A PulseAudio of its own in `directory`; nothing of the machine's sound is touched.

    `environment` makes ALSA and PulseAudio clients use it; `activate` puts it into this process's environment too.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "native"
        self.environment = {
            "ALSA_CONFIG_PATH": str(directory / "asound.conf"),
            "PULSE_SERVER": f"unix:{self.socket}",
            "PULSE_COOKIE": str(directory / "cookie"),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._players: list[subprocess.Popen[bytes]] = []
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "default.pa").write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={self.socket}\n"
            f"load-module module-null-sink sink_name={SINK} rate={RATE}\n"
        )
        (directory / "asound.conf").write_text(
            "</usr/share/alsa/alsa.conf>\n"
            f'pcm.!default {{ type pulse server "unix:{self.socket}" }}\n'
            f'ctl.!default {{ type pulse server "unix:{self.socket}" }}\n'
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def activate(self) -> contextlib.AbstractContextManager[None]:
        """For the time of a `with`: this process and the children it starts use this sound server."""
        return _environment(self.environment)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self.socket.unlink(missing_ok=True)
        private = {"HOME": str(self.directory), "XDG_RUNTIME_DIR": str(self.directory)}
        self._process = subprocess.Popen(
            [
                "pulseaudio", "-n", "-F", str(self.directory / "default.pa"), "--daemonize=no", "--exit-idle-time=-1",
                "--use-pid-file=no", "--disable-shm=yes",
            ],
            env={**os.environ, **self.environment, **private},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not (self.socket.exists() and self._pactl("info").returncode == 0):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the private PulseAudio does not start")
            time.sleep(0.01)

    def kill(self) -> None:
        """Ends the server at once, as a crash would; `start` brings a new one."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """The server stays, but no longer answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It answers again."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server and every tone."""
        for player in self._players:
            player.kill()
            player.wait()
        self._players.clear()
        self.kill()

    def percent(self) -> int:
        """The sink's volume as pactl reports it."""
        found = re.search(r"(\d+)%", self.pactl("get-sink-volume", SINK))
        assert found is not None
        return int(found[1])

    def set_percent(self, percent: int) -> None:
        """Changes the sink's volume, as somebody else would."""
        self.pactl("set-sink-volume", SINK, f"{percent}%")

    def muted(self) -> bool:
        """Whether the sink is muted."""
        return "yes" in self.pactl("get-sink-mute", SINK)

    def set_muted(self, muted: bool) -> None:
        """Mutes or unmutes the sink, as somebody else would."""
        self.pactl("set-sink-mute", SINK, str(int(muted)))

    def pactl(self, *arguments: str) -> str:
        """What pactl says."""
        result = self._pactl(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def play_tone(self, *, seconds: float = 60.0, hertz: float = 1000.0, dbfs: float = -12.0) -> subprocess.Popen[bytes]:
        """Plays a sine into the sink, past ALSA; ends with the server or by kill()."""
        path = self.directory / f"tone-{hertz:g}-{dbfs:g}-{seconds:g}.wav"
        if not path.exists():
            write_tone(path, seconds=seconds, hertz=hertz, dbfs=dbfs)
        player = subprocess.Popen(
            ["paplay", f"--device={SINK}", "--latency-msec=20", str(path)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._players.append(player)
        return player

    def record(self, seconds: float = 0.3) -> NDArray[np.float32]:
        """What comes out of the sink from now on: samples from -1 to 1, one row per frame, two columns."""
        wanted = int(seconds * RATE) * 8
        data = bytearray()
        recorder = subprocess.Popen(
            ["parec", f"--device={SINK}.monitor", "--format=float32le", f"--rate={RATE}", "--channels=2", "--latency-msec=10"],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert recorder.stdout is not None
        deadline = time.monotonic() + seconds + START_S
        try:
            while len(data) < wanted:
                ready, _, _ = select.select([recorder.stdout], [], [], max(0.0, deadline - time.monotonic()))
                chunk = os.read(recorder.stdout.fileno(), 65536) if ready else b""
                if not chunk:
                    raise RuntimeError("the monitor gives no samples")
                data += chunk
        finally:
            recorder.kill()
            recorder.wait()
            recorder.stdout.close()
        return np.frombuffer(bytes(data[:wanted]), dtype="<f4").reshape(-1, 2)

    def loudness_dbfs(self, seconds: float = 0.3) -> float:
        """RMS level of what comes out of the sink, a full-scale sine being -3 dBFS; SILENCE_DBFS for digital silence."""
        return loudness_dbfs(self.record(seconds))

    def _pactl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment, "LC_ALL": "C"}
        return subprocess.run(
            ["pactl", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=START_S
        )


def loudness_dbfs(samples: NDArray[np.float32]) -> float:
    """RMS level of `samples` (-1 to 1)."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return 10 * math.log10(power) if power > 0 else SILENCE_DBFS


def write_tone(path: Path, *, seconds: float, hertz: float, dbfs: float) -> None:
    """A 16-bit stereo WAV with a sine whose peak is `dbfs`."""
    times = np.arange(int(seconds * RATE)) / RATE
    wave_form = (np.sin(2 * np.pi * hertz * times) * 10 ** (dbfs / 20) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.repeat(wave_form, 2).tobytes())


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
