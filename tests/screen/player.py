"""Stands in for the worker of a screen: `python -m tests.screen.player`, with the arguments of the real one.

Writes every scene it gets into the file of `--record`. What becomes of a shot is in the name of its file: `bad` fails, `kill`
ends the process, `mute` never starts, a video called `short` ends at once, everything else starts. An `--output` of `refused`
cannot be opened, that of `slow` never presents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.screen.messages import (
    TO_WORKER,
    UNPLAYABLE,
    Down,
    Ended,
    Failed,
    Notice,
    Probe,
    Progress,
    Ready,
    Scene,
    Screenshot,
    Started,
)
from agent.system.wire import Done, Ping
from agent.system.worker import Channel, open_channel

POSITION_S = 12.5
"""Where every video is as soon as it has started."""


class Player:
    """Does what the file names say."""

    def __init__(self, channel: Channel, record: Path) -> None:
        self._channel = channel
        self._record = record
        self._on: int | None = None
        self._refused: set[int] = set()

    def show(self, scene: Scene) -> None:
        """Brings a scene on."""
        with self._record.open("a") as file:
            file.write(json.dumps({"pid": os.getpid(), **asdict(scene)}) + "\n")
        shot, say = scene.shot, self._channel.send
        if shot is None or shot.token == self._on or shot.token in self._refused or "mute" in shot.path:
            return
        if "bad" in shot.path:
            self._refused.add(shot.token)
            say(Failed(shot.token, "no decoder"))
            return
        if "kill" in shot.path:
            say(Started(shot.token))
            asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGKILL)
        self._on = shot.token
        say(Started(shot.token))
        if shot.kind == "video":
            say(Progress(shot.token, POSITION_S))
            if "short" in shot.path:
                say(Ended(shot.token))

    def photograph(self, path: str, request_id: int | None) -> None:
        """Answers a request for a screenshot."""
        if "nowhere" in path:
            self._channel.send(Done("the file cannot be written"), request_id=request_id)
        elif "never" not in path:
            Path(path).write_bytes(b"a picture")
            self._channel.send(Done(), request_id=request_id)

    def probe(self, path: str, request_id: int | None) -> None:
        """Answers a request to try a file."""
        if "kill" in path:
            os.kill(os.getpid(), signal.SIGKILL)
        elif "bad" in path:
            self._channel.send(Done(f"{UNPLAYABLE}no decoder"), request_id=request_id)
        elif "busy" in path:
            self._channel.send(Done("the disk is full"), request_id=request_id)
        elif "never" not in path:
            self._channel.send(Done(), request_id=request_id)


async def main() -> None:
    """Presents until the daemon hangs up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--output", default="null")
    options = parser.parse_args()
    channel = await open_channel(TO_WORKER)
    if options.output == "refused":
        channel.send(Down("no X server answers"))
        await channel.close()
        return
    if options.output != "slow":
        channel.send(Notice("warning", "software rendering"))
        channel.send(Ready(640, 360, "null"))
    player = Player(channel, options.record)
    async for message, request_id in channel.messages():
        answer(player, channel, message, request_id)


def answer(player: Player, channel: Channel, message: Any, request_id: int | None) -> None:
    """One message."""
    match message:
        case Ping():
            channel.send(Done(), request_id=request_id)
        case Screenshot(path):
            player.photograph(path, request_id)
        case Probe(path):
            player.probe(path, request_id)
        case Scene():
            player.show(message)


if __name__ == "__main__":
    asyncio.run(main())
