"""A real bundle of the next version comes over the socket, over HTTP, from a file: the box restarts into it and keeps it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from agent.system.state import State
from agent.update.schedule import share
from agent.update.source import CHECKED_KEY, PERIODS_S
from tests.display import XServer
from tests.end_to_end_update.estate import DEVICE_ID, Estate, Ground, open_estate
from tests.end_to_end_update.trials import leftovers
from tests.media.origin import Origin
from tests.update.bundles import NEXT, PYTHON, RUNNING

PROBATION_S = 12.0
"""Half of it must a version live."""


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """A web server of bundles."""
    origin = Origin()
    await origin.start()
    yield origin
    await origin.stop()


async def arrives(estate: Estate, image: bytes) -> None:
    """The box restarts into the version of the bundle, which shows what the old one showed."""
    await estate.greets_as(NEXT)
    assert estate.versions == [RUNNING, NEXT]
    assert estate.releases.current() == NEXT
    assert estate.releases.digest(NEXT) == hashlib.sha256(image).hexdigest()
    assert str(estate.releases.path(NEXT)) in _command_line(estate.systemd.service().main_pid)
    await estate.shows_picture()
    assert leftovers(estate) == []


async def is_kept(estate: Estate) -> None:
    """The version proves itself, and the status says so."""
    status = await estate.status(lambda update: update["last_result"] is not None)
    assert (status["version"], status["candidate"]) == (NEXT, None)
    assert (status["last_result"]["result"], status["last_result"]["version"]) == ("committed", NEXT)
    assert "version is kept, it has proved itself version=9.0.0" in estate.journal
    assert estate.systemd.unit("signage-agent-guard.timer").active_state == "inactive"
    await estate.systemd.cut()
    await estate.start()
    assert estate.versions == [RUNNING, NEXT, NEXT]
    assert not [one for one in estate.speaker.answers() if one["status"] == "error"]


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.parametrize("form", [2, 3])
async def test_over_the_socket(ground: Ground, display: XServer, form: Literal[2, 3]) -> None:
    """The server is answered after the switch; the next handshake has the new version; a power cut changes nothing then."""
    image = ground.maker.bundle()
    async with open_estate(ground, display, probation_s=PROBATION_S) as estate:
        await estate.start()
        ota = await estate.server.offer_firmware(DEVICE_ID, image, form, NEXT)
        await arrives(estate, image)
        assert [(one["status"], one.get("version")) for one in ota.answers] == [("ok", NEXT), ("ok", NEXT)]
        assert len(ota.acks) == (ota.chunks if form == 3 else 0)
        await is_kept(estate)


@pytest.mark.long
async def test_over_the_socket_without_size(ground: Ground, display: XServer) -> None:
    """The form of the source document, which has neither size nor end."""
    image = ground.maker.bundle()
    async with open_estate(ground, display, probation_s=PROBATION_S) as estate:
        await estate.start()
        ota = await estate.server.offer_firmware(DEVICE_ID, image, 1)
        await arrives(estate, image)
        assert [one["status"] for one in ota.answers] == ["ok", "ok"]
        candidate = (await estate.status(lambda update: update["candidate"] is not None))["candidate"]
        assert (candidate["version"], candidate["state"]) == (NEXT, "on probation")


async def test_over_http(ground: Ground, display: XServer, origin: Origin) -> None:
    """`signage-agent update URL`, broken off once on the way; with all its packages the release needs nothing from outside."""
    image = await asyncio.to_thread(ground.maker.bundle, full=True)
    origin.put("/next.bundle", image, cuts=[len(image) // 2])
    async with open_estate(ground, display, probation_s=60.0) as estate:
        await estate.start()
        code, out = await estate.command("update", f"{origin.url}/next.bundle")
        assert (code, f"version {NEXT} is installed" in out) == (0, True), out
        await arrives(estate, image)
        assert len(origin.requests) == 2
        maps = await asyncio.to_thread(_maps, estate.systemd.service().main_pid)
        assert f"{estate.releases.path(NEXT)}/lib/python{PYTHON}/site-packages/pydantic_core/" in maps
        assert str(ground.folder / "shared") not in maps


async def test_from_a_file(ground: Ground, display: XServer) -> None:
    """`signage-agent update FILE`, as from a USB stick."""
    image = ground.maker.bundle()
    async with open_estate(ground, display, probation_s=PROBATION_S) as estate:
        await estate.start()
        stick = estate.root / "stick.bundle"
        stick.write_bytes(image)
        code, out = await estate.command("update", str(stick))
        assert (code, f"version {NEXT} is installed" in out) == (0, True), out
        await arrives(estate, image)
        await is_kept(estate)


@pytest.mark.long
async def test_from_the_source(ground: Ground, display: XServer, origin: Origin) -> None:
    """The periodic check finds the newest bundle in the list, among others that do not fit."""
    image = ground.maker.bundle()
    offer = {"architecture": platform.machine(), "python": PYTHON, "camera": False, "size": len(image)}
    offer["sha256"] = hashlib.sha256(image).hexdigest()
    others = [{"version": "9.9.9", "architecture": "vax"}, {"version": "0.0.1"}, {"version": "9.9.9", "python": "2.7"}]
    bundles = [{**offer, "version": NEXT, "file": "next.bundle"}, *({**offer, "file": "other.bundle", **one} for one in others)]
    origin.put("/updates/index.json", json.dumps({"format": 1, "bundles": bundles}).encode())
    origin.put("/updates/next.bundle", image)
    # One whose turn comes first in its fleet.
    serial = next(serial for number in range(100_000) if share(serial := f"BOX-{number}") < 1 / 3600)
    keys = f'source_url = "{origin.url}/updates/"\ncheck = "6h"'
    async with open_estate(ground, display, probation_s=PROBATION_S, update=keys, serial=serial) as estate:
        state = await State.open(estate.state_dir / "state.db")
        await state.put(CHECKED_KEY, time.time() - 2 * PERIODS_S["6h"])
        await state.close()
        await estate.start()
        await arrives(estate, image)
        assert [request.path for request in origin.requests[:2]] == ["/updates/index.json", "/updates/next.bundle"]


def _maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()
