"""Addresses and registration (camera contract, section 1)."""

from __future__ import annotations

import logging

import pytest

from agent.links.camera.rest import REGISTER_PATH, CameraRest
from agent.links.link import RefusedError, UnavailableError
from agent.system.logs import redact
from tests.links.camera.standins import DEVICE_ID
from tests.servers.camera import SignalingServer


@pytest.mark.parametrize(
    ("url", "origin", "socket"),
    [
        ("wss://cam.example/ws/device", "https://cam.example", "wss://cam.example/ws/device"),
        ("https://cam.example/ws/device", "https://cam.example", "wss://cam.example/ws/device"),
        ("ws://10.0.0.1:8000/ws/device", "http://10.0.0.1:8000", "ws://10.0.0.1:8000/ws/device"),
        ("http://[::1]:8000/ws/device", "http://[::1]:8000", "ws://[::1]:8000/ws/device"),
        ("https://cam.example/tenant/ws/device?a=1", "https://cam.example", "wss://cam.example/tenant/ws/device?a=1"),
        ("http://cam.example", "http://cam.example", "ws://cam.example/ws/device"),
        ("https://cam.example/", "https://cam.example", "wss://cam.example/ws/device"),
    ],
)
def test_addresses(url: str, origin: str, socket: str) -> None:
    """http and ws forms are interchangeable; a bare host means the document's path."""
    rest = CameraRest(url)
    assert (rest.origin, rest.socket_url) == (origin, socket)


async def test_registration(server: SignalingServer) -> None:
    """The body of the contract, with the bearer; 200 also when the device exists already, 409 means the same."""
    server.token = "device-token-1234"
    rest = CameraRest(f"{server.url}/ws/device", "device-token-1234")
    for _ in range(2):
        await rest.register(DEVICE_ID, "Kitchen")
    server.fault(REGISTER_PATH, status=409)
    await rest.register(DEVICE_ID, "Kitchen")
    assert (
        server.cameras[DEVICE_ID].registered == [{"device_id": DEVICE_ID, "device_name": "Kitchen", "device_type": "camera"}] * 2
    )
    assert {request.bearer for request in server.requests_to(REGISTER_PATH)} == {"device-token-1234"}
    assert "device-token-1234" not in redact("it said device-token-1234")


async def test_without_a_token_there_is_no_bearer(server: SignalingServer) -> None:
    """Nothing is sent where nothing is configured."""
    await CameraRest(server.url).register(DEVICE_ID, "Kitchen")
    assert "Authorization" not in server.requests[-1].headers


@pytest.mark.parametrize("status", [401, 403])
async def test_refused(server: SignalingServer, status: int) -> None:
    """The error says what to look at."""
    server.fault(REGISTER_PATH, status=status, body='{"message": "who are you"}')
    with pytest.raises(RefusedError, match=f"HTTP {status} who are you; check token"):
        await CameraRest(server.url, "wrong-token").register(DEVICE_ID, "Kitchen")


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 400, "body": "no json"},
        {"status": 404, "body": "[1]"},
        {"drop": True},
        {"status": 502, "body": "x" * 400_000},
        {"redirect_to": "foreign"},
        {"delay_s": 30},
    ],
    ids=str,
)
async def test_trouble(server: SignalingServer, fault: dict[str, object], caplog: pytest.LogCaptureFixture) -> None:
    """Server errors, resets, no answer in time; redirects are not followed."""
    if fault.get("redirect_to"):
        fault = {"redirect_to": server.foreign_url}
    server.fault(REGISTER_PATH, **fault)
    with caplog.at_level(logging.DEBUG), pytest.raises(UnavailableError, match=r"registration failed|POST /api/devices/register"):
        await CameraRest(server.url, "secret-token-9", request_s=1.0).register(DEVICE_ID, "Kitchen")
    assert server.requests_to(REGISTER_PATH, foreign=True) == []
    assert "secret-token-9" not in caplog.text


async def test_nobody_listens() -> None:
    """A server that is not there."""
    with pytest.raises(UnavailableError):
        await CameraRest("ws://127.0.0.1:9/ws/device").register(DEVICE_ID, "Kitchen")
