"""Jobs that go by a script: every end a job can have, and every trouble with its output."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from tests.servers.conversion_jobs import ConversionJob, Serves, analysis_message

if TYPE_CHECKING:
    from tests.servers.conversion import ConversionServer

Script = Callable[["ConversionServer", ConversionJob], Awaitable[None]]

HUGE_BYTES = 3_000_000_000
STALL_STEPS = 60
PREMATURE_STEPS = 6
NAMES = [
    "Holiday in Norway.mkv",
    "She said \"no\", he said 'yes'.mkv",
    "100% #1 hit & more?.mkv",
    "../../../etc/passwd",
    "<b>bold</b> {\\an8}\\N.mkv",
    "Смотри 映画 🎬.mkv",
    f"{'A very long title ' * 17}.mkv"[:300],
]
"""What users call their films."""
STREAMS: dict[str, Any] = {
    "video": {
        "codec": "hevc", "width": 1920, "height": 1080, "duration": 7200, "bitrate": 8000000,
        "action": "transcode", "target_codec": "h264",
    },
    "audio": [
        {"codec": "dts", "channels": 6, "sample_rate": 48000, "action": "transcode", "target_codec": "aac"},
        {"codec": "aac", "channels": 2, "sample_rate": 48000, "action": "copy"},
    ],
    "subtitle": [{"codec": "subrip", "language": "eng", "action": "copy"}],
}  # fmt: skip
_ODD: list[Any] = [
    {"type": "progress"},
    {
        "type": "progress",
        "progress": None,
        "status": None,
        "stage": None,
        "eta_seconds": None,
        "eta": None,
        "error": None,
    },
    {"type": "progress", "progress": "45.5", "status": "processing", "stage": "transcoding", "eta": "12"},
    {"type": "progress", "progress": -5, "status": "processing", "stage": "rewinding", "eta_seconds": -1},
    {"type": "progress", "progress": 250, "status": "levitating", "stage": {"name": "x"}, "eta_seconds": 1e12},
    {"type": "progress", "progress": [], "status": 7, "stage": "x" * 5000},
    {"type": "progress", "job_id": "somebody-elses", "progress": 99, "status": "failed", "error": "not for us"},
    {"type": "status"},
    {"type": "analysis", "streams": None},
    {"type": "analysis", "streams": {"video": [], "audio": "aac", "subtitle": [None, 3]}},
    {"type": "error", "message": "Invalid JSON"},
    {"type": "surprise", "progress": 3},
    {"type": None},
    [],
    "text",
]
ODD: list[str | bytes] = [
    *(json.dumps(message) for message in _ODD),
    '{"type": "progress", "progress": NaN, "status": "processing"}',
    "{",
    "[" * 10_000,
    b"\xff\x00\x01",
]
"""What no server should send."""


async def completed(server: ConversionServer, job: ConversionJob) -> None:
    """As it should be."""
    await work(server, job)
    await server.complete(job)


async def premature(server: ConversionServer, job: ConversionJob) -> None:
    """The socket says completed long before REST does; till then there is nothing to download."""
    await work(server, job, (20, 60))
    await server.say_completed(job)
    await server.pause(PREMATURE_STEPS)
    await server.complete(job, silently=True)


async def failed(server: ConversionServer, job: ConversionJob) -> None:
    """In the middle."""
    await work(server, job, (15, 40))
    await server.fail(
        job, "FFmpeg process exited with code 1", error="ffmpeg_error", details="Error during encoding: No VAAPI device available"
    )


async def failed_late(server: ConversionServer, job: ConversionJob) -> None:
    """The socket says completed, and then REST says failed."""
    await work(server, job, (30, 90))
    await server.say_completed(job)
    await server.pause(2)
    await server.fail(job, "The output could not be moved to where it belongs", error="storage_error")


async def cancelled(server: ConversionServer, job: ConversionJob) -> None:
    """Nobody is told."""
    await work(server, job, (25, 50))
    server.cancel(job)


async def deleted(server: ConversionServer, job: ConversionJob) -> None:
    """Nobody is told."""
    await work(server, job, (25, 50))
    server.delete(job)


async def stalled(server: ConversionServer, job: ConversionJob) -> None:
    """Nothing is heard of it for long; then it is completed."""
    await work(server, job, (10, 30))
    await server.pause(STALL_STEPS)
    await work(server, job, (80,))
    await server.complete(job)


async def restless(server: ConversionServer, job: ConversionJob) -> None:
    """Its progress jumps, as in the field."""
    for percent, stage in ((5, "analyzing"), (0, "transcoding"), (0, "transcoding"), (60, "transcoding"), (100, "transcoding")):
        await server.update(job, status="processing", progress=percent, stage=stage, eta_s=None)
        await server.pause()
    for percent in (95, 98):
        await server.update(job, progress=percent, stage="verifying")
        await server.pause()
    await server.complete(job)


async def odd(server: ConversionServer, job: ConversionJob) -> None:
    """Between what is right comes what no server should send."""
    await work(server, job, (10, 20))
    for frame in ODD:
        await server.tell_raw(job, frame)
    await work(server, job, (40, 80))
    await server.complete(job)


async def unannounced(server: ConversionServer, job: ConversionJob) -> None:
    """Only REST knows that it is completed."""
    await work(server, job)
    await server.complete(job, silently=True)


async def huge(server: ConversionServer, job: ConversionJob) -> None:
    """Its output is said to be 3 GB."""
    job.announced_bytes = HUGE_BYTES
    await completed(server, job)


async def expired(server: ConversionServer, job: ConversionJob) -> None:
    """The first signed address has expired before it is used."""
    job.stale_addresses = 1
    await completed(server, job)


def served(serves: Serves) -> Script:
    """Completed, but something else comes instead of the output."""

    async def script(server: ConversionServer, job: ConversionJob) -> None:
        job.serves = serves
        await completed(server, job)

    return script


SCRIPTS: dict[str, tuple[str, Script]] = {
    "completed": ("Completed", completed),
    "premature": ("“Completed” too early", premature),
    "failed": ("Failed", failed),
    "failed_late": ("“Completed”, then failed", failed_late),
    "cancelled": ("Cancelled, silently", cancelled),
    "deleted": ("Deleted, silently", deleted),
    "stalled": ("Silent for long", stalled),
    "unannounced": ("Completed, silently", unannounced),
    "restless": ("Progress that jumps", restless),
    "odd": ("Odd messages", odd),
    "expired": ("First address expired", expired),
    "missing": ("Output missing in REST", served("missing")),
    "gone": ("Output missing in the store", served("gone")),
    "page": ("An error page as output", served("page")),
    "posing": ("A page that poses as film", served("posing")),
    "truncated": ("Half of the output", served("truncated")),
    "longer": ("More than announced", served("longer")),
    "huge": ("3 GB announced", huge),
}


async def work(server: ConversionServer, job: ConversionJob, percents: Sequence[float] = (12, 37, 62, 88)) -> None:
    """The server is at it."""
    if job.status == "queued":
        await server.pause()
        await server.update(job, status="analyzing", stage="analyzing", progress=0)
        await server.pause()
        job.streams = STREAMS
        if server.habit == "document":
            await server.tell(job, analysis_message(job))
    for percent in percents:
        job.encoder = {
            "speed": "2.5x", "frame": int(percent * 1800), "fps": 62.5, "size": int(percent * 9_437_184),
            "time": f"00:{int(percent * 1.2) // 60:02}:{int(percent * 1.2) % 60:02}.00", "bitrate": "8000kbits/s",
        }  # fmt: skip
        eta_s = (100 - percent) / 25 * server.pace_s
        await server.update(job, status="processing", stage="transcoding", progress=percent, eta_s=eta_s)
        await server.pause()
