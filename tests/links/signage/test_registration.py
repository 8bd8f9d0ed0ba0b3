"""What the server is told about the device (signage contract, section 2)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from agent import __version__
from agent.links.signage import registration
from tests.box import QUICK, SERIAL, Box, until
from tests.links.signage.conftest import MakeBox
from tests.servers import LOGIN_PATH, REGISTER_PATH, SignageServer

REQUIRED = {
    "sn_number",
    "brand",
    "model",
    "manufacturer",
    "os_version",
    "screen_resolution",
    "total_storage",
    "free_storage",
    "app_version",
    "brightness",
    "volume",
}


async def registered(box: Box) -> dict[str, Any]:
    """The newest registration, once there is one."""
    await until(lambda: box.served.registered)
    return box.served.registered[-1]


async def test_every_field(box: Box) -> None:
    """Names, types and forms of the contract; nothing else."""
    async with box:
        body = await registered(box)
    assert body.keys() == REQUIRED | {"mac_address", "ip_address"}
    assert (body["sn_number"], body["brand"], body["model"], body["manufacturer"]) == (SERIAL, "Acme", "Sign 1", "Acme Ltd")
    assert (body["os_version"], body["screen_resolution"], body["app_version"]) == ("Debian 12", "1920x1080", __version__)
    for key in ("total_storage", "free_storage"):
        assert re.fullmatch(r"\d+\.\d\d GB", body[key])
    assert (type(body["volume"]), type(body["brightness"])) == (int, int)
    assert (body["mac_address"], body["ip_address"]) == ("B8:27:EB:00:00:01", "127.0.0.1")


async def test_what_is_unknown_is_left_out(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, no MAC: the keys are missing rather than empty."""

    async def nowhere(_host: str, _port: int) -> None:
        return None

    monkeypatch.setattr(registration, "ip_address", nowhere)
    async with box:
        await registered(box)
        identity = box.link._device.identity
        object.__setattr__(box.link._device, "identity", replace(identity, mac=""))
        box.served.registered.clear()
        await box.command("reload_playlist")
        await until(lambda: box.served.registered)
        assert box.served.registered[-1].keys() == REQUIRED


async def test_another_address_is_told_after_the_reconnection(
    server: SignageServer, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same one is not told twice."""
    addresses = ["10.0.0.1"]

    async def here(_host: str, _port: int) -> str:
        return addresses[-1]

    monkeypatch.setattr(registration, "ip_address", here)
    async with box:
        assert (await registered(box))["ip_address"] == "10.0.0.1"
        for connections, address in ((2, "10.0.0.1"), (3, "10.0.0.2")):
            addresses.append(address)
            since = box.served.mark()
            server.drop(SERIAL)
            await server.wait_for(lambda n=connections: box.served.connections >= n)  # type: ignore[misc]
            await box.ready(since=since)
        await until(lambda: len(box.served.registered) >= 2)
        assert [body["ip_address"] for body in box.served.registered] == ["10.0.0.1", "10.0.0.2"]


async def test_another_version_is_told(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update, which is a restart."""
    async with box:
        await registered(box)
    monkeypatch.setattr(registration, "__version__", "99.0")
    box.served.registered.clear()
    async with box:
        assert (await registered(box))["app_version"] == "99.0"


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 400}, {"status": 403}, {"drop": True}, {"status": 302}])
async def test_a_registration_that_failed_is_repeated(
    server: SignageServer, make_box: MakeBox, caplog: pytest.LogCaptureFixture, fault: dict[str, Any]
) -> None:
    """Until it succeeds; a warning the first time only."""
    server.auto_register = True
    server.fault(REGISTER_PATH, times=3, **fault)
    async with make_box(timers=replace(QUICK, retry_s=0.03)) as box:
        await registered(box)
    assert caplog.text.count("device not registered") == 1


async def test_a_screen_that_is_not_known_yet(make_box: MakeBox) -> None:
    """The size is told as soon as it is."""
    box = make_box()
    await box.start()
    box.screen.size = None
    await registered(box)
    box.screen.resize(1280, 720)
    await until(lambda: box.served.registered[-1]["screen_resolution"] == "1280x720")
    await box.stop()


async def test_what_is_registered(server: SignageServer, make_box: MakeBox) -> None:
    """Before the first fetch, with the present volume and brightness, typed as the contract says."""
    async with make_box() as box:
        await box.ready()
        await box.command("set_volume", volume=41)
        await box.command("set_brightness", brightness=42)
        await until(lambda: (box.volume.percent, box.brightness.percent) == (41, 42))
    box.served.registered.clear()
    async with box:
        await until(lambda: box.served.registered)
        body = box.served.registered[-1]
        assert (body["volume"], body["brightness"]) == (41, 42)
        assert body["sn_number"] == SERIAL
    paths = [request.path for request in server.requests]
    assert paths[0] == LOGIN_PATH


async def test_registered_again_when_the_screen_changes(server: SignageServer, make_box: MakeBox) -> None:
    """Another resolution is told, once; the same one is not."""
    async with make_box(timers=replace(QUICK, retry_s=0.05)) as box:
        await box.ready()
        await until(lambda: [body["screen_resolution"] for body in box.served.registered] == ["1920x1080"])
        server.drop(SERIAL)
        await server.wait_for(lambda: box.served.connections == 2)
        box.screen.resize(3840, 2160)
        await until(lambda: [body["screen_resolution"] for body in box.served.registered] == ["1920x1080", "3840x2160"])
        box.screen.resize(3840, 2160)
        await asyncio.sleep(0.2)
        assert len(box.served.registered) == 2
