"""Real conversions: ffprobe says what a film is made of, ffmpeg makes another one of it and says how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LARGEST_BYTES = 200_000_000
LONGEST_S = 600.0
"""Of a film that is taken."""
PATIENCE_S = 1800.0
"""So long a conversion may take."""
PROBE_S = 20.0
EVERY_S = 0.4
"""Between two words of ffmpeg on how far it is."""
COPIED_VIDEO = ("h264",)
COPIED_AUDIO = ("aac", "mp3")
TEXT_SUBTITLES = ("subrip", "ass", "ssa", "mov_text", "webvtt", "text")
CONTAINERS = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,mpegts,mpeg,flv,ogg,asf,nut,wav,mp3,gif"
"""What an upload may be: nothing that refers to other files."""
INPUT = ("-protocol_whitelist", "file,pipe", "-format_whitelist", CONTAINERS)


class ConversionFailedError(Exception):
    """`kind` is a word for programs; str() is for people, `details` is what the tool said last."""

    def __init__(self, kind: str, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind
        self.details = details


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done. `streams` is as the document's `analysis` has it."""

    duration_s: float
    streams: dict[str, Any]
    arguments: tuple[str, ...]
    """Of ffmpeg, between input and output."""


@dataclasses.dataclass(frozen=True)
class Step:
    """How far a conversion is; `encoder` are the remaining keys of the document's progress message."""

    percent: float
    eta_s: float | None
    encoder: dict[str, Any]


async def analyse(path: Path) -> Plan:
    """What the film is made of and what is to be done with it. Raises ConversionFailedError."""
    said = await _run(
        ["ffprobe", "-v", "error", *INPUT, "-show_streams", "-show_format", "-of", "json", f"file:{path}"], PROBE_S
    )  # fmt: skip
    found = json.loads(said)
    streams = [one for one in found.get("streams", []) if not one.get("disposition", {}).get("attached_pic")]
    duration_s = float(found.get("format", {}).get("duration", 0) or 0)
    films = [one for one in streams if one.get("codec_type") == "video"]
    if not films or duration_s <= 0:
        raise ConversionFailedError("analysis_error", "The file holds no film")
    if duration_s > LONGEST_S:
        raise ConversionFailedError("analysis_error", f"The film is longer than {LONGEST_S / 60:.0f} min")
    arguments = ["-map", f"0:{films[0]['index']}"]
    about: dict[str, Any] = {"video": _video(films[0], duration_s), "audio": [], "subtitle": []}
    if about["video"]["action"] == "transcode":
        arguments += ["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-crf", "21", "-pix_fmt", "yuv420p"]
        arguments += ["-vf", r"scale='min(1920,iw)':-2"]
    else:
        arguments += ["-c:v", "copy"]
    for stream in streams:
        if stream.get("codec_type") == "audio":
            place = len(about["audio"])
            about["audio"].append(_audio(stream))
            arguments += ["-map", f"0:{stream['index']}", f"-c:a:{place}", *_codec(about["audio"][-1], "aac")]
        elif stream.get("codec_type") == "subtitle" and stream.get("codec_name") in TEXT_SUBTITLES:
            place = len(about["subtitle"])
            about["subtitle"].append(_subtitle(stream))
            arguments += ["-map", f"0:{stream['index']}", f"-c:s:{place}", *_codec(about["subtitle"][-1], "srt")]
    return Plan(duration_s, about, (*arguments, "-f", "matroska"))


async def convert(
    source: Path, target: Path, plan: Plan, on_step: Callable[[Step], Any], *, least_s: float = 0.0
) -> float:  # fmt: skip
    """Makes `target`; its duration in seconds. Raises ConversionFailedError; cancelled, it ends ffmpeg.

    It takes no less than `least_s`, so that there is something to be seen. `on_step` is awaited if it is a coroutine function.
    """
    command = [*_gently(), "ffmpeg", "-v", "error", "-nostdin", "-y", "-progress", "pipe:1", "-stats_period", str(EVERY_S)]
    if least_s > 0:
        command += ["-readrate", f"{plan.duration_s / least_s:.4f}"]
    command += [*INPUT, "-i", f"file:{source}", *plan.arguments, "-fs", str(4 * LARGEST_BYTES), f"file:{target}"]
    process = await _start(command)
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read(), name="ffmpeg's complaints")
    try:
        async with asyncio.timeout(PATIENCE_S):
            values: dict[str, str] = {}
            async for line in process.stdout:
                key, _, value = line.decode(errors="replace").strip().partition("=")
                values[key] = value.strip()
                if key == "progress":
                    answer = on_step(_step(values, plan.duration_s))
                    if asyncio.iscoroutine(answer):
                        await answer
            code = await process.wait()
        complaint = (await said).decode(errors="replace").strip()
        if code:
            last = complaint.splitlines()[-1] if complaint else ""
            raise ConversionFailedError("ffmpeg_error", f"FFmpeg process exited with code {code}", _without_paths(last))
    except TimeoutError:
        raise ConversionFailedError("timeout", f"FFmpeg did not end within {PATIENCE_S:.0f} s") from None
    finally:
        said.cancel()
        await _end(process)
    return (await analyse(target)).duration_s


def available() -> bool:
    """Whether both tools are installed."""
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


def _video(stream: dict[str, Any], duration_s: float) -> dict[str, Any]:
    codec = stream.get("codec_name", "unknown")
    width, height = stream.get("width", 0), stream.get("height", 0)
    copied = codec in COPIED_VIDEO and stream.get("pix_fmt") in ("yuv420p", "yuvj420p") and max(width, height) <= 1920
    about = {"codec": codec, "width": width, "height": height, "duration": round(duration_s)}
    if str(stream.get("bit_rate", "")).isdigit():
        about["bitrate"] = int(stream["bit_rate"])
    return about | ({"action": "copy"} if copied else {"action": "transcode", "target_codec": "h264"})


def _audio(stream: dict[str, Any]) -> dict[str, Any]:
    codec = stream.get("codec_name", "unknown")
    about = {"codec": codec, "channels": stream.get("channels", 0), "sample_rate": int(stream.get("sample_rate", 0) or 0)}
    return about | ({"action": "copy"} if codec in COPIED_AUDIO else {"action": "transcode", "target_codec": "aac"})


def _subtitle(stream: dict[str, Any]) -> dict[str, Any]:
    codec = stream.get("codec_name", "unknown")
    about = {"codec": codec, "language": stream.get("tags", {}).get("language", "und")}
    return about | ({"action": "copy"} if codec == "subrip" else {"action": "transcode", "target_codec": "subrip"})


def _codec(about: dict[str, Any], encoder: str) -> tuple[str, ...]:
    return ("copy",) if about["action"] == "copy" else (encoder,)


def _step(values: dict[str, str], duration_s: float) -> Step:
    done_s = _number(values.get("out_time_us", "")) / 1e6
    part = min(1.0, max(0.0, done_s / duration_s))
    speed = _number(values.get("speed", "").removesuffix("x"))
    eta_s = (duration_s * (1 - part)) / speed if speed > 0 else None
    encoder: dict[str, Any] = {
        "speed": f"{speed:.2f}x" if speed else None,
        "frame": int(_number(values.get("frame", ""))),
        "fps": round(_number(values.get("fps", "")), 1),
        "size": int(_number(values.get("total_size", ""))),
        "time": values.get("out_time", "")[:11] or None,
        "bitrate": None if values.get("bitrate", "N/A") == "N/A" else values["bitrate"],
    }
    return Step(100 * part, eta_s, {key: value for key, value in encoder.items() if value is not None})


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _without_paths(line: str) -> str:
    """A complaint without where the file lies on this machine."""
    return " ".join(word.rsplit("/", 1)[-1] if "/" in word else word for word in line.split())


def _gently() -> list[str]:
    """It ends with the server however that ends, and gives way to what else runs here."""
    bound = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    return [*bound, "nice", "-n", "10"]


async def _start(command: Sequence[str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise ConversionFailedError("no_ffmpeg", "ffmpeg is missing: install the package of that name") from None


async def _run(command: Sequence[str], timeout_s: float) -> bytes:
    if shutil.which(command[0]) is None:
        raise ConversionFailedError("no_ffmpeg", "ffmpeg is missing: install the package of that name")
    process = await _start([*_gently(), *command])
    try:
        async with asyncio.timeout(timeout_s):
            said, complaint = await process.communicate()
    except TimeoutError:
        raise ConversionFailedError("timeout", f"{command[0]} did not end within {timeout_s:.0f} s") from None
    finally:
        await _end(process)
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise ConversionFailedError("analysis_error", "The file is no film", _without_paths(lines[-1]) if lines else "")
    return said


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
