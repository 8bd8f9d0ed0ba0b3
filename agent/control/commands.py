"""The commands that talk to a running agent. Each returns its exit code."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.control.client import ControlClient, RefusedError
from agent.control.status import bar, render, size_text

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_STATES = {
    "idle": "looking for the update",
    "receiving": "receiving the update",
    "checking": "checking the update",
    "installing": "installing the update; this takes a minute or two",
}
_BEGIN_FRAME, _END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know this draw the whole frame at once; the others ignore it."""


def status(client: ControlClient, *, as_json: bool, watch: bool, screen: str | None) -> int:
    """Prints the status once, or whenever it changes."""
    documents: Iterator[dict[str, Any]] = client.watch() if watch else iter([client.status()])
    documents = (_only(document, screen) for document in documents)
    if as_json:
        for document in documents:
            print(json.dumps(document, ensure_ascii=False, indent=None if watch else 2), flush=True)
    elif watch and sys.stdout.isatty():
        _redraw(documents)
    else:
        for count, document in enumerate(documents):
            lines = render(document, now=datetime.now().astimezone(), width=_width(), color=_colored())
            print(*([""] if count else []), *lines, sep="\n", flush=True)
    if watch:
        print("signage-agent: the agent has ended", file=sys.stderr)
        return 3
    return 0


def screenshot(client: ControlClient, file: str, screen: str | None) -> int:
    """Writes what is on the screen to `file`, "-" for standard output."""
    picture, mime = client.screenshot(screen)
    if file == "-":
        sys.stdout.buffer.write(picture)
        return 0
    try:
        Path(file).write_bytes(picture)
    except OSError as error:
        raise RefusedError(f"{file} cannot be written: {error.strerror}") from None
    endings = {"image/jpeg": (".jpg", ".jpeg"), "image/png": (".png",)}.get(mime, ())
    if endings and Path(file).suffix.lower() not in endings:
        print(f"signage-agent: note: {file} holds {mime}", file=sys.stderr)
    return 0


def play(client: ControlClient, file: str, screen: str | None) -> int:
    """Sends `file` to be played over the running playlist."""
    try:
        with Path(file).open("rb") as opened:
            details = os.fstat(opened.fileno())
            size = details.st_size if stat.S_ISREG(details.st_mode) else None
            with _progress(Path(file).name, size) as on_sent:
                client.play(Path(file).name, opened, size, screen, on_sent)
    except OSError as error:
        raise RefusedError(f"{file} cannot be read: {error.strerror}") from None
    return 0


def update(client: ControlClient, source: str | None) -> int:
    """Installs a bundle - a file, "-" for standard input, a URL, None for the newest there is - and shows how it gets on."""
    if source is None or source.startswith(("http://", "https://")):
        return _follow(client.update(source))
    if source == "-":
        return _follow(client.update(sys.stdin.buffer, "standard input"))
    try:
        with Path(source).open("rb") as opened:
            details = os.fstat(opened.fileno())
            size = details.st_size if stat.S_ISREG(details.st_mode) else None
            name = Path(source).name
            with _progress(name, size) as on_sent:
                events = client.update(opened, name, size, on_sent)
                first = next(events, {})
            return _follow(itertools.chain([first], events))
    except OSError as error:
        raise RefusedError(f"{source} cannot be read: {error.strerror}") from None


def _follow(events: Iterable[dict[str, Any]]) -> int:
    """Shows what the agent says of an update: on a terminal in one line, else a line for each step."""
    redraws, said, version = sys.stderr.isatty(), "", ""
    try:
        for event in events:
            version = event.get("version", "")
            state, total = _STATES.get(event.get("state", ""), ""), event.get("total_bytes")
            if redraws and total:
                share = (event.get("received_bytes") or 0) / total
                state += f"  {bar(share, 30)} {100 * share:3.0f} % of {size_text(total)}"
            if state and state != said:
                sys.stderr.write(f"\r{state}\x1b[K" if redraws else f"{state}\n")
                sys.stderr.flush()
                said = state
    finally:
        if redraws and said:
            sys.stderr.write("\n")
    print(f"version {version} is installed; the agent restarts and the version proves itself now: see signage-agent status")
    return 0


def _only(document: dict[str, Any], screen: str | None) -> dict[str, Any]:
    if screen is None:
        return document
    screens = document.get("screens", {})
    if screen not in screens:
        raise RefusedError(f"no screen is called {screen!r}; there are: {', '.join(screens)}")
    return {**document, "screens": {screen: screens[screen]}}


def _redraw(documents: Iterator[dict[str, Any]]) -> None:
    """Draws each document over the one before, line by line, so that nothing flickers."""
    drawn = 0
    sys.stdout.write(_HIDE_CURSOR)
    try:
        for document in documents:
            width, height = shutil.get_terminal_size()
            lines = render(document, now=datetime.now().astimezone(), width=width - 1, color=_colored())
            if len(lines) > height - 1:
                lines = [*lines[: height - 2], f"... {len(lines) - height + 2} more lines"]
            up = f"\x1b[{min(drawn, height - 1)}A" if drawn else ""
            body = "".join(f"{line}\x1b[K\n" for line in lines)
            sys.stdout.write(f"{_BEGIN_FRAME}{up}\r{body}\x1b[J{_END_FRAME}")
            sys.stdout.flush()
            drawn = len(lines)
    finally:
        sys.stdout.write(_SHOW_CURSOR)
        sys.stdout.flush()


@contextlib.contextmanager
def _progress(name: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Draws how much of a file has been sent, on a terminal only."""
    if not sys.stderr.isatty() or not size:
        yield lambda _: None
        return
    shown = -1

    def on_sent(sent: int) -> None:
        nonlocal shown
        percent = 100 * sent // size
        if percent != shown:
            shown = percent
            sys.stderr.write(f"\r{name}  {bar(sent / size, 30)} {percent:3} %  {size_text(sent)} of {size_text(size)}\x1b[K")
            sys.stderr.flush()

    try:
        yield on_sent
    finally:
        sys.stderr.write("\n")


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns


def _colored() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
