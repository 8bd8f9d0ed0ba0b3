"""Voice as the daemon sees it: announcements of all links, push to talk, and the worker that does both while it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.system.logs import Trouble as TroubleLog
from agent.system.worker import Worker, WorkerTimers
from agent.voice.messages import FROM_WORKER, Finished, Output, Playback, Trouble
from agent.voice.stream import BACKLOG_BYTES, Backlog, Kind, Meeting, Stream

log = logging.getLogger(__name__)

STARTS = 3
"""What waits to be heard is given up when so many workers in a row broke off at once."""


MOST_SESSIONS = 32
"""So many are heard, open or waiting at once."""
ANNOUNCEMENT = "announcement"
"""Of the things that may not work, that which the worker cannot tell, because it is gone."""


@dataclass(frozen=True, slots=True)
class VoiceTimers:
    """Seconds."""

    linger_s: float = 30.0
    """The worker stays this long after the last announcement, so that the next one need not wait for a new one."""
    meet_s: float = 10.0
    """For the worker's interpreter to start, from a slow card."""
    restart_s: float = 0.1
    restart_longest_s: float = 5.0
    """Between two starts of a worker that breaks off by itself."""
    worker: WorkerTimers = field(default_factory=WorkerTimers)


class Uplink(Protocol):
    """Who hears the microphone; called in the event loop."""

    def start(self) -> None:
        """The button is pressed; announcements have been stopped."""

    def frame(self, data: bytes) -> None:
        """512 bytes of IMA ADPCM, as in speaker contract, section 4."""

    def end(self) -> None:
        """The button was let go; the last frame was the last."""


class VoiceProxy:
    """Announcements as ADPCM frames in, sound out; `run` is to be running.

    A speaker is whoever announces (a link); each has one open session at a time. Sessions of several speakers are played one
    after the other, never mixed. `pcm` gives the ALSA name of where to play, `level` percent and mute of the player (100 and
    False where a mixer does the work). `on_playback(sounding, released)` says whether everything else is to be ducked, and
    whether the PCM must be given up for the announcement, because it takes one client only.
    """

    def __init__(
        self,
        *,
        pcm: Callable[[], str] = lambda: "default",
        level: Callable[[], tuple[float, bool]] = lambda: (100.0, False),
        on_playback: Callable[[bool, bool], None] | None = None,
        microphone: str = "",
        button: str = "",
        timers: VoiceTimers = VoiceTimers(),
        on_stuck: Callable[[], None] | None = None,
    ) -> None:
        self._pcm = pcm
        self._level = level
        self._on_playback = on_playback
        self._microphone = microphone
        self._button = button
        self._timers = timers
        self._on_stuck = on_stuck
        self._listeners: list[Callable[[], None]] = []
        self._ids = itertools.count(1)
        self._open: dict[object, int] = {}
        """Speakers whose frames are taken, and the session they belong to."""
        self._unfinished: dict[int, object] = {}
        """Sessions that may still be heard, and whose they are."""
        self._is_lost = False
        """Sessions were given up since a worker broke off last."""
        self._attached: set[object] = set()
        self._playback = Playback()
        self._uplinks: list[Uplink] = []
        self._talking: list[Uplink] = []
        """Those that were told of a start."""
        self._worker: Worker | None = None
        self._stream: Stream | None = None
        self._outbox = Backlog()
        self._output: Output | None = None
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._trouble_logs: dict[str, TroubleLog] = {}
        self._overflow = TroubleLog(log)
        self._crowd = TroubleLog(log)
        self._look()

    @property
    def sounding(self) -> bool:
        """Whether an announcement is being heard."""
        return self._playback.sounding

    @property
    def pid(self) -> int | None:
        """The worker's process; None while there is none."""
        return self._worker.pid if self._worker is not None else None

    def warnings(self) -> list[str]:
        """What does not work now, one sentence each."""
        return [f"voice: {text}" for text in self._troubles.values()]

    def on_change(self, callback: Callable[[], None]) -> None:
        """`callback` is called after each change of what the properties tell."""
        self._listeners.append(callback)

    # Announcements

    def begin(self, speaker: object, *, priority: int = 0) -> None:
        """Opens a session: the decoder starts at (0, 0). An open one of the same speaker ends as by `end`.

        Of sessions that wait, that of the highest `priority` (0 to 255) is heard next; none interrupts another. When more than
        MOST_SESSIONS would wait, the one that has waited longest is dropped.
        """
        self.end(speaker)
        if len(self._unfinished) >= MOST_SESSIONS:
            waiting = list(self._unfinished)[1:]
            taken = set(self._open.values())
            self._silence({next((session for session in waiting if session not in taken), waiting[0])})
            self._crowd.is_("an announcement is dropped: too many wait", f"{MOST_SESSIONS} announcements")
        else:
            self._crowd.over("no announcement need be dropped any more")
        session = next(self._ids)
        if self._send(Kind.BEGIN, session, bytes([min(255, max(0, priority))])):
            self._open[speaker] = session
            self._unfinished[session] = speaker
        else:
            self._is_full()
        self._look()

    def frame(self, speaker: object, data: bytes) -> None:
        """The next piece of the open session: IMA ADPCM of any length. Without an open session it is dropped."""
        session = self._open.get(speaker)
        if session is None or not data:
            return
        if self._send(Kind.FRAME, session, data):
            self._overflow.over("announcements are taken again")
        else:
            self._is_full()

    def end(self, speaker: object) -> None:
        """Closes the session; what has come in is played to its end. Without an open session nothing happens."""
        session = self._open.pop(speaker, None)
        if session is not None:
            self._send(Kind.END, session)

    def stop(self, speaker: object) -> None:
        """Silences everything of this speaker at once, also what an ended session still has to play."""
        self._open.pop(speaker, None)
        self._silence({session for session, owner in self._unfinished.items() if owner is speaker})
        self._look()

    def expect(self) -> None:
        """An announcement is likely to come soon: the worker is started now, and stays as long as after one."""
        self._wanted.set()
        self._look()

    def attach(self, speaker: object) -> None:
        """From now on this speaker may announce at any moment: the worker is kept ready, so that its start delays nothing.

        Without it, what comes after a long silence is heard later by the start of an interpreter.
        """
        self._attached.add(speaker)
        self._look()

    def detach(self, speaker: object) -> None:
        """Undoes `attach`."""
        self._attached.discard(speaker)
        self._look()

    def refresh(self) -> None:
        """Looks anew where to play and how loud."""
        output = Output(self._pcm(), *self._level())
        if self._worker is not None and output != self._output:
            self._output = output
            self._worker.send(output)

    # Push to talk

    def listen(self, uplink: Uplink) -> None:
        """From now on `uplink` gets what the microphone hears while the button is pressed; of several, each one does."""
        self._uplinks.append(uplink)

    def unlisten(self, uplink: Uplink) -> None:
        """Undoes `listen`; nothing more is said to it, not even the end."""
        with contextlib.suppress(ValueError):
            self._uplinks.remove(uplink)
        with contextlib.suppress(ValueError):
            self._talking.remove(uplink)

    # The worker

    async def run(self) -> None:
        """Serves for ever."""
        loop = asyncio.get_running_loop()
        failures = 0
        try:
            while True:
                await self._wanted.wait()
                started = loop.time()
                how = await self._run_worker()
                if not how:
                    failures = 0
                    continue
                failures = 1 if loop.time() - started > self._timers.restart_longest_s else failures + 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                log.log(level, "the voice process broke off; the next announcement starts another one how=%r", how)
                if failures >= STARTS:
                    self._forget()
                if self._is_lost:
                    self._is_lost = False
                    self._set_trouble(ANNOUNCEMENT, "an announcement broke off: the voice process ended or did not answer")
                pause_s = min(self._timers.restart_longest_s, self._timers.restart_s * 2 ** (failures - 1))
                await asyncio.sleep(pause_s)
        finally:
            self._forget()

    async def _run_worker(self) -> str:
        """One run of the worker; how it ended, empty when it was no longer needed."""
        meeting = Meeting()
        worker = self._worker = Worker(
            "voice",
            "agent.voice.worker",
            ["--stream", meeting.address, "--microphone", self._microphone, "--button", self._button],
            expected=FROM_WORKER,
            on_message=self._on_message,
            on_open=self._introduce,
            on_stuck=self._on_stuck,
            timers=self._timers.worker,
        )
        running = asyncio.create_task(worker.run(), name="voice: worker")
        serving = asyncio.create_task(self._serve(meeting, worker), name="voice: serves")
        try:
            await asyncio.wait({running, serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            died = running.done()
            for task in (running, serving):
                task.cancel()
            await asyncio.wait({running, serving})
            meeting.close()
            self._worker = None
            self._output = None
            self._part()
        return running.result() if died else serving.result()

    async def _serve(self, meeting: Meeting, worker: Worker) -> str:
        """Connects the sound and stays until the worker is no longer needed; else what is wrong with it."""
        try:
            async with asyncio.timeout(self._timers.meet_s):
                connection = await meeting.accept(lambda: worker.pid)
        except TimeoutError:
            return f"it did not come up within {self._timers.meet_s:g} s"
        finally:
            meeting.close()
        self._stream, self._outbox = Stream(connection, self._on_packet, backlog=self._outbox), Backlog()
        while True:
            await self._unwanted.wait()
            try:
                async with asyncio.timeout(self._timers.linger_s):
                    await self._wanted.wait()
            except TimeoutError:
                if not self._wanted.is_set():
                    # In the same step, so that no session gets in between: what comes from now on is for the next worker.
                    self._part()
                    return ""

    def _introduce(self) -> None:
        """The worker can be spoken to; what was said before was said to nobody."""
        self._output = None
        self.refresh()

    def _part(self) -> None:
        """The worker is of no use any more; what it was told of is over."""
        told = self._stream is not None
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if told:
            self._forget()

    def _forget(self) -> None:
        self._is_lost |= bool(self._unfinished)
        self._open.clear()
        self._unfinished.clear()
        self._outbox = Backlog()
        self._tell_uplinks(Kind.END)
        self._set_playback(Playback())
        self._look()

    def _send(self, kind: Kind, session: int, data: bytes = b"") -> bool:
        if self._stream is not None:
            return self._stream.send(kind, session, data)
        return self._outbox.add(kind, session, data)

    def _silence(self, sessions: set[int]) -> None:
        """Nothing more of them is heard."""
        if not sessions:
            return
        for speaker in [speaker for speaker, session in self._open.items() if session in sessions]:
            del self._open[speaker]
        for session in sessions:
            self._unfinished.pop(session, None)
        if self._stream is not None:
            self._stream.stop(sessions)
        else:
            self._outbox.drop(sessions)

    def _is_full(self) -> None:
        self._overflow.is_("sound is dropped: too much of it waits to be played", f"{BACKLOG_BYTES} bytes")

    def _on_message(self, message: Any) -> None:
        match message:
            case Playback():
                self._set_playback(message)
            case Finished(session=session):
                speaker = self._unfinished.pop(session, None)
                if speaker is not None and self._open.get(speaker) == session:
                    del self._open[speaker]
                self._look()
            case Trouble(part=part, text=text):
                self._set_trouble(part, text)

    def _on_packet(self, kind: Kind, _session: int, data: bytes) -> None:
        """From the microphone."""
        self._tell_uplinks(kind, data)

    def _tell_uplinks(self, kind: Kind, data: bytes = b"") -> None:
        if kind is Kind.BEGIN:
            self._talking = list(self._uplinks)
        for uplink in tuple(self._talking):
            try:
                if kind is Kind.BEGIN:
                    uplink.start()
                elif kind is Kind.FRAME:
                    uplink.frame(data)
                else:
                    uplink.end()
            except Exception:
                log.exception("push to talk could not be passed on")
        if kind is Kind.END:
            self._talking = []

    def _set_playback(self, playback: Playback) -> None:
        before, self._playback = self._playback, playback
        if playback.sounding and ANNOUNCEMENT in self._troubles:
            self._set_trouble(ANNOUNCEMENT, "")
        wanted = (playback.sounding, playback.active and playback.busy)
        if wanted != (before.sounding, before.active and before.busy):
            if self._on_playback is not None:
                self._on_playback(*wanted)
            self._changed()

    def _set_trouble(self, part: str, text: str) -> None:
        complaint = self._trouble_logs.setdefault(part, TroubleLog(log))
        if text:
            self._troubles[part] = text
            complaint.is_(f"voice: {part} does not work", text)
        else:
            self._troubles.pop(part, None)
            complaint.over(f"voice: {part} works again")
        self._changed()

    def _look(self) -> None:
        """Says whether a worker is needed."""
        if self._unfinished or self._attached or (self._microphone and self._button):
            self._wanted.set()
            self._unwanted.clear()
        else:
            self._wanted.clear()
            self._unwanted.set()

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def pcm_name(audio_device: str) -> str:
    """ALSA's name of what libmpv calls `audio_device`; the default where that is libmpv's own choice."""
    backend, _, name = audio_device.partition("/")
    return name if backend == "alsa" and name else "default"
