"""What an enemy makes of a bundle, with and without a key that is trusted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.update.bundles import resealed, sealed, split


def mutated(bundle: bytes, chance: random.Random, key: Ed25519PrivateKey, stranger: Ed25519PrivateKey) -> tuple[str, bytes]:
    """A name for what was done, and a bundle that nobody may accept; `key` is the trusted one, `stranger` is not."""
    what = chance.choice(list(_MUTATIONS))
    data = _MUTATIONS[what](bundle, chance, key, stranger)
    return what, data


def _flipped(bundle: bytes, chance: random.Random, *_: Any) -> bytes:
    data = bytearray(bundle)
    for place in chance.sample(range(len(data)), chance.choice((1, 1, 2, 8))):
        data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


def _cut(bundle: bytes, chance: random.Random, *_: Any) -> bytes:
    return bundle[: chance.randrange(len(bundle))]


def _hole(bundle: bytes, chance: random.Random, *_: Any) -> bytes:
    place = chance.randrange(len(bundle))
    return bundle[:place] + bundle[place + chance.randint(1, 64) :]


def _inserted(bundle: bytes, chance: random.Random, *_: Any) -> bytes:
    place = chance.randint(0, len(bundle))
    return bundle[:place] + chance.randbytes(chance.randint(1, 64)) + bundle[place:]


def _other_lengths(bundle: bytes, chance: random.Random, *_: Any) -> bytes:
    data = bytearray(bundle)
    begin, size = chance.choice(((8, 8), (16, 4)))
    number = int.from_bytes(data[begin : begin + size], "little")
    other = chance.choice((0, 1, number - 1, number + 1, number * 2, 256**size - 1, 2**31, chance.randrange(256**size)))
    data[begin : begin + size] = (other if other != number else number + 3).to_bytes(size, "little")
    return bytes(data)


def _signed_by_a_stranger(bundle: bytes, chance: random.Random, _key: Any, stranger: Ed25519PrivateKey) -> bytes:
    return resealed(bundle, stranger, lambda content: content.update(version="10.0.0") if chance.random() < 0.5 else None)


def _names_the_trusted_key(bundle: bytes, _chance: Any, key: Ed25519PrivateKey, stranger: Ed25519PrivateKey) -> bytes:
    """A stranger's signature under the trusted key's name."""
    theirs, ours = (resealed(bundle, one, lambda _: None) for one in (stranger, key))
    return theirs[:20] + ours[20:52] + theirs[52:]


def _hostile_field(bundle: bytes, chance: random.Random, key: Ed25519PrivateKey, _stranger: Any) -> bytes:
    def change(content: dict[str, Any]) -> None:
        field, values = chance.choice(HOSTILE_FIELDS)
        content[field] = chance.choice(values)

    return resealed(bundle, key, change)


def _hostile_file(bundle: bytes, chance: random.Random, key: Ed25519PrivateKey, _stranger: Any) -> bytes:
    def change(content: dict[str, Any]) -> None:
        field, values = chance.choice(HOSTILE_FILE_FIELDS)
        agent = next(entry for entry in content["files"] if entry["name"].startswith("signage_agent-"))
        agent[field] = chance.choice(values)

    return resealed(bundle, key, change)


def _field_gone(bundle: bytes, chance: random.Random, key: Ed25519PrivateKey, _stranger: Any) -> bytes:
    def change(content: dict[str, Any]) -> None:
        table = chance.choice((content, content["files"][0]))
        del table[chance.choice(sorted(table))]

    return resealed(bundle, key, change)


def _manifest_bytes(bundle: bytes, chance: random.Random, key: Ed25519PrivateKey, _stranger: Any) -> bytes:
    """Any bytes as the manifest, properly signed."""
    _, files = split(bundle)
    data = chance.choice((b"[" * 100_000, b'{"a":' * 50_000, chance.randbytes(50), b"null", b"[]", b"{}", b"NaN", b"1" * 9999))
    return sealed(data, files, key)


def _files_changed(bundle: bytes, chance: random.Random, key: Ed25519PrivateKey, _stranger: Any) -> bytes:
    """The files are other ones than the manifest says, but the lengths and the signature are right."""
    content, files = split(bundle)
    return sealed(content, _flipped(files, chance), key)


_Mutation = Callable[[bytes, random.Random, Ed25519PrivateKey, Ed25519PrivateKey], bytes]
_MUTATIONS: dict[str, _Mutation] = {
    "bits flipped": _flipped,
    "cut": _cut,
    "hole": _hole,
    "inserted": _inserted,
    "lengths": _other_lengths,
    "signed by a stranger": _signed_by_a_stranger,
    "trusted key named": _names_the_trusted_key,
    "hostile field": _hostile_field,
    "hostile file": _hostile_file,
    "field gone": _field_gone,
    "manifest of any bytes": _manifest_bytes,
    "files changed": _files_changed,
}

_NO_TEXT: tuple[Any, ...] = (None, 0, 1.5, True, [], {}, "", "x" * 100_000, "\0", "ü", "\n9.0.0", ["9.0.0"])
_NO_NUMBER: tuple[Any, ...] = (None, -1, 10**30, 1.0, True, "1", [], 2**63)
HOSTILE_FIELDS: Sequence[tuple[str, Sequence[Any]]] = (
    ("format", (None, 0, 2, "1", 1.0, True, [1], 10**400)),
    ("version", (*_NO_TEXT, "../9.0.0", "9.0.0/..", "9,0", "v9.0.0", "9.0.0 ", "09.0.0", "9.0.0-1", "9" * 64, "9.0.1", "٩.0.0")),
    ("minimum_version", (*_NO_TEXT, "1..2", "latest", "-1")),
    ("downgrade", (None, 0, 1, "true", [], {})),
    ("camera", (None, 0, 1, "true", [], {})),
    ("architecture", (*_NO_TEXT, "arm64", "aarch64\n", "x86_64 ", "armv7l", "ANY")),
    ("python", (*_NO_TEXT, "3", "2.7", "3.011", "3.11.2", "3.11\n", "3.100")),
    (
        "packages",
        (None, "libmpv2", {}, [1], ["--reinstall"], ["a b"], ["../x"], ["a;reboot"], [["a"]], ["x" * 99], ["ab"] * 101),
    ),
    ("files", (None, {}, "x", [], [1], [None], [[]], [{}], [{}] * 501)),
)
HOSTILE_FILE_FIELDS: Sequence[tuple[str, Sequence[Any]]] = (
    (
        "name",
        (
            *_NO_TEXT,
            "../signage_agent-9.0.0-py3-none-any.whl",
            "/signage_agent-9.0.0-py3-none-any.whl",
            "a/signage_agent-9.0.0-py3-none-any.whl",
            "..\\signage_agent-9.0.0-py3-none-any.whl",
            ".signage_agent-9.0.0-py3-none-any.whl",
            "-signage_agent-9.0.0-py3-none-any.whl",
            "signage_agent-9.0.0-py3-none-any.whl\n",
            "signage_agent-9.0.0-py3-none-any.whl\0.whl",
            "signage_agent-9.0.0-py3-none-any.tar.gz",
            "signage_agent-9.0.1-py3-none-any.whl",
            "signage_agent-9.0.0.whl",
            "other-9.0.0-py3-none-any.whl",
            "x" * 300 + "-9.0.0-py3-none-any.whl",
        ),
    ),
    ("size", (*_NO_NUMBER, 0, 1, 2**30 + 1)),
    ("unpacked", (*_NO_NUMBER, 1, 2**31 + 1)),
    ("sha256", (*_NO_TEXT, "0" * 64, "0" * 63, "G" * 64, "A" * 64)),
)
