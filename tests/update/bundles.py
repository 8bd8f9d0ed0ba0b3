"""Small bundles that are real ones: wheels that pip installs, signed with throw-away keys."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import json
import platform
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import __version__
from agent.update.bundle import MANIFEST_AT
from agent.update.make import describe, public_key, seal, write_bundle
from agent.update.manifest import Manifest, encode_json

CHECKOUT = Path(__file__).resolve().parent.parent.parent
RUNNING = __version__
NEXT = "9.0.0"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

new_key = Ed25519PrivateKey.generate
trusted = public_key

# A command that says its version and ends, in place of the agent.
_SAYS_VERSION = 'import sys\n\n\ndef main() -> int:\n    print("signage-agent {version}")\n    return 0\n'


def make_wheel(
    directory: Path,
    package: str,
    version: str,
    files: Mapping[str, str | bytes],
    *,
    commands: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> Path:
    """A wheel that pip installs: `files` by their path, `commands` as console scripts (`name` to `module:function`)."""
    stem = f"{re.sub(r'[-_.]+', '_', package)}-{version}"
    info = f"{stem}.dist-info"
    members = dict(files)
    members[f"{info}/METADATA"] = "".join(
        [
            "Metadata-Version: 2.1\n",
            f"Name: {package}\n",
            f"Version: {version}\n",
            *(f"Requires-Dist: {one}\n" for one in requires),
        ]
    )
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    if commands:
        lines = "".join(f"{name} = {target}\n" for name, target in commands.items())
        members[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}"
    return write_wheel(directory / f"{stem}-{tag}.whl", members, f"{info}/RECORD")


def write_wheel(path: Path, members: Mapping[str, str | bytes], record: str) -> Path:
    """A zip file of `members` with the list of their digests that a wheel has."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            table.writerow([name, f"sha256={digest}", len(data)])
        table.writerow([record, "", ""])
        archive.writestr(zipfile.ZipInfo(record), lines.getvalue(), zipfile.ZIP_DEFLATED)
    return path


def tiny_agent(directory: Path, version: str = NEXT) -> Path:
    """A wheel with the agent's name whose command says its version and does nothing else."""
    files = {
        "agent/__init__.py": f'__version__ = "{version}"\n',
        "agent/cli.py": _SAYS_VERSION.format(version=version),
        "agent/update/__init__.py": "",
        "agent/update/install.py": "",
    }
    return make_wheel(directory, "signage-agent", version, files, commands={"signage-agent": "agent.cli:main"})


def real_agent(directory: Path, version: str = NEXT, changes: Mapping[str, str] | None = None) -> Path:
    """The agent of this checkout as `version`, made without pip; `changes` has new contents by path (`agent/cli.py`)."""
    paths = [path for path in (CHECKOUT / "agent").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files: dict[str, str | bytes] = {path.relative_to(CHECKOUT).as_posix(): path.read_bytes() for path in sorted(paths)}
    files["agent/__init__.py"] = f'"""On-device agent."""\n\n__version__ = "{version}"\n'
    files.update(changes or {})
    return make_wheel(directory, "signage-agent", version, files, commands={"signage-agent": "agent.cli:main"})


def installed_wheel(directory: Path, package: str) -> Path:
    """A wheel of a package as it is installed here, for those who need one of the lock without a network."""
    distribution = importlib.metadata.distribution(package)
    inside = [file for file in distribution.files or () if ".." not in file.parts and "__pycache__" not in file.parts]
    members = {file.as_posix(): Path(str(file.locate())).read_bytes() for file in inside}
    info = next(name.split("/", 1)[0] for name in members if name.endswith(".dist-info/WHEEL"))
    for name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        members.pop(f"{info}/{name}", None)
    tags = [line.split("-") for line in re.findall(r"(?m)^Tag: (\S+)", members[f"{info}/WHEEL"].decode())]
    tag = "-".join(".".join(sorted(set(part))) for part in zip(*tags, strict=True))
    return write_wheel(directory / f"{info.removesuffix('.dist-info')}-{tag}.whl", members, f"{info}/RECORD")


def make_bundle(path: Path, key: Ed25519PrivateKey, wheels: Sequence[Path] = (), **fields: Any) -> Path:
    """A valid bundle of `wheels` (`tiny_agent` if there are none); `fields` of its Manifest are given other values."""
    wheels = wheels or [tiny_agent(path.parent / f"{path.stem}.wheels", fields.get("version", NEXT))]
    ordered = sorted(wheels, key=lambda wheel: wheel.name)
    manifest = Manifest(
        **{
            "version": NEXT,
            "minimum_version": "0",
            "downgrade": False,
            "architecture": platform.machine(),
            "python": PYTHON,
            "camera": False,
            "packages": (),
            "files": tuple(describe(wheel) for wheel in ordered),
            **fields,
        }
    )
    with path.open("wb") as file:
        write_bundle(file, manifest, ordered, key)
    return path


def split(bundle: bytes) -> tuple[dict[str, Any], bytes]:
    """The manifest of a bundle and what follows it."""
    end = MANIFEST_AT + int.from_bytes(bundle[16:20], "little")
    content: dict[str, Any] = json.loads(bundle[MANIFEST_AT:end])
    return content, bundle[end:]


def sealed(manifest: Any, files: bytes, key: Ed25519PrivateKey) -> bytes:
    """A bundle of any manifest, properly signed; one that is bytes is taken as it is."""
    data = manifest if isinstance(manifest, bytes) else encode_json(manifest)
    return seal(data, len(files), key) + files


def resealed(bundle: bytes, key: Ed25519PrivateKey, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A bundle whose manifest has gone through `change` and is properly signed again."""
    content, files = split(bundle)
    change(content)
    return sealed(content, files, key)


def with_wheel(bundle: bytes, key: Ed25519PrivateKey, wheel: bytes, unpacked: int | None = None) -> bytes:
    """A bundle in which `wheel` has taken the place of the only one: digest, length and signature are right."""
    content, _ = split(bundle)
    (entry,) = content["files"]
    entry.update(size=len(wheel), sha256=hashlib.sha256(wheel).hexdigest())
    if unpacked is not None:
        entry["unpacked"] = unpacked
    return sealed(content, wheel, key)


def zip_of(members: Iterable[tuple[zipfile.ZipInfo | str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of any members, sound as a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()
