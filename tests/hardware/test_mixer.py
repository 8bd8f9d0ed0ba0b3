"""The mixer worker and its supervision, with an `alsaaudio` whose cards come, go, round and hang."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.hardware.mixer import MixerTimers
from agent.hardware.volume import Volume, VolumeTimers
from agent.system.state import State
from tests.hardware.fakes import FakeAlsa, until

QUICK = VolumeTimers(reopen_first_s=0.05, reopen_most_s=0.1)
IMPATIENT = VolumeTimers(reopen_first_s=0.05, reopen_most_s=0.1, mixer=MixerTimers(call_s=0.4))


@pytest.fixture
def alsa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAlsa:
    return FakeAlsa(tmp_path, monkeypatch)


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


async def test_a_control_with_decibels(alsa: FakeAlsa, state: State) -> None:
    """A headphone jack at 50 % stands 18 dB below its top, not 53; the value is set in dB and comes back."""
    alsa.add("Headphones", "PCM", range=[-10239, 400], raw=0, db=[-10239, 400])
    async with running(Volume(state, timers=QUICK)) as volume:
        assert volume.backend == "alsa:Headphones/PCM"
        assert volume.audio_device == "alsa/sysdefault:CARD=Headphones"
        await volume.set(50)
        assert alsa.control("Headphones", "PCM")["raw"] == pytest.approx(-1360, abs=10)
        alsa.change("Headphones", "PCM", raw=400)
        await until(lambda: volume.percent == 100)
        await volume.set(0)
        assert alsa.control("Headphones", "PCM")["raw"] == -10239


async def test_a_coarse_mixer(alsa: FakeAlsa, state: State) -> None:
    """With 32 steps every value is still reported as it was set; a change by others as measured."""
    alsa.add("Device", "PCM", range=[0, 31], raw=10, step=1)
    async with running(Volume(state, timers=QUICK)) as volume:
        for percent in range(0, 101, 5):
            await volume.set(percent)
            assert volume.percent == percent
        alsa.change("Device", "PCM", raw=10)
        await until(lambda: volume.percent == 32)


async def test_a_driver_that_rounds_later(alsa: FakeAlsa, state: State) -> None:
    """75 does not become 74 because the driver's event comes after the write."""
    alsa.add("Device", "PCM", range=[0, 100], raw=10)
    async with running(Volume(state, timers=QUICK)) as volume:
        await volume.set(75)
        calls = len(alsa.calls())
        alsa.change("Device", "PCM", raw=74)
        await until(lambda: "handleevents" in alsa.calls()[calls:] and alsa.calls()[-1] == "getmute")
        await volume.set_muted(False)
        assert volume.percent == 75


async def test_a_call_that_hangs_with_the_interpreters_lock(
    alsa: FakeAlsa, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a call stops every thread of its process: that process is replaced, said once, and the daemon goes on."""
    caplog.set_level(logging.INFO)
    alsa.add("Device", "PCM")
    async with running(Volume(state, timers=IMPATIENT)) as volume:
        await volume.set(20)
        alsa.hang("setvolume")
        began = time.monotonic()
        await volume.set(60)
        assert time.monotonic() - began < 2
        assert await state.get("volume") == 60
        assert volume.percent == 60
        opened = alsa.calls().count("mixers")
        await until(lambda: alsa.calls().count("mixers") > opened + 3, "it is tried again")
        alsa.hang()
        await until(lambda: alsa.control("Device", "PCM")["raw"] == 60)
        await until(lambda: "answers again" in caplog.text)
    assert [record.levelname for record in caplog.records if "does not answer" in record.getMessage()] == ["WARNING"]


async def test_a_hang_at_the_start(alsa: FakeAlsa, state: State) -> None:
    """Nothing waits for a mixer that hangs while it is opened; the player does it until then."""
    alsa.add("Device", "PCM")
    alsa.hang("mixers")
    told: list[tuple[float, bool]] = []
    volume = Volume(state, timers=IMPATIENT, apply_to_player=lambda percent, muted: told.append((percent, muted)))
    async with running(volume):
        assert volume.backend == "player"
        await volume.set(25)
        assert told == [(25, False)]
        alsa.hang()
        await until(lambda: volume.backend == "alsa:Device/PCM")
        await until(lambda: told[-1] == (100, False))
        assert alsa.control("Device", "PCM")["raw"] == 25


async def test_the_worker_is_killed(alsa: FakeAlsa, state: State) -> None:
    """alsa-lib aborts the process: another takes its place with the value applied."""
    alsa.add("Device", "PCM")
    async with running(Volume(state, timers=QUICK)) as volume:
        await volume.set(44)
        pid = volume._mixer._worker.pid if volume._mixer._worker else None
        assert pid is not None
        alsa.read()["mixers"]["hw:CARD=Device"]["PCM"]["raw"] = 99
        alsa._write()
        os.kill(pid, 9)
        await until(lambda: alsa.control("Device", "PCM")["raw"] == 44)
        await until(lambda: volume.backend == "alsa:Device/PCM" and volume.percent == 44)


async def test_a_usb_dac_goes_and_comes_back_with_another_number(alsa: FakeAlsa, state: State) -> None:
    """It is found again by its name, behind a card that came first meanwhile."""
    alsa.add("Device", "PCM")
    async with running(Volume(state, card="Device", timers=QUICK)) as volume:
        await volume.set(33)
        alsa.remove("Device")
        await until(lambda: volume.backend == "none")
        assert volume.percent == 33
        await volume.set(34)
        alsa.plug_in()
        alsa.add("Webcam", "Master", raw=7)
        alsa.add("Device", "PCM", raw=90)
        await until(lambda: volume.backend == "alsa:Device/PCM")
        await until(lambda: alsa.control("Device", "PCM")["raw"] == 34)
        assert alsa.control("Webcam", "Master")["raw"] == 7


async def test_a_hang_up_does_not_spin(alsa: FakeAlsa, state: State) -> None:
    """After POLLHUP the descriptor is off the loop at once; reopening waits its pauses."""
    alsa.add("Device", "PCM")
    async with running(Volume(state, timers=QUICK)) as volume:
        alsa.hang_up()
        await until(lambda: volume.backend == "none" or alsa.calls().count("cards") > 1)
        assert alsa.calls().count("handleevents") <= 1


async def test_a_control_that_appears_with_the_first_sound(alsa: FakeAlsa, state: State) -> None:
    """An HDMI port has no volume until its softvol has played once; then it is taken, and the value applied."""
    alsa.add("vc4hdmi0", "IEC958", volume=False)
    told: list[tuple[float, bool]] = []
    slow = VolumeTimers(reopen_first_s=60, reopen_most_s=60)
    volume = Volume(state, timers=slow, apply_to_player=lambda percent, muted: told.append((percent, muted)))
    async with running(volume):
        await volume.set(50)
        assert (volume.backend, told) == ("player", [(50, False)])
        assert volume.audio_device == "alsa/sysdefault:CARD=vc4hdmi0"
        alsa.add("vc4hdmi0", "PCM", range=[0, 255], db=[-5100, 0], raw=255, muted=None)
        volume.look()
        await until(lambda: volume.backend == "alsa:vc4hdmi0/PCM")
        await until(lambda: told[-1] == (100, False))
        assert alsa.control("vc4hdmi0", "PCM")["raw"] == 128, "a softvol is not curved twice"


async def test_mute_without_a_switch(alsa: FakeAlsa, state: State) -> None:
    """Where the control has no switch, the player mutes; the control keeps its value."""
    alsa.add("Device", "PCM", muted=None)
    told: list[tuple[float, bool]] = []
    volume = Volume(state, timers=QUICK, apply_to_player=lambda percent, muted: told.append((percent, muted)))
    async with running(volume):
        await volume.set(70)
        await volume.set_muted(True)
        assert (volume.percent, volume.muted, told) == (70, True, [(100, True)])
        assert alsa.control("Device", "PCM")["raw"] == 70
        await volume.set_muted(False)
        assert told[-1] == (100, False)


async def test_a_two_step_volume_is_passed_over(alsa: FakeAlsa, state: State) -> None:
    """A "volume" that only mutes is not taken where there is another; asked for by name, it is."""
    alsa.add("DAC", "Master", range=[0, 1], raw=1)
    alsa.add("DAC", "Digital", range=[0, 207])
    async with running(Volume(state, timers=QUICK)) as volume:
        assert volume.backend == "alsa:DAC/Digital"
    async with running(Volume(state, control="Master", timers=QUICK)) as volume:
        assert volume.backend == "alsa:DAC/Master"


async def test_a_control_that_does_not_exist(alsa: FakeAlsa, state: State, caplog: pytest.LogCaptureFixture) -> None:
    """The log names it and what there is instead."""
    caplog.set_level(logging.INFO)
    alsa.add("Device", "PCM")
    async with running(Volume(state, card="Device", control="Master", timers=QUICK)) as volume:
        assert volume.backend == "none"
    assert "mixer hw:CARD=Device has no control 'Master'; it has: PCM" in caplog.text


def test_the_worker_dies_with_the_daemon(alsa: FakeAlsa, tmp_path: Path) -> None:
    """kill -9 of the daemon leaves no process behind, also while a call hangs."""
    alsa.add("Device", "PCM")
    program = f"""
        import asyncio
        from pathlib import Path
        from agent.hardware.volume import Volume
        from agent.system.state import State
        async def main():
            state = await State.open(Path({str(tmp_path / "other.db")!r}))
            volume = Volume(state)
            running = asyncio.create_task(volume.run())
            await volume.started()
            print(volume._mixer._worker.pid, flush=True)
            await volume.set(10)
        asyncio.run(main())
    """
    alsa.hang("setvolume")
    daemon = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    worker = int(daemon.stdout.readline())
    deadline = time.monotonic() + 10
    while "setvolume" not in alsa.calls() and time.monotonic() < deadline:
        time.sleep(0.01)
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(worker)


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
