"""Addresses of a device, in every form (tronbyt contract, sections 1 and 4)."""

from __future__ import annotations

import pytest

from agent.links.tronbyt.address import device_key, host, next_url, secrets, socket_url


@pytest.mark.parametrize(
    ("url", "socket", "poll"),
    [
        ("wss://host/0a1b2c3d/ws", "wss://host/0a1b2c3d/ws", "https://host/0a1b2c3d/next"),
        ("https://host/0a1b2c3d/ws", "wss://host/0a1b2c3d/ws", "https://host/0a1b2c3d/next"),
        ("http://host:8000/x/ws", "ws://host:8000/x/ws", "http://host:8000/x/next"),
        ("ws://host/any%20id/ws?key=7&a=b%26", "ws://host/any%20id/ws?key=7&a=b%26", "http://host/any%20id/next?key=7&a=b%26"),
        ("ws://[::1]:80/tronbyt/a/ws", "ws://[::1]:80/tronbyt/a/ws", "http://[::1]:80/tronbyt/a/next"),
        ("http://host/a/next?key=7", "ws://host/a/next?key=7", "http://host/a/next?key=7"),
        ("http://host/a/next/", "ws://host/a/next/", "http://host/a/next"),
        ("http://host/a", "ws://host/a", "http://host/a/next"),
        ("WSS://Host/a/ws#part", "wss://Host/a/ws", "https://Host/a/next"),
    ],
)
def test_addresses(url: str, socket: str, poll: str) -> None:
    """The socket's is taken as given; images are polled beside it. http and ws forms are interchangeable."""
    assert (socket_url(url), next_url(url)) == (socket, poll)


def test_the_same_device() -> None:
    """Whatever form its address has; another id or server is another device."""
    same = {device_key(url) for url in ("ws://host/a/ws?key=1", "http://host/a/next", "http://HOST/a")}
    assert len(same) == 1
    assert {device_key(url) for url in ("ws://host/b/ws", "ws://host:81/a/ws", "wss://host/a/ws")}.isdisjoint(same)


def test_the_port_that_is_meant_anyway() -> None:
    """Spelled out it makes no other device."""
    assert device_key("ws://host/a/ws") == device_key("http://host:80/a/next")
    assert device_key("wss://host/a/ws") == device_key("https://host:443/a/next")
    assert device_key("ws://host:443/a/ws") != device_key("wss://host/a/ws")


def test_what_may_be_told() -> None:
    """The host, but no value of the query."""
    assert host("wss://host:81/a/ws?key=7") == "host:81"
    assert secrets("wss://host/a/ws?key=hush%20hush&b=&c=other") == ["hush hush", "other"]
