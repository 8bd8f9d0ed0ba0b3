"""What a box demands of a bundle."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from agent.update import demands
from agent.update.build import BuildError
from agent.update.bundle import BundleError
from agent.update.demands import RefusedError, Settings, check_demands, check_room, missing_packages, read_settings
from agent.update.manifest import BundledFile, Manifest
from tests.update.boxes import write_command
from tests.update.bundles import PYTHON


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """The release that runs: version 1.0.0."""
    write_command(tmp_path / "1.0.0", "1.0.0")
    return tmp_path / "1.0.0"


def _manifest(**fields: Any) -> Manifest:
    wheel = BundledFile("a-1-py3-none-any.whl", 1000, "0" * 64, 2000)
    values = {
        "version": "2.0.0",
        "minimum_version": "0",
        "downgrade": False,
        "architecture": platform.machine(),
        "python": PYTHON,
    }
    return Manifest(**{**values, "camera": False, "packages": (), "files": (wheel,), **fields})


def _settings(path: Path, text: str) -> Settings:
    path.write_text(text)
    path.chmod(0o640)
    return read_settings(path)


def test_settings(tmp_path: Path) -> None:
    """What is missing or makes no sense is as if it was not there."""
    path = tmp_path / "agent.toml"
    assert _settings(path, "") == Settings()
    text = '[update]\ntrusted_keys = ["a", 7, "b"]\nprobation_s = 90\n[control]\nsocket = "/x"\n'
    assert _settings(path, text) == Settings(("a", "b"), 90.0, Path("/x"))
    assert _settings(path, 'update = 1\ncontrol = "x"\n') == Settings()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("nan", 120.0), ("inf", 120.0), ("true", 120.0), ('"90"', 120.0), ("-5", 0.0), ("9" * 18, 86400.0), ("1e300", 86400.0)],
)
def test_odd_probation(tmp_path: Path, value: str, seconds: float) -> None:
    """It becomes a number that the record takes."""
    assert _settings(tmp_path / "agent.toml", f"[update]\nprobation_s = {value}\n").probation_s == seconds


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_settings_that_others_can_write(tmp_path: Path, mode: int) -> None:
    """Their keys would be trusted."""
    path = tmp_path / "agent.toml"
    path.touch()
    path.chmod(mode)
    with pytest.raises(RefusedError, match="must belong to root"):
        read_settings(path)


def test_what_fits(running: Path, tmp_path: Path) -> None:
    """A newer version for this box."""
    check_demands(_manifest(), running, tmp_path)
    check_demands(_manifest(version="0.9.0", downgrade=True), running, tmp_path)
    check_demands(_manifest(downgrade=True), running, tmp_path, spent=True)


def test_what_does_not_fit(running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence each."""
    with pytest.raises(BundleError, match="not signed as a downgrade"):
        check_demands(_manifest(version="0.9.0"), running, tmp_path)
    with pytest.raises(RefusedError, match="installed here before"):
        check_demands(_manifest(version="0.9.0", downgrade=True), running, tmp_path, spent=True)
    with pytest.raises(RefusedError, match="apt-get install no-such-package-1"):
        check_demands(_manifest(packages=("no-such-package-1",)), running, tmp_path)
    (running / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    with pytest.raises(RefusedError, match="camera"):
        check_demands(_manifest(), running, tmp_path)
    check_demands(_manifest(camera=True), running, tmp_path)
    monkeypatch.setattr(demands, "BARE_VENV_BYTES", 2**60)
    with pytest.raises(RefusedError, match="MB of free disk space"):
        check_demands(_manifest(camera=True), running, tmp_path)
    with pytest.raises(BuildError, match="cannot be run"):
        check_demands(_manifest(), tmp_path / "none", tmp_path)


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Debian does not know is missing; so is everything where Debian cannot be asked."""
    assert missing_packages([]) == []
    assert missing_packages(["dpkg", "no-such-package-1"]) == ["no-such-package-1"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert missing_packages(["dpkg"]) == ["dpkg"]


def test_room(tmp_path: Path) -> None:
    """What is there is enough or not; a folder that is not there is an error."""
    check_room(tmp_path, 0)
    with pytest.raises(RefusedError, match="MB are left"):
        check_room(tmp_path, 2**60)
    with pytest.raises(OSError, match="No such file"):
        check_room(tmp_path / "none", 0)
