"""Pictures from a Tronbyt server to the pixels of an X screen, and what the server is told about them."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from tests.conftest import rounds
from tests.display import Colour, Samples, XServer, near
from tests.end_to_end_tronbyt.wall import CENTRE, DEADLINE_S, SIZE, Wall, encoded, figure, numbers, open_wall
from tests.servers import pixels
from tests.servers.tronbyt_devices import Habit, Sent

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOAD = 3.0
"""What a limit of the contract is multiplied with: the machine does other things, too."""
ON_GLASS_S = 0.1
SLACK_S = 0.05
"""Looking at the screen and reading a socket take a moment."""
OVERTAKEN_S = 0.35
"""So long an image to be shown at once may wait for the one that is on its way to the screen."""
BLACK = (0, 0, 0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_wall(tmp_path_factory: pytest.TempPathFactory, display: XServer) -> AsyncIterator[Wall]:
    """A wall that all tests of this module use, one after the other."""
    async with open_wall(tmp_path_factory.mktemp("wall"), display) as wall:
        yield wall


@pytest_asyncio.fixture(loop_scope="module")
async def wall(module_wall: Wall) -> AsyncIterator[Wall]:
    """The module's, with nothing in its rotation; the agent did nothing against the contract."""
    module_wall.rotate((), 1)
    await module_wall.put(pixels.plain("#606060", SIZE))
    yield module_wall
    assert module_wall.display.complaints == []
    assert module_wall.display.connections == 1


async def test_a_checkerboard_at_720p(tmp_path: Path) -> None:
    """From a screen with nothing to a picture of 64 by 32: every pixel is a block of 20 by 20, and around it is black."""
    with XServer(1280, 720) as screen:
        async with open_wall(tmp_path, screen) as wall:
            sent = await wall.put(pixels.checkerboard(), name="board")
            await wall.shows(pixels.checkerboard())
            front = await wall.front()
            assert (front["state"], front["program"], front["title"], front["waiting"]) == ("playing", "feed", "feed", [])
            [info] = wall.display.client_infos
            assert info["firmware_type"] == "signage-agent"
            assert (wall.display.queued, wall.display.displayed, sent.number) == ([1], [1], 1)
            assert wall.display.complaints == []


async def test_sizes_kinds_and_pieces(wall: Wall) -> None:
    """1 by 1, 256 by 128, alpha, PNG, JPEG, GIF, in one frame or many: to the pixel, and nothing of the one before is left."""
    solid = pixels.plain("#c04020")
    clear = pixels.glass()
    seen_through = Image.alpha_composite(Image.new("RGBA", clear.size, "#000000"), clear)
    for data, picture in (
        (pixels.encode(pixels.noise((256, 128))), pixels.noise((256, 128))),
        (pixels.encode(pixels.plain("#ff5c85", (1, 1))), pixels.plain("#ff5c85", (1, 1))),
        (pixels.encode(clear), seen_through),
        (pixels.encode(pixels.checkerboard(), "PNG"), pixels.checkerboard()),
        (pixels.encode(solid, "JPEG"), solid),
        (pixels.encode(pixels.noise((30, 50))), pixels.noise((30, 50))),
        (pixels.encode(pixels.checkerboard(), "GIF"), pixels.checkerboard()),
    ):
        wall.display.fragments = 1 + (wall.display.fragments + 6) % 14
        await wall.put(data)
        await wall.shows(picture)
    wall.display.fragments = 1


async def test_565_kb(wall: Wall) -> None:
    """Frames that no encoder makes small, in an animation of 256 by 128: each is there to the pixel."""
    heavy = await asyncio.to_thread(pixels.heavy)
    assert len(heavy) >= 565_000
    await wall.put(heavy)
    for number in range(3):
        await wall.shows(pixels.noise((256, 128), number))


async def test_files_that_cannot_be_shown(wall: Wall) -> None:
    """Corrupt, truncated, too large, too many frames: acknowledged, the picture stays throughout, and the next one is shown."""
    await wall.put(encoded(1))
    await wall.shows_number(1)
    since = wall.display.mark()
    with wall.watched() as samples:
        for name, make in pixels.HOSTILE.items():
            data = await asyncio.to_thread(make)
            if data:
                await wall.put(data, name=name)
            else:
                await wall.server.send_raw(wall.display.device_id, data)
    assert len(samples) == 1, [number for _, number in numbers(samples)]
    await wall.put(encoded(2))
    await wall.shows_number(2)
    kinds = [ack.kind for ack in wall.display.acks[since:]]
    assert kinds == ["queued", "displaying"] * len(pixels.HOSTILE)  # an empty frame is none, and one was good


@pytest.mark.parametrize(("habit", "count"), [("waits", rounds(50)), ("timed", 4)])
async def test_a_rotation_keeps_time(wall: Wall, habit: Habit, count: int) -> None:
    """Each picture comes within 100 ms of its turn, without drift; what is said is what is seen, whatever the server's habit."""
    wall.display.habit = habit
    since = len(wall.display.sent)
    with wall.watched() as samples:
        wall.rotate(range(1, count + 1), 1)
        wall.server.push(wall.display.device_id, wall.display.apps[-1])
        await wall.server.wait_for(lambda: _shown(wall, since)[count:], count * 1.5 + DEADLINE_S)
        wall.rotate((), 1)
    wall.display.habit = "waits"
    seen = numbers(samples)
    said = [int(sent.name) for sent in _shown(wall, since)]
    assert [number for _, number in seen] == said[: len(seen)]
    assert len(seen) >= count
    late = [after - before - 1 for (before, _), (after, _) in itertools.pairwise(seen)]
    figure(f"{habit}: late by {_ms(late)} ms, drift {1000 * statistics.mean(late):.1f} ms a picture")
    if habit == "waits":  # the other one goes by its own time
        assert min(late) > -SLACK_S
        assert statistics.median(late) < ON_GLASS_S
        assert statistics.mean(late) < 0.2


async def test_pushes_at_random_moments(wall: Wall) -> None:
    """Each is acknowledged once as queued; what is seen is what is acknowledged as displaying; what is missing was replaced."""
    count = max(100, rounds(200))
    chance = random.Random(6)
    for number in range(1, count + 1):
        await asyncio.to_thread(encoded, number)
    sent: list[Sent] = []
    with wall.watched() as samples:
        for number in range(1, count + 1):
            sent.append(await wall.send(encoded(number), dwell_secs=1, immediate=chance.random() < 0.6, name=str(number)))
            await asyncio.sleep(1.2 if number % 25 == 0 else chance.choice((0, 0, 0.02, 0.1, 0.25)))
        await wall.display.wait_displaying(sent[-1], DEADLINE_S)
        await wall.shows_number(count)
    assert all(one.queued_at for one in sent)
    first = sent[0].number or 0
    assert [one.number for one in sent] == list(range(first, first + count))
    shown = [one for one in sent if one.displaying_at is not None]
    seen = {number: at for at, number in numbers(samples)}
    assert [number for _, number in numbers(samples)] == [int(one.name) for one in shown]
    took = []
    for before, one in itertools.pairwise(shown):
        said, on_glass = one.displaying_at or 0.0, seen[int(one.name)]
        assert -SLACK_S < said - on_glass < LOAD, "said when it is there"
        if one.immediate:
            took.append(on_glass - one.at)
        else:
            stayed = max(on_glass - seen[int(before.name)], said - (before.displaying_at or 0.0))
            assert stayed > 1 - SLACK_S, f"{one.name} did not wait"
    for one, after in itertools.pairwise(sent):
        if one.displaying_at is None:
            assert after.at < _turn(one, shown) + OVERTAKEN_S + SLACK_S, f"{one.name} was not shown, although it was its turn"
    figure(f"{len(shown)} of {count} shown; at once took {_ms(took)} ms")
    assert statistics.median(took) < ON_GLASS_S * LOAD


def _turn(one: Sent, shown: list[Sent]) -> float:
    """When an image that was never shown would have been due."""
    if one.immediate:
        return one.at
    current = [before for before in shown if before.serial < one.serial]
    return max(one.at, current[-1].displaying_at + 1) if current and current[-1].displaying_at else one.at


def _shown(wall: Wall, since: int) -> list[Sent]:
    return [sent for sent in wall.display.sent[since:] if sent.displaying_at is not None]


def _ms(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{1000 * ordered[0]:.0f}/{1000 * statistics.median(ordered):.0f}/{1000 * ordered[-1]:.0f}"


FILM: list[Colour] = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (200, 40, 200)]


def film(durations_ms: list[int], loops: int) -> bytes:
    """An animation whose frames are those of FILM."""
    frames = [Image.new("RGB", SIZE, colour) for colour in FILM]
    return pixels.animate(frames, durations_ms, loops=loops)


def frames_of(samples: Samples) -> list[tuple[float, int]]:
    """When which frame came; -1: something else."""
    found: list[tuple[float, int]] = []
    for at, data in samples:
        frame = next((n for n, colour in enumerate(FILM) if near(data[2::-1], colour)), -1)
        if not found or found[-1][1] != frame:
            found.append((at, frame))
    return found


async def test_an_animation(wall: Wall) -> None:
    """Each frame for its own time, round after round whatever the file says; the round is finished before the next image."""
    durations = [100, 300, 0, 250, 600]
    lengths = [0.1, 0.3, 0.05, 0.25, 0.6]
    with wall.screen.sampled(*CENTRE, 1, 1) as samples:
        await wall.put(film(durations, loops=1), dwell_secs=2)
        following = await wall.send(encoded(7), dwell_secs=3600, immediate=False)
        await wall.display.wait_displaying(following, DEADLINE_S)
        await wall.shows_number(7)
    seen = frames_of(samples)[1:]
    order = [frame for _, frame in seen[:-1]]
    stayed = seen[-1][0] - seen[0][0]
    errors = [abs(after - at - lengths[frame]) for (at, frame), (after, _) in itertools.pairwise(seen[:10])]
    figure(f"frames off by {_ms(errors)} ms; stayed {stayed:.3f} s of 2.6 s")
    assert order[:10] == [0, 1, 2, 3, 4] * 2
    assert order[10:] in ([], [0]), "two rounds, and a moment of the third at most"
    assert statistics.median(errors) < 0.015 * LOAD
    assert 2.6 - SLACK_S < stayed < 2.6 + ON_GLASS_S * LOAD


async def test_brightness(wall: Wall) -> None:
    """0 is dark and 50 is half, at once and without starting the picture anew; acknowledgements go on; only the feed is meant."""
    await wall.put(film([400] * 5, loops=0))
    await wall.screen.shows(CENTRE, FILM[1])
    since = wall.display.mark()
    with wall.screen.sampled(*CENTRE, 1, 1) as samples:
        await wall.screen.shows(CENTRE, FILM[2])
        await wall.server.set_brightness(wall.display.device_id, 0)
        begun = time.monotonic()
        await wall.screen.shows(CENTRE, BLACK)
        dark_s = time.monotonic() - begun
        await asyncio.sleep(0.5)
        assert wall.screen.pixel(*CENTRE) == BLACK
        await wall.server.set_brightness(wall.display.device_id, 50)
        await asyncio.to_thread(wall.screen.wait, lambda: 90 < max(wall.screen.pixel(*CENTRE)) < 110, 5, "half the light")
        await wall.server.set_brightness(wall.display.device_id, 100)
        await wall.screen.shows(CENTRE, FILM[0])
        await asyncio.sleep(1.0)
    assert wall.display.mark() == since
    assert (await wall.agent.status())["brightness"]["percent"] == 100
    starts = [(at - 0.4 * frame) % 2.0 for at, frame in frames_of(samples)[1:] if frame >= 0]
    off = [min((start - starts[-1]) % 2.0, (starts[-1] - start) % 2.0) for start in starts]
    figure(f"dark after {1000 * dark_s:.0f} ms; out of step by {_ms(off)} ms")
    assert statistics.median(off) < 0.1, "the same round, not a new one"

    await wall.server.set_brightness(wall.display.device_id, 0)
    await wall.screen.shows(CENTRE, BLACK)
    with wall.screen.sampled(0, CENTRE[1], wall.screen.width, 1) as row:
        wall.rotate((1, 2), 1)
        wall.server.push(wall.display.device_id, wall.display.apps[0])
        await wall.display.wait_acks(3, since=since, timeout_s=DEADLINE_S)
        wall.rotate((), 1)
    assert all(int(np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].max()) == 0 for _, data in row)
    await wall.server.set_brightness(wall.display.device_id, 100)
    await wall.put(encoded(3))
    await wall.shows_number(3)
