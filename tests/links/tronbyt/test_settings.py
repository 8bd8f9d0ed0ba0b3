"""From the configuration to a link."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, cast

import pytest

from agent.device import Device
from agent.links.registry import make_link
from agent.links.tronbyt.address import device_key
from agent.links.tronbyt.link import TronbytLink
from agent.settings import SettingsError, TronbytLink as Settings, load_settings
from tests.links.tronbyt.standins import StandInBox


@pytest.fixture
def box(tmp_path: Path) -> StandInBox:
    """Without its state: nothing runs here."""
    return StandInBox(tmp_path)


def made(box: StandInBox, **keys: Any) -> TronbytLink:
    """The link of a [[links]] table with these keys."""
    table = {"kind": "tronbyt", "name": "pix", "screen": "front", "url": "wss://pix.example/0a1b2c3d/ws", **keys}
    link = make_link(Settings(**table), cast("Device", box))
    assert isinstance(link, TronbytLink)
    return link


async def test_defaults(box: StandInBox) -> None:
    """A socket, TLS verified, no key, nothing allowed, the picture kept for ever, priority 20."""
    link = made(box)
    assert (link.name, link.kind, link._mode, link._hold_s, link._offline_mark) == ("pix", "tronbyt", "socket", 0.0, False)
    assert (link._orders._setting, link._orders._allow_reboot) == ("auto", False)
    assert (link._rotation._program.name, link._rotation._program.priority) == ("pix", 20)
    assert link._rotation._files._folder == box.runtime_dir / "feed" / "pix"
    address = await link.address()
    assert (address.url, address.headers) == ("wss://pix.example/0a1b2c3d/ws", {})
    assert link._tls is not None


async def test_every_key(box: StandInBox) -> None:
    """What is configured counts."""
    link = made(
        box, url="http://10.0.0.1:8000/x/ws?key=1", key="abcd1234", mode="poll", brightness_scale="byte", allow_reboot=True,
        offline_mark=True, hold_s=30, priority=33, screen="rear",
    )  # fmt: skip
    assert (link._mode, link._hold_s, link._offline_mark) == ("poll", 30.0, True)
    assert (link._orders._setting, link._orders._allow_reboot) == ("byte", True)
    assert link._rotation._program.priority == 33
    assert link._rotation._screen is box.rear
    address = await link.address()
    assert (address.url, dict(address.headers)) == ("ws://10.0.0.1:8000/x/ws?key=1", {"Authorization": "Bearer abcd1234"})
    assert link._tls is None


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("wss://pix.example/a/ws?key=1", "https://PIX.example:443/a/next?key=2", True),
        ("ws://pix.example/a/ws", "http://pix.example:80/a", True),
        ("ws://pix.example/a/ws", "ws://pix.example/b/ws", False),
        ("ws://pix.example/a/ws", "wss://pix.example/a/ws", False),
    ],
)
def test_two_links_for_one_device(tmp_path: Path, first: str, second: str, *, same: bool) -> None:
    """Are a fault, whatever form the address has: they would drop each other."""
    link = '[[links]]\nkind = "tronbyt"\nname = "{}"\nurl = "{}"\n'
    (tmp_path / "agent.toml").write_text(link.format("one", first) + link.format("two", second))
    assert (device_key(first) == device_key(second)) == same
    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(pytest.raises(SettingsError)) if same else None
        load_settings(tmp_path / "agent.toml", environ={})
    if caught is not None:
        fault = "links.two.url: link 'one' is the same device of the same server; give each its own id"
        assert caught.value.faults == [f"{tmp_path}/agent.toml:8: {fault}"]


def test_a_brace_in_the_address() -> None:
    """Is the documentation's placeholder, left where the id should be."""
    with pytest.raises(ValueError, match="put the device's own id"):
        Settings(kind="tronbyt", name="pix", screen="front", url="wss://host/{device_id}/ws")
