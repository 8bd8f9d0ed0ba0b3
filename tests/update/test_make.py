"""Making bundles, keys and the list of bundles."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update.bundle import BundleError, Manifest, verify
from agent.update.index import OfferError, parse_index
from agent.update.keys import parse_key
from agent.update.make import add_to_index, describe, load_key, new_key, public_key, write_bundle
from tests.update.bundles import NEXT, make_bundle, tiny_agent, trusted


def test_new_key(tmp_path: Path) -> None:
    """The private half is the owner's only; the public half is what a configuration takes; a key is never overwritten."""
    path = tmp_path / "key"
    old = os.umask(0)
    try:
        text = new_key(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert parse_key(text) == load_key(path).public_key().public_bytes_raw()
    assert public_key(load_key(path)) == text
    with pytest.raises(FileExistsError):
        new_key(path)
    assert public_key(load_key(path)) == text


def test_load_what_is_no_key(tmp_path: Path) -> None:
    """Another file, another kind of key, a key under a password: refused with a sentence that does not repeat the file."""
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = tmp_path / "key"
    for data in (
        b"",
        b"secret words",
        generate_private_key(SECP256R1()).private_bytes(pem, form, serialization.NoEncryption()),
        Ed25519PrivateKey.generate().private_bytes(pem, form, serialization.BestAvailableEncryption(b"x")),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"key does not hold a private key made by scripts/bundle --new-key$"):
            load_key(path)


def test_describe_what_is_no_wheel(tmp_path: Path) -> None:
    """A file that only has the name of a wheel cannot get into a bundle."""
    path = tmp_path / "a-1-py3-none-any.whl"
    path.write_bytes(b"no zip file")
    with pytest.raises(BundleError, match=r"^a-1-py3-none-any\.whl is not a wheel: "):
        describe(path)


def test_rules_hold_for_the_maker_too(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """What a box would refuse is not written."""
    wheel = tiny_agent(tmp_path)
    manifest = Manifest("1.0", "0", False, "any", "3.11", False, (), (describe(wheel),))
    out = io.BytesIO()
    with pytest.raises(BundleError, match=r"but the manifest's version is 1\.0$"):
        write_bundle(out, manifest, [wheel], key)
    assert out.getvalue() == b""


def test_a_bundle_for_the_same_wheels_is_the_same(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """Nothing in a bundle comes from chance or the clock."""
    wheels = [tiny_agent(tmp_path)]
    one, other = (make_bundle(tmp_path / name, key, wheels).read_bytes() for name in ("a", "b"))
    assert one == other


def _add(path: Path, key: Ed25519PrivateKey, version: str) -> None:
    with make_bundle(path, key, version=version).open("rb") as file:
        add_to_index(path, verify(file, [trusted(key)]))


def test_index(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """The list names every bundle beside it once, in the order of versions; what is gone is left out."""
    for name, version in (("b", "1.10"), ("a", "1.9"), ("c", "1.2"), ("d", "2.0")):
        _add(tmp_path / name, key, version)
    (tmp_path / "d").unlink()
    _add(tmp_path / "c", key, "1.11")
    content = json.loads((tmp_path / "index.json").read_text())
    assert content["format"] == 1
    assert [entry["version"] for entry in content["bundles"]] == ["1.9", "1.10", "1.11"]
    assert set(content["bundles"][0]) == {"version", "architecture", "python", "camera", "file", "size", "sha256"}
    for offer in parse_index((tmp_path / "index.json").read_bytes()):
        assert offer.size == (tmp_path / offer.file).stat().st_size


def test_index_that_is_something_else(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """Somebody's index.json is not overwritten."""
    index = tmp_path / "index.json"
    index.write_text('{"name": "a web site"}')
    with pytest.raises(OfferError):
        _add(tmp_path / "a", key, NEXT)
    assert index.read_text() == '{"name": "a web site"}'


def test_index_names_only_what_boxes_can_fetch(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """A name that boxes would not take does not get into the list."""
    with pytest.raises(BundleError, match="cannot stand in an index"):
        _add(tmp_path / "a b", key, NEXT)
    assert not (tmp_path / "index.json").exists()
