"""agent.media.shelf and agent.media.index, through the store: what stays on the disk, what goes, and what survives"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.media import FetchError, MediaStore, Want
from agent.media.wants import part_name
from agent.system.state import State, StateError
from tests.media.conftest import MakeStore
from tests.media.origin import Origin, md5, random_bytes

SIZE = 100_000
BODIES = [random_bytes(SIZE, seed) for seed in range(6)]


def wants(origin: Origin) -> list[Want]:
    """Six files of 100 kB each."""
    for number, body in enumerate(BODIES):
        origin.put(f"/{number}", body)
    return [Want(f"{origin.url}/{number}", str(number), SIZE, md5(body)) for number, body in enumerate(BODIES)]


async def present(store: MediaStore, wanted: list[Want]) -> list[int]:
    """Which of them are there; looking counts as use, so the order of use becomes that of the numbers."""
    return [number for number, want in enumerate(wanted) if await store.find(want) is not None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MiB where mounting is allowed, else an ordinary directory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True)
    yield disk
    if mounted.returncode == 0:
        subprocess.run(["umount", "-l", disk], check=True)


async def test_quota(make_store: MakeStore, origin: Origin) -> None:
    """The least recently used goes first; looking counts as use."""
    store = await make_store(quota_bytes=3 * SIZE)
    wanted = wants(origin)
    for number in (0, 1, 2):
        await store.fetch(wanted[number])
    await store.find(wanted[0])
    await store.fetch(wanted[3])
    assert not store._shelf.path(f"md5:{wanted[1].checksum}").exists()
    assert await present(store, wanted) == [0, 2, 3]
    assert store.used_bytes() == 3 * SIZE


async def test_kept_and_held_are_never_evicted(make_store: MakeStore, origin: Origin) -> None:
    """What a playlist references or a screen shows stays; when nothing else is left the next download is refused at once."""
    store = await make_store(quota_bytes=3 * SIZE)
    wanted = wants(origin)
    paths = [await store.fetch(wanted[number]) for number in (0, 1, 2)]
    store.keep("playlist 1", wanted[:1])
    store.hold("front", paths[1:2])
    await store.fetch(wanted[3])
    assert await present(store, wanted) == [0, 1, 3]
    store.keep("playlist 2", wanted[3:4])
    with pytest.raises(FetchError, match=r"storage full: 100\.0 kB needed") as caught:
        await store.fetch(wanted[4])
    assert caught.value.cause == "storage"
    assert await present(store, wanted) == [0, 1, 3]
    assert len(origin.requests) == 5
    store.hold("front", [])
    await store.fetch(wanted[4])
    assert await present(store, wanted) == [0, 3, 4]


async def test_parallel_downloads_share_the_quota(make_store: MakeStore, origin: Origin) -> None:
    """Room promised to one download is not promised to another."""
    store = await make_store(quota_bytes=3 * SIZE, parallel=6)
    wanted = wants(origin)
    for owner, want in enumerate(wanted):
        store.keep(str(owner), [want])
        origin.files[f"/{owner}"].holds_after = 1000
    fetching = [asyncio.create_task(store.fetch(want)) for want in wanted]
    await asyncio.wait(fetching, return_when=asyncio.FIRST_COMPLETED)
    for file in origin.files.values():
        file.released.set()
    results = await asyncio.gather(*fetching, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["FetchError"] * 3 + ["PosixPath"] * 3
    assert store.used_bytes() == 3 * SIZE


async def test_quota_without_a_length(make_store: MakeStore, origin: Origin) -> None:
    """A body of unknown length is stopped when it outgrows the store, and leaves nothing behind."""
    store = await make_store(quota_bytes=SIZE)
    origin.put("/a", random_bytes(20 * SIZE), length=False)
    with pytest.raises(FetchError, match="storage full"):
        await store.fetch(Want(origin.url + "/a", "a"))
    assert list(store.directory.iterdir()) == []
    assert store.used_bytes() == 0


async def test_reserve(make_store: MakeStore, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others leave on the disk decides, too; unreferenced files make room for it."""
    free = 10 * SIZE
    monkeypatch.setattr("agent.media.files.space", lambda _directory: (1 << 40, free))
    store = await make_store(reserve_bytes=8 * SIZE)
    wanted = wants(origin)
    await store.fetch(wanted[0])
    await store.fetch(wanted[1])
    free = 8 * SIZE + SIZE // 2
    await store.fetch(wanted[2])
    assert await present(store, wanted) == [1, 2]
    store.keep("playlist", wanted[1:3])
    with pytest.raises(FetchError, match=r"100\.0 kB needed, .* 800\.0 kB stay in reserve"):
        await store.fetch(wanted[3])


async def test_disk_full(make_store: MakeStore, origin: Origin, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that others fill ends the download with its cause; nothing unverified stays; with room again it works."""

    def no_room(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = await make_store(small_disk / "media")
    origin.put("/a", random_bytes(600_000), holds_after=300_000)
    want = Want(origin.url + "/a", "a", 600_000, md5(random_bytes(600_000)))
    fetching = asyncio.create_task(store.fetch(want))
    while not any(status.received_bytes >= 300_000 for status in store.downloads()):
        await asyncio.sleep(0.005)
    filler = small_disk / "filler"
    with monkeypatch.context() as patch:
        if os.path.ismount(small_disk):
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(512))
        else:
            patch.setattr("agent.media.writer.os.write", no_room)
        origin.files["/a"].released.set()
        with pytest.raises(FetchError, match="storage full") as caught:
            await fetching
    assert caught.value.cause == "storage"
    assert list(store.directory.iterdir()) == []
    filler.unlink(missing_ok=True)
    assert (await store.fetch(want)).stat().st_size == 600_000


async def test_restart_trusts_what_is_recorded(make_store: MakeStore, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    """After a restart a file of the recorded size and time is there without being read; order of use survives."""
    store = await make_store(quota_bytes=3 * SIZE)
    wanted = wants(origin)
    for number in (2, 1, 0):
        await store.fetch(wanted[number])
    await store.find(wanted[2])
    await store.close()
    again = await make_store(quota_bytes=3 * SIZE)
    assert again.used_bytes() == 3 * SIZE
    await again.fetch(wanted[3])
    assert await present(again, wanted) == [0, 2, 3]
    assert len(origin.requests) == 4


async def test_restart_notices_what_is_gone_or_changed(make_store: MakeStore, origin: Origin) -> None:
    """Missing and altered files are reported and downloaded again; merely touched ones are verified and kept."""
    store = await make_store()
    wanted = wants(origin)
    paths = [await store.fetch(wanted[number]) for number in range(4)]
    await store.close()
    paths[0].unlink()
    paths[1].write_bytes(b"x" * SIZE)
    os.utime(paths[2], (5, 5))
    lost: list[str] = []
    again = await make_store(lost=lost)
    assert sorted(lost) == sorted(f"md5:{wanted[number].checksum}" for number in range(3))
    assert await present(again, wanted) == [3]
    for number in range(4):
        assert (await again.fetch(wanted[number])).read_bytes() == BODIES[number]
    assert [request.path for request in origin.requests[4:]] == ["/0", "/1"]


async def test_changed_while_running(make_store: MakeStore, origin: Origin) -> None:
    """`find` notices at once; the file is not handed out before it is right again."""
    lost: list[str] = []
    store = await make_store(lost=lost)
    wanted = wants(origin)
    path = await store.fetch(wanted[0])
    path.write_bytes(b"x" * 5)
    assert await store.find(wanted[0]) is None
    assert lost == [f"md5:{wanted[0].checksum}"]
    assert (await store.fetch(wanted[0])).read_bytes() == BODIES[0]


async def test_lost_state(make_store: MakeStore, origin: Origin, state: State) -> None:
    """Without rows the files are verified by their names: on demand, and in the background; damaged ones are removed."""
    store = await make_store()
    wanted = wants(origin)
    paths = [await store.fetch(wanted[number]) for number in range(3)]
    await store.close()
    await state.write(lambda database: database.execute("DELETE FROM media"))
    paths[2].write_bytes(b"x" * SIZE)
    again = await make_store()
    assert again.used_bytes() == 3 * SIZE
    assert await present(again, wanted) == []
    assert await again.fetch(wanted[0]) == paths[0]
    async with asyncio.timeout(10), running(again):
        while await present(again, wanted) != [0, 1] or paths[2].exists():
            await asyncio.sleep(0.005)
    assert len(origin.requests) == 3


async def test_background_verification(make_store: MakeStore, origin: Origin) -> None:
    """A file damaged on the disk without a change of size and time is found, removed and reported; others are left alone."""
    lost: list[str] = []
    store = await make_store(lost=lost)
    wanted = wants(origin)
    paths = [await store.fetch(wanted[number]) for number in range(3)]
    damage(paths[1])
    assert await store.find(wanted[1]) == paths[1]
    async with asyncio.timeout(10), running(store):
        while not lost:
            await asyncio.sleep(0.005)
    assert lost == [f"md5:{wanted[1].checksum}"]
    assert not paths[1].exists()
    assert await present(store, wanted) == [0, 2]


async def test_reported_as_damaged(make_store: MakeStore, origin: Origin) -> None:
    """What the player could not read is verified now: kept if it is as the server sent it, else removed and reported."""
    lost: list[str] = []
    store = await make_store(lost=lost)
    wanted = wants(origin)
    path = await store.fetch(wanted[0])
    derived = path.with_name(path.name + ".small.png")
    derived.write_bytes(b"x")
    await store.damaged(path)
    await store.damaged(Path("/etc/passwd"))
    assert await store.find(wanted[0]) == path
    await store.damaged(derived)
    assert not derived.exists()
    damage(path)
    await store.damaged(path)
    await store.damaged(path)
    assert lost == [f"md5:{wanted[0].checksum}"]
    assert await store.find(wanted[0]) is None
    await store.fetch(wanted[0])
    path.unlink()
    await store.damaged(path)
    assert len(lost) == 2


async def test_a_failing_listener_disturbs_nobody(make_store: MakeStore, origin: Origin) -> None:
    """Every listener hears of a loss."""
    lost: list[str] = []

    def fail(_digest: str) -> None:
        raise RuntimeError("listener")

    store = await make_store()
    store.on_lost(fail)
    store.on_lost(lost.append)
    path = await store.fetch(wants(origin)[0])
    path.unlink()
    await store.damaged(path)
    assert len(lost) == 1


@pytest.mark.parametrize("now", [0.0, 4e9])
async def test_clock_jumps(make_store: MakeStore, origin: Origin, monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """In 1970 or far ahead the order of use, verification and unfinished downloads are as with the right time."""
    store = await make_store(quota_bytes=3 * SIZE)
    wanted = wants(origin)
    await store.fetch(wanted[0])
    await store.fetch(wanted[1])
    monkeypatch.setattr(time, "time", lambda: now)
    await store.find(wanted[0])
    await store.fetch(wanted[2])
    monkeypatch.undo()
    await store.close()
    again = await make_store(quota_bytes=3 * SIZE)
    await again.fetch(wanted[3])
    assert not again._shelf.path(f"md5:{wanted[1].checksum}").exists()
    assert await present(again, wanted) == [0, 2, 3]
    monkeypatch.setattr(time, "time", lambda: 0.0)
    damage(again._shelf.path(f"md5:{wanted[3].checksum}"))
    async with asyncio.timeout(10), running(again):
        while await present(again, wanted) != [0, 2]:
            await asyncio.sleep(0.005)


async def test_unfinished_survives_1970(make_store: MakeStore, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box that boots without the time keeps its unfinished downloads."""
    store = await make_store()
    wanted = wants(origin)[0]
    (store.directory / part_name(wanted)).write_bytes(BODIES[0][:50_000])
    await store.close()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    again = await make_store()
    await again.fetch(wanted)
    assert origin.seen("Range") == ["bytes=50000-"]


async def test_reserve_is_kept_free_in_the_background(
    make_store: MakeStore, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When others fill the disk unreferenced files go without a download asking for it."""
    free = 10 * SIZE
    monkeypatch.setattr("agent.media.files.space", lambda _directory: (1 << 40, free))
    store = await make_store(reserve_bytes=5 * SIZE)
    wanted = wants(origin)
    await store.fetch(wanted[0])
    await store.fetch(wanted[1])
    store.keep("playlist", wanted[:1])
    free = 4 * SIZE
    async with asyncio.timeout(10), running(store):
        while store.used_bytes() > SIZE:
            await asyncio.sleep(0.005)
    assert await present(store, wanted) == [0]


async def test_state_that_cannot_be_written(
    make_store: MakeStore, origin: Origin, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verified file is handed out even if it cannot be recorded; the next start verifies it by its name."""
    store = await make_store()
    wanted = wants(origin)[0]

    async def fail(*_args: object, **_options: object) -> None:
        raise StateError("disk full")

    monkeypatch.setattr(state, "write", fail)
    path = await store.fetch(wanted)
    assert await store.find(wanted) == path
    await store.discard([wanted])
    await store.fetch(wanted)
    await store.close()
    monkeypatch.undo()
    again = await make_store()
    assert await again.find(wanted) is None
    assert await again.fetch(wanted) == path
    assert len(origin.requests) == 2


async def test_full_storage_is_a_warning_while_it_lasts(
    make_store: MakeStore, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is needed, what is free and what the reserve is; gone when there is room again."""
    free = 10 * SIZE
    monkeypatch.setattr("agent.media.files.space", lambda _directory: (1 << 40, free))
    store = await make_store(reserve_bytes=8 * SIZE)
    wanted = wants(origin)
    await store.fetch(wanted[0])
    assert store.warnings() == []
    store.keep("playlist", wanted)
    free = 8 * SIZE
    figures = r"100\.0 kB needed, but 800\.0 kB are free on the disk, of which 800\.0 kB stay in reserve"
    with pytest.raises(FetchError, match=figures):
        await store.fetch(wanted[1])
    assert re.search(figures, store.warnings()[0])
    async with asyncio.timeout(10), running(store):
        await asyncio.sleep(0.2)
        assert store.warnings()
        free = 9 * SIZE
        while store.warnings():
            await asyncio.sleep(0.005)
        free = 7 * SIZE
        while not store.warnings():
            await asyncio.sleep(0.005)
        assert "700.0 kB are free" in store.warnings()[0]


async def test_what_was_made_from_files_counts(make_store: MakeStore, origin: Origin) -> None:
    """A converted copy that came later takes up quota."""
    store = await make_store(quota_bytes=3 * SIZE)
    wanted = wants(origin)
    path = await store.fetch(wanted[0])
    path.with_name(path.name + ".screen-800.jpg").write_bytes(bytes(2 * SIZE - 1))
    await store.fetch(wanted[1])
    assert not path.exists()
    assert store.used_bytes() == SIZE
    assert [left.name for left in store.directory.iterdir()] == [store._shelf.path(f"md5:{wanted[1].checksum}").name]


async def test_files_that_cannot_be_removed(
    make_store: MakeStore, origin: Origin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that lets nothing go ends neither the store's work nor its callers: such files stay in the books."""
    lost: list[str] = []
    store = await make_store(quota_bytes=3 * SIZE, lost=lost)
    wanted = wants(origin)
    paths = [await store.fetch(wanted[number]) for number in range(3)]

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert await store.discard(wanted[:1]) == 0
        damage(paths[1])
        await store.damaged(paths[1])
        assert lost == [f"md5:{wanted[1].checksum}"]
        with pytest.raises(FetchError, match="storage full"):
            await store.fetch(wanted[3])
        assert store.used_bytes() == 3 * SIZE
        damage(paths[2])
        async with running(store):
            await asyncio.sleep(0.3)
    assert caplog.text.count("WARNING  agent.media.files") == 1
    assert all(path.exists() for path in paths)
    async with asyncio.timeout(10):
        await store.fetch(wanted[3])
        await store.fetch(wanted[1])


async def test_a_directory_that_goes_while_running(make_store: MakeStore, origin: Origin) -> None:
    """The next download makes it again; upkeep and the figures go on."""
    store = await make_store()
    wanted = wants(origin)
    await store.fetch(wanted[0])
    shutil.rmtree(store.directory)
    assert store.free_bytes() > 0
    async with running(store):
        await asyncio.sleep(0.2)
    assert (await store.fetch(wanted[0])).stat().st_size == SIZE


async def test_a_directory_that_cannot_be_read(make_store: MakeStore, tmp_path: Path) -> None:
    """The store starts empty; nothing it has recorded is struck off."""
    (tmp_path / "file").touch()
    store = await make_store(tmp_path / "file" / "media")
    async with running(store):
        assert store.used_bytes() == 0


async def test_records_that_cannot_be_read(make_store: MakeStore, origin: Origin, state: State) -> None:
    """Their files are verified by their name."""
    store = await make_store()
    wanted = wants(origin)
    for want in wanted[:2]:
        await store.fetch(want)
    await store.close()
    await state.write(
        lambda database: database.execute("UPDATE media SET used_at = 'x' WHERE digest = ?", (f"md5:{wanted[0].checksum}",))
    )
    again = await make_store()
    assert await again.find(wanted[1]) is not None
    await again.fetch(wanted[0])
    await again.close()
    await state.write(lambda database: database.execute("DROP TABLE media"))
    again = await make_store()
    await again.fetch(wanted[0])
    assert len(origin.requests) == 2


def damage(path: Path) -> None:
    """Changes a byte as a failing disk does: size and time stay."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        byte = file.read(1)
        file.seek(SIZE // 2)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextlib.asynccontextmanager
async def running(store: MediaStore) -> AsyncIterator[None]:
    """The store's background work."""
    task = asyncio.create_task(store.run())
    try:
        yield
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
