"""STUN and TURN: used when they answer, never waited for when they do not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import aiortc
import pytest

from agent.camera.messages import Answer, IceServer, LocalCandidate
from agent.camera.session import SessionTimers
from tests.camera.conftest import OpenRoom, Room
from tests.camera.turn import HOST, PASSWORD, USER, Turn, free_port, serve
from tests.camera.viewer import Viewer, candidates, without_candidates

PATIENT = SessionTimers(gather_s=8.0, gather_longest_s=16.0)
"""An answer that comes long before has not waited for a server that is silent, however busy the machine."""


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Turn]:
    """A server that works."""
    with serve(tmp_path_factory.mktemp("turn")) as running:
        yield running


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes everything and answers nothing, over UDP and TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
            hole.bind((HOST, port))
            yield port


def relay(turn: Turn, transport: str = "udp") -> aiortc.RTCIceServer:
    """For the viewer's side."""
    return aiortc.RTCIceServer(f"turn:{HOST}:{turn.port}?transport={transport}", USER, PASSWORD)


async def answer_time(watched: Room, viewer: Viewer, *servers: IceServer) -> float:
    """Seconds from the offer to the answer."""
    sdp = await viewer.offer()
    watched.open("one", *servers)
    began = time.monotonic()
    watched.offer("one", sdp)
    answer = await watched.hears("one", Answer)
    taken_s = time.monotonic() - began
    await viewer.accept(answer.sdp)
    return taken_s


async def test_a_viewer_behind_turn_only(turn: Turn, room: OpenRoom) -> None:
    """It shows nothing but its relay, and sees the camera."""
    before = turn.allocations()
    watched = room()
    viewer = await watched.watch("one", turn.server(), servers=[relay(turn)], relay_only=True)
    await viewer.sees()
    assert turn.allocations() == before + 2


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_device_behind_turn_only(turn: Turn, room: OpenRoom, transport: str) -> None:
    """Its relay is in the answer in time, nothing else is, and the viewer sees the camera."""
    watched = room(relay_only=True)
    viewer = await watched.watch("one", turn.server(transport))
    await viewer.sees()
    [line] = candidates(watched.of("one", Answer)[0].sdp)
    assert "typ relay" in line


async def test_both_behind_turn_only(turn: Turn, room: OpenRoom) -> None:
    """Relay to relay."""
    watched = room(relay_only=True)
    viewer = await watched.watch("one", turn.server(), servers=[relay(turn)], relay_only=True)
    await viewer.sees()


async def test_the_relay_is_given_back(turn: Turn, room: OpenRoom) -> None:
    """The end of a session ends its allocation."""
    watched = room(relay_only=True)
    before = turn.given_back()
    await watched.watch("one", turn.server())
    watched.close("one")
    await watched.until(lambda: turn.given_back() > before)


async def test_stun_is_asked_and_its_answer_used(turn: Turn, room: OpenRoom) -> None:
    """It sees the address we have already, so nothing comes of it, and nothing is lost."""
    watched = room(timers=PATIENT)
    assert await answer_time(watched, watched.viewer(), turn.stun) < PATIENT.gather_s / 2
    assert not [line for line in candidates(watched.of("one", Answer)[0].sdp) if "srflx" in line]


async def test_a_server_that_is_dead_gives_way_to_one_that_lives(turn: Turn, silent: int, room: OpenRoom) -> None:
    """The first TURN server named does not answer; the second is in the answer all the same."""
    dead = IceServer((f"stun:{HOST}:{silent}", f"turn:{HOST}:{silent}"), USER, PASSWORD)
    watched = room(relay_only=True, timers=PATIENT)
    assert await answer_time(watched, watched.viewer(), dead, turn.server()) < PATIENT.gather_s / 2
    assert "typ relay" in watched.of("one", Answer)[0].sdp


@pytest.mark.parametrize(
    "urls",
    [
        ("stun:{host}:{silent}",),
        ("turn:{host}:{silent}",),
        ("turn:{host}:{silent}?transport=tcp",),
        ("turns:{host}:{silent}",),
        ("stun:{host}:{closed}", "turn:{host}:{closed}", "turn:{host}:{closed}?transport=tcp"),
        ("stun:does-not-exist.invalid", "turn:does-not-exist.invalid", "turns:does-not-exist.invalid"),
        ("stun:{host}:{silent}?transport=udp", "stuns:{host}", "http://x", "turn:", "", "turn:[::1]:{silent}", "stun:[::1]"),
    ],
)
async def test_an_unreachable_server_delays_the_answer_by_half_a_second_at_most(
    room: OpenRoom, silent: int, urls: tuple[str, ...]
) -> None:
    """And the viewer sees the camera through what there is."""
    closed = free_port()
    server = IceServer(tuple(url.format(host=HOST, silent=silent, closed=closed) for url in urls), USER, PASSWORD)
    patience_s = 0.5 if urls[0].startswith("stun:{host}:{silent}") else 0.1
    watched = room(timers=SessionTimers() if patience_s == 0.5 else SessionTimers(gather_s=patience_s))
    viewer = watched.viewer()
    assert await answer_time(watched, viewer, server) < patience_s + 0.25
    await viewer.sees()


async def test_wrong_credentials_only_cost_the_relay(turn: Turn, room: OpenRoom) -> None:
    """The viewer sees the camera without it."""
    watched = room()
    viewer = await watched.watch("one", turn.server(credential="wrong"))
    await viewer.sees()
    assert "typ relay" not in watched.of("one", Answer)[0].sdp


async def test_a_relay_found_late_is_told_after_the_answer(turn: Turn, room: OpenRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the answer, then the candidate, then that there are no more; it is tried from our side as well."""
    name_is_known = threading.Event()
    look_up = socket.getaddrinfo

    def slow(host: Any, *arguments: Any, **keywords: Any) -> Any:
        if host == "turn.example":
            name_is_known.wait(10)
            host = HOST
        return look_up(host, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    watched = room()
    viewer = watched.viewer()
    watched.open("one", IceServer((f"turn:turn.example:{turn.port}",), USER, PASSWORD))
    watched.offer("one", await viewer.offer())
    answer = (await watched.hears("one", Answer)).sdp
    assert candidates(answer)
    assert not [line for line in candidates(answer) if "relay" in line]
    assert "end-of-candidates" not in answer
    name_is_known.set()
    late = await watched.hears("one", LocalCandidate)
    assert late.candidate is not None
    assert late.candidate.startswith("candidate:")
    assert "typ relay" in late.candidate
    assert (late.sdp_mid, late.sdp_mline_index) == ("0", 0)
    assert (await watched.hears("one", LocalCandidate, 2)).candidate is None
    [(session, _)] = watched.sessions._sessions.values()
    assert session._peer is not None
    connection = session._peer._video.sender.transport.transport._connection
    assert "relay" in {pair.local_candidate.type for pair in connection._check_list}
    await viewer.accept(without_candidates(answer))
    candidate = aiortc.sdp.candidate_from_sdp(late.candidate.removeprefix("candidate:"))
    candidate.sdpMid = late.sdp_mid
    await viewer.connection.addIceCandidate(candidate)
    await viewer.sees()


async def test_no_session_waits_for_anothers_names(room: OpenRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty viewers whose name server is dead answer in time, and so does one after them."""
    asked: list[str] = []
    released = threading.Event()
    look_up = socket.getaddrinfo

    def stuck(host: Any, *arguments: Any, **keywords: Any) -> Any:
        if str(host).endswith(".invalid"):
            asked.append(host)
            released.wait(30)
        return look_up(host, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    watched = room(timers=SessionTimers(gather_s=0.2))
    sdp = without_candidates(await watched.viewer().offer())
    try:
        for number in range(20):
            key = f"slow {number}"
            watched.open(key, IceServer((f"stun:{number}.invalid", f"turn:{number % 3}.invalid"), "a", "b"))
            watched.offer(key, sdp)
        began = time.monotonic()
        viewer = await watched.watch("quick")
        assert time.monotonic() - began < 2.5
        for number in range(20):
            await watched.hears(f"slow {number}", Answer)
        assert viewer.state == "connected"
        assert len(asked) == len(set(asked))
    finally:
        released.set()


async def test_nobody_is_contacted_who_was_not_named(room: OpenRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without servers no name is looked up: the library's default would be one of Google's."""
    asked: list[Any] = []
    look_up = socket.getaddrinfo

    def listen(host: Any, *arguments: Any, **keywords: Any) -> Any:
        asked.append(host)
        return look_up(host, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", listen)
    monkeypatch.setattr(socket, "gethostbyname", asked.append)
    watched = room()
    await watched.watch("one")
    assert not [host for host in asked if host is not None and not str(host).replace(".", "").replace(":", "").isalnum()]
    assert not [host for host in asked if "google" in str(host)]
