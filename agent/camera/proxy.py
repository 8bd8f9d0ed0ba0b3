"""The camera as the daemon sees it: watch sessions, and the worker that serves them while there are any."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.camera.backlog import Backlog, ToWorker
from agent.camera.messages import (
    FROM_WORKER,
    LONGEST_OFFER,
    Answer,
    CameraState,
    Candidate,
    Close,
    Closed,
    IceServer,
    LocalCandidate,
    Offer,
    Open,
    Refused,
)
from agent.settings import Camera
from agent.system.worker import Worker, WorkerTimers

log = logging.getLogger(__name__)

EARLY_SESSIONS = 24
"""Of each link."""
EARLY_CANDIDATES = 64
MOST_UNREAD_BYTES = 4 * 1024 * 1024
"""So much may wait in the channel to a worker that does not read."""
_NOBODY = CameraState(viewers=0, sessions=0)


@dataclass(frozen=True, slots=True)
class CameraTimers:
    """Seconds."""

    linger_s: float = 10.0
    """The worker stays this long after the last session, so that a reloaded page need not wait for a new one."""
    early_s: float = 10.0
    """An offer or a candidate waits this long for its session to be opened (camera contract, section 2)."""
    late_s: float = 2.0
    """What still comes in for a session is late rather than early this long after its end."""
    worker: WorkerTimers = field(default_factory=WorkerTimers)


class CameraSession(Protocol):
    """Who asked for a session; called in the event loop, never from within a call to the proxy."""

    def on_answer(self, sdp: str) -> None:
        """Our SDP answer to the offer."""

    def on_candidate(self, candidate: str | None, sdp_mid: str | None, sdp_mline_index: int | None) -> None:
        """A candidate of ours that was found after the answer; None: there are no more."""

    def on_refused(self, message: str) -> None:
        """The session could not be served, or broke off; it is over. The message is for the viewer."""

    def on_closed(self, reason: str) -> None:
        """The session has ended by itself: the viewer is gone, or never made an offer."""


class CameraProxy:
    """Watch sessions of all links; a worker runs from the first session until a little after the last.

    `link` tells apart the sessions of several links that share the camera. A session ends with `close`, or with `on_refused`
    or `on_closed` of its listener; nothing is said to the listener of a session that was closed or replaced.
    """

    def __init__(
        self,
        settings: Camera,
        *,
        timers: CameraTimers = CameraTimers(),
        on_stuck: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._timers = timers
        self._on_stuck = on_stuck
        self._state = _NOBODY
        self._listeners: list[Callable[[], None]] = []
        self._watches: dict[tuple[str, str], _Watch] = {}
        self._early: dict[tuple[str, str], _Early] = {}
        self._ended: dict[tuple[str, str], float] = {}
        self._outbox = Backlog()
        """What the next worker is told when it is there."""
        self._worker: Worker | None = None
        self._opened = False
        """Whether this run of the worker could be spoken to."""
        self._keys = itertools.count(1)
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._unwanted.set()

    @staticmethod
    def missing() -> str:
        """What must be installed before there can be pictures; empty: nothing."""
        names = [name for module, name in (("aiortc", "aiortc"), ("av", "PyAV")) if importlib.util.find_spec(module) is None]
        return f"the camera needs {' and '.join(names)}: sudo scripts/install --with-camera" if names else ""

    @property
    def viewers(self) -> int:
        """Sessions that are connected."""
        return self._state.viewers

    @property
    def recording(self) -> bool:
        """Whether someone is watching."""
        return self._state.viewers > 0

    @property
    def source(self) -> str:
        """Where the picture comes from; while the camera is closed, what is configured."""
        return self._state.source or self._settings.source

    @property
    def encoder(self) -> str:
        """What encodes now, for instance "libx264"; empty: nothing."""
        return self._state.encoder

    @property
    def bitrate(self) -> int:
        """Of the shared encoder, in bits per second; 0 while nothing is encoded."""
        return self._state.bitrate

    @property
    def pid(self) -> int | None:
        """The worker's process; None while there is none."""
        return self._worker.pid if self._worker is not None else None

    def on_change(self, callback: Callable[[], None]) -> None:
        """`callback` is called after each change of what the properties tell."""
        self._listeners.append(callback)

    def off_change(self, callback: Callable[[], None]) -> None:
        """Undoes `on_change`."""
        self._listeners.remove(callback)

    def open(self, session: str, ice_servers: Sequence[IceServer], listener: CameraSession, *, link: str = "") -> None:
        """A viewer wants to watch; the same session again replaces the old one."""
        name = (link, session)
        self._forget(name)
        self._ended.pop(name, None)
        early = self._early.pop(name, None)
        refusal = self._refusal()
        if refusal:
            log.warning("a viewer is refused session=%s reason=%r", session, refusal)
            asyncio.get_running_loop().call_soon(listener.on_refused, refusal)
            return
        watch = self._watches[name] = _Watch(str(next(self._keys)), name, listener)
        self._send(watch, Open(watch.key, tuple(ice_servers)))
        if early is not None and early.until > self._now():
            if early.sdp is not None:
                self._send(watch, Offer(watch.key, early.sdp))
            for candidate, sdp_mid, sdp_mline_index in early.candidates:
                self._send(watch, Candidate(watch.key, candidate, sdp_mid, sdp_mline_index))
        self._look()

    def offer(self, session: str, sdp: str, *, link: str = "") -> None:
        """The viewer's offer. One that comes before its session waits for it; a second one replaces the connection."""
        # What is too long is refused for that; the worker need not have more of it to know.
        sdp = sdp[: LONGEST_OFFER + 1]
        watch = self._watches.get((link, session))
        if watch is not None:
            self._send(watch, Offer(watch.key, sdp))
        elif early := self._early_of((link, session)):
            early.sdp = sdp

    def candidate(
        self, session: str, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None, *, link: str = ""
    ) -> None:
        """A candidate of the viewer, empty: there are no more. Before the offer, or the session, it is kept."""
        watch = self._watches.get((link, session))
        if watch is not None:
            self._send(watch, Candidate(watch.key, candidate, sdp_mid, sdp_mline_index))
        elif (early := self._early_of((link, session))) and len(early.candidates) < EARLY_CANDIDATES:
            early.candidates.append((candidate, sdp_mid, sdp_mline_index))

    def close(self, session: str, *, link: str = "") -> None:
        """The session is over; an unknown one is no fault."""
        self._early.pop((link, session), None)
        self._forget((link, session))
        self._look()

    async def run(self) -> None:
        """Serves sessions for ever."""
        try:
            while True:
                await self._wanted.wait()
                await self._run_worker()
        finally:
            self._watches.clear()
            self._outbox.take()

    async def _run_worker(self) -> None:
        """One run of the worker: to the end of what is wanted of it, or of the worker."""
        self._opened = False
        settings = self._settings
        worker = Worker(
            "camera",
            "agent.camera.worker",
            [
                *("--source", settings.source),
                *("--width", str(settings.width)),
                *("--height", str(settings.height)),
                *("--framerate", str(settings.framerate)),
                *("--bitrate", str(settings.bitrate)),
            ],
            expected=FROM_WORKER,
            on_message=self._on_message,
            on_open=lambda: self._begin(worker),
            on_stuck=self._on_stuck,
            timers=self._timers.worker,
        )
        running = asyncio.create_task(worker.run(), name="camera: worker")
        idle = asyncio.create_task(self._idle(), name="camera: waits until nobody watches")
        try:
            await asyncio.wait({running, idle}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._worker = None
            died = running.done()
            for task in (running, idle):
                task.cancel()
            await asyncio.wait({running, idle})
        if died:
            self._broke_off(running.result())
        self._set_state(_NOBODY)

    async def _idle(self) -> None:
        """Returns when there has been no session for a while."""
        while True:
            await self._unwanted.wait()
            try:
                async with asyncio.timeout(self._timers.linger_s):
                    await self._wanted.wait()
            except TimeoutError:
                if not self._wanted.is_set():
                    # In the same step, so that no session gets in between: what comes from now on is for the next worker.
                    self._worker = None
                    return

    def _begin(self, worker: Worker) -> None:
        """The worker can be spoken to."""
        self._worker = worker
        self._opened = True
        watches = {watch.key: watch for watch in self._watches.values()}
        for message in self._outbox.take():
            self._send(watches[message.session], message)

    def _broke_off(self, how: str) -> None:
        """The worker has ended by itself, and with it every session it was told of."""
        log.warning("the camera's process broke off; the next viewer starts it again how=%r", how)
        for watch in tuple(self._watches.values()):
            # One that came while the worker was ending is for the next.
            if watch.told or not self._opened:
                self._drop(watch)
                watch.listener.on_refused("the camera broke off; watch again to restart it")

    def _send(self, watch: _Watch, message: ToWorker) -> None:
        if self._watches.get(watch.name) is not watch:
            return
        if self._worker is None or (self._worker.pid is None and not watch.told):
            self._outbox.put(message)
            return
        if self._worker.unread_bytes > MOST_UNREAD_BYTES:
            log.warning("a session is ended: the camera's process does not read session=%s", watch.name[1])
            self._forget(watch.name)
            asyncio.get_running_loop().call_soon(watch.listener.on_refused, "the camera cannot keep up; watch again later")
            return
        watch.told = True
        self._worker.send(message)

    def _on_message(self, message: Any) -> None:
        if isinstance(message, CameraState):
            self._set_state(message)
            return
        watch = next((watch for watch in self._watches.values() if watch.key == message.session), None)
        if watch is None:
            return
        match message:
            case Answer(sdp=sdp):
                watch.listener.on_answer(sdp)
            case LocalCandidate(candidate=candidate, sdp_mid=sdp_mid, sdp_mline_index=sdp_mline_index):
                watch.listener.on_candidate(candidate, sdp_mid, sdp_mline_index)
            case Refused(message=text):
                self._drop(watch)
                watch.listener.on_refused(text)
            case Closed(reason=reason):
                self._drop(watch)
                watch.listener.on_closed(reason)

    def _refusal(self) -> str:
        if self._settings.source == "none":
            return "this device's camera is switched off"
        return "camera software is not installed on this device" if self.missing() else ""

    def _forget(self, name: tuple[str, str]) -> None:
        """Ends the session of that name, if there is one, on the daemon's side and on the worker's."""
        watch = self._watches.get(name)
        if watch is None:
            return
        self._drop(watch)
        if self._worker is not None:
            self._worker.send(Close(watch.key))

    def _drop(self, watch: _Watch) -> None:
        now = self._now()
        del self._watches[watch.name]
        self._outbox.forget(watch.key)
        self._ended = {name: until for name, until in self._ended.items() if until > now}
        self._ended[watch.name] = now + self._timers.late_s
        self._look()

    def _early_of(self, name: tuple[str, str]) -> _Early | None:
        """Where to keep what came before its session; None: it is late, not early, or there is too much of it."""
        now = self._now()
        self._early = {key: early for key, early in self._early.items() if early.until > now}
        if self._ended.get(name, 0.0) > now:
            return None
        if name not in self._early and sum(link == name[0] for link, _ in self._early) >= EARLY_SESSIONS:
            return None
        return self._early.setdefault(name, _Early(now + self._timers.early_s))

    def _look(self) -> None:
        """Says whether there are sessions."""
        if self._watches:
            self._wanted.set()
            self._unwanted.clear()
        else:
            self._wanted.clear()
            self._unwanted.set()

    def _set_state(self, state: CameraState) -> None:
        if state != self._state:
            self._state = state
            for listener in tuple(self._listeners):
                listener()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


@dataclass(eq=False, slots=True)
class _Watch:
    """A session; `key` is its name on the wire to the worker, never used twice."""

    key: str
    name: tuple[str, str]
    listener: CameraSession
    told: bool = False
    """Whether a worker knows of it."""


@dataclass(slots=True)
class _Early:
    """What came before its session."""

    until: float
    sdp: str | None = None
    """Of the offer, if there was one; nonsense as well, so that it is refused in words."""
    candidates: list[tuple[str, str | None, int | None]] = field(default_factory=list)
