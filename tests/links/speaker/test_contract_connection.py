"""The connection through the wire: handshake, addresses, pings, garbage, secrets (speaker contract, sections 1 and 5)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import time

import pytest

from agent import __version__
from agent.links.speaker.link import SpeakerLink, SpeakerTimers, socket_url
from tests.box import until
from tests.links.speaker.conftest import MakeLink
from tests.links.speaker.standins import DEVICE_ID, StandInBox
from tests.servers.speaker import SOCKET_PATH, SpeakerServer

LOAD = 2.0
"""What a limit of the contract is multiplied with: the machine does other things, too."""


async def test_the_timers_are_the_contracts(box: StandInBox) -> None:
    """Ping every 5 s, 10 s for the pong, 2 s for the end: a half-open link is noticed within 20 s; and all other defaults."""
    assert dataclasses.asdict(SpeakerTimers()) == {
        "ping_s": 5.0,
        "pong_s": 10.0,
        "close_s": 2.0,
        "send_s": 10.0,
        "reboot_s": 0.5,
        "ota_quiet_s": 5.0,
        "ota_lost_s": 60.0,
        "started_s": 5.0,
    }
    limits = SpeakerLink("ptalk", box, url="ws://x", device_id="y").limits
    assert (limits.ping_s, limits.pong_s, limits.close_s) == (5.0, 10.0, 2.0)
    assert limits.ping_s + limits.pong_s + limits.close_s < 20


async def test_the_handshake_is_first(server: SpeakerServer, make_link: MakeLink) -> None:
    """After every connect, before any answer, also when the server speaks first; in the document's order and types."""
    server.greeting = [json.dumps({"cmd": "request_status"}), "SPEAKING", b"voice"]
    async with make_link() as link:
        speaker = await server.connected(DEVICE_ID)
        await speaker.wait_answers(1)
        first, second = speaker.messages
        assert list(first.data.items()) == [
            ("cmd", "device_handshake"),
            ("device_id", DEVICE_ID),
            ("firmware_version", __version__),
            ("device_name", "PTalk"),
            ("battery_percent", 85),
            ("connectivity_state", "ONLINE"),
        ]
        assert second.data["status"] == "ok"
        for number in (2, 3):
            server.drop(DEVICE_ID)
            await server.wait_for(lambda n=number: len(speaker.handshakes) == n)  # type: ignore[misc]
        await until(lambda: link.state == "connected")
        assert speaker.live == 1


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("ws://host:8000/ws", "ws://host:8000/ws"),
        ("wss://host/ws", "wss://host/ws"),
        ("ws://host", "ws://host/ws"),
        ("wss://host/", "wss://host/ws"),
        ("http://host:8000", "ws://host:8000/ws"),
        ("https://host/speakers/socket", "wss://host/speakers/socket"),
        ("host:8000", "ws://host:8000/ws"),
        ("192.168.1.20:8000", "ws://192.168.1.20:8000/ws"),
        ("[::1]:8000", "ws://[::1]:8000/ws"),
        ("https://host?room=5", "wss://host/ws?room=5"),
        ("ws://host/a/?b=c%20d", "ws://host/a/?b=c%20d"),
    ],
)
def test_addresses(url: str, wanted: str) -> None:
    """ws, wss, http, https and bare host:port; /ws where there is no path."""
    assert socket_url(url) == wanted


async def test_addresses_connect(server: SpeakerServer, make_link: MakeLink) -> None:
    """Each form finds the server."""
    host = server.url.removeprefix("http://")
    for url in (host, f"http://{host}", f"ws://{host}", f"ws://{host}/ws"):
        before = server.speaker(DEVICE_ID).connections
        async with make_link(url=url):
            await server.wait_for(lambda n=before: server.speaker(DEVICE_ID).connections > n)  # type: ignore[misc]
    assert {request.path for request in server.requests} == {SOCKET_PATH}


async def test_no_token_no_header(server: SpeakerServer, make_link: MakeLink) -> None:
    """The document knows no authentication."""
    async with make_link():
        await server.connected(DEVICE_ID)
    assert "Authorization" not in server.requests[0].headers


async def test_the_token_is_a_bearer(server: SpeakerServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """On the upgrade; a wrong one is tried slowly and reaches no log."""
    server.token = "device-token-1234"
    with caplog.at_level(logging.DEBUG):
        async with make_link(token="device-token-1234"):
            await server.connected(DEVICE_ID)
        async with make_link(token="wrong-token-5678") as link:
            await until(lambda: link.state == "refused")
            await asyncio.sleep(0.2)
            assert len(server.requests) == 2
            assert "401" in link.last_error
    assert "token-" not in caplog.text


async def test_pings(server: SpeakerServer, make_link: MakeLink) -> None:
    """Come at their interval, and an answered one keeps the connection."""
    async with make_link(ping_s=0.1, pong_s=0.2):
        speaker = await server.connected(DEVICE_ID)
        pings = speaker.peers[0].pings
        await server.wait_for(lambda: len(pings) >= 6, what="pings")
        assert 0.4 < pings[5] - pings[0] < 1.0
        assert speaker.connections == 1


async def test_a_half_open_link_is_noticed(server: SpeakerServer, make_link: MakeLink) -> None:
    """Within ping, pong and close time (20 s by the pinned defaults, here a twentieth), and one socket at a time."""
    timers = {"ping_s": 0.25, "pong_s": 0.5, "close_s": 0.1}
    async with make_link(**timers):
        speaker = await server.connected(DEVICE_ID)
        server.mute(DEVICE_ID)
        begun = time.monotonic()
        await server.wait_for(lambda: speaker.connections == 2)
        assert time.monotonic() - begun < LOAD * sum(timers.values())
        assert (await server.ask(DEVICE_ID, "request_status"))["status"] == "ok"


async def test_a_half_open_link_while_speaking(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """A full connection does not hide it: the ping would wait behind the speech for ever."""
    async with make_link(ping_s=0.2, pong_s=0.3, close_s=0.1, send_s=0.5):
        speaker = await server.connected(DEVICE_ID)
        server.mute(DEVICE_ID)
        transport = speaker.peers[0].request.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        [uplink] = box.voice.uplinks
        uplink.start()
        begun = time.monotonic()
        while speaker.connections == 1:
            for _ in range(400):
                uplink.frame(bytes(512))
            await asyncio.sleep(0.005)
            assert time.monotonic() - begun < LOAD * 3
        assert (await server.ask(DEVICE_ID, "request_status"))["status"] == "ok"


async def test_a_server_deaf_from_the_start(server: SpeakerServer, make_link: MakeLink) -> None:
    """It upgrades and never reads."""
    server.fault(SOCKET_PATH, deaf=True, times=2)
    async with make_link(ping_s=0.05, pong_s=0.1, close_s=0.05):
        await server.connected(DEVICE_ID)


async def test_garbage(server: SpeakerServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """Texts and frames of every kind: no answer, no crash, no disconnect; a voice session and the next command work."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        for _ in range(2):
            await server.send_garbage(DEVICE_ID)
        answer = await server.ask(DEVICE_ID, "set_volume", volume=12)
        assert answer["volume"] == 12
        await server.send_raw(DEVICE_ID, "AUDIO_START")
        await server.send_raw(DEVICE_ID, b"voice")
        await until(lambda: box.voice.heard == [b"voice"])
        assert speaker.connections == 1
        assert [message.data for message in speaker.messages[1:]] == [answer]
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1, "an object that is no command is said, once; states and noise are not"


async def test_faults_of_ours_end_nothing(
    server: SpeakerServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """A part of the device that breaks off is said with its place; the connection and the other parts go on."""
    box.voice.begin = lambda _speaker, **_options: 1 / 0  # type: ignore[method-assign,assignment]
    box.reboot.request = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    async with make_link(reboot_s=0.0):
        speaker = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, "SPEAKING")
        await server.send(DEVICE_ID, {"cmd": "reboot"})
        answers = await speaker.wait_answers(2)
        assert [answer["status"] for answer in answers] == ["ok", "error"]
        assert (await server.ask(DEVICE_ID, "request_status"))["status"] == "ok"
        assert speaker.connections == 1
    assert caplog.text.count("ZeroDivisionError") == 2


async def test_large_frames(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """3 MB in one frame are no reason to hang up; 5 MB are, and the link comes back."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, "x" * 3_000_000)
        await server.send_raw(DEVICE_ID, bytes(3_000_000))
        assert (await server.ask(DEVICE_ID, "request_status"))["status"] == "ok"
        assert speaker.connections == 1
        await server.send_raw(DEVICE_ID, "x" * 5_000_000)
        await server.wait_for(lambda: speaker.connections == 2)


async def test_a_flood_is_answered(server: SpeakerServer, make_link: MakeLink) -> None:
    """3,000 commands at once: each answered, nothing lost."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        for number in range(3_000):
            await server.send_raw(DEVICE_ID, f'{{"cmd": "{number}"}}')
        answers = await speaker.wait_answers(3_000)
        assert [answer["message"] for answer in answers] == [f"Unknown command: {number}" for number in range(3_000)]


async def test_the_wifi_password_is_in_no_log(
    server: SpeakerServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """Also at level debug, libraries included, also when the command is broken."""
    password = "correct-horse-battery"
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("websockets").setLevel(logging.DEBUG)
        try:
            async with make_link():
                answer = await server.ask(DEVICE_ID, "set_wifi", ssid="Home", password=password)
                assert password not in json.dumps(answer)
                for broken in (
                    f'{{"cmd": "set_wifi", "password": "{password}"',
                    f'{{"cmd": 5, "password": "{password}"}}',
                    password,
                ):
                    await server.send_raw(DEVICE_ID, broken)
                await server.ask(DEVICE_ID, "request_status")
        finally:
            logging.getLogger("websockets").setLevel(logging.NOTSET)
    assert "set_wifi" in caplog.text
    assert password not in caplog.text


@pytest.mark.parametrize("code", [1000, 1001, 1011, None])
async def test_endings_are_come_back_from(server: SpeakerServer, make_link: MakeLink, code: int | None) -> None:
    """However the connection ends, never two sockets."""
    async with make_link():
        speaker = server.speaker(DEVICE_ID)
        for number in range(1, 4):
            await server.wait_for(lambda n=number: speaker.connections == n and speaker.live == 1)  # type: ignore[misc]
            if code is None:
                server.drop(DEVICE_ID)
            else:
                await server.close(DEVICE_ID, code)


async def test_a_server_that_is_down_at_the_start(server: SpeakerServer, make_link: MakeLink) -> None:
    """Is waited for; so is one that restarts."""
    await server.stop()
    async with make_link() as link:
        await until(lambda: link.attempts >= 2)
        await server.start()
        speaker = await server.connected(DEVICE_ID)
        await server.restart(after_s=0.1)
        await server.wait_for(lambda: speaker.connections == 2)


async def test_a_web_page_instead_of_a_server(server: SpeakerServer, make_link: MakeLink) -> None:
    """Said in words, tried slowly."""
    server.fault(SOCKET_PATH, status=404)
    async with make_link() as link:
        await until(lambda: link.state == "refused")
        assert "404" in link.last_error


async def test_a_status_right_after_the_start(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """Waits until volume and brightness are known, but not for ever."""
    known = asyncio.Event()
    box.volume.started = known.wait  # type: ignore[method-assign,assignment]
    async with make_link(started_s=0.3):
        speaker = await server.connected(DEVICE_ID)
        begun = time.monotonic()
        await server.ask(DEVICE_ID, "request_status")
        assert time.monotonic() - begun >= 0.3
        await server.send(DEVICE_ID, {"cmd": "request_status"})
        await asyncio.sleep(0.05)
        box.volume.percent = 5
        known.set()
        assert (await speaker.wait_answers(2))[1]["volume"] == 5


async def test_it_ends_quickly(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """Also from a server that does not answer a goodbye; nothing is left behind, the microphone is given back."""
    async with make_link():
        await server.connected(DEVICE_ID)
        server.mute(DEVICE_ID)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2.5
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ptalk")] == []
    assert box.voice.uplinks == []
