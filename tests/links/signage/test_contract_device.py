"""The signage contract over the wire: sides, screenshots, and secrets that reach no log."""

from __future__ import annotations

import asyncio
import json
import logging
from io import StringIO
from urllib.parse import quote

import pytest

from agent.system.logs import Formatter
from tests.box import SERIAL
from tests.links.signage.conftest import MakeBox, MakeFile
from tests.servers import SOCKET_PATH, SignageServer, item, playlist

# Sides


async def test_only_the_sides_that_are_shown(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """Other sides are neither downloaded nor reported."""
    for number, side in enumerate(("front", "back", "right", "left"), start=101):
        server.offer([playlist(number, [item(file(f"{side}.png"))])], side=side)
    async with make_box(sides={"back": "front"}) as box:
        await box.ready(102)
        await box.shows("back.png")
        await asyncio.sleep(0.05)
        assert {message.data.get("playlist_id") for message in box.served.messages} <= {None, 102}
    assert [request.path for request in server.requests_to("/media/")] == ["/media/back.png"]


async def test_two_screens(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """One socket drives both: general commands act on all, switches on the side that lists the id."""
    fronts = [playlist(101, [item(file("f1.png")), item(file("f2.png"))]), playlist(102, [item(file("f3.png"))])]
    backs = [
        playlist(201, [item(file("b1.png"), media_id=51), item(file("b2.png"), media_id=52)]),
        playlist(202, [item(file("b3.png"))]),
    ]
    server.offer(fronts)
    server.offer(backs, side="back")
    async with make_box(sides={"front": "left", "back": "right"}) as box:
        await box.ready(101, 102, 201, 202)
        assert box.served.connections == 1

        async def both(left: str, right: str) -> None:
            await box.shows(left, screen="left")
            await box.shows(right, screen="right")

        await both("f1.png", "b1.png")
        await box.command("next")
        await both("f2.png", "b2.png")
        await box.command("switch_playlist", playlist_id=202)
        await both("f2.png", "b3.png")
        await box.command("play_media", media_id=52, playlist_id=201)
        await both("f2.png", "b2.png")
        await box.command("play_media", media_id=51)
        await both("f2.png", "b1.png")
        await box.command("pause")
        await box.command("show_text_overlay", text_overlay={"text": "Both"})
        for screen in box.screens.values():
            assert screen.scene.paused
            assert screen.ticker is not None
        since = box.served.mark()
        await box.command("cleanup_old_playlists", playlistIdsToKeep=[102])
        await box.ready(101, 102, 201, since=since)
        async with asyncio.timeout(10):
            while not all([(await box.state.get(f"signage.main.{side}"))["paused"] for side in ("front", "back")]):
                await asyncio.sleep(0.01)
        await box.restart(orderly=False)
        await both("f2.png", "b1.png")
        assert all(screen.scene.paused for screen in box.screens.values())
        assert all(screen.ticker is not None for screen in box.screens.values())


async def test_the_same_playlist_on_both_sides(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """It is fetched and reported once and plays on both; a switch to it acts on both."""
    shared = [playlist(101, [item(file("a.png"), media_id=1)]), playlist(102, [item(file("b.png"), media_id=2)])]
    for side in ("front", "back"):
        server.offer(shared, side=side)
    async with make_box(sides={"front": "left", "back": "right"}) as box:
        await box.ready(101, 102)
        for screen in ("left", "right"):
            await box.shows("a.png", screen=screen)
        await box.command("switch_playlist", playlist_id=102)
        for screen in ("left", "right"):
            await box.shows("b.png", screen=screen)
    assert len(server.requests_to("/media/")) == 2


# Screenshots


async def test_no_screenshots_by_default(server: SignageServer, make_box: MakeBox) -> None:
    """Off unless configured."""
    async with make_box() as box:
        await box.ready()
        await asyncio.sleep(0.15)
        assert box.screen.shots_taken == 0
    assert server.requests_to("/api/v1/screenshot") == []


@pytest.mark.parametrize("form", ["device", "cloud"])
async def test_screenshots(server: SignageServer, make_box: MakeBox, file: MakeFile, form: str) -> None:
    """In either form, at the configured pace, with the item that is on; trouble does not end them."""
    server.offer([playlist(101, [item(file("a.png"), media_id=77)])])
    async with make_box(screenshots_s=0.05, screenshot_form=form) as box:
        await box.shows("a.png")
        shot = await box.served.wait_screenshot(after=1)
        assert (shot.form, shot.fields["media_id"]) == (form, "77")
        server.fault("/api/v1/*screenshot*", times=2, status=500)
        server.tokens.expire_access()
        await box.served.wait_screenshot(after=box.served._screenshots_seen + 1)


async def test_no_screenshot_of_a_screen_that_is_down(server: SignageServer, make_box: MakeBox) -> None:
    """Nor while the server is away."""
    async with make_box(screenshots_s=0.03) as box:
        await box.ready()
        box.screen.up = False
        taken = box.screen.shots_taken
        await asyncio.sleep(0.12)
        assert box.screen.shots_taken <= taken + 1


# Secrets


async def test_no_secret_in_any_log_line(server: SignageServer, make_box: MakeBox, file: MakeFile) -> None:
    """A DEBUG run with the libraries' own debug logging: password and tokens are in no line, in no form."""

    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(journald=True, colour=False))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    names = ("agent", "websockets", "aiohttp", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    server.password = "p&ss wörd+1/"
    server.tokens.rotate_refresh = True
    server.media_needs_token = True
    server.offer([playlist(101, [item(file("a.png")), item(file("gone.png"), media_url="/media/x.png?token=abcdef")])])
    try:
        async with make_box(password=server.password, screenshots_s=0.05) as box:
            await box.says("partial", 101)
            for fault in ({"status": 403}, {"drop": True}, {"close_code": 1008}, {"redirect_to": server.foreign_url}):
                connections = box.served.connections
                server.tokens.expire_access()
                server.fault(SOCKET_PATH, times=1, **fault)
                server.drop(SERIAL)
                await server.wait_for(lambda n=connections: box.served.connections > n)  # type: ignore[misc]
            server.fault("/api/*", times=3, status=500)
            await box.command("reload_playlist")
            await box.frame('{"action": "bogus", "token": "x"}')
            await box.says("partial", 101)
            await box.served.wait_screenshot()
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for name, former in levels.items():
            logging.getLogger(name).setLevel(former)
    lines = stream.getvalue()
    assert "GET /ws/cloud/tb_device/" in lines, "the library's own lines are part of it"
    secrets = {server.password, *server.tokens._issued}
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1])}
    assert len(server.tokens._issued) >= 6
    assert [form for form in forms if form in lines] == []
    assert [jti for token in server.tokens._issued if (jti := token.split(".")[1]) in lines] == []
