"""The tables of the configuration, except the links. Field names are the keys of agent.toml; defaults are its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.settings.values import (
    Bytes,
    CameraSource,
    Command,
    FilePath,
    LogLevel,
    Mode,
    OptionalPath,
    OptionalWebAddress,
    Output,
    Percent,
    QuietHours,
    SocketPath,
    TrustedKeys,
    Window,
)
from agent.update.slots import STATE_DIR


class Table(BaseModel):
    """A table that takes exactly its own keys, of exactly their types, and never changes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Device(Table):
    """What the box is called."""

    serial: Annotated[str, Field(max_length=128)] = ""
    """Empty: the board's serial, else a generated one bound to the primary MAC."""
    name: Annotated[str, Field(max_length=64)] = ""
    state_dir: FilePath = STATE_DIR


class Log(Table):
    """What is written to the journal or the terminal."""

    level: LogLevel = "info"


class Media(Table):
    """The store of downloaded files."""

    quota: Annotated[Bytes, Field(ge=1_000_000)] = 8_000_000_000
    """Bytes the store may take."""
    reserve: Bytes = 500_000_000
    """Bytes that stay free on the disk."""
    parallel: Annotated[int, Field(ge=1, le=32)] = 3
    """Downloads at a time."""


class Playback(Table):
    """How items are shown."""

    image_s: Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)] = 10.0
    """How long an image without a duration stands, in seconds."""


class Screen(Table):
    """One output."""

    output: Output = "auto"
    mode: Mode = "auto"
    window: Window = ""
    rotate: Literal[0, 90, 180, 270] = 0
    """Degrees, clockwise."""
    sound: bool = True
    """In agent.toml the default is true for the first screen and false for the others."""
    hwdec: Annotated[str, Field(min_length=1)] = "auto"
    idle_image: OptionalPath = None

    @property
    def window_size(self) -> tuple[int, int] | None:
        """Width and height of the window in pixels; None: the full screen."""
        if not self.window:
            return None
        width, height = self.window.split("x")
        return int(width), int(height)


class Audio(Table):
    """Where sound goes."""

    card: Annotated[str, Field(min_length=1)] = "auto"
    control: Annotated[str, Field(min_length=1)] = "auto"
    duck_db: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 12.0
    """How much quieter everything else is during an announcement."""


class Voice(Table):
    """The microphone and its button; empty: none."""

    microphone: str = ""
    button: str = ""


class Brightness(Table):
    """How the panel is dimmed."""

    backend: Literal["auto", "backlight", "ddc", "software", "none"] = "auto"
    minimum: Percent = 0
    """Percent of the hardware's range that is never gone below."""


class Hardware(Table):
    """Where the machine itself is found."""

    sysfs: FilePath = Path("/sys")
    reboot_command: Command = Field(default_factory=lambda: ["systemctl", "reboot"])


class Camera(Table):
    """The camera and its encoder."""

    source: CameraSource = "auto"
    width: Annotated[int, Field(ge=160, le=4096, multiple_of=2)] = 1280
    height: Annotated[int, Field(ge=120, le=4096, multiple_of=2)] = 720
    framerate: Annotated[int, Field(ge=1, le=120)] = 30
    bitrate: Annotated[int, Field(ge=50_000, le=50_000_000)] = 2_500_000
    """Bits per second."""


class Update(Table):
    """Where new versions come from and whom they must be signed by."""

    trusted_keys: TrustedKeys = Field(default_factory=list)
    source_url: OptionalWebAddress = ""
    check: Literal["off", "6h", "1d"] = "off"
    quiet_hours: QuietHours = ""
    probation_s: Annotated[float, Field(ge=1, le=200, allow_inf_nan=False)] = 120.0
    """At most so long as leaves time to be back on the old version within five minutes."""


class Control(Table):
    """The local socket of the command line."""

    socket: SocketPath = Path("/run/signage-agent/control.sock")
