"""The device as its links see it: one volume, one brightness, one store, some screens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.camera.proxy import CameraProxy
from agent.hardware.brightness import Brightness
from agent.hardware.displays import Displays
from agent.hardware.identity import Identity, identify
from agent.hardware.name import DeviceName
from agent.hardware.power import Power
from agent.hardware.reboot import Reboot
from agent.hardware.volume import Volume
from agent.media.store import MediaStore
from agent.screen.proxy import Screen
from agent.settings import Settings
from agent.system.state import State
from agent.update.probation import ScreenNow
from agent.update.release import Release
from agent.update.updates import Updates
from agent.voice.proxy import VoiceProxy, pcm_name


@dataclass(frozen=True)
class Device:
    """Put together by the daemon; used by links, which it does not know."""

    identity: Identity
    name: DeviceName
    state: State
    media: MediaStore
    volume: Volume
    brightness: Brightness
    power: Power
    reboot: Reboot
    voice: VoiceProxy
    camera: CameraProxy
    updates: Updates
    sysfs: Path
    """Root of sysfs."""
    screens: Mapping[str, Screen]
    """By name; the first is the default."""
    image_s: float
    """How long an image without a duration stays."""
    runtime_dir: Path
    """Files that need not survive, in memory where possible."""


async def assemble(
    settings: Settings,
    state: State,
    screens: Mapping[str, Screen],
    displays: Displays,
    on_stuck: Callable[[], None] | None = None,
) -> Device:
    """The device these settings describe, its store looked through; its parts are not running yet.

    `on_stuck` is called when the kernel does not let go of a worker.
    """
    first_output = next(iter(settings.screens.values())).output

    def set_player_volume(percent: float, muted: bool) -> None:
        for screen in screens.values():
            screen.stage.volume_percent, screen.stage.muted = percent, muted
            screen.refresh()
        device.voice.refresh()

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

    def duck(sounding: bool, released: bool) -> None:
        for screen in screens.values():
            screen.stage.duck_db = settings.audio.duck_db if sounding else 0.0
            screen.stage.sound_released = released
            screen.refresh()

    def look_at_screens() -> dict[str, ScreenNow]:
        now = asyncio.get_running_loop().time()
        found = {}
        for name, screen in screens.items():
            playing = screen.stage.status(now).playing
            found[name] = ScreenNow(
                usable=displays.usable(settings.screens[name].output)[0],
                up=screen.up,
                shows=screen.showing,
                plays_list=playing.playlist_id is not None and playing.state != "idle",
                cause=screen.cause,
            )
        return found

    identity = await identify(state, serial=settings.device.serial, sysfs=settings.hardware.sysfs)
    device = Device(
        identity=identity,
        name=await DeviceName.load(state, configured=settings.device.name, fallback=identity.serial),
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
        power=Power(sysfs=settings.hardware.sysfs),
        reboot=Reboot(settings.hardware.reboot_command),
        voice=VoiceProxy(
            pcm=lambda: pcm_name(device.volume.audio_device),
            level=lambda: device.volume.player,
            on_playback=duck,
            microphone=settings.voice.microphone,
            button=settings.voice.button,
            on_stuck=on_stuck,
        ),
        camera=CameraProxy(settings.camera, on_stuck=on_stuck),
        updates=await Updates.load(
            settings.update,
            state,
            state_dir=settings.device.state_dir,
            serial=identity.serial,
            screens=look_at_screens,
            release=await asyncio.to_thread(Release.own),
        ),
        sysfs=settings.hardware.sysfs,
        screens=screens,
        image_s=settings.playback.image_s,
        runtime_dir=settings.control.socket.parent,
    )

    def set_audio_device() -> None:
        for screen in screens.values():
            screen.stage.audio_device = device.volume.audio_device
            screen.stage.sound_hangs = device.volume.hangs
            screen.refresh()
        device.voice.refresh()

    device.volume.on_change(set_audio_device)
    displays.on_change(device.brightness.look)
    for screen in screens.values():
        # Some cards have a volume control only after the first sound.
        screen.on_change(device.volume.look)
    return device
