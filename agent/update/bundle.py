"""Bundles: one signed file that holds a version of the agent and all Python packages it needs.

    0    8  magic
    8    8  length of the whole file, uint64 little-endian
    16   4  length of the manifest, uint32 little-endian
    20  32  public key of the signer, Ed25519
    52  64  signature over `CONTEXT`, the 52 bytes before and the manifest
    116     manifest, then the files one after the other in the manifest's order, and nothing after them

Everything here blocks and belongs in a thread. Files are read piece by piece: a bundle needs memory for one of them, its manifest
(1 MiB) and the list of contents of one wheel. What the disk does wrong raises OSError; all that the bundle does, BundleError.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from agent.update import disk
from agent.update.disk import CHUNK_BYTES
from agent.update.keys import KEY_BYTES, key_text, parse_key
from agent.update.manifest import BUNDLE_BYTES, MANIFEST_BYTES, BundledFile, BundleError, Manifest, parse_manifest
from agent.update.versions import parse_version
from agent.update.wheels import look

__all__ = [
    "HEADER_BYTES",
    "BundleError",
    "BundledFile",
    "Manifest",
    "check_fits",
    "digest",
    "extract",
    "read_manifest",
    "stated_length",
    "verify",
]

MAGIC = b"SIGNBNDL"
HEADER_BYTES = 16
CONTEXT = b"signage-agent bundle\0"
SIGNED_BYTES = 52
MANIFEST_AT = 116

_LENGTHS = struct.Struct("<8sQ")


def stated_length(first16: bytes) -> int:
    """How long a bundle says it is, from its first 16 bytes. Raises BundleError if they are not those of a bundle."""
    if len(first16) < HEADER_BYTES:
        raise BundleError("not a bundle: shorter than its first 16 bytes")
    magic, length = _LENGTHS.unpack(first16[:HEADER_BYTES])
    if magic != MAGIC:
        raise BundleError("not a bundle: it does not begin as one")
    if not MANIFEST_AT < length <= BUNDLE_BYTES:
        raise BundleError(f"not a bundle: it says it is {length} bytes long; {MANIFEST_AT + 1} to {BUNDLE_BYTES} are allowed")
    return int(length)


def read_manifest(file: BinaryIO, trusted_keys: Sequence[str]) -> Manifest:
    """The manifest of a bundle that one of `trusted_keys` (`ed25519:<base64>`) has signed; `file` may end behind the manifest.

    Leaves `file` at the first of the bundle's files. Raises BundleError.
    """
    keys = {_trusted(text) for text in trusted_keys}
    if not keys:
        raise BundleError("no key is trusted here: [update] trusted_keys is empty")
    file.seek(0)
    head = _read(file, MANIFEST_AT)
    length = stated_length(head)
    (manifest_length,) = struct.unpack_from("<I", head, HEADER_BYTES)
    if not 1 <= manifest_length <= MANIFEST_BYTES:
        raise BundleError(f"the manifest says it is {manifest_length} bytes long; 1 to {MANIFEST_BYTES} are allowed")
    key = head[SIGNED_BYTES - KEY_BYTES : SIGNED_BYTES]
    if key not in keys:
        raise BundleError(f"signed with a key that is not trusted here: {key_text(key)}")
    data = _read(file, manifest_length)
    _check_signature(key, head[SIGNED_BYTES:], CONTEXT + head[:SIGNED_BYTES] + data)
    manifest = parse_manifest(data)
    if MANIFEST_AT + manifest_length + sum(entry.size for entry in manifest.files) != length:
        raise BundleError(f"the bundle says it is {length} bytes long, but its files say otherwise")
    return manifest


def verify(file: BinaryIO, trusted_keys: Sequence[str]) -> Manifest:
    """The manifest of a bundle in which everything is as it should be: signature, lengths, digests, the wheels inside.

    Whether it fits this box is another question: `check_fits`. Raises BundleError.
    """
    manifest = read_manifest(file, trusted_keys)
    begin = file.tell()
    length = file.seek(0, os.SEEK_END)
    stated = begin + sum(entry.size for entry in manifest.files)
    if length != stated:
        raise BundleError(f"the bundle is {length} bytes long; it says {stated}")
    for entry in manifest.files:
        for _ in _chunks(file, begin, entry):
            pass
        look(file, begin, entry)
        begin += entry.size
    return manifest


def check_fits(manifest: Manifest, *, running: str, architecture: str, python: str, camera: bool = False) -> None:
    """Raises BundleError unless a box may go over to the bundle.

    `running` is the version it runs, `architecture` what `platform.machine()` says, `python` such as 3.11. An older version is
    for bundles signed as a downgrade; the same version is installed already. `camera` says that the box has the packages of the
    camera, which it must not lose.
    """
    if manifest.architecture not in {architecture, "any"}:
        raise BundleError(f"the bundle is for {manifest.architecture}; this box is {architecture}")
    if manifest.python != python:
        raise BundleError(f"the bundle is for Python {manifest.python}; this box has {python}")
    if camera and not manifest.camera:
        raise BundleError("the bundle is without the packages of the camera, which this box has: make it with --with-camera")
    try:
        now = parse_version(running)
    except ValueError as exc:
        raise BundleError(f"the running version {running} {exc}") from None
    new = parse_version(manifest.version)
    if new == now:
        raise BundleError(f"version {manifest.version} is installed already")
    if new < now and not manifest.downgrade:
        raise BundleError(f"version {manifest.version} is older than {running}, and the bundle is not signed as a downgrade")
    if now < parse_version(manifest.minimum_version):
        raise BundleError(f"version {manifest.version} needs {manifest.minimum_version} before it; this is {running}")


def extract(file: BinaryIO, manifest: Manifest, directory: Path) -> None:
    """Writes the wheels of a verified bundle into `directory`; digests are compared once more.

    Raises BundleError or OSError; what it has written until then stays for the caller to remove.
    """
    file.seek(HEADER_BYTES)
    (manifest_length,) = struct.unpack("<I", _read(file, 4))
    begin = MANIFEST_AT + manifest_length
    for entry in manifest.files:
        path = directory / entry.name
        with disk.operation("extract", path), disk.open_new(path, 0o644) as wheel:
            for chunk in _chunks(file, begin, entry):
                wheel.write(chunk)
        begin += entry.size


def digest(file: BinaryIO) -> str:
    """The SHA-256 of a whole bundle, by which it is known, in small hexadecimal digits."""
    file.seek(0)
    hasher = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        hasher.update(chunk)
    return hasher.hexdigest()


def _trusted(text: str) -> bytes:
    try:
        return parse_key(text)
    except ValueError as exc:
        raise BundleError(f"a key in [update] trusted_keys {exc}") from None


def _check_signature(key: bytes, signature: bytes, signed: bytes) -> None:
    # Not at the top: costs memory that a box pays only while a bundle is looked at.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature:
        raise BundleError("the signature is wrong: the bundle is not as it was signed") from None


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise BundleError(f"the bundle is cut off after {file.tell()} bytes")
    return data


def _chunks(file: BinaryIO, begin: int, entry: BundledFile) -> Iterator[bytes]:
    """The contents of a file of the bundle. Raises BundleError after the last chunk if their digest is another."""
    file.seek(begin)
    hasher = hashlib.sha256()
    left = entry.size
    while left:
        chunk = _read(file, min(left, CHUNK_BYTES))
        hasher.update(chunk)
        left -= len(chunk)
        yield chunk
    if hasher.hexdigest() != entry.sha256:
        raise BundleError(f"{entry.name} is damaged: its SHA-256 is not the one in the manifest")
