"""Talking to a running agent over its control socket.

http.client rather than aiohttp: a command such as `status` should be done before aiohttp would have been imported.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO
from urllib.parse import urlencode

_CHUNK_BYTES = 256 * 1024
_ANSWER_TIMEOUT_S = 10.0
_PICTURE_TIMEOUT_S = 30.0
_STORE_TIMEOUT_S = 300.0
_INSTALL_TIMEOUT_S = 60.0
"""Between two words of an agent that takes an update in."""
_BY_HAND = {"X-By-Hand": "yes"}


class NoAgentError(Exception):
    """Nobody answers at the socket."""


class RefusedError(Exception):
    """The agent, or the operating system, does not do it; the text says why."""


class ControlClient:
    """One agent. Every method is one request. All raise NoAgentError and RefusedError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> dict[str, Any]:
        """The status document."""
        with self._request("GET", "/status", timeout_s=_ANSWER_TIMEOUT_S) as response:
            document: dict[str, Any] = json.loads(response.read())
            return document

    def watch(self) -> Iterator[dict[str, Any]]:
        """The status document whenever it changes; ends when the agent does."""
        with self._request("GET", "/status?watch", timeout_s=None) as response:
            yield from self._events(response)

    def screenshot(self, screen: str | None) -> tuple[bytes, str]:
        """The picture and its MIME type."""
        query = urlencode({"screen": screen or ""})
        with self._request("GET", f"/screenshot?{query}", timeout_s=_PICTURE_TIMEOUT_S) as response:
            try:
                return response.read(), response.getheader("Content-Type", "")
            except http.client.HTTPException:
                raise RefusedError("the picture broke off") from None

    def play(
        self,
        name: str,
        file: BinaryIO,
        size_bytes: int | None,
        screen: str | None,
        on_sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Sends a file to be played. `size_bytes`: None if it is not known, as with a pipe. `on_sent` gets the bytes sent."""
        query = urlencode({"name": name, "screen": screen or ""})
        connection = self._connect(_STORE_TIMEOUT_S)
        try:
            self._send(connection, f"/play?{query}", file, name=name, size_bytes=size_bytes, on_sent=on_sent)
            self._answer(connection).read()
        finally:
            connection.close()

    def update(
        self,
        source: BinaryIO | str | None,
        name: str = "",
        size_bytes: int | None = None,
        on_sent: Callable[[int], None] = lambda _: None,
    ) -> Iterator[dict[str, Any]]:
        """Sends a bundle, or has the agent fetch the one at a URL, or the newest (None); how the agent gets on with it.

        The last item is {"version"}: that one has been switched to.
        """
        connection = self._connect(_INSTALL_TIMEOUT_S)
        try:
            if source is None or isinstance(source, str):
                body = json.dumps({} if source is None else {"url": source})
                connection.request("POST", "/update", body, {"Content-Type": "application/json", **_BY_HAND})
            else:
                self._send(connection, "/update", source, name=name, size_bytes=size_bytes, on_sent=on_sent, headers=_BY_HAND)
            for event in self._events(self._answer(connection)):
                if "error" in event:
                    raise RefusedError(str(event["error"]))
                yield event
                if "version" in event:
                    return
        finally:
            connection.close()
        raise NoAgentError(f"the agent at {self._path} ended before it said what came of the update; see signage-agent status")

    @staticmethod
    def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
        """The lines of an answer, until it ends or breaks off."""
        try:
            for line in response:
                yield json.loads(line)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return

    def _send(
        self,
        connection: http.client.HTTPConnection,
        target: str,
        file: BinaryIO,
        *,
        name: str,
        size_bytes: int | None,
        on_sent: Callable[[int], None],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Posts a file."""
        connection.putrequest("POST", target, skip_accept_encoding=True)
        connection.putheader("Content-Type", "application/octet-stream")
        for header, value in headers.items():
            connection.putheader(header, value)
        if size_bytes is None:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", str(size_bytes))
        try:
            connection.endheaders()
            sent = 0
            while chunk := file.read(_CHUNK_BYTES):
                connection.send(chunk if size_bytes is not None else b"%x\r\n%b\r\n" % (len(chunk), chunk))
                sent += len(chunk)
                on_sent(sent)
            if size_bytes is None:
                connection.send(b"0\r\n\r\n")
            elif sent < size_bytes:
                raise RefusedError(f"{name} became shorter while it was sent")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the agent has refused it before the end; its answer says why
        except TimeoutError:
            raise NoAgentError(f"the agent at {self._path} does not take the file in") from None

    def _request(self, method: str, target: str, *, timeout_s: float | None) -> http.client.HTTPResponse:
        connection = self._connect(timeout_s)
        try:
            connection.request(method, target)
            return self._answer(connection)
        except BaseException:
            connection.close()
            raise

    def _connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path, timeout_s)
        try:
            connection.connect()
        except PermissionError:
            connection.close()
            raise RefusedError(
                f"{self._path} may not be opened; join the group of the socket (sudo usermod -aG signage-agent $USER, "
                "then log in again) or use sudo"
            ) from None
        except OSError as error:
            connection.close()
            raise NoAgentError(f"no agent answers at {self._path}: {error.strerror or error}") from None
        return connection

    def _answer(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        try:
            response = connection.getresponse()
        except TimeoutError:
            raise NoAgentError(f"the agent at {self._path} does not answer in time") from None
        except (OSError, http.client.HTTPException):
            raise NoAgentError(f"the agent at {self._path} ended before it answered") from None
        if response.status == http.client.OK:
            return response
        with response:
            try:
                reason = str(json.loads(response.read())["error"])
            except (ValueError, KeyError, TypeError):
                reason = f"HTTP status {response.status}"
        raise RefusedError(reason)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("agent", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
