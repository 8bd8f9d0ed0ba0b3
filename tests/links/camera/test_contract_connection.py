"""The connection, row by row through the wire (camera contract, section 1)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import pytest

from agent.links.camera.link import CameraLink, CameraTimers
from tests.box import until
from tests.links.camera.conftest import MakeLink
from tests.links.camera.standins import DEVICE_ID, StandInCamera, StandInViewer
from tests.servers.camera import DEVICE_PATH, REGISTER_PATH, SignalingServer

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_the_timers_are_the_contracts() -> None:
    """Defaults as the contract has them."""
    timers = {field.name: field.default for field in dataclasses.fields(CameraTimers)}
    assert timers == {
        "hello_s": 10.0,
        "heartbeats_lost": 2,
        "presence_s": 60.0,
        "orphan_s": 300.0,
        "register_s": 5.0,
        "request_s": 10.0,
        "most_sessions": 24,
        "most_unsent": 1_000,
    }
    assert CameraLink.limits.close_s == 2.0
    link = CameraLink("cam", StandInCamera(), url="ws://x", device_id="y")
    assert link._heartbeat_s == 15.0


async def test_registration_comes_before_the_socket(server: SignalingServer, make_link: MakeLink) -> None:
    """With id, name and type; the name is the id where none is configured."""
    async with make_link(device_name=lambda: "Kitchen"):
        await server.connected(DEVICE_ID)
    assert [request.path for request in server.requests] == [REGISTER_PATH, DEVICE_PATH]
    assert server.cameras[DEVICE_ID].registered == [
        {"device_id": DEVICE_ID, "device_name": "Kitchen", "device_type": "camera"}
    ]  # fmt: skip
    async with make_link(device_id="OTHER"):
        camera = await server.connected("OTHER")
        assert camera.name == "OTHER"


async def test_hello_is_first_and_alone(server: SignalingServer, make_link: MakeLink) -> None:
    """Nothing else before hello_ack; every message has the envelope."""
    server.hello_ack = False
    camera = server.camera(DEVICE_ID)
    async with make_link(heartbeat_s=0.02, hello_s=0.4) as link:
        await server.wait_for(lambda: camera.messages)
        await asyncio.sleep(0.2)
        assert [message["type"] for message in camera.said()] == ["hello"]
        assert link.state == "connecting"
        hello = camera.said()[0]
        assert list(hello) == ["type", "ts", "payload"]
        assert STAMP.fullmatch(hello["ts"])
        assert hello["payload"] == {"device_id": DEVICE_ID}
        server.hello_ack = True
        await server.connected(DEVICE_ID)
        await camera.wait_for("device_presence")
        await until(lambda: link.state == "connected")


async def test_no_hello_ack_means_again(server: SignalingServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """A server that accepts and says nothing: the socket is aborted hard and a new one opened, one at a time; said once."""
    server.hello_ack = False
    camera = server.camera(DEVICE_ID)
    async with make_link(hello_s=0.05) as link:
        await server.wait_for(lambda: len(camera.said("hello")) >= 4)
        assert link.state != "connected"
        assert "no hello_ack" in link.last_error
    assert caplog.text.count("no hello_ack") == 1


@pytest.mark.parametrize("times", ["z", "naive", "seconds"])
async def test_heartbeats(server: SignalingServer, make_link: MakeLink, times: Any) -> None:
    """Every interval, with an empty payload; acknowledged ones keep the connection, however the server writes the time."""
    server.times = times
    async with make_link(heartbeat_s=0.05):
        camera = await server.connected(DEVICE_ID)
        begun = time.monotonic()
        await server.wait_for(lambda: len(camera.said("heartbeat")) >= 8)
        assert 0.3 < time.monotonic() - begun < 5
        assert camera.said("heartbeat")[0]["payload"] == {}
        assert camera.connections == 1


async def test_two_heartbeats_without_answer(server: SignalingServer, make_link: MakeLink) -> None:
    """A server that has stopped reading, pings answered: aborted within three intervals, without a close handshake."""
    server.deaf_after_hello = True
    async with make_link(heartbeat_s=0.1) as link:
        camera = await server.connected(DEVICE_ID)
        begun = time.monotonic()
        await server.wait_for(lambda: camera.connections >= 2)
        assert 0.25 < time.monotonic() - begun < 1.5, "two lost heartbeats, and no waiting for a goodbye"
        assert camera.live == 1, "the old socket is gone before the new one comes"
        await until(lambda: "heartbeats without an answer" in link.last_error or link.state == "connected")
        server.deaf_after_hello = False
        server.drop(DEVICE_ID)
        connections = camera.connections
        await server.wait_for(lambda: camera.connections > connections and camera.said("heartbeat", since=camera.mark() - 1))


async def test_one_lost_heartbeat_is_none(server: SignalingServer, make_link: MakeLink) -> None:
    """A single answer in between starts the count anew."""
    server.heartbeat_acks = False
    async with make_link(heartbeat_s=0.15):
        camera = await server.connected(DEVICE_ID)
        for number in range(1, 4):
            await server.wait_for(lambda n=number: len(camera.said("heartbeat")) >= 2 * n)  # type: ignore[misc]
            await server.send(DEVICE_ID, "heartbeat_ack")
        assert camera.connections == 1


async def test_a_server_deaf_to_everything(server: SignalingServer, make_link: MakeLink) -> None:
    """It does not even read hello: found by the missing acknowledgement."""
    server.fault(DEVICE_PATH, deaf=True, times=2)
    async with make_link(hello_s=0.1):
        await server.connected(DEVICE_ID)


async def test_presence(server: SignalingServer, make_link: MakeLink, camera: StandInCamera, tmp_path: Path) -> None:
    """After hello_ack, then when something changed; battery percent or null, temperature, whether somebody watches."""
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("45277\n")
    async with make_link():
        served = await server.connected(DEVICE_ID)
        first = await served.wait_for("device_presence")
        assert first["payload"] == {"battery": None, "temperature": 45, "recording": False}
        assert [type(value) for value in first["payload"].values()] == [type(None), int, bool]
        await asyncio.sleep(0.2)
        assert len(served.said("device_presence")) == 1, "nothing changed"
        camera.recording = True
        await served.wait_for("device_presence", recording=True)
        (zone / "temp").write_text("46500\n")
        await served.wait_for("device_presence", temperature=46)
        since = served.mark()
        server.drop(DEVICE_ID)
        await served.wait_for("device_presence", since=since)


async def test_presence_is_rare(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """Between two looks a change has to wait."""
    async with make_link(presence_s=30.0, heartbeat_s=0.1):
        served = await server.connected(DEVICE_ID)
        await served.wait_for("device_presence")
        camera.recording = True
        for _ in range(4):
            await served.wait_for("heartbeat", since=served.mark())
        assert len(served.said("device_presence")) == 1


async def test_the_token_is_a_bearer(server: SignalingServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """On the registration and on the upgrade; a DEBUG log does not show it."""
    server.token = "device-token-1234"
    server.ice_servers = [{"urls": "turn:127.0.0.1:9", "username": "u", "credential": "turn-secret-77"}]
    with caplog.at_level(logging.DEBUG):
        async with make_link(token="device-token-1234"), StandInViewer(server) as viewer:
            await server.connected(DEVICE_ID)
            await viewer.watch()
            served = server.cameras[DEVICE_ID]
            await served.wait_for("device_presence")
            assert {request.bearer for request in server.requests if request.path in (REGISTER_PATH, DEVICE_PATH)} == {
                "device-token-1234"
            }
    records = [record.getMessage() for record in caplog.records if record.name.startswith("agent")]
    assert not [line for line in records if "turn-secret-77" in line or "device-token" in line]


async def test_a_wrong_token_is_tried_slowly(
    server: SignalingServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """401 for both: said in words, the next try is far away."""
    server.token = "right"
    async with make_link(token="wrong-token-55") as link:
        await until(lambda: link.state == "refused")
        await asyncio.sleep(0.2)
        assert len(server.requests_to(REGISTER_PATH)) == 1
        assert len(server.requests_to(DEVICE_PATH)) == 1
    assert "check token" in caplog.text
    assert "wrong-token-55" not in caplog.text


async def test_1008_registers_again(server: SignalingServer, make_link: MakeLink) -> None:
    """A server that has forgotten the device: registered anew and back at once."""
    async with make_link() as link:
        served = await server.connected(DEVICE_ID)
        server.forget()
        server.drop(DEVICE_ID)
        await server.wait_for(lambda: served.connections == 2)
        assert len(server.requests_to(REGISTER_PATH)) == 2
        await until(lambda: link.state == "connected")


async def test_1008_again_is_slow(server: SignalingServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """A device that is refused although registered is not tried again soon; the log says by whom and what for."""
    server.close_at_hello = 1008
    async with make_link() as link:
        await until(lambda: link.state == "refused")
        await asyncio.sleep(0.3)
        assert len(server.requests_to(DEVICE_PATH)) == 2, "one more try after the registration"
        assert len(server.requests_to(REGISTER_PATH)) == 2
        assert "1008" in link.last_error
        assert DEVICE_ID in link.last_error
    assert caplog.text.count(f"the server refuses device_id {DEVICE_ID}") == 1


async def test_1008_without_registration_is_slow(server: SignalingServer, make_link: MakeLink) -> None:
    """When even the registration fails there is no second try."""
    server.fault(REGISTER_PATH, status=500)
    async with make_link(register_s=0.1) as link:
        await until(lambda: link.state == "refused")
        await asyncio.sleep(0.2)
        assert len(server.requests_to(DEVICE_PATH)) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, None])
async def test_other_endings_are_backed_off_from(server: SignalingServer, make_link: MakeLink, code: int | None) -> None:
    """Back every time, never two sockets, no new registration."""
    async with make_link():
        served = server.camera(DEVICE_ID)
        for number in range(1, 5):
            await server.wait_for(lambda n=number: served.connections == n and served.live == 1)  # type: ignore[misc]
            if code is None:
                server.drop(DEVICE_ID)
            else:
                await server.close(DEVICE_ID, code)
        assert len(server.requests_to(REGISTER_PATH)) == 1


async def test_a_failing_registration_holds_nothing_up(
    server: SignalingServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """The socket is tried beside it; it is repeated with back-off until it succeeds, and said once."""
    server.camera(DEVICE_ID).registered.append({"device_name": "known"})
    server.fault(REGISTER_PATH, status=500, times=3)
    with caplog.at_level(logging.INFO):
        async with make_link():
            served = await server.connected(DEVICE_ID)
            assert served.connections == 1
            await server.wait_for(lambda: len(served.registered) == 2)
            await until(lambda: "device registered again" in caplog.text)
    assert caplog.text.count("device not registered") == 1 + sum(
        record.levelno == logging.DEBUG for record in caplog.records if "device not registered" in record.getMessage()
    )


async def test_a_hanging_registration_holds_nothing_up_for_long(server: SignalingServer, make_link: MakeLink) -> None:
    """The socket waits for it only a little."""
    server.camera(DEVICE_ID).registered.append({"device_name": "known"})
    server.fault(REGISTER_PATH, delay_s=60)
    async with make_link(register_s=0.2):
        await server.connected(DEVICE_ID, 3.0)


async def test_malformed_messages_are_said_once(
    server: SignalingServer, make_link: MakeLink, camera: StandInCamera, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever comes, the connection stays; each fault is a warning the first time."""
    frames: list[str | bytes] = [
        b"\x00\x01", "", "{", "[]", "5", '{"type": null}', '{"type": "surprise"}', '{"type": "watch_request"}',
        '{"type": "watch_request", "payload": {"session_id": []}}', '{"type": "signal_ice", "payload": {"session_id": "s"}}',
        json.dumps({"type": "watch_ended", "payload": {"session_id": {"a": "b"}}}), "[" * 50_000,
    ]  # fmt: skip
    async with make_link():
        served = await server.connected(DEVICE_ID)
        for _ in range(3):
            for frame in frames:
                await server.send_raw(DEVICE_ID, frame)
        await server.send(DEVICE_ID, "error", {"message": "Session not found"})
        await server.send(DEVICE_ID, "error", {"message": "Session not found"})
        await server.send(DEVICE_ID, "watch_request", {"session_id": "after"})
        await until(lambda: camera.opened)
        assert served.connections == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == len(set(warnings))
    assert sum("the server reports an error link=cam fault=Session not found" in warning for warning in warnings) == 1


async def test_a_failing_handler_ends_nothing(
    server: SignalingServer, make_link: MakeLink, camera: StandInCamera, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours is logged with its place; the next message is taken in."""
    working = camera.open
    camera.open = lambda *_, **__: 1 / 0  # type: ignore[method-assign,assignment]
    async with make_link():
        served = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_request", {"session_id": "a"})
        await until(lambda: "could not be handled" in caplog.text)
        camera.open = working  # type: ignore[method-assign]
        await server.send(DEVICE_ID, "watch_request", {"session_id": "b"})
        await until(lambda: camera.opened)
        assert served.connections == 1


async def test_a_frame_beyond_all_bounds(server: SignalingServer, make_link: MakeLink) -> None:
    """More than 1 MiB ends the connection, not the link."""
    async with make_link():
        served = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, "x" * 1_100_000)
        await server.wait_for(lambda: served.connections == 2)


async def test_it_ends_quickly(server: SignalingServer, make_link: MakeLink) -> None:
    """Also from a server that does not answer a goodbye; nothing is left behind."""
    server.deaf_after_hello = True
    async with make_link():
        await server.connected(DEVICE_ID)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2.5
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("cam")] == []
