"""The list of bundles that a fleet's own web server offers, and which of them this box should take. Pure.

    {"format": 1, "bundles": [{"version", "architecture", "python", "camera", "file", "size", "sha256"}]}

`file` is relative to the list. Nothing in it is believed: the bundle's signature decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from agent.update.manifest import BUNDLE_BYTES
from agent.update.release import Machine
from agent.update.versions import parse_version

INDEX_BYTES = 1024 * 1024
FORMAT = 1

_MOST_BUNDLES = 2000
_FILE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._+~-]*/){0,8}[A-Za-z0-9][A-Za-z0-9._+~-]*")
_FILE_CHARACTERS = 500
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Offer:
    """A bundle in the list."""

    version: str
    architecture: str
    python: str
    camera: bool
    file: str
    size: int
    sha256: str

    def url(self, index_url: str) -> str:
        """Its address, beside the list."""
        return urljoin(index_url, self.file)


class OfferError(Exception):
    """The list cannot be used; the text is a sentence."""


def index_url(source_url: str) -> str:
    """The address of the list: as configured, or index.json in the folder that was configured."""
    return source_url + "index.json" if source_url.endswith("/") else source_url


def parse_index(data: bytes) -> list[Offer]:
    """The offers in a list; an entry that makes no sense is left out, a later format may have others. Raises OfferError."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise OfferError("the list of updates is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("bundles"), list):
        raise OfferError(f"the list of updates is not one of format {FORMAT}")
    return [offer for entry in content["bundles"][:_MOST_BUNDLES] if (offer := _offer(entry)) is not None]


def choose(offers: Collection[Offer], machine: Machine, version: str | None = None) -> Offer | None:
    """The newest offer that fits this machine, or the one of just that `version`; None: there is none.

    A box with a camera needs a bundle with the camera's packages; one without takes the smaller one, where there are both.
    """
    fitting = [
        offer
        for offer in offers
        if offer.architecture in ("any", machine.architecture)
        and offer.python == machine.python
        and (offer.camera or not machine.camera)
        and (version is None or parse_version(offer.version) == _wanted(version))
    ]
    return max(fitting, key=lambda offer: (parse_version(offer.version), offer.camera == machine.camera), default=None)


def is_newer(version: str, than: str) -> bool:
    """Whether `version` comes after; a version that cannot be read comes after nothing."""
    try:
        return parse_version(version) > parse_version(than)
    except ValueError:
        return False


def _wanted(version: str) -> Any:
    try:
        return parse_version(version)
    except ValueError:
        return None


def _offer(entry: Any) -> Offer | None:
    if not isinstance(entry, dict):
        return None
    version, architecture, python, camera, file, size, sha256 = (
        entry.get(key) for key in ("version", "architecture", "python", "camera", "file", "size", "sha256")
    )
    if not (isinstance(version, str) and isinstance(architecture, str) and isinstance(python, str) and isinstance(camera, bool)):
        return None
    if not (isinstance(file, str) and len(file) <= _FILE_CHARACTERS and _FILE.fullmatch(file)):
        return None
    if type(size) is not int or not 0 < size <= BUNDLE_BYTES or not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        return None
    try:
        parse_version(version)
    except ValueError:
        return None
    return Offer(version, architecture, python, camera, file, size, sha256)
