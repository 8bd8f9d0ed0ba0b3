"""The connection through the wire: who we are, refusals, drops, silence, secrets, what stays on (tronbyt contract, section 1)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket as socket_module
import time

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from agent import __version__
from agent.links import backoff
from agent.links.tronbyt.link import ANOTHER_DEVICE, LARGEST_MESSAGE_BYTES, TronbytLink, TronbytTimers
from tests.box import until
from tests.links.tronbyt.conftest import MakeLink
from tests.links.tronbyt.standins import DEVICE_ID, MAC, StandInBox, webp
from tests.servers.tronbyt import TronbytServer
from tests.servers.tronbyt_devices import App

LOAD = 2.0
"""What a limit of the contract is multiplied with: the machine does other things, too."""


def test_the_timers_are_the_contracts(box: StandInBox) -> None:
    """Ping every 20 s with 20 s for the pong, 150 s of silence; and all other defaults."""
    assert dataclasses.asdict(TronbytTimers()) == {
        "ping_s": 20.0,
        "pong_s": 20.0,
        "close_s": 2.0,
        "send_s": 10.0,
        "silence_s": 150.0,
        "dropped_s": 10.0,
        "drops": 4,
        "request_s": 30.0,
        "lead_s": 2.0,
        "poll_least_s": 1.0,
    }
    limits = TronbytLink("feed", box, url="ws://x/1/ws", screen="front").limits
    assert (limits.ping_s, limits.pong_s, limits.close_s) == (20.0, 20.0, 2.0)


async def test_who_we_are_is_first(server: TronbytServer, make_link: MakeLink) -> None:
    """After every connect, as one text frame with the right types; no compression is offered."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        server.drop(DEVICE_ID)
        await server.wait_for(lambda: len(display.client_infos) == 2)
        assert display.messages[0].raw == (
            f'{{"client_info":{{"firmware_version":"{__version__}","firmware_type":"signage-agent","protocol_version":1,'
            f'"mac":"{MAC}"}}}}'
        )
        assert display.messages[1].raw == display.messages[0].raw
        assert display.complaints == []
    assert all("Sec-WebSocket-Extensions" not in request.headers for request in server.requests)


async def test_it_is_first_although_the_server_is_quick(server: TronbytServer, make_link: MakeLink) -> None:
    """An image right after the handshake waits for our introduction."""
    server.push(DEVICE_ID, App("1", webp("1"), 10), immediate=True)
    async with make_link():
        display = server.display(DEVICE_ID)
        await display.wait_acks(1)
        assert [next(iter(said.data)) for said in display.messages] == ["client_info", "queued", "displaying"]


async def test_the_address_is_taken_as_given(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Any id and query; http and ws mean the same."""
    server.stranger = 404
    base = server.url.removeprefix("http://")
    for url in (f"http://{base}/a%20b/ws?x=%2F&y=1", f"ws://{base}/a%20b/ws?x=%2F&y=1"):
        before = len(server.requests)
        async with make_link(url=url) as link:
            await until(lambda n=before: len(server.requests) > n)  # type: ignore[misc]
        link.leave()
        assert server.requests[-1].path == "/a b/ws"
        assert server.requests[-1].query == {"x": "/", "y": "1"}


async def test_the_key_is_a_bearer_and_secret(
    server: TronbytServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """On the upgrade; neither it nor the one in the address reaches the log or the status, also when it is refused."""
    server.key = "hush-hush-1"
    url = server.device_url(DEVICE_ID)
    with caplog.at_level(logging.DEBUG):
        async with make_link(key="hush-hush-1") as link:
            await server.connected(DEVICE_ID)
        assert server.requests[-1].bearer == "hush-hush-1"
        link.leave()
        async with make_link(url=f"{url}?key=hush-hush-1") as link:
            await server.wait_for(lambda: server.display(DEVICE_ID).connections == 2)
        assert "Authorization" not in server.requests[-1].headers
        link.leave()
        async with make_link(url=f"{url}?key=hush-wrong", key="hush-other") as link:
            await until(lambda: link.state == "refused")
            assert "401" in link.last_error
            assert "key" in link.last_error
    assert "hush" not in caplog.text + link.last_error


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_refusals(server: TronbytServer, make_link: MakeLink, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Reported with what to do, retried slowly, never given up: the device may be created later."""
    server.stranger = status
    async with make_link() as link:
        await until(lambda: link.state == "refused")
        assert str(status) in link.last_error
        assert "check the device's id" in link.last_error
        await asyncio.sleep(0.2)
        assert len(server.requests) == 1
        server.stranger = None
        link.hurry()
        await server.connected(DEVICE_ID)
        await until(lambda: link.state == "connected")
        assert link.last_error == ""
    assert caplog.text.count("refused error=") == 1


async def test_close_1008(server: TronbytServer, make_link: MakeLink) -> None:
    """Is a refusal, too; once it is over, everything is as usual."""
    fault = server.fault(f"/{DEVICE_ID}/ws", close_code=1008)
    async with make_link() as link:
        await until(lambda: link.state == "refused")
        assert "code 1008" in link.last_error
        assert link.warnings() == []
        server.clear_faults()
        link.hurry()
        display = await server.connected(DEVICE_ID)
        await server.close(DEVICE_ID, 1008, "no such device")
        await until(lambda: "no such device" in link.last_error)
        assert (link.state, display.connections, fault.hits) == ("refused", 1, 1)


async def test_another_device_with_the_same_id(server: TronbytServer, make_link: MakeLink) -> None:
    """Dropped within seconds, again and again: said so, slowed down; forgotten when a connection lasts."""
    async with make_link(dropped_s=2.0) as link:
        display = server.display(DEVICE_ID)
        for number in range(1, 5):
            assert link.warnings() == []
            await server.wait_for(lambda n=number: display.connections == n and display.live == 1)  # type: ignore[misc]
            await server.connected(DEVICE_ID)
            await server.close(DEVICE_ID, 1000, "replaced")
        await until(lambda: link.state == "refused")
        assert link.last_error == ANOTHER_DEVICE
        assert link.warnings() == [f"link feed: {ANOTHER_DEVICE}"]
        await asyncio.sleep(0.3)
        assert display.connections == 4
        link.hurry()
        await server.wait_for(lambda: display.connections == 5)
        await until(lambda: link.warnings() == [])
        server.drop(DEVICE_ID)
        await server.wait_for(lambda: display.connections == 6)


@pytest.mark.parametrize("code", [1012, 1013])
async def test_a_server_that_restarts(server: TronbytServer, make_link: MakeLink, code: int) -> None:
    """Says so when it closes: that is nobody else's doing, however often it happens."""
    async with make_link() as link:
        display = server.display(DEVICE_ID)
        for number in range(1, 7):
            await server.wait_for(lambda n=number: display.connections == n and display.live == 1)  # type: ignore[misc]
            await server.connected(DEVICE_ID)
            await server.close(DEVICE_ID, code)
        await server.wait_for(lambda: display.connections == 7)
        assert link.warnings() == []


async def test_pings(server: TronbytServer, make_link: MakeLink) -> None:
    """Come at their interval; a server that does not answer is left within ping and pong time."""
    async with make_link(ping_s=0.1, pong_s=0.3):
        display = await server.connected(DEVICE_ID)
        pings = display.peers[0].pings
        await server.wait_for(lambda: len(pings) >= 4, what="pings")
    server.fault(f"/{DEVICE_ID}/ws", deaf=True, times=1)
    async with make_link(ping_s=0.1, pong_s=0.3, close_s=0.1):
        begun = time.monotonic()
        await server.wait_for(lambda: display.connections == 2)
        assert time.monotonic() - begun < LOAD * 3


async def test_silence_after_displaying(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """A server that answers pings but sends nothing after an acknowledged image is dead: a new connection, the picture stays."""
    async with make_link(ping_s=0.05, silence_s=0.5) as link:
        display = await server.connected(DEVICE_ID)
        sent = await server.send_image(DEVICE_ID, webp("1"))
        at = await display.wait_displaying(sent)
        server.silence(DEVICE_ID)
        await server.wait_for(lambda: display.connections == 2)
        assert time.monotonic() - at >= 0.5
        assert box.front.number == 1
        assert link.warnings() == []


async def test_a_server_that_stays_silent(
    box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is noticed on every connection, comes to count as absent, and is not pressed; its first word puts all right."""
    monkeypatch.setattr(backoff, "STABLE_S", 0.2)
    ends: list[float] = []

    async def silent(socket: ServerConnection) -> None:
        await socket.recv()
        if len(ends) in (0, 3):
            await socket.send('{"brightness": 90}' if ends else webp("1"))
        begun = time.monotonic()
        await socket.wait_closed()
        ends.append(time.monotonic() - begun)

    async with serve(silent, "127.0.0.1", 0) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        async with make_link(url=f"ws://127.0.0.1:{port}/1/ws", silence_s=0.4, dropped_s=0.1, offline_mark=True) as link:
            states: list[tuple[str, int]] = []
            link.on_change(lambda: states.append((link.state, len(ends))))
            await until(lambda: len(ends) == 1)
            await until(lambda: box.front.scene.mark)
            await until(lambda: len(ends) == 3)
            assert box.front.scene.mark
            assert link._backoff._failures >= 3
            await until(lambda: link.state == "connected")
            await until(lambda: not box.front.scene.mark)
            assert box.front.number == 1
    assert all(lasted >= 0.35 for lasted in ends[:3])
    assert {number for state, number in states if state == "connected"} <= {0, 3}
    assert [record.levelname for record in caplog.records if "no image came for 0.4 s" in record.getMessage()] == ["WARNING"]


async def test_no_silence_while_an_image_waits(server: TronbytServer, make_link: MakeLink) -> None:
    """The server owes nothing while the agent holds its next image."""
    async with make_link(silence_s=0.5):
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1000))
        await display.wait_queued(await server.send_image(DEVICE_ID, webp("2"), dwell_secs=1000))
        await asyncio.sleep(1.0)
        assert display.connections == 1


async def test_a_message_that_is_far_too_large(make_link: MakeLink) -> None:
    """Ends the connection, time and again, with waits that grow; it is nobody else's doing."""
    codes: list[int | None] = []

    async def boast(socket: ServerConnection) -> None:
        await socket.recv()
        with contextlib.suppress(ConnectionClosed):
            await socket.send(bytes(LARGEST_MESSAGE_BYTES + 1))
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with serve(boast, "127.0.0.1", 0, compression=None) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        async with make_link(url=f"ws://127.0.0.1:{port}/1/ws") as link:
            await until(lambda: len(codes) >= 5)
            assert link._backoff._failures >= 4
            assert link.warnings() == []
            assert "1009" in link.last_error
    assert set(codes) == {1009}


async def test_a_server_that_takes_nothing(make_link: MakeLink) -> None:
    """Is left after a while, although it goes on sending."""
    connections = 0

    async def deaf(socket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await socket.recv()
        if connections == 1:
            socket.transport.pause_reading()
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await socket.send(b"no image")
                    await socket.send('{"immediate": true}')

    listener = socket_module.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4096)
    async with serve(deaf, sock=listener, close_timeout=0.5):
        port = listener.getsockname()[1]
        async with make_link(url=f"ws://127.0.0.1:{port}/1/ws", send_s=0.3) as link:
            errors: list[str] = []
            link.on_change(lambda: errors.append(link.last_error))
            async with asyncio.timeout(60):
                while connections < 2:
                    await asyncio.sleep(0.02)
            assert "the server takes nothing from the connection" in errors


async def test_numbers_go_on(server: TronbytServer, make_link: MakeLink) -> None:
    """They are counted per process, not per connection nor per link."""
    async with make_link() as link:
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1))
        server.drop(DEVICE_ID)
        await server.wait_for(lambda: display.connections == 2)
        await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("2"), dwell_secs=1))
    link.leave()
    async with make_link():
        await server.wait_for(lambda: display.connections == 3)
        await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("3"), dwell_secs=1))
    assert display.queued == display.displayed == [1, 2, 3]


async def test_what_waits_when_the_connection_is_lost(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """It is shown at its turn, but acknowledged to nobody: the new connection would take it for an image of its own."""
    async with make_link():
        display = await server.connected(DEVICE_ID)
        await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1)
        await display.wait_queued(await server.send_image(DEVICE_ID, webp("2"), dwell_secs=1))
        server.drop(DEVICE_ID)
        await server.wait_for(lambda: display.connections == 2)
        await server.connected(DEVICE_ID)
        await until(lambda: box.front.number == 2)
        later = await server.send_image(DEVICE_ID, webp("3"), dwell_secs=1)
        await display.wait_displaying(later)
        assert display.displayed == [1, 3]
        assert box.front.numbers == [1, 2, 3]
        assert display.complaints == []


async def test_images_just_before_the_end(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """What has come before the connection is closed is shown."""
    async with make_link():
        await server.connected(DEVICE_ID)
        await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1)
        await server.send_image(DEVICE_ID, webp("2"), dwell_secs=1, immediate=True)
        await server.close(DEVICE_ID, 1012)
        await until(lambda: box.front.number == 2)


async def test_the_picture_stays_without_the_server(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """For ever, without a mark, if nothing else is configured."""
    async with make_link() as link:
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1))
        server.leave(DEVICE_ID)
        await until(lambda: link.state != "connected")
        await asyncio.sleep(0.3)
        assert box.front.number == 1
        assert not box.front.scene.mark


async def test_the_offline_mark(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Is on the picture while there is no connection."""
    async with make_link(offline_mark=True):
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1))
        assert not box.front.scene.mark
        server.leave(DEVICE_ID)
        await until(lambda: box.front.scene.mark)
        server.leave(DEVICE_ID, value=False)
        await server.wait_for(lambda: display.connections == 2)
        await server.connected(DEVICE_ID)
        await until(lambda: box.front.scene.mark)
        await server.set_brightness(DEVICE_ID, 50)
        await until(lambda: not box.front.scene.mark)


@pytest.mark.parametrize("speaks", [True, False])
async def test_hold(server: TronbytServer, box: StandInBox, make_link: MakeLink, *, speaks: bool) -> None:
    """The screen is given away that long after the connection was lost, unless there is one that speaks or lasts, and comes
    back with the next image."""
    async with make_link(hold_s=0.5, dropped_s=10.0 if speaks else 0.1):
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1"), dwell_secs=1000))
        server.drop(DEVICE_ID)
        await server.wait_for(lambda: display.connections == 2)
        await server.connected(DEVICE_ID)
        if speaks:
            await server.set_brightness(DEVICE_ID, 50)
        await asyncio.sleep(0.8)
        assert box.front.number == 1
        server.leave(DEVICE_ID)
        gone_at = time.monotonic()
        await until(lambda: box.front.scene.shot is None)
        assert time.monotonic() - gone_at >= 0.4
        server.leave(DEVICE_ID, value=False)
        await server.wait_for(lambda: display.connections == 3)
        await server.connected(DEVICE_ID)
        assert box.front.scene.shot is None
        sent = await server.send_image(DEVICE_ID, webp("2"))
        await display.wait_displaying(sent)
        assert box.front.number == 2


@pytest.mark.parametrize("habit", [1008, 1011, 1013, "silent"])
async def test_hold_without_a_use_of_the_connection(
    box: StandInBox, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch, habit: int | str
) -> None:
    """A server that takes every connection but closes it, or never says a word, is as good as none."""
    monkeypatch.setattr(backoff, "LONGEST_S", 0.05)
    connections = 0

    async def behave(socket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await socket.recv()
        if connections == 1:
            await socket.send(webp("1"))
            await socket.recv()
            await socket.recv()
        if isinstance(habit, int):
            await socket.close(1011 if connections == 1 else habit)
        await socket.wait_closed()

    async with serve(behave, "127.0.0.1", 0) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        async with make_link(url=f"ws://127.0.0.1:{port}/1/ws", hold_s=0.8, silence_s=0.3):
            await until(lambda: box.front.number == 1)
            await until(lambda: box.front.scene.shot is None)
            assert connections > 2


# One link after the other


async def test_a_successor(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Keeps its predecessor's picture until it has one of its own; not one scene is empty."""
    async with make_link() as first:
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
    async with make_link(predecessor=first) as second:
        await server.wait_for(lambda: display.connections == 2)
        await server.connected(DEVICE_ID)
        await until(lambda: second.state == "connected")
        assert box.front.number == 1
        since = len(box.front.scenes)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("2")))
        assert [scene.shot for scene in box.front.scenes[since:] if scene.shot is None] == []
        assert box.front.numbers == [1, 2]
        assert len(box.front.stage._programs) == 1
        await until(lambda: "1.webp" not in box.files())
    assert box.front.number == 2
    second.leave()
    assert box.front.scene.shot is None
    await until(lambda: not box.files())


async def test_a_successor_on_another_screen(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """The old screen is free with the first picture on the new one."""
    async with make_link() as first:
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
    async with make_link(predecessor=first, screen="rear"):
        await server.wait_for(lambda: display.connections == 2)
        await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("2")))
        assert box.front.scene.shot is None
        assert box.rear.number == 2


async def test_a_successor_without_a_server(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Gives the screen away after `hold_s` as if the picture were its own."""
    async with make_link() as first:
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
    server.leave(DEVICE_ID)
    async with make_link(predecessor=first, hold_s=0.3):
        await until(lambda: box.front.scene.shot is None)
        assert first.predecessor is None


async def test_leaving_before_the_first_image(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """A link that goes takes its predecessor along."""
    async with make_link() as first:
        display = await server.connected(DEVICE_ID)
        await display.wait_displaying(await server.send_image(DEVICE_ID, webp("1")))
    async with make_link(predecessor=first) as second:
        await server.wait_for(lambda: display.connections == 2)
    second.leave()
    assert box.front.scene.shot is None
    assert box.front.stage._programs == []


async def test_what_an_earlier_process_left(server: TronbytServer, box: StandInBox, make_link: MakeLink) -> None:
    """Is removed at the start."""
    box.folder.mkdir(parents=True)
    (box.folder / "17.webp").write_bytes(b"old")
    async with make_link():
        await server.connected(DEVICE_ID)
        assert box.files() == set()
