"""Brings the player to the latest scene, from wherever it is, without ever leaving the screen empty.

A file is looked at before it is loaded; it is loaded over the shown one, whose last frame stands until the first new one is
there. The follower of a video is appended to the player's own list early, so that it comes without a gap. Where the two stand
differently on the screen, a snapshot of the old picture covers the change.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.screen import decoders
from agent.screen.curtain import Curtain
from agent.screen.files import Files, Source, UnplayableError
from agent.screen.geometry import Screen
from agent.screen.look import START_OPTIONS, Look, area_of
from agent.screen.loudness import Loudness
from agent.screen.messages import Ended, Failed, Notice, Ready, Scene, Shot, Started
from agent.screen.overlays import SCRIPT, Overlays
from agent.screen.player import Event, Gone, Player, Resized, Said
from agent.screen.progress import ProgressReports
from agent.screen.reel import BLANK, Reel, ReelEvents, Take

log = logging.getLogger(__name__)

IDLE = -1
_FACTS = ("duration", "hwdec-current", "current-vo", "vo-configured", "osd-width", "osd-height")
_NOTHING = Scene()
# A transparent PNG of 16 x 16: shows the background colour, whatever it is, and can be photographed as an idle player cannot.
_BLANK_FILE = (
    "hex://89504e470d0a1a0a0000000d49484452000000100000001008060000001ff3ff61000000124944415478da63601805a360148c02080000"
    "04100001af45882c0000000049454e44ae426082"
)


class OutputLostError(Exception):
    """The output cannot be opened or the player has ended; str() says why."""


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
                **START_OPTIONS,
            },
            self._on_event,
        )
        self._loudness = Loudness(self._player, output_options.get("ao", ""))
        self._overlays = Overlays(self._player, self._screen)
        self._curtain = Curtain(self._player, enabled=vo != "null")
        self._group: asyncio.TaskGroup | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._scene = _NOTHING
        self._program = ""
        """Whose picture is there."""
        self._look = Look()
        events = ReelEvents(self._shown, self._ended, self._left_behind, self._late, self._broken)
        self._reel = Reel(self._player, first_frame_s, _blank(), events)
        self._ready = False
        self._opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moving: tuple[int, asyncio.Task[None]] | None = None
        self._preparing: tuple[int, asyncio.Task[None]] | None = None
        self._failed: collections.deque[int] = collections.deque(maxlen=256)
        self._left: collections.deque[int] = collections.deque(maxlen=32)
        self._progress = ProgressReports(self._player, say)

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
        with contextlib.closing(self._loudness):
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._reel.play(self._reel.present)
                try:
                    async with asyncio.timeout(open_s):
                        await asyncio.wait({self._opening, self._over}, return_when=asyncio.FIRST_COMPLETED)
                        if self._over.done():
                            self._over.result()
                except TimeoutError:
                    raise OutputLostError(self._cause("the output did not open in time")) from None
                self._reconcile()
                await self._over

    def apply(self, scene: Scene) -> None:
        """Takes over a new scene; the picture follows as soon as it can."""
        before, self._scene = self._scene, scene
        if scene.paused != before.paused:
            self._player.set("pause", "yes" if scene.paused else "no")
        self._loudness.apply(scene)
        self._overlays.ticker(scene.ticker)
        self._overlays.strip(scene.strip)
        self._dim()
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
        follower = self._reel.follower
        if shot is not None:
            if shot.token == self._reel.present.shot.token:
                self._stop_moving()
            elif follower is not None and follower.shot.token == shot.token and self._look_of(follower) == self._look:
                self._stop_moving()
                self._stop_preparing()
                self._reel.advance()
            elif self._moving is None or self._moving[0] != shot.token:
                self._move(shot)
        self._adjust()
        self._look_ahead()

    def _adjust(self) -> None:
        """What changes on the shown picture itself."""
        take = self._reel.present
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
            self._play(_blank())
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
            source = await self._look_at(shot)
        except UnplayableError as error:
            self.refuse(shot.token, str(error))
            return
        take = Take(shot, source)
        look = self._look_of(take)
        if shot.fade_in_s > 0:
            self._overlays.close_now()
        elif not self._shut and (look != self._look or shot.enter == "slide"):
            alone = look.background == self._look.background and shot.enter != "slide"
            await self._curtain.draw(
                self._look.background,
                self._overlays.dim_percent,
                self._screen,
                self._overlays.bars,
                sharp=self._look.sharp,
                reach=area_of(take, self._screen) if alone else None,
            )
        self._apply_look(look)
        self._play(take)

    async def _look_at(self, shot: Shot) -> Source:
        if shot.pixelated:
            # Pictures of many sizes follow each other, at moments that are somebody else's choice.
            await self._curtain.load()
        return await self._files.prepare(shot)

    def _play(self, take: Take) -> None:
        self._player.forget_complaints()
        self._reel.play(take)
        self._tick()

    @property
    def _shut(self) -> bool:
        """Whether a fade hides the old picture."""
        old = self._reel.present
        return self._overlays.shut or (old.ended and old.shot.fade_out_s > 0)

    # What comes next

    def _look_ahead(self) -> None:
        scene, present, upcoming = self._scene, self._reel.present, self._scene.upcoming
        on_it = scene.shot is not None and present.shot.token == scene.shot.token and self._moving is None
        follower = self._reel.follower
        if follower is not None and not (on_it and upcoming is not None and upcoming.token == follower.shot.token):
            self._reel.withdraw()
        if upcoming is None or not on_it or upcoming.token in self._failed or upcoming.token == present.shot.token:
            self._stop_preparing()
        elif present.ended:
            self._left.append(present.shot.token)
            self._move(upcoming)
        elif self._reel.follower is None and (self._preparing is None or self._preparing[0] != upcoming.token):
            self._stop_preparing()
            assert self._group is not None
            task = self._group.create_task(self._prepare(upcoming), name=f"prepares shot {upcoming.token}")
            self._preparing = (upcoming.token, task)

    async def _prepare(self, shot: Shot) -> None:
        try:
            source = await self._look_at(shot)
        except UnplayableError as error:
            self.refuse(shot.token, str(error))
            return
        take = Take(shot, source)
        flows = shot.enter != "slide" and shot.fade_in_s <= 0 and self._look_of(take) == self._look
        present = self._reel.present
        if flows and present.shown and not present.ended and self._reel.follower is None and self._moving is None:
            self._reel.append(take)

    def _stop_moving(self) -> None:
        if self._moving is not None:
            task = self._moving[1]
            self._moving = None
            task.cancel()

    def _stop_preparing(self) -> None:
        if self._preparing is not None:
            self._preparing[1].cancel()
            self._preparing = None

    # What the player says

    def _on_event(self, event: Event) -> None:
        match event:
            case Resized(width, height):
                self._resized(width, height)
            case Said(words):
                self._overlays.heard(words)
            case Gone():
                self._end(self._cause("the player has ended"))
            case _:
                self._reel.handle(event)

    def _left_behind(self, take: Take) -> None:
        self._left.append(take.shot.token)

    def _late(self, take: Take) -> None:
        hwdec = take.source.hwdec
        if hwdec == "no":
            self._broken(take, f"no picture within {self._first_frame_s:g} s")
        else:
            self._say(Notice("warning", f"no picture in time, trying without hwdec={hwdec} file={take.shot.path}"))
            self._play(Take(take.shot, replace(take.source, hwdec="no")))

    def _broken(self, take: Take, reason: str) -> None:
        """A file that passed the look at it but is not shown after all: the background colour stands."""
        if take.shot.token == BLANK:
            self._end(self._cause(f"the output does not open: {reason}"))
        else:
            self.refuse(take.shot.token, reason)
            self._play(_blank())
            self._reconcile()

    def _shown(self, take: Take) -> None:
        shot = take.shot
        self._dim()
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
            duration_s = float(duration) if take.timed and duration else take.source.cycle_s
            hwdec = hwdec or "no"
            if take.timed and decoders.explicit(take.source.hwdec) and hwdec == "no":
                self._say(Notice("warning", f"decodes in software codec={take.source.codec} wanted={take.source.hwdec}"))
            self._say(Started(take.shot.token, duration_s, hwdec))
            if take.ended:
                self._say(Ended(take.shot.token))
        self._reconcile()

    def _ended(self, take: Take) -> None:
        if take.announced and take.shot.token >= 0:
            self._say(Ended(take.shot.token))
        self._tick()
        self._look_ahead()

    # Small change

    def _dim(self) -> None:
        """Every program has its own brightness: from one to the other the darker one holds until the new picture is there."""
        present, shot, scene = self._reel.present, self._wanted(), self._scene
        if shot is None or not self._ready or (present.shot.token == shot.token and present.shown):
            self._program = scene.program
        same = scene.program == self._program
        self._overlays.dim(scene.dim_percent if same else max(scene.dim_percent, self._overlays.dim_percent))
        self._overlays.mark(scene.mark and same)

    def _tick(self) -> None:
        self._progress.follow(self._reel.present, paused=self._scene.paused)

    def _look_of(self, take: Take) -> Look:
        return Look.of(take, self._screen, self._scene.background)

    def _apply_look(self, look: Look) -> None:
        look.apply(self._player, self._look)
        self._overlays.background(look.background)
        self._look = look

    def _resized(self, width: int, height: int) -> None:
        self._screen = Screen(width, height, self._screen.rotate)
        self._files.screen_px = max(width, height)
        self._overlays.resized(self._screen)
        if self._ready:
            self._reconcile()

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
            self._over.exception()  # counts as heard: while the output is still opening nobody waits for it yet


def _blank() -> Take:
    return Take(Shot(BLANK, "", "image"), Source(_BLANK_FILE, "png", 16, 16))
