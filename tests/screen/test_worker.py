"""The worker's life: opening, answering, ending."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from PIL import Image

from agent.screen.messages import Down, Ended, Failed, Ready, Screenshot, Started, Ticker
from agent.system.wire import Ping
from tests.display import XServer, near
from tests.screen.conftest import GREEN, RED, Media, Stand


async def test_ready_says_the_upright_size(stand: Stand) -> None:
    """Once, first of all."""
    worker = await stand.worker("--rotate", "270")
    assert worker.heard == [Ready(720, 1280, "gpu")]


async def test_a_window(stand: Stand) -> None:
    """Of the size given."""
    worker = await stand.worker("--window", "640x360")
    assert worker.heard == [Ready(640, 360, "gpu")]


async def test_pings_are_answered(stand: Stand, media: Media) -> None:
    """While a video plays, too."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.long_mp4))
    for _ in range(3):
        assert (await worker.ask(Ping(), 2)).error == ""


async def test_no_display_is_down(stand: Stand) -> None:
    """With a reason, soon, and the process ends."""
    server = XServer()
    server.display = ":987"
    worker = await stand.worker(server=server, ready=False)
    down = await worker.says(Down)
    assert down.reason
    async with asyncio.timeout(3):
        assert await worker.process.wait() == 1


async def test_display_that_goes_takes_the_worker_along(stand: Stand) -> None:
    """It does not linger without a screen."""
    with XServer(320, 240) as server:
        worker = await stand.worker(server=server)
        server.stop()
        async with asyncio.timeout(5):
            assert await worker.process.wait() != 0


async def test_sigterm_and_hanging_up(stand: Stand, media: Media) -> None:
    """Both end it within a second, in the middle of a video."""
    for terminate in (True, False):
        worker = await stand.worker()
        await worker.show(worker.shot(media.long_mp4), ticker=Ticker("on and on"))
        begun = time.monotonic()
        if terminate:
            worker.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(3):
                assert await worker.process.wait() == 0
        else:
            assert await worker.close() == 0
        assert time.monotonic() - begun < 1


async def test_null_output(stand: Stand, media: Media, tmp_path: Path) -> None:
    """Everything is said as on a screen; a screenshot is the bare picture."""
    worker = await stand.worker("--mode", "1280x720", output="null")
    assert worker.heard == [Ready(1280, 720, "null")]
    first, second = worker.shot(media.yellow_mp4), worker.shot(media.blue_webm)
    worker.put(shot=first, upcoming=second, ticker=Ticker("nobody sees it"), dim_percent=30.0)
    await worker.says(Started, first.token)
    await worker.says(Ended, second.token)
    await worker.show(worker.shot(media.green_jpg, enter="slide", rect=(0, 0, 0.5, 0.5)))
    await worker.show(worker.shot(media.red_png, fade_in_s=0.2))
    path = tmp_path / "null.png"
    assert (await worker.ask(Screenshot(str(path)))).error == ""
    with Image.open(path) as picture:
        assert near(picture.convert("RGB").getpixel((300, 100)), RED)  # type: ignore[arg-type]
    worker.put(shot=worker.shot("/dev/null"))
    await worker.says(Failed)


async def test_a_still_picture_costs_nothing(stand: Stand, media: Media) -> None:
    """No timer runs while nothing moves, also with a static ticker."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.green_jpg), ticker=Ticker("still", motion="static"), upcoming=worker.shot(media.red_png))
    await stand.server.shows((640, 360), GREEN)
    await asyncio.sleep(0.3)

    def used_s() -> float:
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = used_s()
    await asyncio.sleep(2)
    assert used_s() - before <= 0.02
