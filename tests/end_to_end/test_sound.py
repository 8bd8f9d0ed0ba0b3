"""Volume on a real sound server: what is set is heard, what others change is noticed, and a mixer that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.display import XServer
from tests.end_to_end.art import BLUE, GREEN, RED, Art
from tests.end_to_end.shop import DEADLINE_S, LOAD, Shop, figure, open_shop
from tests.sound import PrivateSound

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER_S = 2.0
"""A mixer call has so long, and the daemon answers meanwhile."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, display: XServer, sound_card: PrivateSound) -> AsyncIterator[Shop]:
    """An agent with a sound card, and a film with a tone on its screen."""
    sound_card.set_percent(100)
    async with open_shop(tmp_path_factory.mktemp("shop"), display, sound=sound_card) as shop:
        await shop.agent.until(lambda status: status["volume"]["backend"] == "alsa:default/Master")
        yield shop


async def heard(sound: PrivateSound, low_dbfs: float, high_dbfs: float, deadline_s: float = DEADLINE_S) -> float:
    """Listens until the loudness is within these limits; what it is then."""
    loudest: list[float] = []
    end = time.monotonic() + deadline_s
    while not loudest or not low_dbfs <= loudest[-1] <= high_dbfs:
        assert time.monotonic() < end, f"{low_dbfs} to {high_dbfs} dBFS expected, heard {loudest[-10:]}"
        loudest.append(await asyncio.to_thread(sound.loudness_dbfs, 0.1))
    return loudest[-1]


async def test_volume_is_heard(shop: Shop, art: Art, sound_card: PrivateSound) -> None:
    """The film sounds; 50 % is 18 dB less at the sink, 0 % is silence, and the control and the status agree."""
    await shop.put([shop.item(art.video(GREEN, 30, sound=True))])
    await shop.shows(GREEN)
    await shop.send("set_volume", volume=100)
    full = await heard(sound_card, -40, 0)
    await shop.send("set_volume", volume=50)
    half = await heard(sound_card, full - 19.5, full - 16.5)
    figure(f"100 % {full:.1f} dBFS, 50 % {half:.1f} dBFS")
    assert await asyncio.to_thread(sound_card.percent) == 50
    status = await shop.agent.until(lambda status: status["volume"]["percent"] == 50)
    assert status["volume"] == {"percent": 50, "muted": False, "backend": "alsa:default/Master"}
    await shop.send("set_volume", volume=0)
    await heard(sound_card, -200, -100)


async def test_others_turn_the_volume(shop: Shop, sound_card: PrivateSound) -> None:
    """What pactl sets and mutes shows in the status within moments."""
    await shop.send("set_volume", volume=60)
    await shop.agent.until(lambda status: status["volume"]["percent"] == 60)
    await asyncio.to_thread(sound_card.set_percent, 30)
    begun = time.monotonic()
    await shop.agent.until(lambda status: status["volume"]["percent"] == 30)
    figure(f"outside change in the status after {time.monotonic() - begun:.2f} s")
    await asyncio.to_thread(sound_card.set_muted, True)
    await shop.agent.until(lambda status: status["volume"]["muted"])
    await asyncio.to_thread(sound_card.set_muted, False)
    await shop.agent.until(lambda status: not status["volume"]["muted"])


async def test_mixer_that_hangs(shop: Shop, art: Art, sound_card: PrivateSound) -> None:
    """The sound server stops answering: status, commands and images go on; it answers again: the volume set is in force."""
    await shop.put([shop.item(art.image(RED)), shop.item(art.image(BLUE))])
    await shop.shows(RED)
    sound_card.freeze()
    try:
        await shop.send("set_volume", volume=45)
        slowest_s = 0.0
        for command, colour in (("next", BLUE), ("next", RED), ("next", BLUE)):
            begun = time.monotonic()
            await shop.agent.status()
            await shop.send(command)
            await shop.shows(colour)
            slowest_s = max(slowest_s, time.monotonic() - begun)
            await asyncio.sleep(0.8)
        figure(f"slowest answer with picture while the mixer hangs {slowest_s:.2f} s")
        assert slowest_s < ANSWER_S * LOAD
        await shop.agent.until(lambda status: "45" in str(status["volume"]["percent"]))
    finally:
        sound_card.thaw()
    begun = time.monotonic()
    async with asyncio.timeout(DEADLINE_S):
        while await asyncio.to_thread(sound_card.percent) != 45:
            await asyncio.sleep(0.05)
    figure(f"the volume set meanwhile is in force {time.monotonic() - begun:.2f} s after the mixer answers again")
    await shop.agent.until(lambda status: status["volume"] == {"percent": 45, "muted": False, "backend": "alsa:default/Master"})
    await shop.send("set_volume", volume=70)
    await shop.agent.until(lambda status: status["volume"]["percent"] == 70)
    assert await asyncio.to_thread(sound_card.percent) == 70


@pytest.mark.long
async def test_films_go_on_silently_while_the_sound_server_hangs(shop: Shop, art: Art, sound_card: PrivateSound) -> None:
    """One film is held up until the player is found to hang; from then on films play without sound, and with it afterwards."""
    await shop.put(
        [shop.item(art.video(GREEN, 30, sound=True)), shop.item(art.image(BLUE)), shop.item(art.video(RED, 5, sound=True))]
    )
    await shop.shows(GREEN)
    sound_card.freeze()
    try:
        await shop.send("next")
        await shop.shows(BLUE, deadline_s=30)
        for colour in (RED, GREEN, BLUE):
            begun = time.monotonic()
            await shop.send("next")
            await shop.shows(colour)
            figure(f"next film while the sound server hangs {time.monotonic() - begun:.2f} s")
    finally:
        sound_card.thaw()
    await shop.send("next")
    await heard(sound_card, -60, -5, 30)
