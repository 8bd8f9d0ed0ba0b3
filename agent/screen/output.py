"""Where a worker's picture goes: X11, Wayland, a connector without any display server, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["x11", "wayland", "drm", "null"]
NULL_SIZE = (1920, 1080)


class OutputError(ValueError):
    """The output or its mode is not something that could be opened; str() says why."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output as the command line names it."""

    kind: Kind
    connector: str = ""
    mode: str = ""
    """WxH or WxH@Hz; empty: the display's own."""
    window: str = ""
    """WxH: a window instead of the full screen."""

    @classmethod
    def parse(cls, output: str, mode: str, window: str, environment: Mapping[str, str]) -> Output:
        """`auto` is Wayland if there is a compositor, else X11 if there is a server, else the first connector.

        Raises OutputError.
        """
        mode = "" if mode == "auto" else mode
        if output == "auto":
            output = "wayland" if environment.get("WAYLAND_DISPLAY") else "x11" if environment.get("DISPLAY") else "drm:"
        kind, _, connector = output.partition(":")
        match kind:
            case "x11" | "wayland" | "null":
                return cls(kind, "", mode, window)
            case "drm":
                return cls("drm", connector, mode)
        raise OutputError(f"unknown output {output!r}")

    @property
    def vo(self) -> str:
        """What libmpv's `current-vo` must say when the output is really open."""
        return "null" if self.kind == "null" else "gpu"

    def options(self, sysfs: Path = Path("/sys")) -> dict[str, str]:
        """libmpv's options for it."""
        if self.kind == "null":
            return {"vo": "null"}
        # gpu-sw: without it software GL is refused, silently, for whatever comes next in libmpv's list.
        options = {"vo": "gpu", "gpu-sw": "yes", "gpu-context": {"x11": "x11egl", "wayland": "wayland", "drm": "drm"}[self.kind]}
        if self.kind == "drm":
            if self.connector:
                options["drm-connector"] = self.connector
            for entry in sorted((sysfs / "class/drm").glob(f"card*-{self.connector or '*'}")):
                options["drm-device"] = f"/dev/dri/{entry.name.partition('-')[0]}"
                break
            if self.mode:
                options["drm-mode"] = self.mode
        elif self.window:
            options |= {"geometry": self.window, "keepaspect-window": "no", "force-window-position": "no"}
        else:
            options |= {"fullscreen": "yes", "border": "no"}
        return options

    @staticmethod
    def has_gpu(environment: Mapping[str, str], dev: Path = Path("/dev")) -> bool:
        """Whether something else than the processor can draw."""
        return environment.get("LIBGL_ALWAYS_SOFTWARE", "0") in ("", "0", "false") and any((dev / "dri").glob("renderD*"))

    def null_size(self) -> tuple[int, int]:
        """Pixels a picture that goes nowhere is said to have."""
        width, _, height = (self.window or self.mode).partition("@")[0].partition("x")
        return (int(width), int(height)) if width.isdigit() and height.isdigit() else NULL_SIZE
