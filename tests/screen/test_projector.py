"""From scene to scene, seen on a real X screen."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from agent.screen.decoders import SOFTWARE
from agent.screen.files import Files, Source
from agent.screen.messages import Ended, Failed, Notice, Progress, Ready, Scene, Shot, Started
from agent.screen.projector import Projector
from tests.conftest import rounds
from tests.display import near
from tests.screen.conftest import BLUE, GREEN, RED, Media, Stand

CENTRE = (640, 360)
BACKGROUND = "#A000A0"


async def test_an_image_a_video_and_nothing(stand: Stand, media: Media) -> None:
    """Each is on the screen when it says so; without a shot the background colour is."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.red_png))
    assert near(stand.server.pixel(*CENTRE), RED)
    started = await worker.show(worker.shot(media.long_mp4))
    assert near(stand.server.pixel(*CENTRE), BLUE)
    assert started.duration_s is not None
    assert abs(started.duration_s - 10) < 0.1
    worker.put(shot=None, background="#204060")
    await stand.server.shows(CENTRE, (0x20, 0x40, 0x60))
    worker.put(background="#602040")
    await stand.server.shows(CENTRE, (0x60, 0x20, 0x40))


async def test_a_video_flows_into_the_next_and_its_last_frame_stands(stand: Stand, media: Media) -> None:
    """Ended and Started come by themselves when something is upcoming; with nothing upcoming the end stands."""
    worker = await stand.worker()
    first, second = worker.shot(media.yellow_mp4), worker.shot(media.blue_webm)
    worker.put(shot=first, upcoming=second)
    await worker.says(Ended, second.token)
    kinds = [(type(message), message.token) for message in worker.heard if isinstance(message, (Started, Ended))]
    assert kinds == [(Started, 1), (Ended, 1), (Started, 2), (Ended, 2)]
    await asyncio.sleep(0.3)
    assert near(stand.server.pixel(*CENTRE), BLUE)
    third = worker.shot(media.red_png)
    worker.put(shot=second, upcoming=third)
    await worker.says(Started, third.token)
    worker.put(volume_percent=50.0)
    await asyncio.sleep(0.2)
    assert near(stand.server.pixel(*CENTRE), RED), "a scene from before the end brings the ended shot back"


@pytest.mark.timeout(600)
async def test_no_black_frame(stand: Stand, media: Media) -> None:
    """Images and videos of many sizes, by their natural end and by command, in changing places: never black, not for a moment."""
    worker = await stand.worker()
    files = [media.red_png, media.yellow_mp4, media.green_jpg, media.blue_webm, media.green_mp4, media.blue_webp]
    places = [None, None, None, (0.25, 0.25, 0.5, 0.5), (0.0, 0.0, 1.0, 0.5)]
    order = zip(itertools.cycle(files), itertools.cycle(places), strict=False)
    await worker.show(worker.shot(media.red_png), background=BACKGROUND)
    await stand.server.shows(CENTRE, RED)
    await asyncio.sleep(0.1)
    with stand.server.sampled(640, 4, 1, 712) as samples:
        for number, (file, place) in enumerate(itertools.islice(order, rounds(500))):
            shot = worker.shot(file, rect=place)
            current = worker.scene.shot
            assert current is not None
            if current.kind == "video" and number % 2:
                worker.put(upcoming=shot)
                await worker.says(Started, shot.token)
                worker.put(shot=shot, upcoming=None)
            elif number % 3 == 0:
                worker.put(upcoming=shot)
                await asyncio.sleep(0.1)
                await worker.show(shot, upcoming=None)
            else:
                await worker.show(shot, upcoming=None)
    assert not worker.all(Failed)
    assert samples.looks > 2000
    assert samples.darkest() > 0x60


async def test_three_commands_at_once_end_with_the_last(stand: Stand, media: Media) -> None:
    """What is overtaken before it is shown is never said to have started after the last one."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.red_png))
    shots = [worker.shot(file) for file in (media.green_jpg, media.blue_webp, media.green_mp4, media.blue_webm)]
    for shot in shots:
        worker.put(shot=shot)
    await worker.says(Started, shots[-1].token)
    await stand.server.shows(CENTRE, BLUE)
    await asyncio.sleep(0.2)
    assert worker.all(Started)[-1].token == shots[-1].token


async def test_pause_holds_the_video_and_survives_a_new_shot(stand: Stand, media: Media) -> None:
    """While paused nothing moves, ends or reports progress; a shot that comes meanwhile is shown, still paused."""
    worker = await stand.worker()
    shot = worker.shot(media.red_mp4)
    await worker.show(shot, upcoming=worker.shot(media.blue_webm))
    worker.put(paused=True)
    await asyncio.sleep(1.3)
    assert not worker.all(Ended)
    assert not worker.all(Progress)
    other = worker.shot(media.green_mp4)
    await worker.show(other, upcoming=None)
    await stand.server.shows(CENTRE, GREEN)
    await asyncio.sleep(0.7)
    assert not worker.all(Ended)
    worker.put(paused=False)
    await worker.says(Ended, other.token, 2)


async def test_start_and_progress(stand: Stand, media: Media) -> None:
    """A video goes on where it is told to, and says about once a second where it is."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.long_mp4, start_s=7.0))
    assert near(stand.server.pixel(*CENTRE), GREEN), "shows what comes after 5 s"
    progress = await worker.says(Progress)
    assert 7.5 < progress.position_s < 8.7


async def test_loop_goes_round(stand: Stand, media: Media) -> None:
    """A looping video never ends and reports no progress."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.yellow_mp4, loop=True), upcoming=worker.shot(media.red_png))
    await asyncio.sleep(1.2)
    assert not worker.all(Ended)
    assert not worker.all(Progress)
    assert near(stand.server.pixel(*CENTRE), (255, 255, 0))


async def test_layout(stand: Stand, media: Media) -> None:
    """A picture keeps its proportions inside its rectangle; around it is the background colour."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.red_png, rect=(0.5, 0.0, 0.5, 1.0)), background=BACKGROUND)
    server = stand.server
    await server.shows((5, 5), (0xA0, 0, 0xA0))
    inside, outside = [(645, 360), (1275, 360), (960, 185), (960, 535)], [(634, 360), (960, 175), (960, 545), (5, 5)]
    assert all(near(server.pixel(*point), RED) for point in inside)
    assert all(near(server.pixel(*point), (0xA0, 0, 0xA0)) for point in outside)


async def test_pixelated_is_a_whole_multiple(stand: Stand, tmp_path: Path) -> None:
    """64 x 32 on 1280 x 700 of the screen: 20 times as large, sharp to the pixel."""
    from PIL import Image  # noqa: PLC0415

    picture = Image.new("RGB", (64, 32), RED)
    picture.putpixel((10, 10), GREEN)
    picture.save(tmp_path / "matrix.png")
    worker = await stand.worker()
    await worker.show(worker.shot(tmp_path / "matrix.png", rect=(0, 0, 1, 700 / 720), pixelated=True), background=BACKGROUND)
    server = stand.server
    top = 30
    await server.shows((640, top - 1), (0xA0, 0, 0xA0))
    assert near(server.pixel(640, top), RED)
    corners = [(200, top + 200), (219, top + 200), (200, top + 219), (219, top + 219)]
    assert all(near(server.pixel(*corner), GREEN) for corner in corners)
    around = [(199, top + 210), (220, top + 210), (210, top + 199), (210, top + 220)]
    assert all(near(server.pixel(*point), RED) for point in around)


async def test_a_failure_leaves_the_old_picture(stand: Stand, media: Media, tmp_path: Path) -> None:
    """A shot that cannot be shown is reported once, with a cause; what was there stays."""
    worker = await stand.worker()
    await worker.show(worker.shot(media.red_png))
    (tmp_path / "text.mp4").write_text("no video at all\n" * 1000)
    (tmp_path / "cut.mp4").write_bytes(media.long_mp4.read_bytes()[:2000])
    (tmp_path / "cut.png").write_bytes(media.red_png.read_bytes()[:60])
    (tmp_path / "empty.png").write_bytes(b"")
    missing = tmp_path / "missing.mp4"
    paths: list[Path | str] = [*sorted(tmp_path.iterdir()), missing, tmp_path, "/dev/zero", "relative.png"]
    for path in paths:
        shot = worker.shot(path)
        worker.put(shot=shot)
        failed = await worker.says(Failed, shot.token)
        assert failed.reason
        assert near(stand.server.pixel(*CENTRE), RED)
    worker.put(volume_percent=40.0)
    await worker.show(worker.shot(media.green_jpg))
    tokens = [failed.token for failed in worker.all(Failed)]
    assert len(tokens) == len(set(tokens)) == 8


async def test_a_damaged_follower_is_known_before_its_turn(stand: Stand, media: Media, tmp_path: Path) -> None:
    """It is reported while the present one plays, which goes on to whatever comes instead."""
    worker = await stand.worker()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(media.long_mp4.read_bytes()[:2000])
    shot, bad, good = worker.shot(media.red_mp4), worker.shot(broken), worker.shot(media.blue_webm)
    worker.put(shot=shot, upcoming=bad)
    await worker.says(Failed, bad.token)
    assert not worker.all(Ended)
    worker.put(upcoming=good)
    await worker.says(Started, good.token)
    assert near(stand.server.pixel(*CENTRE), BLUE)


async def test_a_withdrawn_follower_is_not_shown(stand: Stand, media: Media) -> None:
    """With `upcoming` taken back in time, the end of the video stands."""
    worker = await stand.worker()
    shot = worker.shot(media.red_mp4)
    await worker.show(shot, upcoming=worker.shot(media.blue_webm))
    await asyncio.sleep(0.3)
    worker.put(upcoming=None)
    await worker.says(Ended, shot.token)
    await asyncio.sleep(0.3)
    assert near(stand.server.pixel(*CENTRE), RED)
    assert len(worker.all(Started)) == 1


async def test_sound_only_is_not_shown(stand: Stand, media: Media, tmp_path: Path) -> None:
    """A file without a picture fails."""
    from tests.display import ffmpeg  # noqa: PLC0415

    ffmpeg("-i", str(media.red_mp4), "-vn", str(tmp_path / "tone.m4a"))
    worker = await stand.worker()
    shot = worker.shot(tmp_path / "tone.m4a")
    worker.put(shot=shot)
    assert (await worker.says(Failed, shot.token)).reason


async def test_idle_image(stand: Stand, media: Media) -> None:
    """It stands while there is no shot."""
    worker = await stand.worker("--idle-image", str(media.green_jpg))
    await stand.server.shows(CENTRE, GREEN)
    await worker.show(worker.shot(media.red_png))
    worker.put(shot=None)
    await stand.server.shows(CENTRE, GREEN)


async def test_rotation(stand: Stand, tmp_path: Path) -> None:
    """The upright picture is turned clockwise; its top lies on the right at 90 degrees, its layout turns with it."""
    from PIL import Image  # noqa: PLC0415

    picture = Image.new("RGB", (720, 1280), RED)
    picture.paste(GREEN, (0, 0, 720, 640))
    picture.save(tmp_path / "upright.png")
    top = {90: (1100, 360), 180: (640, 650), 270: (100, 360)}
    bottom = {90: (100, 360), 180: (640, 100), 270: (1100, 360)}
    for rotate in (90, 180, 270):
        worker = await stand.worker("--rotate", str(rotate))
        await worker.show(worker.shot(tmp_path / "upright.png"))
        assert near(stand.server.pixel(*top[rotate]), GREEN), rotate
        assert near(stand.server.pixel(*bottom[rotate]), RED), rotate
        await worker.show(worker.shot(tmp_path / "upright.png", rect=(0, 0, 0.5, 0.5)))
        away, point = {
            90: ((500, 500), (1129, 150)),
            180: ((500, 200), (979, 569)),
            270: ((800, 200), (150, 569)),
        }[rotate]
        await stand.server.shows(away, (0, 0, 0))
        assert not near(stand.server.pixel(*point), (0, 0, 0)), rotate
        await worker.close()


class Trusting(Files):
    """Takes every file for a video that a hardware decoder should decode."""

    async def prepare(self, shot: Shot) -> Source:
        """Without looking."""
        return Source(shot.path, "h264", 64, 64, hwdec="v4l2m2m-copy")


async def shown_by_a_trusting_projector(shot: Shot, first_frame_s: float, kind: type) -> list[Any]:
    """What is said about a shot, until a message of this kind comes; without any screen."""
    said: list[Any] = []
    news = asyncio.Event()

    def say(message: Any) -> None:
        said.append(message)
        news.set()

    projector = Projector(
        output_options={"vo": "null", "ao": "null"},
        vo="null",
        null_size=(64, 64),
        rotate=0,
        files=Trusting(SOFTWARE, "auto", 10),
        idle_image="",
        first_frame_s=first_frame_s,
        say=say,
    )
    projector.apply(Scene(shot))
    showing = asyncio.create_task(projector.run(5))
    async with asyncio.timeout(10):
        while not any(isinstance(message, kind) for message in said):
            await news.wait()
            news.clear()
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)
    await asyncio.to_thread(projector.player.close)
    return said


async def test_a_decoder_that_is_not_there_is_named(media: Media) -> None:
    """The video is decoded in software, and said so once."""
    ready, notice, started = await shown_by_a_trusting_projector(Shot(7, str(media.red_mp4), "video"), 10, Started)
    assert isinstance(ready, Ready)
    assert notice == Notice("warning", "decodes in software codec=h264 wanted=v4l2m2m-copy")
    assert started == Started(7, started.duration_s, "no")


async def test_first_frame_deadline(media: Media) -> None:
    """First another try in software, then the shot has failed."""
    ready, notice, failed = await shown_by_a_trusting_projector(Shot(7, str(media.red_mp4), "video"), 1e-6, Failed)
    assert isinstance(ready, Ready)
    assert "trying without hwdec=v4l2m2m-copy" in notice.text
    assert failed == Failed(7, "no picture within 1e-06 s")


async def test_a_file_that_goes_after_it_was_looked_at(tmp_path: Path) -> None:
    """Fails like any other."""
    _, failed = await shown_by_a_trusting_projector(Shot(7, str(tmp_path / "gone.mp4"), "video"), 10, Failed)
    assert failed == Failed(7, "loading failed")


async def test_overtaken_loads_leave_no_trace(stand: Stand, media: Media) -> None:
    """After many shots in a row the last one is shown, its end is said, and what follows it follows."""
    worker = await stand.worker()
    for round_ in range(5):
        for _ in range(6):
            worker.put(shot=worker.shot(media.red_png), upcoming=None)
            await asyncio.sleep(0.004 * round_)
        last, after = worker.shot(media.yellow_mp4), worker.shot(media.blue_webm)
        worker.put(shot=last, upcoming=after)
        await worker.says(Started, after.token)
        kinds = [(type(message), message.token) for message in worker.heard if isinstance(message, (Started, Ended))]
        assert kinds[-3:] == [(Started, last.token), (Ended, last.token), (Started, after.token)]
