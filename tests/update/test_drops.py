"""What the daemon has left for the root hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.update import disk
from agent.update.drops import NAMES_LOOKED_AT, Drop, Incoming

NAME = "0123456789abcdef"


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """The folder."""
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


def test_what_waits(incoming: Path) -> None:
    """What somebody asked for comes first; what is called otherwise goes, what is being received stays."""
    for name in ("b" * 16, "a" * 16, NAME + ".by-hand", "a" * 15, "A" * 16, "a" * 16 + ".by-hand.x", " "):
        (incoming / f"{name}.bundle").touch()
    (incoming / "x.part").touch()
    drops = Incoming(incoming.parent).drops()
    assert [(drop.name, drop.by_hand) for drop in drops] == [
        (f"{NAME}.by-hand.bundle", True),
        (f"{'a' * 16}.bundle", False),
        (f"{'b' * 16}.bundle", False),
    ]
    assert [drop.key for drop in drops] == [f"{NAME}.by-hand", "a" * 16, "b" * 16]
    assert len(list(incoming.iterdir())) == 4


def test_no_folder(tmp_path: Path) -> None:
    """Neither one that is missing nor one that is a link has anything in it, and what is not there has been removed."""
    assert Incoming(tmp_path).drops() == []
    assert Incoming(tmp_path).take_away("x.bundle")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{NAME}.bundle").touch()
    (tmp_path / "incoming").symlink_to("elsewhere")
    assert Incoming(tmp_path).drops() == []
    Incoming(tmp_path).take_away(f"{NAME}.bundle")
    assert (tmp_path / "elsewhere" / f"{NAME}.bundle").exists()


def test_many(incoming: Path) -> None:
    """No more than a thousand at a time."""
    for number in range(NAMES_LOOKED_AT + 10):
        (incoming / f"{number:016x}.bundle").touch()
    assert len(Incoming(incoming.parent).drops()) == NAMES_LOOKED_AT


def test_what_cannot_be_removed(incoming: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is remembered, and said in one line."""
    (incoming / "a\nb.bundle").touch()

    def fails(_directory: int, name: str) -> None:
        raise PermissionError(1, "Operation not permitted", name)

    monkeypatch.setattr(disk, "remove_foreign", fails)
    found = Incoming(incoming.parent)
    assert found.drops() == []
    assert found.stuck == {"a\nb.bundle"}
    assert "\n" not in caplog.messages[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_sticky_folder_of_another_user(incoming: Path) -> None:
    """Only who owns a file may remove it there, or root with CAP_FOWNER, which the units give."""
    (incoming / f"{NAME}.bundle").touch()
    for path in (incoming / f"{NAME}.bundle", incoming):
        os.chown(path, 65534, 65534)
    incoming.chmod(0o1700)
    found = Incoming(incoming.parent)
    (drop,) = found.drops()
    assert drop == Drop(f"{NAME}.bundle", by_hand=False, digest=NAME)
    assert found.take_away(drop.name)
    assert list(incoming.iterdir()) == []
