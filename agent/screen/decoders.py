"""Which hardware decoder is asked for, per board and codec, and how large a picture the board's GPU takes.

From the boards' documentation: a Pi 4 decodes H.264 through a stateful V4L2 device that only `v4l2m2m-copy` reaches and HEVC
through a stateless one; a Pi 5 has HEVC only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_COMPATIBLE = Path("/proc/device-tree/compatible")
_RENDERERS = Path("/dev/dri")


@dataclass(frozen=True, slots=True)
class Board:
    """What the graphics of one kind of board can do."""

    name: str
    decoders: dict[str, str] = field(default_factory=dict)
    """Codec as libmpv names it → value of its `hwdec` option."""
    others: str = "no"
    """For every other codec."""
    texture_px: int = 4096
    """Longest side of a picture."""


BOARDS = {
    "brcm,bcm2837": Board("Raspberry Pi 3", {"h264": "v4l2m2m-copy"}, texture_px=2048),
    "brcm,bcm2711": Board("Raspberry Pi 4", {"h264": "v4l2m2m-copy", "hevc": "drm-copy"}),
    "brcm,bcm2712": Board("Raspberry Pi 5", {"hevc": "drm-copy"}),
}
SOFTWARE = Board("without a graphics device")
GENERIC = Board("generic", others="auto-safe")


def detect(compatible: Path = _COMPATIBLE, renderers: Path = _RENDERERS) -> Board:
    """The board this runs on."""
    try:
        names = compatible.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        names = []
    for name in names:
        if name in BOARDS:
            return BOARDS[name]
    return GENERIC if any(renderers.glob("renderD*")) else SOFTWARE


def choose(setting: str, codec: str, board: Board) -> str:
    """The `hwdec` value for a video of `codec`; a `setting` other than auto is taken as it is."""
    return board.decoders.get(codec, board.others) if setting == "auto" else setting


def explicit(hwdec: str) -> bool:
    """Whether a particular decoder was asked for, so that not getting it is worth a line in the log."""
    return hwdec not in ("no", "auto", "auto-safe", "auto-copy", "auto-copy-safe", "yes")
