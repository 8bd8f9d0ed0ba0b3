"""Whether a file can be shown, and in which form: looked at once, before it comes near the screen."""

from __future__ import annotations

import asyncio
import collections
import logging
import os
import stat
from dataclasses import dataclass
from typing import Any

from agent.screen import decoders, images
from agent.screen.decoders import Board
from agent.screen.messages import Shot
from agent.screen.pictures import Memory, Pictures
from agent.screen.player import EndReached, Event, FileEnded, FileStarted, FrameShown, Player

log = logging.getLogger(__name__)

REMEMBERED = 4096
SECOND_FRAME_S = 2.0
"""A film whose second frame takes longer passes for one all the same."""
_SAME_S = 1e-5
"""Positions are told in microseconds, and as they are."""
_PROBE_OPTIONS = {
    "vo": "null",
    "ao": "null",
    "aid": "no",
    "hwdec": "no",
    "pause": "yes",
    "image-display-duration": "0",
    "speed": "100",
    "vd-lavc-threads": "1",
    "demuxer-readahead-secs": "0",
    "demuxer-max-bytes": "8MiB",
}


class UnplayableError(Exception):
    """The file cannot be shown; str() says why. `temporary`: not for a fault of its own, so that it may be tried again."""

    def __init__(self, sentence: str, *, temporary: bool = False) -> None:
        super().__init__(sentence)
        self.temporary = temporary


@dataclass(frozen=True, slots=True)
class Source:
    """What the player is given for a file."""

    path: str
    codec: str
    width: int
    height: int
    container: str = ""
    """The demuxer to use, for files that are hard to tell from their beginning; empty: found out."""
    hwdec: str = "no"
    shrink: tuple[int, int] | None = None
    """Size a video has to be scaled to because the GPU takes none larger."""
    cycle_s: float | None = None
    """One round of an animation, where that is known."""
    memory: Memory | None = None
    """What is behind `path` and gone when no source refers to it any more; None: a file with a name."""


class Files:
    """Verdicts on files, remembered while a file stays as it is.

    A second core without any output decodes the first frame, so that the one on the screen only ever gets what it can show.
    """

    def __init__(self, board: Board, hwdec: str, deadline_s: float) -> None:
        self.screen_px = board.texture_px
        """Longest side of the screen: a picture needs no more."""
        self._board = board
        self._hwdec = hwdec
        self._deadline_s = deadline_s
        self._verdicts: collections.OrderedDict[tuple[object, ...], Source | str] = collections.OrderedDict()
        self._probe: _Probe | None = None
        self._pictures = Pictures()
        self._lock = asyncio.Lock()
        self._beside = asyncio.Lock()

    async def prepare(self, shot: Shot) -> Source:
        """The form in which `shot` can be shown. Raises UnplayableError."""
        if not shot.path.startswith("/"):
            raise UnplayableError("not an absolute path")
        try:
            status = os.stat(shot.path)  # noqa: PTH116 - microseconds
        except (OSError, ValueError) as error:
            raise UnplayableError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if not stat.S_ISREG(status.st_mode):
            raise UnplayableError("not a regular file")
        if shot.pixelated:
            return await self._pixels(shot.path)
        key = (shot.path, shot.kind, status.st_ino, status.st_size, status.st_mtime_ns)
        async with self._lock:
            verdict = self._verdicts.get(key)
            if verdict is None:
                try:
                    verdict = await self._look(shot)
                except UnplayableError as error:
                    if error.temporary:
                        raise
                    verdict = str(error)
                self._verdicts[key] = verdict
                while len(self._verdicts) > REMEMBERED:
                    self._verdicts.popitem(last=False)
        if isinstance(verdict, str):
            raise UnplayableError(verdict)
        return verdict

    async def probe(self, shot: Shot) -> None:
        """Whether `shot` can be shown, found out by a core of its own: no other file waits for it. Raises UnplayableError."""
        async with self._beside:
            others = Files(self._board, self._hwdec, self._deadline_s)
            try:
                await others.prepare(shot)
            finally:
                others.close()
                self._verdicts.update(others._verdicts)

    def close(self) -> None:
        """Ends the second core and the process that decodes pictures."""
        self._pictures.close()
        if self._probe is not None:
            self._probe.player.abandon()
            self._probe = None

    async def _pixels(self, path: str) -> Source:
        limit_px = self._board.texture_px
        try:
            made = await self._pictures.prepare(path, min(self.screen_px, limit_px), limit_px)
        except images.ImageError as error:
            raise UnplayableError(str(error), temporary=error.temporary) from None
        return Source(made.memory.path, "png", made.width, made.height, made.container, cycle_s=made.cycle_s, memory=made.memory)

    async def _look(self, shot: Shot) -> Source:
        if shot.kind == "image":
            return await self._look_at_image(shot.path)
        codec, width, height = await self._first_frame(shot.path, "", film=True)
        shrink = None
        if max(width, height) > self._board.texture_px:
            factor = self._board.texture_px / max(width, height)
            shrink = (max(2, int(width * factor) & ~1), max(2, int(height * factor) & ~1))
        return Source(shot.path, codec, width, height, hwdec=decoders.choose(self._hwdec, codec, self._board), shrink=shrink)

    async def _look_at_image(self, original: str) -> Source:
        limit_px = self._board.texture_px
        try:
            path, container = await images.fitting(original, limit_px)
            codec, width, height = await self._first_frame(path, container)
            if max(width, height) > limit_px:
                path, container = await images.convert(original, limit_px, "png")
                codec, width, height = await self._first_frame(path, container)
        except images.ImageError as error:
            raise UnplayableError(str(error), temporary=error.temporary) from None
        return Source(path, codec, width, height, container)

    async def _first_frame(self, path: str, container: str, *, film: bool = False) -> tuple[str, int, int]:
        if self._probe is None:
            self._probe = _Probe()
        probe = self._probe
        try:
            async with asyncio.timeout(self._deadline_s):
                return await probe.first_frame(path, container, film=film)
        except TimeoutError:
            # It may hang in the kernel: the next file gets a core of its own.
            self._probe = None
            probe.player.abandon()
            raise UnplayableError(f"no picture within {self._deadline_s:g} s") from None


class _Probe:
    def __init__(self) -> None:
        self.player = Player(_PROBE_OPTIONS, self._on_event)
        self._current = 0
        self._wanted = 0
        self._answer: asyncio.Future[str] | None = None
        self._moves: asyncio.Future[bool] | None = None
        self._position_s: float | None = None
        self.player.observe("time-pos", self._moved)

    async def first_frame(self, path: str, container: str, *, film: bool) -> tuple[str, int, int]:
        self.player.forget_complaints()
        self._wanted = 0
        self._answer = asyncio.get_running_loop().create_future()
        options = {"demuxer-lavf-format": container} if container else {}
        self.player.load(path, "replace", options, self._entered)
        try:
            error = await self._answer
            if error:
                raise UnplayableError(error)
            codec, width, height = await self.player.get("video-format", "width", "height")
            if not (width.isdigit() and height.isdigit()):
                raise UnplayableError("has no picture")
            if film and not await self._is_film():
                raise UnplayableError("is a still picture, not a film")
            return codec, int(width), int(height)
        finally:
            self._answer = self._moves = None
            self.player.post("stop")
            self.player.set("pause", "yes")

    async def _is_film(self) -> bool:
        """Whether something comes after the first frame: another one, or sound."""
        position_s, *tracks = await self.player.get("time-pos", "track-list")
        if not position_s or any('"type":"audio"' in text for text in tracks):
            return True
        self._position_s = float(position_s)
        self._moves = asyncio.get_running_loop().create_future()
        self.player.post("frame-step")
        try:
            async with asyncio.timeout(SECOND_FRAME_S):
                return await self._moves
        except TimeoutError:
            return True

    def _moved(self, position_s: Any) -> None:
        before_s = self._position_s
        if position_s is not None and before_s is not None and abs(float(position_s) - before_s) > _SAME_S:
            self._find(moves=True)

    def _find(self, *, moves: bool) -> None:
        if self._moves is not None and not self._moves.done():
            self._moves.set_result(moves)

    def _entered(self, entry: int) -> None:
        self._wanted = entry

    def _on_event(self, event: Event) -> None:
        match event:
            case FileStarted(entry):
                self._current = entry
            case FrameShown() if self._current == self._wanted:
                self._resolve("")
            case EndReached():
                self._find(moves=False)
            case FileEnded(entry, _, error) if entry == self._wanted:
                self._resolve(f"cannot be decoded: {error or 'ends before its first frame'}")
            case _:
                pass

    def _resolve(self, error: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(error)
