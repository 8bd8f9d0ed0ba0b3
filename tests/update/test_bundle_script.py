"""scripts/bundle, as people run it."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from agent.update.bundle import Manifest, verify
from agent.update.index import parse_index
from tests.update.bundles import CHECKOUT, PYTHON, installed_wheel


def _bundle(*arguments: str | Path, cwd: Path, fails: bool = False) -> subprocess.CompletedProcess[str]:
    command = [CHECKOUT / "scripts/bundle", "--no-apt", *arguments]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=100)
    assert bool(result.returncode) == fails, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the lock for this machine, made from what is installed here."""
    directory = tmp_path_factory.mktemp("wheels")
    locked = re.findall(r"(?m)^([a-z0-9-]+)==", (CHECKOUT / "scripts/requirements.lock").read_text())
    installed = {re.sub("[-_.]+", "-", one.name).lower() for one in importlib.metadata.distributions()}
    for package in sorted({*locked} & installed - {"setuptools"}):
        installed_wheel(directory, package)
    return directory


@pytest.fixture
def key(tmp_path: Path) -> str:
    """The public half of a new key in the file `key`."""
    return _bundle("--new-key", "key", cwd=tmp_path).stdout.strip()


def _verified(path: Path, key: str) -> Manifest:
    with path.open("rb") as file:
        return verify(file, [key])


def test_help(tmp_path: Path) -> None:
    """--help says how keys and bundles are made, and does nothing else."""
    text = _bundle("--help", cwd=tmp_path).stdout
    for option in ("--new-key", "--key", "--index", "--wheels", "--with-camera", "--version", "--downgrade", "--minimum-version"):
        assert option in text
    assert "set -euo" not in text


def test_new_key(tmp_path: Path, key: str) -> None:
    """The public key is all that is printed; the private one is the owner's; it is never overwritten."""
    assert re.fullmatch(r"ed25519:[A-Za-z0-9+/]{43}=", key)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "key").read_bytes()
    assert "key is there already and stays as it is" in _bundle("--new-key", "key", cwd=tmp_path, fails=True).stderr
    assert (tmp_path / "key").read_bytes() == before


def test_a_bundle_of_this_checkout(tmp_path: Path, key: str, wheels: Path) -> None:
    """The agent of this checkout under another version, with the wheels of a directory, signed, and named in an index."""
    options = ("--version", "9.1.0rc2", "--minimum-version", "0.1", "--downgrade", "--index", "updates")
    said = _bundle("--key", "key", *options, "--wheels", wheels, cwd=tmp_path).stderr
    (offer,) = parse_index((tmp_path / "updates/index.json").read_bytes())
    assert {path.name for path in (tmp_path / "updates").iterdir()} == {"index.json", offer.file}
    assert offer.file in said
    assert key in said
    path = tmp_path / "updates" / offer.file
    manifest = _verified(path, key)
    assert (manifest.version, manifest.minimum_version, manifest.downgrade, manifest.camera) == ("9.1.0rc2", "0.1", True, False)
    assert (manifest.architecture, manifest.python) == (offer.architecture, PYTHON)
    assert {"libmpv2", "python3-venv"} <= set(manifest.packages)
    assert "gcc" not in manifest.packages
    packages = {file.package for file in manifest.files}
    assert {"signage-agent", "aiohttp", "cryptography", "pyalsaaudio", "websockets"} <= packages
    assert not packages & {"setuptools", "pip", "pytest", "aiortc"}
    # All files of the package are in it, under the new version.
    agent = next(file for file in manifest.files if file.package == "signage-agent")
    data = path.read_bytes()
    begin = len(data) - sum(file.size for file in manifest.files[manifest.files.index(agent) :])
    (tmp_path / agent.name).write_bytes(data[begin : begin + agent.size])
    with zipfile.ZipFile(tmp_path / agent.name) as wheel:
        assert '__version__ = "9.1.0rc2"' in wheel.read("agent/__init__.py").decode()
        sources = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "agent").rglob("*.py")}
        assert sources <= set(wheel.namelist())
        assert "agent/screen/overlay.lua" in wheel.namelist()


def test_missing_wheels(tmp_path: Path, key: str, wheels: Path) -> None:
    """What is missing is listed, and nothing is left behind."""
    some = tmp_path / "some"
    some.mkdir()
    for wheel in wheels.iterdir():
        if not wheel.name.startswith(("aiohttp-", "yarl-")):
            (some / wheel.name).symlink_to(wheel)
    (some / "aiohttp-1.0-py3-none-any.whl").write_bytes(b"another version")
    (some / "no wheel.whl").write_bytes(b"")
    said = _bundle("--key", "key", "--wheels", "some", "-o", "x.bundle", cwd=tmp_path, fails=True).stderr
    first, *missing = said.splitlines()
    assert first == "bundle: some has no wheel that fits this machine of:"
    assert [line.strip().split("==")[0] for line in missing] == ["aiohttp", "yarl"]
    assert {path.name for path in tmp_path.iterdir()} == {"key", "some"}


def test_what_is_refused_at_once(tmp_path: Path, key: str) -> None:
    """A version that is none, a file that is no key, a bundle that is not beside its index: one clear line each."""
    (tmp_path / "other").write_text("no key")
    assert "1.x is not a version such as 1.2.3" in _bundle("--key", "key", "--version", "1.x", cwd=tmp_path, fails=True).stderr
    assert "other does not hold a private key" in _bundle("--key", "other", cwd=tmp_path, fails=True).stderr
    assert "No such file" in _bundle("--key", "nothing", cwd=tmp_path, fails=True).stderr
    assert "is not a directory" in _bundle("--key", "key", "--wheels", "nothing", cwd=tmp_path, fails=True).stderr
    said = _bundle("--key", "key", "--index", "a", "-o", "b/x.bundle", cwd=tmp_path, fails=True).stderr
    assert said == "bundle: b/x.bundle is not in a: an index names the bundles beside it\n"
    assert {path.name for path in tmp_path.iterdir()} == {"key", "other"}
