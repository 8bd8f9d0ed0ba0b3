"""The configuration: TOML, environment, systemd credentials, command line."""

from agent.settings.links import (
    BaseLink,
    CameraLink,
    ConversionLink,
    Link,
    SignageLink,
    SpeakerLink,
    TronbytLink,
)
from agent.settings.load import SettingsError, load_settings
from agent.settings.model import Settings
from agent.settings.tables import (
    Audio,
    Brightness,
    Camera,
    Control,
    Device,
    Hardware,
    Log,
    Media,
    Playback,
    Screen,
    Update,
    Voice,
)
from agent.settings.values import Side

__all__ = [
    "Audio",
    "BaseLink",
    "Brightness",
    "Camera",
    "CameraLink",
    "Control",
    "ConversionLink",
    "Device",
    "Hardware",
    "Link",
    "Log",
    "Media",
    "Playback",
    "Screen",
    "Settings",
    "SettingsError",
    "Side",
    "SignageLink",
    "SpeakerLink",
    "TronbytLink",
    "Update",
    "Voice",
    "load_settings",
]
