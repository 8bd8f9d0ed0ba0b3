"""Versions that start and do not do what the one before did; and what must not be held against a version."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3

import pytest

from tests.display import XServer
from tests.end_to_end_update.estate import DEVICE_ID, Ground, open_estate, put_release
from tests.end_to_end_update.trials import reports, try_out
from tests.end_to_end_update.versions import BLANK, CRASHES_LATE, NO_PICTURE, BadVersion, appended
from tests.update.bundles import NEXT, RUNNING

NEWER_STATE = """
MIGRATIONS += (
    "CREATE TABLE novelties (name TEXT PRIMARY KEY); INSERT INTO novelties VALUES ('fusion');"
    + "".join(
        f"ALTER TABLE {table} ADD COLUMN novelty TEXT NOT NULL DEFAULT 'fusion';"
        for table in ("settings", "tokens", "playlists", "media", "sources", "conversion_jobs")
    ),
)
"""


@pytest.mark.parametrize("bad", BLANK, ids=lambda bad: bad.name)
async def test_box_goes_back(ground: Ground, display: XServer, bad: BadVersion) -> None:
    """The cause stands in the record, the status and the journal; the server is told once; the bundle is refused from then on."""
    verdict = await try_out(ground, display, bad, built=True)
    assert verdict.faults == ()
    assert verdict.version == RUNNING


async def test_state_of_a_newer_version_is_kept(ground: Ground, display: XServer) -> None:
    """A bad version leaves a state file of a higher schema: the old one opens it, knows everything, and writes to it."""
    changes = {**CRASHES_LATE.changes, **appended("agent/system/schema.py", NEWER_STATE)}
    image = await asyncio.to_thread(ground.maker.bundle, NEXT, changes)
    digest = hashlib.sha256(image).hexdigest()
    async with open_estate(ground, display) as estate:
        await estate.start()
        await estate.server.ask(DEVICE_ID, "set_volume", volume=37)
        await estate.server.ask(DEVICE_ID, "set_device_name", device_name="Foyer")
        put_release(ground, NEXT, digest, changes)
        await estate.server.offer_firmware(DEVICE_ID, image, 2)
        result = await estate.result(digest)
        assert result.result == "rolled back"
        await estate.until(lambda: estate.versions[-1] == RUNNING and reports(estate), "the old version")
        await estate.signage.hub.stop()  # what it shows now it remembers
        await estate.systemd.service().stop()
        await estate.systemd.service().start()
        await estate.shows_picture()
        await estate.signage.hub.start()
        await estate.server.connected(DEVICE_ID)
        assert estate.speaker.handshakes[-1]["device_name"] == "Foyer"
        assert (await estate.server.ask(DEVICE_ID, "request_status"))["volume"] == 37
        await estate.server.ask(DEVICE_ID, "set_volume", volume=41)
        await estate.systemd.cut()
        with sqlite3.connect(estate.state_dir / "state.db") as state:
            assert state.execute("SELECT name FROM novelties").fetchone() == ("fusion",)
            assert state.execute("PRAGMA user_version").fetchone()[0] > 2
            settings = {key: json.loads(value) for key, value in state.execute("SELECT key, value FROM settings")}
        assert settings["volume"] == 41
        assert "put aside" not in estate.journal
        assert "cannot be written" not in estate.journal


async def test_display_that_is_off_does_not_count(ground: Ground, display: XServer) -> None:
    """A version that cannot show anything is kept if nobody could see it: neither the other way round is it held against one."""
    image = await asyncio.to_thread(ground.maker.bundle, NEXT, NO_PICTURE.changes)
    digest = hashlib.sha256(image).hexdigest()
    async with open_estate(ground, display, probation_s=10.0) as estate:
        connector = estate.root / "sys/class/drm/card0-HDMI-A-1"
        connector.mkdir(parents=True)
        (connector / "status").write_text("connected\n")
        (connector / "modes").write_text("1920x1080\n")
        await estate.start()
        put_release(ground, NEXT, digest, NO_PICTURE.changes)
        (connector / "status").write_text("disconnected\n")
        (connector / "modes").write_text("")
        await estate.until(lambda: "connector changed name=HDMI-A-1 status=disconnected" in estate.journal, "the display to go")
        await estate.server.offer_firmware(DEVICE_ID, image, 2)
        assert (await estate.result(digest)).result == "committed"
        assert estate.versions[-1] == NEXT


@pytest.mark.long
async def test_by_hand_it_is_tried_again(ground: Ground, display: XServer) -> None:
    """A version that was gone back from is refused from any server, and taken from somebody at the box."""
    bad = CRASHES_LATE
    image = await asyncio.to_thread(ground.maker.bundle, NEXT, bad.changes)
    digest = hashlib.sha256(image).hexdigest()
    async with open_estate(ground, display) as estate:
        await estate.start()
        put_release(ground, NEXT, digest, bad.changes)
        await estate.server.offer_firmware(DEVICE_ID, image, 2)
        await estate.result(digest)
        await estate.until(lambda: reports(estate) and estate.speaker.live, "the old version")
        assert estate.slots.rolled_back == (digest,)
        before = estate.versions.count(NEXT)
        stick = estate.root / "stick.bundle"
        stick.write_bytes(image)
        code, out = await estate.command("update", str(stick))
        assert code == 0, out
        await estate.until(lambda: estate.versions.count(NEXT) > before, "the version again")
