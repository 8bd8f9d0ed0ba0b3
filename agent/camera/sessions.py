"""All sessions of a worker, and the camera they share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from agent.camera.gathering import Names
from agent.camera.ice import usable_servers
from agent.camera.messages import CameraState, Candidate, Close, Offer, Open, Refused
from agent.camera.session import Session, SessionTimers
from agent.camera.source import Picture, Source, open_source
from agent.camera.studio import Studio, StudioTimers
from agent.system import logs

log = logging.getLogger(__name__)

MOST_SESSIONS = 64


class Sessions:
    """Takes the daemon's messages; `say` takes what goes to the daemon, `on_stuck` is called when a new process is needed.

    `group` owns the sessions' tasks; they close their connections when they are cancelled.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        source: str,
        picture: Picture,
        bitrate_bps: int,
        *,
        say: Callable[[Any], None],
        on_stuck: Callable[[], None],
        opener: Callable[[str, Picture], Source] = open_source,
        timers: SessionTimers | None = None,
        studio_timers: StudioTimers | None = None,
        relay_only: bool = False,
    ) -> None:
        self.studio = Studio(
            source,
            picture,
            bitrate_bps,
            on_change=self._changed,
            on_failed=self._refuse_all,
            on_stuck=on_stuck,
            opener=opener,
            timers=studio_timers or StudioTimers(),
        )
        self._group = group
        self._source = source
        self._say = say
        self._timers = timers or SessionTimers()
        self._relay_only = relay_only
        self._names = Names()
        self._sessions: dict[str, tuple[Session, asyncio.Task[None]]] = {}
        self._state = CameraState(viewers=0, sessions=0)

    def take(self, message: Open | Offer | Candidate | Close) -> None:
        """What the daemon says."""
        match message:
            case Open():
                self._open(message)
            case Close(session=key):
                self._end(key)
            case Offer(session=key) | Candidate(session=key):
                if key in self._sessions:
                    self._sessions[key][0].take(message)

    def _open(self, message: Open) -> None:
        key = message.session
        self._end(key)
        if self._source == "none":
            self._say(Refused(key, "this device's camera is switched off"))
            return
        if len(self._sessions) >= MOST_SESSIONS and not self._displace():
            self._say(Refused(key, "too many viewers"))
            return
        for server in message.ice_servers:
            logs.hide(server.credential)
        session = Session(
            key,
            usable_servers(message.ice_servers),
            self._names,
            self.studio,
            say=self._say,
            on_change=self._changed,
            timers=self._timers,
            relay_only=self._relay_only,
        )
        task = self._group.create_task(self._run(session), name=f"camera: session {key}")
        self._sessions[key] = (session, task)
        self._changed()

    async def _run(self, session: Session) -> None:
        try:
            await session.run()
        except Exception:
            log.exception("session broke off session=%s", session.key)
            self._say(Refused(session.key, "the session broke off because of an internal error"))
        finally:
            if self._sessions.get(session.key, (None, None))[0] is session:
                del self._sessions[session.key]
            self._changed()

    def _end(self, key: str) -> None:
        _, task = self._sessions.pop(key, (None, None))
        if task is not None:
            task.cancel()
            self._changed()

    def _displace(self) -> bool:
        """Ends the oldest session that is not connected, if there is one: whoever watches is not to be kept out by it."""
        for key, (session, _) in self._sessions.items():
            if not session.connected:
                if not session.over:
                    self._say(Refused(key, "too many viewers; this one did not connect in time"))
                self._end(key)
                return True
        return False

    def _refuse_all(self, message: str) -> None:
        """The camera has failed; sessions that have not come to need it yet will find out for themselves."""
        for session, _ in self._sessions.values():
            session.refuse(message)

    def _changed(self) -> None:
        studio = self.studio
        state = CameraState(
            viewers=sum(session.connected for session, _ in self._sessions.values()),
            sessions=sum(not session.over for session, _ in self._sessions.values()),
            source=studio.source,
            encoder=studio.encoder,
            bitrate=studio.rate.bps if studio.encoder else 0,
        )
        if state != self._state:
            self._state = state
            self._say(state)
