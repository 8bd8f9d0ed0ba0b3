"""What becomes of an update that has come: installed, its end told, then the agent restarts (speaker contract, section 3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from agent.links.link import UnavailableError
from agent.links.speaker.messages import OtaDone, Refusal, RefusalStatus, Said
from agent.links.speaker.parts import Intake, Report, Updates
from agent.system.logs import Trouble
from agent.update.intake import UpdateError

if TYPE_CHECKING:
    from typing import Any

    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

INTERNAL = "Internal error"
NOTHING_CAME = "No update came within {:.0f} s, and none can be fetched: {}"


@dataclass(eq=False, slots=True)
class Offer:
    """A request for an update on its way to its answer: `answers` go out when its turn comes, then `told` is set."""

    answers: tuple[Said, ...]
    told: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False, slots=True)
class Work:
    """An update that is to be installed; without an `intake` one of this version is to be fetched."""

    socket: ClientConnection
    offer: Offer
    intake: Intake | None
    version: str | None = None


class Installations:
    """Installs one update after the other, and tells how each ended.

    `send` sends a text, and raises ConnectionClosed or UnavailableError. `quiet_s`: so long an image was waited for before it is
    fetched.
    """

    def __init__(
        self,
        link: str,
        updates: Updates[Any],
        device_id: str,
        send: Callable[[ClientConnection, str], Awaitable[None]],
        *,
        quiet_s: float,
    ) -> None:
        self._link = link
        self._updates = updates
        self._device_id = device_id
        self._send = send
        self._quiet_s = quiet_s
        self._work: asyncio.Queue[Work] = asyncio.Queue()
        self._to_fetch = 0
        self._trouble = Trouble(log)
        self._untold: Said | None = None
        """How an update ended whose connection was lost meanwhile."""

    def add(self, work: Work) -> None:
        """To be installed."""
        self._to_fetch += work.intake is None
        self._work.put_nowait(work)

    @property
    def fetches(self) -> bool:
        """Whether an update is about to be fetched, of which `Updates` need not know yet."""
        return self._to_fetch > 0

    async def connect(self, socket: ClientConnection) -> None:
        """The handshake is done; what happened to an update since the last one is told, once."""
        if self._untold is not None and await self.say(socket, self._untold):
            self._untold = None
        try:
            report: Report | None = await self._updates.report(self._link)
            if report is None:
                return
            if report.result != "committed":  # else the version in the handshake says it
                refusal = self.refusal(f"The update to {report.version} was {report.result}: {report.cause}")
                if not await self.say(socket, refusal):
                    return
            await self._updates.told(self._link)
        except Exception:
            log.exception("how an update ended cannot be told link=%s", self._link)

    async def run(self) -> None:
        """For ever. What has come is installed also when its connection is lost meanwhile."""
        while True:
            work = await self._work.get()
            said = await self._install(work)
            await work.offer.told.wait()
            if not await self.say(work.socket, said) and isinstance(said, Refusal):
                self._untold = said
            if isinstance(said, OtaDone):
                self._updates.restart()

    def refusal(self, message: str, status: RefusalStatus = "error") -> Refusal:
        """What is told about an update that is not."""
        return Refusal(status=status, message=message, device_id=self._device_id)

    async def say(self, socket: ClientConnection, said: Said) -> bool:
        """Whether the server was told."""
        try:
            await self._send(socket, said.text())
        except (ConnectionClosed, UnavailableError):
            log.info("end of an update not told, the connection is lost link=%s", self._link)
            return False
        except Exception:
            log.exception("end of an update not told link=%s", self._link)
            return False
        return True

    async def _install(self, work: Work) -> Said:
        """How it ended. Commands are answered meanwhile, a further request with device_busy."""
        intake = work.intake
        try:
            if intake is None:
                intake = await self._fetch(work)
            version = await self._updates.install(intake)
        except UpdateError as error:
            self._trouble.is_("update failed", error, link=self._link)
            return self.refusal(str(error), error.status)
        except Exception:
            log.exception("update failed link=%s", self._link)
            return self.refusal(INTERNAL)
        finally:
            if intake is not None:
                await intake.abandon()
        log.info("update is installed, the agent restarts link=%s version=%s", self._link, version)
        return OtaDone(version=version, device_id=self._device_id)

    async def _fetch(self, work: Work) -> Intake:
        try:
            fetched: Intake = await self._updates.newest(self._link, work.version)
        except UpdateError as error:
            raise UpdateError(NOTHING_CAME.format(self._quiet_s, error), error.status) from None
        finally:
            self._to_fetch -= 1
        return fetched
