"""The operations on the disk: in the right order, complete or not at all, and not to be led astray by whoever owns a folder."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.update import disk
from tests.update import cut


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is put on the disk and renamed, in its order."""
    made: list[str] = []

    def fsync(descriptor: int, real: Callable[[int], None] = os.fsync) -> None:
        made.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    def replace(source: Path, target: Path, real: Callable[[Path, Path], Path] = Path.replace) -> Path:
        made.append(f"rename {source.name} {target.name}")
        return real(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return made


def test_files_and_links_are_on_the_disk_before_they_have_their_name(tmp_path: Path, calls: list[str]) -> None:
    """Contents first, then the name, then the folder; what lay in the way of the new file is no trouble."""
    folder = tmp_path / "folder"
    disk.make_directory(folder, 0o700)
    disk.make_directory(folder)
    assert calls == [f"sync {tmp_path.name}"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    calls.clear()
    (folder / ".file.new").symlink_to("/etc/passwd")
    for data in (b"one", b"two"):
        disk.write_file(folder / "file", data, 0o640)
    assert (folder / "file").read_bytes() == b"two"
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o640
    assert calls == ["sync .file.new", "rename .file.new file", "sync folder"] * 2
    calls.clear()
    disk.link(folder / "link", "one")
    disk.link(folder / "link", "two")
    assert (folder / "link").readlink() == Path("two")
    assert calls == ["rename .link.new link", "sync folder"] * 2
    assert sorted(path.name for path in folder.iterdir()) == ["file", "link"]


def test_every_change_is_announced(tmp_path: Path) -> None:
    """Each operation calls `step` before and after."""
    points = cut.points_of(lambda: disk.write_file(tmp_path / "file", b""))
    assert points == [
        "before write .file.new",
        "after write .file.new",
        "before rename file",
        "after rename file",
        f"before sync directory {tmp_path.name}",
        f"after sync directory {tmp_path.name}",
    ]


def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    """What a link leads to stays."""
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "link").symlink_to(kept)
    disk.remove_tree(tree)
    tree.symlink_to(kept)
    disk.remove_tree(tree)
    disk.remove_tree(tree)
    disk.remove_file(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "inner").exists()


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    """A link, a second name of a file, a pipe and a folder are refused at once; so is a folder behind a link."""
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "plain").write_text("plain")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "name").hardlink_to(tmp_path / "secret")
    (folder / "directory").mkdir()
    os.mkfifo(folder / "pipe")
    with disk.foreign_directory(tmp_path, "folder") as directory:
        assert disk.read_foreign(directory, "plain", 5) == b"plain"
        with pytest.raises(OSError, match="more than 4 bytes"):
            disk.read_foreign(directory, "plain", 4)
        for name in ("link", "name", "directory", "pipe", "missing"):
            with pytest.raises(OSError, match=name):
                disk.read_foreign(directory, name, 100)
    (tmp_path / "way").symlink_to(folder)
    with pytest.raises(NotADirectoryError), disk.foreign_directory(tmp_path, "way"):
        pass


@pytest.mark.parametrize(("size", "sound"), [(9, False), (10, True), (11, False)])
def test_copy_is_as_long_as_stated(tmp_path: Path, size: int, sound: bool) -> None:
    """More or less than what was stated is refused."""
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb") as file:
        if not sound:
            with pytest.raises(OSError, match=f"not {size} bytes long"):
                disk.copy_in(file, tmp_path / "copy", size)
            return
        digest = disk.copy_in(file, tmp_path / "copy", size)
        assert digest == disk.digest_of(file, size)
    assert (tmp_path / "copy").read_bytes() == b"0123456789"
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


def test_copy_never_overwrites(tmp_path: Path) -> None:
    """What is there already, be it a link, stays as it is."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "copy").symlink_to(tmp_path / "elsewhere")
    with (tmp_path / "file").open("rb") as file, pytest.raises(FileExistsError):
        disk.copy_in(file, tmp_path / "copy", 1)
    assert not (tmp_path / "elsewhere").exists()


def test_anything_can_be_removed_from_a_foreign_folder(tmp_path: Path) -> None:
    """Files, links, pipes and trees go; what links lead to stays."""
    kept = tmp_path / "kept"
    kept.mkdir()
    folder = tmp_path / "folder"
    (folder / "tree/inner").mkdir(parents=True)
    (folder / "tree/link").symlink_to(kept)
    (folder / "link").symlink_to(kept)
    (folder / "file").touch()
    os.mkfifo(folder / "pipe")
    with disk.foreign_directory(tmp_path, "folder") as directory:
        for name in ("tree", "link", "file", "pipe", "missing"):
            disk.remove_foreign(directory, name)
    assert list(folder.iterdir()) == []
    assert kept.is_dir()


def test_one_at_a_time(tmp_path: Path) -> None:
    """The lock is held by one; who waits gets it when it is free, or goes without it in the end."""
    path = tmp_path / "lock"
    waiting, done = threading.Event(), threading.Event()
    got: list[bool] = []

    def wait() -> None:
        waiting.set()
        with disk.locked(path, 60.0) as taken:
            got.append(taken)
        done.set()

    with disk.locked(path, 0.0) as taken:
        assert taken
        with disk.locked(path, 0.1) as second:
            assert not second
        thread = threading.Thread(target=wait, name="second")
        thread.start()
        assert waiting.wait(20)
        assert not done.is_set()
    assert done.wait(20)
    thread.join()
    assert got == [True]
    with disk.locked(tmp_path / "missing/lock", 0.0) as taken:
        assert not taken
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sync_of_what_is_not_there_fails(tmp_path: Path) -> None:
    """A tree that could not be put on the disk is an error."""
    disk.sync_tree(tmp_path)
    with pytest.raises(OSError, match="missing"):
        disk.sync_tree(tmp_path / "missing")
