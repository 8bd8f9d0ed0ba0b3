"""A shop for one test or more: a screen, perhaps a sound card, a server, and the real agent between them."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.agent_process import AgentProcess, signage_link
from tests.display import HEIGHT, WIDTH, Colour, XServer
from tests.end_to_end.art import GREY, NAMES
from tests.servers import Device, SignageServer, item, playlist
from tests.servers.signage import PASSWORD
from tests.sound import PrivateSound

CENTRE = (WIDTH // 2, HEIGHT // 2)
LOAD = 1.5
"""What a limit of the contract is multiplied with: the machine does other things, too."""
DEADLINE_S = 20.0
BACKGROUND = "#{:02x}{:02x}{:02x}".format(*GREY)


@dataclass
class Shop:
    """What stands in it. `agent` may be stopped and started at will; everything ends with the block of `open_shop`."""

    folder: Path
    screen: XServer
    server: SignageServer
    agent: AgentProcess
    sound: PrivateSound | None = None
    tables: str = ""
    """The agent's configuration but for its links."""
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    offered: list[dict[str, Any]] = field(default_factory=list)
    """What `put` has put on."""

    @property
    def serial(self) -> str:
        """The box's."""
        return self.agent.serial

    @property
    def device(self) -> Device:
        """The box as the server knows it."""
        return self.server.device(self.serial)

    def item(self, path: Path, duration_s: float = 600.0, **overrides: Any) -> dict[str, Any]:
        """An entry of a playlist; the file is put on the server."""
        return item(self.server.media.add(path.name, path), duration_s=duration_s, **overrides)

    def playlist(self, items: Sequence[Any], **options: Any) -> dict[str, Any]:
        """A playlist with a number of its own."""
        return playlist(
            next(self.numbers), items, **{"background_color": BACKGROUND, "width": WIDTH, "height": HEIGHT, **options}
        )

    async def send(self, action: str, **arguments: Any) -> None:
        """A command from the server."""
        await self.server.connected(self.serial, DEADLINE_S)
        await self.server.send(self.serial, {"action": action, **arguments})

    async def put(self, items: Sequence[Any], **options: Any) -> int:
        """Switches to a new playlist of these items, from its first one; returns its id once it is on and complete.

        The one before stays on offer, so that it plays on until all items are there.
        """
        made = self.playlist(items, **options)
        self.server.offer([*self.offered, made])
        await self.send("reload_playlist", params={"new_solution_id": made["id"]})
        await self.agent.until(
            lambda status: any(p["id"] == made["id"] and p["status"] in ("ready", "partial") for p in status["playlists"]),
            DEADLINE_S,
        )
        if not self.offered:  # whatever arrived first has begun
            await self.send("switch_playlist", playlist_id=made["id"])
        self.offered = [made]
        await self.agent.until(lambda status: status["screens"]["front"]["playlist_id"] == made["id"], DEADLINE_S)
        return int(made["id"])

    async def shows(self, colour: Colour, point: tuple[int, int] = CENTRE, deadline_s: float = DEADLINE_S) -> None:
        """Waits until this point of the screen has this colour."""
        try:
            await self.screen.shows(point, colour, deadline_s)
        except AssertionError as error:
            wanted = NAMES.get(colour, colour)
            raise AssertionError(f"{wanted} expected: {error}\n{self.agent.log[-3000:]}") from None

    async def says(self, status: str, playlist_id: int, *, since: int = 0) -> dict[str, Any]:
        """Waits for a playlist_status."""
        return await self.device.wait_for(
            type="playlist_status", playlist_id=playlist_id, status=status, since=since, timeout_s=DEADLINE_S
        )

    async def front(self) -> dict[str, Any]:
        """The screen's part of `status`."""
        return dict((await self.agent.status())["screens"]["front"])


def figure(text: str) -> None:
    """Something measured, for whoever runs the tests with -s, and with a failure."""
    sys.stdout.write(f"FIGURE {text}\n")


@contextlib.asynccontextmanager
async def open_shop(
    folder: Path,
    screen: XServer,
    *,
    sound: PrivateSound | None = None,
    tables: str = "",
    front: str = "",
    level: str = "info",
    start: bool = True,
    link: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = ("-m", "agent"),
    password: str = PASSWORD,
) -> AsyncIterator[Shop]:
    """A shop with an agent that runs, unless `start` is false.

    `front` are further keys of the screen, `link` of the link; `tables` further tables of the configuration. `password` is
    what the server wants.
    """
    (folder / "sys").mkdir(parents=True, exist_ok=True)
    fixed = [
        f'[hardware]\nsysfs = "{folder / "sys"}"\nreboot_command = ["false"]',
        '[brightness]\nbackend = "software"',
        f'[screens.front]\noutput = "x11"\nsound = {str(sound is not None).lower()}\n{front}',
    ]
    if sound is None:
        fixed.append('[audio]\ncard = "none-in-this-test"')
    async with SignageServer(password=password) as server:
        tables = "\n".join([*fixed, tables])
        agent = AgentProcess(
            folder,
            links=[signage_link(server.url, **(link or {}))],
            tables=tables,
            environment={"DISPLAY": screen.display, **(sound.environment if sound else {}), **(environment or {})},
            level=level,
            command=command,
        )
        shop = Shop(folder, screen, server, agent, sound, tables)
        if not start:
            async with contextlib.AsyncExitStack() as end:
                end.push_async_exit(agent)
                yield shop
        else:
            async with agent:
                yield shop
