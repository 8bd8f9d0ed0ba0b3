"""Sessions and the device, on a sound card in memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from agent.screen.sound import hush
from agent.voice import player as player_module
from agent.voice.messages import Output, Playback
from agent.voice.pcm import Pcm, PcmBusyError, PcmError
from agent.voice.player import Player, PlayerTimers
from tests.sound import PrivateSound
from tests.voice.conftest import frames, tone, until
from tests.voice.ear import Ear

QUICK = PlayerTimers(idle_s=0.2, open_retry_s=0.02, give_up_s=0.2)
ACTIVE = Playback(active=True)
BUSY = Playback(active=True, busy=True)
SOUNDING = Playback(active=True, sounding=True)


class Stage:
    """A player and everything it said."""

    def __init__(self) -> None:
        self.said: list[Playback] = []
        self.finished: list[int] = []
        self.troubles: list[str] = []
        self.player = Player(say=self.said.append, finished=self.finished.append, trouble=self.troubles.append, timers=QUICK)


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Ends the player with the test."""
    stage = Stage()
    try:
        yield stage
    finally:
        stage.player.close()


class FakePcm:
    """A device in the place of the real one: takes everything at once, at the pace of a real one in `room`."""

    opened: list[FakePcm]
    errors: list[PcmError]
    buffer_samples = 1920

    def __init__(self, name: str, direction: str) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.name = name
        self.data = b""
        self.closed = False
        self.breaks = False
        self.stuck = False
        self._started = time.monotonic()
        self.opened.append(self)

    def room(self) -> int:
        if self.stuck:
            return 0
        played = min(len(self.data) // 2, int((time.monotonic() - self._started) * 16_000))
        return self.buffer_samples - (len(self.data) // 2 - played)

    def write(self, data: bytes) -> int:
        if self.breaks:
            raise PcmError("No such device [usb]")
        self.data += data
        return len(data) // 2

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakePcm]:
    """No real device."""
    FakePcm.opened, FakePcm.errors = [], []
    monkeypatch.setattr(player_module, "Pcm", FakePcm)
    return FakePcm


async def test_opened_at_the_beginning_closed_after_the_end(fake: type[FakePcm]) -> None:
    """The device is opened before the first frame is there, and closed after the last sound and its silence."""
    async with staged() as stage:
        stage.player.begin(1)
        assert stage.said == [ACTIVE]
        assert len(fake.opened) == 1
        stage.player.frame(1, tone(0.1))
        stage.player.end(1)
        await until(lambda: stage.finished)
        assert stage.said == [ACTIVE, SOUNDING, Playback()]
        [pcm] = fake.opened
        assert pcm.closed
        assert len(pcm.data) // 2 == 1600 + 1920 + 800, "the sound, the device's own buffer, and the tail"


async def test_a_session_that_falls_silent_gives_the_device_back(fake: type[FakePcm]) -> None:
    """Without frames for a while it is closed, although the session is open; the next frame opens it again."""
    async with staged() as stage:
        stage.player.begin(1)
        await until(lambda: stage.said[-1] == Playback())
        assert fake.opened[0].closed
        stage.player.frame(1, tone(0.05))
        await until(lambda: stage.said[-1] == SOUNDING)
        await until(lambda: stage.said[-1] == Playback())
        assert stage.finished == []
        stage.player.end(1)
        await until(lambda: stage.finished == [1])


async def test_who_has_nothing_to_say_lets_others_speak(fake: type[FakePcm]) -> None:
    """A session that is open but silent does not hold up the next speaker's."""
    async with staged() as stage:
        stage.player.begin(1)
        stage.player.begin(2)
        stage.player.frame(2, tone(0.05))
        stage.player.end(2)
        await until(lambda: stage.finished == [2])
        stage.player.frame(1, tone(0.05))
        stage.player.end(1)
        await until(lambda: stage.finished == [2, 1])


async def test_the_highest_priority_comes_next(fake: type[FakePcm]) -> None:
    """It does not interrupt what is heard; among equals the oldest is first."""
    async with staged() as stage:
        for number, priority in enumerate((10, 10, 70, 10, 70), 1):
            stage.player.begin(number, priority)
            stage.player.frame(number, tone(0.4 if number == 1 else 0.05))
            stage.player.end(number)
        await until(lambda: len(stage.finished) == 5)
        assert stage.finished == [1, 3, 5, 2, 4]


async def test_sound_of_all_sessions_together_is_bounded(fake: type[FakePcm], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not so much for each."""
    monkeypatch.setattr(player_module, "BACKLOG_S", 1.0)
    async with staged() as stage:
        for number in range(1, 5):
            stage.player.begin(number)
            for piece in frames(tone(1.0)):
                stage.player.frame(number, piece)
        held_s = sum(session.buffer.held_s for session in stage.player._sessions)
        assert 0.8 < held_s < 1.2


async def test_a_busy_device_is_tried_again_until_it_is_free(fake: type[FakePcm]) -> None:
    """It is said at once, so that the film gives it away; then the announcement is heard, and `busy` holds to its end."""
    fake.errors = [PcmBusyError("Device or resource busy [default]")] * 3
    async with staged() as stage:
        stage.player.begin(1)
        assert stage.said == [ACTIVE, BUSY]
        stage.player.frame(1, tone(0.05))
        stage.player.end(1)
        await until(lambda: stage.finished)
        assert stage.said == [ACTIVE, BUSY, Playback(active=True, busy=True, sounding=True), Playback()]
        assert stage.troubles == [""]


async def test_a_device_that_stays_away(fake: type[FakePcm]) -> None:
    """After a while the announcement passes unheard, with the reason; the next one tries again."""
    fake.errors = [PcmError("No such file or directory [nonsense]")] * 1000
    async with staged() as stage:
        stage.player.begin(1)
        stage.player.frame(1, tone(0.2))
        stage.player.end(1)
        await until(lambda: stage.finished == [1])
        assert stage.troubles == ["No such file or directory [nonsense]"]
        assert stage.said[-1] == Playback()
        fake.errors = []
        stage.player.begin(2)
        stage.player.frame(2, tone(0.05))
        stage.player.end(2)
        await until(lambda: stage.finished == [1, 2])
        assert stage.troubles[-1] == ""


async def test_a_device_that_is_unplugged(fake: type[FakePcm]) -> None:
    """In the middle: it is opened again, and the rest is heard."""
    async with staged() as stage:
        stage.player.begin(1)
        for frame in frames(tone(0.3)):
            stage.player.frame(1, frame)
        stage.player.end(1)
        await until(lambda: stage.said[-1] == SOUNDING)
        fake.opened[0].breaks = True
        await until(lambda: stage.finished)
        assert len(fake.opened) == 2
        assert fake.opened[0].closed
        assert len(fake.opened[0].data) + len(fake.opened[1].data) >= 2 * 4800


async def test_a_device_that_is_stuck(fake: type[FakePcm]) -> None:
    """It takes nothing any more: after a while it is given up, so that the film is not ducked for ever."""
    async with staged() as stage:
        stage.player.begin(1)
        stage.player.frame(1, tone(1.0))
        await until(lambda: stage.said[-1] == SOUNDING)
        fake.opened[0].stuck = True
        await until(lambda: stage.said[-1] == Playback())
        assert stage.troubles[-1] == "the device takes no sound"
        assert fake.opened[0].closed
        stage.player.frame(1, tone(0.05))
        stage.player.end(1)
        await until(lambda: stage.finished == [1])
        assert stage.troubles[-1] == ""


async def test_a_better_device_from_the_next_announcement_on(fake: type[FakePcm]) -> None:
    """Another card is chosen: the present announcement stays where it is; the volume holds at once."""
    async with staged() as stage:
        stage.player.begin(1)
        stage.player.set_output(Output("hw:CARD=usb", 100.0, muted=True))
        stage.player.frame(1, tone(0.05))
        stage.player.end(1)
        await until(lambda: stage.finished)
        stage.player.begin(2)
        assert [pcm.name for pcm in fake.opened] == ["default", "hw:CARD=usb"]
        assert not any(fake.opened[0].data), "muted"


async def test_stopped(fake: type[FakePcm]) -> None:
    """One session, or all: silent at once, finished, and what still comes for them is dropped."""
    async with staged() as stage:
        for number in (1, 2, 3):
            stage.player.begin(number)
            stage.player.frame(number, tone(1.0))
        stage.player.stop(1)
        assert fake.opened[0].closed
        await until(lambda: len(fake.opened) == 2 and stage.said[-1] == SOUNDING)
        stage.player.stop(3)
        assert [pcm.closed for pcm in fake.opened] == [True, False]
        stage.player.stop_all()
        assert [pcm.closed for pcm in fake.opened] == [True, True]
        assert stage.finished == [1, 3, 2]
        stage.player.frame(2, tone(1.0))
        stage.player.stop(2)
        await asyncio.sleep(0.05)
        assert len(fake.opened) == 2


async def test_late_frames_on_a_real_device(sound: PrivateSound, ear: Ear) -> None:
    """A pause in the middle of a session runs the device dry; what comes after it is heard whole."""
    async with staged() as stage:
        before = time.monotonic()
        stage.player.begin(1)
        data = frames(tone(0.128))
        for frame in data:
            stage.player.frame(1, frame)
        await asyncio.sleep(0.3)
        for frame in frames(tone(0.128, 880)):
            stage.player.frame(1, frame)
        stage.player.end(1)
        await until(lambda: stage.finished)
        await asyncio.sleep(0.1)
        heard = ear.since(before)
        assert 0.1 < heard.longest_gap() < 0.25
        assert abs(heard.seconds() - 0.428) < 0.03


def test_real_devices(sound: PrivateSound, exclusive: PrivateSound) -> None:
    """A PCM that takes one client says so; one that does not exist has ALSA's reason."""
    hush()
    first = Pcm("default", "output")
    with pytest.raises(PcmBusyError, match="busy"):
        Pcm("default", "output")
    first.close()
    Pcm("default", "output").close()
    with pytest.raises(PcmError, match="nonsense") as refused:
        Pcm("nonsense", "output")
    assert not isinstance(refused.value, PcmBusyError)
