"""Several servers on one screen: the more important one has it, the others come back where they were."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.agent_process import CHECKOUT, signage_link
from tests.display import Colour, Samples, XServer, ffmpeg, near
from tests.end_to_end.art import CLOCK_S, clock_time
from tests.end_to_end_speaker.lab import levels_dbfs
from tests.end_to_end_tronbyt.wall import CENTRE, DEADLINE_S, DEVICE_ID, Wall, encoded, feed_link, figure, numbers, open_wall
from tests.servers import item, pixels, playlist
from tests.servers.tronbyt_devices import App, PixelDisplay
from tests.servers.voices import tone
from tests.sound import PrivateSound

SPEAKER_ID = "A1B2C3D4E5F6"
OTHER_ID = "beefbeef"
HOLD_S = 1.0
CLOCK_HZ, CLIP_HZ, VOICE_HZ = 440.0, 660.0, 1000.0
CLIP: Colour = (255, 128, 0)
CLIP_S = 5.0
DARKEST = 20
"""Of what is shown here; black is darker."""
QUIET_DBFS = -60.0
PLACE_S = 0.5
"""As near as that a film goes on to where it stopped."""


def clock_with_sound(path: Path) -> Path:
    """The film of `tests.end_to_end.art` whose grey tells the time in it, with a tone."""
    grey = "color=black:s=64x36:r=10,geq=lum='40+T*8':cb=128:cr=128"
    return film(path, grey, CLOCK_HZ, CLOCK_S, "-g", "10")


def film(path: Path, picture: str, hertz: float, seconds: float, *more: str) -> Path:
    """A film of an lavfi source with a tone."""
    sources = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=frequency={hertz:g}:sample_rate=48000"]
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-vf", "scale=out_color_matrix=bt709"]
    ffmpeg(*sources, "-t", f"{seconds}", *coding, "-colorspace", "bt709", *more, "-c:a", "aac", str(path))
    return path


class Ear:
    """Listens to the box."""

    def __init__(self, sound: PrivateSound) -> None:
        self._sound = sound

    async def level_dbfs(self, hertz: float) -> float:
        """How loud a tone is now."""
        return float(np.median(levels_dbfs(await asyncio.to_thread(self._sound.record, 0.2), hertz)))

    async def hears(self, hertz: float, low: float, high: float = 0.0) -> float:
        """Waits until a tone is that loud; how loud it is."""
        heard: list[float] = []
        async with asyncio.timeout(DEADLINE_S):
            while not heard or not low <= heard[-1] <= high:
                heard.append(await self.level_dbfs(hertz))
        return heard[-1]


def links_of_all(wall: Wall) -> list[Mapping[str, Any]]:
    """A playlist, a feed that gives the screen away when its server has gone, and a voice."""
    return [
        signage_link(wall.server.url),
        feed_link(wall.server, hold_s=HOLD_S),
        {"kind": "speaker", "url": wall.server.url, "device_id": SPEAKER_ID, "spread_s": 0.1},
    ]


async def test_playlist_feed_clip_and_announcement(tmp_path: Path, own_display: XServer, sound_card: PrivateSound) -> None:
    """Each comes over the one before and leaves again: the playlist goes on at its place and second, and no moment is black."""
    sound_card.set_percent(100)
    ear = Ear(sound_card)
    clock = await asyncio.to_thread(clock_with_sound, tmp_path / "clock.mp4")
    colour = "color=c=0x{:02x}{:02x}{:02x}:s=320x180:r=10".format(*CLIP)
    clip = await asyncio.to_thread(film, tmp_path / "clip.mp4", colour, CLIP_HZ, CLIP_S)
    still = tmp_path / "still.png"
    pixels.plain("#808000", (320, 180)).save(still)
    async with open_wall(tmp_path / "box", own_display, sound=sound_card, links=links_of_all) as wall:
        offered = [item(wall.signage.media.add(path.name, path), duration_s=600) for path in (still, clock)]
        wall.signage.offer([playlist(7, offered)])
        await wall.signage.connected(wall.agent.serial, DEADLINE_S)
        await wall.signage.send(wall.agent.serial, {"action": "reload_playlist"})
        await wall.agent.until(lambda status: [entry["status"] for entry in status["playlists"]] == ["ready"])
        await wall.signage.send(wall.agent.serial, {"action": "play_media", "media_id": offered[1]["media_id"]})
        await wall.agent.playing("clock.mp4")
        await wall.screen.shows(CENTRE, (58, 58, 58))
        await ear.hears(CLOCK_HZ, -40)
        with wall.screen.sampled(CENTRE[0], 0, 1, wall.screen.height) as samples:
            stopped_at = await feed_comes(wall, ear)
            await clip_and_voice(wall, ear, clip)
            await feed_leaves(wall, ear, stopped_at)
            await feed_is_back(wall)
        assert dark(samples) == [], wall.agent.log[-3000:]
        assert wall.display.complaints == []


def dark(samples: Samples) -> list[str]:
    """Where anything on the screen was black."""
    found = []
    for at, data in samples:
        levels = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].max(1)
        if (black := np.flatnonzero(levels < DARKEST)).size:
            found.append(f"at {at - samples[0][0]:.3f} s {black.size} of {levels.size} pixels")
    return found


async def feed_comes(wall: Wall, ear: Ear) -> float:
    """The feed takes the screen, the film stands still and is silent; the second it had come to."""
    before = clock_time(wall.screen.pixel(*CENTRE))
    assert before is not None
    with wall.screen.sampled(*CENTRE, 1, 1) as samples:
        wall.rotate((1, 2), 2)
        await wall.shows_number(1)
    times = clock_times(samples)
    await ear.hears(CLOCK_HZ, -200, QUIET_DBFS)
    front = await wall.front()
    assert (front["state"], front["program"], front["waiting"]) == ("playing", "feed", ["signage"])
    await wall.shows_number(2)
    return times[-1] if times else before


def clock_times(samples: Samples) -> list[float]:
    """The seconds into the film that were seen."""
    return [second for _, data in samples if (second := clock_time((data[2], data[1], data[0]))) is not None]


async def clip_and_voice(wall: Wall, ear: Ear, clip: Path) -> None:
    """A clip from the command line over the feed, a voice over both: sound ducks, the feed goes on unseen and is back."""
    said = len(wall.display.displayed)
    play = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "play", str(clip), "--socket", str(wall.agent.socket), cwd=CHECKOUT
    )
    assert await play.wait() == 0
    await wall.screen.shows(CENTRE, CLIP)
    front = await wall.front()
    assert (front["program"], front["waiting"], front["title"]) == ("play", ["feed", "signage"], "clip.mp4")
    full = await ear.hears(CLIP_HZ, -40)
    announcing = asyncio.create_task(wall.speaker.announce(SPEAKER_ID, tone(VOICE_HZ, 1.6, dbfs=-12)))
    await ear.hears(VOICE_HZ, -16, -8)
    ducked = await ear.hears(CLIP_HZ, full - 13.5, full - 10.5)
    assert near(wall.screen.pixel(*CENTRE), CLIP), "an announcement takes no picture"
    await announcing
    await ear.hears(VOICE_HZ, -200, QUIET_DBFS)
    figure(f"clip at {full:.1f} dBFS, under the voice {ducked:.1f}, after it {await ear.hears(CLIP_HZ, full - 1.5):.1f}")
    await asyncio.to_thread(wall.screen.wait, lambda: says(wall) == wall.number(), DEADLINE_S, "what the feed says is on")
    assert len(wall.display.displayed) >= said + 2, "went on by time"
    await ear.hears(CLIP_HZ, -200, QUIET_DBFS)


def says(wall: Wall) -> int | None:
    """The number that the agent said last it displays."""
    shown = wall.display.shown
    return None if shown is None else int(shown.name)


async def feed_leaves(wall: Wall, ear: Ear, stopped_at: float) -> None:
    """Its server has gone for `hold_s`: the film goes on where it was, audibly."""
    with wall.screen.sampled(*CENTRE, 1, 1) as samples:
        wall.server.leave(DEVICE_ID)
        await wall.agent.until(lambda status: status["screens"]["front"]["program"] == "signage")
        await asyncio.to_thread(
            wall.screen.wait, lambda: clock_time(wall.screen.pixel(*CENTRE)) is not None, DEADLINE_S, "the film"
        )
    times = clock_times(samples)
    figure(f"the film stopped at {stopped_at:.2f} s and goes on at {times[0]:.2f} s")
    assert abs(times[0] - stopped_at) < PLACE_S
    front = await wall.front()
    assert (front["state"], front["title"], front["media_index"], front["waiting"]) == ("playing", "clock.mp4", 1, [])
    await ear.hears(CLOCK_HZ, -40)


async def feed_is_back(wall: Wall) -> None:
    """Its server is there again: the next image takes the screen."""
    wall.rotate((5, 6), 2)
    wall.server.leave(DEVICE_ID, value=False)
    await wall.shows_number(5)
    assert (await wall.front())["waiting"] == ["signage"]


def two_feeds(wall: Wall, first: str, second: str, *, priorities: tuple[int, int]) -> list[Mapping[str, Any]]:
    """Links of these names, in this order, with these priorities."""
    ids = {"feed": DEVICE_ID, "other": OTHER_ID}
    return [
        feed_link(wall.server, ids[name], name=name, priority=priority, hold_s=HOLD_S)
        for name, priority in zip((first, second), priorities, strict=True)
    ]


async def test_two_feeds(tmp_path: Path, own_display: XServer) -> None:
    """The higher priority has the screen, both are acknowledged in time; on a tie it is the link that is named first."""
    async with open_wall(tmp_path, own_display, links=lambda wall: two_feeds(wall, "feed", "other", priorities=(20, 30))) as wall:
        other = wall.server.display(OTHER_ID)
        wall.rotate((1, 2), 1)
        await wall.shows_number(1)
        with wall.screen.sampled(CENTRE[0], 0, 1, wall.screen.height) as samples:
            await take_turns(wall, other)
        assert dark(samples) == []
        assert wall.display.complaints == []
        assert other.complaints == []


async def take_turns(wall: Wall, other: PixelDisplay) -> None:
    """The story itself."""
    other.apps = [App(str(number), encoded(number), 1) for number in (101, 102)]
    wall.server.hub.changed()
    await wall.shows_number(101)
    since, others = wall.display.mark(), other.mark()
    with wall.watched() as samples:
        await other.wait_acks(3, since=others, timeout_s=DEADLINE_S)
    assert {number for _, number in numbers(samples)} == {101, 102}
    times = [ack.at for ack in wall.display.acks[since:] if ack.kind == "displaying"]
    assert len(times) >= 2, "the one beneath goes on by time"
    front = await wall.front()
    assert (front["program"], front["waiting"]) == ("other", ["feed"])
    wall.server.leave(OTHER_ID)
    await asyncio.to_thread(wall.screen.wait, lambda: wall.number() in (1, 2), DEADLINE_S, "the one beneath")
    assert [entry["state"] for entry in (await wall.agent.status())["links"]] == ["connected", "waiting"]
    wall.server.leave(OTHER_ID, value=False)
    await asyncio.to_thread(wall.screen.wait, lambda: wall.number() in (101, 102), DEADLINE_S, "the other one again")

    wall.agent.configure(two_feeds(wall, "feed", "other", priorities=(20, 20)), wall.tables)
    wall.agent.hang_up()
    await asyncio.to_thread(wall.screen.wait, lambda: wall.number() in (1, 2), DEADLINE_S, "the one named first")
    await wall.agent.until(lambda status: status["screens"]["front"]["waiting"] == ["other"])
    wall.agent.configure(two_feeds(wall, "other", "feed", priorities=(20, 20)), wall.tables)
    wall.agent.hang_up()
    await asyncio.to_thread(wall.screen.wait, lambda: wall.number() in (101, 102), DEADLINE_S, "the one named first now")
    await wall.agent.until(lambda status: status["screens"]["front"]["waiting"] == ["feed"])
