"""The device's volume, on a private PulseAudio through real ALSA calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.hardware.mixer import MixerTimers
from agent.hardware.volume import Volume, VolumeTimers
from agent.system.state import State, StateError
from tests.hardware.fakes import until
from tests.sound import SILENCE_DBFS, PrivateSound

QUICK = VolumeTimers(reopen_first_s=0.05, reopen_most_s=0.2)
IMPATIENT = VolumeTimers(reopen_first_s=0.05, reopen_most_s=0.2, mixer=MixerTimers(call_s=0.5))


@pytest.fixture(scope="module")
def sound_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSound]:
    with PrivateSound(tmp_path_factory.mktemp("sound")) as sound, sound.activate():
        yield sound


@pytest.fixture
def sound(sound_server: PrivateSound) -> PrivateSound:
    """The server, loud and not muted."""
    sound_server.set_percent(100)
    sound_server.set_muted(False)
    return sound_server


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


@contextlib.asynccontextmanager
async def running(volume: Volume) -> AsyncIterator[Volume]:
    """Runs it as the daemon does."""
    task = asyncio.create_task(volume.run(), name="volume")
    try:
        await asyncio.wait_for(volume.started(), 10)
        yield volume
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


class Player:
    """What the player was told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, bool]] = []

    def __call__(self, percent: float, muted: bool) -> None:
        self.told.append((percent, muted))


def test_the_defaults_of_the_timers() -> None:
    """A mixer call has 2 s."""
    assert MixerTimers().call_s == 2.0
    assert VolumeTimers() == VolumeTimers(reopen_first_s=0.5, reopen_most_s=10.0, settle_s=0.5, fresh_s=300.0)


async def test_every_percent_round_trip(sound: PrivateSound, state: State) -> None:
    """All 101 values reach the sink, are reported as set, and are on disk when set returns."""
    async with running(Volume(state, timers=QUICK)) as volume:
        assert volume.backend == "alsa:default/Master"
        for percent in range(101):
            await volume.set(percent)
            assert volume.percent == percent
            assert await state.get("volume") == percent
            if percent % 10 == 0:
                assert await asyncio.to_thread(sound.percent) == percent


async def test_nothing_persisted_leaves_the_volume_alone(sound: PrivateSound, state: State) -> None:
    """A device whose volume nobody set keeps what it has, and reports it."""
    sound.set_percent(62)
    sound.set_muted(True)
    async with running(Volume(state, timers=QUICK)) as volume:
        assert (volume.percent, volume.muted) == (62, True)
    assert (sound.percent(), sound.muted()) == (62, True)
    assert await state.get("volume") is None


async def test_what_was_set_is_back_after_a_restart(sound: PrivateSound, state: State) -> None:
    """Volume and mute are applied at start."""
    async with running(Volume(state, timers=QUICK)) as volume:
        await volume.set(37)
        await volume.set_muted(True)
    sound.set_percent(90)
    sound.set_muted(False)
    async with running(Volume(state, timers=QUICK)) as volume:
        assert (volume.percent, volume.muted) == (37, True)
        assert (sound.percent(), sound.muted()) == (37, True)


async def test_changes_by_others_are_noticed(sound: PrivateSound, state: State) -> None:
    """pactl's change is reported as measured, at once and to the listeners; the own value counts again when it is back."""
    changes: list[tuple[int, bool]] = []
    async with running(Volume(state, timers=QUICK)) as volume:
        volume.on_change(lambda: changes.append((volume.percent, volume.muted)))
        await volume.set(40)
        sound.set_percent(80)
        began = time.monotonic()
        await until(lambda: volume.percent == 80)
        assert time.monotonic() - began < 0.5
        sound.set_muted(True)
        await until(lambda: volume.muted)
        assert volume.percent == 80, "mute is not 0 %"
        sound.set_muted(False)
        sound.set_percent(40)
        await until(lambda: (volume.percent, volume.muted) == (40, False))
        assert changes[0] == (40, False)
        assert (80, True) in changes
        assert await state.get("volume") == 40, "what others turn is not what was set"


async def test_mute_and_nothing_are_two_things(sound: PrivateSound, state: State) -> None:
    """0 % does not mute, mute keeps the percentage, and unmuting brings it back."""
    async with running(Volume(state, timers=QUICK)) as volume:
        await volume.set(0)
        assert not sound.muted()
        await volume.set(55)
        await volume.set_muted(True)
        assert (volume.percent, volume.muted, sound.percent(), sound.muted()) == (55, True, 55, True)
        await volume.set_muted(False)
        assert (volume.percent, sound.percent(), sound.muted()) == (55, 55, False)


async def test_loudness_at_the_monitor(sound: PrivateSound, state: State) -> None:
    """A tone gets quieter as the facts say: the cubic curve once and not twice, silence at 0 % and when muted."""
    tone = sound.play_tone()
    try:
        async with running(Volume(state, timers=QUICK)) as volume:
            await volume.set(100)
            await until_sounding(sound)
            loud = await asyncio.to_thread(sound.loudness_dbfs, 0.1)
            assert loud == pytest.approx(-15.05, abs=0.3)
            for percent, expected in ((75, -7.50), (50, -18.07), (25, -36.13), (10, -59.79)):
                await volume.set(percent)
                assert await settled(sound, loud + expected) == pytest.approx(loud + expected, abs=1.0)
            await volume.set(0)
            assert await settled(sound, SILENCE_DBFS) == SILENCE_DBFS
            await volume.set(50)
            await volume.set_muted(True)
            assert await settled(sound, SILENCE_DBFS) == SILENCE_DBFS
    finally:
        tone.kill()
        tone.wait()


async def test_concurrent_sets(sound: PrivateSound, state: State) -> None:
    """The last one wins, on the hardware and on disk."""
    async with running(Volume(state, timers=QUICK)) as volume:
        await asyncio.gather(*(volume.set(percent) for percent in (10, 90, 30, 70, 45)))
        assert volume.percent == 45
        assert sound.percent() == 45
        assert await state.get("volume") == 45


async def test_out_of_range_is_clamped(sound: PrivateSound, state: State) -> None:
    """Nothing below 0 and nothing above 100 reaches the hardware."""
    async with running(Volume(state, timers=QUICK)) as volume:
        await volume.set(140)
        assert (volume.percent, sound.percent()) == (100, 100)
        await volume.set(-3)
        assert (volume.percent, sound.percent()) == (0, 0)


async def test_the_sound_server_crashes_and_returns(sound: PrivateSound, state: State, caplog: pytest.LogCaptureFixture) -> None:
    """Off the loop at once, the player's own volume meanwhile, then reopened with the value applied again."""
    caplog.set_level(logging.DEBUG)
    player = Player()
    async with running(Volume(state, apply_to_player=player, timers=QUICK)) as volume:
        await volume.set(35)
        sound.kill()
        await until(lambda: volume.backend == "player")
        assert volume.percent == 35
        await volume.set(52)
        assert player.told == [(35, False), (52, False)]
        await asyncio.to_thread(sound.start)
        await until(lambda: volume.backend == "alsa:default/Master" and volume.percent == 52)
        await until(lambda: sound.percent() == 52)
        await until(lambda: player.told[2:] == [(100, False)])
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING and record.name.startswith("agent")]
    assert len(warnings) <= 2, [record.getMessage() for record in warnings]


async def test_a_sound_server_that_freezes(sound: PrivateSound, state: State, caplog: pytest.LogCaptureFixture) -> None:
    """The daemon's loop goes on while a mixer call hangs inside the library; the value is stored, and applied afterwards."""
    player = Player()
    async with running(Volume(state, apply_to_player=player, timers=IMPATIENT)) as volume:
        await volume.set(35)
        sound.freeze()
        try:
            gap = Gap()
            watching = asyncio.create_task(gap.run())
            began = time.monotonic()
            await volume.set(64)
            assert 0.4 < time.monotonic() - began < 2
            await volume.set(65)
            watching.cancel()
            assert gap.longest_s < 0.4
            assert volume.percent == 65
            assert volume.backend == "alsa:default/Master"
            assert player.told == [], "the frozen server still holds its volume"
        finally:
            sound.thaw()
        await until(lambda: sound.percent() == 65)
        await until(lambda: volume.percent == 65)
    hangs = [record for record in caplog.records if "does not answer" in record.getMessage()]
    assert [record.levelname for record in hangs if record.levelno >= logging.WARNING] == ["WARNING"]


async def test_a_suspicion_is_checked(sound: PrivateSound, state: State) -> None:
    """Who plays sound and was held up says so: sound counts as hanging until the mixer has answered."""
    async with running(Volume(state, timers=IMPATIENT)) as volume:
        volume.suspect()
        assert volume.hangs
        await until(lambda: not volume.hangs)
        sound.freeze()
        try:
            volume.suspect()
            await until(lambda: volume.backend == "alsa:default/Master" and volume.hangs)
            await volume.set(40)
            assert volume.hangs
        finally:
            sound.thaw()
        await until(lambda: not volume.hangs)
        await until(lambda: sound.percent() == 40)


async def test_without_any_mixer(state: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The player's own volume does it, also after a restart."""
    nothing = tmp_path / "asound.conf"
    nothing.write_text("</usr/share/alsa/alsa.conf>\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(nothing))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nowhere")
    player = Player()
    async with running(Volume(state, apply_to_player=player, timers=QUICK)) as volume:
        assert (volume.backend, volume.percent) == ("player", 100)
        assert player.told == []
        await volume.set(30)
        await volume.set_muted(True)
        assert player.told == [(30, False), (30, True)]
    player = Player()
    async with running(Volume(state, apply_to_player=player, timers=QUICK)) as volume:
        assert player.told == [(30, True)]
        assert volume.player == (30, True)
    async with running(Volume(state, timers=QUICK)) as volume:
        assert volume.backend == "none"


async def test_a_full_disk(sound: PrivateSound, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be stored is in force all the same, and the caller is told."""

    async def full(*_: object, **__: object) -> None:
        raise StateError("state cannot be written: disk full")

    async with running(Volume(state, timers=QUICK)) as volume:
        with monkeypatch.context() as patch:
            patch.setattr(state, "put", full)
            with pytest.raises(StateError, match="disk full"):
                await volume.set(21)
        assert sound.percent() == 21
        await volume.set(22)
        assert await state.get("volume") == 22


async def test_a_stored_value_that_is_none(sound: PrivateSound, state: State) -> None:
    """Nonsense in the state is as good as nothing."""
    await state.put("volume", "loud")
    await state.put("muted", 7)
    sound.set_percent(48)
    async with running(Volume(state, timers=QUICK)) as volume:
        assert (volume.percent, volume.muted) == (48, False)


class Gap:
    """The longest time the event loop was not at work."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def run(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - before)
            before = now


async def until_sounding(sound: PrivateSound) -> None:
    """Waits for the tone to come out."""
    await settled(sound, -15.05)


async def settled(sound: PrivateSound, expected: float) -> float:
    """The loudness, once it is near `expected` or has had time enough."""
    for _ in range(20):
        loudness = await asyncio.to_thread(sound.loudness_dbfs, 0.1)
        if abs(loudness - expected) < 1:
            break
    return loudness
