"""How loud the player is told to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.screen.loudness import RAMP_S, Loudness, Ramp
from agent.screen.messages import Scene


class Player:
    """Keeps what it is told; `output` is the one it has."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | float]] = []
        self.commands: list[tuple[str | float, ...]] = []
        self.output = "alsa"

    def set(self, name: str, value: str | float) -> None:
        self.told.append((name, value))

    def post(self, *words: str | float, then: Callable[[Any], None] | None = None) -> None:
        self.commands.append(words)
        if then is not None:
            then(self.output)

    def volumes(self) -> list[float]:
        return [float(value) for name, value in self.told if name == "volume"]


def test_a_ramp_is_even() -> None:
    """From where it is to where it is wanted, in 300 ms, also when it is turned round on its way."""
    ramp = Ramp()
    assert ramp.level(0) == 0
    ramp.aim(12, 10.0)
    assert [round(ramp.level(10 + share * RAMP_S), 3) for share in (0, 0.25, 0.5, 1, 2)] == [0, 3, 6, 12, 12]
    assert not ramp.is_there(10 + 0.9 * RAMP_S)
    assert ramp.is_there(10 + RAMP_S)
    ramp.aim(0, 10 + 0.5 * RAMP_S)
    assert round(ramp.level(10 + RAMP_S), 3) == 3


async def test_what_does_not_change_is_not_said() -> None:
    """A scene with the same sound leaves the player alone; one with another says just that."""
    player = Player()
    loudness = Loudness(player, "pulse,alsa,null")
    loudness.apply(Scene())
    assert player.told == []
    loudness.apply(Scene(volume_percent=50.0))
    loudness.apply(Scene(volume_percent=50.0, muted=True, audio_device="alsa/x"))
    loudness.apply(Scene(volume_percent=50.0))
    assert player.told == [
        ("volume", 50.0),
        ("audio-device", "alsa/x"),
        ("mute", "yes"),
        ("audio-device", "auto"),
        ("mute", "no"),
    ]


async def test_ducked_smoothly_on_the_cubic_scale() -> None:
    """12 dB are a factor of 0.631 on libmpv's scale, whatever the volume; got to in small steps, and back."""
    player = Player()
    loudness = Loudness(player, "pulse,alsa,null")
    scene = Scene(volume_percent=80.0, duck_db=12.0)
    loudness.apply(scene)
    await asyncio.sleep(RAMP_S + 0.1)
    down = player.volumes()
    assert down[-1] == round(80 * 10 ** (-12 / 60), 3)
    assert down == sorted(down, reverse=True)
    assert len(down) >= 5
    loudness.apply(replace(scene, volume_percent=40.0))
    assert player.volumes()[-1] == round(40 * 10 ** (-12 / 60), 3)
    loudness.apply(replace(scene, volume_percent=40.0, duck_db=0.0))
    await asyncio.sleep(RAMP_S + 0.1)
    assert player.volumes()[-1] == 40.0
    said = len(player.told)
    await asyncio.sleep(0.05)
    assert len(player.told) == said, "it comes to rest"


async def test_rests_when_the_player_ends() -> None:
    """A ramp that is on its way stops."""
    player = Player()
    loudness = Loudness(player, "pulse,alsa,null")
    loudness.apply(Scene(duck_db=12.0))
    loudness.close()
    said = len(player.told)
    await asyncio.sleep(0.1)
    assert len(player.told) == said
    loudness.close()


async def test_gives_its_device_away_and_takes_it_back() -> None:
    """The player turns to a silent output, not to no sound: films go on."""
    player = Player()
    loudness = Loudness(player, "pulse,alsa,null")
    loudness.apply(Scene(sound_released=True))
    loudness.apply(Scene(sound_released=True, duck_db=12.0))
    loudness.apply(Scene())
    outputs = [value for name, value in player.told if name == "ao"]
    assert outputs == ["null", "pulse,alsa,null"]


async def test_an_output_that_failed_meanwhile_is_tried_again() -> None:
    """After the announcement, only if the player has ended up without sound."""
    player = Player()
    loudness = Loudness(player, "pulse,alsa,null")
    loudness.apply(Scene(duck_db=12.0))
    loudness.apply(Scene())
    assert ("ao-reload",) not in player.commands
    player.output = "null"
    loudness.apply(Scene(duck_db=12.0))
    loudness.apply(Scene())
    assert player.commands[-1] == ("ao-reload",)


async def test_a_screen_without_sound_has_none_to_give() -> None:
    """Its output stays as it is."""
    player = Player()
    player.output = "null"
    loudness = Loudness(player, "null")
    loudness.apply(Scene(sound_released=True, duck_db=12.0))
    loudness.apply(Scene())
    assert all(name == "volume" for name, _ in player.told)
    assert player.commands == []
