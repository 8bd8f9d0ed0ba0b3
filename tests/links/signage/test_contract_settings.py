"""Sections 3 and 5 of the signage contract over the wire: text overlays, volume, brightness."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.screen.messages import Ticker
from tests.box import SERIAL, Box, until
from tests.links.signage.conftest import Playing
from tests.servers import SignageServer

# Text overlays


async def test_overlay(playing: Playing) -> None:
    """Shown, replaced without anything between, hidden; hiding twice is harmless."""
    async with playing() as box:
        await box.command(
            "show_text_overlay", text_overlay={"text": "One", "position": "TOP", "speed": "80", "text_color": "0f0"}
        )
        first = Ticker("One", "top", "scroll", 80.0, 24.0, "#FF000000", "#FF00FF00", (1280, 720))
        assert box.screen.ticker == first
        scenes = len(box.screen.scenes)
        await box.command("show_text_overlay", params={"textOverlay": {"text": "Two\nlines"}})
        second = Ticker("Two lines", canvas=(1280, 720))
        assert [scene.ticker for scene in box.screen.scenes[scenes:]] == [second]
        for _ in range(2):
            await box.command("hide_text_overlay")
            assert box.screen.ticker is None
        assert box.screen.titles == ["a.png"]


async def test_an_overlay_without_text_is_ignored(playing: Playing, caplog: pytest.LogCaptureFixture) -> None:
    """The one that is shown stays."""
    async with playing() as box:
        await box.command("show_text_overlay", text_overlay={"text": "Stays"})
        for overlay in (None, {}, {"text": ""}, {"text": None}, "Text", {"text": "  "}):
            await box.command("show_text_overlay", text_overlay=overlay)
        assert box.screen.ticker is not None
        assert box.screen.ticker.text == "Stays"
        assert "show_text_overlay" in caplog.text


async def test_an_overlay_stays(server: SignageServer, playing: Playing) -> None:
    """Through items, playlists, pause, reload, reconnection and a restart of the agent; hidden, it stays hidden."""
    async with playing() as box:
        await box.command("show_text_overlay", text_overlay={"text": "{Привет} \\N 🎉", "position": "left"})
        shown = box.screen.ticker
        for action, arguments in (
            ("next", {}),
            ("switch_playlist", {"playlist_id": 102}),
            ("pause", {}),
            ("reload_playlist", {}),
        ):
            await box.command(action, **arguments)
            assert box.screen.ticker == shown
        server.drop(SERIAL)
        await server.wait_for(lambda: box.served.connections == 2)
        assert box.screen.ticker == shown
        await box.restart(orderly=False)
        await until(lambda: box.screen.ticker == shown)
        await box.command("hide_text_overlay")
        await asyncio.sleep(0.05)
        await box.restart(orderly=False)
        await box.shows("d.png")
        assert box.screen.ticker is None


# Volume and brightness


@pytest.mark.parametrize(
    ("said", "percent"), [(60, 60), ("35", 35), (0, 0), (-20, 0), (250, 100), (42.4, 42), ({"params": 7}, 7)]
)
async def test_volume_and_brightness(box: Box, said: Any, percent: int) -> None:
    """Clamped, applied at once, on disk."""
    async with box:
        await box.ready()
        for name in ("volume", "brightness"):
            await box.command(f"set_{name}", **({"params": {name: 7}} if isinstance(said, dict) else {name: said}))
        await until(lambda: (box.volume.percent, box.brightness.percent) == (percent, percent))
        assert (box.volumes or [100])[-1] == percent
        assert (box.dims or [0.0])[-1] == 100 - percent
        await box.restart(orderly=False)
        assert (box.volume.percent, box.brightness.percent) == (percent, percent)


@pytest.mark.parametrize("said", [None, "loud", True, [], {}, ""])
async def test_volume_and_brightness_that_are_none(box: Box, caplog: pytest.LogCaptureFixture, said: Any) -> None:
    """Missing or not a number: the old value is kept."""
    async with box:
        await box.ready()
        await box.command("set_volume", volume=33)
        await box.command("set_brightness", brightness=44)
        await box.command("set_volume", volume=said)
        await box.command("set_brightness", brightness=said)
        await box.command("set_volume")
        await until(lambda: (box.volume.percent, box.brightness.percent) == (33, 44))
        await box.quiet()
        assert (box.volumes, box.dims) == ([33], [56.0])
        assert "set_volume" in caplog.text


async def test_many_volumes_in_a_row(box: Box) -> None:
    """They are applied in their order; the last one stays, on disk, too."""
    async with box:
        await box.ready()
        for percent in range(50):
            await box.server.send(SERIAL, {"action": "set_volume", "volume": percent})
            await box.server.send(SERIAL, {"action": "set_brightness", "brightness": percent})
        await until(lambda: (box.volume.percent, box.brightness.percent) == (49, 49))
        assert box.volumes == sorted(box.volumes)
        await until(lambda: box.volumes[-1] == 49)
        await asyncio.sleep(0.1)
        assert (await box.state.get("volume"), await box.state.get("brightness")) == (49, 49)
