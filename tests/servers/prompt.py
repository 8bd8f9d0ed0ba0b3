"""Commands at the mock server's prompt, for those who prefer typing to the console page."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from tests.servers.conversion_prompt import HELP as FILM_HELP, run_line as run_film_line
from tests.servers.signage import SignageServer
from tests.servers.speaker_prompt import HELP as SPEAKER_HELP, run_line as run_speaker_line
from tests.servers.tronbyt_prompt import HELP as FEED_HELP, run_line as run_feed_line

HELP = """\
devices                      who is there and what it plays
play pause next previous     to all connected devices, or with a serial: pause LOBBY-01
reload                       reload_playlist
switch ID | media ID         switch_playlist, play_media
volume N | brightness N
text TEXT | hide             text overlay
keep ID ...                  cleanup_old_playlists, keeping these
send JSON                    any message
expire                       end all access tokens
away | back                  the network is gone, and back
fault PATH KEY=VALUE ...     for instance: fault '/media/*' bytes_per_s=50000
clear                        end all faults
quit"""

SIMPLE = {
    "play": "play",
    "pause": "pause",
    "next": "next",
    "previous": "previous",
    "reload": "reload_playlist",
    "hide": "hide_text_overlay",
}


async def read_prompt(server: SignageServer, stop: Callable[[], None]) -> None:
    """Carries out what is typed until `quit` or the end of input; then calls `stop`."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: lines.put_nowait(sys.stdin.readline()))
    try:
        while True:
            _say("> ", end="")
            line = await lines.get()
            if line == "" or line.strip() in ("quit", "exit"):
                stop()
                return
            try:
                await run_line(server, line)
            except (ValueError, TypeError, ConnectionError) as error:
                _say(f"{error}")
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def run_line(server: SignageServer, line: str) -> None:
    """Carries out one line. Raises ValueError or TypeError for one that makes no sense."""
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if word in ("", "help", "?"):
        _say(f"{HELP}\n\n{SPEAKER_HELP}\n\n{FEED_HELP}\n\n{FILM_HELP}")
    elif word == "speaker":
        _say(await run_speaker_line(server.hub, rest))
    elif word == "feed":
        _say(await run_feed_line(server.hub, rest))
    elif word == "films":
        _say(await run_film_line(server.hub, rest))
    elif word == "devices":
        _list_devices(server)
    elif word == "expire":
        server.tokens.expire_access()
    elif word in ("away", "back"):
        server.hub.away = word == "away"
    elif word == "fault":
        path, *pairs = shlex.split(rest)
        server.fault(path, **{key: json.loads(value) for key, _, value in (pair.partition("=") for pair in pairs)})
    elif word == "clear":
        server.clear_faults()
    else:
        message, serial = _message(word, rest)
        await _send(server, message, serial)


def _message(word: str, rest: str) -> tuple[dict[str, Any], str]:
    """The message a line stands for, and the serial it names, if any."""
    if word in SIMPLE:
        return {"action": SIMPLE[word]}, rest
    if word == "switch":
        return {"action": "switch_playlist", "playlist_id": int(rest)}, ""
    if word == "media":
        return {"action": "play_media", "media_id": int(rest)}, ""
    if word in ("volume", "brightness"):
        return {"action": f"set_{word}", word: int(rest)}, ""
    if word == "text":
        return {"action": "show_text_overlay", "text_overlay": {"text": rest, "position": "bottom", "animation": "scroll"}}, ""
    if word == "keep":
        return {"action": "cleanup_old_playlists", "playlistIdsToKeep": [int(one) for one in rest.split()]}, ""
    if word == "send":
        message = json.loads(rest)
        if not isinstance(message, dict):
            raise ValueError("a message is an object")
        return message, ""
    raise ValueError(f"no such command: {word}; try help")


async def _send(server: SignageServer, message: dict[str, Any], serial: str) -> None:
    targets = [device for device in server.devices.values() if device.live and serial in ("", device.serial)]
    if not targets:
        raise ValueError(f"{serial} is not connected" if serial else "no device is connected")
    for device in targets:
        await server.send(device.serial, message)


def _list_devices(server: SignageServer) -> None:
    if not server.devices:
        _say("none yet")
    for device in server.devices.values():
        state = "connected" if device.live else "offline"
        _say(f"{device.serial}: {state}, volume {device.volume}, brightness {device.brightness}, ready {device.ready}")
        for status in device.statuses.values():
            done, total = status.get("downloaded_items"), status.get("total_items")
            _say(f"  playlist {status.get('playlist_id')}: {status.get('status')} {done}/{total}")


def _say(text: str, end: str = os.linesep) -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()
