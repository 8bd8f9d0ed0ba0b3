"""The Tronbyt wire format, as far as a server needs it: what devices may say, and images cut into several frames."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.servers.exchange import no_number
from tests.servers.tronbyt_devices import Peer

UNSUPPORTED_DATA = 1003
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
BINARY, CONTINUATION, LAST = 0x2, 0x0, 0x80


async def send_image(peer: Peer, image: bytes, frames: int) -> None:
    """The image in one frame, or in so many, of which all but the first are continuations. Raises ConnectionError."""
    transport = peer.request.transport
    if frames == 1 or transport is None:
        await peer.socket.send_bytes(image)
        return
    each = max(1, -(-len(image) // frames))
    parts = [image[at : at + each] for at in range(0, len(image), each)]
    parts += [b""] * (frames - len(parts))
    for number, part in enumerate(parts):
        if peer.socket.closed or transport.is_closing():
            raise ConnectionResetError("the device is gone")
        first = (CONTINUATION if number else BINARY) | (LAST if number == len(parts) - 1 else 0)
        transport.write(bytes([first]) + _length(len(part)) + part)
        await asyncio.sleep(0)  # pings and pongs may come between


def fault_of(data: Any) -> str:
    """What makes real servers close the connection: anything that is not of the type they expect; else ''."""
    if not isinstance(data, dict) or not data:
        return "not an object with something in it"
    if data.get("status") == "displaying" and "counter" not in data:
        return "no counter"
    for key, kind in (("queued", int), ("displaying", int), ("counter", int), ("status", str), ("client_info", dict)):
        if key in data and (not isinstance(data[key], kind) or isinstance(data[key], bool)):
            return f"{key} is of the wrong type"
    info = data.get("client_info", {})
    for key, kind in (("firmware_version", str), ("firmware_type", str), ("protocol_version", int), ("mac", str)):
        if key in info and (not isinstance(info[key], kind) or isinstance(info[key], bool)):
            return f"{key} is of the wrong type"
    return ""


def parsed(text: str) -> Any:
    """What the text is as JSON; None for what is none."""
    try:
        return json.loads(text, parse_constant=no_number)
    except (ValueError, RecursionError):
        return None


def content_type(image: bytes) -> str:
    """By its first bytes."""
    kinds = {b"RIFF": "image/webp", b"\x89PNG": "image/png", b"GIF8": "image/gif", b"\xff\xd8\xff": "image/jpeg"}
    return next((kind for start, kind in kinds.items() if image.startswith(start)), "application/octet-stream")


def _length(size: int) -> bytes:
    """The length of an unmasked WebSocket frame, as in its header."""
    if size < 126:
        return bytes([size])
    return bytes([126]) + size.to_bytes(2, "big") if size < 65536 else bytes([127]) + size.to_bytes(8, "big")
