"""From the configuration to a link."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from agent.device import Device
from agent.links.registry import make_link
from agent.links.tronbyt.link import TronbytLink
from agent.settings import TronbytLink as Settings
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


def test_a_brace_in_the_address() -> None:
    """Is the documentation's placeholder, left where the id should be."""
    with pytest.raises(ValueError, match="put the device's own id"):
        Settings(kind="tronbyt", name="pix", screen="front", url="wss://host/{device_id}/ws")
