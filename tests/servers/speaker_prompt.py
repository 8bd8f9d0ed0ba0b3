"""Commands for speakers at the mock server's prompt: those of the source document's command line, and some more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.servers.core import Hub
from tests.servers.speaker import SpeakerServer
from tests.servers.voices import RATE, SAMPLES, read_wav

HELP = """\
speaker status               request_status, to all connected speakers
speaker vol N | bright N | name TEXT | reboot
speaker wifi SSID PASSWORD | wsurl URL         refused by every device
speaker announce [FILE.wav | chime | tone]
speaker ota 1 | 2 | 3 [FILE] sends a bundle, or an image of no use, in this form, whatever is answered
speaker say TEXT | send JSON | garbage | halfopen | drop
speaker list                 who is there"""


async def run_line(hub: Hub, line: str) -> str:
    """Carries out one line for every connected speaker; what there is to say. Raises ValueError, TypeError, ConnectionError."""
    service = hub.services.get(SpeakerServer.kind)
    if not isinstance(service, SpeakerServer):
        raise ValueError("no speaker server runs here")  # noqa: TRY004 - for whoever typed it
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if word in ("", "help"):
        return HELP
    if word == "list":
        return _listed(service)
    targets = [speaker.device_id for speaker in service.speakers.values() if speaker.live]
    if not targets:
        raise ValueError("no speaker is connected")
    if word == "announce":
        sound = SAMPLES[rest or "chime"][1]() if (rest or "chime") in SAMPLES else read_wav(await _bytes(rest))
        for device_id in targets:
            service.start_announcement(device_id, sound, rest or "chime")
        return f"{len(sound) / RATE:.1f} s"
    answers = []
    for device_id in targets:
        if word == "ota":
            await _offer(service, device_id, rest)
        elif word == "say":
            await service.send_raw(device_id, rest)
        elif word == "garbage":
            await service.send_garbage(device_id)
        elif word == "halfopen":
            service.mute(device_id)
        elif word == "drop":
            service.drop(device_id)
        else:
            answer = await _ask(service, device_id, _message(word, rest))
            answers.append(json.dumps(answer, ensure_ascii=False))
    return "\n".join(answers) or "done"


async def _offer(service: SpeakerServer, device_id: str, rest: str) -> None:
    """An image, in a form that is 1 when it is not said."""
    form, _, path = rest.partition(" ")
    if path.strip():
        service.start_offer(device_id, int(form), await _bytes(path.strip()), name=Path(path.strip()).name)
    else:
        service.start_offer(device_id, int(form or 1))


def _message(word: str, rest: str) -> dict[str, Any]:
    """The command a line stands for."""
    if word == "vol":
        return {"cmd": "set_volume", "volume": json.loads(rest)}
    if word == "bright":
        return {"cmd": "set_brightness", "brightness": json.loads(rest)}
    if word == "name":
        return {"cmd": "set_device_name", "device_name": rest}
    if word in ("status", "reboot"):
        return {"cmd": "request_status" if word == "status" else "reboot"}
    if word == "wifi":
        ssid, _, password = rest.partition(" ")
        return {"cmd": "set_wifi", "ssid": ssid, "password": password}
    if word == "wsurl":
        return {"cmd": "set_ws_url", "url": rest}
    if word == "send":
        message = json.loads(rest)
        if not isinstance(message, dict):
            raise ValueError("a message is an object")
        return message
    raise ValueError(f"no such command: speaker {word}; try speaker help")


async def _ask(service: SpeakerServer, device_id: str, message: dict[str, Any]) -> dict[str, Any]:
    speaker = service.speaker(device_id)
    since = speaker.mark()
    await service.send(device_id, message)
    try:
        [answer] = await speaker.wait_answers(1, since=since, timeout_s=5.0)
    except TimeoutError:
        raise ValueError("no answer within 5 s") from None
    return answer


async def _bytes(path: str) -> bytes:
    try:
        return await asyncio.to_thread(Path(path).expanduser().read_bytes)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None


def _listed(service: SpeakerServer) -> str:
    lines = []
    for speaker in service.speakers.values():
        state = "connected" if speaker.live else "offline"
        lines.append(f"{speaker.device_id}: {state}, {speaker.status}, {len(speaker.recordings)} recordings")
    return "\n".join(lines) or "none yet"
