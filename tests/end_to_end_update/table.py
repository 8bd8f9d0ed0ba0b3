"""The table of scripts/update-table: every point of a power cut and every bad version, with where the box ended."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.display import XServer
from tests.end_to_end_update import quick
from tests.end_to_end_update.estate import SIZE, prepare
from tests.end_to_end_update.trials import try_out
from tests.end_to_end_update.versions import BAD_VERSIONS, BadVersion
from tests.update import bundles
from tests.update.bundles import NEXT, RUNNING

BOXES = 3
"""At a time; mostly they wait."""
LIMIT_S = 1200.0
VERSION_S = 180.0
HEAD = ("what is done", "what happens", "starts", "ends on", "")
WIDTHS = (36, 46, 8, 8)


@dataclass(frozen=True)
class Line:
    """One line of the table. `first` is what ran first afterwards; `faults` is empty if all was as it has to be."""

    what: str
    happens: str
    first: str
    last: str
    faults: tuple[str, ...] = ()
    note: str = ""

    def text(self) -> str:
        """As printed."""
        texts = (self.what, self.happens, self.first, self.last)
        cells = "  ".join(_cell(text, width) for text, width in zip(texts, WIDTHS, strict=True))
        return f"{cells}  {'NOT GOOD: ' + '; '.join(self.faults) if self.faults else f'good  {self.note}'.rstrip()}"


async def make_lines(
    folder: Path, say: Callable[[str], None], *, every: int = 1, bad_versions: Sequence[BadVersion] = BAD_VERSIONS
) -> list[Line]:
    """Tries everything out; `say` is told how it gets on. `every`: only one in so many points."""
    key = bundles.new_key()
    acts = quick.acts(key, folder / "bundles")
    points = [(act, number, point) for act in acts for number, point in enumerate(quick.points(act, folder / "box", key), 1)]
    chosen = points[::every]
    total, done = len(chosen) + len(bad_versions), 0
    free = asyncio.Semaphore(BOXES)

    def did(line: Line) -> Line:
        nonlocal done
        done += 1
        say(f"{done} of {total}" + (f"  {line.text()}\n" if line.faults else ""))
        return line

    async def cut(place: int, act: quick.Act, number: int, point: str) -> Line:
        async with free:
            row = await quick.cut_off(act, number, point, folder / str(place), key)
        return did(Line(act.name, f"power cut {number}: {point}", row.first, row.last, row.faults))

    async with asyncio.TaskGroup() as tasks:
        versions = tasks.create_task(_try_versions(folder / "versions", bad_versions, did), name="bad versions")
        cuts = [tasks.create_task(cut(place, *one), name=f"cut {place}") for place, one in enumerate(chosen)]
    return [*(task.result() for task in cuts), *versions.result()]


async def _try_versions(folder: Path, bad_versions: Sequence[BadVersion], did: Callable[[Line], Line]) -> list[Line]:
    if not bad_versions:
        return []
    lines = []
    ground = await asyncio.to_thread(prepare, folder, NEXT)
    with XServer(*SIZE) as screen:
        for bad in bad_versions:
            first = RUNNING if bad.refused else NEXT
            try:
                async with asyncio.timeout(VERSION_S):
                    verdict = await try_out(ground, screen, bad, built=True)
                faults = verdict.faults if verdict.version == RUNNING else (*verdict.faults, f"{RUNNING} was to run")
                line = Line(
                    "a bad version is sent", bad.name, first, verdict.version, faults, f"{verdict.result}: {verdict.cause}"
                )
            except (AssertionError, TimeoutError) as error:
                line = Line("a bad version is sent", bad.name, first, "?", (str(error) or f"not within {VERSION_S:g} s",))
            lines.append(did(line))
    return lines


def _cell(text: str, width: int) -> str:
    return (text if len(text) <= width else f"{text[: width - 1]}…").ljust(width)


def main() -> int:
    """Prints the table; 0 if all is good."""
    began = time.monotonic()
    redraws = sys.stderr.isatty()
    # It wonders about processes that were killed as they began.
    logging.getLogger("asyncio").setLevel(logging.ERROR)

    def say(text: str) -> None:
        if redraws or text.endswith("\n"):
            sys.stderr.write(f"\r\x1b[K{text}" if redraws else text)
            sys.stderr.flush()

    async def run(folder: Path) -> list[Line]:
        async with asyncio.timeout(LIMIT_S):
            return await make_lines(folder, say)

    with tempfile.TemporaryDirectory(prefix="update-table-", ignore_cleanup_errors=True) as folder:
        lines = asyncio.run(run(Path(folder)))
    if redraws:
        sys.stderr.write("\r\x1b[K")
    write = sys.stdout.write
    write("  ".join(_cell(text, width) for text, width in zip(HEAD, (*WIDTHS, 0), strict=True)).rstrip() + "\n")
    for line in lines:
        write(f"{line.text()}\n")
    bad = sum(bool(line.faults) for line in lines)
    cuts = sum(line.happens.startswith("power cut") for line in lines)
    write(f"\n{cuts} points of a power cut, {len(lines) - cuts} bad versions, {time.monotonic() - began:.0f} s: ")
    write(f"{bad} NOT GOOD\n" if bad else "all good\n")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
