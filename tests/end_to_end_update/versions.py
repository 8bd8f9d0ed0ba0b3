"""Versions of the agent made on the spot: this checkout under another number, and what can be wrong with one."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.update.bundles import CHECKOUT, NEXT, installed_wheel, make_bundle, make_wheel, real_agent

LOCK = CHECKOUT / "scripts/requirements.lock"


def requirements() -> list[str]:
    """The packages an agent needs, but for the tool that builds them."""
    return [name for name in re.findall(r"(?m)^([a-z0-9-]+)==", LOCK.read_text()) if name != "setuptools"]


def share_packages(folder: Path) -> Path:
    """A wheel that makes what is installed here visible to a release, and nothing of it but what an agent needs.

    It stands for the wheels of all packages, which would have to be unpacked and compiled for each release.
    """
    shared = folder / "packages"
    shared.mkdir(parents=True)
    for name in requirements():
        for top, path in _top_level(name):
            if not (shared / top).exists():
                (shared / top).symlink_to(path)
    return make_wheel(folder, "shared-packages", "1", {"shared.pth": f"{shared}\n"})


def packed_packages(folder: Path) -> list[Path]:
    """The packages themselves."""
    return [installed_wheel(folder, name) for name in requirements()]


def _top_level(package: str) -> Iterator[tuple[str, Path]]:
    for file in importlib.metadata.distribution(package).files or ():
        if ".." not in file.parts and file.parts[0] != "__pycache__":
            yield file.parts[0], Path(str(file.locate())).parents[len(file.parts) - 1] / file.parts[0]


@dataclass(frozen=True)
class Maker:
    """Makes bundles in `folder`, signed with `key`; `packages` are the wheels beside the agent's."""

    folder: Path
    key: Ed25519PrivateKey
    packages: tuple[Path, ...]

    def bundle(self, version: str = NEXT, changes: Mapping[str, str] | None = None, *, full: bool = False) -> bytes:
        """A bundle of this checkout. `full`: with all packages in it."""
        wheels = self.folder / f"wheels-{len(list(self.folder.iterdir()))}"
        packages = packed_packages(wheels) if full else list(self.packages)
        path = wheels.with_suffix(".bundle")
        make_bundle(path, self.key, [real_agent(wheels, version, changes), *packages], version=version)
        return path.read_bytes()


def appended(path: str, text: str) -> dict[str, str]:
    """A change of `real_agent`: a module of this checkout with something after it."""
    return {path: f"{(CHECKOUT / path).read_text()}\n\n{text}"}


@dataclass(frozen=True)
class BadVersion:
    """`cause` is a pattern that the reason must match; `refused`: it is never switched to."""

    name: str
    changes: Mapping[str, str]
    cause: str
    refused: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Of signage-agent.service."""
    probation_s: float = 60.0


_READY = """
_ready = Notifier.ready


def _ready_and_then(self):
    _ready(self)
    {then}


Notifier.ready = _ready_and_then
"""

BAD_VERSIONS = (
    BadVersion(
        "its command ends with exit code 1 as it is imported",
        appended("agent/cli.py", "raise SystemExit(1)"),
        "signage-agent version failed: exit code 1",
        refused=True,
    ),
    BadVersion(
        "a package is missing that its command needs",
        appended("agent/cli.py", "import a_package_that_is_missing"),
        "signage-agent version failed: ModuleNotFoundError: No module named 'a_package_that_is_missing'",
        refused=True,
    ),
    BadVersion(
        "a package is missing that the daemon needs",
        appended("agent/daemon.py", "import a_package_that_is_missing"),
        "3 starts failed; the last one ended with exit code 1: ModuleNotFoundError: .*'a_package_that_is_missing'",
    ),
    BadVersion(
        "the daemon ends with exit code 1 as it is imported",
        appended("agent/daemon.py", "raise SystemExit(1)"),
        "3 starts failed; the last one ended with exit code 1",
    ),
    BadVersion(
        "it does not take the configuration: exit code 78",
        appended("agent/settings/load.py", "def load_settings(*_, **__):\n    raise SettingsError(['update.new: is missing'])"),
        r"3 starts failed; the last one ended with exit code 78 \(faults in the configuration\): update.new: is missing",
    ),
    BadVersion(
        "it hangs before it is ready, and does not heed SIGTERM",
        appended(
            "agent/daemon.py",
            "def run(*_):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True:\n        time.sleep(1)",
        ),
        "not proved within [0-9]+ s: it was never ready",
        overrides={"TimeoutStopSec": "500ms"},
        probation_s=5.0,
    ),
    BadVersion(
        "it hangs before it is ready, until systemd ends it",
        appended("agent/daemon.py", "def run(*_):\n    time.sleep(3600)"),
        "3 starts failed; the last one was not ready in time",
        overrides={"TimeoutStartSec": "3"},
    ),
    BadVersion(
        "its event loop stops after it was ready: the watchdog",
        appended("agent/system/notify.py", _READY.format(then="time.sleep(3600)")),
        "3 starts failed; the last one hung, the watchdog ended it",
        overrides={"WatchdogSec": "2"},
    ),
    BadVersion(
        "it crashes 3 s after it was ready",
        appended("agent/system/notify.py", _READY.format(then="asyncio.get_running_loop().call_later(3, os._exit, 7)")),
        "3 starts failed; the last one ended with exit code 7",
    ),
    BadVersion(
        "it never presents a picture",
        {"agent/screen/worker.py": "raise SystemExit(1)\n"},
        "not proved within [0-9]+ s: .*screen front presented no picture",
        probation_s=8.0,
    ),
    BadVersion(
        "it shows nothing of the playlist",
        appended("agent/stage/playlist_program.py", "PlaylistProgram.picture = lambda *_: None"),
        "not proved within [0-9]+ s: .*screen front showed nothing of its playlist",
        probation_s=8.0,
    ),
    BadVersion(
        "it never reaches a server",
        appended(
            "agent/links/link.py",
            "async def _never(self):\n    await asyncio.get_running_loop().create_future()\n\n\nLink.connect_forever = _never",
        ),
        "not proved within [0-9]+ s: .*no server was reached; before the update one of main, speaker was",
        probation_s=8.0,
    ),
)


def _named(*words: str) -> tuple[BadVersion, ...]:
    return tuple(next(bad for bad in BAD_VERSIONS if word in bad.name) for word in words)


# Those that the tests try; the table (scripts/update-table) has all.
DO_NOT_START = _named("its command ends", "the daemon needs", "exit code 78", "does not heed SIGTERM")
BLANK = _named("crashes", "never presents", "never reaches")
(CRASHES_LATE, NO_PICTURE, _) = BLANK
