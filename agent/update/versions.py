"""The order of versions.

Python's own scheme (PEP 440) in its normal form and without epochs: 1.2, 1.2.0rc1, 1.2.post1, 1.2.dev3, 1.2+local.4.
"""

from __future__ import annotations

import re
from typing import NamedTuple

VERSION_CHARACTERS = 64

_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_VERSION = re.compile(
    rf"(?P<release>{_NUMBER}(?:\.{_NUMBER}){{0,5}})"
    rf"(?:(?P<phase>a|b|rc)(?P<pre>{_NUMBER}))?"
    rf"(?:\.post(?P<post>{_NUMBER}))?"
    rf"(?:\.dev(?P<dev>{_NUMBER}))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:\.[a-z0-9]+)*))?"
)
_PHASES = {"dev": 0, "a": 1, "b": 2, "rc": 3, "final": 4}


class Version(NamedTuple):
    """A version that compares as PEP 440 says; every field is made for comparing, none for showing."""

    release: tuple[int, ...]
    pre: tuple[int, int]
    post: int
    dev: tuple[bool, int]
    local: tuple[tuple[int, str], ...]


def parse_version(text: object) -> Version:
    """What `text` is among versions. Raises ValueError if it is none, or longer than 64 characters."""
    match = _VERSION.fullmatch(text) if isinstance(text, str) and len(text) <= VERSION_CHARACTERS else None
    if match is None:
        raise ValueError("is not a version such as 1.2.3")
    release = [int(number) for number in match["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    # 1.0.dev1 comes before 1.0a1, but 1.0a1.dev1 and 1.0.post1.dev1 belong to what they prepare.
    phase = match["phase"] or ("dev" if match["dev"] and not match["post"] else "final")
    return Version(
        release=tuple(release),
        pre=(_PHASES[phase], int(match["pre"] or 0)),
        post=int(match["post"]) if match["post"] else -1,
        dev=(match["dev"] is None, int(match["dev"] or 0)),
        local=tuple(_local(part) for part in match["local"].split(".")) if match["local"] else (),
    )


def _local(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() else (-1, part)
