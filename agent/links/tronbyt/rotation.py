"""The images of one server on their way to the screen: kept as files, paced, shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from agent.links.tronbyt.files import LARGEST_BYTES, FeedFiles, ending_of
from agent.links.tronbyt.pacing import Ack, Action, Pacing, Show
from agent.screen.proxy import Screen
from agent.stage.feed import FeedImage, FeedProgram
from agent.system.logs import Trouble

log = logging.getLogger(__name__)


class Rotation:
    """One feed on one screen. `say` is told what to acknowledge, in order; `on_show` is called as an image is put on.

    Nothing is taken in before `open`; after `stop` nothing changes any more, but the picture stays until `leave`.
    """

    def __init__(
        self,
        name: str,
        screen: Screen,
        files: FeedFiles,
        *,
        priority: int,
        say: Callable[[Ack], None],
        on_show: Callable[[], None],
    ) -> None:
        self.changed = asyncio.Event()
        """Set whenever `wants_next` may give another answer."""
        self._name = name
        self._screen = screen
        self._files = files
        self._say = say
        self._on_show = on_show
        self._pacing = Pacing()
        self._program = FeedProgram(name, priority, screen.stage.tokens, on_started=self._on_started, on_failed=self._on_failed)
        self._images: dict[int, FeedImage] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._keeping = Trouble(log)
        self._faults: set[str] = set()
        """Why images could not be shown, one of a few words; each is a warning the first time."""

    async def open(self) -> None:
        """Takes a place on the stage; there is nothing to show yet."""
        await self._files.open()
        self._open = True
        self._screen.stage.put(self._program, self._now())
        self._screen.refresh()

    def stop(self) -> None:
        """The picture that is on stays, and that is all."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> None:
        """Leaves the stage."""
        self._screen.stage.remove(self._program, self._now())
        self._screen.refresh()
        self._files.close()

    @property
    def next_number(self) -> int:
        """The number of the next image."""
        return self._files.next_number

    async def take(self, data: bytes, dwell_s: float) -> None:
        """An image has come. One that cannot be shown has its turn like any other."""
        number = self._files.number()
        ending = ending_of(data)
        if len(data) > LARGEST_BYTES:
            self._complain(f"larger than {LARGEST_BYTES} bytes")
        elif ending is None:
            self._complain("neither WebP, PNG, JPEG nor GIF")
        else:
            await self._keep(number, data, ending)
        self._do(self._pacing.received(number, dwell_s, self._now(), showable=number in self._images))

    def immediate(self) -> None:
        """The newest image is to be shown now."""
        self._do(self._pacing.immediate(self._now()))

    def dim(self, percent: float) -> None:
        """How much darker than the device's brightness the feed is, 0-100; at once."""
        self._program.dim_percent = percent
        self._screen.refresh()

    def mark(self, marked: bool) -> None:
        """Whether a small mark is on the picture."""
        self._program.mark = marked
        self._screen.refresh()

    def clear(self) -> None:
        """Gives the screen away; the next image takes it again."""
        self._pacing.clear()
        self._program.clear(self._now())
        self._do([])
        self._screen.refresh()

    def wants_next(self, lead_s: float) -> float | None:
        """When the next image should be asked for (loop time), so that it is there `lead_s` before its turn; None: not now."""
        return self._pacing.pull_at(lead_s, self._now())

    # Inside

    async def _keep(self, number: int, data: bytes, ending: str) -> None:
        try:
            path = await self._files.write(number, data, ending)
        except OSError as error:
            self._keeping.is_("image cannot be kept, the picture stays", error.strerror, link=self._name)
        else:
            self._keeping.over(f"images can be kept again link={self._name}")
            self._images[number] = FeedImage(number, str(path), self._name)

    def _complain(self, fault: str) -> None:
        level = logging.DEBUG if fault in self._faults else logging.WARNING
        self._faults.add(fault)
        log.log(level, "image cannot be shown, the picture stays link=%s reason=%s", self._name, fault)

    def _on_started(self, number: int, cycle_s: float | None) -> None:
        self._do(self._pacing.started(number, cycle_s, self._now()))

    def _on_failed(self, number: int) -> None:
        self._do(self._pacing.failed(number, self._now()))

    def _tick(self) -> None:
        self._timer = None
        self._do(self._pacing.tick(self._now()))

    def _do(self, actions: Sequence[Action]) -> None:
        """Carries out what was decided, then sees to what follows from it."""
        if not self._open:
            return
        shows = False
        for action in actions:
            match action:
                case Ack():
                    log.debug("image %s link=%s number=%d", action.kind, self._name, action.number)
                    self._say(action)
                case Show(number=number):
                    self._program.show(self._images[number], self._now())
                    shows = True
        slot = self._pacing.slot
        prepared = self._images.get(slot) if slot is not None else None
        self._program.prepare(prepared)
        if shows:
            self._on_show()
        needed = self._pacing.needed | self._program.needed
        self._images = {number: image for number, image in self._images.items() if number in needed}
        self._files.keep(needed)
        if self._timer is not None:
            self._timer.cancel()
        due = self._pacing.deadline()
        self._timer = None if due is None else asyncio.get_running_loop().call_at(due, self._tick)
        self.changed.set()
        if shows or prepared is not None:
            self._screen.refresh()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
