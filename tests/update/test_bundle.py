"""Bundles: who signed them, whether they are whole, whether they fit."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import random
import struct
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.update.bundle import (
    HEADER_BYTES,
    BundleError,
    Manifest,
    check_fits,
    digest,
    extract,
    read_manifest,
    stated_length,
    verify,
)
from agent.update.manifest import BUNDLE_BYTES, MANIFEST_BYTES
from tests.update.bundles import NEXT, make_bundle, make_wheel, resealed, sealed, split, tiny_agent, trusted, with_wheel, zip_of
from tests.update.hostile import mutated

AGENT = f"signage_agent-{NEXT}-py3-none-any.whl"


def _refusal(data: bytes, *keys: Ed25519PrivateKey) -> str:
    """Why a bundle is refused, in one short line."""
    with pytest.raises(BundleError) as caught:
        verify(io.BytesIO(data), [trusted(key) for key in keys])
    assert len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_good_bundle(bundle: bytes, key: Ed25519PrivateKey, stranger: Ed25519PrivateKey) -> None:
    """Its manifest is what was put into it; any of several trusted keys will do."""
    manifest = verify(io.BytesIO(bundle), [trusted(stranger), trusted(key)])
    assert manifest == read_manifest(io.BytesIO(bundle), [trusted(key)])
    assert (manifest.version, manifest.minimum_version, manifest.downgrade) == (NEXT, "0", False)
    assert [file.name for file in manifest.files] == [AGENT]
    assert stated_length(bundle[:HEADER_BYTES]) == stated_length(bundle) == len(bundle)
    assert digest(io.BytesIO(bundle)) == hashlib.sha256(bundle).hexdigest()


def test_the_manifest_is_there_before_the_files(bundle: bytes, key: Ed25519PrivateKey) -> None:
    """A bundle that is still on its way says what it is."""
    _, files = split(bundle)
    assert read_manifest(io.BytesIO(bundle[: -len(files)]), [trusted(key)]).version == NEXT


def test_layout(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """Every byte is where the format says, seen without the code that wrote it."""
    wheels = [tiny_agent(tmp_path), make_wheel(tmp_path, "other", "1.0", {"other.py": "x = 1\n"})]
    data = make_bundle(tmp_path / "x.bundle", key, wheels).read_bytes()
    magic, length, manifest_length, signer, signature = struct.unpack_from("<8sQI32s64s", data)
    assert (magic, length) == (b"SIGNBNDL", len(data))
    assert signer == key.public_key().public_bytes_raw()
    manifest = data[116 : 116 + manifest_length]
    key.public_key().verify(signature, b"signage-agent bundle\0" + data[:52] + manifest)
    files = sorted(wheels, key=lambda wheel: wheel.name)
    assert data[116 + manifest_length :] == b"".join(wheel.read_bytes() for wheel in files)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"", "shorter than its first 16 bytes"),
        (b"SIGNBNDL" + bytes(7), "shorter than its first 16 bytes"),
        (b"\x89PNG\r\n\x1a\n" + bytes(8), "it does not begin as one"),
        (struct.pack("<8sQ", b"signbndl", 5000), "it does not begin as one"),
        (struct.pack("<8sQ", b"SIGNBNDL", 0), "it says it is 0 bytes long"),
        (struct.pack("<8sQ", b"SIGNBNDL", 116), "it says it is 116 bytes long"),
        (struct.pack("<8sQ", b"SIGNBNDL", BUNDLE_BYTES + 1), f"it says it is {BUNDLE_BYTES + 1} bytes long"),
        (struct.pack("<8sQ", b"SIGNBNDL", 2**64 - 1), "it says it is 18446744073709551615 bytes long"),
    ],
)
def test_what_is_no_bundle(head: bytes, why: str) -> None:
    """The first 16 bytes say so."""
    with pytest.raises(BundleError, match=r"^not a bundle: ") as caught:
        stated_length(head)
    assert why in str(caught.value)


def test_keys(bundle: bytes, key: Ed25519PrivateKey, stranger: Ed25519PrivateKey) -> None:
    """Only a key that is trusted counts, and the refusal names the one that is not."""
    assert _refusal(bundle) == "no key is trusted here: [update] trusted_keys is empty"
    assert _refusal(bundle, stranger) == f"signed with a key that is not trusted here: {trusted(key)}"
    with pytest.raises(BundleError, match=r"^a key in \[update\] trusted_keys must be ed25519: and a public key"):
        verify(io.BytesIO(bundle), [trusted(key), "ed25519:AAAA"])


def test_signature(bundle: bytes, key: Ed25519PrivateKey, stranger: Ed25519PrivateKey) -> None:
    """It covers the header and the manifest, and cannot be borrowed."""
    wrong = "the signature is wrong: the bundle is not as it was signed"
    assert _refusal(bundle.replace(b'"downgrade":false', b'"downgrade":true '), key) == wrong
    assert _refusal(bundle[:60] + bytes([bundle[60] ^ 1]) + bundle[61:], key) == wrong
    assert _refusal(bundle[:8] + struct.pack("<Q", len(bundle) + 1) + bundle[16:] + b"x", key) == wrong
    theirs = resealed(bundle, stranger, lambda _: None)
    assert _refusal(theirs[:20] + bundle[20:52] + theirs[52:], key) == wrong
    # The order of the curve added to S: the same signature in another form would be another digest of the same bundle.
    number = int.from_bytes(bundle[84:116], "little") + 2**252 + 27742317777372353535851937790883648493
    assert _refusal(bundle[:84] + number.to_bytes(32, "little") + bundle[116:], key) == wrong


def test_signature_of_something_else(bundle: bytes, key: Ed25519PrivateKey) -> None:
    """What the key has signed for another purpose is not a bundle."""
    _, files = split(bundle)
    manifest = bundle[116 : -len(files)]
    signature = key.sign(bundle[:52] + manifest)
    assert _refusal(bundle[:52] + signature + bundle[116:], key) == "the signature is wrong: the bundle is not as it was signed"


@pytest.mark.parametrize("length", [0, MANIFEST_BYTES + 1, 2**32 - 1])
def test_length_of_the_manifest(bundle: bytes, key: Ed25519PrivateKey, length: int) -> None:
    """It is looked at before anything is read by it."""
    refusal = _refusal(bundle[:16] + struct.pack("<I", length) + bundle[20:], key)
    assert refusal == f"the manifest says it is {length} bytes long; 1 to {MANIFEST_BYTES} are allowed"


def test_cut_and_lengthened(bundle: bytes, key: Ed25519PrivateKey) -> None:
    """A bundle is exactly as long as it says."""
    assert _refusal(bundle[:-1], key) == f"the bundle is {len(bundle) - 1} bytes long; it says {len(bundle)}"
    assert _refusal(bundle + b"\0", key) == f"the bundle is {len(bundle) + 1} bytes long; it says {len(bundle)}"
    assert _refusal(bundle[:200], key) == "the bundle is cut off after 200 bytes"
    assert _refusal(bundle[:100], key) == "the bundle is cut off after 100 bytes"
    assert _refusal(b"", key) == "the bundle is cut off after 0 bytes"


def test_lengths_that_lie(bundle: bytes, key: Ed25519PrivateKey) -> None:
    """Header and manifest agree on the length, also in a signed bundle."""

    def longer(content: dict[str, Any]) -> None:
        content["files"][0]["size"] += 1

    assert "but its files say otherwise" in _refusal(resealed(bundle, key, longer), key)
    content, files = split(bundle)
    assert "but its files say otherwise" in _refusal(sealed(content, files + b"x", key), key)


def test_a_damaged_file(bundle: bytes, key: Ed25519PrivateKey) -> None:
    """Every file has the digest that was signed."""
    damaged = bundle[:-1] + bytes([bundle[-1] ^ 1])
    assert _refusal(damaged, key) == f"{AGENT} is damaged: its SHA-256 is not the one in the manifest"


def test_bad_wheels(bundle: bytes, key: Ed25519PrivateKey) -> None:
    """A right signature does not help a wheel that is none, leads outside, or is a bomb."""
    assert (
        _refusal(with_wheel(bundle, key, b"no zip file at all, whatever it is called"), key) == f"{AGENT} is not a plain zip file"
    )
    assert "which would lie outside" in _refusal(with_wheel(bundle, key, zip_of([("../x", b"x")])), key)
    bomb = with_wheel(bundle, key, zip_of([("x", bytes(20_000_000))]))
    assert "is 20000000 bytes when unpacked" in _refusal(bomb, key)


def test_hostile_names_never_become_files(tmp_path: Path, bundle: bytes, key: Ed25519PrivateKey) -> None:
    """A name with a way in it is refused with the manifest."""

    def outside(content: dict[str, Any]) -> None:
        content["files"][0]["name"] = f"../{AGENT}"

    assert "which is not the name of a wheel" in _refusal(resealed(bundle, key, outside), key)


def test_extract(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """The wheels come out as they went in."""
    wheels = [tiny_agent(tmp_path), make_wheel(tmp_path, "other", "1.0", {"data": os.urandom(700_000)})]
    work = tmp_path / "work"
    work.mkdir()
    with make_bundle(tmp_path / "x.bundle", key, wheels).open("rb") as file:
        extract(file, verify(file, [trusted(key)]), work)
    assert {path.name: path.read_bytes() for path in work.iterdir()} == {wheel.name: wheel.read_bytes() for wheel in wheels}


def test_extract_what_was_changed_since(tmp_path: Path, bundle: bytes, key: Ed25519PrivateKey) -> None:
    """A file that is changed between looking and extracting is noticed."""
    manifest = verify(io.BytesIO(bundle), [trusted(key)])
    with pytest.raises(BundleError, match="is damaged"):
        extract(io.BytesIO(bundle[:-1] + b"\xff"), manifest, tmp_path)


FITTING = Manifest("1.2.0", "1.0", False, "aarch64", "3.11", False, (), ())


@pytest.mark.parametrize(
    ("changes", "box", "why"),
    [
        ({}, {}, None),
        ({"architecture": "any"}, {"architecture": "riscv64"}, None),
        ({}, {"architecture": "x86_64"}, "the bundle is for aarch64; this box is x86_64"),
        ({}, {"python": "3.13"}, "the bundle is for Python 3.11; this box has 3.13"),
        ({}, {"running": "1.2.0"}, "version 1.2.0 is installed already"),
        ({}, {"running": "1.2"}, "version 1.2.0 is installed already"),
        ({"downgrade": True}, {"running": "1.2.0"}, "version 1.2.0 is installed already"),
        ({}, {"running": "1.10"}, "version 1.2.0 is older than 1.10, and the bundle is not signed as a downgrade"),
        (
            {"version": "1.2.0rc1"},
            {"running": "1.2.0"},
            "version 1.2.0rc1 is older than 1.2.0, and the bundle is not signed as a downgrade",
        ),
        ({"downgrade": True}, {"running": "1.10"}, None),
        ({"downgrade": True}, {"running": "1.1"}, None),
        ({}, {"running": "0.9"}, "version 1.2.0 needs 1.0 before it; this is 0.9"),
        ({}, {"running": "1.0rc1"}, "version 1.2.0 needs 1.0 before it; this is 1.0rc1"),
        ({"downgrade": True, "minimum_version": "3"}, {"running": "2"}, "version 1.2.0 needs 3 before it; this is 2"),
        ({}, {"running": "unknown"}, "the running version unknown is not a version such as 1.2.3"),
    ],
)
def test_fits(changes: dict[str, Any], box: dict[str, Any], why: str | None) -> None:
    """The machine, its Python and the version it runs decide whether a bundle fits."""
    manifest = dataclasses.replace(FITTING, **changes)
    box = {"running": "1.1.3", "architecture": "aarch64", "python": "3.11", **box}
    if why is None:
        check_fits(manifest, **box)
    else:
        with pytest.raises(BundleError) as caught:
            check_fits(manifest, **box)
        assert str(caught.value) == why


def test_fits_a_box_with_a_camera() -> None:
    """A box that has the camera's packages keeps them; one that has not takes either bundle."""
    box: dict[str, Any] = {"running": "1.1", "architecture": "aarch64", "python": "3.11"}
    with_camera = dataclasses.replace(FITTING, camera=True)
    check_fits(with_camera, **box, camera=True)
    check_fits(with_camera, **box)
    with pytest.raises(BundleError, match=r"^the bundle is without the packages of the camera"):
        check_fits(FITTING, **box, camera=True)


def test_memory(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """A bundle of 24 MB is verified, extracted and hashed with the memory of one chunk."""
    wheels = [tiny_agent(tmp_path)]
    wheels += [make_wheel(tmp_path, f"big{number}", "1.0", {"data": os.urandom(8_000_000)}) for number in range(3)]
    work = tmp_path / "work"
    work.mkdir()
    with make_bundle(tmp_path / "x.bundle", key, wheels).open("rb") as file:
        read_manifest(file, [trusted(key)])  # loads the library
        tracemalloc.start()
        try:
            extract(file, verify(file, [trusted(key)]), work)
            digest(file)
            assert tracemalloc.get_traced_memory()[1] < 2_500_000
        finally:
            tracemalloc.stop()


def test_two_thousand_mutations(tmp_path: Path, key: Ed25519PrivateKey, stranger: Ed25519PrivateKey) -> None:
    """Whatever is done to a bundle: refused in one line, never accepted, never another error."""
    wheels = [tiny_agent(tmp_path), make_wheel(tmp_path, "other", "1.0", {"other.py": "x = 1\n" * 50})]
    good = make_bundle(tmp_path / "x.bundle", key, wheels, packages=("libmpv2",)).read_bytes()
    keys: Sequence[str] = [trusted(key)]
    chance = random.Random(20)
    done: Counter[str] = Counter()
    for _ in range(2000):
        what, data = mutated(good, chance, key, stranger)
        with pytest.raises(BundleError) as caught:
            verify(io.BytesIO(data), keys)
        assert len(str(caught.value)) <= 300
        done[what] += 1
    assert len(done) >= 12
    assert verify(io.BytesIO(good), keys).packages == ("libmpv2",)
