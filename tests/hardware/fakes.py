"""Stand-ins for hardware: an `alsaaudio` and a `monitorcontrol` module, and the wait for what they cause."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import monitorcontrol
import pytest

DEADLINE_S = 10.0


async def until(condition: Callable[[], bool], what: str = "") -> None:
    """Returns as soon as `condition` holds; fails after a generous deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)
    assert condition(), what


class FakeAlsa:
    """Cards and controls in a file that the fake `alsaaudio` of the mixer worker reads at every call and writes to.

    A control: `range` in raw units, `raw` its value, `muted` (None: no switch), `db` its range in hundredths of a dB
    (None: garbage, as pyalsaaudio gives it), `step` what a write is rounded to, `volume` False for what is no volume.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = directory / "alsa.json"
        self.pipe = directory / "events"
        module = directory / "modules"
        module.mkdir()
        (module / "alsaaudio.py").write_text(MODULE)
        os.mkfifo(self.pipe)
        self._events: int | None = os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK)
        self.state: dict[str, Any] = {"cards": [], "mixers": {}, "hang": [], "fail": []}
        self._write()
        monkeypatch.setenv("PYTHONPATH", str(module))
        monkeypatch.setenv("FAKE_ALSA", str(directory))
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(directory / "asound.conf"))

    def add(self, card: str, control: str, **values: Any) -> None:
        """Adds a control, and the card if it is new."""
        state = self.read()
        if card not in state["cards"]:
            state["cards"].append(card)
        device = state["mixers"].setdefault(f"hw:CARD={card}", {})
        device[control] = {
            "range": [0, 100], "raw": 40, "muted": False, "db": None, "step": 1, "volume": True, **values,
        }  # fmt: skip
        self._write()

    def remove(self, card: str) -> None:
        """Unplugs a card."""
        self.read()["cards"].remove(card)
        del self.state["mixers"][f"hw:CARD={card}"]
        self._write()
        self.hang_up()

    def hang(self, *calls: str) -> None:
        """These calls never return from now on, and keep the interpreter's lock."""
        self.read()["hang"] = list(calls)
        self._write()

    def change(self, card: str, control: str, **values: Any) -> None:
        """Somebody else changes a control."""
        self.read()["mixers"][f"hw:CARD={card}"][control].update(values)
        self._write()
        assert self._events is not None
        os.write(self._events, b"!")

    def control(self, card: str, control: str) -> dict[str, Any]:
        """What a control stands at."""
        return dict(self.read()["mixers"][f"hw:CARD={card}"][control])

    def hang_up(self) -> None:
        """POLLHUP on everything open."""
        if self._events is not None:
            os.close(self._events)
        self._events = None

    def plug_in(self) -> None:
        """After `hang_up`: what is opened from now on is watched again."""
        self._events = os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK)

    def calls(self) -> list[str]:
        """The mixer calls so far."""
        path = self.path.with_name("calls")
        return path.read_text().split() if path.exists() else []

    def read(self) -> dict[str, Any]:
        self.state = json.loads(self.path.read_text())
        return self.state

    def _write(self) -> None:
        scratch = self.path.with_suffix(".part")
        scratch.write_text(json.dumps(self.state))
        scratch.replace(self.path)


MODULE = """
import ctypes, json, os
from pathlib import Path
from agent.hardware import decibels

PCM_PLAYBACK, MIXER_CHANNEL_ALL = 0, -1
VOLUME_UNITS_PERCENTAGE, VOLUME_UNITS_RAW, VOLUME_UNITS_DB = 0, 1, 2
DIRECTORY = Path(os.environ["FAKE_ALSA"])
STATE = DIRECTORY / "alsa.json"

class ALSAAudioError(Exception):
    pass

def load(call):
    state = json.loads(STATE.read_text())
    with open(DIRECTORY / "calls", "a") as calls:
        calls.write(call + "\\n")
    if call in state["hang"]:
        ctypes.PyDLL(None).sleep(3600)
    if call in state["fail"]:
        raise ALSAAudioError("Input/output error [fake]")
    return state

def save(state):
    scratch = STATE.with_suffix(".worker")
    scratch.write_text(json.dumps(state))
    scratch.replace(STATE)

def cards():
    return load("cards")["cards"]

def mixers(cardindex=-1, device="default"):
    state = load("mixers")
    if device not in state["mixers"]:
        if device == "default" and state["cards"]:
            device = "hw:CARD=" + state["cards"][0]
        else:
            raise ALSAAudioError(f"No such file or directory [{device}]")
    return list(state["mixers"].get(device, {}))

def db_range(device, control):
    db = json.loads(STATE.read_text())["mixers"][device][control]["db"]
    return None if db is None else tuple(db)

decibels.db_range = db_range

class Mixer:
    def __init__(self, control="Master", id=0, cardindex=-1, device="default"):
        if control not in mixers(device=device):
            raise ALSAAudioError(f"Unable to find mixer control {control},0 [{device}]")
        self.device, self.control, self.fd = device, control, None
        self.fd = os.open(DIRECTORY / "events", os.O_RDONLY | os.O_NONBLOCK)

    def _of(self, state):
        try:
            return state["mixers"][self.device][self.control]
        except KeyError:
            raise ALSAAudioError(f"No such device [{self.device}]")

    def getrange(self, pcmtype=0, units=1):
        assert units == VOLUME_UNITS_RAW
        return list(self._of(load("getrange"))["range"])

    def volumecap(self):
        return ["Playback Volume"] if self._of(load("volumecap"))["volume"] else ["Capture Volume"]

    def switchcap(self):
        return [] if self._of(load("switchcap"))["muted"] is None else ["Playback Mute", "Joined Playback Mute"]

    def getvolume(self, pcmtype=0, units=0):
        control = self._of(load("getvolume"))
        if units == VOLUME_UNITS_DB:
            (low, high), (least, most) = control["db"], control["range"]
            return [round(low + (high - low) * (control["raw"] - least) / (most - least))] * 2
        return [control["raw"]] * 2

    def setvolume(self, volume, channel=-1, pcmtype=0, units=0):
        state = load("setvolume")
        control = self._of(state)
        least, most = control["range"]
        if units == VOLUME_UNITS_DB:
            low, high = control["db"]
            volume = round(least + (most - least) * (volume - low) / (high - low))
        step = control["step"]
        control["raw"] = min(most, max(least, round((volume - least) / step) * step + least))
        save(state)

    def getmute(self):
        return [int(self._of(load("getmute"))["muted"])] * 2

    def setmute(self, mute, channel=-1):
        state = load("setmute")
        self._of(state)["muted"] = bool(mute)
        save(state)

    def polldescriptors(self):
        return [(self.fd, 1)]

    def handleevents(self):
        load("handleevents")
        os.read(self.fd, 100)
        return 1

    def close(self):
        os.close(self.fd)
"""


class FakeMonitor:
    """One monitor as `monitorcontrol.Monitor` shows it: calls only inside `with`, values beyond the most refused."""

    def __init__(self, bus: int, current: int, most: int) -> None:
        self.vcp = self
        self.bus_number = bus
        self.current = current
        self.most = most
        self.failures = 0
        self.off = self.denied = False
        self.entered = self.left = 0

    def __enter__(self) -> Self:
        if self.denied:
            raise monitorcontrol.VCPPermissionError(f"permission error for /dev/i2c-{self.bus_number}")
        if self.off:
            raise monitorcontrol.VCPIOError(f"unable to open VCP at /dev/i2c-{self.bus_number}")
        self.entered += 1
        return self

    def __exit__(self, exception_type: object, exception_value: object, exception_traceback: object) -> None:
        self.left += 1

    def get_vcp_feature(self, code: int) -> tuple[int, int]:
        self._answer()
        assert code == 0x10
        return self.current, self.most

    def get_luminance(self) -> int:
        self._answer()
        return self.current

    def set_luminance(self, value: int) -> None:
        self._answer()
        if value > self.most:
            raise ValueError(f"value of {value} exceeds code maximum of {self.most}")
        self.current = value

    def _answer(self) -> None:
        assert self.entered > self.left, "called outside of a with statement"
        if self.failures:
            self.failures -= 1
            raise monitorcontrol.VCPIOError("unable to read from I2C bus")


class FakeMonitors:
    """The monitors that `monitorcontrol.get_monitors` finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: list[FakeMonitor] = []
        self.searches = 0
        monkeypatch.setattr(monitorcontrol, "get_monitors", self._get_monitors)

    def add(self, *, bus: int, current: int, most: int) -> FakeMonitor:
        self.found.append(FakeMonitor(bus, current, most))
        return self.found[-1]

    @staticmethod
    def connect(sysfs: Path, connector: str, bus: int) -> None:
        """A connector whose DDC bus this is, as the kernel links it."""
        device = sysfs / f"devices/i2c-{bus}"
        device.mkdir(parents=True)
        (sysfs / "class/drm" / connector).mkdir(parents=True)
        (sysfs / "class/drm" / connector / "ddc").symlink_to(device)

    def _get_monitors(self) -> list[FakeMonitor]:
        self.searches += 1
        return [monitor for monitor in self.found if not monitor.off]
