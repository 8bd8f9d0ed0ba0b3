"""Films that are ready, played one after the other over what else is on (conversion contract, section 4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.links.conversion.parts import Screen
from agent.stage.clip import ClipProgram
from agent.stage.playlist import Item

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Film:
    """An output in the store."""

    job_id: str
    title: str
    path: Path


class Films:
    """Plays what is added, each once, in this order; the stage has them in line.

    `on_begun(job_id)` is called when the first frame of a film is on the screen, `on_over(job_id, shown)` when it is over;
    not `shown`: it could not be played.
    """

    def __init__(
        self,
        name: str,
        screen: Screen,
        *,
        priority: int,
        after_item: bool,
        on_begun: Callable[[str], None],
        on_over: Callable[[str, bool], None],
    ) -> None:
        self._name = name
        self._screen = screen
        self._priority = priority
        self._after_item = after_item
        self._on_begun = on_begun
        self._on_over = on_over
        self._clips: dict[str, tuple[ClipProgram, Film]] = {}
        """What is on the stage, by the id of its job."""
        self._told: set[str] = set()
        """Of these `on_begun` has been called."""

    @property
    def begun(self) -> list[str]:
        """Ids of the jobs whose film has been on the screen and is not over."""
        return [job_id for job_id, (program, _) in self._clips.items() if program.begun]

    def start(self, predecessor: Films | None = None) -> None:
        """Begins to hear of the screen; takes over what a predecessor has on the same one."""
        self._screen.on_change(self._look)
        if predecessor is not None:
            self._clips = predecessor.hand_over(self._screen)
        self._look()

    def hand_over(self, screen: Screen) -> dict[str, tuple[ClipProgram, Film]]:
        """What has begun on the stage of that screen; from now on it is somebody else's. The rest is added anew, if at all."""
        if screen is not self._screen:
            return {}
        begun = {job_id: clip for job_id, clip in self._clips.items() if clip[0].begun}
        self._clips = {job_id: clip for job_id, clip in self._clips.items() if job_id not in begun}
        return begun

    def stop(self) -> None:
        """Hears of nothing any more; what plays goes on."""
        self._screen.off_change(self._look)

    def leave(self) -> None:
        """Takes everything off the stage."""
        clips, self._clips = self._clips, {}
        for program, _ in clips.values():
            self._screen.stage.remove(program, _now())
        if clips:
            self._screen.refresh()

    def add(self, film: Film) -> None:
        """Plays this one, too; a film that is on the stage already is not begun again."""
        if film.job_id in self._clips:
            return
        stage, now = self._screen.stage, _now()
        item = Item(media_id=film.job_id, title=film.title, path=str(film.path), kind="video", duration_s=0.0)
        program = ClipProgram(self._name, self._priority, stage.tokens, item, now, after_item=self._after_item)
        self._clips[film.job_id] = (program, film)
        self._told.discard(film.job_id)
        stage.put(program, now)
        self._screen.refresh()

    def _look(self) -> None:
        """What has become of the films."""
        for job_id, (program, film) in list(self._clips.items()):
            if program.begun and job_id not in self._told:
                self._told.add(job_id)
                log.info("film begins link=%s job=%s title=%r", self._name, job_id, film.title)
                self._on_begun(job_id)
            if program.over:
                del self._clips[job_id]
                self._told.discard(job_id)
                log.info("film is over link=%s job=%s title=%r outcome=%s", self._name, job_id, film.title, program.outcome)
                self._screen.stage.remove(program, _now())
                self._screen.refresh()
                self._on_over(job_id, program.outcome != "failed")


def _now() -> float:
    return asyncio.get_running_loop().time()
