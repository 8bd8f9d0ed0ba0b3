"""The configuration while the agent runs: read again on SIGHUP, taken over as far as that goes without a fresh start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.settings import Settings, SettingsError
from agent.system import logs
from agent.system.notify import Notifier

if TYPE_CHECKING:
    from agent.links.supervisor import LinkSupervisor
    from agent.media.store import MediaStore

log = logging.getLogger(__name__)

LIVE = {"log", "media", "links"}
"""Tables that change while everything runs; the rest needs a fresh start."""


class Configuration:
    """The settings in force. `read` reads them anew or raises SettingsError; `on_outdated`: they need a fresh start."""

    def __init__(
        self, settings: Settings, read: Callable[[], Settings], notifier: Notifier, on_outdated: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.outdated = False
        """They have changed in a way that needs a fresh start."""
        self._read = read
        self._notifier = notifier
        self._on_outdated = on_outdated
        self._hung_up = asyncio.Event()

    def hang_up(self) -> None:
        """SIGHUP: they are to be read again."""
        self._hung_up.set()

    async def run(self, media: MediaStore, links: LinkSupervisor) -> None:
        """Takes changes over for ever, until they need a fresh start. A faulty file changes nothing."""
        while not self.outdated:
            await self._hung_up.wait()
            self._hung_up.clear()
            self._notifier.reloading()
            try:
                fresh = await asyncio.to_thread(self._read)
            except SettingsError as error:
                for fault in error.faults:
                    log.error("%s", fault)  # noqa: TRY400 - faults of a file
                log.error("configuration is faulty; the old one stays in force")  # noqa: TRY400
            else:
                await self._take_over(fresh, media, links)
            if not self.outdated:
                self._notifier.ready()

    async def _take_over(self, fresh: Settings, media: MediaStore, links: LinkSupervisor) -> None:
        before, self.settings = self.settings, fresh
        self.outdated = fresh.model_dump(exclude=LIVE) != before.model_dump(exclude=LIVE)
        log.info("configuration read again fresh_start=%s", "yes" if self.outdated else "no")
        if self.outdated:
            self._on_outdated()
            return
        logs.setup(fresh.log.level)
        limits = fresh.media
        media.set_limits(quota_bytes=limits.quota, reserve_bytes=limits.reserve, parallel=limits.parallel)
        await links.replace(before.links, fresh.links)
