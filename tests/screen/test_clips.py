"""Clips over and after what is on, seen on a real X screen."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.screen.proxy import Screen, UnplayableFileError
from agent.stage.clip import ClipProgram
from agent.stage.playlist import Item, Playlist
from agent.stage.playlist_program import PlaylistProgram
from tests.display import Samples, XServer, clip, near
from tests.screen.conftest import BLUE, GREEN, RED, YELLOW, Media

CENTRE = (640, 360)
DEADLINE_S = 20.0
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE, "yellow": YELLOW}


class Outputs:
    """One connector that is always there."""

    def usable(self, output: str) -> tuple[bool, str]:
        return True, ""

    def fingerprint(self, output: str) -> str:
        return "one"

    def on_change(self, callback: Callable[[], None]) -> None:
        pass


class Room:
    """A screen that runs on the X server, with a playlist."""

    def __init__(self) -> None:
        self.screen = Screen("front", "x11", ["--output", "x11", "--name", "front", "--no-sound"], Outputs())
        self.program = PlaylistProgram("list", 10, self.screen.stage.tokens)
        self._news = asyncio.Event()
        self.screen.on_change(self._news.set)
        self.screen.stage.put(self.program, now())

    async def play(self, *items: Item, at_s: float = 0.0) -> None:
        """Puts a playlist on and waits until its first item is there."""
        self.program.switch(Playlist(1, "one", items), now(), at=(items[0].media_id, at_s))
        self.screen.refresh()
        await self.until(lambda: self.screen.showing)

    def clip(self, path: Path, *, after_item: bool = False) -> ClipProgram:
        """A film over it, or after its item."""
        program = ClipProgram("films", 50, self.screen.stage.tokens, video(path), now(), after_item=after_item)
        self.screen.stage.put(program, now())
        self.screen.refresh()
        return program

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` holds; looked at after every change."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


def now() -> float:
    return asyncio.get_running_loop().time()


def video(path: Path) -> Item:
    """In a playlist or as a clip."""
    return Item(path.name, path.name, str(path), "video", 0.0)


def seen(samples: Samples) -> list[str]:
    """The colours in the order they came."""
    names = []
    for _, data in samples:
        pixel = (data[2], data[1], data[0])
        names.append(next((name for name, colour in COLOURS.items() if near(pixel, colour, 40)), str(pixel)))
    return [name for name, _ in itertools.groupby(names)]


@pytest.fixture
async def room(xserver: XServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """One that presents."""
    monkeypatch.setenv("DISPLAY", xserver.display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    room = Room()
    task: asyncio.Task[Any] = asyncio.create_task(room.screen.run(), name="screen")
    await room.until(lambda: room.screen.up)
    yield room
    task.cancel()
    await asyncio.wait({task})


async def test_over_a_video_and_back(room: Room, xserver: XServer, media: Media) -> None:
    """The film is there at once; afterwards the video goes on at its second; no black in between."""
    await room.play(video(media.long_mp4), at_s=3.0)
    await xserver.shows(CENTRE, BLUE)
    with xserver.sampled(*CENTRE, 1, 1) as samples:
        film = room.clip(media.red_mp4)
        await room.until(lambda: film.over)
        shot = room.screen.stage.scene(now()).shot
        await asyncio.to_thread(xserver.wait, lambda: seen(samples)[-1] == "green")
    assert seen(samples) == ["blue", "red", "blue", "green"]
    assert film.outcome == "played"
    assert shot is not None
    assert 3.0 <= shot.start_s < 5.0


async def test_after_a_video(room: Room, xserver: XServer, media: Media) -> None:
    """The video comes to its end, then the film, then the next item; nothing else flashes up."""
    await room.play(video(media.red_mp4), video(media.blue_webm))
    with xserver.sampled(*CENTRE, 1, 1) as samples:
        film = room.clip(media.yellow_mp4, after_item=True)
        await room.until(lambda: film.over)
        await asyncio.to_thread(xserver.wait, lambda: seen(samples)[-1] == "blue")
    assert seen(samples) == ["red", "yellow", "blue"]


async def test_after_an_image(room: Room, xserver: XServer, media: Media) -> None:
    """An image keeps its time, also when it is the only one and comes again afterwards."""
    await room.play(Item("i", "i", str(media.green_jpg), "image", 1.0))
    with xserver.sampled(*CENTRE, 1, 1) as samples:
        film = room.clip(media.yellow_mp4, after_item=True)
        await room.until(lambda: film.begun)
        begun = now()
        await room.until(lambda: film.over)
        await asyncio.to_thread(xserver.wait, lambda: seen(samples)[-1] == "green")
        assert now() - begun > 0.2
    assert seen(samples) == ["green", "yellow", "green"]


async def test_after_a_paused_video(room: Room, xserver: XServer, media: Media) -> None:
    """The film comes at once; afterwards the video stands paused at its second."""
    await room.play(video(media.long_mp4), video(media.green_mp4), at_s=3.0)
    await xserver.shows(CENTRE, BLUE)
    assert room.program.sequencer is not None
    room.program.sequencer.pause(now())
    room.screen.refresh()
    with xserver.sampled(*CENTRE, 1, 1) as samples:
        film = room.clip(media.red_mp4, after_item=True)
        await room.until(lambda: film.over)
        await asyncio.to_thread(xserver.wait, lambda: seen(samples)[-1] == "blue")
        await asyncio.sleep(2.5)
    scene = room.screen.stage.scene(now())
    assert seen(samples) == ["blue", "red", "blue"]
    assert film.outcome == "played"
    assert scene.paused
    assert scene.shot is not None
    assert 3.0 <= scene.shot.start_s < 5.0


async def test_still_pictures_that_pose_as_films(room: Room, xserver: XServer, media: Media, tmp_path: Path) -> None:
    """A clip of one frame is over at once, and such items of a list are passed over; one with sound ends without it, too."""
    frame = clip(tmp_path / "frame.mp4", YELLOW, 0.03)
    spoken = clip(tmp_path / "spoken.mp4", YELLOW, 0.03, sound=True)
    with pytest.raises(UnplayableFileError, match="still picture"):
        await room.screen.probe(frame)
    await room.play(video(media.red_mp4), video(frame), video(media.red_png), video(media.blue_webm))
    with xserver.sampled(*CENTRE, 1, 1) as samples:
        films = [room.clip(path) for path in (frame, media.red_png)]
        await room.until(lambda: all(film.over for film in films))
        await asyncio.to_thread(xserver.wait, lambda: "blue" in seen(samples))
    assert [film.outcome for film in films] == ["failed", "failed"]
    assert set(seen(samples)) == {"red", "blue"}
    film = room.clip(spoken)
    await room.until(lambda: film.over)
    assert film.outcome == "played"


@pytest.mark.parametrize("after_item", [False, True])
async def test_films_in_line(room: Room, xserver: XServer, media: Media, after_item: bool) -> None:
    """Two that are there at the same time are both shown, one after the other; a broken one between them is passed over."""
    await room.play(video(media.blue_webm), video(media.green_mp4))
    with xserver.sampled(*CENTRE, 1, 1) as samples:
        films = [
            room.clip(path, after_item=after_item)
            for path in (media.yellow_mp4, media.red_png.with_name("nothing.mp4"), media.red_mp4)
        ]
        await room.until(lambda: all(film.over for film in films))
        await room.until(lambda: room.screen.stage.active is room.program)
        await asyncio.sleep(0.2)
    colours = seen(samples)
    at = colours.index("yellow")
    assert colours[at : at + 2] == ["yellow", "red"]
    assert set(colours[:at] + colours[at + 2 :]) <= {"blue", "green"}
    assert [film.outcome for film in films] == ["played", "failed", "played"]


async def test_a_file_is_tried_without_being_seen(room: Room, xserver: XServer, media: Media, tmp_path: Path) -> None:
    """Good files, bad files and pages that pose as films: what is on goes on, and only the bad ones are named."""
    page = tmp_path / "page.mp4"
    page.write_text("<html><body>502 Bad Gateway</body></html>")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(media.red_mp4.read_bytes()[:600])
    await room.play(Item("i", "i", str(media.green_jpg), "image", 600.0))
    await xserver.shows(CENTRE, GREEN)
    with xserver.sampled(*CENTRE, 1, 1) as samples:
        await room.screen.probe(media.red_mp4)
        await room.screen.probe(media.blue_webp, "image")
        for path in (page, cut, tmp_path / "nothing.mp4", tmp_path):
            with pytest.raises(UnplayableFileError, match=r"cannot be|regular"):
                await room.screen.probe(path)
    assert seen(samples) == ["green"]
    assert room.screen.restarts == 0
