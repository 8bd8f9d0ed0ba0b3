"""One libmpv core: commands in, events out, both on the event loop's thread and without blocking it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import mpv

from agent.screen import compat

log = logging.getLogger(__name__)

FORMATS = (
    "mov,matroska,mpegts,mpeg,mpegvideo,avi,flv,asf,ogg,ivf,obu,h264,hevc,m4v,mjpeg,mxf,nut,"
    "gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,j2k_pipe,pgm_pipe,ppm_pipe,qoi_pipe"
)
"""Containers that hold media and nothing that refers to other files."""
PLAYER_ERRORS = (OSError, RuntimeError, ValueError, SystemError, TypeError, AttributeError, MemoryError)
"""What a refused command raises."""
MAX_PIXELS = 134_217_728
"""A larger frame is refused by the decoder: 16k x 8k."""
LINES_KEPT = 3

HARDENED = {
    "config": "no",
    "load-scripts": "no",
    "ytdl": "no",
    "osc": "no",
    "osd-level": "0",
    "input-default-bindings": "no",
    "input-builtin-bindings": "no",
    "input-vo-keyboard": "no",
    "input-cursor": "no",
    "resume-playback": "no",
    "access-references": "no",
    "demuxer": "lavf",
    "demuxer-lavf-o": f"protocol_whitelist=[file],format_whitelist=%{len(FORMATS)}%{FORMATS}",
    "vd-lavc-o": f"max_pixels={MAX_PIXELS}",
    "sub-auto": "no",
    "audio-file-auto": "no",
    "cover-art-auto": "no",
    "sid": "no",
    "idle": "yes",
    "image-display-duration": "inf",
    "keep-open": "yes",
    "keep-open-pause": "no",
}
"""A media file can be anybody's: nothing is read but the file itself, and nothing beside it."""


ENDLESS = {"demuxer-lavf-o": HARDENED["demuxer-lavf-o"] + ",ignore_loop=0", "demuxer-lavf-probe-info": "no"}
"""Options for an APNG that says itself that it has no end: libavformat goes round in it, which costs no time, as beginning anew
does. Its guess at a frame rate would give the gap between two rounds a duration."""


@dataclass(frozen=True, slots=True)
class FileStarted:
    """The player turned to this entry of its list."""

    entry: int


@dataclass(frozen=True, slots=True)
class FrameShown:
    """A first frame after a load, a seek or a loop is on the screen; of the entry that started last."""


@dataclass(frozen=True, slots=True)
class FileEnded:
    """The player left this entry: at its natural end, on command, or with an error."""

    entry: int
    natural: bool
    error: str


@dataclass(frozen=True, slots=True)
class EndReached:
    """The last entry of the list came to its end and its last frame stands."""


@dataclass(frozen=True, slots=True)
class Resized:
    """The window or the mode has another size now."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Said:
    """A script sent this message."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """The core has ended."""


Event = FileStarted | FrameShown | FileEnded | EndReached | Resized | Said | Gone


class Player:
    """A libmpv core with `options` beside the hardened ones.

    `on_event` is called in the loop's thread. Nothing here blocks, whatever state the core is in, except `close`.
    Raises RuntimeError or an AttributeError of libmpv if an option is refused.
    """

    def __init__(self, options: Mapping[str, str], on_event: Callable[[Event], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._lines: dict[str, None] = {}
        self._size = (0, 0)
        self._loads = 0
        self._held: list[Event] = []
        merged = {**HARDENED, **compat.start_options(), **options}
        self.is_plain = merged.get("gpu-dumb-mode") == "yes"
        """Draws without intermediate buffers, see `compat.software_gl_options`."""
        self._mpv = mpv.MPV(log_handler=self._note, loglevel="warn", **merged)
        self._mpv.register_event_callback(self._event)
        self._mpv.observe_property("eof-reached", self._eof)
        if options.get("vo") != "null":
            self._mpv.observe_property("osd-dimensions", self._dimensions)

    @property
    def complaints(self) -> str:
        """The first errors libmpv wrote since they were forgotten, in one line."""
        return "; ".join(self._lines)

    def forget_complaints(self) -> None:
        """Empties `complaints`."""
        self._lines.clear()

    def post(self, *words: str | float, then: Callable[[Any], None] | None = None) -> None:
        """Sends a command; `then` gets its result, in the loop's thread and in order with the events. A failure is logged."""

        def done(future: Future[Any]) -> None:
            error = future.exception()
            if error is not None:
                log.debug("player refused a command command=%s error=%s", " ".join(map(str, words))[:200], error)
            elif then is not None:
                self._call(then, future.result())

        self._send(words).add_done_callback(done)

    async def command(self, *words: str | float) -> Any:
        """Sends a command and waits for its result. Raises what libmpv raises."""
        # Shielded: libmpv's binding may fail to take back a command that is being answered.
        return await asyncio.shield(asyncio.wrap_future(self._send(words)))

    async def get(self, *names: str) -> list[str]:
        """Values of properties, raw; empty where there is none."""
        text = await self.command("expand-text", "\x1f".join(f"${{={name}:}}" for name in names))
        return str(text).split("\x1f")

    def set(self, name: str, value: str | float) -> None:
        """Sets a property."""
        self.post("set", name, value)

    def observe(self, name: str, then: Callable[[Any], None]) -> None:
        """From now on `then` gets the value of a property after each change, in the loop's thread; None: there is none."""
        self._mpv.observe_property(name, lambda _, value: self._call(then, value))

    def load(self, path: str, mode: str, options: Mapping[str, str], then: Callable[[int], None]) -> None:
        """Loads a file over the shown one (`replace`) or after it (`append`).

        `then` gets the number of its entry, before any event about it: libmpv's answer may come after those.
        """

        def answered(future: Future[Any]) -> None:
            error = future.exception()
            if error is not None:
                log.debug("player refused to load a file path=%s error=%s", path, error)
            self._call(self._loaded, None if error else int(future.result()["playlist_entry_id"]), then)

        self._loads += 1
        self._send(compat.loadfile(path, mode, options)).add_done_callback(answered)

    def close(self) -> None:
        """Ends the core. May block: not for the loop's thread."""
        self._mpv.terminate()

    def abandon(self) -> None:
        """Ends the core when it can, for one that may be stuck."""
        threading.Thread(target=self.close, name="ends a stuck player", daemon=True).start()

    def _send(self, words: tuple[str | float, ...]) -> Future[Any]:
        try:
            future: Future[Any] = self._mpv.command_async(str(words[0]), *map(str, words[1:]))
        except PLAYER_ERRORS as error:
            future = Future()
            future.set_exception(error)
        return future

    def _loaded(self, entry: int | None, then: Callable[[int], None]) -> None:
        self._loads -= 1
        if entry is not None:
            then(entry)
        if self._loads == 0:
            held, self._held = self._held, []
            for event in held:
                self._on_event(event)

    def _deliver(self, event: Event) -> None:
        if self._loads and isinstance(event, (FileStarted, FrameShown, FileEnded, EndReached)):
            self._held.append(event)
        else:
            self._on_event(event)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def _event(self, event: Any) -> None:
        match event.event_id.value:
            case mpv.MpvEventID.START_FILE:
                self._call(self._deliver, FileStarted(int(event.data.playlist_entry_id)))
            case mpv.MpvEventID.PLAYBACK_RESTART:
                self._call(self._deliver, FrameShown())
            case mpv.MpvEventID.END_FILE:
                data = event.data
                error = mpv.ErrorCode.human_readable(data.error) if data.reason == data.ERROR else ""
                self._call(self._deliver, FileEnded(int(data.playlist_entry_id), data.reason == data.EOF, error))
            case mpv.MpvEventID.CLIENT_MESSAGE:
                words = tuple(word.decode(errors="replace") for word in event.data.args)
                self._call(self._deliver, Said(words))
            case mpv.MpvEventID.SHUTDOWN:
                self._call(self._deliver, Gone())

    def _eof(self, _name: str, value: Any) -> None:
        if value:
            self._call(self._deliver, EndReached())

    def _dimensions(self, _name: str, value: Any) -> None:
        size = (int(value["w"]), int(value["h"])) if value else (0, 0)
        if size != self._size and all(size):
            self._size = size
            self._call(self._deliver, Resized(*size))

    def _note(self, level: str, prefix: str, text: str) -> None:
        line = f"{prefix}: {text.strip()}"
        log.debug("player says level=%s %s", level, line)
        if level in ("error", "fatal") and len(self._lines) < LINES_KEPT:
            self._lines[line] = None
