"""Images a player cannot take as they are: too large for the GPU, turned by EXIF, or an animation it does not decode.

They are converted once, by a process of its own that is gone with its memory afterwards, and kept beside the original as
`<original>.screen-<limit>.<ending>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agent.screen import headers

MAX_PIXELS = 200_000_000
MEMORY_BYTES = 3 << 30
CONVERT_S = 60.0
QUALITY = 92
MARK = ".screen-"
"""What the name of a converted copy has after the original's."""


class ImageError(Exception):
    """The image cannot be shown; str() says why."""


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
        sys.executable, "-m", "agent.screen.images", path, str(target), str(limit_px),
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
        raise ImageError(f"cannot be scaled: {lines[-1] if lines else f'exit {process.returncode}'}")
    return str(target), container


def main(arguments: Sequence[str]) -> int:
    """`SOURCE TARGET LIMIT`: the converting process."""
    source, target, limit = arguments
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(CONVERT_S), int(CONVERT_S)))
    part = Path(f"{target}.part")
    try:
        _convert(source, part, int(limit), animated=target.endswith(".png"))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes of the decoder is one line for the log
        part.unlink(missing_ok=True)
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)  # noqa: T201
        return 1
    return 0


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
