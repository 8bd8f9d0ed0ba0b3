"""The sample film: the leader that cinemas show before a film, counting down. In codecs of which each needs another treatment."""

from __future__ import annotations

import functools
import math
import shutil
import subprocess
from pathlib import Path

from PIL import Image, ImageDraw

from tests.servers.artwork.brushes import SANS, SERIF_ITALIC, gradient, letters

SIZE = (960, 540)
FRAMES_PER_S = 25
SECONDS = 4
NAME = "Saturday matinee.mkv"
PAPER, INK = "#E9E1CC", "#26221C"


def make_sample(path: Path, seconds: int = SECONDS) -> None:
    """Makes the film. Blocks; raises RuntimeError without ffmpeg, or with its words if it fails."""
    if shutil.which("ffmpeg") is None:
        raise RuntimeError("ffmpeg is missing: install the package of that name")
    words = path.with_suffix(".srt")
    words.write_text(f"1\n00:00:00,200 --> 00:00:0{seconds - 1},800\nThe film is about to begin.\n")
    beeps = rf"aevalsrc='0.3*sin(880*PI*t)*lt(mod(t\,1)\,0.08)':s=48000:d={seconds}"
    command = [
        *("ffmpeg", "-v", "error", "-nostdin", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", str(FRAMES_PER_S), "-i", "pipe:0"),
        *("-f", "lavfi", "-i", beeps, "-i", str(words), "-map", "0:v", "-map", "1:a", "-map", "1:a", "-map", "2:s"),
        *("-c:v", "mpeg4", "-q:v", "4", "-c:a:0", "ac3", "-c:a:1", "aac", "-c:s", "srt", "-metadata:s:s:0", "language=eng"),
        *("-f", "matroska", str(path)),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            for number in range(seconds * FRAMES_PER_S):
                process.stdin.write(frame(number / FRAMES_PER_S, seconds).tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # ffmpeg says why, below
        said = process.stderr.read().decode(errors="replace")
    words.unlink()
    if process.returncode:
        raise RuntimeError(f"ffmpeg failed on the sample film: {said.strip()}")


def frame(time_s: float, seconds: int = SECONDS) -> Image.Image:
    """The picture at that time: a hand sweeps round the number of seconds that are left."""
    canvas, turn = _paper().copy(), time_s % 1
    draw = ImageDraw.Draw(canvas)
    middle_x, middle_y = SIZE[0] / 2, SIZE[1] / 2
    far = math.hypot(middle_x, middle_y) + 2
    box = (middle_x - far, middle_y - far, middle_x + far, middle_y + far)
    if turn > 0:
        draw.pieslice(box, -90, -90 + 360 * turn, fill="#C9BFA3")
    draw.line((0, middle_y, SIZE[0], middle_y), fill=INK, width=2)
    draw.line((middle_x, 0, middle_x, SIZE[1]), fill=INK, width=2)
    for radius in (228, 196):
        draw.ellipse((middle_x - radius, middle_y - radius, middle_x + radius, middle_y + radius), outline=PAPER, width=9)
        draw.ellipse((middle_x - radius, middle_y - radius, middle_x + radius, middle_y + radius), outline=INK, width=4)
    angle = math.tau * turn - math.tau / 4
    draw.line((middle_x, middle_y, middle_x + far * math.cos(angle), middle_y + far * math.sin(angle)), fill=INK, width=4)
    letters(draw, (middle_x, middle_y + 106), str(max(1, seconds - int(time_s))), (SANS, 300, INK), anchor="m")
    letters(draw, (SIZE[0] - 40, SIZE[1] - 34), "Saturday matinee", (SERIF_ITALIC, 34, INK), anchor="r")
    return canvas


@functools.cache
def _paper() -> Image.Image:
    return gradient(SIZE, "#DDD3B8", PAPER, "#DDD3B8")
