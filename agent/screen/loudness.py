"""How loud a screen is, and whether it may use its sound device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from agent.screen.messages import Scene

RAMP_S = 0.3
STEP_S = 0.02
NO_SOUND = "null"
"""libmpv's output that plays silently, at the right speed."""


class Controls(Protocol):
    """What is used of the player."""

    def set(self, name: str, value: str | float) -> None:
        """Sets a property."""

    def post(self, *words: str | float, then: Callable[[Any], None] | None = None) -> None:
        """Sends a command; `then` gets its result."""


class Ramp:
    """A level in dB that gets to where it is wanted evenly. All times are monotonic seconds."""

    def __init__(self, length_s: float = RAMP_S) -> None:
        self._length_s = length_s
        self._start_db = 0.0
        self._goal_db = 0.0
        self._begun = float("-inf")

    def aim(self, goal_db: float, now: float) -> None:
        """Where to get to, from where it is now."""
        self._start_db, self._goal_db, self._begun = self.level(now), goal_db, now

    def level(self, now: float) -> float:
        """Where it is."""
        share = (now - self._begun) / self._length_s
        return self._goal_db if share >= 1 else self._start_db + (self._goal_db - self._start_db) * max(0.0, share)

    def is_there(self, now: float) -> bool:
        """Whether it has arrived."""
        return now >= self._begun + self._length_s


class Loudness:
    """Brings the player's sound to what a scene says. `outputs`: libmpv's option `ao` of this screen."""

    def __init__(self, player: Controls, outputs: str) -> None:
        self._player = player
        self._outputs = outputs
        self._scene = Scene()
        self._ramp = Ramp()
        self._timer: asyncio.TimerHandle | None = None

    def apply(self, scene: Scene) -> None:
        """Takes over the scene's sound."""
        before, self._scene = self._scene, scene
        if scene.sound_released != before.sound_released and self._outputs != NO_SOUND:
            self._player.set("ao", NO_SOUND if scene.sound_released else self._outputs)
        if scene.audio_device != before.audio_device:
            self._player.set("audio-device", scene.audio_device or "auto")
        if scene.muted != before.muted:
            self._player.set("mute", "yes" if scene.muted else "no")
        if scene.duck_db != before.duck_db:
            self._ramp.aim(scene.duck_db, asyncio.get_running_loop().time())
            if not scene.duck_db:
                self._look_at_output()
        if (scene.volume_percent, scene.duck_db) != (before.volume_percent, before.duck_db):
            self._turn()

    def close(self) -> None:
        """Nothing more is said to the player: one that is ending must not be asked for anything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        """Sets the volume, again and again while the ramp is on its way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        # libmpv's volume is cubic.
        self._player.set("volume", round(self._scene.volume_percent * 10 ** (-self._ramp.level(now) / 60), 3))
        if not self._ramp.is_there(now):
            self._timer = loop.call_later(STEP_S, self._turn)

    def _look_at_output(self) -> None:
        """An output that could not be opened during an announcement, because the device takes one client, is tried again."""
        if self._outputs != NO_SOUND and not self._scene.sound_released:
            self._player.post("expand-text", "${current-ao:}", then=self._reopen)

    def _reopen(self, output: Any) -> None:
        if output == NO_SOUND and not self._scene.sound_released:
            self._player.post("ao-reload")
