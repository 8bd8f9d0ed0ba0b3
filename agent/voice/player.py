"""Plays announcements, one session after the other, through a device that is open only while there is something to hear."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.voice import adpcm
from agent.voice.adpcm import SAMPLES_PER_S
from agent.voice.jitter import JitterBuffer, JitterTimers
from agent.voice.messages import Output, Playback
from agent.voice.pcm import SAMPLE_BYTES, Pcm, PcmBusyError, PcmError

log = logging.getLogger(__name__)

BACKLOG_S = 960.0
"""So much waits to be played at most, of all sessions together."""


@dataclass(frozen=True, slots=True)
class PlayerTimers:
    """Seconds."""

    tick_s: float = 0.01
    idle_s: float = 1.0
    """A session without frames gives the device back, and lets others have their say."""
    tail_s: float = 0.05
    """Of silence, beyond the device's own buffer, before it is closed: a sound server has a buffer, too."""
    busy_retry_s: float = 0.01
    open_retry_s: float = 0.5
    give_up_s: float = 3.0
    """A device that cannot be opened, or takes no sound, for so long makes the announcement pass unheard."""
    jitter: JitterTimers = field(default_factory=JitterTimers)


class Session:
    """One announcement."""

    def __init__(self, number: int, priority: int, timers: PlayerTimers, now: float) -> None:
        self.number = number
        self.priority = priority
        self.buffer = JitterBuffer(timers.jitter)
        self.heard_at = now
        """When something came in last."""
        self._decoder = adpcm.Decoder()

    def put(self, data: bytes, now: float) -> None:
        """The next piece has arrived."""
        self.heard_at = now
        self.buffer.put(data, 2 * len(data) / SAMPLES_PER_S, now)

    def take(self, now: float, factor: float) -> bytes:
        """The samples of the next piece to be played; nothing: not now."""
        data = self.buffer.take(now)
        return b"" if data is None else adpcm.little_endian(adpcm.louder(self._decoder.decode(data), factor))

    def wants(self, now: float, idle_s: float) -> bool:
        """Whether there is, or will soon be, something to hear."""
        return self.buffer.held_s > 0 or (not self.buffer.over and now - self.heard_at < idle_s)


class Player:
    """Sessions by number. `say` gets a Playback whenever it changes, `finished` each session that is over.

    `trouble` gets a sentence when nothing can be heard, an empty one when that is over.
    """

    def __init__(
        self,
        *,
        say: Callable[[Playback], None],
        finished: Callable[[int], None],
        trouble: Callable[[str], None],
        timers: PlayerTimers = PlayerTimers(),
    ) -> None:
        self._say = say
        self._finished = finished
        self._trouble = trouble
        self._timers = timers
        self._loop = asyncio.get_running_loop()
        self._output = Output("default")
        self._sessions: deque[Session] = deque()
        self._pcm: Pcm | None = None
        self._pending = b""
        self._tail = 0
        """Samples of silence still to be written before the device is closed."""
        self._playback = Playback()
        self._opening_since: float | None = None
        self._moved_at = 0.0
        """When the device took sound last."""
        self._next_try = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def set_output(self, output: Output) -> None:
        """Where and how loud; another device from the next announcement on."""
        self._output = output

    def begin(self, number: int, priority: int = 0) -> None:
        """A session opens. It waits for the one that is heard now; of those that wait, the highest priority comes next."""
        self._sessions.append(Session(number, priority, self._timers, self._loop.time()))
        self._tick()

    def frame(self, number: int, data: bytes) -> None:
        """The next piece of a session; of one that is over it is dropped."""
        session = self._find(number)
        if session is None:
            return
        if sum(one.buffer.held_s for one in self._sessions) < BACKLOG_S:
            session.put(data, self._loop.time())
        else:
            session.heard_at = self._loop.time()
        self._tick()

    def end(self, number: int) -> None:
        """A session is complete."""
        session = self._find(number)
        if session is not None:
            session.buffer.end()
            self._tick()

    def stop(self, number: int) -> None:
        """Nothing more of this session is heard, from now on."""
        session = self._find(number)
        if session is None:
            return
        is_first = session is self._sessions[0]
        if is_first:
            self._close()
        self._sessions.remove(session)
        if is_first:
            self._promote(self._loop.time())
        self._finished(number)
        self._tick()

    def stop_all(self) -> None:
        """Silence, at once."""
        sessions, self._sessions = self._sessions, deque()
        self._close()
        for session in sessions:
            self._finished(session.number)
        self._tick()

    def close(self) -> None:
        """Silence, and no more."""
        self._sessions.clear()
        self._close()
        if self._timer is not None:
            self._timer.cancel()

    def _find(self, number: int) -> Session | None:
        return next((session for session in self._sessions if session.number == number), None)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        try:
            self._work(now)
        except PcmError as error:
            log.debug("output lost error=%s", error)
            self._close(keep=True)
            self._refused(error, now)
        if self._pcm is not None or self._sessions:
            quick = self._pcm is not None or self._opening_since is not None or self._waits(now)
            self._timer = self._loop.call_later(self._timers.tick_s if quick else self._timers.idle_s / 4, self._tick)

    def _work(self, now: float) -> None:
        session = self._choose(now)
        if self._pcm is None:
            if session is None or not session.wants(now, self._timers.idle_s):
                self._opening_since = None
                if self._playback != Playback():
                    self._tell(Playback())
                return
            if now < self._next_try or not self._open(now):
                return
        self._feed(now)

    def _waits(self, now: float) -> bool:
        return any(session.wants(now, self._timers.idle_s) for session in self._sessions)

    def _choose(self, now: float) -> Session | None:
        """The session that is played: the first one, unless it is over or has nothing to say while another has.

        The next one is that of the highest priority among those that have something to say; of several, the oldest.
        """
        while self._sessions:
            session = self._sessions[0]
            if session.buffer.over and not self._pending and (self._pcm is None or len(self._sessions) > 1):
                self._sessions.popleft()
                self._finished(session.number)
                self._promote(now)
            elif not self._pending and not session.wants(now, self._timers.idle_s) and self._waits(now):
                self._promote(now)
            else:
                return session
        return None

    def _promote(self, now: float) -> None:
        waiting = [session for session in self._sessions if session.wants(now, self._timers.idle_s)]
        if waiting:
            best = min(waiting, key=lambda session: (-session.priority, session.number))
            self._sessions.remove(best)
            self._sessions.appendleft(best)

    def _open(self, now: float) -> bool:
        if self._opening_since is None:
            self._opening_since = now
            self._tell(Playback(active=True, busy=self._playback.busy))
        try:
            self._pcm = Pcm(self._output.pcm, "output")
        except PcmError as error:
            self._refused(error, now)
            return False
        log.debug("output opened pcm=%s took_ms=%.0f", self._output.pcm, 1000 * (self._loop.time() - now))
        self._opening_since = None
        self._moved_at = now
        self._tail = 0
        return True

    def _refused(self, error: PcmError, now: float) -> None:
        """The device cannot be had now: tries again, and in the end lets the announcement pass."""
        busy = isinstance(error, PcmBusyError)
        self._next_try = now + (self._timers.busy_retry_s if busy else self._timers.open_retry_s)
        if self._opening_since is None:
            self._opening_since = now
        self._tell(Playback(active=True, busy=busy or self._playback.busy))
        if now - self._opening_since >= self._timers.give_up_s:
            self._give_up(str(error), now)

    def _give_up(self, reason: str, now: float) -> None:
        """What has come in so far passes unheard; what comes next is another try."""
        self._trouble(reason)
        self._pending = b""
        self._opening_since = None
        self._next_try = now + self._timers.open_retry_s
        for session in self._sessions:
            session.buffer.clear()
            session.heard_at = now - self._timers.idle_s

    def _feed(self, now: float) -> None:
        """Gives the device what it has room for."""
        assert self._pcm is not None
        if self._sessions and self._sessions[0].buffer.held_s > 0:
            self._tell(Playback(active=True, busy=self._playback.busy, sounding=True))
        room = self._pcm.room()
        if room > 0:
            self._moved_at = now
        elif now - self._moved_at >= self._timers.give_up_s:
            log.debug("output takes no sound any more")
            self._close()
            self._give_up("the device takes no sound", now)
            return
        while room > 0:
            if not self._pending:
                session = self._choose(now)
                self._pending = b"" if session is None else session.take(now, self._factor)
                if self._pending:
                    self._tail = self._pcm.buffer_samples + round(self._timers.tail_s * SAMPLES_PER_S)
                elif session is not None and session.wants(now, self._timers.idle_s):
                    return
                elif self._tail > 0:
                    silence = min(room, self._tail)
                    taken = self._pcm.write(bytes(SAMPLE_BYTES * silence))
                    self._tail -= taken
                    room -= taken
                    if not taken:
                        return
                    continue
                else:
                    self._close()
                    self._choose(now)
                    return
            taken = self._pcm.write(self._pending[: SAMPLE_BYTES * room])
            if not taken:
                return
            self._trouble("")
            self._pending = self._pending[SAMPLE_BYTES * taken :]
            room -= taken

    @property
    def _factor(self) -> float:
        """What samples are multiplied by: libmpv's cubic scale."""
        return 0.0 if self._output.muted else (self._output.percent / 100) ** 3

    def _close(self, *, keep: bool = False) -> None:
        """Silence; with `keep`, what was not heard yet will be."""
        self._tail = 0
        if not keep:
            self._pending = b""
            self._opening_since = None
        if self._pcm is not None:
            self._pcm.close()
            self._pcm = None
        if not keep:
            self._tell(Playback())

    def _tell(self, playback: Playback) -> None:
        if playback != self._playback:
            self._playback = playback
            self._say(playback)
