"""Public keys of those who may sign bundles, as text and as bytes."""

from __future__ import annotations

import base64

KEY_BYTES = 32
_SCHEME = "ed25519:"


def parse_key(text: object) -> bytes:
    """The 32 bytes of the Ed25519 public key in `ed25519:<base64>`. Raises ValueError with a sentence for the installer."""
    if isinstance(text, str) and text.startswith(_SCHEME):
        try:
            key = base64.b64decode(text.removeprefix(_SCHEME), validate=True)
        except ValueError:  # not ASCII, or binascii.Error
            key = b""
        if len(key) == KEY_BYTES:
            return key
    raise ValueError("must be ed25519: and a public key of 32 bytes in base64")


def key_text(key: bytes) -> str:
    """What stands in `[update] trusted_keys` for a public key of 32 bytes."""
    return _SCHEME + base64.b64encode(key).decode()
