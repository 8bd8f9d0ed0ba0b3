"""The demo's films: for each a function from seconds to a picture, and a melody. ffmpeg makes files of them."""

from __future__ import annotations

import dataclasses
import functools
import math
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from tests.servers.artwork import slides
from tests.servers.artwork.brushes import SANS_LIGHT, SERIF, SERIF_ITALIC, disc, glow, gradient, letters, rgb, tag

FRAMES_PER_S = 25


@dataclasses.dataclass(frozen=True)
class Clip:
    """One film. `melody` are semitones above `tonic_hz`, one every `step_s`."""

    size: tuple[int, int]
    seconds: float
    frame: Callable[[float], Image.Image]
    melody: tuple[int, ...]
    tonic_hz: float
    step_s: float
    codecs: tuple[str, ...]


def render(clip: Clip, path: Path) -> None:
    """Makes the film. Raises OSError without ffmpeg, RuntimeError with what it says if it fails."""
    width, height = clip.size
    picture = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FRAMES_PER_S), "-i", "-"]
    sound = ["-f", "lavfi", "-i", f"aevalsrc='{_melody(clip)}':s=48000:d={clip.seconds}"]
    command = ["ffmpeg", "-v", "error", "-y", *picture, *sound, "-pix_fmt", "yuv420p", *clip.codecs, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            for number in range(int(clip.seconds * FRAMES_PER_S)):
                process.stdin.write(clip.frame(number / FRAMES_PER_S).tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # ffmpeg says why, below
        said = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"ffmpeg failed on {path.name}: {said.strip()}")


def evening(time_s: float) -> Image.Image:
    """1280x720: lights out of focus drift through a blue evening."""
    canvas = _evening_sky().copy()
    for x, y, radius, colour, speed, phase in _lights():
        breath = 0.55 + 0.45 * math.sin(time_s * 1.4 + phase)
        place = ((x + time_s * speed) % 1480 - 100, y + 14 * math.sin(time_s * 0.8 + phase))
        spot = _bokeh(int(radius)).point(lambda value, part=0.25 + 0.5 * breath: int(value * part))
        corner = int(place[0] - radius), int(place[1] - radius)
        canvas.paste(rgb(colour), (*corner, corner[0] + spot.width, corner[1] + spot.height), spot)
    come = _ease(time_s / 1.1)
    draw = ImageDraw.Draw(canvas)
    letters(draw, (96 - 60 * (1 - come), 330), "Late", (SERIF, 150, _faded("#FFFFFF", "#1B2350", come)))
    later = _ease((time_s - 0.35) / 1.1)
    letters(draw, (96 - 60 * (1 - later), 470), "Thursday", (SERIF_ITALIC, 150, _faded("#FFD08A", "#1D2552", later)))
    if time_s > 1.2:
        letters(draw, (104, 560), "All shops open until ten", (SANS_LIGHT, 44, "#D9E0FF"))
    return canvas


def lagoon(time_s: float) -> Image.Image:
    """960x540: waves roll under a sun; a travel desk's advert."""
    canvas = _lagoon_sky().copy()
    disc(canvas, (700, 190 - 8 * math.sin(time_s)), 74, "#FFE08A")
    draw = ImageDraw.Draw(canvas)
    for layer, colour in enumerate(("#56CFE1", "#3BB5D8", "#2791C4", "#1B6CA8", "#124E85")):
        base, speed = 262 + layer * 58, 46 + layer * 22
        crest = [
            (x, base + 17 * math.sin((x + time_s * speed) / (74 + layer * 13)) + 8 * math.sin((x - time_s * speed) / 41 + layer))
            for x in range(0, 966, 6)
        ]
        draw.polygon([(0, 540), *crest, (960, 540)], fill=colour)
        draw.line(crest, fill=_faded("#FFFFFF", colour, 0.4), width=3)
    boat_y = 318 + 12 * math.sin(time_s * 2.1)
    boat_x = 90 + time_s * 58
    draw.polygon(
        [(boat_x, boat_y), (boat_x + 96, boat_y), (boat_x + 76, boat_y + 26), (boat_x + 18, boat_y + 26)], fill="#7A3B2E"
    )
    draw.polygon([(boat_x + 46, boat_y - 4), (boat_x + 46, boat_y - 92), (boat_x + 94, boat_y - 14)], fill="#FFFFFF")
    draw.polygon([(boat_x + 40, boat_y - 4), (boat_x + 40, boat_y - 74), (boat_x + 6, boat_y - 14)], fill="#FF6B6B")
    letters(draw, (56, 110), "Out of office", (SERIF, 74, "#12406B"))
    letters(draw, (58, 164), "Lagoon week, flights included", (SANS_LIGHT, 30, "#1B5E8C"))
    if time_s > 1.0:
        grow = _ease((time_s - 1.0) / 0.5)
        tag(canvas, (905 - 245 * grow, 446, 905, 506), "from € 399" if grow > 0.9 else "", fill="#FFD166", ink="#12406B")
    return canvas


def gelato(time_s: float) -> Image.Image:
    """720x1280, portrait: the cone sways, sprinkles rain."""
    canvas = slides.gelato(wobble=0.07 * math.sin(time_s * math.tau / 2), price=False)
    draw = ImageDraw.Draw(canvas)
    for x, y, angle, speed, colour in _sprinkles():
        down = (y + time_s * speed) % 1400 - 60
        turn = angle + time_s * 2
        dx, dy = 13 * math.cos(turn), 13 * math.sin(turn)
        draw.line((x - dx, down - dy, x + dx, down + dy), fill=colour, width=9)
    beat = 1 + 0.05 * math.sin(time_s * math.tau)
    tag(canvas, (360 - 120 * beat, 1200 - 42 * beat, 360 + 120 * beat, 1200 + 42 * beat), "€ 3.50", fill="#0F766E", ink="#F0FDFA")
    return canvas


H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "24", "-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart")
VP9 = (
    "-c:v",
    "libvpx-vp9",
    "-deadline",
    "realtime",
    "-cpu-used",
    "7",
    "-crf",
    "34",
    "-b:v",
    "0",
    "-c:a",
    "libopus",
    "-b:a",
    "64k",
)

CLIPS = {
    "late-thursday.mp4": Clip((1280, 720), 6, evening, (0, 7, 12, 16, 14, 12, 7, 4, 2, 9, 14, 11), 220.0, 0.5, H264),
    "lagoon.webm": Clip((960, 540), 5, lagoon, (0, 4, 7, 11, 12, 11, 7, 4, 5, 9), 261.63, 0.5, VP9),
    "gelato.mp4": Clip(
        (720, 1280), 4, gelato, (12, 16, 19, 24, 19, 16, 12, 7, 12, 16, 19, 24, 28, 24, 19, 12), 196.0, 0.25, H264
    ),
}


def _melody(clip: Clip) -> str:
    """Plucked notes as an expression of ffmpeg's aevalsrc."""
    notes = []
    for place, semitone in enumerate(clip.melody):
        start, hz = place * clip.step_s, clip.tonic_hz * 2 ** (semitone / 12)
        tone = f"sin({math.tau * hz:.2f}*(t-{start}))+0.35*sin({math.tau * hz * 2:.2f}*(t-{start}))"
        notes.append(f"gte(t,{start})*0.16*({tone})*exp(-3.2*(t-{start}))*min(1,150*(t-{start}))*min(1,6*({clip.seconds}-t))")
    return "+".join(notes)


def _ease(part: float) -> float:
    """0..1, quick first, then slower."""
    part = max(0.0, min(1.0, part))
    return 1 - (1 - part) ** 3


def _faded(colour: str, ground: str, part: float) -> str:
    mixed = [int(low + (high - low) * part) for high, low in zip(rgb(colour)[:3], rgb(ground)[:3], strict=True)]
    return "#{:02X}{:02X}{:02X}".format(*mixed)


@functools.cache
def _evening_sky() -> Image.Image:
    canvas = gradient((1280, 720), "#0B1030", "#1E2A5E", "#4A3270", "#8C3F6B")
    glow(canvas, (1000, 720), 620, "#FF8A5B", 0.45)
    return canvas


@functools.cache
def _lagoon_sky() -> Image.Image:
    canvas = gradient((960, 540), "#FFE8B8", "#FFC9A3", "#BDEBF2")
    glow(canvas, (700, 190), 330, "#FFFBE8", 0.9)
    return canvas


@functools.cache
def _bokeh(radius: int) -> Image.Image:
    """A disc with a brighter rim, as a lens draws a lamp that is out of focus."""
    spot = Image.new("L", (radius * 8, radius * 8), 0)
    ImageDraw.Draw(spot).ellipse((4, 4, radius * 8 - 4, radius * 8 - 4), fill=120, outline=190, width=10)
    return spot.resize((radius * 2, radius * 2), Image.Resampling.LANCZOS)


@functools.cache
def _lights() -> list[tuple[float, float, float, str, float, float]]:
    dice = random.Random(5)
    colours = ("#FFB35C", "#FF7E6B", "#FFD9A0", "#7FB4FF", "#C79BFF", "#FF9EC4")
    return [
        (
            dice.uniform(0, 1480),
            dice.triangular(60, 720, 640),
            dice.uniform(16, 64),
            dice.choice(colours),
            dice.uniform(10, 44),
            dice.uniform(0, 6),
        )
        for _ in range(46)
    ]


@functools.cache
def _sprinkles() -> list[tuple[float, float, float, float, str]]:
    dice = random.Random(11)
    colours = ("#F06292", "#4DB6AC", "#FFB74D", "#9575CD", "#4FC3F7")
    return [
        (dice.uniform(0, 720), dice.uniform(0, 1400), dice.uniform(0, 3), dice.uniform(130, 300), dice.choice(colours))
        for _ in range(60)
    ]
