"""Images a player cannot take as they are: too large for the GPU, turned by EXIF, or an animation it does not decode.

They are converted once, by a process of its own that is gone with its memory afterwards, and kept beside the original as
`<original>.screen-<limit>.<ending>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import glob
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agent.screen import headers
from agent.system.worker import die_with_parent

MAX_PIXELS = 200_000_000
MEMORY_BYTES = 3 << 30
"""No more than this, and no more than half of what the box has."""
FILE_BYTES = 64 << 20
"""A converted copy does not grow beyond this: it would fill the disk."""
CONVERT_S = 60.0
QUALITY = 92
MARK = ".screen-"
"""What the name of a converted copy has after the original's."""


class ImageError(Exception):
    """The image cannot be shown; str() says why. `temporary`: it may be shown later, for it was not the image's fault."""

    def __init__(self, sentence: str, *, temporary: bool = False) -> None:
        super().__init__(sentence)
        self.temporary = temporary


_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_DEMUXERS = {"jpeg": "jpeg_pipe", "png": "png_pipe", "webp": "webp_pipe", "gif": "gif", "bmp": "bmp_pipe"}


async def fitting(path: str, limit_px: int) -> tuple[str, str]:
    """A form of the image whose longest side is at most `limit_px` and that stands upright: its path, and libavformat's name
    for what it is or nothing if that is not known. Raises ImageError.
    """
    try:
        header = await asyncio.to_thread(headers.read, path)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from None
    if header is None:
        return path, ""
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(f"is too large: {header.width} x {header.height}")
    if header.animated and header.kind == "webp":
        return (await convert(path, limit_px, "png"))[0], "apng"
    if header.turn != 1 or max(header.width, header.height) > limit_px:
        return await convert(path, limit_px, "jpg" if header.kind == "jpeg" else "png")
    return path, "apng" if header.kind == "png" and header.animated else _DEMUXERS[header.kind]


async def convert(path: str, limit_px: int, ending: str) -> tuple[str, str]:
    """Converts it to `ending`, jpg or png, unless that was done before; the new path and what it is. Raises ImageError."""
    container = _DEMUXERS["jpeg" if ending == "jpg" else "png"]
    folder = os.path.dirname(path)  # noqa: PTH120
    stem = path if os.access(folder, os.W_OK) else os.path.join(_elsewhere(), path.replace("/", "_"))  # noqa: PTH118
    target = Path(f"{stem}{MARK}{limit_px}.{ending}")
    with contextlib.suppress(OSError):
        if target.stat().st_size > 0 and target.stat().st_mtime >= os.stat(path).st_mtime:  # noqa: PTH116
            return str(target), container
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.screen.images", path, str(target), str(limit_px), str(os.getpid()),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(CONVERT_S):
            _, complaint = await process.communicate()
    except TimeoutError:
        raise ImageError(f"could not be scaled within {CONVERT_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = complaint.decode(errors="replace").strip().splitlines()
        sentence = f"cannot be scaled: {lines[-1] if lines else f'exit {process.returncode}'}"
        raise ImageError(sentence, temporary=process.returncode == os.EX_TEMPFAIL)
    return str(target), container


def main(arguments: Sequence[str]) -> int:
    """`SOURCE TARGET LIMIT PARENT`: the converting process, which lives no longer than the process PARENT."""
    source, target, limit, parent = arguments
    die_with_parent()
    if os.getppid() != int(parent):
        return 1
    _limit()
    _remove_leftovers(target)
    part = Path(f"{target}.{os.getpid()}.part")
    try:
        _convert(source, part, int(limit), animated=target.endswith(".png"))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes of the decoder is one line for the log
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)  # noqa: T201
        return os.EX_TEMPFAIL if isinstance(error, OSError) and error.errno in _DISK_FAULTS else 1
    return 0


def _limit() -> None:
    """Whatever the box runs short of, this process is the one to go without."""
    os.nice(5)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    memory = min(MEMORY_BYTES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(CONVERT_S)),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
    ):
        resource.setrlimit(what, (most, most))


def _remove_leftovers(target: str) -> None:
    """What processes that were killed were making of the same image."""
    place = Path(target)
    for part in place.parent.glob(f"{glob.escape(place.name)}.*.part"):
        pid = part.name.removesuffix(".part").rpartition(".")[2]
        if not _converts(pid, target):
            with contextlib.suppress(OSError):
                part.unlink()


def _converts(pid: str, target: str) -> bool:
    try:
        return target in os.fsdecode(Path("/proc", pid, "cmdline").read_bytes()).split("\0")
    except OSError:
        return False


def _convert(source: str, target: Path, limit_px: int, *, animated: bool) -> None:
    from PIL import Image, ImageOps  # noqa: PLC0415 - not in the process that shows pictures

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    with Image.open(source) as image:
        if animated and getattr(image, "n_frames", 1) > 1:
            image.save(target, format="PNG", save_all=True, compress_level=1, default_image=False)
            return
        jpeg = image.format == "JPEG"
        image.draft("RGB", (limit_px, limit_px))
        if image.mode not in ("RGB", "RGBA", "L"):
            transparent = "A" in image.getbands() or "transparency" in image.info
            upright = ImageOps.exif_transpose(image).convert("RGBA" if transparent else "RGB")
        else:
            upright = ImageOps.exif_transpose(image)
        upright.thumbnail((limit_px, limit_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
        if jpeg:
            upright.save(target, format="JPEG", quality=QUALITY)
        else:
            upright.save(target, format="PNG", compress_level=1)


@functools.cache
def _elsewhere() -> str:
    return tempfile.mkdtemp(prefix="signage-agent-images-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
