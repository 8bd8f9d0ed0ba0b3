"""The links of a box, kept running: one that breaks off is made anew, a changed configuration ends and starts what it changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from agent.links.backoff import Backoff
from agent.links.registry import make_link
from agent.system.state import StateError

if TYPE_CHECKING:
    from agent.device import Device
    from agent.links.link import Link
    from agent.settings import Link as LinkSettings

log = logging.getLogger(__name__)

SPREAD_S = 1.0
"""So soon is a link that broke off started again the first time."""


class LinkSupervisor:
    """Runs links in `tasks`, each in one of its own. `on_change` is called after each change of what one of them tells."""

    def __init__(self, device: Device, tasks: asyncio.TaskGroup, on_change: Callable[[], None]) -> None:
        self._device = device
        self._tasks = tasks
        self._on_change = on_change
        self._links: list[Link] = []
        self._running: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[Link]:
        """The links that run now, in the order in which they were started."""
        return iter(self._links)

    def start(self, settings: LinkSettings) -> None:
        """Starts the link that these settings describe."""
        self._start(settings, None)

    async def replace(self, before: Sequence[LinkSettings], after: Sequence[LinkSettings]) -> None:
        """Ends the links whose settings are gone or changed, starts the new and changed ones; the others never notice."""
        for screen in self._device.screens.values():
            screen.stage.order = tuple(settings.name for settings in after)
        ended = [link for link in self._links if not any(link.name == kept.name for kept in after if kept in before)]
        left: dict[str, Link] = {}
        for link in ended:
            log.info("link ends: its configuration has changed link=%s", link.name)
            self._links.remove(link)
            with contextlib.suppress(StateError):
                await link.save()
            task = self._running.pop(link.name)
            task.cancel()
            await asyncio.wait({task})
            left[link.name] = link
        for settings in after:
            if settings not in before:
                self._start(settings, left.pop(settings.name, None))
        for link in left.values():
            link.leave()
        for screen in self._device.screens.values():
            screen.refresh()
        self._on_change()

    async def save(self) -> None:
        """Writes to disk what should outlive the agent. Raises StateError."""
        for link in self._links:
            await link.save()

    def clock_set(self) -> None:
        """The clock has jumped: certificates that were not valid yet may be."""
        for link in self._links:
            if link.clock_fault:
                link.hurry()

    def _start(self, settings: LinkSettings, predecessor: Link | None) -> None:
        link = self._make(settings, predecessor)
        if link is not None:
            self._links.append(link)
            self._running[link.name] = self._tasks.create_task(self._guard(link, settings), name=f"link {link.name}")

    def _make(self, settings: LinkSettings, predecessor: Link | None) -> Link | None:
        """A link that takes over what its predecessor shows without a gap."""
        link = make_link(settings, self._device)
        if link is not None:
            link.predecessor = predecessor
            link.on_change(self._on_change)
        elif predecessor is not None:
            predecessor.leave()
        return link

    async def _guard(self, link: Link, settings: LinkSettings) -> None:
        """A link that breaks off is made anew after a while; the others, and what it shows, go on."""
        backoff = Backoff(SPREAD_S)
        loop = asyncio.get_running_loop()
        while True:
            begun_at = loop.time()
            try:
                await link.run()
            except Exception as error:
                log.exception("link broke off and is started again; the others go on link=%s", link.name)
                link.broke_off(error)
            backoff.lived(loop.time() - begun_at)
            await asyncio.sleep(backoff.wait_s())
            fresh = self._make(settings, link)
            if fresh is None:
                return
            self._links[self._links.index(link)] = fresh
            link = fresh
            self._on_change()
