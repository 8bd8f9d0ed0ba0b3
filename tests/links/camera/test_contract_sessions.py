"""Watch sessions, row by row through the wire, with a camera that does as it is told (camera contract, section 2)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from agent.camera.messages import IceServer
from tests.box import until
from tests.links.camera.conftest import MakeLink
from tests.links.camera.standins import DEVICE_ID, StandInCamera, StandInViewer
from tests.servers.camera import SignalingServer

CANDIDATE = {"candidate": "candidate:1 1 UDP 2130706431 192.168.1.100 54321 typ host", "sdpMid": "0", "sdpMLineIndex": 0}


async def test_a_whole_session(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """The document's example flow, both sides of it."""
    server.ice_servers = [
        {"urls": "stun:s"},
        {"urls": ["turn:t?transport=udp", "turns:t"], "username": "u", "credential": "c", "credentialType": "password"},
    ]
    async with make_link(), StandInViewer(server) as viewer:
        served = await server.connected(DEVICE_ID)
        session = await viewer.watch()
        await until(lambda: camera.opened)
        opened = camera.session(session)
        assert opened.ice_servers == (IceServer(("stun:s",)), IceServer(("turn:t?transport=udp", "turns:t"), "u", "c"))
        await viewer.offer("v=0\r\nthe offer")
        await until(lambda: opened.offers == ["v=0\r\nthe offer"])
        await viewer.say("signal_ice", session_id=session, candidate=CANDIDATE)
        await viewer.say("signal_ice", session_id=session, candidate=None)
        await until(lambda: opened.candidates == [(CANDIDATE["candidate"], "0", 0), ("", None, None)])
        opened.listener.on_answer("v=0\r\nthe answer")
        answer = await viewer.hear("signal_answer")
        assert answer["payload"] == {"session_id": session, "sdp": {"type": "answer", "sdp": "v=0\r\nthe answer"}}
        opened.listener.on_candidate(str(CANDIDATE["candidate"]), "0", 0)
        assert (await viewer.hear("signal_ice"))["payload"] == {"session_id": session, "candidate": CANDIDATE}
        opened.listener.on_candidate(None, None, None)
        assert (await viewer.hear("signal_ice"))["payload"] == {"session_id": session, "candidate": None}
        await viewer.say("end_watch", session_id=session)
        await until(lambda: opened.closed)
        assert served.said("error") == []


async def test_candidates_never_come_before_the_answer(
    server: SignalingServer, make_link: MakeLink, camera: StandInCamera
) -> None:
    """Neither on the first offer nor on a second one; those of an offer that was replaced never come."""
    async with make_link(), StandInViewer(server) as viewer:
        served = await server.connected(DEVICE_ID)
        await viewer.watch()
        for number in range(2):
            await viewer.offer(f"offer {number}")
            await until(lambda n=number: camera.opened and len(camera.session().offers) > n)  # type: ignore[misc]
            listener = camera.session().listener
            since = served.mark()
            listener.on_candidate("candidate:9", "0", 0)
            listener.on_candidate(None, None, None)
            await asyncio.sleep(0.05)
            assert served.said("signal_ice", since=since) == []
            listener.on_answer(f"answer {number}")
            await server.wait_for(lambda s=since: len(served.said("signal_ice", since=s)) == 2)  # type: ignore[misc]
            kinds = [one["type"] for one in served.said(since=since) if one["type"].startswith("signal")]
            assert kinds == ["signal_answer", "signal_ice", "signal_ice"]


async def test_several_viewers(server: SignalingServer, make_link: MakeLink) -> None:
    """Each gets its own answer; the end of one is not the end of another."""
    camera = StandInCamera(auto=True)
    async with make_link(camera=camera), StandInViewer(server) as first, StandInViewer(server) as second:
        await server.connected(DEVICE_ID)
        for viewer in (first, second):
            await viewer.watch()
            await viewer.offer()
        for viewer in (first, second):
            assert (await viewer.hear("signal_answer"))["payload"]["session_id"] == viewer.session_id
        await first.socket.close()
        await until(lambda: camera.session(first.session_id).closed)
        assert not camera.session(second.session_id).closed
        assert server.sessions[first.session_id].reason == "viewer_disconnected"


async def test_the_same_session_again_replaces(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """What the old one still says reaches nobody."""
    async with make_link():
        served = await server.connected(DEVICE_ID)
        for _ in range(2):
            await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        await until(lambda: len(camera.opened) == 2)
        old, new = (one.listener for one in camera.opened)
        since = served.mark()
        old.on_answer("old")
        old.on_candidate("candidate:1", None, None)
        old.on_closed("old")
        old.on_refused("old")
        new.on_answer("new")
        answer = await served.wait_for("signal_answer", since=since)
        assert answer["payload"]["sdp"]["sdp"] == "new"
        assert served.said("error", since=since) == []


@pytest.mark.parametrize(
    "reason", ["viewer_disconnected", "user_ended", "timeout", "error", "device_disconnected", "surprise", None, 5]
)
async def test_watch_ended(server: SignalingServer, make_link: MakeLink, camera: StandInCamera, reason: Any) -> None:
    """Closes, whatever the reason; twice, or for an unknown session, is harmless; late answers are not said."""
    async with make_link():
        served = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_ended", {"session_id": "never-heard-of", "reason": reason})
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        for _ in range(2):
            await server.send(DEVICE_ID, "watch_ended", {"session_id": "s", "reason": reason})
        await until(lambda: camera.opened and camera.session().closed)
        camera.session().listener.on_answer("late")
        camera.session().listener.on_closed("late")
        await server.send(DEVICE_ID, "watch_request", {"session_id": "next"})
        await until(lambda: len(camera.opened) == 2)
        assert [one["type"] for one in served.said() if one["type"] not in ("hello", "device_presence", "heartbeat")] == []


async def test_everything_is_passed_on_in_order(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """Offers and candidates also of sessions that are not open: the camera knows whether they are early or late."""
    async with make_link():
        await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "signal_ice", {"session_id": "s", "candidate": CANDIDATE})
        await server.send(DEVICE_ID, "signal_offer", {"session_id": "s", "sdp": {"type": "offer", "sdp": "v=0"}})
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        await server.send(DEVICE_ID, "signal_ice", {"session_id": "s", "candidate": {"candidate": ""}})
        await until(lambda: len(camera.calls) == 4)
        assert camera.calls == [("candidate", "s"), ("offer", "s"), ("open", "s"), ("candidate", "s")]


async def test_a_refused_watch(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """No camera, or no libraries for it: the viewer is told in words; the session is forgotten."""
    camera.refusal = "this device's camera is switched off"
    async with make_link(), StandInViewer(server) as viewer:
        served = await server.connected(DEVICE_ID)
        session = await viewer.watch()
        error = await served.wait_for("error")
        assert error["payload"] == {"session_id": session, "message": "this device's camera is switched off"}
        assert (await viewer.hear("error"))["payload"]["message"] == "this device's camera is switched off"
        camera.session().listener.on_answer("late")
        camera.session().listener.on_refused("again")
        await server.send(DEVICE_ID, "watch_request", {"session_id": "next"})
        await until(lambda: len(camera.opened) == 2)
        await server.wait_for(lambda: len(served.said("error")) == 2)
        assert served.said("signal_answer") == []


async def test_a_session_that_breaks_off(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """Bad SDP, an unplugged camera: `error` with the session. A viewer that is gone: no fault. The others go on."""
    async with make_link():
        served = await server.connected(DEVICE_ID)
        for session in ("a", "b", "c"):
            await server.send(DEVICE_ID, "watch_request", {"session_id": session})
        await until(lambda: len(camera.opened) == 3)
        camera.session("a").listener.on_refused("the offer makes no sense: no video section")
        camera.session("b").listener.on_closed("the viewer is gone")
        camera.session("b").listener.on_answer("late")
        camera.session("c").listener.on_answer("fine")
        await served.wait_for("signal_answer", session_id="c")
        assert [one["payload"] for one in served.said("error")] == [
            {"session_id": "a", "message": "the offer makes no sense: no video section"}
        ]
        assert len(served.said("signal_answer")) == 1
        assert served.connections == 1


async def test_request_ids_are_given_back(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """The answer carries the offer's, a refusal that of the newest message; without one there is none."""
    async with make_link():
        served = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_request", {"session_id": 7}, request_id="req-1")
        await until(lambda: camera.opened)
        await server.send(
            DEVICE_ID, "signal_offer", {"session_id": 7, "sdp": {"type": "offer", "sdp": "v=0"}}, request_id="req-2"
        )
        await until(lambda: camera.session("7").offers)
        camera.session("7").listener.on_answer("v=0")
        answer = await served.wait_for("signal_answer")
        assert list(answer) == ["type", "request_id", "ts", "payload"]
        assert (answer["request_id"], answer["payload"]["session_id"]) == ("req-2", 7)
        await server.send(DEVICE_ID, "watch_request", {"session_id": "x"})
        await until(lambda: len(camera.opened) == 2)
        camera.session("x").listener.on_refused("no")
        assert "request_id" not in await served.wait_for("error")


async def test_too_many_sessions(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """A flood of watch requests is refused; what runs goes on."""
    async with make_link(most_sessions=3):
        served = await server.connected(DEVICE_ID)
        for number in range(5):
            await server.send(DEVICE_ID, "watch_request", {"session_id": f"s{number}"})
        await served.wait_for("error", session_id="s4")
        assert [one.session for one in camera.opened] == ["s0", "s1", "s2"]
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s1"})
        await until(lambda: len(camera.opened) == 4)
        assert len(served.said("error")) == 2


async def test_sessions_outlive_the_signaling(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """The connection is lost and comes back: running sessions never notice, and can be ended afterwards."""
    async with make_link(orphan_s=30.0):
        served = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        await until(lambda: camera.opened)
        await server.restart(after_s=0.3)
        await server.wait_for(lambda: served.connections >= 2)
        assert not camera.session().closed
        camera.session().listener.on_answer("v=0")
        await served.wait_for("signal_answer", session_id="s")
        await server.send(DEVICE_ID, "watch_ended", {"session_id": "s", "reason": "timeout"})
        await until(lambda: camera.session().closed)


async def test_but_not_for_ever(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """Without signaling nobody could end them: the limit counts from the loss, whatever is tried meanwhile."""
    async with make_link(orphan_s=0.4, hello_s=0.05):
        await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        await until(lambda: camera.opened)
        server.hello_ack = False  # the socket opens again and again, but nobody speaks
        begun = time.monotonic()
        server.drop(DEVICE_ID)
        await asyncio.sleep(0.2)
        assert not camera.session().closed
        await until(lambda: camera.session().closed)
        assert time.monotonic() - begun < 2


async def test_the_limit_starts_anew_with_each_loss(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """Signaling that comes back in time resets it."""
    async with make_link(orphan_s=3.0):
        served = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        await until(lambda: camera.opened)
        begun = time.monotonic()
        connections = 1
        while time.monotonic() - begun < 3.5:
            server.drop(DEVICE_ID)
            connections += 1
            await server.wait_for(lambda n=connections: served.connections == n and served.live)  # type: ignore[misc]
            await asyncio.sleep(0.4)
        assert not camera.session().closed


async def test_what_is_said_without_a_connection(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """It is said to nobody, neither then nor later."""
    async with make_link():
        served = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        await until(lambda: camera.opened)
        await server.stop()
        await asyncio.sleep(0.1)
        camera.session().listener.on_answer("v=0")
        camera.session().listener.on_closed("gone")
        await server.start()
        since = served.mark()
        await served.wait_for("device_presence", since=since)
        assert served.said("signal_answer") == []
        assert served.said("error") == []


async def test_what_comes_before_the_acknowledgement(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """A watch request right behind our hello is taken in; what it leads to is said after hello_ack."""
    camera.refusal = "no camera"
    server.before_ack = [{"type": "watch_request", "payload": {"session_id": "s"}}, {"type": "heartbeat_ack"}]
    async with make_link():
        served = server.camera(DEVICE_ID)
        await served.wait_for("error", session_id="s")
        assert served.said()[0]["type"] == "hello"
        assert served.connections == 1


async def test_the_end_of_the_link_ends_its_sessions(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """Nobody is left watching a device whose link is gone."""
    async with make_link():
        await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        await until(lambda: camera.opened)
    assert camera.session().closed


async def test_a_flood_of_signals_delays_nothing(server: SignalingServer, make_link: MakeLink, camera: StandInCamera) -> None:
    """Two thousand candidates are read at once; heartbeats go on."""
    async with make_link(heartbeat_s=0.1):
        served = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, "watch_request", {"session_id": "s"})
        frame = json.dumps({"type": "signal_ice", "payload": {"session_id": "s", "candidate": CANDIDATE}})
        for _ in range(2_000):
            await server.send_raw(DEVICE_ID, frame)
        await until(lambda: camera.opened and len(camera.session().candidates) == 2_000)
        assert served.connections == 1
