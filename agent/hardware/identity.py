"""Who this box is: serial, addresses, model, operating system. The same answer after every boot."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from agent.hardware.side import SideThread
from agent.system.state import State, StateError

log = logging.getLogger(__name__)

MAC_KEY = "identity.mac"
MADE_UP_MAC_KEY = "identity.made_up_mac"
SERIAL_KEY = "identity.serial"
READ_S = 5.0
PLACEHOLDERS = frozenset(
    {
        "", "none", "null", "n/a", "na", "default", "default string", "unknown", "oem", "o.e.m.", "invalid",
        "not specified", "not available", "not applicable", "no asset information", "to be filled by o.e.m.",
        "to be filled by oem", "system serial number", "system product name", "system manufacturer", "serial number",
        "chassis serial number", "base board serial number", "123456789", "0123456789", "1234567890", "xxxxxxxxxx",
    }
)  # fmt: skip
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_VIRTUAL = re.compile(r"(lo|docker|veth|br-|virbr|vnet|tun|tap|wg|ifb|dummy|bond|sit|gre|zt|tailscale|lxc|cni|flannel|podman)")


@dataclass(frozen=True, slots=True)
class Identity:
    """`device_id`: the primary interface's MAC as 12 upper-case hex digits; `mac`: the same with colons."""

    serial: str
    device_id: str
    mac: str
    brand: str
    model: str
    manufacturer: str
    os_version: str


async def identify(state: State, *, serial: str = "", sysfs: Path = Path("/sys"), root: Path = Path("/")) -> Identity:
    """Reads who this box is; a configured `serial` wins. What was found first is kept, so that it stays when hardware changes.

    `root` is where /etc and /proc are read.
    """
    thread = SideThread("identity")
    try:
        mac, board_serial, board, os_version = await thread.call(
            lambda: (primary_mac(sysfs), read_serial(sysfs), read_board(sysfs), read_os(root)), READ_S
        )
    except TimeoutError:
        log.warning("hardware identity cannot be read deadline_s=%g", READ_S)
        mac, board_serial, board, os_version = "", "", Board(), platform.release()
    finally:
        thread.close()
    mac = await _kept_mac(state, mac, board_serial)
    if not serial:
        serial = board_serial or await _generated_serial(state, mac)
    return Identity(
        serial=serial,
        device_id=mac.replace(":", "").upper(),
        mac=mac,
        brand=board.brand,
        model=board.model,
        manufacturer=board.manufacturer,
        os_version=os_version,
    )


async def ip_address(host: str, port: int, deadline_s: float = 5.0) -> str | None:
    """The address of this box from which `host` is reached; None without a route. Sends nothing to it but a name lookup."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(deadline_s):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        for family, kind, protocol, _, address in found:
            with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.setblocking(False)
                probe.connect(address)  # UDP: only the route is chosen
                return str(probe.getsockname()[0])
    return None


@dataclass(frozen=True, slots=True)
class Board:
    """What the board calls itself."""

    brand: str = "Generic"
    model: str = "Linux device"
    manufacturer: str = "Unknown"


def read_board(sysfs: Path) -> Board:
    """From the device tree (a Raspberry Pi and its like), else from DMI (PCs). Blocks."""
    model = _text(sysfs / "firmware/devicetree/base/model")
    if model:
        if model.startswith("Raspberry Pi"):
            return Board("Raspberry Pi", model, "Raspberry Pi Ltd")
        vendor = _text(sysfs / "firmware/devicetree/base/compatible").split(",")[0] or model.split()[0]
        return Board(vendor.capitalize(), model, vendor.capitalize())
    dmi = sysfs / "class/dmi/id"
    vendor = _real(_text(dmi / "sys_vendor")) or _real(_text(dmi / "board_vendor"))
    product = _real(_text(dmi / "product_name")) or _real(_text(dmi / "board_name"))
    nothing = Board()
    return Board(vendor or nothing.brand, product or nothing.model, vendor or nothing.manufacturer)


def read_serial(sysfs: Path) -> str:
    """The board's serial number; empty if it has none but a placeholder, or only root may read it. Blocks."""
    for path in ("firmware/devicetree/base/serial-number", "class/dmi/id/product_serial", "class/dmi/id/board_serial"):
        serial = _real(_text(sysfs / path))
        if serial and all(character.isprintable() for character in serial) and len(serial) <= 64:
            return serial
    return ""


def read_os(root: Path) -> str:
    """The operating system's name and version, such as `Debian GNU/Linux 12 (bookworm)`. Blocks."""
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        for line in _text(path).splitlines():
            key, _, value = line.partition("=")
            if key == "PRETTY_NAME" and value.strip("\"' "):
                return value.strip("\"' ")
    return f"Linux {platform.release()}"


def primary_mac(sysfs: Path) -> str:
    """The MAC of the interface that identifies the box, lower-case with colons; empty without any. Blocks.

    A built-in Ethernet port before a wireless one before anything else; an address that somebody made up counts last.
    """
    ranked = []
    for path in (sysfs / "class/net").glob("*"):
        address = _text(path / "address").lower()
        if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", address) is None or address in (
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
        ):
            continue
        if _text(path / "type") not in ("", "1") or int(address[:2], 16) & 1:
            continue
        made_up = bool(int(address[:2], 16) & 2)
        ranked.append(((_VIRTUAL.match(path.name) is not None, made_up, _rank(path)), path.name, address))
    return min(ranked)[2] if ranked else ""


def _rank(path: Path) -> int:
    physical = (path / "device").exists()
    if (path / "wireless").exists() or (path / "phy80211").exists() or path.name.startswith("wl"):
        return 2 if physical else 3
    removable = "usb" in str((path / "device").resolve().parent)
    return (1 if removable else 0) if physical else 3


async def _kept_mac(state: State, mac: str, board_serial: str) -> str:
    """The MAC found at the first start, so that another network card does not make another box.

    A memory card that is moved to another board does make one.

    Until an interface is found, a made-up one that stays the same.
    """
    kept = await state.get(MAC_KEY)
    if isinstance(kept, dict) and kept.get("board") == board_serial and _MAC.fullmatch(str(kept.get("mac"))):
        return str(kept["mac"])
    if mac:
        await _keep(state, MAC_KEY, {"mac": mac, "board": board_serial})
        return mac
    made_up = await state.get(MADE_UP_MAC_KEY)
    if not (isinstance(made_up, str) and _MAC.fullmatch(made_up)):
        made_up = (b"\x02" + secrets.token_bytes(5)).hex(":")
        await _keep(state, MADE_UP_MAC_KEY, made_up)
    log.warning("no network interface has an address; a made-up one identifies the box mac=%s", made_up)
    return made_up


async def _generated_serial(state: State, mac: str) -> str:
    """For boards without a serial: made once from the MAC. A card copied to another box does not carry it along."""
    kept = await state.get(SERIAL_KEY)
    if isinstance(kept, dict) and kept.get("mac") == mac and isinstance(kept.get("serial"), str):
        return str(kept["serial"])
    serial = f"SA-{mac.replace(':', '').upper()}"
    await _keep(state, SERIAL_KEY, {"mac": mac, "serial": serial})
    log.info("board has no serial number; one was made serial=%s", serial)
    return serial


async def _keep(state: State, key: str, value: object) -> None:
    """A box whose disk is full plays all the same; what was found holds until it ends."""
    try:
        await state.put(key, value)
    except StateError as error:
        log.warning("identity could not be kept setting=%s error=%s", key, error)


def _real(text: str) -> str:
    """`text` unless it is what manufacturers put where nothing was filled in."""
    compact = re.sub(r"[\s.:-]", "", text)
    if text.lower() in PLACEHOLDERS or len(set(compact.lower())) <= 1:
        return ""
    return text


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").replace("\0", "\n").strip()
    except OSError:
        return ""
