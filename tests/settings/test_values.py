"""The parsers of single values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.settings import values


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("8GB", 8_000_000_000),
        ("500MB", 500_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("64k", 64_000),
        ("100", 100),
        ("100B", 100),
        ("2tb", 2_000_000_000_000),
        (12345, 12345),
    ],
)
def test_size(text: Any, size_bytes: int) -> None:
    """Sizes are decimal unless they say iB."""
    assert values.parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("parse", "good"),
    [
        (values.parse_output, ["auto", "x11", "wayland", "null", "drm:HDMI-A-1", "drm:DP-2", "drm:DSI-1"]),
        (values.parse_mode, ["auto", "1920x1080", "1920x1080@60", "3840x2160@59.94"]),
        (values.parse_window, ["", "1280x720"]),
        (values.parse_camera_source, ["auto", "picamera2", "test", "none", "v4l2:/dev/video0", "v4l2:/dev/v4l/by-id/usb-Cam_1"]),
        (values.parse_quiet_hours, ["", "08:00-22:00", "22:30-06:00"]),
        (values.parse_host_port, ["10.0.0.5:8000", "films.lan:80", "[fe80::1]:8000"]),
        (values.parse_url, ["https://a", "http://a:8000/x?key=1", "wss://a/ws", "ws://[::1]:80/ws", "HTTPS://signage.example"]),
        (values.parse_name, ["main", "lobby-2", "A.b_c"]),
        (values.parse_optional_web_address, ["", "https://updates.example/stable"]),
    ],
)
def test_good_values_come_through_as_they_are(parse: Callable[[str], str], good: list[str]) -> None:
    """What is right is not changed."""
    for text in good:
        assert parse(text) == text


@pytest.mark.parametrize(
    ("parse", "bad"),
    [
        (values.parse_size, ["", "8 GO", "-1GB", "GB", "1e9", -1, 1.5, True, None, [1]]),
        (values.parse_output, ["", "hdmi", "drm:", "drm:HDMI", "drm:../x-1", "X11"]),
        (values.parse_mode, ["", "1080p", "1920x", "0x0", "1920x1080@", "1920x1080@0", "1920*1080"]),
        (values.parse_window, ["full", "1280", "1280x", "1280x0"]),
        (values.parse_camera_source, ["", "v4l2", "v4l2:video0", "v4l2:/etc/passwd", "usb"]),
        (values.parse_quiet_hours, ["8-22", "08:00-24:00", "08:00", "08:00-08:00", "25:00-08:00"]),
        (values.parse_host_port, ["", "host", "host:", "host:0x", ":80", "host:99999", "a@b:80", "a/b:80", "a:80/x", "a b:80"]),
        (
            values.parse_url,
            ["", "signage.example", "ftp://a", "https://", "https://:80", "https://u:p@a", "https://a b", "https://a:x"],
        ),
        (values.parse_url, ["https://a:99999", "https://a:0", "https://[::1", "file:///etc/passwd", "https://a\n"]),
        (values.parse_name, ["", "-a", ".a", "a b", "a/b", "ä", "a" * 65]),
        (values.parse_trusted_key, ["", "ed25519:", "ed25519:...", "rsa:AAAA", "ed25519:QUJD"]),
        (values.parse_seconds_or_off, ["on", "", True, 0, 0.5, 90_000, None, float("nan"), float("inf"), [1]]),
        (values.parse_side, ["top", 1, {}, {"top": "front"}, {"front": 1}, {"front": "a", "back": "a"}]),
        (values.parse_path, ["", 1, None, "a\0b"]),
        (values.parse_socket, ["/" + "x" * 200]),
        (values.parse_optional_web_address, ["wss://a", "file:///x"]),
    ],
)
def test_bad_values_are_refused_with_a_sentence(parse: Callable[[Any], Any], bad: list[Any]) -> None:
    """Nothing but ValueError comes out, and its text is never empty."""
    for value in bad:
        with pytest.raises(ValueError, match=r"\w+ \w+"):
            parse(value)


def test_an_address_is_never_repeated() -> None:
    """An address may hold a password, so the sentence leaves it out."""
    with pytest.raises(ValueError, match="user name or password") as caught:
        values.parse_url("https://user:hush@signage.example")
    assert "hush" not in str(caught.value)


def test_side_table() -> None:
    """A table gives each side a screen of its own."""
    assert values.parse_side({"front": "front", "back": "rear"}) == {"front": "front", "back": "rear"}
    assert values.parse_side("left") == "left"


def test_seconds_or_off() -> None:
    """Numbers may come as text, from the environment."""
    assert [values.parse_seconds_or_off(value) for value in ("off", 30, "45", 2.5)] == ["off", 30.0, 45.0, 2.5]


def test_paths() -> None:
    """`~` is the home directory; an empty optional path is none."""
    assert values.parse_path("~/x") == Path.home() / "x"
    assert values.parse_optional_path("") is None
    assert values.parse_optional_path("/a") == Path("/a")


def test_trusted_key() -> None:
    """32 bytes in base64."""
    key = "ed25519:" + "A" * 43 + "="
    assert values.parse_trusted_key(key) == key
