"""Brings the player to the latest scene, from wherever it is, without ever leaving the screen empty.

A file is looked at before it is loaded; it is loaded over the shown one, whose last frame stands until the first new one is
there. The follower of a video is appended to the player's own list early, so that it comes without a gap. Where the two stand
differently on the screen, a snapshot of the old picture covers the change.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from agent.screen import compat, decoders
from agent.screen.ass import Colour
from agent.screen.curtain import Curtain
from agent.screen.files import Files, Source, UnplayableError
from agent.screen.geometry import Screen
from agent.screen.messages import Ended, Failed, Notice, Progress, Ready, Scene, Shot, Started
from agent.screen.overlays import SCRIPT, Overlays
from agent.screen.player import EndReached, Event, FileEnded, FileStarted, FrameShown, Gone, Player, Resized, Said

log = logging.getLogger(__name__)

IDLE = -1
BLANK = -2
PROGRESS_S = 1.0
_FACTS = ("duration", "hwdec-current", "current-vo", "vo-configured", "osd-width", "osd-height")
_NOTHING = Scene()
_MARGINS = ("video-margin-ratio-left", "video-margin-ratio-top", "video-margin-ratio-right", "video-margin-ratio-bottom")
# A transparent PNG of 16 x 16: shows the background colour, whatever it is, and can be photographed as an idle player cannot.
_BLANK_FILE = (
    "hex://89504e470d0a1a0a0000000d49484452000000100000001008060000001ff3ff61000000124944415478da63601805a360148c02080000"
    "04100001af45882c0000000049454e44ae426082"
)


class OutputLostError(Exception):
    """The output cannot be opened or the player has ended; str() says why."""


@dataclass(frozen=True, slots=True)
class Look:
    """What holds for the whole output rather than for one file: changing it moves the picture that is still shown."""

    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    nearest: bool = False
    background: str = "#000000"


@dataclass(slots=True, eq=False)
class Take:
    """A shot that was given to the player."""

    shot: Shot
    source: Source
    entry: int = 0
    shown: bool = False
    announced: bool = False
    ended: bool = False
    closing: bool = False
    deadline: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def timed(self) -> bool:
        """Whether it comes to an end by itself."""
        return self.shot.kind == "video" and not self.shot.loop


class Projector:
    """One output. `say` gets every message for the daemon; call `apply` with each new scene."""

    def __init__(
        self,
        *,
        output_options: dict[str, str],
        vo: str,
        null_size: tuple[int, int],
        rotate: int,
        files: Files,
        idle_image: str,
        first_frame_s: float,
        say: Callable[[Any], None],
    ) -> None:
        self._say = say
        self._files = files
        self._vo = vo
        self._first_frame_s = first_frame_s
        self._idle = Shot(IDLE, idle_image, "image") if idle_image else Shot(BLANK, "", "image")
        self._screen = Screen(*null_size, rotate)
        self._player = Player(
            {
                **output_options,
                "force-window": "yes",
                "video-rotate": str(rotate),
                "scripts": str(SCRIPT),
            },
            self._on_event,
        )
        self._overlays = Overlays(self._player, self._screen)
        self._curtain = Curtain(self._player, enabled=vo != "null")
        self._group: asyncio.TaskGroup | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._scene = _NOTHING
        self._look = Look()
        self._target = self._blank()
        self._queued: Take | None = None
        self._takes: dict[int, Take] = {}
        self._current = 0
        self._ready = False
        self._moving: tuple[int, asyncio.Task[None]] | None = None
        self._preparing: tuple[int, asyncio.Task[None]] | None = None
        self._failed: collections.deque[int] = collections.deque(maxlen=256)
        self._left: collections.deque[int] = collections.deque(maxlen=32)
        self._progress: asyncio.TimerHandle | None = None

    @property
    def player(self) -> Player:
        """The core behind it."""
        return self._player

    @property
    def screen(self) -> Screen:
        """The output's size and turn."""
        return self._screen

    async def run(self, open_s: float) -> None:
        """Opens the output, says Ready and shows scenes until cancelled. Raises OutputLostError."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._apply_look(self._look)
            self._give(self._target, "replace")
            try:
                async with asyncio.timeout(open_s):
                    await self._opened()
            except TimeoutError:
                raise OutputLostError(self._cause("the output did not open in time")) from None
            self._reconcile()
            await self._over

    def apply(self, scene: Scene) -> None:
        """Takes over a new scene; the picture follows as soon as it can."""
        before, self._scene = self._scene, scene
        if scene.paused != before.paused:
            self._player.set("pause", "yes" if scene.paused else "no")
        if scene.volume_percent != before.volume_percent:
            self._player.set("volume", scene.volume_percent)
        if scene.muted != before.muted:
            self._player.set("mute", "yes" if scene.muted else "no")
        if scene.audio_device != before.audio_device:
            self._player.set("audio-device", scene.audio_device or "auto")
        self._overlays.ticker(scene.ticker)
        self._overlays.dim(scene.dim_percent)
        if self._ready:
            self._reconcile()
        elif scene.shot is not None and self._group is not None:
            self._group.create_task(self._warm(scene.shot), name="looks at the first file")

    def refuse(self, token: int, reason: str) -> None:
        """This shot cannot be shown."""
        if token in self._failed:
            return
        self._failed.append(token)
        if token == IDLE:
            self._say(Notice("warning", f"idle image cannot be shown reason={reason}"))
            self._idle = Shot(BLANK, "", "image")
        else:
            self._say(Failed(token, reason))

    async def _warm(self, shot: Shot) -> None:
        try:
            await self._files.prepare(shot)
        except UnplayableError as error:
            log.debug("first file cannot be shown reason=%s", error)

    # Which picture

    def _wanted(self) -> Shot | None:
        """The shot that should be on the screen; None: what is there stays."""
        shot = self._scene.shot or self._idle
        if shot.token in self._failed or shot.token in self._left:
            return None
        return shot

    def _reconcile(self) -> None:
        if not self._ready:
            return
        shot = self._wanted()
        if shot is not None:
            moving = self._moving[0] if self._moving else None
            if shot.token == self._target.shot.token:
                if moving is not None:
                    self._stop_moving()
            elif self._queued is not None and self._queued.shot.token == shot.token and self._look_of(self._queued) == self._look:
                self._stop_moving()
                self._advance()
            elif moving != shot.token:
                self._move(shot)
        self._adjust()
        self._look_ahead()

    def _adjust(self) -> None:
        """What changes on the shown picture itself."""
        take = self._target
        if self._moving is None:
            look = self._look_of(take)
            if look != self._look:
                self._apply_look(look)
        if take.shown and take.shot.kind == "image" and self._scene.shot is not None:
            closing = self._scene.closing and take.shot.token == self._scene.shot.token
            if closing and not take.closing and take.shot.fade_out_s > 0:
                take.closing = True
                self._overlays.close(take.shot.fade_out_s)
            elif take.closing and not closing:
                take.closing = False
                self._overlays.reveal(0.0)
        self._tick()

    def _move(self, shot: Shot) -> None:
        """Shows `shot` as soon as its file has been looked at."""
        assert self._group is not None
        self._stop_moving()
        self._stop_preparing()
        if shot.token == BLANK:
            self._show_blank()
            return
        task = self._group.create_task(self._load(shot), name=f"loads shot {shot.token}")
        self._moving = (shot.token, task)
        task.add_done_callback(self._moved)

    def _moved(self, task: asyncio.Task[None]) -> None:
        if self._moving is not None and self._moving[1] is task:
            self._moving = None
            if not task.cancelled() and task.exception() is None:
                self._reconcile()

    async def _load(self, shot: Shot) -> None:
        try:
            source = await self._files.prepare(shot)
        except UnplayableError as error:
            self.refuse(shot.token, str(error))
            return
        take = Take(shot, source)
        look = self._look_of(take)
        if shot.fade_in_s > 0:
            self._overlays.close_now()
        elif not self._shut and (look != self._look or shot.enter == "slide"):
            await self._curtain.draw(self._look.background, self._scene.dim_percent, self._screen, self._overlays.bar)
        self._apply_look(look)
        self._give(take, "replace")
        self._retarget(take)

    @property
    def _shut(self) -> bool:
        """Whether a fade hides the old picture."""
        return self._overlays.shut or (self._target.ended and self._target.shot.fade_out_s > 0)

    def _show_blank(self) -> None:
        take = self._blank()
        self._give(take, "replace")
        self._retarget(take)

    def _retarget(self, take: Take) -> None:
        self._target = take
        self._queued = None
        self._tick()

    def _advance(self) -> None:
        assert self._queued is not None
        take, self._queued = self._queued, None
        self._player.post("playlist-next", "weak")
        self._target = take
        self._watch(take)
        self._stop_preparing()
        self._tick()

    # What comes next

    def _look_ahead(self) -> None:
        scene, target, upcoming = self._scene, self._target, self._scene.upcoming
        on_it = scene.shot is not None and target.shot.token == scene.shot.token and self._moving is None
        if self._queued is not None and not (on_it and upcoming is not None and upcoming.token == self._queued.shot.token):
            self._player.post("playlist-clear")
            self._queued = None
        if upcoming is None or not on_it or upcoming.token in self._failed or upcoming.token == target.shot.token:
            self._stop_preparing()
            return
        if target.ended:
            self._left.append(target.shot.token)
            self._move(upcoming)
        elif self._queued is None and (self._preparing is None or self._preparing[0] != upcoming.token):
            self._stop_preparing()
            assert self._group is not None
            task = self._group.create_task(self._prepare(upcoming), name=f"prepares shot {upcoming.token}")
            self._preparing = (upcoming.token, task)

    async def _prepare(self, shot: Shot) -> None:
        try:
            source = await self._files.prepare(shot)
        except UnplayableError as error:
            self.refuse(shot.token, str(error))
            return
        take = Take(shot, source)
        flows = shot.enter != "slide" and shot.fade_in_s <= 0 and self._look_of(take) == self._look
        target = self._target
        if flows and target.shown and not target.ended and self._queued is None and self._moving is None:
            self._queued = take
            self._give(take, "append")

    def _stop_moving(self) -> None:
        if self._moving is not None:
            task = self._moving[1]
            self._moving = None
            task.cancel()

    def _stop_preparing(self) -> None:
        if self._preparing is not None:
            self._preparing[1].cancel()
            self._preparing = None

    # The player

    def _give(self, take: Take, mode: str) -> None:
        source, shot = take.source, take.shot
        options = {"hwdec": source.hwdec}
        if source.container:
            options["demuxer-lavf-format"] = source.container
        if shot.kind == "image" or shot.loop:
            options["loop-file"] = "inf"
        elif shot.start_s > 0:
            options["start"] = f"+{shot.start_s:.3f}"
        if source.shrink is not None:
            options["vf"] = "lavfi=[scale={}:{}]".format(*source.shrink)

        def entered(entry: int) -> None:
            take.entry = entry
            self._takes[entry] = take
            for old in list(self._takes)[:-16]:
                del self._takes[old]

        self._player.load(source.path, mode, options, entered)
        if mode == "replace":
            self._watch(take)

    def _watch(self, take: Take) -> None:
        if not self._ready:
            return
        if take.deadline is not None:
            take.deadline.cancel()
        take.deadline = asyncio.get_running_loop().call_later(self._first_frame_s, self._late, take)

    def _late(self, take: Take) -> None:
        if take.shown or take is not self._target:
            return
        if take.source.hwdec != "no":
            self._say(Notice("warning", f"no picture in time, trying without hwdec={take.source.hwdec} file={take.shot.path}"))
            source = take.source
            again = Take(take.shot, replace(source, hwdec="no"))
            self._give(again, "replace")
            self._retarget(again)
        else:
            self._drop(take, f"no picture within {self._first_frame_s:g} s")

    def _drop(self, take: Take, reason: str) -> None:
        """A file that passed the look at it but is not shown after all: the background colour stands."""
        if take.shot.token == BLANK:
            self._end(self._cause(f"the blank picture cannot be shown: {reason}"))
            return
        self.refuse(take.shot.token, reason)
        self._show_blank()
        self._reconcile()

    def _on_event(self, event: Event) -> None:
        match event:
            case FileStarted(entry):
                self._started(entry)
            case FrameShown():
                take = self._takes.get(self._current)
                if take is not None and not take.shown:
                    self._shown(take)
            case FileEnded(entry, natural, error):
                take = self._takes.pop(entry, None)
                if take is not None:
                    self._file_ended(take, natural=natural, error=error)
            case EndReached():
                take = self._target
                if take.shown and take.timed and self._queued is None:
                    self._ended(take)
            case Resized(width, height):
                self._resized(width, height)
            case Said(words):
                self._overlays.heard(words)
            case Gone():
                self._end(self._cause("the player has ended"))

    def _started(self, entry: int) -> None:
        self._current = entry
        take = self._takes.get(entry)
        if take is None or take is self._target or not self._ready:
            return
        # The player went on to a follower that was being withdrawn at that moment.
        self._left.append(self._target.shot.token)
        self._target = take
        self._watch(take)

    def _shown(self, take: Take) -> None:
        take.shown = True
        if take.deadline is not None:
            take.deadline.cancel()
        if take is not self._target:
            return
        shot = take.shot
        self._overlays.reveal(shot.fade_in_s, shot.fade_out_s if take.timed else 0.0)
        if self._curtain.drawn:
            if shot.enter == "slide" and shot.fade_in_s <= 0 and self._group is not None:
                self._curtain.slide_away(self._group)
            else:
                self._curtain.lift()
        self._player.post(
            "expand-text",
            "\x1f".join(f"${{={name}:}}" for name in _FACTS),
            then=lambda text: self._announce(take, str(text).split("\x1f")),
        )

    def _announce(self, take: Take, facts: list[str]) -> None:
        take.announced = True
        duration, hwdec, *output = facts
        if not self._ready:
            self._first(*output)
            return
        if take.shot.token >= 0:
            known = take.timed and duration
            hwdec = hwdec or "no"
            if take.timed and decoders.explicit(take.source.hwdec) and hwdec == "no":
                self._say(Notice("warning", f"decodes in software codec={take.source.codec} wanted={take.source.hwdec}"))
            self._say(Started(take.shot.token, float(duration) if known else None, hwdec))
            if take.ended:
                self._say(Ended(take.shot.token))
        self._reconcile()

    def _file_ended(self, take: Take, *, natural: bool, error: str) -> None:
        if take.deadline is not None:
            take.deadline.cancel()
        if take is not self._target:
            return
        if error or (natural and not take.shown):
            if not self._ready:
                self._end(self._cause(f"the output does not open: {error}"))
            else:
                self._drop(take, f"cannot be played: {error or 'no picture'}")
        elif natural and self._queued is not None:
            follower, self._queued = self._queued, None
            self._left.append(take.shot.token)
            self._target = follower
            self._watch(follower)
            self._ended(take)
        elif natural:
            self._ended(take)

    def _ended(self, take: Take) -> None:
        if take.ended:
            return
        take.ended = True
        if take.announced and take.shot.token >= 0:
            self._say(Ended(take.shot.token))
        self._tick()
        self._look_ahead()

    # Small change

    def _tick(self) -> None:
        """Says Progress once a second while, and only while, a video plays."""
        take = self._target
        playing = take.shown and take.timed and not take.ended and not self._scene.paused
        if not playing and self._progress is not None:
            self._progress.cancel()
            self._progress = None
        elif playing and self._progress is None:
            self._progress = asyncio.get_running_loop().call_later(PROGRESS_S, self._say_progress)

    def _say_progress(self) -> None:
        self._progress = None
        take = self._target

        def told(text: Any) -> None:
            if text and take is self._target and take.announced and not take.ended:
                self._say(Progress(take.shot.token, float(text)))

        self._player.post("expand-text", "${=time-pos:}", then=told)
        self._tick()

    def _look_of(self, take: Take) -> Look:
        rect = self._screen.place(take.shot.rect)
        if take.shot.pixelated:
            rect = self._screen.whole_pixels(rect, take.source.width, take.source.height)
        return Look(self._screen.margins(rect), take.shot.pixelated, Colour.parse(self._scene.background).rgb)

    def _apply_look(self, look: Look) -> None:
        if look.margins != self._look.margins:
            for name, margin in zip(_MARGINS, look.margins, strict=True):
                self._player.set(name, f"{margin:.7f}")
        if look.nearest != self._look.nearest:
            for name, usual in (("scale", "bilinear"), ("dscale", "bilinear"), ("cscale", "bilinear")):
                self._player.set(name, "nearest" if look.nearest else usual)
        self._player.set(compat.background_option(), look.background)
        self._overlays.background(look.background)
        self._look = look

    def _resized(self, width: int, height: int) -> None:
        self._screen = Screen(width, height, self._screen.rotate)
        self._overlays.resized(self._screen)
        if self._ready:
            self._reconcile()

    def _blank(self) -> Take:
        return Take(Shot(BLANK, "", "image"), Source(_BLANK_FILE, "png", 16, 16))

    async def _opened(self) -> None:
        while not self._ready:
            self._opening = asyncio.get_running_loop().create_future()
            done, _ = await asyncio.wait({self._opening, self._over}, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                future.result()

    def _first(self, vo: str, configured: str, width: str, height: str) -> None:
        if vo != self._vo or configured != "yes":
            self._end(self._cause(f"the output does not present: vo={vo or 'none'}"))
            return
        if vo != "null" and width.isdigit() and height.isdigit():
            self._resized(int(width), int(height))
        self._ready = True
        self._say(Ready(*self._screen.upright, vo))
        self._opening.set_result(None)

    def _cause(self, text: str) -> str:
        complaints = self._player.complaints
        return f"{text} ({complaints})" if complaints else text

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_exception(OutputLostError(reason))
