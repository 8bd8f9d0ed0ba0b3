"""The camera link: viewers' signaling from the server to the camera and back (camera contract, sections 1 and 2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

from agent.links.backoff import Backoff
from agent.links.camera import messages
from agent.links.camera.messages import (
    AnyOutgoing,
    DevicePresence,
    Heartbeat,
    Hello,
    HelloPayload,
    PresencePayload,
    UnknownMessageError,
)
from agent.links.camera.rest import CameraRest
from agent.links.camera.vitals import VitalsReader
from agent.links.camera.watches import Camera, Watches
from agent.links.link import POLICY_VIOLATION, Address, Link, RefusedError, UnavailableError
from agent.system.logs import Trouble, excerpt

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

FAULTS_KEPT = 1_000
LONGEST_REMARK = 500
"""So many different faults of the server's are said as warnings."""


@dataclass(frozen=True, slots=True)
class CameraTimers:
    """Seconds; camera contract, sections 1 and 2."""

    hello_s: float = 10.0
    """From our hello to its acknowledgement."""
    heartbeats_lost: int = 2
    """So many without an acknowledgement mean that the server no longer reads."""
    presence_s: float = 60.0
    orphan_s: float = 300.0
    """How long sessions go on without signaling."""
    register_s: float = 5.0
    """At most so long does the socket wait for a registration, which goes on beside it."""
    request_s: float = 10.0
    most_sessions: int = 24
    """Fewer than the camera serves, so that no server takes it all."""
    most_unsent: int = 1_000


class CameraLink(Link):
    """One camera server.

    Names and values are those of the configuration; `heartbeat_s` is at most the protocol's 30 s. `device_name` is asked with
    each registration; without one the device goes by its id.
    """

    kind = "camera"
    greets = True
    secret_frames = True

    def __init__(
        self,
        name: str,
        camera: Camera,
        *,
        url: str,
        device_id: str,
        device_name: Callable[[], str] | None = None,
        token: str = "",
        heartbeat_s: float = 15.0,
        spread_s: float = 5.0,
        sysfs: Path = Path("/sys"),
        tls: ssl.SSLContext | None = None,
        timers: CameraTimers = CameraTimers(),
    ) -> None:
        super().__init__(name, spread_s=spread_s, tls=tls)
        self._camera = camera
        self._device_id = device_id
        self._device_name = device_name or (lambda: device_id)
        self._heartbeat_s = heartbeat_s
        self._timers = timers
        self._rest = CameraRest(url, token, tls=tls, request_s=timers.request_s)
        self._vitals = VitalsReader(sysfs)
        self._watches = Watches(name, camera, self._say, most=timers.most_sessions)
        self._register_backoff = Backoff(timers.register_s)
        self._registered = asyncio.Event()
        self._register_due = asyncio.Event()
        self._register_due.set()
        self._register_hurry = asyncio.Event()
        self._register_tried = asyncio.Event()
        self._register_trouble = Trouble(log)
        self._unknown_device = False
        """The last connection was closed with 1008."""
        self._connected = False
        self._unsent: deque[AnyOutgoing] = deque()
        self._unsent_event = asyncio.Event()
        self._unacknowledged = 0
        self._orphans: asyncio.TimerHandle | None = None
        self._faults: set[str] = set()

    async def run(self) -> None:
        """Serves the server for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._register_forever(), name=f"{self.name}: registers")
                tasks.create_task(self.connect_forever(), name=f"{self.name}: connects")
        finally:
            self._signaling_back()
            self._watches.close_all("the link ends")
            self._vitals.close()

    async def save(self) -> None:
        """Nothing of it outlives the agent."""

    # Registration

    async def _register_forever(self) -> None:
        """Registers whenever it is due, until it succeeds."""
        while True:
            await self._register_due.wait()
            self._register_hurry.clear()
            try:
                await self._rest.register(self._device_id, self._device_name() or self._device_id)
            except (RefusedError, UnavailableError) as error:
                self._register_trouble.is_("device not registered, tried again later", error, link=self.name)
                wait_s = self._register_backoff.wait_s(refused=isinstance(error, RefusedError))
            except Exception:
                log.exception("registration broke off link=%s", self.name)
                wait_s = self._register_backoff.wait_s()
            else:
                self._register_due.clear()
                self._registered.set()
                self._register_backoff.lived(float("inf"))
                self._register_trouble.over(f"device registered again link={self.name}")
                log.info("device registered link=%s device_id=%s", self.name, self._device_id)
                wait_s = 0.0
            self._register_tried.set()
            if wait_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._register_hurry.wait()

    async def renew(self) -> bool:
        """See `Link`: after a 1008 the device is registered anew; True when the server took it."""
        if not self._unknown_device:
            return False
        self._unknown_device = False
        self._registered.clear()
        self._register_tried.clear()
        self._register_due.set()
        self._register_hurry.set()
        await self._await_registration()
        return self._registered.is_set()

    async def _await_registration(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timers.register_s):
                await self._register_tried.wait()

    # The connection

    async def address(self) -> Address:
        """See `Link`."""
        self._rest.hide()
        await self._await_registration()
        return Address(self._rest.socket_url, self._rest.headers)

    async def session(self, socket: ClientConnection) -> None:
        """See `Link`."""
        self._unsent.clear()
        self._unacknowledged = 0
        self._connected = True
        try:
            await self._greet(socket)
            self.established()
            self._signaling_back()
            await self._converse(socket)
        except UnavailableError:
            # A second connection beside one the server still counts would confuse it: no goodbye is waited for.
            socket.transport.abort()
            raise
        except ConnectionClosed as fault:
            if fault.rcvd is None or fault.rcvd.code != POLICY_VIOLATION:
                raise
            self._unknown_device = True
            words = f"the server refuses device_id {self._device_id}, code 1008 {fault.rcvd.reason}".rstrip()
            raise RefusedError(f"{words}; registered again, then tried slowly") from None
        finally:
            self._connected = False
            self._signaling_lost()

    async def _greet(self, socket: ClientConnection) -> None:
        """Says hello and waits for its acknowledgement. Raises UnavailableError or ConnectionClosed."""
        try:
            async with asyncio.timeout(self._timers.hello_s):
                await socket.send(Hello(payload=HelloPayload(device_id=self._device_id)).text())
                while not self._on_frame(await socket.recv()):
                    pass
        except TimeoutError:
            raise UnavailableError(f"no hello_ack within {self._timers.hello_s:g} s") from None

    async def _converse(self, socket: ClientConnection) -> None:
        """Reads and speaks until the connection ends. Raises UnavailableError when the server no longer answers."""
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "reads": self._read(socket),
            "sends": self._send(socket),
            "heartbeats": self._beat(),
            "presence": self._tell_presence(),
        }
        tasks = [asyncio.create_task(part, name=f"{self.name}: {name}") for name, part in parts.items()]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in ended:
            task.result()

    async def _read(self, socket: ClientConnection) -> None:
        async for frame in socket:
            self._on_frame(frame)

    async def _send(self, socket: ClientConnection) -> None:
        while True:
            while self._unsent:
                await socket.send(self._unsent.popleft().text())
            self._unsent_event.clear()
            await self._unsent_event.wait()

    async def _beat(self) -> None:
        """Finds the server that keeps the socket open but has stopped reading."""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if self._unacknowledged >= self._timers.heartbeats_lost:
                raise UnavailableError(f"{self._unacknowledged} heartbeats without an answer: the server no longer reads")
            if len(self._unsent) > self._timers.most_unsent:
                raise UnavailableError("the server takes nothing from the connection")
            self._unacknowledged += 1
            self._say(Heartbeat())

    async def _tell_presence(self) -> None:
        told: PresencePayload | None = None
        while True:
            vitals = await self._vitals.read()
            present = PresencePayload(
                battery=vitals.battery, temperature=vitals.temperature, recording=self._camera.recording
            )  # fmt: skip
            if present != told:
                self._say(DevicePresence(payload=present))
                told = present
            await asyncio.sleep(self._timers.presence_s)

    def _say(self, message: AnyOutgoing) -> None:
        """Sends, in order, without blocking; while there is no connection it is said to nobody."""
        if not self._connected:
            log.debug("not said, no connection link=%s type=%s", self.name, message.type)
        elif len(self._unsent) <= self._timers.most_unsent:
            self._unsent.append(message)
            self._unsent_event.set()

    def _signaling_lost(self) -> None:
        """Sessions go on, but not for long: nobody could end them."""
        if self._orphans is None and len(self._watches):
            loop = asyncio.get_running_loop()
            self._orphans = loop.call_later(self._timers.orphan_s, self._watches.close_all, "too long without signaling")

    def _signaling_back(self) -> None:
        if self._orphans is not None:
            self._orphans.cancel()
            self._orphans = None

    # What the server says

    def _on_frame(self, frame: str | bytes) -> bool:
        """Takes a message in; True if it was the acknowledgement of our hello."""
        try:
            message = messages.parse(frame)
            log.debug("message link=%s type=%s", self.name, message.type)
            self._act(message)
            return isinstance(message, messages.HelloAck)
        except UnknownMessageError as error:
            self._named_once("message ignored", str(error))
        except Exception:
            log.exception("message could not be handled link=%s", self.name)
        return False

    def _act(self, message: messages.AnyIncoming) -> None:
        match message:
            case messages.WatchRequest():
                self._watches.request(message)
            case messages.SignalOffer():
                self._watches.offer(message)
            case messages.SignalIce():
                self._watches.ice(message)
            case messages.WatchEnded():
                self._watches.ended(message)
            case messages.HeartbeatAck():
                self._unacknowledged = 0
            case messages.ServerError(payload=payload):
                self._named_once("the server reports an error", payload.message or "without words")

    def _named_once(self, what: str, words: str) -> None:
        """A line in the log: a warning the first time."""
        text = excerpt(" ".join(words.split()), LONGEST_REMARK)
        known = text in self._faults
        log.log(logging.DEBUG if known else logging.WARNING, "%s link=%s fault=%s", what, self.name, text)
        if len(self._faults) < FAULTS_KEPT:
            self._faults.add(text)
