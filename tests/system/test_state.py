"""State on disk: what survives, and what happens when the disk does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.system.schema import MIGRATIONS
from agent.system.state import State, StateError

ROOT = Path(__file__).parents[2]

WRITER = """
import asyncio, sys
from pathlib import Path
from agent.system.state import State

async def main():
    state = await State.open(Path(sys.argv[1]))
    number = await state.get("number", 0) + 1
    await state.put("number", number)
    print(number, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state is."""
    return tmp_path / "deep" / "state.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


@pytest.mark.parametrize("value", [None, True, 0, -7, 2.5, "", "Grüße 😀\n", [1, [2]], {"a": {"b": None}}])
async def test_what_was_put_is_there_after_reopening(path: Path, value: Any) -> None:
    """Whatever JSON holds comes back as it was, from another run."""
    state = await State.open(path)
    await state.put("key", value)
    assert await state.get("key", "other") == value
    await state.close()
    state = await State.open(path)
    assert await state.get("key", "other") == value
    assert await state.get("unknown", "default") == "default"
    assert await state.get("unknown") is None
    await state.close()


async def test_the_newest_value_counts(path: Path) -> None:
    """A key has one value."""
    state = await State.open(path)
    for number in range(5):
        await state.put("key", number)
    assert await state.get("key") == 4
    await state.close()


async def test_what_json_does_not_hold_is_refused(path: Path) -> None:
    """A value that could not be read back is a fault of the caller; the old one stays."""
    state = await State.open(path)
    await state.put("key", 1)
    with pytest.raises(TypeError):
        await state.put("key", {1, 2})
    assert await state.get("key") == 1
    await state.close()


async def test_nobody_else_may_read_it(path: Path) -> None:
    """Tokens are in it: the file and SQLite's companions are for the owner alone, also when it was open to others before."""
    previous = os.umask(0)
    try:
        path.parent.mkdir()
        path.touch(mode=0o666)
        state = await State.open(path)
        await state.put("key", 1)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        await state.close()
    finally:
        os.umask(previous)
    assert "state.db-wal" in modes
    assert set(modes.values()) == {0o600}


async def test_a_killed_process_loses_nothing_that_was_confirmed(path: Path) -> None:
    """Ten times a process is killed right after `put` returned: ten times the value is there."""
    for number in range(1, 11):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(15):
            said = await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert said == f"{number}\n".encode()


async def test_confirmed_means_on_the_disk(path: Path) -> None:
    """A durable write waits for the disk (FULL), the playback position does not (NORMAL)."""
    state = await State.open(path)
    levels = []
    for durable in (True, False, True):
        await state.put("key", 1, durable=durable)
        levels.append(await state.read(lambda database: database.execute("PRAGMA synchronous").fetchone()[0]))
    await state.close()
    assert levels == [2, 1, 2]


@pytest.mark.parametrize("damage", ["not a database", "torn", "page"])
async def test_a_corrupt_file_is_put_aside(path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is kept under another name for whoever wants to look, and a new one begun; the log says so."""
    state = await State.open(path)
    for number in range(300):
        await state.put(f"key {number}", "x" * 200, durable=False)
    await state.close()
    content = bytearray(path.read_bytes())
    match damage:
        case "not a database":
            content[:] = b"\x00garbage" * 1000
        case "torn":
            content = content[: len(content) // 2]
        case "page":
            content[4096 * 3 :] = b"\xa5" * len(content[4096 * 3 :])
    path.write_bytes(content)
    state = await State.open(path)
    assert await state.get("key 7") is None
    await state.put("key", 1)
    await state.close()
    [aside] = [file for file in path.parent.iterdir() if ".corrupt-" in file.name and not file.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes() == content
    assert "put aside" in caplog.text


async def test_a_newer_file_is_opened_as_it_is(path: Path) -> None:
    """After a roll-back the older version keeps what the newer one added."""
    state = await State.open(path)
    await state.put("key", 1)
    await state.close()
    database = sqlite3.connect(path)
    database.executescript(
        "PRAGMA user_version = 999; CREATE TABLE later (x); INSERT INTO later VALUES (42);"
        "ALTER TABLE settings ADD COLUMN later TEXT NOT NULL DEFAULT 'then';"
    )
    database.close()
    state = await State.open(path)
    assert await state.get("key") == 1
    await state.put("key", 2)
    await state.close()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (999,)
    assert database.execute("SELECT x FROM later").fetchone() == (42,)
    database.close()


async def test_an_older_file_is_brought_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that was added is applied to an existing file, once, and keeps what is in it."""
    state = await State.open(path)
    await state.put("key", 1)
    await state.close()
    step = "CREATE TABLE added (x); INSERT INTO added VALUES (1)"
    monkeypatch.setattr("agent.system.database.MIGRATIONS", (*MIGRATIONS, step))
    for _ in range(2):
        state = await State.open(path)
        assert await state.get("key") == 1
        assert await state.read(lambda database: database.execute("SELECT count(*) FROM added").fetchone()) == (1,)
        await state.close()


async def test_a_full_disk_is_said_and_loses_nothing(small_disk: Path) -> None:
    """A write that does not fit raises StateError; old values stay, and when there is room again writing works again."""
    state = await State.open(small_disk / "state.db")
    await state.put("volume", 40)
    ballast = fill(small_disk)
    with pytest.raises(StateError, match="full"):
        await state.put("volume", "y" * 200_000)
    assert await state.get("volume") == 40
    ballast.unlink()
    await state.put("volume", 55)
    await state.close()
    state = await State.open(small_disk / "state.db")
    assert await state.get("volume") == 55
    await state.close()


async def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    """A change that fails in the middle leaves nothing of itself, whatever it failed of."""
    state = await State.open(path)
    for fault, expected in (("INSERT INTO nowhere VALUES (1)", StateError), ("", ZeroDivisionError)):

        def change(database: sqlite3.Connection, fault: str = fault) -> float:
            database.execute("INSERT INTO settings VALUES ('half', '1')")
            if fault:
                database.execute(fault)
            return 1 / 0

        with pytest.raises(expected):
            await state.write(change)
        assert await state.get("half") is None
    await state.put("whole", 1)
    await state.close()


async def test_many_at_once(path: Path) -> None:
    """Readers and writers from many tasks do not disturb each other, and no increment is lost."""
    state = await State.open(path)

    def increment(database: sqlite3.Connection) -> None:
        row = database.execute("SELECT value FROM settings WHERE key = 'count'").fetchone()
        count = 1 if row is None else json.loads(row[0]) + 1
        database.execute("INSERT OR REPLACE INTO settings VALUES ('count', ?)", (json.dumps(count),))

    await asyncio.gather(
        *(state.write(increment, durable=number % 10 == 0) for number in range(100)),
        *(state.get("count") for _ in range(100)),
    )
    assert await state.get("count") == 100
    await state.close()


async def test_a_cancelled_writer_has_written(path: Path) -> None:
    """What was handed over is stored although nobody waits for it any more, also when the file is closed at once."""
    state = await State.open(path)
    writing = asyncio.create_task(state.put("key", 1))
    await asyncio.sleep(0)
    writing.cancel()
    await state.close()
    state = await State.open(path)
    assert await state.get("key") == 1
    await state.close()


async def test_a_place_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """A path below a file is a StateError with the path in it."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "state.db"
    with pytest.raises(StateError, match=str(path)):
        await State.open(path)


async def test_a_directory_in_its_place_is_put_aside(path: Path) -> None:
    """As a corrupt file is."""
    path.mkdir(parents=True)
    state = await State.open(path)
    await state.put("key", 1)
    await state.close()
    assert path.is_file()
    assert len(list(path.parent.glob("state.db.corrupt-*"))) == 1


def remount(disk: Path, mode: str) -> None:
    """Read-only or not."""
    subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=True)


def fill(disk: Path) -> Path:
    """Leaves not a byte free; the file that takes it up."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


async def left_by_a_power_cut(path: Path) -> None:
    """A state file whose newest values are still in SQLite's write-ahead log."""
    aside = path.with_name("copies")
    aside.mkdir()
    state = await State.open(path)
    await state.put("volume", 40)
    for name in ("state.db", "state.db-wal"):
        shutil.copy(path.with_name(name), aside)
    await state.close()
    for copy in aside.iterdir():
        copy.rename(path.with_name(copy.name))
    aside.rmdir()


@pytest.mark.parametrize("cut", [False, True])
async def test_opened_on_a_full_disk(small_disk: Path, cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there can be read, writes are refused with the reason, and work again when there is room."""
    path = small_disk / "state.db"
    await left_by_a_power_cut(path)
    if not cut:
        await (await State.open(path)).close()
    ballast = fill(small_disk)
    state = await State.open(path)
    assert await state.get("volume") == 40
    with pytest.raises(StateError, match="the disk is full"):
        await state.put("volume", "y" * 200_000)
    assert "the disk is full" in state.trouble
    ballast.unlink()
    monkeypatch.setattr("agent.system.state.AGAIN_S", 0.0)
    state._again_at = 0.0
    await state.put("volume", 55)
    assert state.trouble == ""
    await state.close()
    state = await State.open(path)
    assert await state.get("volume") == 55
    await state.close()


@pytest.mark.parametrize("cut", [False, True])
async def test_opened_on_a_read_only_disk(small_disk: Path, cut: bool) -> None:
    """The newest values are read also after a power cut; opening for writing is not tried at each write."""
    path = small_disk / "state.db"
    await left_by_a_power_cut(path)
    if not cut:
        await (await State.open(path)).close()
    remount(small_disk, "ro")
    state = await State.open(path)
    assert await state.get("volume") == 40
    for _ in range(2):
        with pytest.raises(StateError, match="the disk is read-only"):
            await state.put("volume", 1)
    remount(small_disk, "rw")
    with pytest.raises(StateError, match="the disk is read-only"):
        await state.put("volume", 2)
    state._again_at = 0.0
    await state.put("volume", 3)
    assert (await state.get("volume"), state.trouble) == (3, "")
    await state.close()


async def test_nothing_readable_on_a_read_only_disk(small_disk: Path) -> None:
    """The state is empty but usable."""
    (small_disk / "state.db").write_bytes(b"\x00garbage" * 1000)
    remount(small_disk, "ro")
    state = await State.open(small_disk / "state.db")
    assert await state.get("volume", 7) == 7
    assert await state.read(lambda database: database.execute("SELECT count(*) FROM media").fetchone()) == (0,)
    await state.close()


async def test_trouble_lasts_as_long_as_it_lasts(path: Path) -> None:
    """A file that is refused while the agent runs is named until a write succeeds; a faulty query is no trouble of the disk."""
    state = await State.open(path)
    with pytest.raises(StateError, match="no such table"):
        await state.write(lambda database: database.execute("INSERT INTO nowhere VALUES (1)"))
    assert state.trouble == ""
    await state.read(lambda database: database.execute("PRAGMA query_only = 1"))
    with pytest.raises(StateError, match="readonly"):
        await state.put("volume", 2)
    assert "readonly" in state.trouble
    await state.read(lambda database: database.execute("PRAGMA query_only = 0"))
    await state.put("volume", 3)
    assert state.trouble == ""
    await state.close()


@pytest.mark.parametrize("value", ["{bad", "[" * 100_000, 5, b"\xff"])
async def test_a_value_that_cannot_be_read(path: Path, value: object, caplog: pytest.LogCaptureFixture) -> None:
    """The default counts, said once; a new value counts again."""
    state = await State.open(path)
    await state.write(lambda database: database.execute("INSERT INTO settings VALUES ('key', ?)", (value,)))
    if value != 5:
        assert [await state.get("key", "default") for _ in range(3)] == ["default"] * 3
        assert caplog.text.count("cannot be read") == 1
    await state.put("key", 1)
    assert await state.get("key") == 1
    await state.close()


async def test_a_failed_query_is_a_state_error(path: Path) -> None:
    """Whoever reads need not know SQLite."""
    state = await State.open(path)
    with pytest.raises(StateError, match="no such table"):
        await state.read(lambda database: database.execute("SELECT * FROM nowhere"))
    await state.close()


async def test_missing_tables_are_made_anew(path: Path) -> None:
    """The others keep what is in them."""
    state = await State.open(path)
    await state.put("key", 1)
    await state.close()
    database = sqlite3.connect(path)
    database.executescript("DROP TABLE media; DROP TABLE playlists")
    database.close()
    state = await State.open(path)
    assert await state.read(lambda database: database.execute("SELECT * FROM media").fetchall()) == []
    assert await state.read(lambda database: database.execute("SELECT * FROM playlists").fetchall()) == []
    assert await state.get("key") == 1
    await state.close()


async def test_tables_of_something_else_are_put_aside(path: Path) -> None:
    """A file whose version does not fit its tables."""
    await (await State.open(path)).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 0")
    database.close()
    state = await State.open(path)
    await state.put("key", 1)
    assert len(list(path.parent.glob("state.db.corrupt-*"))) == 1
    await state.close()
