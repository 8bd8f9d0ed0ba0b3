"""One watch session: from its opening to its end, in order, in a task of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from agent.camera.gathering import Names
from agent.camera.ice import RemoteCandidate, Servers, usable_candidate
from agent.camera.messages import MOST_CANDIDATES, Answer, Candidate, Closed, LocalCandidate, Offer, Refused
from agent.camera.peer import Gatherer, OfferError, Peer, PeerEvents
from agent.camera.studio import Studio

log = logging.getLogger(__name__)

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class SessionTimers:
    """Seconds; camera contract, section 2."""

    offer_s: float = 60.0
    """A session without an offer is freed."""
    between_offers_s: float = 1.0
    """At least, from one offer's answering to the next: a connection costs. Of those that come meanwhile the newest counts."""
    connect_s: float = 30.0
    """From the offer to the connection."""
    gather_s: float = 0.5
    """The answer waits so long for STUN and TURN servers."""
    gather_longest_s: float = 8.0
    """After the offer no more candidates of ours are looked for."""
    candidates_end_s: float = 10.0
    """The viewer's word that it has no more candidates counts from then on: its checks, which show its real address, come
    only after our answer."""
    return_s: float = 2.0
    """A viewer whose connection has ended may offer another one in the same session; its goodbye can overtake that offer."""
    close_s: float = 3.0


class Session:
    """Serves one viewer.

    `say` takes what goes to the daemon; after Refused or Closed nothing more comes. `on_change` is called when `connected`
    or `over` changes.
    """

    def __init__(
        self,
        key: str,
        servers: Servers,
        names: Names,
        studio: Studio,
        *,
        say: Callable[[Any], None],
        on_change: Callable[[], None],
        timers: SessionTimers = SessionTimers(),
        relay_only: bool = False,
    ) -> None:
        self.key = key
        self.connected = False
        self.over = False
        """It only closes what is left."""
        self._studio = studio
        self._say = say
        self._on_change = on_change
        self._timers = timers
        self._gatherer = Gatherer(servers, names, timers.gather_s, timers.gather_longest_s, relay_only)
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._peer: Peer | None = None
        self._kept: list[RemoteCandidate] = []
        self._offer: Offer | None = None
        """The newest, not answered yet."""
        self._offered = False
        """It is its turn as soon as its time has come."""
        self._offer_at = float("-inf")
        self._ending: Peer | None = None
        """Which has been told of the end of candidates, or will be."""
        self._left = False
        """The viewer was connected and is gone; perhaps it comes back."""
        self._group: asyncio.TaskGroup
        self._deadline: float | None = None

    def take(self, message: Offer | Candidate) -> None:
        """What the viewer sends."""
        if isinstance(message, Offer):
            if self._offer is None:
                self._inbox.put_nowait(_Offered())
            self._offer = message
        elif self._inbox.qsize() < 4 * MOST_CANDIDATES:
            self._inbox.put_nowait(message)

    def refuse(self, text: str) -> None:
        """Ends the session with a message for the viewer."""
        self._inbox.put_nowait(Refused(self.key, text))

    async def run(self) -> None:
        """To the end of the session. Cancelled: closes it without a word."""
        last: Refused | Closed | None = None
        try:
            async with asyncio.TaskGroup() as self._group:
                try:
                    last = await self._serve()
                finally:
                    peer, self._peer = self._peer, None
                    self._set_connected(peer, connected=False)
                    self.over = True
                    if last is not None:
                        self._say(last)
                    self._on_change()
                    if peer is not None:
                        await self._close(peer)
                raise _OverError
        except* _OverError:
            pass

    async def _serve(self) -> Refused | Closed:
        """Takes one thing after another; how it ended."""
        self._deadline = self._now() + self._timers.offer_s
        while True:
            if self._offered and self._offer_at <= self._now():
                if refusal := await self._answer_newest():
                    return refusal
                continue
            try:
                async with asyncio.timeout_at(self._offer_at if self._offered else self._deadline):
                    item = await self._inbox.get()
            except TimeoutError:
                if self._offered:
                    continue
                return self._time_is_up()
            match item:
                case _Offered():
                    self._offered = True
                case Candidate():
                    self._add(item)
                case Refused():
                    return item
                case _End(peer) if peer is self._peer:
                    peer.end_of_candidates()
                case _State(peer, state) if peer is self._peer:
                    if ended := self._look(peer, state):
                        return ended

    async def _answer_newest(self) -> Refused | None:
        offer, self._offer, self._offered = self._offer, None, False
        assert offer is not None
        self._offer_at = self._now() + self._timers.between_offers_s
        return await self._answer(offer.sdp)

    async def _answer(self, sdp: str) -> Refused | None:
        """Answers an offer, the first or another one."""
        peer = self._peer
        self._left = False
        if peer is None or not peer.continues(sdp):
            self._deadline = self._now() + self._timers.connect_s
            peer = self._new_peer()
        try:
            answer = await peer.answer(sdp)
        except OfferError as error:
            log.warning("an offer cannot be answered session=%s error=%s", self.key, error)
            return Refused(self.key, str(error))
        self._say(Answer(self.key, answer))
        kept, self._kept = self._kept, []
        for candidate in kept:
            peer.add(candidate)
        return None

    def _new_peer(self) -> Peer:
        """A new connection, in the place of the old one."""
        old = self._peer
        events = PeerEvents(
            on_state=lambda peer, state: self._inbox.put_nowait(_State(peer, state)),
            on_candidate=self._found_late,
            on_estimate=self._hear_estimate,
            on_loss=self._hear_loss,
        )
        peer = self._peer = Peer(next(_numbers), self._studio.hub, self._gatherer, self._spawn, events)
        self._studio.lease(peer.number)
        if old is not None:
            self._set_connected(old, connected=False)
            self._spawn(self._close(old), f"camera: closes the connection before session={self.key}")
        return peer

    def _add(self, message: Candidate) -> None:
        if not message.candidate.strip():
            if (peer := self._peer) is not None and peer is not self._ending and not self._offered:
                self._ending = peer
                self._spawn(self._end_later(peer), f"camera: waits with the end of candidates session={self.key}")
            return
        candidate = usable_candidate(message.candidate, message.sdp_mid, message.sdp_mline_index)
        if candidate is None:
            log.debug("candidate of a viewer is not usable session=%s candidate=%.200r", self.key, message.candidate)
        elif self._peer is not None and not self._offered:
            self._peer.add(candidate)
        elif len(self._kept) < MOST_CANDIDATES:
            self._kept.append(candidate)

    async def _end_later(self, peer: Peer) -> None:
        await asyncio.sleep(self._timers.candidates_end_s)
        self._inbox.put_nowait(_End(peer))

    def _look(self, peer: Peer, state: str) -> Refused | None:
        """What the connection's state means; the end of the session, if it does."""
        if state == "connected":
            self._deadline = None
            peer.stop_gathering()
            self._set_connected(peer, connected=True)
        elif state in {"failed", "closed"}:
            if not self.connected:
                return Refused(self.key, "no connection to the viewer came about")
            self._left = True
            self._peer = None
            self._deadline = self._now() + self._timers.return_s
            self._set_connected(peer, connected=False)
            self._spawn(self._close(peer), f"camera: closes what the viewer left session={self.key}")
        return None

    def _set_connected(self, peer: Peer | None, *, connected: bool) -> None:
        if peer is None or connected == self.connected:
            return
        now = self._now()
        if connected:
            self._studio.rate.join(peer.number, now)
            log.info("a viewer watches session=%s", self.key)
        else:
            self._studio.rate.leave(peer.number, now)
            log.info("a viewer no longer watches session=%s", self.key)
        self.connected = connected
        self._on_change()

    async def _close(self, peer: Peer) -> None:
        self._studio.release(peer.number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timers.close_s):
                await peer.close()

    def _found_late(self, peer: Peer, candidate: str | None) -> None:
        if peer is self._peer:
            self._say(LocalCandidate(self.key, candidate, peer.sdp_mid, 0))

    def _hear_estimate(self, peer: Peer, bps: int) -> None:
        self._studio.rate.estimate(peer.number, bps, self._now())

    def _hear_loss(self, peer: Peer, fraction: float) -> None:
        self._studio.rate.loss(peer.number, fraction, self._now())

    def _time_is_up(self) -> Refused | Closed:
        if self._left:
            return Closed(self.key, "the viewer is gone")
        if self._peer is None:
            return Closed(self.key, f"no offer came within {self._timers.offer_s:g} s")
        return Refused(self.key, f"no connection to the viewer came about within {self._timers.connect_s:g} s")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=name)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class _OverError(Exception):
    """Ends the tasks of a session."""


@dataclass(frozen=True, slots=True)
class _Offered:
    """The place of an offer among what comes; which one shows when it is answered."""


@dataclass(frozen=True, slots=True)
class _State:
    peer: Peer
    state: str


@dataclass(frozen=True, slots=True)
class _End:
    """The viewer's candidates are at their end, and it may be said."""

    peer: Peer
