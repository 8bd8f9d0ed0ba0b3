"""Updates over the socket: an image that comes in frames, to the disk and installed (speaker contract, section 3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from agent.links.speaker.firmware import NO_BUNDLE, Firmware, Verdict
from agent.links.speaker.installations import INTERNAL, Installations, Offer, Work
from agent.links.speaker.messages import OtaAck, OtaAnswer, OtaNack, OtaReady, RefusalStatus, RequestOta, Said, UpdateFirmware
from agent.links.speaker.parts import Intake, Updates
from agent.system.logs import Trouble
from agent.update.intake import UpdateError

if TYPE_CHECKING:
    from typing import Any

    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

NO_DIGEST = "sha256 is missing. It is needed unless the device's configuration says require_sha256 = false."
BUSY = "Another update is under way."
LOST = "The update was given up: nothing came for {:.0f} s."


class Update:
    """What this link does for updates, one at a time. Requests, frames and texts are told to it in the order in which they come.

    A frame is on the disk when `frame` returns: meanwhile nothing is read from the socket, so a bundle of any length needs memory
    for one frame. `send` sends a text, and raises ConnectionClosed or UnavailableError.
    """

    def __init__(
        self,
        link: str,
        updates: Updates[Any],
        device_id: str,
        send: Callable[[ClientConnection, str], Awaitable[None]],
        *,
        require_sha256: bool = True,
        quiet_s: float = 5.0,
        lost_s: float = 60.0,
    ) -> None:
        self._link = link
        self._updates = updates
        self._device_id = device_id
        self._send = send
        self._installations = Installations(link, updates, device_id, send, quiet_s=quiet_s)
        self._require_sha256 = require_sha256
        self._lost_s = lost_s
        self._firmware = Firmware(quiet_s=quiet_s, lost_s=lost_s)
        self._lock = asyncio.Lock()
        """Held by whoever changes what comes below."""
        self._socket: ClientConnection | None = None
        self._offer = Offer(())
        """The one whose frames come."""
        self._offer.told.set()
        self._intake: Intake | None = None
        self._version: str | None = None
        self._failure = ""
        """Why the image that still comes is no use; told at its end."""
        self._trouble = Trouble(log)
        self._moved = asyncio.Event()
        """The deadline is another one."""

    async def run(self) -> None:
        """Installs what has come, and ends what does not go on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._expire_forever(), name=f"{self._link}: ends updates")
            tasks.create_task(self._installations.run(), name=f"{self._link}: installs updates")

    # The connection

    async def connect(self, socket: ClientConnection) -> None:
        """The handshake is done."""
        self._socket = socket
        await self._installations.connect(socket)

    async def disconnect(self) -> None:
        """The connection is lost: what has not come to its end is gone."""
        self._socket = None
        async with self._lock:
            if self._intake is not None:
                progress = self._firmware.progress
                log.warning("update broke off, the connection is lost link=%s received=%s total=%s", self._link, *progress)
            self._firmware.end()
            self._failure = ""
            await self._abandon()

    # What comes

    async def request(self, command: RequestOta) -> Offer:
        """Takes a request in. From here on its frames are an image's, also when it is refused: servers send it all the same."""
        async with self._lock:
            try:
                if self._installations.fetches:
                    raise UpdateError(BUSY, "device_busy")
                self._updates.check_free()
                if command.fault:
                    raise UpdateError(command.fault)
                if command.form > 1 and command.sha256 is None and self._require_sha256:
                    raise UpdateError(NO_DIGEST)
                intake: Intake = self._updates.begin(self._link, size=command.size, sha256=command.sha256)
            except UpdateError as error:
                return self._refuse(command, str(error), error.status)
            except Exception:
                log.exception("update cannot begin link=%s", self._link)
                return self._refuse(command, INTERNAL)
            log.info("update begins link=%s form=%d size=%s version=%s", self._link, command.form, command.size, command.version)
            self._intake, self._version, self._failure = intake, command.version, ""
            self._firmware.accept(command.form, command.size, _now())
            self._moved.set()
            self._offer = Offer(self._welcome(command))
            return self._offer

    async def frame(self, socket: ClientConnection, data: bytes) -> bool:
        """Takes a binary frame in; False: it is not an image's. Raises what the socket raises."""
        async with self._lock:
            verdict = self._firmware.frame(data, _now())
            if not verdict.ours:
                return False
            answer = verdict.answer
            if verdict.fault:
                await self._fail(socket, verdict.fault)
            elif verdict.data and not await self._write(socket, verdict):
                answer = OtaNack(ota_nack=answer.ota_ack) if isinstance(answer, OtaAck) else answer
            elif verdict.ends:
                self._finish(socket)
            if answer is not None:
                await self._offer.told.wait()  # no chunk is answered before the request is
                await self._send(socket, answer.text())
            self._firmware.touch(_now())
            self._moved.set()
            return True

    async def complete(self, socket: ClientConnection) -> None:
        """The server says that the image is over."""
        async with self._lock:
            fault = self._firmware.complete()
            self._moved.set()
            if self._failure or fault:
                await self._give_up(socket, self._failure or fault or "")
            elif fault is not None:
                self._finish(socket)

    async def text(self, socket: ClientConnection, *, opens_voice: bool) -> bool:
        """Takes note of any other text; False: it opens a voice session in the midst of an image, and is not to be heeded."""
        async with self._lock:
            if self._firmware.text() == "foreign":
                await self._give_up(socket, NO_BUNDLE)
            if opens_voice and not self._firmware.voice(_now()):
                return False
            if opens_voice and self._failure:
                await self._give_up(socket, self._failure)
            self._moved.set()
            return True

    # What becomes of it

    def _refuse(self, command: RequestOta, reason: str, status: RefusalStatus = "error") -> Offer:
        self._trouble.is_("update refused", reason, link=self._link, form=command.form)
        if not self._firmware.takes:
            self._firmware.refuse(command.form, _now())
            self._failure = ""
            self._moved.set()
        return Offer((self._installations.refusal(reason, status),))

    async def _write(self, socket: ClientConnection, verdict: Verdict) -> bool:
        assert self._intake is not None
        try:
            await self._intake.write(verdict.data)
        except UpdateError as error:
            await self._fail(socket, str(error))
            return False
        except Exception:
            log.exception("update could not be written link=%s", self._link)
            await self._fail(socket, INTERNAL)
            return False
        return True

    def _finish(self, socket: ClientConnection) -> None:
        """All bytes have come."""
        log.info("update has come link=%s bytes=%d", self._link, self._firmware.progress[0])
        self._installations.add(Work(socket, self._offer, self._intake))
        self._intake = None

    async def _fail(self, socket: ClientConnection, reason: str) -> None:
        """The image is no use. It may go on coming; where its end will be said, the server is told then."""
        self._firmware.fail()
        if self._firmware.form == 1:
            await self._give_up(socket, reason)
            return
        log.debug("update is no use, its rest is not taken link=%s error=%s", self._link, reason)
        self._failure = reason
        await self._abandon()

    async def _give_up(self, socket: ClientConnection, reason: str) -> None:
        self._failure = ""
        self._trouble.is_("update failed", reason, link=self._link)
        await self._abandon()
        await self._offer.told.wait()
        await self._installations.say(socket, self._installations.refusal(reason))

    async def _abandon(self) -> None:
        intake, self._intake = self._intake, None
        if intake is not None:
            await intake.abandon()

    async def _expire_forever(self) -> None:
        while True:
            self._moved.clear()
            deadline = self._firmware.deadline
            try:
                async with asyncio.timeout_at(deadline):
                    await self._moved.wait()
            except TimeoutError:
                async with self._lock:
                    await self._expire()

    async def _expire(self) -> None:
        socket = self._socket
        outcome = self._firmware.expire(_now())
        if not outcome or socket is None:
            return
        if outcome == "fetch":
            await self._abandon()
            self._installations.add(Work(socket, self._offer, None, self._version))
        elif outcome == "foreign":
            await self._give_up(socket, NO_BUNDLE)
        elif outcome == "lost":
            await self._give_up(socket, LOST.format(self._lost_s))
        elif self._failure:
            await self._give_up(socket, self._failure)

    # What is said

    def _welcome(self, command: RequestOta) -> tuple[Said, ...]:
        version = command.version
        if command.size is None:
            return OtaAnswer(device_id=self._device_id, version=version), UpdateFirmware(version=version)
        return (OtaReady(size=command.size, sha256=command.sha256, version=version, device_id=self._device_id),)


def _now() -> float:
    return asyncio.get_running_loop().time()
