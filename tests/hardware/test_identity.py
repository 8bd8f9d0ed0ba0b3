"""Who this box is, from fake trees."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.hardware.identity import Board, identify, ip_address, primary_mac, read_board, read_os, read_serial
from agent.system.state import State, StateError


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


def write(root: Path, **files: str) -> None:
    """Files below `root`; `__` in a name stands for `/`."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def interface(sysfs: Path, name: str, address: str, *, bus: str = "", wireless: bool = False) -> Path:
    """A network interface; with a `bus` it is a real device there."""
    path = sysfs / "class/net" / name
    path.mkdir(parents=True)
    (path / "address").write_text(address + "\n")
    (path / "type").write_text("1\n")
    if bus:
        device = sysfs / "devices" / bus / name
        device.mkdir(parents=True)
        (path / "device").symlink_to(device)
    if wireless:
        (path / "wireless").mkdir()
    return path


def test_the_built_in_port_identifies_the_box(tmp_path: Path) -> None:
    """Ethernet before USB before wireless; loopback, bridges and containers never."""
    interface(tmp_path, "lo", "00:00:00:00:00:00")
    interface(tmp_path, "docker0", "02:42:aa:bb:cc:dd")
    interface(tmp_path, "veth12", "0a:11:22:33:44:55")
    interface(tmp_path, "wlan0", "dc:a6:32:00:00:03", bus="mmc", wireless=True)
    assert primary_mac(tmp_path) == "dc:a6:32:00:00:03"
    interface(tmp_path, "eth1", "dc:a6:32:00:00:02", bus="usb1")
    assert primary_mac(tmp_path) == "dc:a6:32:00:00:02"
    interface(tmp_path, "eth0", "dc:a6:32:00:00:01", bus="platform")
    assert primary_mac(tmp_path) == "dc:a6:32:00:00:01"


def test_a_made_up_address_comes_last(tmp_path: Path) -> None:
    """A locally administered address may be another one after the next boot."""
    interface(tmp_path, "eth0", "02:00:00:00:00:01", bus="platform")
    interface(tmp_path, "wlan0", "dc:a6:32:00:00:03", bus="mmc", wireless=True)
    assert primary_mac(tmp_path) == "dc:a6:32:00:00:03"


def test_no_interface(tmp_path: Path) -> None:
    """No network at all is not a crash; neither is a malformed address."""
    assert primary_mac(tmp_path) == ""
    interface(tmp_path, "eth0", "nonsense")
    interface(tmp_path, "can0", "01:00:5e:00:00:01")
    assert primary_mac(tmp_path) == ""


@pytest.mark.parametrize(
    "placeholder",
    [
        "To be filled by O.E.M.", "to be filled by o.e.m", "Default string", "None", "0000000000000000", "00:00:00:00", " ",
        "Not Specified", "System Serial Number", "xxxxxxxx", "0123456789",
    ],
)  # fmt: skip
def test_placeholders_are_no_serial(tmp_path: Path, placeholder: str) -> None:
    """What manufacturers leave in would make twins of a fleet."""
    if placeholder == "to be filled by o.e.m":
        placeholder = "To Be Filled By O.E.M."
    write(tmp_path, class__dmi__id__product_serial=placeholder + "\n")
    assert read_serial(tmp_path) == ""


def test_the_boards_serial(tmp_path: Path) -> None:
    """A Pi's ends with a NUL; DMI's board serial stands in for a product serial that is none."""
    write(tmp_path, **{"firmware__devicetree__base__serial-number": "100000003d1f2a4b\0"})
    assert read_serial(tmp_path) == "100000003d1f2a4b"
    other = tmp_path / "pc"
    write(other, class__dmi__id__product_serial="Default string\n", class__dmi__id__board_serial="BSS-0123456\n")
    assert read_serial(other) == "BSS-0123456"


def test_model_and_manufacturer(tmp_path: Path) -> None:
    """From the device tree, from DMI, or honest stand-ins: the register call wants strings."""
    pi, rock, pc = tmp_path / "pi", tmp_path / "rock", tmp_path / "pc"
    write(pi, firmware__devicetree__base__model="Raspberry Pi 4 Model B Rev 1.5\0")
    assert read_board(pi) == Board("Raspberry Pi", "Raspberry Pi 4 Model B Rev 1.5", "Raspberry Pi Ltd")
    write(
        rock,
        firmware__devicetree__base__model="Radxa ROCK 5B\0",
        firmware__devicetree__base__compatible="radxa,rock-5b\0rockchip,rk3588\0",
    )
    assert read_board(rock) == Board("Radxa", "Radxa ROCK 5B", "Radxa")
    write(pc, class__dmi__id__sys_vendor="To be filled by O.E.M.\n", class__dmi__id__board_vendor="ASRock\n")
    write(pc, class__dmi__id__product_name="N100DC-ITX\n")
    assert read_board(pc) == Board("ASRock", "N100DC-ITX", "ASRock")
    assert read_board(tmp_path / "nothing") == Board()


def test_the_operating_system(tmp_path: Path) -> None:
    """Its pretty name, else the kernel's version."""
    write(tmp_path, **{"etc__os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'})
    assert read_os(tmp_path) == "Debian GNU/Linux 12 (bookworm)"
    assert read_os(tmp_path / "nothing").startswith("Linux ")


async def test_the_same_after_every_boot(tmp_path: Path, state: State) -> None:
    """Another network card does not make another box; a serial is made once, from the MAC."""
    sysfs = tmp_path / "sys"
    interface(sysfs, "wlan0", "dc:a6:32:00:00:03", bus="mmc", wireless=True)
    first = await identify(state, sysfs=sysfs, root=tmp_path)
    assert (first.device_id, first.mac, first.serial) == ("DCA632000003", "dc:a6:32:00:00:03", "SA-DCA632000003")
    interface(sysfs, "eth0", "dc:a6:32:00:00:01", bus="platform")
    assert await identify(state, sysfs=sysfs, root=tmp_path) == first


async def test_a_card_moved_to_another_board(tmp_path: Path, state: State) -> None:
    """A cloned memory card must not make twins."""
    one, other = tmp_path / "one", tmp_path / "other"
    interface(one, "eth0", "dc:a6:32:00:00:01", bus="platform")
    write(one, **{"firmware__devicetree__base__serial-number": "100000001\0"})
    interface(other, "eth0", "dc:a6:32:00:00:02", bus="platform")
    write(other, **{"firmware__devicetree__base__serial-number": "100000002\0"})
    assert (await identify(state, sysfs=one)).device_id == "DCA632000001"
    moved = await identify(state, sysfs=other)
    assert (moved.device_id, moved.serial) == ("DCA632000002", "100000002")


async def test_without_a_network_card(tmp_path: Path, state: State) -> None:
    """A made-up address that stays, until a real one is found."""
    first = await identify(state, sysfs=tmp_path, root=tmp_path)
    assert len(first.device_id) == 12
    assert await identify(state, sysfs=tmp_path, root=tmp_path) == first
    interface(tmp_path, "eth0", "dc:a6:32:00:00:01", bus="platform")
    assert (await identify(state, sysfs=tmp_path, root=tmp_path)).device_id == "DCA632000001"


async def test_a_configured_serial_wins(tmp_path: Path, state: State) -> None:
    """The configuration's word counts, whatever the board says."""
    write(tmp_path, **{"firmware__devicetree__base__serial-number": "100000001\0"})
    assert (await identify(state, serial="LOBBY-01", sysfs=tmp_path, root=tmp_path)).serial == "LOBBY-01"


async def test_the_address_towards_a_server() -> None:
    """The route's own address, without a packet; None where there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        assert await ip_address("127.0.0.1", listener.getsockname()[1]) == "127.0.0.1"
        with pytest.raises(BlockingIOError):
            listener.recv(1)
    assert await ip_address("no such host.invalid", 80) is None


async def test_a_full_disk(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box that cannot keep who it is still is somebody, and starts."""

    async def refuse(*_arguments: object, **_options: object) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(state, "put", refuse)
    interface(tmp_path, "eth0", "b8:27:eb:00:00:01")
    identity = await identify(state, sysfs=tmp_path, root=tmp_path)
    assert (identity.mac, bool(identity.serial)) == ("b8:27:eb:00:00:01", True)
