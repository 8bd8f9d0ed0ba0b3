"""A screen as the daemon sees it, with a player that does what file names say."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.screen import proxy
from agent.screen.messages import Ticker
from agent.screen.proxy import Screen, ScreenTimers, UnplayableFileError
from agent.stage import sequencer
from agent.stage.clip import ClipProgram
from agent.stage.feed import FeedImage, FeedProgram
from agent.stage.playlist import Item, Playlist
from agent.stage.playlist_program import PlaylistProgram
from agent.stage.sequencer import REPORTS_S
from agent.system.worker import Worker, WorkerTimers

ROOT = Path(__file__).parents[2]
DEADLINE_S = 15.0
POSITION_S = 12.5
QUICK = ScreenTimers(ready_s=10.0, restart_s=0.05, restart_longest_s=0.3, worker=WorkerTimers(ping_s=60, leave_s=2.0, term_s=0.5))


class Stand(Worker):
    """Starts the stand-in instead of the player."""

    def __init__(self, name: str, module: str, arguments: Any, **keywords: Any) -> None:
        assert module == "agent.screen.worker"
        super().__init__(name, "tests.screen.player", arguments, environment={"PYTHONPATH": str(ROOT)}, **keywords)


class Outputs:
    """Connectors under the test's control."""

    def __init__(self) -> None:
        self.reason = ""
        self.display = "one"
        self._listeners: list[Callable[[], None]] = []

    def usable(self, output: str) -> tuple[bool, str]:
        """Whether anything is plugged in."""
        return not self.reason, self.reason

    def fingerprint(self, output: str) -> str:
        """Which display."""
        return self.display

    def on_change(self, callback: Callable[[], None]) -> None:
        """Remembers the listener."""
        self._listeners.append(callback)

    def change(self, *, reason: str = "", display: str = "one") -> None:
        """Plugs and unplugs."""
        self.reason, self.display = reason, display
        for listener in self._listeners:
            listener()


class Room:
    """A screen that runs, with a playlist on its stage."""

    def __init__(self, record: Path, output: str, timers: ScreenTimers, *, unplugged: str = "") -> None:
        self.outputs = Outputs()
        self.outputs.reason = unplugged
        self.failed: list[str] = []
        self._record = record
        self._news = asyncio.Event()
        self.screen = Screen("front", output, ["--record", str(record), "--output", output], self.outputs, timers=timers)
        self.screen.on_change(self._news.set)
        self.program = PlaylistProgram(
            "main", 10, self.screen.stage.tokens, on_failed=lambda item: self.failed.append(item.title)
        )
        self.screen.stage.put(self.program, self.now)
        self.task = asyncio.create_task(self.screen.run(), name="screen")

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return asyncio.get_running_loop().time()

    def play(self, *names: str, duration_s: float = 600.0) -> None:
        """Puts a playlist of these files on."""
        self.program.switch(Playlist(1, "one", tuple(item(name, duration_s) for name in names)), self.now)
        self.screen.refresh()

    def scenes(self) -> list[dict[str, Any]]:
        """Everything the players have been sent."""
        return [json.loads(line) for line in self._record.read_text().splitlines()] if self._record.exists() else []

    def titles(self) -> list[str]:
        """The pictures they were asked for, one after the other."""
        return [scene["shot"]["title"] if scene["shot"] else "" for scene in self.scenes()]

    async def until(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Waits until `condition` holds; looked at after every change."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._news.clear()
                    try:
                        async with asyncio.timeout(0.05):
                            await self._news.wait()
                    except TimeoutError:
                        pass
        except TimeoutError:
            raise AssertionError(f"cause={self.screen.cause!r} scenes={self.scenes()[-3:]}") from None

    async def shows(self, title: str) -> None:
        """Waits until this item is on and its time runs."""
        await self.until(lambda: self.screen.up and self.title == title and self.running)

    @property
    def title(self) -> str:
        """What the stage says is on."""
        return self.screen.stage.status(self.now).playing.title

    @property
    def running(self) -> bool:
        """Whether the time of what is on runs."""
        sequencer = self.program.sequencer
        return sequencer is not None and sequencer._running_since is not None

    def pid(self) -> int:
        """The player's process."""
        worker = self.screen._worker
        assert worker is not None
        assert worker.pid is not None
        return worker.pid

    async def close(self) -> None:
        """Ends it as the daemon does."""
        self.task.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({self.task})
        assert self.task.cancelled(), self.task.exception()


def item(name: str, duration_s: float = 600.0) -> Item:
    """`x.mp4` is a video, everything else an image."""
    kind: Any = "video" if name.endswith(".mp4") else "image"
    return Item(name, name, f"/media/{name}", kind, duration_s)


Open = Callable[..., Room]


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Opens rooms; closes them with the test."""
    monkeypatch.setattr(proxy, "Worker", Stand)
    rooms: list[Room] = []

    def begin(output: str = "null", timers: ScreenTimers = QUICK, **keywords: Any) -> Room:
        rooms.append(Room(tmp_path / f"scenes{len(rooms)}", output, timers, **keywords))
        return rooms[-1]

    yield begin
    for opened in rooms:
        if not opened.task.done():
            await opened.close()


async def test_it_shows_what_is_on_its_stage(room: Open, caplog: pytest.LogCaptureFixture) -> None:
    """The playlist put on before the start is on the screen; the log names what is on, and what the player has to say."""
    caplog.set_level(logging.INFO)
    opened = room()
    assert (opened.screen.up, opened.screen.cause) == (False, "starting")
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    assert (opened.screen.up, opened.screen.cause, opened.screen.size) == (True, "", (640, 360))
    await asyncio.wait_for(opened.screen.settled(), DEADLINE_S)
    assert "screen is up screen=front size=640x360" in caplog.text
    assert "on screen screen=front title='a.png'" in caplog.text
    assert "software rendering screen=front" in caplog.text


async def test_what_comes_round_again_is_not_logged_again(room: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Each item is in the log when it is first on the screen; the rounds after that are there at DEBUG only."""
    caplog.set_level(logging.DEBUG)
    opened = room()
    for title in ("a.png", "b.png", "a.png"):
        opened.play(title)
        await opened.shows(title)
    said = [(record.levelname, record.getMessage()) for record in caplog.records if "on screen" in record.getMessage()]
    assert [(level, "a.png" in words) for level, words in said] == [("INFO", True), ("INFO", False), ("DEBUG", True)]


async def test_nothing_said_while_the_player_starts_is_lost(room: Open) -> None:
    """A playlist that comes between the start of the process and its first word is shown."""
    opened = room()
    async with asyncio.timeout(DEADLINE_S):
        while opened.screen._worker is None:
            await asyncio.sleep(0)
    opened.play("a.png")
    await opened.shows("a.png")


async def test_the_next_item_comes_when_its_time_is_over(room: Open) -> None:
    """The screen keeps its own time: items follow one another without anybody asking."""
    opened = room()
    opened.play("a.png", "b.png", duration_s=0.2)
    await opened.until(lambda: opened.titles().count("b.png") >= 2)


async def test_a_video_makes_way_at_its_end(room: Open) -> None:
    """What the player says about the end of a video moves the playlist on."""
    opened = room()
    opened.play("short.mp4", "b.png")
    await opened.shows("b.png")


async def test_a_scene_is_sent_only_when_it_changed(room: Open) -> None:
    """Asking again costs nothing; a ticker is one more scene, and so is its end. The position of a video is none."""
    opened = room()
    opened.play("v.mp4", "b.png")
    await opened.until(lambda: opened.screen.stage.status(opened.now).playing.position_s == POSITION_S)
    for _ in range(10):
        opened.screen.refresh()
    opened.screen.stage.ticker = Ticker("hello")
    opened.screen.refresh()
    opened.screen.stage.ticker = None
    opened.screen.refresh()
    await opened.until(lambda: len(opened.scenes()) >= 3)
    assert [scene["ticker"] and scene["ticker"]["text"] for scene in opened.scenes()] == [None, "hello", None]


async def test_after_a_crash_it_is_back_with_the_whole_scene(room: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Within 2 s a new player shows the same video at the place it had reached, with the ticker and the volume."""
    opened = room(timers=replace(ScreenTimers(), worker=WorkerTimers(ping_s=60)))
    opened.screen.stage.ticker = Ticker("hello")
    opened.screen.stage.volume_percent = 30
    opened.play("v.mp4", "b.png")
    await opened.until(lambda: opened.screen.stage.status(opened.now).playing.position_s == POSITION_S)
    first = opened.pid()
    began = time.monotonic()
    os.kill(first, signal.SIGKILL)
    await opened.until(lambda: any(scene["pid"] != first for scene in opened.scenes()))
    assert time.monotonic() - began < 2
    scene = opened.scenes()[-1]
    assert scene["pid"] != first
    assert scene["shot"]["title"] == "v.mp4"
    assert POSITION_S <= scene["shot"]["start_s"] <= POSITION_S + REPORTS_S
    assert (scene["ticker"]["text"], scene["volume_percent"]) == ("hello", 30)
    assert scene["upcoming"]["title"] == "b.png"
    await opened.until(lambda: opened.screen.restarts == 1 and opened.screen.up)
    assert "SIGKILL" in caplog.text


async def test_an_image_keeps_the_rest_of_its_time_over_a_crash(room: Open) -> None:
    """The seconds without a screen are not the image's."""
    opened = room()
    opened.play("a.png", "b.png", duration_s=600)
    await opened.shows("a.png")
    os.kill(opened.pid(), signal.SIGKILL)
    await opened.until(lambda: not opened.screen.up)
    position = opened.screen.stage.status(opened.now).playing.position_s
    await asyncio.sleep(0.05)
    assert opened.screen.stage.status(opened.now).playing.position_s == position
    await opened.shows("a.png")


async def test_an_item_that_kills_the_player_twice_is_set_aside(room: Open, caplog: pytest.LogCaptureFixture) -> None:
    """It is named in the log, reported as failed, and the others play on; two deaths are enough."""
    opened = room()
    opened.play("kill.png", "b.png")
    await opened.shows("b.png")
    assert opened.failed == ["kill.png"]
    assert "set aside: it killed the player twice screen=front title='kill.png'" in caplog.text
    assert len({scene["pid"] for scene in opened.scenes() if scene["shot"]["title"] == "kill.png"}) == 2
    assert opened.screen.restarts == 2


async def test_one_death_does_not_condemn_an_item(room: Open) -> None:
    """A player that died once under an item, for whatever reason, gets the item again."""
    opened = room()
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    os.kill(opened.pid(), signal.SIGKILL)
    await opened.until(lambda: not opened.screen.up)
    await opened.shows("a.png")
    assert opened.failed == []


async def test_deaths_long_after_an_item_came_on_are_not_its_fault(room: Open) -> None:
    """What killed the player after the time of blame was something else."""
    opened = room(timers=replace(QUICK, blamed_s=0.0))
    opened.play("a.png", "b.png")
    for death in range(1, 4):
        await opened.shows("a.png")
        await asyncio.sleep(0.01)
        os.kill(opened.pid(), signal.SIGKILL)
        await opened.until(lambda death=death: opened.screen.restarts == death)  # type: ignore[misc]
    await opened.shows("a.png")
    assert opened.failed == []


async def test_a_player_that_hangs_is_replaced(room: Open, caplog: pytest.LogCaptureFixture) -> None:
    """One that no longer answers is killed, and the picture comes back."""
    opened = room(timers=replace(QUICK, worker=WorkerTimers(ping_s=0.2, leave_s=0.05, term_s=0.05)))
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    os.kill(opened.pid(), signal.SIGSTOP)
    await opened.until(lambda: opened.screen.restarts == 1)
    await opened.shows("a.png")
    assert "pings lost" in caplog.text


async def test_a_file_that_fails_is_named_and_skipped(room: Open, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be shown makes way for the next item; the log says which file and why."""
    opened = room()
    opened.play("bad.mp4", "b.png")
    await opened.shows("b.png")
    assert opened.failed == ["bad.mp4"]
    assert "cannot be shown; skipped screen=front title='bad.mp4' reason=no decoder" in caplog.text


async def test_the_same_failure_is_one_warning(
    room: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A playlist of which nothing can be shown is tried again and again, and fills no journal."""
    monkeypatch.setattr(sequencer, "RETRY_S", 0.05)
    opened = room()
    opened.play("bad.mp4", "bad.png")
    await opened.until(lambda: opened.titles().count("bad.mp4") >= 3)
    assert [record.levelname for record in caplog.records if "cannot be shown" in record.message] == ["WARNING", "WARNING"]
    assert opened.failed == ["bad.mp4", "bad.png"]


@pytest.mark.parametrize("clip", ["bad.png", "bad.mp4", "short.mp4"])
async def test_an_image_goes_on_after_a_clip(room: Open, clip: str) -> None:
    """Whether the clip over it was shown or not: afterwards the image's time runs again."""
    opened = room()
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    opened.screen.stage.put(ClipProgram("clip", 50, opened.screen.stage.tokens, item(clip), opened.now), opened.now)
    opened.screen.refresh()
    assert not opened.running
    await opened.until(lambda: clip in opened.titles())
    await opened.shows("a.png")


async def test_an_image_goes_on_after_a_clip_that_was_withdrawn(room: Open) -> None:
    """A clip that is put on and taken off before the player took notice costs the image nothing."""
    opened = room()
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    clip = ClipProgram("clip", 50, opened.screen.stage.tokens, item("mute.mp4"), opened.now)
    for with_refresh in (True, False):
        opened.screen.stage.put(clip, opened.now)
        if with_refresh:
            opened.screen.refresh()
        opened.screen.stage.remove(clip, opened.now)
        opened.screen.refresh()
        await opened.shows("a.png")


async def test_an_output_that_cannot_be_opened(room: Open, caplog: pytest.LogCaptureFixture) -> None:
    """The screen is down with the player's reason, said once however often it is tried; who waited for it goes on."""
    opened = room("refused")
    await asyncio.wait_for(opened.screen.settled(), DEADLINE_S)
    assert (opened.screen.up, opened.screen.cause) == (False, "no X server answers")
    again = opened.screen._worker
    await opened.until(lambda: opened.screen._worker not in (again, None))
    await opened.until(lambda: opened.screen._worker is None)
    assert opened.screen.restarts == 0
    assert caplog.text.count("screen is down") == 1


async def test_a_player_that_never_presents(room: Open) -> None:
    """No picture in time: down, with that as its cause."""
    opened = room("slow", replace(QUICK, ready_s=0.3))
    await asyncio.wait_for(opened.screen.settled(), DEADLINE_S)
    assert opened.screen.cause == "no picture within 0.3 s"


async def test_without_a_display_no_player_is_started(room: Open) -> None:
    """An unplugged output is down with its reason; when a display is plugged in the picture comes."""
    opened = room(unplugged="no display is connected to HDMI-A-1")
    opened.play("a.png", "b.png")
    await asyncio.wait_for(opened.screen.settled(), DEADLINE_S)
    assert opened.screen.cause == "no display is connected to HDMI-A-1"
    assert opened.scenes() == []
    opened.outputs.change()
    await opened.shows("a.png")


async def test_unplugged_and_plugged_in_again(room: Open) -> None:
    """Without its display the player ends and time stands still; it comes back with the same item."""
    opened = room()
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    pid = opened.pid()
    opened.outputs.change(reason="no display is connected")
    await opened.until(lambda: opened.screen.cause == "no display is connected")
    assert not Path(f"/proc/{pid}").exists()
    assert not opened.running
    opened.outputs.change()
    await opened.shows("a.png")
    assert opened.failed == []


async def test_another_display_is_opened_anew(room: Open) -> None:
    """When a different display is plugged in between two looks the player starts afresh on it."""
    opened = room()
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    pid = opened.pid()
    opened.outputs.change(display="two")
    await opened.until(lambda: opened.screen.restarts == 1)
    await opened.shows("a.png")
    assert opened.pid() != pid


async def test_a_change_elsewhere_disturbs_nobody(room: Open) -> None:
    """News about other connectors leave the player alone."""
    opened = room()
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    pid = opened.pid()
    for _ in range(5):
        opened.outputs.change()
        await asyncio.sleep(0)
    opened.screen.stage.ticker = Ticker("still here")
    opened.screen.refresh()
    await opened.until(lambda: len(opened.scenes()) == 2)
    assert opened.pid() == pid


async def test_screenshots(room: Open, tmp_path: Path) -> None:
    """The file is there when the call returns; every failure is a sentence that names the screen."""
    opened = room(unplugged="no display")
    with pytest.raises(RuntimeError, match=r"^screen front is down: starting$"):
        await opened.screen.screenshot(tmp_path / "a.png")
    await asyncio.wait_for(opened.screen.settled(), DEADLINE_S)
    with pytest.raises(RuntimeError, match=r"^screen front is down: no display$"):
        await opened.screen.screenshot(tmp_path / "a.png")
    opened.outputs.change()
    await opened.until(lambda: opened.screen.up)
    await opened.screen.screenshot(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"a picture"
    with pytest.raises(RuntimeError, match=r"^no screenshot of screen front: the file cannot be written$"):
        await opened.screen.screenshot(tmp_path / "nowhere.png")
    with pytest.raises(RuntimeError, match=r"^screen front did not answer within 0.05 s$"):
        await opened.screen.screenshot(tmp_path / "never.png", 0.05)
    waiting = asyncio.create_task(opened.screen.screenshot(tmp_path / "never.png", 60))
    await asyncio.sleep(0)
    os.kill(opened.pid(), signal.SIGKILL)
    with pytest.raises(RuntimeError, match="no screenshot of screen front"):
        await asyncio.wait_for(waiting, DEADLINE_S)


async def test_trying_a_file(room: Open) -> None:
    """A good file is no news, a bad one is a sentence about it; what could not be found out is another error."""
    opened = room(unplugged="no display")
    with pytest.raises(RuntimeError, match=r"^screen front is down: starting$"):
        await opened.screen.probe(Path("/media/a.mp4"))
    opened.outputs.change()
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    await opened.screen.probe(Path("/media/a.mp4"))
    with pytest.raises(UnplayableFileError, match=r"^no decoder$"):
        await opened.screen.probe(Path("/media/bad.mp4"))
    with pytest.raises(RuntimeError, match=r"^screen front could not try a file: the disk is full$"):
        await opened.screen.probe(Path("/media/busy.mp4"))
    with pytest.raises(RuntimeError, match=r"^screen front did not answer within 0.05 s$"):
        await opened.screen.probe(Path("/media/never.mp4"), deadline_s=0.05)
    assert opened.titles() == ["a.png"]


async def test_a_file_that_kills_the_player_when_tried(room: Open) -> None:
    """Twice it could not be found out, then it is the file's fault; what is on comes back and is not blamed."""
    opened = room()
    opened.play("a.png", "b.png")
    for restarts in (1, 2):
        await opened.shows("a.png")
        with pytest.raises(RuntimeError, match="went down while it tried a file"):
            await opened.screen.probe(Path("/media/kill.mp4"))
        await opened.until(lambda restarts=restarts: opened.screen.restarts == restarts)  # type: ignore[misc]
    await opened.shows("a.png")
    with pytest.raises(UnplayableFileError, match="killed the player twice"):
        await opened.screen.probe(Path("/media/kill.mp4"))
    assert opened.failed == []
    assert opened.screen.restarts == 2


async def test_a_feed_does_not_wait_for_a_player_that_died(room: Open) -> None:
    """An image that was on its way counts as shown at once, however long there is no player."""
    opened = room(timers=replace(QUICK, restart_s=600.0, restart_longest_s=600.0))
    started: list[int] = []
    stage = opened.screen.stage
    feed = FeedProgram("feed", 20, stage.tokens, on_started=lambda number, _: started.append(number), on_failed=started.append)
    stage.put(feed, opened.now)
    opened.play("a.png")
    await opened.shows("a.png")
    feed.show(FeedImage(1, "/run/mute.webp", "feed"), opened.now)
    opened.screen.refresh()
    await opened.until(lambda: "feed" in opened.titles())
    os.kill(opened.pid(), signal.SIGKILL)
    await opened.until(lambda: started == [1])
    assert not opened.screen.showing


async def test_it_ends_with_its_player(room: Open) -> None:
    """When the daemon ends it no process is left."""
    opened = room()
    opened.play("a.png")
    await opened.shows("a.png")
    pid = opened.pid()
    await opened.close()
    assert not Path(f"/proc/{pid}").exists()


async def test_since_is_the_last_change_of_the_picture(room: Open) -> None:
    """`since` moves when another item comes on, and not when something lies over it."""
    opened = room()
    before = time.time()
    opened.play("a.png", "b.png")
    await opened.shows("a.png")
    since = opened.screen.since
    assert before <= since <= time.time()
    opened.screen.stage.dim_percent = 50
    opened.screen.refresh()
    assert opened.screen.since == since
    assert opened.program.sequencer is not None
    opened.program.sequencer.step(1, opened.now)
    opened.screen.refresh()
    assert opened.screen.since > since
