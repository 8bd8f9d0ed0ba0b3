"""Settings of the real agent: shared by its links, on disk before the answer, kept over a kill; restart; secrets."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.conftest import rounds
from tests.end_to_end_speaker.lab import DEADLINE_S, DEVICE_ID, open_lab

PASSWORD = "correct-horse-battery"


async def test_settings_belong_to_the_device(tmp_path: Path) -> None:
    """What the speaker server sets shows in the signage link's registration and in `status`, and the other way round."""
    battery = tmp_path / "box/sys/class/power_supply/BAT0"
    battery.mkdir(parents=True)
    (battery / "type").write_text("Battery\n")
    (battery / "capacity").write_text("37\n")
    async with open_lab(tmp_path / "box", level="debug") as lab:
        speaker = await lab.connected()
        handshake = speaker.handshakes[0]
        assert (handshake["battery_percent"], handshake["device_name"]) == (37, "BOX-1")
        assert (await lab.ask("set_volume", volume=41))["volume"] == 41
        assert (await lab.ask("set_brightness", brightness=63))["brightness"] == 63
        assert (await lab.ask("set_device_name", device_name="Küche 🔊"))["status"] == "ok"
        status = await lab.agent.status()
        assert (status["volume"]["percent"], status["brightness"]["percent"]) == (41, 63)
        assert status["device"]["name"] == "Küche 🔊"
        device = lab.signage.device(lab.agent.serial)
        lab.signage.auto_register = False
        await lab.signage.command("forget_devices", {})  # an unknown device registers again
        await lab.signage.send(lab.agent.serial, {"action": "reload_playlist"})
        await lab.signage.wait_for(
            lambda: device.registered and (device.registered[-1]["volume"], device.registered[-1]["brightness"]) == (41, 63),
            DEADLINE_S,
            what=lambda: f"registration with 41 and 63: {device.registered[-1:]}",
        )
        await lab.signage.send(lab.agent.serial, {"action": "set_volume", "volume": 17})
        await lab.signage.send(lab.agent.serial, {"action": "set_brightness", "brightness": 88})
        await lab.agent.until(lambda status: (status["volume"]["percent"], status["brightness"]["percent"]) == (17, 88))
        answer = await lab.ask("request_status")
        assert (answer["volume"], answer["brightness"], answer["device_name"]) == (17, 88, "Küche 🔊")
        assert answer["battery_percent"] == 37

        refused = await lab.ask("set_wifi", ssid="Home", password=PASSWORD)
        assert refused["status"] == "not_supported"
        await lab.server.send_raw(DEVICE_ID, f'{{"cmd": "set_wifi", "password": "{PASSWORD}"')
        await lab.ask("request_status")
        assert "set_wifi" in lab.agent.log
        assert PASSWORD not in lab.agent.log


async def test_kill_right_after_the_answer(tmp_path: Path) -> None:
    """However often the power is cut the moment an answer is there: what was answered holds after the restart."""
    chance = random.Random(1)
    wanted = {"volume": 0, "brightness": 0, "device_name": ""}
    async with open_lab(tmp_path, start=False) as lab:
        for number in range(rounds(50) + 1):
            connections = lab.speaker.connections
            await lab.agent.start(wait=False)
            await lab.server.wait_for(lambda n=connections: lab.speaker.connections > n, DEADLINE_S)  # type: ignore[misc]
            if number:
                status = await lab.ask("request_status")
                assert {key: status[key] for key in wanted} == wanted, f"after restart {number}: {lab.agent.log[-2000:]}"
                assert lab.speaker.handshakes[-1]["device_name"] == wanted["device_name"]
            wanted = {"volume": chance.randrange(101), "brightness": chance.randrange(101), "device_name": f"Box {number}"}
            since = lab.speaker.mark()
            for key in chance.sample(sorted(wanted), 3):
                await lab.server.send(DEVICE_ID, {"cmd": f"set_{key}", key: wanted[key]})
            answers = await lab.speaker.wait_answers(3, since=since)
            await lab.agent.kill()
            assert [answer["status"] for answer in answers] == ["ok"] * 3


async def test_restart(tmp_path: Path) -> None:
    """The command runs after the answer, once; where it fails the server hears why, and the connection stays."""
    stamp = tmp_path / "restarted"
    async with open_lab(tmp_path / "a", reboot=f'["sh", "-c", "echo x >> {stamp}"]') as lab:
        answer = await lab.ask("reboot")
        assert (answer["status"], answer["message"]) == ("ok", "Rebooting...")
        assert not stamp.exists()
        await lab.ask("reboot")
        async with asyncio.timeout(DEADLINE_S):
            while not stamp.exists():
                await asyncio.sleep(0.02)
        assert (await lab.ask("request_status"))["status"] == "ok"
        assert stamp.read_text() == "x\n"
        lab.agent.configure(
            [{"kind": "speaker", "url": lab.server.url, "device_id": DEVICE_ID, "spread_s": 0.1}],
            '[screens.front]\noutput = "null"\n[hardware]\nreboot_command = ["sh", "-c", "echo not today; exit 1"]',
        )
        connections = lab.speaker.connections
        lab.agent.hang_up()
        await lab.server.wait_for(lambda: lab.speaker.connections > connections, DEADLINE_S)
        since = lab.speaker.mark()
        await lab.server.send(DEVICE_ID, {"cmd": "reboot"})
        answers = await lab.speaker.wait_answers(2, since=since)
        assert [answer["status"] for answer in answers] == ["ok", "error"]
        assert "not today" in answers[1]["message"]
        assert (await lab.ask("request_status"))["status"] == "ok"
        assert lab.speaker.connections == connections + 1
