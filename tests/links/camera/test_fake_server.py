"""The fake server keeps the source document: what viewers may say it takes, what it says looks as documented."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.links.camera.standins import DEVICE_ID, StandInViewer
from tests.servers.camera import DEVICE_PATH, REGISTER_PATH, VIEWER_PATH, SignalingServer

EXAMPLES = Path(__file__).parents[2] / "examples" / "camera"
ICE: list[dict[str, Any]] = [
    {"urls": "stun:stun.l.google.com:19302"},
    {"urls": ["turn:turn.example.com:3478?transport=udp"], "username": "u", "credential": "c", "credentialType": "password"},
]


def example(direction: str, name: str, **payload: Any) -> dict[str, Any]:
    """An example of the document; `payload` replaces values in its payload."""
    message: dict[str, Any] = json.loads((EXAMPLES / direction / f"{name}.json").read_text())
    message["payload"] = {**message["payload"], **payload}
    return message


def shape(value: Any) -> Any:
    """The keys and types of a message."""
    if isinstance(value, dict):
        return {key: shape(element) for key, element in value.items()}
    return [shape(element) for element in value] if isinstance(value, list) else type(value).__name__


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(5):
        return dict(json.loads(await socket.recv()))


async def device(server: SignalingServer) -> ClientConnection:
    """A device by hand, after its hello_ack."""
    server.camera(DEVICE_ID).registered.append({"device_name": "by hand"})
    socket = await connect(server.url.replace("http", "ws", 1) + DEVICE_PATH, proxy=None)
    await socket.send(json.dumps(example("device", "hello", device_id=DEVICE_ID)))
    assert shape(await hear(socket)) == shape(example("server", "hello_ack"))
    return socket


async def test_the_documents_flow(server: SignalingServer) -> None:
    """Every example of every direction, in the order of the document's successful session."""
    server.ice_servers = ICE
    server.viewers = {example("viewer", "hello")["payload"]["token"]: "123"}
    socket = await device(server)
    viewer = await connect(server.url.replace("http", "ws", 1) + VIEWER_PATH, proxy=None)
    await viewer.send(json.dumps(example("viewer", "hello")))
    assert shape(await hear(viewer)) == shape(example("server_to_viewer", "hello_ack"))
    beats = {"device": socket, "viewer": viewer}
    for direction, peer in beats.items():
        await peer.send(json.dumps(example(direction, "heartbeat")))
        assert shape(await hear(peer)) == shape(example("server", "heartbeat_ack"))
    await socket.send(json.dumps(example("device", "device_presence")))
    await server.wait_for(lambda: server.camera(DEVICE_ID).presence == {"battery": 85, "temperature": 45, "recording": False})

    await viewer.send(json.dumps(example("viewer", "watch_request", device_id=DEVICE_ID)))
    ready = await hear(viewer)
    assert shape(ready) == shape(example("server_to_viewer", "watch_ready"))
    assert ready["request_id"] == "req-001"
    session = ready["payload"]["session_id"]
    request = await hear(socket)
    assert request["payload"] == {"session_id": session, "user_id": "123", "ice_servers": ICE}
    assert set(request) == {"type", "ts", "payload"}
    for sender, receiver, direction, name in (
        (viewer, socket, "viewer", "signal_offer"),
        (socket, viewer, "device", "signal_answer"),
        (socket, viewer, "device", "signal_ice"),
        (viewer, socket, "server", "signal_ice"),
        (viewer, socket, "server", "signal_ice_end"),
    ):
        message = example(direction, name, session_id=session)
        await sender.send(json.dumps(message))
        assert (await hear(receiver))["payload"] == message["payload"]
    await viewer.send(json.dumps(example("viewer", "end_watch", session_id=session)))
    ended = await hear(socket)
    assert shape(ended) == shape(example("server", "watch_ended"))
    assert ended["payload"] == {"session_id": session, "reason": "user_ended"}
    await viewer.send(json.dumps(example("viewer", "signal_offer", session_id=session)))
    assert (await hear(viewer))["payload"]["message"] == "Session not found"
    await viewer.close()
    await socket.close()


async def test_refusals(server: SignalingServer) -> None:
    """Unknown and offline devices, wrong tokens, a missing hello: in the document's words and codes."""
    async with StandInViewer(server) as viewer:
        for known, words in ((False, "Device not found"), (True, "Device is offline")):
            if known:
                server.camera(DEVICE_ID).registered.append({"device_name": "known"})
            await viewer.say("watch_request", request_id="req-001", device_id=DEVICE_ID)
            error = await viewer.hear("error")
            assert shape(error) == shape(example("server_to_viewer", "error"))
            assert (error["request_id"], error["payload"]["message"]) == ("req-001", words)
    async with StandInViewer(server, token="wrong") as stranger:
        with pytest.raises(ConnectionClosed) as closed:
            await stranger.hear("hello_ack")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    server.forget()
    for first in (example("device", "hello", device_id=DEVICE_ID), example("device", "heartbeat")):
        async with connect(server.url.replace("http", "ws", 1) + DEVICE_PATH, proxy=None) as socket:
            await socket.send(json.dumps(first))
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008


async def test_ends(server: SignalingServer) -> None:
    """The viewer leaves: the device is told. The device leaves: the viewer is told."""
    socket = await device(server)
    viewer = StandInViewer(server)
    async with viewer:
        session = await viewer.watch()
        await hear(socket)
    assert (await hear(socket))["payload"] == {"session_id": session, "reason": "viewer_disconnected"}
    async with StandInViewer(server) as other:
        await other.watch()
        await socket.close()
        assert (await other.hear("watch_ended"))["payload"]["reason"] == "device_disconnected"


async def test_signals_in_another_order(server: SignalingServer) -> None:
    """Held back until one of each kind has come."""
    server.order = ("signal_ice", "signal_offer", "watch_request")
    socket = await device(server)
    async with StandInViewer(server) as viewer:
        session = await viewer.watch()
        await viewer.offer()
        await viewer.say("signal_ice", session_id=session, candidate=None)
        await viewer.say("signal_ice", session_id=session, candidate=None)
        heard = [(await hear(socket))["type"] for _ in range(4)]
    assert heard == ["signal_ice", "signal_offer", "watch_request", "signal_ice"]
    await socket.close()


async def test_registration_is_checked(server: SignalingServer) -> None:
    """All three fields, as strings."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.hub.port)
    body = json.dumps({"device_id": DEVICE_ID, "device_type": "camera"})
    writer.write(f"POST {REGISTER_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    assert b"400" in await reader.readline()
    writer.close()
