"""Public keys as text."""

from __future__ import annotations

from typing import Any

import pytest

from agent.update.keys import key_text, parse_key


def test_there_and_back() -> None:
    """A key survives being written into a configuration."""
    key = bytes(range(32))
    assert key_text(key) == "ed25519:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert parse_key(key_text(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519:",
        "ed25519:...",
        "rsa:AAAA",
        "ed25519:QUJD",
        "A" * 43 + "=",
        "ed25519:" + "ü" * 43 + "=",
        " ed25519:QUJD",
        None,
        5,
        [],
    ],
)
def test_no_key(text: Any) -> None:
    """Anything else is refused with a sentence."""
    with pytest.raises(ValueError, match=r"^must be ed25519: and a public key of 32 bytes in base64$"):
        parse_key(text)
