"""What a bundle says about itself: the manifest, its model and its limits.

The manifest is canonical JSON (sorted keys, no spaces, ASCII), so that one content has one form. Keys that are not known here are
ignored: a later version may add some. What must not be ignored comes with another `format`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from agent.update.versions import parse_version

FORMAT = 1
BUNDLE_BYTES = 1024**3
MANIFEST_BYTES = 1024**2
UNPACKED_BYTES = 2 * 1024**3
FILES = 500
PACKAGES = 100
AGENT = "signage-agent"

_ERROR_CHARACTERS = 300
_SHOWN_CHARACTERS = 80
_NAME_CHARACTERS = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,62}")
_PYTHON = re.compile(r"3\.(?:0|[1-9][0-9]?)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARCHITECTURES = ("aarch64", "x86_64", "any")


class BundleError(Exception):
    """A bundle that is refused. The text is one line of at most 300 characters and says why; it holds no secret."""

    def __init__(self, text: str) -> None:
        line = "".join(character if character.isprintable() else "?" for character in text)
        super().__init__(line if len(line) <= _ERROR_CHARACTERS else line[: _ERROR_CHARACTERS - 3] + "...")


@dataclass(frozen=True)
class BundledFile:
    """A wheel of the bundle: its length, its digest in small hexadecimal digits, and its length when it is unpacked."""

    name: str
    size: int
    sha256: str
    unpacked: int

    @property
    def package(self) -> str:
        """The package in the wheel, written as indexes write it: `signage-agent`."""
        return re.sub(r"[-_.]+", "-", self.name.split("-", 1)[0]).lower()

    @property
    def version(self) -> str:
        """The version in the wheel's name."""
        return self.name.split("-", 2)[1]


@dataclass(frozen=True)
class Manifest:
    """What a bundle installs and where it fits.

    `minimum_version` is the oldest version that can be brought up to this one; `downgrade` allows to go back to this one;
    `camera` says that the packages of the camera are in it; `packages` are the Debian packages it needs.
    """

    version: str
    minimum_version: str
    downgrade: bool
    architecture: str
    python: str
    camera: bool
    packages: tuple[str, ...]
    files: tuple[BundledFile, ...]


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in `data`, every rule of it checked. Raises BundleError."""
    try:
        content = json.loads(data.decode("ascii"))
        canonical = encode_json(content) == data
    except (ValueError, RecursionError, MemoryError):
        raise BundleError("the manifest is not JSON") from None
    if not canonical:
        raise BundleError("the manifest is not in its canonical form: sorted keys, each once, no spaces")
    if not isinstance(content, dict):
        raise BundleError("the manifest is not a JSON object")
    if content.get("format") != FORMAT or type(content["format"]) is not int:
        raise BundleError(f"the manifest has format {shown(content.get('format'))}; this version reads format {FORMAT}")
    manifest = Manifest(
        version=_version(content, "version"),
        minimum_version=_version(content, "minimum_version"),
        downgrade=_flag(content, "downgrade"),
        architecture=_text(content, "architecture", re.compile("|".join(_ARCHITECTURES))),
        python=_text(content, "python", _PYTHON),
        camera=_flag(content, "camera"),
        packages=tuple(_packages(content)),
        files=tuple(_file(entry) for entry in _list(content, "files", 1, FILES)),
    )
    _check_files(manifest)
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical form of `manifest`."""
    content = {"format": FORMAT, **vars(manifest), "files": [vars(file) for file in manifest.files]}
    return encode_json(content)


def encode_json(content: Any) -> bytes:
    """Canonical JSON. Raises ValueError for what JSON has no word for."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def shown(value: object) -> str:
    """A value from a bundle as it may stand in a sentence: bounded."""
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, str):
        value = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
        return json.dumps(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return "a huge number"
    return "nothing" if value is None else str(value)


def _version(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    try:
        parse_version(value)
    except ValueError as exc:
        raise BundleError(f"the manifest's {key} {shown(value)} {exc}") from None
    return str(value)


def _flag(content: dict[str, Any], key: str) -> bool:
    value = content.get(key)
    if not isinstance(value, bool):
        raise BundleError(f"the manifest's {key} is {shown(value)}, not true or false")
    return value


def _text(content: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BundleError(f"the manifest's {key} is {shown(value)}")
    return value


def _list(content: dict[str, Any], key: str, least: int, most: int) -> list[Any]:
    value = content.get(key)
    if not isinstance(value, list):
        raise BundleError(f"the manifest's {key} is {shown(value)}, not a list")
    if not least <= len(value) <= most:
        raise BundleError(f"the manifest names {len(value)} {key}; {least} to {most} are allowed")
    return value


def _packages(content: dict[str, Any]) -> list[str]:
    packages = _list(content, "packages", 0, PACKAGES)
    for name in packages:
        if not isinstance(name, str) or not _PACKAGE.fullmatch(name):
            raise BundleError(f"the manifest names the Debian package {shown(name)}, which cannot be one")
    return packages


def _file(entry: Any) -> BundledFile:
    if not isinstance(entry, dict):
        raise BundleError(f"the manifest has {shown(entry)} where a file belongs")
    name = entry.get("name")
    if not isinstance(name, str) or len(name) > _NAME_CHARACTERS or not _NAME.fullmatch(name) or name.count("-") not in {4, 5}:
        raise BundleError(f"the manifest names the file {shown(name)}, which is not the name of a wheel")
    return BundledFile(
        name=name,
        size=_size(entry, "size", 1, BUNDLE_BYTES),
        sha256=_digest(entry),
        unpacked=_size(entry, "unpacked", 0, UNPACKED_BYTES),
    )


def _size(entry: dict[str, Any], key: str, least: int, most: int) -> int:
    value = entry.get(key)
    if type(value) is not int or not least <= value <= most:
        raise BundleError(f"{entry['name']} has the {key} {shown(value)}; {least} to {most} bytes are allowed")
    return value


def _digest(entry: dict[str, Any]) -> str:
    value = entry.get("sha256")
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise BundleError(f"{entry['name']} has the SHA-256 {shown(value)}, which is none")
    return value


def _check_files(manifest: Manifest) -> None:
    packages: dict[str, str] = {}
    for file in manifest.files:
        if file.package in packages:
            raise BundleError(f"{file.package} is in the bundle twice: {packages[file.package]} and {file.name}")
        packages[file.package] = file.name
    if sum(file.unpacked for file in manifest.files) > UNPACKED_BYTES:
        raise BundleError(f"the files are more than {UNPACKED_BYTES} bytes when unpacked")
    agent = next((file for file in manifest.files if file.package == AGENT), None)
    if agent is None:
        raise BundleError("the agent itself is not in the bundle")
    if agent.version != manifest.version:
        raise BundleError(f"the agent in the bundle is {agent.name}, but the manifest's version is {manifest.version}")
