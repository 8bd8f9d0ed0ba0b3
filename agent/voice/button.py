"""The push-to-talk button: a GPIO line, a key of a keyboard, or lines of a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import re
import struct
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often keyboards that were plugged in are looked for."""
DEBOUNCE_MS = 10
KEYS: dict[str, int] = {
    "ESC": 1, "TAB": 15, "ENTER": 28, "SPACE": 57, "LEFTCTRL": 29, "RIGHTCTRL": 97, "LEFTALT": 56, "RIGHTALT": 100,
    "LEFTSHIFT": 42, "RIGHTSHIFT": 54, "LEFTMETA": 125, "CAPSLOCK": 58, "SCROLLLOCK": 70, "PAUSE": 119, "MICMUTE": 248,
    "PLAYPAUSE": 164, "KPENTER": 96, "VOICECOMMAND": 582, "BTN_0": 256, "BTN_LEFT": 272, "BTN_RIGHT": 273,
    **{str((number + 1) % 10): 2 + number for number in range(10)},
    **{letter: 16 + place for place, letter in enumerate("QWERTYUIOP")},
    **{letter: 30 + place for place, letter in enumerate("ASDFGHJKL")},
    **{letter: 44 + place for place, letter in enumerate("ZXCVBNM")},
    **{f"F{number}": 58 + number for number in range(1, 11)},
    "F11": 87, "F12": 88, **{f"F{number}": 170 + number for number in range(13, 25)},
}  # fmt: skip
"""linux/input-event-codes.h, without KEY_; any other key goes by its number, as `key:#115`."""

_EVENT = struct.Struct("llHHi")
_EV_KEY = 1
_KEY_BYTES = 96
_EVIOCGBIT_KEY = (2 << 30) | (_KEY_BYTES << 16) | (ord("E") << 8) | (0x20 + _EV_KEY)


class ButtonError(Exception):
    """There is no such button; str() is a sentence for the installer."""


class Button(Protocol):
    """An open button."""

    def close(self) -> None:
        """Nothing more is reported."""


def open_button(setting: str, on_change: Callable[[bool], None]) -> Button:
    """The button of the setting `[voice] button`; `on_change` is called with True when it is pressed, False when let go.

    `gpio:CHIP/LINE`: between the line and ground, pulled up. `key:NAME`: on any keyboard, also one plugged in later.
    `terminal` or `terminal:PATH`: each line entered presses it or lets it go. Raises ButtonError.
    """
    kind, _, rest = setting.partition(":")
    if kind == "gpio" and (found := re.fullmatch(r"(?:/dev/)?(\w+)/(\d+)", rest)):
        return GpioButton(f"/dev/{found[1]}", int(found[2]), on_change)
    if kind == "key" and (code := key_code(rest)) is not None:
        return KeyButton(code, on_change)
    if kind == "terminal":
        return TerminalButton(Path(rest or "/dev/tty"), on_change)
    raise ButtonError(f"{setting!r} is no button: gpio:CHIP/LINE such as gpio:gpiochip0/17, or key:NAME such as key:F12")


def key_code(name: str) -> int | None:
    """The kernel's number of a key: `F12`, `KEY_F12`, `#88`. None: no such key."""
    if re.fullmatch(r"#\d{1,3}", name):
        return int(name[1:])
    return KEYS.get(name.upper().removeprefix("KEY_"))


class GpioButton:
    """A line of a GPIO chip, through libgpiod 2."""

    def __init__(self, chip: str, line: int, on_change: Callable[[bool], None]) -> None:
        try:
            import gpiod  # noqa: PLC0415 - an extra, needed for this button only
            from gpiod.line import Bias, Direction, Edge  # noqa: PLC0415
        except ImportError:
            raise ButtonError("a GPIO button needs libgpiod 2 for Python: pip install 'gpiod>=2'") from None
        settings = gpiod.LineSettings(
            direction=Direction.INPUT,
            edge_detection=Edge.BOTH,
            bias=Bias.PULL_UP,
            active_low=True,
            debounce_period=timedelta(milliseconds=DEBOUNCE_MS),
        )
        try:
            self._request: Any = gpiod.request_lines(chip, consumer="signage-agent", config={line: settings})
        except (OSError, ValueError) as error:
            raise ButtonError(f"GPIO line {chip}/{line} cannot be had: {error}") from None
        self._line = line
        self._on_change = on_change
        self._pressed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._request.fd, self._read)

    def close(self) -> None:
        """See `Button`."""
        self._loop.remove_reader(self._request.fd)
        self._request.release()

    def _read(self) -> None:
        for event in self._request.read_edge_events():
            # With active_low, a rising edge is the button's: from let go to pressed.
            pressed = event.event_type is event.Type.RISING_EDGE
            if pressed != self._pressed:
                self._pressed = pressed
                self._on_change(pressed)


class KeyButton:
    """A key of every keyboard there is (evdev)."""

    def __init__(self, code: int, on_change: Callable[[bool], None], directory: Path = Path("/dev/input")) -> None:
        self._code = code
        self._on_change = on_change
        self._directory = directory
        self._keyboards: dict[Path, int] = {}
        self._pressed: set[Path] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        refused = self._look()
        if not self._keyboards and refused:
            self.close()
            raise ButtonError(f"no keyboard may be read: {refused} (the user must be in the group `input`)")

    def close(self) -> None:
        """See `Button`."""
        if self._timer is not None:
            self._timer.cancel()
        for path in tuple(self._keyboards):
            self._lose(path)

    def _look(self) -> str:
        """Opens the keyboards that are new; a reason if one was refused."""
        refused = ""
        for path in sorted(self._directory.glob("event*")):
            if path in self._keyboards:
                continue
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                refused = f"{path}: {error.strerror}"
                continue
            if has_key(descriptor, self._code):
                self._keyboards[path] = descriptor
                self._loop.add_reader(descriptor, self._read, path)
            else:
                os.close(descriptor)
        self._timer = self._loop.call_later(LOOK_S, self._look)
        return refused

    def _read(self, path: Path) -> None:
        try:
            data = os.read(self._keyboards[path], 64 * _EVENT.size)
        except BlockingIOError:
            return
        except OSError as error:
            log.info("keyboard is gone path=%s error=%s", path, os.strerror(error.errno or errno.EIO))
            data = b""
        if not data:
            self._lose(path)
            return
        whole = len(data) - len(data) % _EVENT.size
        for _, _, kind, code, value in _EVENT.iter_unpack(data[:whole]):
            if kind == _EV_KEY and code == self._code and value in (0, 1):
                self._set(path, pressed=value == 1)

    def _set(self, path: Path, *, pressed: bool) -> None:
        before = bool(self._pressed)
        if pressed:
            self._pressed.add(path)
        else:
            self._pressed.discard(path)
        if bool(self._pressed) != before:
            self._on_change(not before)

    def _lose(self, path: Path) -> None:
        descriptor = self._keyboards.pop(path)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self._set(path, pressed=False)


class TerminalButton:
    """For trying out: each line that is entered on a terminal, or written into a named pipe, presses it or lets it go."""

    def __init__(self, path: Path, on_change: Callable[[bool], None]) -> None:
        try:
            # Writable, too: a named pipe then stays open when its writer has gone.
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise ButtonError(f"{path} cannot be read: {error.strerror}") from None
        self._on_change = on_change
        self._pressed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """See `Button`."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        data = b""
        with contextlib.suppress(BlockingIOError):
            try:
                data = os.read(self._descriptor, 4096)
            except OSError as error:
                log.info("terminal is gone error=%s", error.strerror)
            if not data:
                self.close()
        for _ in range(data.count(b"\n")):
            self._pressed = not self._pressed
            self._on_change(self._pressed)


def has_key(descriptor: int, code: int) -> bool:
    """Whether an input device has that key."""
    bits = bytearray(_KEY_BYTES)
    try:
        fcntl.ioctl(descriptor, _EVIOCGBIT_KEY, bits)
    except OSError:
        return False
    return code < 8 * _KEY_BYTES and bool(bits[code // 8] & 1 << code % 8)
