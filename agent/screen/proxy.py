"""A screen as the daemon sees it: a stage, and the worker that shows what the stage says."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from agent.screen.messages import (
    FROM_WORKER,
    UNPLAYABLE,
    Down,
    Ended,
    Failed,
    Notice,
    Probe,
    Progress,
    Ready,
    Scene,
    Screenshot,
    Started,
)
from agent.stage.stage import Stage
from agent.system.child import Child
from agent.system.worker import HUNG, Worker, WorkerGoneError, WorkerTimers

log = logging.getLogger(__name__)

TITLES_KEPT = 16
DEADLY_KEPT = 16


class UnplayableFileError(Exception):
    """A file cannot be shown, for a fault of its own; str() says why."""


@dataclass(frozen=True, slots=True)
class ScreenTimers:
    """Seconds; design, section 1, and the settling of flapping outputs."""

    ready_s: float = 10.0
    """From the start of the worker to its first picture."""
    restart_s: float = 0.1
    """Before the first restart after a run that had presented pictures."""
    restart_longest_s: float = 2.0
    """Between two tries while the output does not open."""
    blamed_s: float = 60.0
    """A worker that dies this soon after an item came on has that item to blame."""
    worker: WorkerTimers = field(default_factory=WorkerTimers)


class Outputs(Protocol):
    """What is known about the connectors of the box (`agent.hardware.displays`)."""

    def usable(self, output: str) -> tuple[bool, str]:
        """Whether a picture on `output` could be seen, else why not."""

    def fingerprint(self, output: str) -> str:
        """Changes when another display, or the same with other modes, is connected."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """`callback` is called after each change of any connector."""


class Screen:
    """One output: keeps a worker running on it and brings the stage's scene there.

    `on_hang` is called when the worker was ended because it no longer answered, `on_stuck` when it survived that.
    `arguments` are the worker's command line; `spare` is one that has been started without them. After every change to the stage
    `refresh` must be called.
    """

    def __init__(
        self,
        name: str,
        output: str,
        arguments: Sequence[str],
        outputs: Outputs,
        *,
        on_stuck: Callable[[], None] | None = None,
        on_hang: Callable[[], None] | None = None,
        spare: Child | None = None,
        timers: ScreenTimers = ScreenTimers(),
    ) -> None:
        self.name = name
        self.stage = Stage()
        self.up = False
        self.cause = "starting"
        """Why it is down, in words."""
        self.size: tuple[int, int] | None = None
        """Pixels of the upright picture, as last known."""
        self.restarts = 0
        self.since = time.time()
        """Wall clock of the last change of what is on."""
        self._output = output
        self._arguments = arguments
        self._outputs = outputs
        self._on_stuck = on_stuck
        self._on_hang = on_hang
        self._spare = spare
        self._timers = timers
        self._worker: Worker | None = None
        self._sent: Scene | None = None
        self._on_screen: int | None = None
        """Token of the shot that was the last to start on this run's worker."""
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []
        self._settled = asyncio.Event()
        self._ready = asyncio.Event()
        self._outputs_changed = asyncio.Event()
        self._down_reason = ""
        self._on_since = 0.0
        self._titles: dict[int, str] = {}
        self._deaths: dict[str, int] = {}
        self._probe_turn = asyncio.Lock()
        self._probing = ""
        """The file that is being tried, or that was when the worker went."""
        self._deadly: dict[str, int] = {}
        """How often the worker died of trying a file."""
        self._complaints: collections.deque[tuple[str, str]] = collections.deque(maxlen=64)
        self._announced: collections.deque[str] = collections.deque(maxlen=256)
        outputs.on_change(self._outputs_changed.set)

    @property
    def showing(self) -> bool:
        """Whether an item has come on since the screen is up."""
        return self.up and self._on_screen is not None

    def on_change(self, callback: Callable[[], None]) -> None:
        """`callback` is called after each change of what is on or of the screen's state."""
        self._listeners.append(callback)

    def off_change(self, callback: Callable[[], None]) -> None:
        """Undoes `on_change`."""
        self._listeners.remove(callback)

    async def settled(self) -> None:
        """Returns once the screen has presented a picture or is known to be down, with its cause."""
        await self._settled.wait()

    def refresh(self) -> None:
        """Brings the stage's present scene to the worker and sets the timer for its next deadline."""
        now = self._now()
        scene = self.stage.scene(now)
        if self._sent is not None and scene.shot and self._sent.shot and scene.shot.token == self._sent.shot.token:
            scene = replace(scene, shot=replace(scene.shot, start_s=self._sent.shot.start_s))
        if scene != self._sent and self._worker is not None:
            if self._sent is None or _token(scene) != _token(self._sent):
                self.since = time.time()
                self._on_since = now
            self._sent = scene
            self._keep_titles(scene)
            self._worker.send(scene)
        if self._on_screen is not None and _token(scene) == self._on_screen:
            # What never left the screen while something else was wanted does not start a second time.
            self.stage.started(self._on_screen, now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.stage.deadline(now)
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    async def screenshot(self, path: Path, deadline_s: float = 10.0) -> None:
        """Writes what is on the screen, overlays included, to `path` (.png or .jpg).

        Raises RuntimeError with a sentence when there is no picture to take.
        """
        if self._worker is None or not self.up:
            raise RuntimeError(f"screen {self.name} is down: {self.cause}")
        try:
            await self._worker.request(Screenshot(str(path)), deadline_s)
        except TimeoutError:
            raise RuntimeError(f"screen {self.name} did not answer within {deadline_s:g} s") from None
        except Exception as error:
            raise RuntimeError(f"no screenshot of screen {self.name}: {error}") from error

    async def probe(self, path: Path, kind: Literal["image", "video"] = "video", deadline_s: float = 30.0) -> None:
        """Opens a file as media, up to its first frame, without showing it; what is on goes on undisturbed.

        Raises UnplayableFileError; RuntimeError with a sentence when it could not be found out.
        """
        name = str(path)
        async with self._probe_turn:
            if self._deadly.get(name, 0) >= 2:
                del self._deadly[name]
                raise UnplayableFileError("it killed the player twice")
            if self._worker is None or not self.up:
                raise RuntimeError(f"screen {self.name} is down: {self.cause}")
            self._probing, blamed = name, False
            try:
                await self._worker.request(Probe(name, kind), deadline_s)
            except TimeoutError:
                raise RuntimeError(f"screen {self.name} did not answer within {deadline_s:g} s") from None
            except (WorkerGoneError, ConnectionError) as error:
                blamed = True
                raise RuntimeError(f"screen {self.name} went down while it tried a file: {error}") from error
            except RuntimeError as error:
                if str(error).startswith(UNPLAYABLE):
                    raise UnplayableFileError(str(error).removeprefix(UNPLAYABLE)) from None
                raise RuntimeError(f"screen {self.name} could not try a file: {error}") from None
            finally:
                self._probing = name if blamed else ""

    async def run(self) -> None:
        """Keeps the screen running for ever."""
        pause_s = 0.0
        try:
            while True:
                await self._wait_for_output(pause_s)
                started = self._now()
                presented = await self._run_worker()
                lasted_s = self._now() - started
                pause_s = (
                    self._timers.restart_s
                    if presented and lasted_s > self._timers.restart_longest_s
                    else min(self._timers.restart_longest_s, max(self._timers.restart_s, pause_s * 2))
                )
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _wait_for_output(self, pause_s: float) -> None:
        """Waits until a worker may be started: no sooner than `pause_s`, except when a connector changes."""
        self._outputs_changed.clear()
        if pause_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._outputs_changed.wait()
        while True:
            self._outputs_changed.clear()
            usable, reason = self._outputs.usable(self._output)
            if usable:
                return
            self._set_down(reason)
            await self._outputs_changed.wait()

    async def _run_worker(self) -> bool:
        """One run of the worker; whether it presented pictures."""
        self._ready.clear()
        self._down_reason = ""
        self._sent = self._on_screen = None
        self._probing = ""
        spare, self._spare = self._spare, None
        worker = self._worker = Worker(
            f"screen {self.name}",
            "agent.screen.worker",
            self._arguments,
            expected=FROM_WORKER,
            on_message=self._on_message,
            on_open=self._begin,
            on_stuck=self._on_stuck,
            spare=spare,
            timers=self._timers.worker,
        )
        fingerprint = self._outputs.fingerprint(self._output)
        running = asyncio.create_task(worker.run(), name=f"screen {self.name}: worker")
        watching = asyncio.create_task(self._watch(fingerprint), name=f"screen {self.name}: watches its output")
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._worker = None
            presented = self._ready.is_set()
            died = running.done() and not self._down_reason
            for task in (running, watching):
                task.cancel()
            await asyncio.wait({running, watching})
            self._on_screen = None
            self.stage.down(self._now())
            self.refresh()
        if running.cancelled():
            self._set_down(watching.result())
        else:
            how = running.result()
            if how.startswith(HUNG) and self._on_hang is not None:
                self._on_hang()
            if died and presented:
                self._blame(how)
            self._set_down(self._down_reason or f"the player {how}", quiet=presented and died)
        self.restarts += presented
        return presented

    async def _watch(self, fingerprint: str) -> str:
        """Returns why the output must be reopened."""
        try:
            async with asyncio.timeout(self._timers.ready_s):
                await self._ready.wait()
        except TimeoutError:
            return f"no picture within {self._timers.ready_s:g} s"
        while True:
            self._outputs_changed.clear()
            usable, reason = self._outputs.usable(self._output)
            if not usable:
                return reason
            if self._outputs.fingerprint(self._output) != fingerprint:
                return "another display was connected"
            await self._outputs_changed.wait()

    def _begin(self) -> None:
        """The worker can be spoken to; what was said before was said to nobody."""
        self._sent = None
        self.refresh()

    def _on_message(self, message: Any) -> None:
        now = self._now()
        match message:
            case Ready():
                self._set_up(message)
            case Started(token=token):
                self._on_since = now
                self._on_screen = token
                self._announce(self._title(token), message)
                self.stage.started(token, now, message.duration_s)
            case Ended(token=token):
                self.stage.ended(token, now)
            case Failed(token=token, reason=reason):
                self._complain(self._title(token), reason)
                self.stage.failed(token, now)
            case Progress(token=token, position_s=position_s):
                self.stage.progress(token, position_s, now)
                return
            case Down(reason=reason):
                self._down_reason = reason
            case Notice(level=level, text=text):
                log.log(logging.WARNING if level == "warning" else logging.INFO, "%s screen=%s", text, self.name)
                return
        self.refresh()
        self._changed()

    def _set_up(self, ready: Ready) -> None:
        self.size = (ready.width, ready.height)
        if not self.up:
            log.info("screen is up screen=%s size=%dx%d vo=%s", self.name, ready.width, ready.height, ready.vo)
        self.up = True
        self.cause = ""
        self._ready.set()
        self._settled.set()
        self.stage.up(self._now())

    def _set_down(self, cause: str, *, quiet: bool = False) -> None:
        if self.up or cause != self.cause:
            log.log(logging.INFO if quiet else logging.WARNING, "screen is down screen=%s cause=%r", self.name, cause)
        self.up = False
        self.cause = cause
        self._settled.set()
        self._changed()

    def _blame(self, how: str) -> None:
        """Counts what the worker died of; an item that killed it twice is set aside."""
        if self._probing:
            self._deadly[self._probing] = self._deadly.pop(self._probing, 0) + 1
            while len(self._deadly) > DEADLY_KEPT:
                del self._deadly[next(iter(self._deadly))]
            log.warning("the player died of a file it tried and is started again screen=%s how=%r", self.name, how)
            return
        shot = self._sent.shot if self._sent else None
        if shot is None or self._now() - self._on_since > self._timers.blamed_s:
            log.warning("the player died and is started again screen=%s how=%r", self.name, how)
            self._deaths.clear()
            return
        deaths = self._deaths.get(shot.path, 0) + 1
        self._deaths = {shot.path: deaths}
        log.warning(
            "the player died and is started again screen=%s how=%r title=%r deaths=%d", self.name, how, shot.title, deaths
        )
        if deaths >= 2:
            log.warning("set aside: it killed the player twice screen=%s title=%r", self.name, shot.title)
            self._deaths.clear()
            self.stage.failed(shot.token, self._now())

    def _announce(self, title: str, started: Started) -> None:
        """A short playlist would fill the log within days: what comes round again is said at DEBUG."""
        level = logging.DEBUG if title in self._announced else logging.INFO
        if level == logging.INFO:
            self._announced.append(title)
        log.log(level, "on screen screen=%s title=%r shot=%d hwdec=%s", self.name, title, started.token, started.hwdec)

    def _complain(self, title: str, reason: str) -> None:
        level = logging.DEBUG if (title, reason) in self._complaints else logging.WARNING
        self._complaints.append((title, reason))
        log.log(level, "cannot be shown; skipped screen=%s title=%r reason=%s", self.name, title, reason)

    def _title(self, token: int) -> str:
        return self._titles.get(token, "")

    def _keep_titles(self, scene: Scene) -> None:
        """The worker may speak of a shot that the scene has left already."""
        for shot in (scene.shot, scene.upcoming):
            if shot is not None:
                self._titles[shot.token] = shot.title
        while len(self._titles) > TITLES_KEPT:
            del self._titles[next(iter(self._titles))]

    def _tick(self) -> None:
        self._timer = None
        self.stage.tick(self._now())
        self.refresh()
        self._changed()

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _token(scene: Scene) -> int | None:
    return scene.shot.token if scene.shot else None
