"""Images as files: numbered, few, and gone when they are no longer needed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.links.tronbyt.files import RETIRED, FeedFiles, ending_of
from tests.box import until
from tests.links.tronbyt.standins import webp


@pytest.mark.parametrize(
    ("start", "ending"),
    [
        (webp(), "webp"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"", None),
        (b"R", None),
        (b"RIFF\x10\x00\x00\x00WAVE", None),
        (b"#EXTM3U", None),
        (b"<svg", None),
        (b"\x00\x00\x00\x18ftypmp42", None),
    ],
)
def test_endings(start: bytes, ending: str | None) -> None:
    """Of pictures by their first bytes; playlists, films and the rest are none."""
    assert ending_of(start) == ending


async def test_numbers(tmp_path: Path) -> None:
    """1, 2, 3, ... for as long as the process lives, whoever asks."""
    files = FeedFiles(tmp_path / "feed")
    await files.open()
    assert (files.next_number, files.number(), files.number(), files.next_number) == (1, 1, 2, 3)
    successor = FeedFiles(tmp_path / "feed")
    await successor.open()
    assert successor.number() == 3
    other = FeedFiles(tmp_path / "other")
    await other.open()
    assert other.number() == 1


async def test_only_the_first_sweeps(tmp_path: Path) -> None:
    """What an earlier process left goes; what a predecessor shows stays."""
    folder = tmp_path / "feed"
    folder.mkdir()
    (folder / "7.webp").write_bytes(b"old")
    (folder / "cannot").mkdir()
    files = FeedFiles(folder)
    await files.open()
    path = await files.write(files.number(), b"new", "webp")
    await FeedFiles(folder).open()
    assert path.read_bytes() == b"new"


async def test_what_is_needed_stays(tmp_path: Path) -> None:
    """Of the rest a few that came off last are kept a while, whatever their number was."""
    files = FeedFiles(tmp_path / "feed")
    await files.open()
    paths = [await files.write(files.number(), b"x", "webp") for _ in range(20)]
    files.keep({2, 20})
    await until(lambda: sum(path.exists() for path in paths) == 2 + RETIRED)
    assert paths[1].exists()
    assert paths[19].exists()
    files.keep({20, 19})
    await asyncio.sleep(0.05)
    assert paths[18].exists()
    files.close()
    await until(lambda: not any(path.exists() for path in paths))


async def test_a_needed_one_that_was_not(tmp_path: Path) -> None:
    """Is as safe as any other."""
    files = FeedFiles(tmp_path / "feed")
    await files.open()
    paths = [await files.write(files.number(), b"x", "webp") for _ in range(RETIRED + 3)]
    files.keep({1, 2, 3})
    files.keep({4})
    await until(lambda: not paths[4].exists() or not paths[0].exists())
    assert paths[3].exists()


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Raises, and leaves nothing behind."""
    files = FeedFiles(tmp_path / "feed")
    await files.open()
    (tmp_path / "feed" / "1.webp").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        await files.write(files.number(), b"x", "webp")
    files.keep(())


async def test_a_file_that_cannot_be_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is said once, not again for the next ones."""
    files = FeedFiles(tmp_path / "feed")
    await files.open()
    for _ in range(RETIRED + 3):
        path = await files.write(files.number(), b"x", "webp")
        path.unlink()
        path.mkdir()
    files.keep(())
    await until(lambda: "image cannot be removed" in caplog.text)
    await asyncio.sleep(0.05)
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1


async def test_a_write_that_is_given_up(tmp_path: Path) -> None:
    """Leaves no file, although the thread was at it."""
    files = FeedFiles(tmp_path / "feed")
    await files.open()
    writing = asyncio.create_task(files.write(files.number(), b"x" * 1_000_000, "webp"))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait({writing})
    await files.write(files.number(), b"x", "webp")
    await until(lambda: [path.name for path in (tmp_path / "feed").iterdir()] == ["2.webp"])
