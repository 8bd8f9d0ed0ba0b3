"""What differs between the versions of libmpv that are in use, 0.35 (Debian 12) to 0.40 (Debian 13)."""

from __future__ import annotations

from collections.abc import Mapping

from mpv import MPV_VERSION

Version = tuple[int, int]
"""Of libmpv's client interface: 2.0 is mpv 0.35, 2.1 is 0.36, 2.2 is 0.37, 2.3 is 0.38."""

CLIENT_API: Version = MPV_VERSION
_MPV_0_36: Version = (2, 1)
_MPV_0_38: Version = (2, 3)


def start_options(version: Version = CLIENT_API) -> dict[str, str]:
    """Options for a new player that not every version knows."""
    options = {"load-stats-overlay": "no", "load-auto-profiles": "no"}
    if version >= _MPV_0_36:
        options["auto-window-resize"] = "no"
    # Transparent parts of a picture show the background instead of a chequered pattern.
    if version >= _MPV_0_38:
        options["background"] = "color"
    else:
        options["alpha"] = "blend"
    return options


def software_gl_options(version: Version = CLIENT_API) -> dict[str, str]:
    """Options for drawing with the processor (llvmpipe).

    From 0.38 on, vo=gpu leaves most pictures with YUV colours black there, unless it draws without intermediate buffers.
    """
    return {"gpu-dumb-mode": "yes"} if version >= _MPV_0_38 else {}


def background_option(version: Version = CLIENT_API) -> str:
    """The option that takes the background colour as #RRGGBB."""
    return "background-color" if version >= _MPV_0_38 else "background"


def loadfile(path: str, mode: str, options: Mapping[str, str], version: Version = CLIENT_API) -> tuple[str, ...]:
    """The command that loads `path`; `mode` is replace or append, `options` hold for this file only."""
    listed = ",".join(f"{name}=%{len(value.encode())}%{value}" for name, value in options.items())
    if version >= _MPV_0_38:
        return ("loadfile", path, mode, "-1", listed)
    return ("loadfile", path, mode, listed)
