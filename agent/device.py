"""The device as its links see it: one volume, one brightness, one store, some screens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.hardware.brightness import Brightness
from agent.hardware.displays import Displays
from agent.hardware.identity import Identity, identify
from agent.hardware.volume import Volume
from agent.media.store import MediaStore
from agent.screen.proxy import Screen
from agent.settings import Settings
from agent.system.state import State


@dataclass(frozen=True)
class Device:
    """Put together by the daemon; used by links, which it does not know."""

    identity: Identity
    state: State
    media: MediaStore
    volume: Volume
    brightness: Brightness
    screens: Mapping[str, Screen]
    """By name; the first is the default."""
    image_s: float
    """How long an image without a duration stays."""
    runtime_dir: Path
    """Files that need not survive, in memory where possible."""


async def assemble(settings: Settings, state: State, screens: Mapping[str, Screen], displays: Displays) -> Device:
    """The device these settings describe, its store looked through; its parts are not running yet."""
    first_output = next(iter(settings.screens.values())).output

    def set_player_volume(percent: float, muted: bool) -> None:
        for screen in screens.values():
            screen.stage.volume_percent, screen.stage.muted = percent, muted
            screen.refresh()

    def set_dim(percent: float) -> None:
        for screen in screens.values():
            screen.stage.dim_percent = percent
            screen.refresh()

    media = MediaStore(
        settings.device.state_dir / "media",
        state,
        quota_bytes=settings.media.quota,
        reserve_bytes=settings.media.reserve,
        parallel=settings.media.parallel,
    )
    await media.start()
    device = Device(
        identity=await identify(state, serial=settings.device.serial, sysfs=settings.hardware.sysfs),
        state=state,
        media=media,
        volume=Volume(
            state,
            card=settings.audio.card,
            control=settings.audio.control,
            connector=lambda: displays.first(first_output),
            apply_to_player=set_player_volume,
        ),
        brightness=Brightness(
            state,
            backend=settings.brightness.backend,
            minimum=settings.brightness.minimum,
            sysfs=settings.hardware.sysfs,
            apply_to_screens=set_dim,
        ),
        screens=screens,
        image_s=settings.playback.image_s,
        runtime_dir=settings.control.socket.parent,
    )

    def set_audio_device() -> None:
        for screen in screens.values():
            screen.stage.audio_device = device.volume.audio_device
            screen.refresh()

    device.volume.on_change(set_audio_device)
    displays.on_change(device.brightness.look)
    for screen in screens.values():
        # Some cards have a volume control only after the first sound.
        screen.on_change(device.volume.look)
    return device
