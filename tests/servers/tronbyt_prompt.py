"""Commands for pixel feeds at the mock server's prompt."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.servers import pixel_apps
from tests.servers.core import Hub
from tests.servers.tronbyt import SAMPLES, TronbytServer
from tests.servers.tronbyt_devices import App

HELP = """\
feed push TEXT               to all connected feeds, at once
feed image FILE | sample NAME
feed brightness N | pause | resume | habit waits | habit timed
feed away | back | silence | drop | close CODE
feed send JSON               any message
feed list                    who is there"""


async def run_line(hub: Hub, line: str) -> str:
    """Carries out one line for every connected feed; what there is to say. Raises ValueError, TypeError, ConnectionError."""
    service = hub.services.get(TronbytServer.kind)
    if not isinstance(service, TronbytServer):
        raise ValueError("no feed server runs here")  # noqa: TRY004 - for whoever typed it
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if word in ("", "help"):
        return HELP
    if word == "list":
        return _listed(service)
    targets = [one.device_id for one in service.displays.values() if one.live or word == "back"]
    if not targets:
        raise ValueError("no feed is connected")
    app = await _app(word, rest)
    for device_id in targets:
        if app is not None:
            service.push(device_id, app)
        else:
            await _act(service, device_id, word, rest)
    return "done"


async def _app(word: str, rest: str) -> App | None:
    """What a line wants to push; None: nothing."""
    if word == "push":
        return App(rest[:60], await asyncio.to_thread(pixel_apps.label, rest[:60]), 6)
    if word == "sample":
        if rest not in SAMPLES:
            raise ValueError(f"the samples are {', '.join(SAMPLES)}")
        return App(rest, await asyncio.to_thread(SAMPLES[rest]), 6)
    if word == "image":
        try:
            return App(Path(rest).name, await asyncio.to_thread(Path(rest).expanduser().read_bytes), 6)
        except OSError as error:
            raise ValueError(f"{rest}: {error.strerror}") from None
    return None


async def _act(service: TronbytServer, device_id: str, word: str, rest: str) -> None:
    if word == "brightness":
        await service.set_brightness(device_id, int(rest))
    elif word in ("pause", "resume"):
        service.pause(device_id, value=word == "pause")
    elif word in ("away", "back"):
        service.leave(device_id, value=word == "away")
    elif word == "close":
        await service.close(device_id, int(rest or 1000))
    elif word == "send":
        await service.send(device_id, json.loads(rest))
    elif word in ("silence", "drop", "habit"):
        await service.command(word, {"device_id": device_id, "value": rest})
    else:
        raise ValueError(f"no such command: feed {word}; try feed help")


def _listed(service: TronbytServer) -> str:
    lines = []
    for display in service.displays.values():
        state = "connected" if display.live else "offline"
        shown = display.shown.name if display.shown else "nothing"
        lines.append(f"{display.device_id}: {state}, shows {shown}, {len(display.displayed)} images displayed")
    return "\n".join(lines) or "none yet"
