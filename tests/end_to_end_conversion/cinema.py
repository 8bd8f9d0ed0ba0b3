"""A cinema: a screen, a converter of films, a playlist that runs when there is none, and the real agent between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.agent_process import AgentProcess, signage_link
from tests.display import HEIGHT, WIDTH, Colour, Samples, XServer, near
from tests.end_to_end.art import NAMES, clock_time
from tests.servers import ConversionServer, Hub, SignageServer, item, playlist
from tests.servers.conversion_jobs import ConversionJob
from tests.servers.conversion_rest import COOKIE, TOKEN

CENTRE = (WIDTH // 2, HEIGHT // 2)
DEADLINE_S = 20.0
IMPATIENT = (str(Path(__file__).with_name("impatient.py")),)
PATIENT = ("-m", "agent")
BAR_LEFT, BAR_WIDTH = 16, 608
"""Where the bars of the strip are on a screen of this size."""
BAR_DONE, ALARM = (77, 171, 247), (255, 135, 100)
SETTLED = ("played", "stored", "failed", "cancelled", "gone", "missing", "unplayable")
ROUNDED = 12
"""So far may a channel of a film be from what was drawn."""


@dataclass
class Cinema:
    """What stands there. `agent` may be stopped and started at will; everything ends with the block of `open_cinema`."""

    folder: Path
    screen: XServer
    server: ConversionServer
    signage: SignageServer
    agent: AgentProcess
    tables: str
    """The agent's configuration but for its links."""
    clock: dict[str, Any] = field(default_factory=dict)
    """The item of the playlist that tells the time."""

    # What is set off

    async def run_clock(self, clock: Path, *more: Path) -> None:
        """Puts a playlist on, and of it the film that tells the time; `more` follow it."""
        self.clock = item(self.signage.media.add("clock.mp4", clock))
        others = [item(self.signage.media.add(path.name, path), duration_s=600.0) for path in more]
        self.signage.offer([playlist(7, [self.clock, *others], width=WIDTH, height=HEIGHT)])
        await self.send("reload_playlist")
        await self.agent.until(lambda status: [entry["status"] for entry in status["playlists"]] == ["ready"])
        await self.send("play_media", media_id=self.clock["media_id"])
        await self.seen(lambda: (self.clock_s() or 0) > 0.3, "the clock")

    async def send(self, action: str, **arguments: Any) -> None:
        """A command from the server of the playlist."""
        await self.signage.connected(self.agent.serial, DEADLINE_S)
        await self.signage.send(self.agent.serial, {"action": action, **arguments})

    async def job(self, name: str, film: Path | bytes, **fields: Any) -> ConversionJob:
        """A job that the agent follows; `film` will be its output."""
        job = self.server.add(name, **{"status": "processing", "stage": "transcoding", "progress": 10, **fields})
        job.set_output(film)
        await self.server.tell_update(job)
        await self.server.followed(job, timeout_s=DEADLINE_S)
        return job

    def link(self, **keys: Any) -> None:
        """Gives the agent, which runs, other settings of its link."""
        self.agent.configure([conversion_link(self.server, **keys)], self.tables)
        self.agent.hang_up()

    # What is seen

    async def seen(self, condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Waits until something of the screen is so."""
        try:
            await asyncio.to_thread(self.screen.wait, condition, deadline_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; bars {self.bars()}\n{self.agent.log[-3000:]}") from None

    async def shows(self, colour: Colour, deadline_s: float = DEADLINE_S) -> None:
        """Waits until the middle of the screen has this colour."""
        await self.seen(lambda: near(self.screen.pixel(*CENTRE), colour, ROUNDED), NAMES.get(colour, str(colour)), deadline_s)

    def clock_s(self) -> float | None:
        """Where the clock is; None: something else is on."""
        return clock_time(self.screen.pixel(*CENTRE))

    def watched(self) -> contextlib.AbstractContextManager[Samples]:
        """Looks at the middle of the screen while the block runs."""
        return self.screen.sampled(*CENTRE, 1, 1)

    def bars(self) -> list[float]:
        """How full each bar of the strip is, 0 to 1, from top to bottom; those without any colour are not seen."""
        found: list[float] = []
        former = False
        for row in self._rows(BAR_DONE):
            inside = row[BAR_LEFT : BAR_LEFT + BAR_WIDTH]
            if inside[0] and not former:
                found.append(round(float(inside.sum()) / BAR_WIDTH, 3))
            former = bool(inside[0])
        return found

    async def has_bars(self, *full: float) -> None:
        """Waits until the strip has bars that are so full."""
        await self.seen(
            lambda: len(bars := self.bars()) == len(full) and all(abs(a - b) < 0.004 for a, b in zip(bars, full, strict=True)),
            f"bars {full}",
        )

    async def has_line(self, beginning: str) -> str:
        """Waits until a line of the strip begins so; the whole line."""

        def found(status: Mapping[str, Any]) -> str:
            return next((line for line in status["screens"]["front"]["strip"] if line.startswith(beginning)), "")

        return found(await self.agent.until(found))

    def hatched(self) -> bool:
        """A bar has stripes: nobody knows how far the job is."""
        rows = self._rows(BAR_DONE)[:, BAR_LEFT : BAR_LEFT + BAR_WIDTH]
        return bool(((rows[:, 1:] & ~rows[:, :-1]).sum(1) > 5).any())

    def alarms(self) -> bool:
        """Something has gone wrong, says the strip."""
        return bool(self._rows(ALARM).any())

    def titles(self) -> int:
        """So many pixels of the strip are as white as its titles."""
        return int(self._rows((255, 255, 255)).sum())

    def strip_is_empty(self) -> bool:
        """There is no strip."""
        return not self.bars() and not self.alarms() and not self.titles()

    def upper(self) -> bytes:
        """What no strip may cover."""
        return self.screen.raw(0, 0, WIDTH, HEIGHT // 2)

    def _rows(self, colour: Colour) -> NDArray[np.bool_]:
        """Where the lower half has this colour."""
        raw = self.screen.raw(0, HEIGHT // 2, WIDTH, HEIGHT // 2)
        pixels = np.frombuffer(raw, np.uint8).reshape(HEIGHT // 2, WIDTH, 4)[:, :, 2::-1].astype(np.int16)
        found: NDArray[np.bool_] = np.abs(pixels - np.array(colour, np.int16)).max(2) <= 3
        return found

    # What is said

    async def entry(self, job: ConversionJob) -> dict[str, Any]:
        """What `status` says of a job; empty if nothing."""
        return entry_of(await self.agent.status(), job)

    async def reaches(self, job: ConversionJob, *states: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Waits until `status` says one of these of a job; what it says then."""
        status = await self.agent.until(lambda status: entry_of(status, job).get("state") in states, deadline_s)
        return entry_of(status, job)

    async def logged(self, words: str, deadline_s: float = DEADLINE_S) -> None:
        """Waits until the log has these words."""
        async with asyncio.timeout(deadline_s):
            while words not in self.agent.log:
                await asyncio.sleep(0.02)

    async def connected(self) -> None:
        """Waits until REST has answered the link."""
        await self.agent.until(lambda status: any(one["name"] == "films" and not one["last_error"] for one in status["links"]))

    async def refused(self, words: str) -> None:
        """Waits until the link is refused with this sentence."""
        await self.agent.until(
            lambda status: any(one["state"] == "refused" and words in one["last_error"] for one in status["links"])
        )

    async def looks(self, times: int = 3) -> None:
        """Waits until the list of jobs was asked for so many times more."""
        before = self.server.rest.looks
        await self.server.wait_for(lambda: self.server.rest.looks >= before + times, DEADLINE_S, what="looks")

    async def clear(self) -> None:
        """Ends what goes on, and waits until the screen is empty."""
        for job in self.server.jobs:
            if not job.finished:
                self.server.cancel(job)
        self.server.clear_faults()
        self.server.habit, self.server.refuse_sockets, self.server.film = "document", False, None
        rest, outputs = self.server.rest, self.server.outputs
        rest.authentication, rest.requires_2fa, rest.token, rest.failed_logins = True, False, TOKEN, 0
        outputs.form, outputs.ranges, outputs.host, outputs.expires_s = "signed", "honoured", "", 3600.0
        await self.agent.until(lambda status: all(entry["state"] in SETTLED for entry in status["jobs"]))
        await self.seen(lambda: self.strip_is_empty() and self.screen.pixel(*CENTRE) == (0, 0, 0), "an empty screen")


def entry_of(status: Mapping[str, Any], job: ConversionJob) -> dict[str, Any]:
    """A job's entry in a status."""
    return next((dict(entry) for entry in status["jobs"] if entry["id"] == job.job_id), {})


def states(status: Mapping[str, Any]) -> dict[str, str]:
    """Of the links, by name."""
    return {link["name"]: link["state"] for link in status["links"]}


def times(samples: Samples, colour: Colour) -> int:
    """How often a film of that colour came on."""
    return len(lengths_s(samples, colour))


def lengths_s(samples: Samples, colour: Colour) -> list[float]:
    """For how long a film of that colour was on, each time it came."""
    changes: list[tuple[float, bool]] = []
    for at, data in samples:
        now = near((data[2], data[1], data[0]), colour, ROUNDED)
        if now != (bool(changes) and changes[-1][1]):
            changes.append((at, now))
    ends = [at for at, _ in changes[1:]] + [samples[-1][0]] if changes else []
    return [end - at for (at, on), end in zip(changes, ends, strict=True) if on]


def figure(text: str) -> None:
    """Something measured, for whoever runs the tests with -s, and with a failure."""
    sys.stdout.write(f"FIGURE {text}\n")


def conversion_link(server: ConversionServer, **keys: Any) -> dict[str, Any]:
    """The table of a conversion link; None takes a key away."""
    table = {
        "kind": "conversion", "name": "films", "url": server.url, "token": TOKEN, "session_cookie": COOKIE, "spread_s": 0.1,
        **keys,
    }  # fmt: skip
    return {key: value for key, value in table.items() if value is not None}


@contextlib.asynccontextmanager
async def open_cinema(
    folder: Path,
    screen: XServer,
    *,
    links: Callable[[Cinema], Sequence[Mapping[str, Any]]] | None = None,
    media: str = 'reserve = "1MB"',
    command: Sequence[str] = IMPATIENT,
    level: str = "info",
    start: bool = True,
) -> AsyncIterator[Cinema]:
    """A cinema with an agent that runs, unless `start` is false. `links` makes its links' tables; `media` is of that table."""
    (folder / "sys").mkdir(parents=True, exist_ok=True)
    tables = "\n".join(
        [
            f'[hardware]\nsysfs = "{folder / "sys"}"\nreboot_command = ["false"]',
            '[brightness]\nbackend = "software"',
            '[screens.front]\noutput = "x11"\nsound = false',
            '[audio]\ncard = "none-in-this-test"',
            f"[media]\n{media}",
        ]
    )
    hub = Hub()
    server, signage = ConversionServer(hub=hub), SignageServer(hub=hub)
    server.least_s, server.pace_s = 0.0, 0.1
    await hub.start()
    try:
        agent = AgentProcess(folder, environment={"DISPLAY": screen.display}, command=command, level=level)
        cinema = Cinema(folder, screen, server, signage, agent, tables)
        tables_of_links = links or (lambda cinema: [conversion_link(cinema.server)])
        agent.configure([dict(link) for link in tables_of_links(cinema)], tables, level)
        async with contextlib.AsyncExitStack() as end:
            end.push_async_exit(agent)
            if start:
                await agent.start()
            yield cinema
    finally:
        await hub.stop()


def playlist_and(**keys: Any) -> Callable[[Cinema], list[Mapping[str, Any]]]:
    """The links of a box with a playlist and a conversion link with these keys."""
    return lambda cinema: [signage_link(cinema.server.url), conversion_link(cinema.server, **keys)]


@contextlib.asynccontextmanager
async def small_disk(folder: Path, megabytes: int) -> AsyncIterator[bool]:
    """A disk of that size mounted there; False where that is not allowed."""
    folder.mkdir(parents=True)
    mounted = os.geteuid() == 0 and await _called("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            assert await _called("umount", "--lazy", str(folder))


async def _called(*command: str) -> bool:
    """Whether a command did its work."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait() == 0
