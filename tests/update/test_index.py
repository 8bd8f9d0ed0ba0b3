"""The list of bundles, and what a box takes from it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.update.index import Offer, OfferError, choose, index_url, is_newer, parse_index
from agent.update.release import Machine

PI = Machine("aarch64", "3.11", camera=False)
PI_WITH_CAMERA = Machine("aarch64", "3.11", camera=True)
ENTRY = {
    "version": "1.2.0",
    "architecture": "aarch64",
    "python": "3.11",
    "camera": False,
    "file": "a-1.2.0.bundle",
    "size": 1000,
    "sha256": "ab" * 32,
}


def offers(*changes: dict[str, Any]) -> list[Offer]:
    return parse_index(json.dumps({"format": 1, "bundles": [{**ENTRY, **change} for change in changes]}).encode())


def test_the_newest_that_fits() -> None:
    """By version, not by text or place; never one for another machine or Python."""
    listed = offers(
        {"version": "1.9.0"},
        {"version": "1.10.0"},
        {"version": "1.2.0", "architecture": "any"},
        {"version": "3.0.0", "architecture": "x86_64"},
        {"version": "2.0.0", "python": "3.13"},
    )
    chosen = choose(listed, PI)
    assert chosen is not None
    assert chosen.version == "1.10.0"
    assert choose(offers({"python": "3.13"}), PI) is None


def test_just_that_version() -> None:
    """A version that is asked for and not there is not replaced by another."""
    listed = offers({"version": "1.0"}, {"version": "2.0"})
    chosen = choose(listed, PI, "1.0.0")
    assert chosen is not None
    assert chosen.version == "1.0"
    assert choose(listed, PI, "1.5") is None
    assert choose(listed, PI, "no version") is None


def test_the_camera() -> None:
    """A box with a camera never takes a bundle without its packages; one without takes the smaller one if there are both."""
    both = offers({"file": "plain"}, {"file": "camera", "camera": True})
    for listed in (both, both[::-1]):
        plain, camera = choose(listed, PI), choose(listed, PI_WITH_CAMERA)
        assert plain is not None
        assert camera is not None
        assert (plain.file, camera.file) == ("plain", "camera")
    assert choose(offers({"camera": False}), PI_WITH_CAMERA) is None
    assert choose(offers({"camera": True}), PI) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"file": "http://elsewhere/x.bundle"},
        {"file": "//elsewhere/x.bundle"},
        {"file": "a/../b"},
        {"file": "a b"},
        {"file": "x" * 501},
        {"size": 0},
        {"size": True},
        {"size": 10**12},
        {"size": "1000"},
        {"sha256": "AB" * 32},
        {"sha256": None},
        {"version": "latest"},
        {"version": 1},
        {"camera": "no"},
    ],
)
def test_entries_that_make_no_sense_are_left_out(change: dict[str, Any]) -> None:
    """One of them does not spoil the others."""
    assert [offer.version for offer in offers(change, {"version": "1.1"})] == ["1.1"]


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"\xff", b'{"format":2,"bundles":[]}', b'{"format":1,"bundles":{}}', b"[" * 100_000]
)
def test_what_is_no_list(text: bytes) -> None:
    """One sentence."""
    with pytest.raises(OfferError, match="list of updates"):
        parse_index(text)


def test_addresses() -> None:
    """The list is where the configuration says, index.json if that is a folder; bundles are beside it."""
    assert index_url("https://host/updates/") == "https://host/updates/index.json"
    assert index_url("https://host/updates/pi.json") == "https://host/updates/pi.json"
    (offer,) = offers({"file": "1.2/a.bundle"})
    assert offer.url("https://host/updates/index.json?x=1") == "https://host/updates/1.2/a.bundle"


def test_newer() -> None:
    """The running version and older ones are not; a version that nobody understands is newer than nothing."""
    assert is_newer("1.10", "1.9")
    assert not is_newer("1.9", "1.9.0")
    assert not is_newer("1.0", "1.9")
    assert not is_newer("new", "1.9")
