"""Images as files in memory, for the screen's process to read: at most a handful of each link at any time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from agent.system.logs import Trouble

log = logging.getLogger(__name__)

LARGEST_BYTES = 2_000_000
RETIRED = 3
"""So many images that are no longer needed are kept a while: the screen may be about to look at one."""

_ENDINGS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda start: start[:4] == b"RIFF" and start[8:12] == b"WEBP", "webp"),
    (lambda start: start.startswith(b"\x89PNG\r\n\x1a\n"), "png"),
    (lambda start: start.startswith(b"\xff\xd8\xff"), "jpg"),
    (lambda start: start[:6] in (b"GIF87a", b"GIF89a"), "gif"),
)
_last_numbers: dict[Path, int] = {}


def ending_of(data: bytes) -> str | None:
    """What the file of this image should be called behind the dot; None if it is no image that is shown here."""
    return next((ending for fits, ending in _ENDINGS if fits(data[:16])), None)


class FeedFiles:
    """The images of one link, numbered in the order they came for as long as the process lives.

    `folder` is this link's own. All writing and removing is done by one thread, in order.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed")
        self._kept: dict[int, Path] = {}
        self._retired: list[int] = []
        self._removing = Trouble(log)

    async def open(self) -> None:
        """Removes what an earlier process left there; the first link of this process does that."""
        if self._folder not in _last_numbers:
            _last_numbers[self._folder] = 0
            await self._call(self._sweep)

    @property
    def next_number(self) -> int:
        """What the next image will have."""
        return _last_numbers.get(self._folder, 0) + 1

    def number(self) -> int:
        """The number of an image that has just come."""
        _last_numbers[self._folder] = number = self.next_number
        return number

    async def write(self, number: int, data: bytes, ending: str) -> Path:
        """Keeps an image. Raises OSError."""
        path = self._folder / f"{number}.{ending}"
        try:
            await self._call(lambda: self._write(path, data))
        except BaseException:
            self._unlink(path)
            raise
        self._kept[number] = path
        return path

    def keep(self, needed: Collection[int]) -> None:
        """These images are still needed; the others are not, but for the few that came off last."""
        self._retired = [number for number in self._retired if number not in needed]
        self._retired += (number for number in self._kept if number not in needed and number not in self._retired)
        while len(self._retired) > RETIRED:
            self._unlink(self._kept.pop(self._retired.pop(0)))

    def close(self) -> None:
        """Removes everything."""
        for path in self._kept.values():
            self._unlink(path)
        self._kept.clear()
        self._retired.clear()
        self._thread.shutdown(wait=False)

    def _unlink(self, path: Path) -> None:
        self._thread.submit(path.unlink, missing_ok=True).add_done_callback(self._removed)

    def _removed(self, outcome: Future[None]) -> None:
        error = outcome.exception()
        if error is not None:
            words = getattr(error, "strerror", None) or type(error).__name__
            self._removing.is_("image cannot be removed", words, folder=self._folder)
        else:
            self._removing.over("images can be removed again")

    def _sweep(self) -> None:
        try:
            left = list(self._folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("images of an earlier run cannot be looked for folder=%s error=%s", self._folder, error.strerror)
            return
        for path in left:
            try:
                path.unlink()
            except OSError as error:
                self._removing.is_("image of an earlier run cannot be removed", error.strerror, folder=self._folder)

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(data)
        except OSError:
            path.unlink(missing_ok=True)
            raise

    async def _call(self, work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)
