"""The root hand: what it installs, what it refuses, and that nobody without root leads it astray."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update import build, demands, disk
from agent.update.guard import TIMER, UNIT
from agent.update.install import TAKEN_UP, Installer, Place
from agent.update.slots import Releases, Slots
from tests.update import bundles
from tests.update.boxes import OLD, OLD_DIGEST, FakeBox, FakeBuilder
from tests.update.bundles import NEXT


@pytest.fixture
def box(tmp_path: Path, key: Ed25519PrivateKey) -> FakeBox:
    """A box that runs the old version."""
    return FakeBox(tmp_path, key)


def _refused(slots: Slots) -> str:
    """The cause, after it was checked that a bundle was refused."""
    assert slots.candidate is None
    assert slots.last_result is not None
    assert slots.last_result.result == "refused"
    return slots.last_result.cause


def test_bundle_is_installed_and_switched_to(box: FakeBox) -> None:
    """The release is complete, the record has a candidate, the timer runs, the agent is restarted, nothing lies around."""
    _, digest = box.drop()
    box.config.write_text(box.config.read_text().replace("[update]", "[update]\nprobation_s = 90"))
    candidate = box.install().candidate
    assert candidate is not None
    found = (candidate.release, candidate.version, candidate.digest, candidate.previous, candidate.by, candidate.probation_s)
    assert found == (NEXT, NEXT, digest, OLD, "", 90.0)
    assert (box.releases.current(), box.releases.digest(NEXT)) == (NEXT, digest)
    assert box.systemctl_calls() == [f"start --no-block {TIMER}", f"try-restart --no-block {UNIT}"]
    assert box.junk() == []
    box.install()
    assert box.start() == NEXT


def test_daemon_is_told_over_its_socket(box: FakeBox) -> None:
    """An agent that answers restarts by itself."""
    box.drop()
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(box.path / "socket"))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer, name="agent")
        thread.start()
        box.install()
        thread.join(20)
    assert asked[0].startswith(b"POST /update/look HTTP/1.1\r\n")
    assert box.systemctl_calls() == [f"start --no-block {TIMER}"]


def test_real_environment(box: FakeBox, capfd: pytest.CaptureFixture[str]) -> None:
    """venv and pip make a release in which the command says its version and the packages are those of the bundle."""
    extra = bundles.make_wheel(box.path / "out", "extra", "1.5", {"extra.py": "VALUE = 7\n"})
    box.drop(wheels=[bundles.tiny_agent(box.path / "out"), extra])
    assert box.install(build.VenvBuilder()).candidate is not None
    command = box.root / "current/bin/signage-agent"
    assert subprocess.run([command, "version"], capture_output=True, text=True, check=True).stdout == f"signage-agent {NEXT}\n"
    say = [str(box.root / "current/bin/python"), "-I", "-c", "import extra, agent; print(extra.VALUE, agent.__file__)"]
    assert subprocess.run(say, capture_output=True, text=True, check=True).stdout.startswith(f"7 {box.root}")
    assert box.junk() == []
    assert "bundle is looked at" not in capfd.readouterr().out


def test_wheel_that_pip_refuses(box: FakeBox) -> None:
    """pip's words are the cause, and the release is gone."""
    wheels = [
        bundles.tiny_agent(box.path / "out"),
        bundles.make_wheel(box.path / "out", "other", "1", {"other.py": ""}, tag="cp27-none-win32"),
    ]
    box.drop(wheels=wheels)
    assert "not a supported wheel" in _refused(box.install(build.VenvBuilder()))
    assert (box.start(), box.junk()) == (OLD, [])


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"version": OLD}, "installed already"),
        ({"version": "0.9.0"}, "not signed as a downgrade"),
        ({"minimum_version": "1.5.0"}, "needs 1.5.0 before it"),
        ({"architecture": "x86_64" if os.uname().machine == "aarch64" else "aarch64"}, "the bundle is for"),
        ({"python": "3.99"}, "Python 3.99"),
        ({"packages": ("no-such-package-1", "dpkg")}, "sudo apt-get install no-such-package-1"),
    ],
)
def test_what_does_not_fit_is_refused(box: FakeBox, fields: dict[str, Any], cause: str) -> None:
    """One clear sentence in the record with the bundle's digest, and nothing left behind."""
    _, digest = box.drop(**fields)
    slots = box.install()
    assert cause in _refused(slots)
    assert slots.last_result is not None
    assert (slots.last_result.digest, slots.attempts) == (digest, {})
    assert (box.start(), box.junk(), box.releases.names()) == (OLD, [], [OLD])


def test_signature_is_checked_again(box: FakeBox, stranger: Ed25519PrivateKey) -> None:
    """Neither a stranger's bundle nor a changed one nor anything else is believed because the daemon left it there."""
    box.key, trusted = stranger, box.key
    box.drop()
    assert "not trusted" in _refused(box.install())
    box.key = trusted
    good, _ = box.drop()
    data = good.read_bytes()
    good.unlink()
    for bad in (
        bytes([data[0] ^ 1]) + data[1:],
        data[:-30] + bytes([data[-30] ^ 1]) + data[-29:],
        data[:-1],
        data + b"x",
        data[:10],
        b"",
        b"x" * 5000,
    ):
        box.drop_bytes(bad)
        _refused(box.install())
        assert (box.start(), box.junk()) == (OLD, [])


def test_downgrade_that_is_signed_as_one(box: FakeBox) -> None:
    """An older version is installed if its bundle says so."""
    box.drop(version="0.5.0", downgrade=True)
    assert box.install().candidate is not None
    assert box.start() == "0.5.0"


def _keep(box: FakeBox) -> None:
    """What is on probation proves itself."""
    box.start()
    candidate = box.slots().candidate
    assert candidate is not None
    box.daemon_says("committed.json", {"digest": candidate.digest})
    assert box.check().candidate is None


def test_downgrade_counts_once(box: FakeBox) -> None:
    """An old bundle that leads to an older version cannot be played again years later, but for somebody at the box."""
    path, _ = box.drop(version="0.5.0", downgrade=True)
    data = path.read_bytes()
    box.install()
    _keep(box)
    box.drop(version="2.0.0")
    box.install()
    _keep(box)
    box.drop_bytes(data)
    cause = _refused(box.install())
    assert cause == "it is older than 2.0.0 and was installed here before; it is installed again only by hand"
    assert (box.start(), box.junk(), box.slots().attempts) == ("2.0.0", [], {})
    box.drop_bytes(data, by_hand=True)
    assert box.install().candidate is not None


def test_way_up_stays_open(box: FakeBox) -> None:
    """A bundle that may lead to an older version is installed any number of times if here it leads to a newer one."""
    path, _ = box.drop(version="2.0.0", downgrade=True)
    data = path.read_bytes()
    box.install()
    _keep(box)
    box.drop(version="1.5.0", downgrade=True)
    box.install()
    _keep(box)
    box.drop_bytes(data)
    assert box.install().candidate is not None


def test_keys_count_only_if_root_alone_can_change_them(box: FakeBox) -> None:
    """A configuration that others can write, that is faulty, has no keys or is missing: refused."""
    good = box.config.read_text()
    for text, mode, cause in (
        (good, 0o666, "must belong to root"),
        ("[update", 0o640, "faulty"),
        ("[update]\ntrusted_keys = 7", 0o640, "no key is trusted here"),
        ("update = 1", 0o640, "no key is trusted here"),
        (None, 0o640, "No such file"),
    ):
        box.config.unlink()
        if text is not None:
            box.config.write_text(text)
            box.config.chmod(mode)
        box.drop()
        assert cause in _refused(box.install())
        assert box.junk() == []
        box.config.touch()


def test_rolled_back_is_refused_until_asked_for_by_hand(box: FakeBox) -> None:
    """A digest that was gone back from comes in again only as .by-hand; then it has its three starts again."""
    _, digest = box.drop()
    box.install()
    for _ in range(4):
        box.start()
    assert box.slots().rolled_back == (digest,)
    box.drop_bytes(_bundle(box))
    assert "only by hand" in _refused(box.install())
    assert box.slots().rolled_back == (digest,)
    box.drop_bytes(_bundle(box), by_hand=True)
    candidate = box.install().candidate
    assert candidate is not None
    assert (candidate.by, candidate.starts) == ("hand", 0)
    assert [box.start() for _ in range(4)] == [NEXT, NEXT, NEXT, OLD]
    assert box.slots().rolled_back == (digest,)


def _bundle(box: FakeBox) -> bytes:
    """The same bundle again."""
    return bundles.make_bundle(box.path / "out" / "next.bundle", box.key).read_bytes()


class _Crash(BaseException):
    """The installer is gone."""


class _CrashingBuilder:
    """Kills the installer."""

    def make(self, release: Path, wheels: Sequence[Path], scratch: Path, *, system_site_packages: bool) -> None:
        """As build.Builder."""
        (release / "bin").mkdir(parents=True)
        raise _Crash


@pytest.mark.parametrize("by_hand", [False, True])
def test_bundle_that_kills_the_installer_is_given_up(box: FakeBox, by_hand: bool) -> None:
    """Three attempts that end in a crash are enough; by hand there are three again."""
    path, _ = box.drop(by_hand=by_hand)
    data = path.read_bytes()
    for _ in range(3):
        with pytest.raises(_Crash):
            box.install(_CrashingBuilder())
        assert path.exists()
    assert "3 times and never came to an end" in _refused(box.install(_CrashingBuilder()))
    assert (box.start(), box.junk()) == (OLD, [])
    box.drop_bytes(data)
    if not by_hand:
        assert "3 times" in _refused(box.install())
    box.drop_bytes(data, by_hand=True)
    assert box.install().candidate is not None


def test_version_that_says_something_else(box: FakeBox) -> None:
    """The command of the new release must run and say the manifest's version."""

    class Builder(FakeBuilder):
        def make(self, release: Path, wheels: Sequence[Path], scratch: Path, *, system_site_packages: bool) -> None:
            super().make(release, wheels, scratch, system_site_packages=system_site_packages)
            (release / "bin/signage-agent").write_text("#!/bin/sh\necho 'no module' >&2\nexit 1\n")

    box.drop()
    assert _refused(box.install(Builder())) == "signage-agent version failed: no module"
    assert (box.start(), box.junk()) == (OLD, [])


def test_version_that_could_not_install_the_next_one(box: FakeBox) -> None:
    """Its own root hand has to run before it is switched to: nothing else would ever get the box off it."""
    wheel = bundles.make_wheel(
        box.path / "out",
        "signage-agent",
        NEXT,
        {
            "agent/__init__.py": "",
            "agent/cli.py": f"def main():\n    print('signage-agent {NEXT}')\n",
            "agent/update/__init__.py": "",
            "agent/update/install.py": "import a_package_that_is_missing\n",
        },
        commands={"signage-agent": "agent.cli:main"},
    )
    box.drop(wheels=[wheel])
    cause = _refused(box.install(build.VenvBuilder()))
    assert cause == "python -m agent.update.install failed: ModuleNotFoundError: No module named 'a_package_that_is_missing'"
    assert (box.start(), box.junk()) == (OLD, [])


def test_own_root_hand_could_install_something() -> None:
    """What is asked of a new release holds for this one."""
    command = [sys.executable, "-m", "agent.update.install", "--self-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_what_was_kept_is_trusted(box: FakeBox) -> None:
    """A release of a bundle is marked until it has proved itself, also one that is used again; an old guard knows no marks."""
    path, _ = box.drop()
    data = path.read_bytes()
    box.install()
    assert box.releases.unproved(NEXT)
    _keep(box)
    assert not box.releases.unproved(NEXT)
    box.releases.switch(OLD)
    box.drop_bytes(data)
    assert box.install(_CrashingBuilder()).candidate is not None
    assert box.releases.unproved(NEXT)
    _keep(box)
    box.releases.doubt(NEXT)
    box.install()
    assert not box.releases.unproved(NEXT)


def test_full_disk(box: FakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room it is refused before anything is copied, and named by its digest."""
    path, digest = box.drop()
    monkeypatch.setattr(demands, "MARGIN_BYTES", 2**60)
    slots = box.install()
    assert "MB of free disk space" in _refused(slots)
    assert slots.last_result is not None
    assert slots.last_result.digest == digest
    assert not path.exists()
    assert box.junk() == []


def test_names_that_lead_elsewhere(box: FakeBox, tmp_path: Path) -> None:
    """Links, second names, pipes, folders and other names go without being followed; what they lead to stays."""
    good, _ = box.drop()
    kept = tmp_path / "kept.bundle"
    good.rename(kept)
    name = "0123456789abcdef.bundle"
    (box.incoming / name).symlink_to(kept)
    assert "Too many levels" in _refused(box.install())
    (box.incoming / name).hardlink_to(kept)
    assert "not a plain file" in _refused(box.install())
    os.mkfifo(box.incoming / name)
    _refused(box.install())
    (box.incoming / name / "deep").mkdir(parents=True)
    _refused(box.install())
    (box.incoming / "..bundle").touch()
    (box.incoming / "-x.bundle").touch()
    (box.incoming / "being-received.part").touch()
    box.install()
    assert [path.name for path in box.incoming.iterdir()] == ["being-received.part"]
    assert kept.exists()
    box.incoming.rename(tmp_path / "real")
    box.incoming.symlink_to(tmp_path / "real")
    kept.rename(tmp_path / "real" / name)
    assert box.install().candidate is None
    assert (tmp_path / "real" / name).exists()


def test_bundle_that_cannot_be_removed(box: FakeBox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is not copied for ever: after some times it is left where it is, which is written down once; others are installed."""
    path, _ = box.drop(version="0.9.0")
    remove, copy_in = disk.remove_foreign, disk.copy_in

    def remove_others(directory: int, name: str) -> None:
        if name == path.name:
            raise PermissionError(1, "Operation not permitted", name)
        remove(directory, name)

    def copy_others(file: BinaryIO, copy: Path, size: int) -> str:
        assert copy.name != path.name
        return copy_in(file, copy, size)

    monkeypatch.setattr(disk, "remove_foreign", remove_others)
    for _ in range(TAKEN_UP):
        assert "not signed as a downgrade" in _refused(box.install())
    monkeypatch.setattr(disk, "copy_in", copy_others)
    assert _refused(box.install()) == "the installer took it up 5 times and could neither install nor remove it"
    record = (box.root / "update/slots.json").read_bytes()
    caplog.clear()
    for _ in range(3):
        box.install()
    assert (box.root / "update/slots.json").read_bytes() == record
    assert "bundle is looked at" not in caplog.text
    box.drop()
    assert box.install().candidate is not None
    _keep(box)
    assert path.exists()
    monkeypatch.undo()
    assert box.install().attempts == {}
    assert not path.exists()


def test_pause_after_something_that_cannot_be_removed(box: FakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends when there is something new."""
    box.drop(version="0.9.0")

    def fails(_directory: int, name: str) -> None:
        raise PermissionError(1, "Operation not permitted", name)

    monkeypatch.setattr(disk, "remove_foreign", fails)
    installer = Installer(Place(box.box, box.config, 0.0), FakeBuilder())
    installer.run()
    assert installer.stuck
    installer.wait(0.01)
    waiting = threading.Thread(target=installer.wait, args=(600.0,), name="wait")
    waiting.start()
    box.drop()
    waiting.join(30)
    assert not waiting.is_alive()


def test_copying_that_is_cut_off_again_and_again(box: FakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle whose very copying takes the installer along is given up as well."""
    path, digest = box.drop()

    def crash(*_: object) -> str:
        raise _Crash

    monkeypatch.setattr(disk, "copy_in", crash)
    for _ in range(TAKEN_UP):
        with pytest.raises(_Crash):
            box.install()
    slots = box.install()
    assert "5 times" in _refused(slots)
    assert slots.last_result is not None
    assert (slots.last_result.digest, slots.attempts, path.exists()) == (digest[:16], {}, False)


def test_refusal_leaves_the_verdict(box: FakeBox) -> None:
    """What became of the version before is still known after another bundle was refused."""
    box.drop()
    box.install()
    for _ in range(4):
        box.start()
    box.drop(version="0.9.0")
    slots = box.install()
    _refused(slots)
    assert slots.verdict is not None
    assert (slots.verdict.result, slots.verdict.version) == ("rolled back", NEXT)


def test_kept_releases(box: FakeBox) -> None:
    """The new one, the one before, and one more stay; what a process runs from stays; what was gone back from goes first."""
    box.add_release("0.9.0", "a", age_s=100)
    box.add_release("0.8.0", "b", age_s=200)
    box.add_release("0.7.0", "c", age_s=300)
    box.store(Slots(rolled_back=("a",)))
    box.drop()
    box.install()
    assert set(box.releases.names()) == {NEXT, OLD, "0.8.0"}

    box.add_release("0.6.0", "d", age_s=400)
    command = [sys.executable, "-c", "input()", str(box.releases.path("0.6.0") / "bin/python")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        build.remove_old(box.releases, [OLD], [])
        assert process.stdin is not None
        process.stdin.close()
    assert set(box.releases.names()) == {NEXT, OLD, "0.6.0"}
    build.remove_old(box.releases, [], ["d", OLD_DIGEST])
    assert set(box.releases.names()) == {NEXT}


def test_same_version_with_other_contents(box: FakeBox) -> None:
    """A complete release is never changed: the other one gets a name of its own; the same one is used again."""
    box.add_release(NEXT, "8" * 64, age_s=10)
    _, digest = box.drop()
    candidate = box.install().candidate
    assert candidate is not None
    assert candidate.release == f"{NEXT}+{digest[:8]}"
    assert box.releases.digest(NEXT) == "8" * 64
    for _ in range(4):
        box.start()
    box.drop_bytes(_bundle(box), by_hand=True)
    box.add_release(candidate.release, digest)
    marker = box.releases.path(candidate.release) / ".complete"
    before = marker.stat().st_mtime_ns
    box.store(replace(box.slots(), rolled_back=()))
    assert box.install(_CrashingBuilder()).candidate is not None
    assert marker.stat().st_mtime_ns == before


def test_camera_is_not_lost(box: FakeBox) -> None:
    """A box with the camera's packages takes bundles with them only, and its next release sees Debian's packages, too."""
    (box.releases.path(OLD) / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    box.drop()
    assert "--with-camera" in _refused(box.install())
    box.drop(camera=True)
    assert box.install().candidate is not None
    assert build.sees_system_packages(box.releases.path(NEXT))


def test_another_version_is_on_probation(box: FakeBox, caplog: pytest.LogCaptureFixture) -> None:
    """A second bundle waits for the end of the first one's probation, and is refused if that does not come."""
    box.drop()
    box.install()
    box.start()
    box.drop(version="9.1.0")
    thread = threading.Thread(target=box.install, kwargs={"wait_s": 60.0}, name="installer")
    caplog.set_level("INFO")
    thread.start()
    deadline = time.monotonic() + 30
    while "bundle waits" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    slots = box.slots()
    assert slots.candidate is not None
    box.daemon_says("committed.json", {"digest": slots.candidate.digest})
    box.check()
    thread.join(60)
    assert not thread.is_alive()
    assert len(list(box.incoming.iterdir())) == 1
    candidate = box.install().candidate
    assert candidate is not None
    assert (candidate.version, candidate.previous) == ("9.1.0", NEXT)
    box.start()
    box.drop(version="9.2.0")
    last = box.install(wait_s=0.2).last_result
    assert last is not None
    assert last.cause == "another version is still on probation"


def test_two_installers_at_once(box: FakeBox) -> None:
    """The second waits for the first."""
    started, go_on = threading.Event(), threading.Event()

    class Slow(FakeBuilder):
        def make(self, release: Path, wheels: Sequence[Path], scratch: Path, *, system_site_packages: bool) -> None:
            started.set()
            assert go_on.wait(30)
            super().make(release, wheels, scratch, system_site_packages=system_site_packages)

    box.drop()
    first = threading.Thread(target=box.install, args=(Slow(),), name="first")
    first.start()
    assert started.wait(30)
    second = threading.Thread(target=box.install, args=(_CrashingBuilder(),), name="second")
    second.start()
    assert box.start() == OLD
    go_on.set()
    first.join(30)
    second.join(30)
    assert not first.is_alive()
    assert not second.is_alive()
    candidate = box.slots().candidate
    assert candidate is not None
    assert (box.start(), box.junk()) == (NEXT, [])


def test_not_installed_at_all(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """Without any release a bundle is refused, not a crash."""
    box = FakeBox(tmp_path, key)
    shutil.rmtree(box.releases.folder)
    (box.root / "current").unlink()
    box.drop()
    _refused(box.install())
    assert Releases(box.root).current() == ""
