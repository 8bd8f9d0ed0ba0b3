"""Makes the demo's media: five slides and three films with sound, under 6 MB; what is there and up to date is left alone.

python -m tests.servers.make_media DIRECTORY
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from PIL import Image

from tests.servers.artwork import clips, slides

SLIDES: dict[str, tuple[Callable[[], Image.Image], dict[str, Any]]] = {
    "flat-white.jpg": (slides.coffee, {"quality": 88, "optimize": True}),
    "summer-sale.png": (slides.sale, {"optimize": True}),
    "fresh-flowers.webp": (slides.flowers, {"quality": 86, "method": 4}),
    "good-evening.jpg": (slides.welcome, {"quality": 90}),
    "three-scoops.png": (slides.gelato, {"optimize": True}),
}


def media_names() -> list[str]:
    """The files that belong to the demo, films first since they take longest."""
    return [*clips.CLIPS, *SLIDES]


def make_media(directory: Path, report: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Makes what is missing, or all if the artwork has changed, and returns all files; `report` gets a line per file made.

    Several may do this in the same directory at once. Raises RuntimeError without ffmpeg, or with its words if it fails.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stamp, version = directory / ".artwork", _version()
    current = stamp.is_file() and stamp.read_text() == version
    missing = [name for name in media_names() if not current or not (directory / name).is_file()]
    if any(name in clips.CLIPS for name in missing) and shutil.which("ffmpeg") is None:
        raise RuntimeError("ffmpeg is missing: install the package of that name")
    if missing:
        with ProcessPoolExecutor(max_workers=2, initializer=_die_with_parent) as pool:
            for made in as_completed([pool.submit(_make, name, directory) for name in missing]):
                report(made.result())
        stamp.write_text(version)
    return [directory / name for name in media_names()]


def _die_with_parent() -> None:
    """However the demo ends, nobody goes on drawing."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _make(name: str, directory: Path) -> str:
    part = directory / f".part-{os.getpid()}-{name}"
    try:
        if name in clips.CLIPS:
            clips.render(clips.CLIPS[name], part)
        else:
            draw, options = SLIDES[name]
            draw().convert("RGB").save(part, **options)
        part.replace(directory / name)
    finally:
        part.unlink(missing_ok=True)
    return f"{name}: {(directory / name).stat().st_size / 1e6:.2f} MB"


def _version() -> str:
    """Changes with the code that draws."""
    sources = [Path(__file__), *sorted((Path(__file__).parent / "artwork").glob("*.py"))]
    return hashlib.md5(b"".join(path.read_bytes() for path in sources), usedforsecurity=False).hexdigest()


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    make_media(Path(sys.argv[1]), report=_print)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
