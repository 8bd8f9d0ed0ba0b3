"""Commands, row by row through the wire (speaker contract, section 2)."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import pytest

from agent import __version__
from agent.system.state import StateError
from tests.box import until
from tests.links.speaker.conftest import MakeLink
from tests.links.speaker.standins import DEVICE_ID, StandInBox
from tests.servers.speaker import SpeakerServer

BAD_PERCENTS = ["150", "-5", "256", "300", '"75"', "true", "null", "75.5", "1e400", "[]"]


async def test_request_status(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """All nine values, in the document's order and of its types."""
    async with make_link():
        answer = await server.ask(DEVICE_ID, "request_status")
        assert list(answer.items())[:-1] == [
            ("status", "ok"),
            ("device_id", DEVICE_ID),
            ("device_name", "PTalk"),
            ("battery_percent", 85),
            ("connectivity_state", "ONLINE"),
            ("firmware_version", __version__),
            ("volume", 100),
            ("brightness", 100),
        ]
        assert list(answer)[-1] == "uptime_sec"
        assert abs(answer["uptime_sec"] - time.clock_gettime(time.CLOCK_BOOTTIME)) < 10
        assert type(answer["uptime_sec"]) is int


@pytest.mark.parametrize("name", ["volume", "brightness"])
async def test_levels(server: SpeakerServer, box: StandInBox, make_link: MakeLink, name: str) -> None:
    """Set at once, on disk when the answer comes, in the status; 75.0 counts as 75; a bad value keeps the old one."""
    async with make_link():
        for wire, percent in (("0", 0), ("100", 100), ("75.0", 75)):
            answer = await ask_raw(server, f'{{"cmd": "set_{name}", "{name}": {wire}}}')
            assert list(answer.items()) == [("status", "ok"), (name, percent), ("device_id", DEVICE_ID)]
            assert type(answer[name]) is int
            assert getattr(box, name).percent == percent
            assert await box.state.get(name) == percent
        for value in ("", *(f', "{name}": {bad}' for bad in BAD_PERCENTS)):
            answer = await ask_raw(server, f'{{"cmd": "set_{name}"{value}}}')
            assert list(answer) == ["status", "message", "device_id"]
            assert answer["status"] == "invalid_param"
            assert answer["device_id"] == DEVICE_ID
        status = await server.ask(DEVICE_ID, "request_status")
        assert status[name] == await box.state.get(name) == 75


async def test_names(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """UTF-8 round-trips to answer, status and the next handshake; bad names keep the old one."""
    async with make_link():
        name = "Küche 🔊 مطبخ 厨房"
        answer = await server.ask(DEVICE_ID, "set_device_name", device_name=name)
        assert list(answer.items()) == [("status", "ok"), ("device_name", name), ("device_id", DEVICE_ID)]
        assert (await box.state.get("name"))["name"] == name
        bad_names: list[Any] = ["", "   ", 5, None, [], "x" * 65]
        for bad in bad_names:
            answer = await server.ask(DEVICE_ID, "set_device_name", device_name=bad)
            assert answer["status"] == "invalid_param"
        assert (await server.ask(DEVICE_ID, "request_status"))["device_name"] == name
        speaker = server.speakers[DEVICE_ID]
        server.drop(DEVICE_ID)
        await server.wait_for(lambda: speaker.connections == 2)
        assert speaker.handshakes[-1]["device_name"] == name


async def test_changes_by_others_show(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """The values are the device's, not the link's."""
    async with make_link():
        await server.connected(DEVICE_ID)
        await box.volume.set(33)
        await box.brightness.set(44)
        await box.name.set("Other")
        box.charge(12)
        status = await server.ask(DEVICE_ID, "request_status")
        found = [status[key] for key in ("volume", "brightness", "device_name", "battery_percent")]
        assert found == [33, 44, "Other", 12]


async def test_a_coarse_mixer_keeps_what_was_set(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """The answer says what was set; the status what the volume reports."""
    async with make_link():
        assert (await server.ask(DEVICE_ID, "set_volume", volume=75))["volume"] == 75
        box.volume.percent = 74  # measured: somebody turned it
        assert (await server.ask(DEVICE_ID, "request_status"))["volume"] == 74


async def test_not_supported(server: SpeakerServer, make_link: MakeLink) -> None:
    """Nothing changes."""
    async with make_link():
        answer = await server.ask(DEVICE_ID, "set_wifi", ssid="MyNetwork", password="mypassword")
        assert answer == {
            "status": "not_supported",
            "message": "WiFi config not supported over WebSocket. Use BLE.",
            "device_id": DEVICE_ID,
        }
        answer = await server.ask(DEVICE_ID, "set_ws_url", url="ws://elsewhere.example/ws")
        assert (answer["status"], answer["device_id"]) == ("not_supported", DEVICE_ID)
        assert answer["message"]
        assert server.speakers[DEVICE_ID].connections == 1


async def test_unknown_commands(server: SpeakerServer, make_link: MakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """Refused, the connection stays; said in the log once."""
    async with make_link():
        for _ in range(3):
            answer = await server.ask(DEVICE_ID, "self_destruct", now=True)
            assert list(answer) == ["status", "message", "device_id"]
            assert (answer["status"], answer["message"]) == ("invalid_command", "Unknown command: self_destruct")
        assert server.speakers[DEVICE_ID].connections == 1
    assert sum("self_destruct" in record.getMessage() for record in caplog.records if record.levelname == "WARNING") == 1


async def test_a_burst_is_answered_in_order(server: SpeakerServer, make_link: MakeLink) -> None:
    """20 mixed commands without a pause, 20 answers in their order, and not one more; 10 times."""
    chance = random.Random(4)
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        for _ in range(10):
            since = speaker.mark()
            expected: list[dict[str, Any]] = []
            for number in range(20):
                message, answer = mixed_command(chance, number)
                await server.send(DEVICE_ID, message)
                expected.append(answer)
            answers = await speaker.wait_answers(20, since=since)
            for answer, wanted in zip(answers, expected, strict=True):
                assert answer | wanted == answer
        await asyncio.sleep(0.1)
        assert len(speaker.messages) == 1 + 200


async def test_a_slow_command_keeps_the_order(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """Quick ones wait for it; voice does not."""
    setting, go = box.volume.set, asyncio.Event()

    async def slowly(percent: int) -> None:
        await go.wait()
        await setting(percent)

    box.volume.set = slowly  # type: ignore[method-assign]
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"cmd": "set_volume", "volume": 5})
        await server.send(DEVICE_ID, {"cmd": "nonsense"})
        await server.send(DEVICE_ID, {"cmd": "request_status"})
        await server.send_raw(DEVICE_ID, "SPEAKING")
        await server.send_raw(DEVICE_ID, b"voice")
        await until(lambda: box.voice.heard == [b"voice"])
        assert not speaker.answers()
        go.set()
        answers = await speaker.wait_answers(3)
        assert [answer["status"] for answer in answers] == ["ok", "invalid_command", "ok"]
        assert answers[2]["volume"] == 5


async def test_a_command_outlives_its_connection(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """It was received: it is carried out, and the next connection gets only answers of its own."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        for percent in range(50):
            await server.send(DEVICE_ID, {"cmd": "set_volume", "volume": percent})
        await server.close(DEVICE_ID, 1000)
        await server.wait_for(lambda: speaker.connections == 2)
        since = speaker.mark()
        status = await server.ask(DEVICE_ID, "request_status")
        assert status["volume"] == 49
        assert speaker.answers(since) == [status]


async def test_failures_are_answers(
    server: SpeakerServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk and a fault of ours: `error`, once, and the link goes on."""

    async def full(_: object) -> None:
        raise StateError("state cannot be written: disk is full")

    async def broken(_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    box.volume.set = full  # type: ignore[method-assign,assignment]
    box.brightness.set = broken  # type: ignore[method-assign,assignment]
    async with make_link():
        answer = await server.ask(DEVICE_ID, "set_volume", volume=5)
        assert answer["status"] == "error"
        assert "disk is full" in answer["message"]
        assert "in force until the next start" in answer["message"]
        answer = await server.ask(DEVICE_ID, "set_brightness", brightness=5)
        assert (answer["status"], answer["device_id"]) == ("error", DEVICE_ID)
        assert (await server.ask(DEVICE_ID, "request_status"))["status"] == "ok"
    assert "a fault of ours" in caplog.text


# reboot


async def test_reboot(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """Answered first; half a second later the machine is asked, once for all requests until then."""
    async with make_link(reboot_s=0.5):
        speaker = await server.connected(DEVICE_ID)
        answer = await server.ask(DEVICE_ID, "reboot")
        answered = asyncio.get_running_loop().time()
        assert list(answer.items()) == [("status", "ok"), ("message", "Rebooting..."), ("device_id", DEVICE_ID)]
        assert not box.reboot.requests
        assert await server.ask(DEVICE_ID, "reboot") == answer
        assert (await server.ask(DEVICE_ID, "request_status"))["status"] == "ok"
        await until(lambda: box.reboot.requests)
        assert 0.4 < box.reboot.requests[0] - answered < 0.9
        await asyncio.sleep(0.6)
        assert len(box.reboot.requests) == 1
        assert len(speaker.answers()) == 3


async def test_many_reboots_ask_the_platform_once(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """A logind that hangs holds up the first answer, not what comes behind several reboots."""

    async def hangs() -> str:
        box.reboot.asked += 1
        await asyncio.sleep(0.3)
        return ""

    box.reboot.refusal = hangs  # type: ignore[method-assign]
    async with make_link(reboot_s=0.05):
        speaker = await server.connected(DEVICE_ID)
        since = speaker.mark()
        for _ in range(5):
            await server.send(DEVICE_ID, {"cmd": "reboot"})
        await server.send(DEVICE_ID, {"cmd": "request_status"})
        answers = await speaker.wait_answers(6, since=since)
        assert [answer["status"] for answer in answers] == ["ok"] * 6
        assert box.reboot.asked == 1


async def test_reboot_outlives_the_connection(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """A server that hangs up after the answer."""
    async with make_link(reboot_s=0.1):
        await server.ask(DEVICE_ID, "reboot")
        await server.hub.stop()
        await until(lambda: box.reboot.requests)


async def test_reboot_refused_beforehand(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """What the platform says is the answer; nothing is tried."""
    box.reboot.refuses = "no reboot command is configured"
    async with make_link(reboot_s=0.02):
        answer = await server.ask(DEVICE_ID, "reboot")
        assert list(answer.items()) == [
            ("status", "error"), ("message", "no reboot command is configured"), ("device_id", DEVICE_ID)
        ]  # fmt: skip
        await asyncio.sleep(0.1)
        assert not box.reboot.requests
        assert server.speakers[DEVICE_ID].live == 1


async def test_reboot_refused_when_tried(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """`error` with the reason follows; the connection stays, and the next request is tried again."""
    box.reboot.fails = "Interactive authentication required"
    async with make_link(reboot_s=0.02):
        for number in (1, 2):
            speaker = await server.connected(DEVICE_ID)
            since = speaker.mark()
            await server.send(DEVICE_ID, {"cmd": "reboot"})
            first, second = await speaker.wait_answers(2, since=since)
            assert first["status"] == "ok"
            assert second["status"] == "error"
            assert "Interactive authentication required" in second["message"]
            assert len(box.reboot.requests) == number
        assert speaker.connections == 1


async def ask_raw(server: SpeakerServer, text: str) -> dict[str, Any]:
    """The answer to a command that JSON libraries would not write so."""
    speaker = await server.connected(DEVICE_ID)
    since = speaker.mark()
    await server.send_raw(DEVICE_ID, text)
    [answer] = await speaker.wait_answers(1, since=since)
    return answer


def mixed_command(chance: random.Random, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A command, and what its answer must hold."""
    percent = chance.randrange(101)
    choices: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"cmd": "request_status"}, {"status": "ok", "connectivity_state": "ONLINE"}),
        ({"cmd": "set_volume", "volume": percent}, {"status": "ok", "volume": percent}),
        ({"cmd": "set_volume", "volume": "loud"}, {"status": "invalid_param"}),
        ({"cmd": "set_brightness", "brightness": percent}, {"status": "ok", "brightness": percent}),
        ({"cmd": "set_brightness"}, {"status": "invalid_param"}),
        ({"cmd": "set_device_name", "device_name": f"Box {number}"}, {"status": "ok", "device_name": f"Box {number}"}),
        ({"cmd": "set_wifi", "ssid": "a", "password": "b"}, {"status": "not_supported"}),
        ({"cmd": "set_ws_url", "url": "ws://x"}, {"status": "not_supported"}),
        ({"cmd": "request_ota", "size": 0, "version": "1.0.2"}, {"status": "error"}),
        ({"cmd": f"unknown-{number}"}, {"status": "invalid_command", "message": f"Unknown command: unknown-{number}"}),
    ]
    return chance.choice(choices)


def test_the_bad_values_are_what_json_allows() -> None:
    """They are sent as they stand here."""
    assert [json.loads(text) for text in BAD_PERCENTS][:4] == [150, -5, 256, 300]
