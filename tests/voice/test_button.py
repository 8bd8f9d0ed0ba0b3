"""Buttons: a fake libgpiod, keyboards that are pipes, and a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.voice import button as button_module
from agent.voice.button import ButtonError, KeyButton, has_key, key_code, open_button
from tests.voice.conftest import until

GPIOD = """
import os
from enum import Enum

class LineSettings:
    def __init__(self, **values):
        self.values = values

class Event:
    class Type(Enum):
        RISING_EDGE = 1
        FALLING_EDGE = 2
    def __init__(self, kind):
        self.event_type = self.Type(kind)

class Request:
    def __init__(self, chip, consumer, config):
        self.fd, self.finger = os.pipe()
        self.chip, self.consumer, self.config = chip, consumer, config
        self.released = False
    def read_edge_events(self):
        return [Event(kind) for kind in os.read(self.fd, 100)]
    def release(self):
        self.released = True
        os.close(self.fd)
        os.close(self.finger)

requests = []

def request_lines(chip, consumer, config):
    if chip != "/dev/gpiochip0":
        raise FileNotFoundError(2, "No such file or directory")
    requests.append(Request(chip, consumer, config))
    return requests[-1]
"""
LINE = (
    "from enum import Enum\nBias = Enum('Bias', 'PULL_UP')\nDirection = Enum('Direction', 'INPUT')\nEdge = Enum('Edge', 'BOTH')\n"
)


@pytest.fixture
def gpiod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """libgpiod 2 as far as it is used."""
    package = tmp_path / "gpiod"
    package.mkdir()
    (package / "__init__.py").write_text(GPIOD)
    (package / "line.py").write_text(LINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import gpiod  # noqa: PLC0415 - the fake

    yield gpiod
    for name in ("gpiod", "gpiod.line"):
        sys.modules.pop(name, None)


async def test_a_gpio_line(gpiod: object) -> None:
    """Pulled up, to ground, debounced; each change is said once."""
    said: list[bool] = []
    button = open_button("gpio:gpiochip0/17", said.append)
    [request] = gpiod.requests  # type: ignore[attr-defined]
    values = request.config[17].values
    assert (request.chip, request.consumer) == ("/dev/gpiochip0", "signage-agent")
    assert (values["bias"].name, values["edge_detection"].name, values["active_low"]) == ("PULL_UP", "BOTH", True)
    assert values["debounce_period"].total_seconds() == 0.01
    os.write(request.finger, bytes([1, 1]))
    await until(lambda: said == [True])
    os.write(request.finger, bytes([2]))
    await until(lambda: said == [True, False])
    button.close()
    assert request.released
    with pytest.raises(ButtonError, match="gpiochip9/3 cannot be had"):
        open_button("gpio:/dev/gpiochip9/3", said.append)


async def test_gpio_without_libgpiod(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names what to install."""
    for name in ("gpiod", "gpiod.line"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ButtonError, match="libgpiod 2"):
        open_button("gpio:gpiochip0/17", lambda _: None)


def test_libgpiod_is_not_loaded_for_nothing() -> None:
    """Neither it nor pyalsaaudio is there when the worker has just been loaded."""
    code = (
        "import sys, agent.voice.worker, agent.voice.proxy; print([m for m in ('gpiod', 'alsaaudio', 'mpv') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def event(code: int, value: int, kind: int = 1) -> bytes:
    """An input_event of the kernel."""
    return struct.pack("llHHi", 0, 0, kind, code, value)


async def test_a_key_of_any_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pressed while it is down on at least one of them; repeats and other keys are nothing; one that is unplugged lets go."""
    monkeypatch.setattr(button_module, "LOOK_S", 0.02)
    monkeypatch.setattr(
        button_module, "has_key", lambda descriptor, code: "mouse" not in str(Path(f"/proc/self/fd/{descriptor}").readlink())
    )
    for name in ("event0", "event1-mouse"):
        os.mkfifo(tmp_path / name)
    said: list[bool] = []
    button = KeyButton(88, said.append, tmp_path)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context((tmp_path / "event0").open("wb", buffering=0))
        first.write(event(30, 1) + event(88, 1, kind=4) + event(88, 1) + event(88, 2) + event(88, 2))
        await until(lambda: said == [True])
        first.write(event(88, 0))
        await until(lambda: said == [True, False])
        os.mkfifo(tmp_path / "event7")
        await until(lambda: tmp_path / "event7" in button._keyboards, "plugged in later")
        second = stack.enter_context((tmp_path / "event7").open("wb", buffering=0))
        first.write(event(88, 1))
        second.write(event(88, 1))
        await until(lambda: len(button._pressed) == 2)
        first.write(event(88, 0))
        await until(lambda: len(button._pressed) == 1)
        assert said == [True, False, True]
        (tmp_path / "event7").unlink()
        second.close()
        await until(lambda: said == [True, False, True, False])
    button.close()
    assert set(button._keyboards) <= {tmp_path / "event0"}


async def test_no_keyboard_may_be_read(tmp_path: Path) -> None:
    """Refused with what is missing; without any keyboard it waits for one."""
    (tmp_path / "event0").symlink_to(tmp_path / "nowhere" / "x")
    with pytest.raises(ButtonError, match="group `input`"):
        KeyButton(88, lambda _: None, tmp_path)
    (tmp_path / "event0").unlink()
    KeyButton(88, lambda _: None, tmp_path).close()


def test_keys() -> None:
    """By name as in the kernel's list, in any case, or by number."""
    assert [key_code(name) for name in ("F12", "key_f12", "#88", "space", "KEY_A", "0", "1", "F13")] == [
        88,
        88,
        88,
        57,
        30,
        11,
        2,
        183,
    ]
    assert [key_code(name) for name in ("", "F99", "#", "#12345", "spacebar")] == [None] * 5
    read, write = os.pipe()
    assert not has_key(read, 88), "a pipe has no keys"
    os.close(read)
    os.close(write)


async def test_lines_of_a_terminal() -> None:
    """Each line entered presses it or lets it go."""
    ours, theirs = pty.openpty()
    said: list[bool] = []
    button = open_button(f"terminal:{os.ttyname(theirs)}", said.append)
    os.write(ours, b"\n")
    await until(lambda: said == [True])
    os.write(ours, b"now\n\n")
    await until(lambda: said == [True, False, True])
    os.close(ours)
    os.close(theirs)
    await asyncio.sleep(0.05)
    assert said == [True, False, True]
    button.close()
    button.close()
    with pytest.raises(ButtonError, match="cannot be read"):
        open_button("terminal:/nowhere/at/all", said.append)


@pytest.mark.parametrize("setting", ["", "F12", "gpio:", "gpio:gpiochip0", "gpio:gpiochip0/x", "key:", "key:NOSUCH", "usb:1"])
async def test_what_is_no_button(setting: str) -> None:
    """The sentence says what one looks like."""
    with pytest.raises(ButtonError, match="gpio:CHIP/LINE"):
        open_button(setting, lambda _: None)
