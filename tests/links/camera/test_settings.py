"""From the configuration to a link."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.links.camera.link import CameraLink
from agent.links.registry import make_link
from agent.settings import CameraLink as Settings
from tests.links.camera.standins import StandInCamera


def made(**keys: Any) -> CameraLink:
    """The link of a [[links]] table with these keys, on a device that is named Lobby."""
    table = {"kind": "camera", "name": "cam", "screen": "front", "url": "wss://cam.example/ws/device", **keys}
    device = SimpleNamespace(
        identity=SimpleNamespace(serial="LOBBY-01"),
        name=SimpleNamespace(value="Lobby"),
        camera=StandInCamera(),
        sysfs=Path("/sys"),
    )
    link = make_link(Settings(**table), device)  # type: ignore[arg-type]
    assert isinstance(link, CameraLink)
    return link


async def test_defaults() -> None:
    """The serial is the device's id; a heartbeat every 15 s; no token; TLS is verified."""
    link = made()
    assert (link.name, link.kind, link._device_id, link._device_name(), link._heartbeat_s) == (
        "cam", "camera", "LOBBY-01", "Lobby", 15.0,
    )  # fmt: skip
    assert link._rest.socket_url == "wss://cam.example/ws/device"
    assert link._rest.headers == {}
    assert link._tls is not None


async def test_every_key() -> None:
    """What is configured counts."""
    link = made(url="http://10.0.0.1:8000/ws/device", device_id="kitchen-cam-001", token="abcd1234", heartbeat_s=30, spread_s=60)
    assert (link._device_id, link._heartbeat_s) == ("kitchen-cam-001", 30.0)
    assert link._rest.headers == {"Authorization": "Bearer abcd1234"}
    assert link._rest.origin == "http://10.0.0.1:8000"
    assert link._tls is None


@pytest.mark.parametrize("heartbeat_s", [0, 31, -1, float("nan")])
def test_the_documents_heartbeat_is_the_upper_bound(heartbeat_s: float) -> None:
    """More than 30 s is a fault of the configuration."""
    with pytest.raises(ValueError, match="heartbeat_s"):
        made(heartbeat_s=heartbeat_s)
