"""agent.media.writer"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agent.media.files import part_note
from agent.media.wants import FetchError
from agent.media.writer import Writer, completed
from tests.media.origin import md5, random_bytes, sha256

BODY = random_bytes(3_000_000)


async def test_writes_and_hashes(tmp_path: Path) -> None:
    """What is handed over is on the disk, and its digest is right."""
    part = tmp_path / "a.part"
    writer = Writer(part, "sha256")
    assert await writer.open() == (0, b"")
    for start in range(0, len(BODY), 100_000):
        await writer.write(BODY[start : start + 100_000])
    assert await writer.finish() == (len(BODY), sha256(BODY))
    await writer.close()
    assert part.read_bytes() == BODY


async def test_goes_on_where_another_process_stopped(tmp_path: Path) -> None:
    """An existing part is hashed first and then continued."""
    part = tmp_path / "a.part"
    part.write_bytes(BODY[:2_000_000])
    part_note(part).write_bytes(b"note")
    writer = Writer(part, "md5")
    assert await writer.open() == (2_000_000, b"note")
    await writer.write(BODY[2_000_000:])
    assert await writer.finish() == (len(BODY), md5(BODY))
    await writer.close()


async def test_goes_on_without_hashing_again(tmp_path: Path) -> None:
    """Within the process the digest so far is handed on, unless the part has changed meanwhile."""
    part = tmp_path / "a.part"
    writer = Writer(part, "md5")
    await writer.open()
    writer.put(BODY[:1_000_000])
    hashed = await writer.close()
    assert hashed is not None
    assert hashed.size_bytes == part.stat().st_size == 1_000_000

    second = Writer(part, "md5", hashed)
    assert (await second.open())[0] == 1_000_000
    await second.write(BODY[1_000_000:])
    assert await second.finish() == (len(BODY), md5(BODY))
    await second.close()

    part.write_bytes(b"other")
    third = Writer(part, "md5", hashed)
    assert (await third.open())[0] == 5
    assert await third.finish() == (5, md5(b"other"))
    await third.close()


async def test_restart(tmp_path: Path) -> None:
    """A part can be begun anew, with a note of its own."""
    part = tmp_path / "a.part"
    part.write_bytes(b"old")
    writer = Writer(part, "md5")
    await writer.open()
    await writer.restart(b"new note")
    await writer.write(BODY)
    assert await writer.finish() == (len(BODY), md5(BODY))
    await writer.close()
    assert part.read_bytes() == BODY
    assert part_note(part).read_bytes() == b"new note"


async def test_disk_error(tmp_path: Path) -> None:
    """A full disk is named, nothing is written after the gap, and closing still works."""
    (tmp_path / "a.part").symlink_to("/dev/full")
    writer = Writer(tmp_path / "a.part", "md5")
    await writer.open()
    for _ in range(10):
        writer.put(BODY)
    with pytest.raises(FetchError, match="storage full") as caught:
        await writer.write(BODY)
    assert caught.value.cause == "storage"
    assert await writer.close() is None


async def test_missing_directory(tmp_path: Path) -> None:
    """An error of the storage other than a full disk is told as such."""
    (tmp_path / "file").touch()
    writer = Writer(tmp_path / "file" / "a.part", "md5")
    with pytest.raises(FetchError, match="storage failed: "):
        await writer.open()
    await writer.close()


async def test_close_waits_even_when_cancelled(tmp_path: Path) -> None:
    """A cancelled owner does not leave a thread behind that still writes."""
    part = tmp_path / "a.part"
    writer = Writer(part, "md5")
    await writer.open()
    for _ in range(20):
        writer.put(BODY)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert part.stat().st_size == 20 * len(BODY)


async def test_completed_outlives_cancellation() -> None:
    """The work is waited for, then the cancellation is raised."""
    done: list[bool] = []

    def work() -> None:
        time.sleep(0.05)
        done.append(True)

    task = asyncio.create_task(completed(asyncio.get_running_loop().run_in_executor(None, work)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]
