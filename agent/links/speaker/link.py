"""The speaker link: commands answered in their order, announcements played, the microphone passed on (speaker contract)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed

from agent import __version__
from agent.hardware.reboot import RebootError
from agent.links.link import Address, Link, SocketLimits, UnavailableError
from agent.links.speaker import messages
from agent.links.speaker.answers import Answers
from agent.links.speaker.installations import Offer
from agent.links.speaker.messages import (
    CLOSING,
    OPENING,
    OTA_COMPLETE,
    DeviceHandshake,
    NotACommandError,
    PlainCommand,
    Refusal,
    RefusedCommandError,
)
from agent.links.speaker.parts import Box
from agent.links.speaker.pulse import Pulse
from agent.links.speaker.update import Update
from agent.links.speaker.voice import Announcements, PushToTalk
from agent.system.logs import hide

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

SOCKET_PATH = "/ws"
MOST_WAITING = 1_000
"""Commands that wait for their turn; more are left in the connection."""
Waiting = PlainCommand | RefusedCommandError | Offer
"""For its turn to be carried out or, where that has begun, to be answered."""


@dataclass(frozen=True, slots=True)
class SpeakerTimers:
    """Seconds; speaker contract, sections 2, 3 and 5."""

    ping_s: float = 5.0
    pong_s: float = 10.0
    close_s: float = 2.0
    send_s: float = 10.0
    """A server that takes nothing for so long is gone."""
    reboot_s: float = 0.5
    """From the answer to the restart."""
    ota_quiet_s: float = 5.0
    ota_lost_s: float = 60.0
    started_s: float = 5.0
    """At most so long does a status wait for volume and brightness to be known after the start."""


class SpeakerLink(Link):
    """One speaker server.

    Names and values are those of the configuration; an empty `device_id` is not allowed here.
    """

    kind = "speaker"
    secret_frames = True

    def __init__(
        self,
        name: str,
        device: Box,
        *,
        url: str,
        device_id: str,
        token: str = "",
        require_sha256: bool = True,
        priority: int = 70,
        spread_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
        timers: SpeakerTimers = SpeakerTimers(),
    ) -> None:
        super().__init__(name, spread_s=spread_s, tls=tls)
        self.limits = SocketLimits(
            ping_s=timers.ping_s, pong_s=timers.pong_s, close_s=timers.close_s, max_bytes=4 * 1024 * 1024, max_waiting=4
        )
        self.priority = priority
        self._device = device
        self._url = socket_url(url)
        self._token = token
        self._timers = timers
        self._answers = Answers(name, device, device_id, started_s=timers.started_s)
        self._device_id = device_id
        self._commands: asyncio.Queue[tuple[ClientConnection, Waiting]] = asyncio.Queue(MOST_WAITING)
        self._socket: ClientConnection | None = None
        self._update = Update(
            name, device.updates, device_id, self._send,
            require_sha256=require_sha256, quiet_s=timers.ota_quiet_s, lost_s=timers.ota_lost_s,
        )  # fmt: skip
        self._announcements = Announcements(device.voice, self, priority=priority)
        self._unsent = asyncio.Event()
        self._talk = PushToTalk(self._announcements, self._unsent.set)
        self._reboot_due = asyncio.Event()
        self._is_malformed_said = False

    async def run(self) -> None:
        """Serves the server for ever."""
        self._device.voice.listen(self._talk)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry_out_forever(), name=f"{self.name}: commands")
                tasks.create_task(self._reboot_forever(), name=f"{self.name}: reboots")
                tasks.create_task(self._update.run(), name=f"{self.name}: updates")
                tasks.create_task(self.connect_forever(), name=f"{self.name}: connects")
        finally:
            self._device.voice.unlisten(self._talk)

    async def save(self) -> None:
        """Nothing of it outlives the agent: what was set is on disk before it is answered."""

    # The connection

    async def address(self) -> Address:
        """See `Link`."""
        if not self._token:
            return Address(self._url)
        hide(self._token)
        return Address(self._url, {"Authorization": f"Bearer {self._token}"})

    async def session(self, socket: ClientConnection) -> None:
        """See `Link`."""
        handshake = DeviceHandshake(
            device_id=self._device_id,
            firmware_version=__version__,
            device_name=self._device.name.value,
            battery_percent=await self._device.power.battery_percent(),
        )
        await self._send(socket, handshake.text())
        self._socket = socket
        self._announcements.connect()
        self._talk.connect()
        pulse = Pulse(socket, ping_s=self._timers.ping_s, pong_s=self._timers.pong_s)
        beside = {
            asyncio.create_task(self._send_speech(socket), name=f"{self.name}: sends speech"),
            asyncio.create_task(pulse.run(), name=f"{self.name}: pings"),
        }
        try:
            await self._update.connect(socket)
            async for frame in socket:
                with pulse.frame():
                    await self._on_frame(socket, frame)
        except ConnectionClosed:
            if pulse.is_dead:
                raise UnavailableError("the server does not answer pings") from None
            raise
        finally:
            self._socket = None
            self._talk.disconnect()
            self._announcements.disconnect()
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
            for task in beside:
                if not task.cancelled() and (error := task.exception()) and not _is_loss(error):
                    log.error("task broke off link=%s task=%s", self.name, task.get_name(), exc_info=error)
            await self._update.disconnect()

    async def _send(self, socket: ClientConnection, frame: str | bytes) -> None:
        """Sends a frame. Raises ConnectionClosed, or UnavailableError when the server takes nothing.

        A library's ping would wait for ever behind what the server does not take.
        """
        try:
            async with asyncio.timeout(self._timers.send_s):
                await socket.send(frame)
        except TimeoutError:
            socket.transport.abort()
            raise UnavailableError("the server takes nothing from the connection") from None

    async def _send_speech(self, socket: ClientConnection) -> None:
        while True:
            while self._talk.unsent:
                await self._send(socket, self._talk.unsent.popleft())
            self._unsent.clear()
            await self._unsent.wait()

    # What the server says

    async def _on_frame(self, socket: ClientConnection, frame: str | bytes) -> None:
        """Takes a frame in. Raises what the socket raises; no other failure ends the connection."""
        try:
            if isinstance(frame, str):
                await self._on_text(socket, frame)
            else:
                await self._on_binary(socket, frame)
        except (ConnectionClosed, UnavailableError):
            raise
        except Exception:
            log.exception("frame could not be handled link=%s", self.name)

    async def _on_binary(self, socket: ClientConnection, data: bytes) -> None:
        if not await self._update.frame(socket, data):
            self._announcements.frame(data)

    async def _on_text(self, socket: ClientConnection, text: str) -> None:
        """Words of a voice session act at once; commands wait for their turn, so that their answers keep the order."""
        word = text.strip()
        if word == OTA_COMPLETE:
            await self._update.complete(socket)
            return
        if not await self._update.text(socket, opens_voice=word in OPENING):
            log.debug("announcement within a firmware image ignored link=%s", self.name)
            return
        if word in OPENING | CLOSING:
            self._announcements.text(word)
            return
        try:
            command = messages.parse(word)
        except RefusedCommandError as refusal:
            await self._commands.put((socket, refusal))
            return
        except NotACommandError as fault:
            self._ignore(word, fault)
            return
        if isinstance(command, messages.RequestOta):
            self._announcements.end()
            await self._commands.put((socket, await self._update.request(command)))
        else:
            await self._commands.put((socket, command))

    def _ignore(self, text: str, fault: NotACommandError) -> None:
        """An object that is no command is said once; other words (states, emotions) mean nothing here."""
        is_news = text.startswith("{") and not self._is_malformed_said
        self._is_malformed_said |= is_news
        log.log(logging.WARNING if is_news else logging.DEBUG, "text ignored link=%s reason=%s", self.name, fault)

    # Commands

    async def _carry_out_forever(self) -> None:
        """Answers one command after the other, also those of a connection that is gone: they were received."""
        while True:
            socket, waiting = await self._commands.get()
            answers = waiting.answers if isinstance(waiting, Offer) else (await self._answers.answer(waiting),)
            try:
                for answer in answers:
                    await self._send(socket, answer.text())
            except (ConnectionClosed, UnavailableError):
                log.info("answer not sent, the connection is lost link=%s", self.name)
            except Exception:
                log.exception("answer not sent link=%s", self.name)
            if isinstance(waiting, Offer):
                waiting.told.set()
            if isinstance(answers[0], messages.RebootAnswer):
                self._reboot_due.set()

    async def _reboot_forever(self) -> None:
        """One restart for all that were asked for within the time until it begins."""
        while True:
            await self._reboot_due.wait()
            await asyncio.sleep(self._timers.reboot_s)
            log.warning("restarts the machine: the server asked for it link=%s", self.name)
            try:
                await self._device.reboot.request()
            except RebootError as error:
                await self._complain(str(error))
            except Exception:
                log.exception("the machine does not restart link=%s", self.name)
                await self._complain("Internal error")
            self._reboot_due.clear()

    async def _complain(self, message: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed, UnavailableError):
                refusal = Refusal(status="error", message=message, device_id=self._device_id)
                await self._send(self._socket, refusal.text())


def socket_url(url: str) -> str:
    """Where the WebSocket is: from a ws, wss, http or https address, or bare `host:port`; at /ws where no path is given."""
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = "wss" if parts.scheme in ("https", "wss") else "ws"
    path = parts.path if parts.path.strip("/") else SOCKET_PATH
    return f"{scheme}://{parts.netloc}{path}" + (f"?{parts.query}" if parts.query else "")


def _is_loss(error: BaseException) -> bool:
    return isinstance(error, ConnectionClosed | UnavailableError)
