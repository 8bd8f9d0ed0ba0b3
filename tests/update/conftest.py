"""A key, a bundle it has signed, and a key that nobody trusts."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.update import bundles


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    """The key that the box trusts."""
    return bundles.new_key()


@pytest.fixture(scope="session")
def stranger() -> Ed25519PrivateKey:
    """A key that the box does not trust."""
    return bundles.new_key()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, key: Ed25519PrivateKey) -> bytes:
    """A small valid bundle of the next version."""
    return bundles.make_bundle(tmp_path_factory.mktemp("bundle") / "next.bundle", key).read_bytes()
