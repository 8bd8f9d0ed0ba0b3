"""The addresses of a device at its server, whatever form the configuration gives (tronbyt contract, sections 1 and 4). Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit


def socket_url(url: str) -> str:
    """The WebSocket's: the address as it is given; http and https mean ws and wss."""
    return _changed(url, "wss", "ws", urlsplit(url).path)


def next_url(url: str) -> str:
    """Where the next image is fetched: beside the WebSocket, /{device_id}/next for /{device_id}/ws."""
    return _changed(url, "https", "http", f"{_device_path(url)}/next")


def device_key(url: str) -> str:
    """The same for every address of the same device."""
    parts = urlsplit(url)
    port = parts.port or (443 if _is_secure(url) else 80)
    return f"{_is_secure(url)} {parts.hostname} {port} {_device_path(url)}"


def host(url: str) -> str:
    """Host and port, without anything secret."""
    return urlsplit(url).netloc


def secrets(url: str) -> list[str]:
    """What of the address must not be logged: the values of its query."""
    return [value for _, value in parse_qsl(urlsplit(url).query) if value]


def _device_path(url: str) -> str:
    path = urlsplit(url).path.rstrip("/")
    return path.removesuffix("/ws").removesuffix("/next")


def _is_secure(url: str) -> bool:
    return urlsplit(url).scheme in ("https", "wss")


def _changed(url: str, secure: str, plain: str, path: str) -> str:
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{secure if _is_secure(url) else plain}://{parts.netloc}{path}{query}"
