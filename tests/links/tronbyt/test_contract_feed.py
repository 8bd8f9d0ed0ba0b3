"""Images through the wire to the screen, and what is acknowledged (tronbyt contract, sections 2 and 3)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from pathlib import Path
from typing import Any

import pytest

from agent.links.tronbyt.pacing import EARLY_S
from tests.box import until
from tests.links.tronbyt.conftest import MakeLink
from tests.links.tronbyt.standins import DEVICE_ID, StandInBox, huge, webp
from tests.servers.tronbyt import TronbytServer
from tests.servers.tronbyt_devices import App

SLACK_S = 0.01
"""Clocks of both ends differ by their resolution, and frames take a moment."""


def apps(count: int, dwell_secs: float = 1) -> list[App]:
    """A rotation."""
    return [App(f"app {number}", webp(f"app {number}"), dwell_secs) for number in range(1, count + 1)]


async def test_one_image(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Queued, then displaying, in two messages, when it is on the screen; nothing else is said."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        sent = await server.send_image(DEVICE_ID, webp("x"), dwell_secs=10)
        await display.wait_displaying(sent)
        assert [said.raw for said in display.messages[1:]] == ['{"queued":1}', '{"displaying":1}']
        assert box.front.numbers == [1]
        shot = box.front.history[0]
        assert (shot.kind, shot.pixelated, shot.loop, shot.title) == ("image", True, True, "feed")
        assert Path(shot.path).read_bytes() == webp("x")
        playing = box.front.stage.status(0).playing
        assert (playing.state, playing.title, playing.media_id) == ("playing", "feed", 1)
        assert display.complaints == []


async def test_a_rotation_in_step(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """The server sends the next as soon as it hears `displaying`; it is held until the dwell is over, without drift."""
    display = server.display(DEVICE_ID)
    display.apps = apps(3)
    async with make_link():
        acks = await display.wait_acks(4, timeout_s=20)
        assert box.front.numbers[:4] == [1, 2, 3, 4]
        stays = [after.at - before.at for before, after in itertools.pairwise(acks)]
        assert all(stay >= 1 - SLACK_S for stay in stays)
        assert [sent.name for sent in display.sent[:4]] == ["app 1", "app 2", "app 3", "app 1"]
        assert display.complaints == []


async def test_the_next_image_is_prepared(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """While it waits, the screen knows what comes."""
    async with make_link():
        await server.connected(DEVICE_ID)
        await server.send_image(DEVICE_ID, webp("1"), dwell_secs=100)
        await server.send_image(DEVICE_ID, webp("2"), dwell_secs=100)
        await until(lambda: box.front.scene.upcoming is not None)
        assert box.front.scene.upcoming is not None
        assert Path(box.front.scene.upcoming.path).read_bytes() == webp("2")
        assert box.front.numbers == [1]


async def test_the_newest_wins(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """An image that was replaced while it waited is never shown nor acknowledged as displaying; its file goes in time."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        for number in range(1, 11):
            sent = await server.send_image(DEVICE_ID, webp(f"{number}"), dwell_secs=1)
        await display.wait_displaying(sent)
        assert display.queued == list(range(1, 11))
        assert display.displayed == [1, 10]
        assert box.front.numbers == [1, 10]
        await until(lambda: len(box.files()) <= 4)
        assert "10.webp" in box.files()


async def test_immediate(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Cuts the dwell of the image that is on; the next one again waits."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1000)
        pushed = await server.send_image(DEVICE_ID, webp("2"), dwell_secs=1000, immediate=True)
        await display.wait_displaying(pushed)
        later = await server.send_image(DEVICE_ID, webp("3"), dwell_secs=1000)
        await display.wait_queued(later)
        await asyncio.sleep(0.1)
        assert display.displayed == [1, 2]
        await server.send(DEVICE_ID, {"immediate": True})
        await display.wait_displaying(later)


async def test_a_cycle_is_finished(server: TronbytServer, make_link: MakeLink) -> None:
    """An animation of 1.6 s with a dwell of 1 s stays for 1.6 s."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await server.send_image(DEVICE_ID, webp("cycle=1.6"), dwell_secs=1)
        await server.send_image(DEVICE_ID, webp("2"), dwell_secs=1)
        first, second = await display.wait_acks(2)
        assert second.at - first.at >= 1.6 - EARLY_S - SLACK_S


@pytest.mark.parametrize("name", ["broken", "text", "huge", "one byte"])
async def test_images_that_cannot_be_shown(
    server: TronbytServer, box: StandInBox, make_link: MakeLink, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Acknowledged like others at their turn; the picture stays, and the next may come a second later."""
    data = {"broken": webp("broken"), "text": b"<html>502</html>", "huge": huge(), "one byte": b"R"}[name]
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1)
        bad = await server.send_image(DEVICE_ID, data, dwell_secs=1000)
        await display.wait_queued(bad)
        assert bad.displaying_at is None
        at = await display.wait_displaying(bad)
        assert box.front.number == 1
        good = await server.send_image(DEVICE_ID, webp("3"), dwell_secs=1)
        assert await display.wait_displaying(good) - at >= 1 - SLACK_S
        assert box.front.numbers == [1, 3]
        assert (display.queued, display.displayed) == ([1, 2, 3], [1, 2, 3])
        assert display.connections == 1
    assert "cannot be shown" in caplog.text


async def test_many_bad_images_are_said_once(
    server: TronbytServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning for each fault, also when good ones come in between."""
    caplog.set_level(logging.INFO)
    async with make_link():
        display = await server.connected(DEVICE_ID)
        since = len(caplog.records)
        for _ in range(10):
            for data in (b"no image", webp("good"), huge()):
                await server.send_image(DEVICE_ID, data)
        await display.wait_acks(30, "queued")
        said = [record.getMessage() for record in caplog.records[since:] if record.name.startswith("agent.links.tronbyt")]
    assert said == [
        "image cannot be shown, the picture stays link=feed reason=neither WebP, PNG, JPEG nor GIF",
        "image cannot be shown, the picture stays link=feed reason=larger than 2000000 bytes",
    ]


async def test_an_empty_frame(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Is no image: no number, no acknowledgement, no harm."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, b"")
        sent = await server.send_image(DEVICE_ID, webp("1"))
        await display.wait_displaying(sent)
        assert (display.queued, display.connections) == ([1], 1)


async def test_continuation_frames(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """An image in many pieces is one image."""
    display = server.display(DEVICE_ID)
    display.fragments = 50
    async with make_link():
        await server.connected(DEVICE_ID)
        sent = await server.send_image(DEVICE_ID, webp("x" * 565_000))
        await display.wait_displaying(sent)
        assert Path(box.front.history[0].path).read_bytes() == webp("x" * 565_000)


async def test_dwell_at_first(server: TronbytServer, make_link: MakeLink) -> None:
    """10 s until the server says otherwise; a wrong type changes nothing; the last one stays."""
    async with make_link() as link:
        display = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"dwell_secs": "3"})
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1"), dwell_secs=None))
        assert link._orders.dwell_s == 10
        await display.wait_queued(await server.send_image(DEVICE_ID, webp("2"), dwell_secs=0))
        assert link._orders.dwell_s == 1
        await server.send(DEVICE_ID, {"dwell_secs": True})
        await display.wait_queued(await server.send_image(DEVICE_ID, webp("3"), dwell_secs=None))
        assert link._orders.dwell_s == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\0",
        "[]",
        "[1, 2]",
        "null",
        "nonsense",
        '{"dwell_secs": NaN}',
        '{"dwell_secs": 1e999, "brightness": 1e999}',
        '{"brightness": {"a": []}}',
        '{"immediate": [true]}',
        '{"status": "error", "message": {}}',
        '{"status": "error", "message": "' + "x" * 60_000 + '"}',
        '{"unknown": true}',
        '{"dwell_secs": 5}\n\n',
        "[" * 50_000,
        '{"ota_url": "http://127.0.0.1:1/firmware", "image_url": "file:///etc/passwd", "reboot": true}',
    ],
    ids=lambda text: repr(text[:30]),
)
async def test_garbage(server: TronbytServer, box: StandInBox, make_link: MakeLink, text: str) -> None:
    """Is ignored; the connection and the pictures go on."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, text)
        sent = await server.send_image(DEVICE_ID, webp("1"))
        await display.wait_displaying(sent)
        assert (display.connections, box.reboot.requests) == (1, 0)


async def test_an_error_of_the_server(
    server: TronbytServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """Is logged, once; not acknowledged; the picture stays."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
        for _ in range(3):
            await server.send(DEVICE_ID, {"status": "error", "message": "Error fetching image: 500"})
        await server.send(DEVICE_ID, {"status": "error", "message": "another"})
        await until(lambda: "another" in caplog.text)
        assert box.front.number == 1
        assert len(display.messages) == 3
    warnings = [record.getMessage() for record in caplog.records if "reports an error" in record.getMessage()]
    assert len(warnings) == 2


async def test_restart_refused(
    server: TronbytServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless the configuration allows it."""
    async with make_link():
        await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"reboot": True})
        await until(lambda: "restart refused" in caplog.text)
        assert box.reboot.requests == 0


@pytest.mark.parametrize("fails", ["", "not allowed here"])
async def test_restart_allowed(
    server: TronbytServer, box: StandInBox, make_link: MakeLink, fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Carried out beside everything else; a refusal of the platform is logged, and the next one is tried again."""
    box.reboot.fails = fails
    async with make_link(allow_reboot=True):
        display = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"reboot": "yes"})
        await server.send(DEVICE_ID, {"reboot": True})
        await until(lambda: box.reboot.requests == 1)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
        await server.send(DEVICE_ID, {"reboot": True})
        await until(lambda: box.reboot.requests == 2)
    assert (fails in caplog.text) or not fails


# Brightness


async def dims_to(server: TronbytServer, box: StandInBox, value: Any, dim_percent: float) -> None:
    """Sends a brightness; waits for what it does to the scene."""
    await server.send(DEVICE_ID, {"brightness": value})
    await until(lambda: abs(box.front.scene.dim_percent - dim_percent) < 0.01, f"{value} → {dim_percent}")


async def test_brightness(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Acts at once on the picture that is on, which does not start anew; no acknowledgement; wrong values change nothing."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1))
        shot = box.front.scene.shot
        await dims_to(server, box, 40, 60)
        for value in (-1, 300, "5", None, True):
            await server.send(DEVICE_ID, {"brightness": value})
        await dims_to(server, box, 30, 70)
        assert box.front.scene.shot == shot
        await dims_to(server, box, 0, 100)
        assert len(display.messages) == 3
        later = await server.send_image(DEVICE_ID, webp("2"), dwell_secs=1)
        await display.wait_displaying(later)
        assert box.front.scene.dim_percent == 100
        await dims_to(server, box, 100, 0)


async def test_the_last_brightness_stays(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Of several in a row, also before the first image."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        for value in (10, 90, 20, 80):
            await server.send(DEVICE_ID, {"brightness": value})
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
        assert box.front.scene.dim_percent == 20


async def test_the_scale_is_found_out_and_remembered(
    server: TronbytServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """Percent until a value above 100 comes; from then on byte, also in the next run; the brightness itself is not kept."""
    with caplog.at_level(logging.INFO):
        async with make_link() as link:
            display = await server.connected(DEVICE_ID)
            await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
            await dims_to(server, box, 51, 49)
            await dims_to(server, box, 204, 20)
            await dims_to(server, box, 51, 80)
            assert "brightness is 0 to 255 on this link from now on" in caplog.text
            async with asyncio.timeout(10):
                while await box.state.get("tronbyt.feed.brightness_scale") is None:
                    await asyncio.sleep(0.01)
        link.leave()
    async with make_link():
        await server.wait_for(lambda: display.connections == 2)
        await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
        assert box.front.scene.dim_percent == 0
        await dims_to(server, box, 51, 80)


async def test_the_scale_of_another_server(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Is not remembered for this one, nor is nonsense in the state."""
    for kept in ({"scale": "byte", "host": "elsewhere"}, "byte", None, 7):
        await box.state.put("tronbyt.feed.brightness_scale", kept)
        async with make_link() as link:
            display = await server.connected(DEVICE_ID)
            await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
            await dims_to(server, box, 50, 50)
        link.leave()
        await server.wait_for(lambda: server.display(DEVICE_ID).live == 0)


@pytest.mark.parametrize("configured", [("percent", 128, 0), ("byte", 51, 80), ("percent", 51, 49)])
async def test_the_scale_is_configured(
    server: TronbytServer, box: StandInBox, make_link: MakeLink, configured: tuple[str, int, float]
) -> None:
    """Then nothing is found out."""
    scale, value, dim_percent = configured
    async with make_link(brightness_scale=scale):
        display = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"brightness": 1})
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
        await dims_to(server, box, value, dim_percent)


# Something else has the screen


async def test_covered(server: TronbytServer, box: StandInBox, make_link: MakeLink, tmp_path: Path) -> None:
    """The rotation goes on by time as if it were seen; when the screen is free, the present image is up at once."""
    display = server.display(DEVICE_ID)
    display.apps = apps(5)
    async with make_link():
        await display.wait_acks(1)
        uncover = box.front.cover(tmp_path / "cover")
        acks = await display.wait_acks(4, timeout_s=20)
        stays = [after.at - before.at for before, after in itertools.pairwise(acks)]
        assert all(stay >= 1 - SLACK_S for stay in stays)
        assert box.front.numbers == [1]
        display.paused = True
        uncover()
        await until(lambda: len(box.front.numbers) > 1)
        assert box.front.numbers[1] >= 4
        assert box.front.missing == []
        assert display.complaints == []


async def test_screen_down(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """The same without any display."""
    display = server.display(DEVICE_ID)
    display.apps = apps(2)
    box.front.stage.down(0)
    async with make_link():
        acks = await display.wait_acks(3, timeout_s=20)
        assert acks[2].at - acks[0].at >= 2 - SLACK_S
        assert display.complaints == []


# Servers and their habits


async def test_an_old_server(server: TronbytServer, make_link: MakeLink) -> None:
    """One that does not wait for acknowledgements gets them all the same, and every image its time."""
    display = server.display(DEVICE_ID)
    display.apps, display.habit = apps(3), "timed"
    async with make_link():
        acks = await display.wait_acks(3, timeout_s=20)
        assert [ack.number for ack in acks] == sorted({ack.number for ack in acks})
        assert display.complaints == []


async def test_pushes_at_random_moments(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """200 images, some wanted now: each queued once in order, each displaying said once, in order, as it was on the screen."""
    chance = random.Random(6)
    box.front.latency_s = 0.01
    async with make_link():
        display = await server.connected(DEVICE_ID)
        for number in range(1, 201):
            immediate = chance.random() < 0.5
            sent = await server.send_image(DEVICE_ID, webp(f"{number}"), dwell_secs=1, immediate=immediate)
            await asyncio.sleep(chance.choice([0, 0, 0.005, 0.03]))
        await display.wait_displaying(sent)
        await until(lambda: box.front.numbers[-1] == 200)
        assert display.queued == list(range(1, 201))
        assert display.displayed == box.front.numbers
        assert display.complaints == []
        assert box.front.missing == []


async def test_a_flood(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """A thousand images without a pause: all acknowledged in order, a handful of files at any time."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        begun = time.monotonic()
        most = 0
        for _ in range(1000):
            sent = await server.send_image(DEVICE_ID, webp("x" * 2000), dwell_secs=1)
            most = max(most, len(box.files()))
        await display.wait_queued(sent, timeout_s=60)
        await until(lambda: len(box.files()) <= 6)
        assert display.queued == list(range(1, 1001))
        assert most < 20
        assert display.displayed[0] == 1
        assert len(display.displayed) <= time.monotonic() - begun + 2


async def test_the_disk_is_full(
    server: TronbytServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """An image that cannot be kept is one that cannot be shown; the next one may be."""
    caplog.set_level(logging.INFO)
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1))
        (box.folder / "2.webp").mkdir()
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("2"), dwell_secs=1))
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("3"), dwell_secs=1))
        assert box.front.numbers == [1, 3]
    said = [(entry.levelname, entry.getMessage()) for entry in caplog.records if "be kept" in entry.getMessage()]
    assert said == [
        ("WARNING", "image cannot be kept, the picture stays error=Is a directory link=feed"),
        ("INFO", "images can be kept again link=feed"),
    ]


async def test_texts_that_are_hard_to_read(server: TronbytServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """However long a run of blanks is, the images go on, and the log gets a short line."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        for words in ("token" + " " * 60_000, "authorization:" + "\t" * 60_000, "://" * 20_000):
            await server.send(DEVICE_ID, {words: 1})
            await server.send(DEVICE_ID, {"status": "error", "message": words})
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
    assert max(len(record.getMessage()) for record in caplog.records) < 600


async def test_messages_survive_a_fault_of_ours(
    server: TronbytServer, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that fails ends nothing."""
    async with make_link() as link:
        display = await server.connected(DEVICE_ID)

        def breaks(_percent: float) -> None:
            raise RecursionError("on purpose")

        monkeypatch.setattr(link._rotation, "dim", breaks)
        await server.send(DEVICE_ID, {"brightness": 5})
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
        assert display.connections == 1
