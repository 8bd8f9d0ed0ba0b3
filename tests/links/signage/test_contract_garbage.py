"""Section 3 of the signage contract over the wire: everything that is no message."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.box import SERIAL, Box
from tests.links.signage.conftest import Playing
from tests.servers import SignageServer

GARBAGE: list[str | bytes] = [
    b"\x00\x01binary",
    "not json",
    "",
    "null",
    "[]",
    '"play"',
    "5",
    "{}",
    '{"action": null}',
    '{"action": 5}',
    '{"action": ["play"]}',
    '{"action": "explode"}',
    '{"action": "' + "x" * 100_000 + '"}',
    "x" * 100_000,
    "[" * 100_000,
    '{"a":' * 50_000,
    '{"action": "switch_playlist"}',
    '{"action": "switch_playlist", "playlist_id": {}}',
    '{"action": "set_volume", "volume": NaN}',
    '{"action": "\\ud800"}',
    '{"action": "show_text_overlay", "text_overlay": [[[]]]}',
]


async def test_garbage(playing: Playing, caplog: pytest.LogCaptureFixture) -> None:
    """Each is logged once in a short line and ignored; the connection stays and nothing changes."""
    async with playing() as box:
        caplog.clear()
        for _ in range(2):
            for frame in GARBAGE:
                await box.frame(frame)
        assert (box.served.connections, box.screen.titles, len(box.screen.scenes)) == (1, ["a.png"], len(box.screen.scenes))
        warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) == len(set(warnings))
        assert 10 <= len(warnings) <= len(GARBAGE)
        assert all("message ignored link=main" in warning and len(warning) < 400 for warning in warnings)
        await box.command("next")
        await box.shows("b.png")


async def test_a_flood_of_ever_new_garbage(playing: Playing, caplog: pytest.LogCaptureFixture) -> None:
    """The log is spared beyond a thousand different faults."""
    async with playing() as box:
        caplog.clear()
        for number in range(1500):
            await box.server.send(SERIAL, {"action": f"nonsense-{number}"})
        await box.command("next")
        await box.shows("b.png")
        assert sum(record.levelno == logging.WARNING for record in caplog.records) <= 1000


@pytest.mark.parametrize(
    "greeting", [None, {"type": "connection_established"}, {"type": "hello", "version": [1]}, "not json", "[]"]
)
async def test_greetings(server: SignageServer, box: Box, caplog: pytest.LogCaptureFixture, greeting: Any) -> None:
    """A greeting is normal; none, or a broken one, does no harm."""
    server.greeting = greeting
    async with box:
        await box.ready()
        await box.quiet()
        assert box.served.connections == 1
    assert ("message ignored" in caplog.text) == isinstance(greeting, str)


async def test_a_frame_beyond_the_limit(server: SignageServer, playing: Playing) -> None:
    """More than a megabyte ends the connection, which comes back; playback goes on."""
    async with playing() as box:
        await server.send_raw(SERIAL, json.dumps({"action": "play", "padding": "x" * 1_100_000}))
        await server.wait_for(lambda: box.served.connections == 2)
        assert box.screen.titles == ["a.png"]


async def test_a_command_that_fails_inside(
    playing: Playing, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of our own is logged with its traceback; the connection stays."""
    async with playing() as box:

        def broken(_now: float) -> None:
            raise ZeroDivisionError("on purpose")

        monkeypatch.setattr(box.link._sides["front"], "pause", broken)
        await box.command("pause")
        assert "command failed link=main" in caplog.text
        await box.command("next")
        await box.shows("b.png")
        assert box.served.connections == 1
