"""Makes bundles: the other side of `agent.update.bundle`. Used where versions are built (`scripts/bundle`), never on a box."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update.bundle import CONTEXT, MAGIC, MANIFEST_AT, SIGNED_BYTES, digest
from agent.update.disk import CHUNK_BYTES
from agent.update.index import FORMAT, Offer, parse_index
from agent.update.keys import key_text
from agent.update.manifest import BundledFile, BundleError, Manifest, encode_manifest, parse_manifest
from agent.update.versions import parse_version
from agent.update.wheels import unpacked_bytes

INDEX = "index.json"


def new_key(path: Path) -> str:
    """Writes a new private key, readable by its owner only, and returns its public half as `[update] trusted_keys` wants it.

    Raises FileExistsError rather than overwrite a key.
    """
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return public_key(key)


def load_key(path: Path) -> Ed25519PrivateKey:
    """The private key that `new_key` wrote. Raises OSError, or ValueError if it is none."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (TypeError, ValueError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} does not hold a private key made by scripts/bundle --new-key")  # noqa: TRY004 - the file is wrong
    return key


def public_key(key: Ed25519PrivateKey) -> str:
    """The public half of a private key as `[update] trusted_keys` wants it."""
    return key_text(_public_bytes(key))


def describe(wheel: Path) -> BundledFile:
    """What a manifest says about a wheel. Raises BundleError if it is none."""
    with wheel.open("rb") as file:
        try:
            unpacked = unpacked_bytes(file)
        except BundleError as exc:
            raise BundleError(f"{wheel.name} {exc}") from None
        return BundledFile(wheel.name, wheel.stat().st_size, digest(file), unpacked)


def write_bundle(out: BinaryIO, manifest: Manifest, wheels: Sequence[Path], key: Ed25519PrivateKey) -> None:
    """Writes the bundle of `manifest` to `out`; `wheels` are its files in its order. Raises BundleError if it breaks a rule."""
    data = encode_manifest(manifest)
    parse_manifest(data)
    out.write(seal(data, sum(file.size for file in manifest.files), key))
    for wheel in wheels:
        with wheel.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                out.write(chunk)


def seal(manifest: bytes, files_bytes: int, key: Ed25519PrivateKey) -> bytes:
    """The beginning of a bundle: header, signature and `manifest`, whatever that holds."""
    length = MANIFEST_AT + len(manifest) + files_bytes
    head = struct.pack("<8sQI", MAGIC, length, len(manifest)) + _public_bytes(key)
    assert len(head) == SIGNED_BYTES
    return head + key.sign(CONTEXT + head + manifest) + manifest


def add_to_index(bundle: Path, manifest: Manifest) -> None:
    """Names `bundle` in the list beside it (`agent.update.index`), in place of an older file of that name. Files that are gone
    are left out. Raises OSError, OfferError if what is called index.json is something else, or BundleError.
    """
    index = bundle.with_name(INDEX)
    with bundle.open("rb") as file:
        sha256 = digest(file)
    offer = Offer(
        version=manifest.version,
        architecture=manifest.architecture,
        python=manifest.python,
        camera=manifest.camera,
        file=bundle.name,
        size=bundle.stat().st_size,
        sha256=sha256,
    )
    before = parse_index(index.read_bytes()) if index.exists() else []
    others = [other for other in before if other.file != bundle.name and index.with_name(other.file).is_file()]
    offers = sorted([*others, offer], key=lambda one: (parse_version(one.version), one.file))
    data = json.dumps({"format": FORMAT, "bundles": [vars(one) for one in offers]}, indent=1).encode() + b"\n"
    if offer not in parse_index(data):
        raise BundleError(f"{bundle.name} cannot stand in an index: letters, digits and ._+~- make its name")
    draft = index.with_name(INDEX + ".new")
    draft.write_bytes(data)
    draft.replace(index)


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
