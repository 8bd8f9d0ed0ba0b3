"""The Tronbyt link: images from a server to a screen, in step with it (tronbyt contract)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from websockets.exceptions import ConnectionClosed

from agent import __version__
from agent.links.connection import takes_nothing
from agent.links.link import (
    POLICY_VIOLATION,
    TAKES_NOTHING,
    Address,
    Link,
    RefusedError,
    SilentError,
    SocketLimits,
    UnavailableError,
    is_clock_fault,
)
from agent.links.tronbyt.address import device_key, host, next_url, secrets, socket_url
from agent.links.tronbyt.brightness import Scale
from agent.links.tronbyt.conversation import Conversation
from agent.links.tronbyt.files import FeedFiles
from agent.links.tronbyt.liveness import Drops
from agent.links.tronbyt.messages import ClientInfo, Hello
from agent.links.tronbyt.orders import Orders
from agent.links.tronbyt.pacing import Ack
from agent.links.tronbyt.parts import Box
from agent.links.tronbyt.poll import Poller
from agent.links.tronbyt.rotation import Rotation
from agent.system.logs import hide

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

LARGEST_MESSAGE_BYTES = 8 * 1024 * 1024
"""More than the largest image, so that one that is too large has its turn like others that cannot be shown."""
COMES_BACK = frozenset({1012, 1013})
"""Close codes of a server that restarts or is busy."""
ANOTHER_DEVICE = "ended again and again within seconds of connecting: another device seems to use the same id"
ADVICE = "check the device's id in url, and key; tried again slowly, the device may be created later"

_open_sockets: list[str] = []
"""Devices (`device_key`) that this process has a WebSocket for."""


@dataclass(frozen=True, slots=True)
class TronbytTimers:
    """Seconds; tronbyt contract, sections 1 and 4."""

    ping_s: float = 20.0
    pong_s: float = 20.0
    close_s: float = 2.0
    send_s: float = 10.0
    """A server that takes nothing for so long is gone."""
    silence_s: float = 150.0
    """After the connect, or a `displaying`, that no image follows."""
    dropped_s: float = 10.0
    """A connection that ends sooner has been dropped."""
    drops: int = 4
    """So many in a row are another device's work."""
    request_s: float = 30.0
    """For a polled image to be there."""
    lead_s: float = 2.0
    """An image is polled that long before its turn."""
    poll_least_s: float = 1.0
    """Between two polls."""


class TronbytLink(Link):
    """One Tronbyt server. Names and values are those of the configuration; `screen` is one of the device's."""

    kind = "tronbyt"
    greets = True
    secret_frames = True

    def __init__(
        self,
        name: str,
        device: Box,
        *,
        url: str,
        screen: str,
        key: str = "",
        mode: Literal["socket", "poll"] = "socket",
        brightness_scale: Scale = "auto",
        allow_reboot: bool = False,
        offline_mark: bool = False,
        hold_s: float = 0.0,
        priority: int = 20,
        spread_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
        timers: TronbytTimers = TronbytTimers(),
    ) -> None:
        super().__init__(name, spread_s=spread_s, tls=tls)
        self.limits = SocketLimits(
            ping_s=timers.ping_s,
            pong_s=timers.pong_s,
            close_s=timers.close_s,
            max_bytes=LARGEST_MESSAGE_BYTES,
            max_waiting=4,
        )
        self._device = device
        self._url = url
        self._key = key
        self._mode = mode
        self._offline_mark = offline_mark
        self._hold_s = hold_s
        self._timers = timers
        self._rotation = Rotation(
            name,
            device.screens[screen],
            FeedFiles(device.runtime_dir / "feed" / name),
            priority=priority,
            say=self._acknowledge,
            on_show=self._take_over,
        )
        self._orders = Orders(
            name, device, self._rotation, host=host(url), brightness_scale=brightness_scale, allow_reboot=allow_reboot
        )
        self._conversation: Conversation | None = None
        self._drops = Drops(timers.drops)
        self._online: bool | None = None
        self._was_silent = False
        """The server was connected but dead; until it says something, a connection is not worth more than none."""
        self._holding: asyncio.TimerHandle | None = None
        self._takes_over = False
        """There is nothing of a predecessor that should stay."""

    # Life

    async def run(self) -> None:
        """Serves the server for ever."""
        self._hide_secrets()
        await self._orders.restore()
        await self._rotation.open()
        self._set_online(online=False)
        works = {"remembers the brightness": self._orders.remember_forever, "reboots": self._orders.reboot_forever}
        works |= {"polls": self._poll_forever} if self._mode == "poll" else {"connects": self.connect_forever}
        try:
            async with asyncio.TaskGroup() as tasks:
                for what, work in works.items():
                    tasks.create_task(work(), name=f"{self.name}: {what}")
        finally:
            self._rotation.stop()
            if self._holding is not None:
                self._holding.cancel()

    async def save(self) -> None:
        """Nothing of it outlives the agent but the scale of the brightness, which is on disk already."""

    def leave(self) -> None:
        """See `Link`."""
        self._takes_over = True
        super().leave()
        self._rotation.leave()

    def warnings(self) -> list[str]:
        """See `Link`."""
        said = super().warnings()
        return [*said, f"link {self.name}: {ANOTHER_DEVICE}"] if self._drops.suspicious else said

    def _succeed(self) -> None:
        """The predecessor's picture stays until there is one of ours."""
        if self._takes_over:
            super()._succeed()

    def _take_over(self) -> None:
        self._takes_over = True
        self._succeed()

    def _set_online(self, *, online: bool) -> None:
        """Whether the server is there. Without it the picture stays: for ever, or for `hold_s`."""
        if online == self._online:
            return
        self._online = online
        if self._offline_mark:
            self._rotation.mark(not online)
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
        if not online and self._hold_s:
            self._holding = asyncio.get_running_loop().call_later(self._hold_s, self._hold_over)

    def _hold_over(self) -> None:
        log.info("without its server for too long, gives the screen away link=%s hold_s=%g", self.name, self._hold_s)
        self._rotation.clear()
        self._take_over()

    def _hide_secrets(self) -> None:
        for secret in (self._key, *secrets(self._url)):
            hide(secret)

    # The connection

    async def address(self) -> Address:
        """See `Link`."""
        self._hide_secrets()
        return Address(socket_url(self._url), {"Authorization": f"Bearer {self._key}"} if self._key else {})

    async def session(self, socket: ClientConnection) -> None:
        """See `Link`."""
        loop = asyncio.get_running_loop()
        steady = loop.call_later(self._timers.dropped_s, self._lasts)
        device = device_key(self._url)
        _open_sockets.append(device)
        try:
            await self._converse(socket)
        except ConnectionClosed as fault:
            self._judge(fault.rcvd.code if fault.rcvd is not None else None, fault, early=loop.time() < steady.when())
            raise
        else:
            self._judge(socket.close_code, None, early=loop.time() < steady.when())
        finally:
            steady.cancel()
            _open_sockets.remove(device)
            self._set_online(online=False)

    async def _converse(self, socket: ClientConnection) -> None:
        """Says who we are, then reads until the connection ends. Raises ConnectionClosed, UnavailableError.

        A connection alone is no server: it is there when it has said something, or has not gone at once.
        """
        talk = Conversation(
            self.name,
            socket,
            self._rotation.next_number,
            send_s=self._timers.send_s,
            silence_s=self._timers.silence_s,
        )
        await talk.greet(Hello(client_info=ClientInfo(firmware_version=__version__, mac=self._device.identity.mac)))
        if not self._was_silent:
            self.established()
        self._conversation = talk
        sending = asyncio.create_task(talk.send_forever(), name=f"{self.name}: sends")
        try:
            async for frame in socket:
                talk.heard(image=isinstance(frame, bytes) and len(frame) > 0)
                self._on_life()
                await self._on_frame(frame)
        except ConnectionClosed:
            if talk.gone is not None:
                self._was_silent |= isinstance(talk.gone, SilentError)
                raise talk.gone from None
            if takes_nothing(socket):
                raise UnavailableError(TAKES_NOTHING) from None
            raise
        finally:
            self._conversation = None
            talk.close()
            sending.cancel()
            await asyncio.wait({sending})
            if not sending.cancelled() and (error := sending.exception()) and not isinstance(error, UnavailableError):
                log.error("sending broke off link=%s", self.name, exc_info=error)

    def _on_life(self) -> None:
        """The server has said something."""
        if self._was_silent:
            self._was_silent = False
            self.established()
        self._set_online(online=True)

    async def _on_frame(self, frame: str | bytes) -> None:
        """Takes a frame in; no failure ends the connection."""
        try:
            if isinstance(frame, str):
                self._orders.text(frame)
            else:
                await self._orders.image(frame)
        except Exception:
            log.exception("frame could not be handled link=%s", self.name)

    def _acknowledge(self, ack: Ack) -> None:
        if self._conversation is not None:
            self._conversation.acknowledge(ack)

    def _lasts(self) -> None:
        """The connection is no longer a young one."""
        if self._drops.suspicious:
            log.info("the connection lasts again link=%s", self.name)
        self._drops.steady()
        if not self._was_silent:
            self._set_online(online=True)
        self.changed()

    def _judge(self, code: int | None, fault: ConnectionClosed | None, *, early: bool) -> None:
        """Raises RefusedError if the server ended the connection in a way that means: come back slowly."""
        if code == POLICY_VIOLATION:
            reason = fault.rcvd.reason if fault is not None and fault.rcvd is not None else ""
            raise RefusedError(f"the server refuses this device, code {code} {reason}".rstrip()) from None
        ended_by_us = fault is not None and fault.sent is not None and not fault.rcvd_then_sent
        if early and not ended_by_us and code not in COMES_BACK:
            self._drops.dropped()
            if self._drops.suspicious:
                raise RefusedError(ANOTHER_DEVICE) from None

    async def _renew(self, error: str) -> tuple[bool, str]:
        """Nothing can be renewed, but a refusal is worth a word of advice."""
        return False, error if error == ANOTHER_DEVICE else f"{error}; {ADVICE}"

    # Without a connection

    async def _poll_forever(self) -> None:
        """Fetches one image after the other, each in time for its turn."""
        async with Poller(next_url(self._url), self._key, tls=self._tls, request_s=self._timers.request_s) as poller:
            while True:
                try:
                    await self._poll(poller)
                except (RefusedError, UnavailableError) as fault:
                    self._set_online(online=False)
                    self.clock_fault = is_clock_fault(fault)
                    refused = isinstance(fault, RefusedError)
                    await self._wait(f"{fault}; {ADVICE}" if refused else str(fault), refused=refused)
                except Exception as error:
                    log.exception("polling broke off link=%s", self.name)
                    self._set_online(online=False)
                    await self._wait(f"internal error: {type(error).__name__}", refused=False)

    async def _poll(self, poller: Poller) -> None:
        """Fetches an image; returns when it is time for the next. Raises RefusedError, UnavailableError."""
        if device_key(self._url) in _open_sockets:
            raise UnavailableError("another link has a WebSocket open for the same device")
        answer = await poller.fetch()
        self._backoff.lived(float("inf"))
        self._set_online(online=True)
        if self.state != "connected":
            self.established()
        self._orders.settings(answer.said)
        await self._orders.image(answer.data)
        if answer.said.immediate and answer.data:
            self._rotation.immediate()
        await asyncio.sleep(self._timers.poll_least_s if answer.data else self._orders.dwell_s)
        await self._next_poll()

    async def _next_poll(self) -> None:
        while True:
            self._rotation.changed.clear()
            due = self._rotation.wants_next(self._timers.lead_s)
            if due is not None and due <= asyncio.get_running_loop().time():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._rotation.changed.wait()
