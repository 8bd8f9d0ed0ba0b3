"""What server and agent say of each other, and the judgement on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from tests.demo import DIRECTORY, SERIAL, say
from tests.demo.feed import Feed
from tests.demo.film import Film
from tests.demo.surroundings import SOCKET, environment

LOOK_S = 1.0
"""Seconds between two looks at the agent."""
FLAT_COLOURS = 12
"""With fewer different colours than this on the screen, nothing was presented."""
SCREENSHOTS = 8


class Watch:
    """Follows server and agent and says what changes."""

    def __init__(self, address: str, feed: Feed, film: Film) -> None:
        self.presented = asyncio.Event()
        """Set once the agent says that it plays."""
        self._address = address
        self._feed = feed
        self._film = film
        self._device: dict[str, Any] = {}
        self._said: dict[str, str] = {}

    async def follow_server(self) -> None:
        """Reads what the console page is told, for ever."""
        url = f"{self._address}/console/socket"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
            async for frame in socket:
                message = json.loads(frame.data)
                if message["type"] == "state" and message["service"] == "tronbyt":
                    self._feed.hear(message["state"]["displays"])
                if message["type"] == "state" and message["service"] == "conversion":
                    self._film.hear(message["state"]["jobs"], message["state"]["complaints"])
                if message["type"] == "state" and message["service"] == "signage":
                    for device in message["state"]["devices"]:
                        if device["serial"] == SERIAL:
                            self._device = device
                            self._tell(
                                "server", f"playlists {device['ready']} are ready" if device["ready"] else "device is here"
                            )

    async def follow_agent(self) -> None:
        """Looks at the agent's status, for ever."""
        while True:
            status = await _status()
            if status is not None:
                self._tell_status(status)
            await asyncio.sleep(LOOK_S)

    async def faults(self, screenshot: Path) -> list[str]:
        """What is not as the demo promises, asked of the server, of the agent and of the screen; empty: all is."""
        faults = []
        if not self._device.get("ready"):
            faults.append(f"the server was not told of a ready playlist; what it knows: {self._device or 'nothing'}")
        status = await _status()
        if status is None:
            return [*faults, "the agent does not answer on its control socket"]
        if not any(playlist["status"] == "ready" for playlist in status["playlists"]):
            faults.append(f"the agent has no playlist ready: {status['playlists']}")
        if not any(screen["state"] == "playing" and screen["media_id"] is not None for screen in status["screens"].values()):
            faults.append(f"the screen does not play: {status['screens']}")
        return faults + self._feed.faults() + self._film.faults() + await take_screenshot(screenshot)

    def _tell_status(self, status: dict[str, Any]) -> None:
        for link in status["links"]:
            self._tell(f"link {link['name']}", link["state"] + (f" ({link['last_error']})" if link["last_error"] else ""))
        for playlist in status["playlists"]:
            items = f"{playlist['downloaded_items']} of {playlist['total_items']} items are here"
            self._tell(f"playlist {playlist['name']}", f"{playlist['status']}, {items}")
        self._feed.look(status["screens"])
        self._film.look(status)
        for job in status.get("jobs", []):
            percent = "" if job["percent"] is None else f" {job['percent']:.0f} %"
            self._tell(f"film {job['title']}", f"{job['state']}{percent}" + (f" ({job['error']})" if job["error"] else ""))
        for name, screen in status["screens"].items():
            self._tell(f"screen {name}", f"{screen['state']} {screen['title'] or ''}".strip())
            if screen["state"] == "playing":
                self.presented.set()

    def _tell(self, subject: str, words: str) -> None:
        if self._said.get(subject) != words:
            self._said[subject] = words
            say(f"{subject}: {words}")


async def take_screenshot(path: Path) -> list[str]:
    """Saves the screen as PNG; what is wrong with it. A picture in the middle of a fade is taken again."""
    colours = 0
    for _ in range(SCREENSHOTS):
        code, _, complaint = await _ask("screenshot", str(path.absolute()))
        if code != 0:
            return [f"no screenshot: {complaint.strip()}"]
        with Image.open(path) as picture:
            words = f"screenshot: {path} ({picture.format}, {picture.width}x{picture.height})"
            colours = len(picture.convert("RGB").resize((160, 90)).getcolors(160 * 90) or [])
        if colours >= FLAT_COLOURS:
            say(words)
            return []
    return [f"the screen shows {colours} colours only"]


def agent(*arguments: str) -> list[str]:
    """The agent's command line."""
    return [sys.executable, "-m", "agent", *arguments]


async def _status() -> dict[str, Any] | None:
    """What `signage-agent status --json` says; None while no agent answers."""
    code, words, _ = await _ask("status", "--json")
    if code != 0:
        return None
    status: dict[str, Any] = json.loads(words)
    return status


async def _ask(command: str, *arguments: str) -> tuple[int, str, str]:
    """Runs a command that talks to the daemon: exit status, output, complaint."""
    process = await asyncio.create_subprocess_exec(
        *agent(command, "--socket", str(SOCKET), *arguments),
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
        cwd=DIRECTORY,
    )
    try:
        output, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(), complaint.decode()
