"""Who watches: the server's sessions and what the camera says of them (camera contract, section 2). No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from agent.camera.messages import IceServer
from agent.camera.proxy import CameraSession
from agent.links.camera.messages import (
    AnyOutgoing,
    Candidate,
    Description,
    LocalIce,
    LocalIcePayload,
    Refusal,
    RefusalPayload,
    SignalAnswer,
    SignalAnswerPayload,
    SignalIce,
    SignalOffer,
    WatchEnded,
    WatchRequest,
)
from agent.system.logs import redact

log = logging.getLogger(__name__)

SessionId = str | int
Say = Callable[[AnyOutgoing], None]


class Camera(Protocol):
    """What the link needs of `agent.camera.proxy.CameraProxy`, which says more. None of it blocks."""

    @property
    def recording(self) -> bool:
        """Whether somebody watches."""

    def open(self, session: str, ice_servers: Sequence[IceServer], listener: CameraSession, *, link: str = "") -> None:
        """A viewer wants to watch."""

    def offer(self, session: str, sdp: str, *, link: str = "") -> None:
        """Its offer; before `open` it waits for that."""

    def candidate(
        self, session: str, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None, *, link: str = ""
    ) -> None:
        """A candidate of the viewer; an empty one is the last."""

    def close(self, session: str, *, link: str = "") -> None:
        """The session is over."""


class Watches:
    """The sessions of one link; at most `most` at a time. `say` sends to the server, or does nothing without a connection."""

    def __init__(self, link: str, camera: Camera, say: Say, *, most: int) -> None:
        self.say = say
        self._link = link
        self._camera = camera
        self._most = most
        self._live: dict[str, Watch] = {}

    def __len__(self) -> int:
        return len(self._live)

    def has(self, watch: Watch) -> bool:
        """Whether it is one of the present sessions: neither ended nor replaced."""
        return self._live.get(watch.key) is watch

    # What the server says

    def request(self, message: WatchRequest) -> None:
        """A viewer wants to watch. The same session again replaces the old one."""
        watch = Watch(self, message.payload.session_id, message.request_id)
        if watch.key in self._live:
            log.info("watch session replaced link=%s session=%s", self._link, watch.key)
        elif len(self._live) >= self._most:
            self._refuse(watch, f"{self._most} sessions watch already")
            return
        self._live[watch.key] = watch
        servers = tuple(server.named() for server in message.payload.ice_servers)
        log.info("watch requested link=%s session=%s ice_servers=%d", self._link, watch.key, len(servers))
        self._camera.open(watch.key, servers, watch, link=self._link)

    def offer(self, message: SignalOffer) -> None:
        """The viewer's offer; the camera knows what to do with one that is early or late."""
        key = str(message.payload.session_id)
        if watch := self._live.get(key):
            watch.offered(message.request_id)
        self._camera.offer(key, message.payload.sdp, link=self._link)

    def ice(self, message: SignalIce) -> None:
        """A candidate of the viewer, or the end of them."""
        candidate = message.payload.candidate or Candidate()
        self._camera.candidate(
            str(message.payload.session_id),
            candidate.candidate,
            candidate.sdp_mid,
            candidate.sdp_mline_index,
            link=self._link,
        )

    def ended(self, message: WatchEnded) -> None:
        """The server has ended a session; again, or one we do not know, is harmless."""
        key = str(message.payload.session_id)
        if self._live.pop(key, None) is not None:
            log.info("watch ended link=%s session=%s reason=%r", self._link, key, redact(message.payload.reason))
        self._camera.close(key, link=self._link)

    # What ends without the server

    def broken(self, watch: Watch, words: str) -> None:
        """The camera cannot serve a session, or no longer: the server is told why."""
        if self.has(watch):
            del self._live[watch.key]
            log.warning("watch session refused link=%s session=%s reason=%r", self._link, watch.key, redact(words))
            self._refuse(watch, words)

    def gone(self, watch: Watch, words: str) -> None:
        """The viewer of a session is gone: no fault, and nobody to tell."""
        if self.has(watch):
            del self._live[watch.key]
            log.info("watch session over link=%s session=%s reason=%r", self._link, watch.key, redact(words))

    def close_all(self, reason: str) -> None:
        """Ends all sessions; nobody is told."""
        live, self._live = self._live, {}
        if live:
            log.info("watch sessions closed link=%s sessions=%d reason=%r", self._link, len(live), reason)
        for key in live:
            self._camera.close(key, link=self._link)

    def _refuse(self, watch: Watch, words: str) -> None:
        payload = RefusalPayload(session_id=watch.session_id, message=redact(words))
        self.say(Refusal(request_id=watch.request_id, payload=payload))


class Watch:
    """One session; what the camera says of it goes to the server."""

    def __init__(self, watches: Watches, session_id: SessionId, request_id: SessionId | None) -> None:
        self.session_id = session_id
        self.key = str(session_id)
        """Its name at the camera."""
        self.request_id = request_id
        """Of the newest message that wants an answer."""
        self._watches = watches
        self._answered = False
        self._held: list[LocalIce] = []

    def offered(self, request_id: SessionId | None) -> None:
        """An offer goes to the camera; until it is answered our candidates wait."""
        self.request_id = request_id
        self._answered = False
        self._held.clear()

    def on_answer(self, sdp: str) -> None:
        """Our answer, with the candidates found so far."""
        if not self._watches.has(self):
            return
        payload = SignalAnswerPayload(session_id=self.session_id, sdp=Description(sdp=sdp))
        self._watches.say(SignalAnswer(request_id=self.request_id, payload=payload))
        self._answered = True
        held, self._held = self._held, []
        for message in held:
            self._watches.say(message)

    def on_candidate(self, candidate: str | None, sdp_mid: str | None, sdp_mline_index: int | None) -> None:
        """A candidate of ours found later; None: there are no more."""
        if not self._watches.has(self):
            return
        found = None
        if candidate is not None:
            found = Candidate(candidate=candidate, sdp_mid=sdp_mid, sdp_mline_index=sdp_mline_index)
        message = LocalIce(payload=LocalIcePayload(session_id=self.session_id, candidate=found))
        if self._answered:
            self._watches.say(message)
        else:
            self._held.append(message)

    def on_refused(self, message: str) -> None:
        """The camera cannot serve it, or no longer."""
        self._watches.broken(self, message)

    def on_closed(self, reason: str) -> None:
        """It has ended by itself: the viewer is gone, or never came."""
        self._watches.gone(self, reason)
