"""What a media file may be, and what it may not make the player do."""

from __future__ import annotations

import asyncio
import http.server
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.screen.decoders import BOARDS, SOFTWARE, Board
from agent.screen.files import Files, Source, UnplayableError
from agent.screen.messages import Failed, Shot
from tests.display import clip, ffmpeg, near, still
from tests.screen.conftest import GREEN, RED, Media, Stand


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    """On a board with a small GPU."""
    files = Files(Board("small", {"h264": "v4l2m2m-copy"}, texture_px=512), "auto", 10)
    yield files
    files.close()


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A web server nobody should ask: its address and what was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def video(path: Path | str) -> Shot:
    """A showing of a video."""
    return Shot(1, str(path), "video")


async def test_codec_size_and_decoder(files: Files, media: Media) -> None:
    """A video is told its decoder by codec; one larger than the GPU takes is shrunk to even numbers."""
    assert await files.prepare(video(media.green_mp4)) == Source(
        str(media.green_mp4), "h264", 1920, 1080, hwdec="v4l2m2m-copy", shrink=(512, 288)
    )
    blue = await files.prepare(video(media.blue_webm))
    assert (blue.codec, blue.hwdec, blue.shrink) == ("vp8", "no", (512, 288))


async def test_verdicts_are_remembered_while_the_file_stays(files: Files, tmp_path: Path) -> None:
    """A file is decoded once; a file that was replaced is looked at again, also one that was bad."""
    path = tmp_path / "one.mp4"
    path.write_bytes(b"nothing")
    with pytest.raises(UnplayableError, match="cannot be decoded"):
        await files.prepare(video(path))
    clip(path, RED, 0.2)
    first = await files.prepare(video(path))
    assert await files.prepare(video(path)) is first
    still(tmp_path / "new.png", RED, (100, 50)).replace(path)
    assert (await files.prepare(Shot(1, str(path), "image"))).codec == "png"


async def test_names_tell_nothing(files: Files, media: Media, tmp_path: Path) -> None:
    """Files of the store have no ending: what they are is found in them."""
    for number, path in enumerate((media.red_png, media.green_jpg, media.blue_webp)):
        bare = tmp_path / f"{number:064x}"
        os.link(path, bare)
        assert (await files.prepare(Shot(1, str(bare), "image"))).codec in ("png", "mjpeg", "webp")
    bare = tmp_path / f"{9:064x}"
    os.link(media.red_mp4, bare)
    assert (await files.prepare(video(bare))).codec == "h264"


async def test_a_still_picture_is_no_film(files: Files, media: Media, tmp_path: Path) -> None:
    """What has one frame and no sound would never come to its end; short films, slow ones and those with sound do."""
    frame = clip(tmp_path / "frame.mp4", RED, 0.03)
    ffmpeg("-i", str(frame), "-c", "copy", "-f", "h264", str(tmp_path / "bare"))
    ffmpeg("-i", str(frame), "-c", "copy", str(tmp_path / "frame.ts"))
    long_frame = clip(tmp_path / "long.mp4", seconds=20, source="color=c=red:s=640x360:r=1/20")
    for path in (frame, tmp_path / "bare", tmp_path / "frame.ts", long_frame, media.red_png):
        for _ in range(2):
            with pytest.raises(UnplayableError, match="still picture"):
                await files.prepare(video(path))
    assert (await files.prepare(Shot(1, str(media.red_png), "image"))).codec == "png"
    sound = clip(tmp_path / "sound.mp4", RED, 0.03, sound=True)
    slow = clip(tmp_path / "slow.mp4", seconds=20, source="color=c=red:s=640x360:r=1/10")
    for path in (clip(tmp_path / "two.mp4", RED, 0.06), slow, sound):
        assert (await files.prepare(video(path))).codec == "h264"


async def test_cancelled_looks_do_no_harm(files: Files, media: Media) -> None:
    """The next file gets its own verdict."""
    for path in (media.long_mp4, media.red_mp4, media.blue_webm):
        task = asyncio.create_task(files.prepare(video(path)))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (await files.prepare(video(media.blue_webm))).codec == "vp8"


async def test_a_pipe_is_no_file(files: Files, tmp_path: Path) -> None:
    """It would never end."""
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UnplayableError, match="not a regular file"):
        await files.prepare(video(tmp_path / "pipe.mp4"))


async def test_first_frame_deadline(media: Media) -> None:
    """A file that takes too long is given up; the next one is not affected."""
    files = Files(SOFTWARE, "auto", 0.0001)
    with pytest.raises(UnplayableError, match=r"no picture within 0\.0001 s"):
        await files.prepare(video(media.long_mp4))
    files._deadline_s = 10
    assert (await files.prepare(video(media.red_mp4))).codec == "h264"
    files.close()


async def test_lists_posing_as_media_are_refused(
    stand: Stand, media: Media, tmp_path: Path, elsewhere: tuple[str, list[str]]
) -> None:
    """M3U, HLS, EDL, cue, concat, SDP, DASH and text named .mp4: undecodable, and nothing they name is opened."""
    address, asked = elsewhere
    secret = clip(tmp_path / "secret.ts", GREEN, 1.0)
    lists = {
        "m3u": f"#EXTM3U\n#EXTINF:5,\n{address}/m3u.mp4\n{secret}\n",
        "hls": f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "hls-http": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}/hls.ts\n#EXT-X-ENDLIST\n",
        "edl": f"# mpv EDL v0\n{secret},0,1\n",
        "cue": f'FILE "{secret}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "concat": f"ffconcat version 1.0\nfile '{secret}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{address}/d</BaseURL></MPD>',
        "pls": f"[playlist]\nFile1={address}/pls.mp4\nNumberOfEntries=1\n",
        "ref": f"[Reference]\nRef1={address}/ref.asf\n",
        "text": "Just text. " * 500,
    }
    worker = await stand.worker()
    await worker.show(worker.shot(media.red_png))
    for name, content in lists.items():
        path = tmp_path / f"{name}.mp4"
        path.write_text(content)
        shot = worker.shot(path)
        worker.put(shot=shot)
        await worker.says(Failed, shot.token)
        image = worker.shot(path, "image")
        worker.put(shot=image)
        await worker.says(Failed, image.token)
        assert near(stand.server.pixel(640, 360), RED)
    assert not asked


def test_boards() -> None:
    """The boards named in the table have their limits."""
    assert BOARDS["brcm,bcm2837"].texture_px == 2048
    assert BOARDS["brcm,bcm2712"].texture_px == 4096
