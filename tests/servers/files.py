"""The files a fake server has to give, and how it gives them: Range, If-Range, ETag, and every fault a body can have."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import mimetypes
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web

from tests.servers.exchange import FAULT, abort
from tests.servers.faults import Fault

BLOCK_BYTES = 256 * 1024

_versions = itertools.count(1)


class MediaFile:
    """One file with its digests. `data` is bytes in memory or a path."""

    def __init__(self, name: str, data: bytes | Path, mimetype: str) -> None:
        self.name = name
        self.data = data
        self.mimetype = mimetype
        self.version = next(_versions)

    @property
    def url(self) -> str:
        """Its address on this server: relative to the host root, percent-encoded."""
        return f"/media/{quote(self.name)}"

    @functools.cached_property
    def etag(self) -> str:
        """As aiohttp makes it for files on disk."""
        if isinstance(self.data, bytes):
            return f'"{self.version:x}-{self.size:x}"'
        stat = self.data.stat()
        return f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'

    @functools.cached_property
    def size(self) -> int:
        return len(self.data) if isinstance(self.data, bytes) else self.data.stat().st_size

    @functools.cached_property
    def md5(self) -> str:
        return self._digest("md5")

    @functools.cached_property
    def sha256(self) -> str:
        return self._digest("sha256")

    def _digest(self, algorithm: str) -> str:
        if isinstance(self.data, bytes):
            return hashlib.new(algorithm, self.data).hexdigest()
        with self.data.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()


class MediaFiles:
    """The files by name."""

    def __init__(self) -> None:
        self._files: dict[str, MediaFile] = {}

    def add(self, name: str, data: bytes | Path | str, mimetype: str = "") -> MediaFile:
        """Adds a file, or a new version of it. `data` is its content, or where it lies."""
        source = Path(data) if isinstance(data, str) else data
        kind = mimetype or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self._files[name] = MediaFile(name, source, kind)
        return self._files[name]

    def remove(self, name: str) -> None:
        self._files.pop(name, None)

    def get(self, name: str) -> MediaFile | None:
        return self._files.get(name)

    def by_url(self, url: str) -> MediaFile | None:
        """The file behind an address of this server."""
        return next((file for file in self._files.values() if url.endswith(file.url)), None)


async def give(request: web.Request, file: MediaFile) -> web.StreamResponse:
    """Answers with `file` as the request's headers ask and its fault wants."""
    fault = request.get(FAULT) or Fault(path="")
    if isinstance(file.data, Path) and not fault.describe()["what"] and _plain(request, file):
        return web.FileResponse(file.data, headers={"Content-Type": file.mimetype})  # as fast as the machine can: sendfile
    size = max(0, file.size - fault.short_by)
    etag = f'"{next(_versions):x}-changed"' if fault.new_etag else file.etag
    headers = {"Content-Type": file.mimetype, "Accept-Ranges": "bytes", "ETag": etag}
    if fault.no_etag:
        del headers["ETag"]
    start, end, status = 0, size, 200
    if not fault.ignore_range:
        asked = _range(request.headers.get("Range", ""), size)
        if request.headers.get("If-Range", etag) != etag:
            asked = None
        if asked is not None:
            start, end = asked
            status = 206 if start < end else 416
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}" if start < end else f"bytes */{size}"
    if status == 416:
        return web.Response(status=416, headers={"Content-Range": headers["Content-Range"]})
    response = web.StreamResponse(status=status, headers=headers)
    if fault.chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = end - start
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(request, response, _blocks(file.data, start, end, fault), fault)
    await response.write_eof()
    return response


def _plain(request: web.Request, file: MediaFile) -> bool:
    """Whether aiohttp's own answer is the right one: no range, or one that it takes as RFC 9110 does."""
    header = request.headers.get("Range")
    if header is None:
        return True
    asked = _range(header, file.size)
    return asked is not None and asked[0] < asked[1] and request.headers.get("If-Range", file.etag) == file.etag


async def _send(request: web.Request, response: web.StreamResponse, blocks: AsyncIterator[bytes], fault: Fault) -> None:
    sent = 0
    async for block in blocks:
        await response.write(bytes(byte ^ 0x5A for byte in block) if fault.corrupt else block)
        sent += len(block)
        if fault.cut_after is not None and sent >= fault.cut_after:
            await _flushed(request)
            abort(request)
            raise ConnectionResetError("cut on purpose")
        if fault.stall_after is not None and sent >= fault.stall_after:
            await fault.over.wait()
        if fault.bytes_per_s is not None:
            await asyncio.sleep(len(block) / fault.bytes_per_s)


async def _blocks(data: bytes | Path, start: int, end: int, fault: Fault) -> AsyncIterator[bytes]:
    """The bytes of [start, end), split additionally where the fault cuts or stalls."""
    first_limit = min((limit for limit in (fault.cut_after, fault.stall_after) if limit is not None), default=0)
    block_bytes = BLOCK_BYTES if fault.bytes_per_s is None else max(1, min(BLOCK_BYTES, int(fault.bytes_per_s / 20)))
    file: BinaryIO | None = None
    if isinstance(data, Path):
        file = await asyncio.to_thread(data.open, "rb")
        file.seek(start)
    try:
        place = start
        while place < end:
            size = min(block_bytes, end - place)
            if place < start + first_limit < place + size:
                size = start + first_limit - place
            if file is not None:
                block = await asyncio.to_thread(file.read, size)
            else:
                assert isinstance(data, bytes)
                block = data[place : place + size]
            if not block:
                return
            yield block
            place += len(block)
    finally:
        if file is not None:
            file.close()


async def _flushed(request: web.Request) -> None:
    """Returns when the kernel has taken what was written, so that an abort loses nothing the fault promised."""
    transport = request.transport
    for _ in range(100):
        if not isinstance(transport, asyncio.Transport) or transport.get_write_buffer_size() == 0:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """[start, end) of a single-range header, clipped; None: no usable range; start == end: not satisfiable."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        return max(0, size - int(last)), size
    start = int(first)
    if start >= size:
        return size, size
    return start, min(size, int(last) + 1 if last else size)
