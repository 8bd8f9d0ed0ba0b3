"""agent.media.files"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agent.media import files
from tests.media.origin import md5, random_bytes, sha256

MD5 = "0" * 32
SHA256 = "a" * 64


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        (f"md5-{MD5}", f"md5:{MD5}"),
        (f"sha256-{SHA256}", f"sha256:{SHA256}"),
        (f"md5-{MD5}.2048.png", f"md5:{MD5}"),
        (f"md5-{SHA256}", None),
        (f"sha256-{MD5}", None),
        (f"md5-{MD5.replace('0', 'A')}", None),
        (f"md5-{MD5}x", None),
        (f"md5-{MD5}/../x", None),
        ("movie.mp4", None),
    ],
)
def test_digest_of_name(name: str, digest: str | None) -> None:
    """Only names the store gives mean something."""
    assert files.digest_of_name(name) == digest


def test_listing(tmp_path: Path) -> None:
    """Files and fresh parts are listed; stale parts, lone notes and what was made from files that are gone are removed."""
    now = 1_000_000.0
    for name, age_s in {
        f"md5-{MD5}": 999_000,
        f"md5-{MD5}.small.png": 0,
        f"md5-{MD5}.small.png.77.part": 0,
        f"sha256-{SHA256}.small.png": 0,
        f"sha256-{SHA256}.part": 10,
        f"sha256-{SHA256}.part.json": 10,
        f"md5-{MD5}.part": 200,
        f"md5-{MD5}.part.json": 10,
        f"url-{SHA256}.part": -500,
        f"url-{SHA256[1:]}b.part.json": 10,
        "README": 999_000,
    }.items():
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (now - age_s, now - age_s))
    (tmp_path / f"md5-{MD5[1:]}1").mkdir()
    listing = files.list_directory(tmp_path, now=now, part_age_s=100)
    assert listing.files == {f"md5:{MD5}": files.Stamp(5, 1_000_000_000_000)}
    assert listing.parts == {f"sha256-{SHA256}.part": 5, f"url-{SHA256}.part": 5}
    assert listing.derived_bytes == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README",
        f"md5-{MD5}",
        f"md5-{MD5}.small.png",
        f"md5-{MD5[1:]}1",
        f"sha256-{SHA256}.part",
        f"sha256-{SHA256}.part.json",
        f"url-{SHA256}.part",
    ]


def test_remove_file_takes_what_was_made_from_it(tmp_path: Path) -> None:
    """A scaled picture goes with its original; others stay."""
    for name in ("md5-a", "md5-a.small.png", "md5-b"):
        (tmp_path / name).write_bytes(b"123")
    assert files.remove_file(tmp_path / "md5-a") is True
    assert [path.name for path in tmp_path.iterdir()] == ["md5-b"]


def test_matches(tmp_path: Path) -> None:
    """Good, damaged and missing files are told apart, with both algorithms."""
    body = random_bytes(3 * files.BLOCK_BYTES + 17)
    path = tmp_path / "file"
    path.write_bytes(body)
    assert files.matches(path, f"md5:{md5(body)}")
    assert files.matches(path, f"sha256:{sha256(body)}")
    with path.open("r+b") as file:
        file.seek(2 * files.BLOCK_BYTES)
        file.write(b"\0\0\0\0")
    assert not files.matches(path, f"md5:{md5(body)}")
    path.unlink()
    assert not files.matches(path, f"md5:{md5(body)}")


def test_a_box_short_of_descriptors_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says nothing about the file is not taken for damage; an unreadable sector is."""
    path = tmp_path / "file"
    path.write_bytes(b"x")

    def fail(number: int) -> None:
        def step(self: files.Reading) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(files.Reading, "step", step)

    fail(errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        files.matches(path, f"md5:{MD5}")
    fail(errno.EIO)
    assert not files.matches(path, f"md5:{MD5}")
