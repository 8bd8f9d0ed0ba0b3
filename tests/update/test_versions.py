"""The order of versions."""

from __future__ import annotations

import random
from typing import Any

import pytest
from packaging.version import Version

from agent.update.versions import parse_version

IN_ORDER = [
    *("0", "0.0.1.dev1", "0.0.1a1.dev2", "0.0.1a1", "0.0.1a1.post1", "0.0.1a2", "0.0.1b1", "0.0.1rc1.dev3", "0.0.1rc1"),
    *("0.0.1rc10", "0.0.1", "0.0.1+a", "0.0.1+a.1", "0.0.1+b", "0.0.1+1", "0.0.1+1.a", "0.0.1+1.1", "0.0.1+10"),
    *("0.0.1.post1.dev1", "0.0.1.post1", "0.0.1.post2", "0.1", "0.1.0.1", "0.2", "0.10", "1", "1.0.1", "2", "10", "999999999"),
]
TAILS = [
    ["a0", "a1", "b1", "rc1", "rc2"],
    [".post0", ".post1"],
    [".dev0", ".dev1"],
    ["+a", "+1", "+a.1", "+1.a", "+1.0"],
]


def test_order() -> None:
    """Development, alpha, beta, candidate, final, local, post: as PEP 440 says."""
    assert sorted(random.Random(1).sample(IN_ORDER, len(IN_ORDER)), key=parse_version) == IN_ORDER


def test_zeros_at_the_end_say_nothing() -> None:
    """1.0 is the same version as 1."""
    assert parse_version("1") == parse_version("1.0") == parse_version("1.0.0.0")
    assert parse_version("1.0rc1") == parse_version("1rc1") != parse_version("1")


def test_agrees_with_the_packaging_library() -> None:
    """Any two versions compare as they do for pip."""
    chance = random.Random(7)

    def version() -> str:
        text = ".".join(str(chance.randrange(3)) for _ in range(chance.randint(1, 3)))
        for tail in (
            ["a0", "a1", "b1", "rc1", "rc2"],
            [".post0", ".post1"],
            [".dev0", ".dev1"],
            ["+a", "+1", "+a.1", "+1.a", "+1.0"],
        ):
            text += chance.choice(tail) if chance.random() < 0.3 else ""
        return text

    for _ in range(3000):
        one, other = version(), version()
        assert (parse_version(one) < parse_version(other)) == (Version(one) < Version(other)), (one, other)
        assert (parse_version(one) == parse_version(other)) == (Version(one) == Version(other)), (one, other)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "1.",
            ".1",
            "1..2",
            "v1",
            "1 ",
            "1\n",
            "01",
            "1.02",
            "1-1",
            "1_0",
            "1a",
            "1alpha1",
            "1.0.dev",
            "1!2",
            "1+",
            "1+A",
        ),
        *("1+", "1+A", "1.2.3.4.5.6.7", "1" * 10, "1" * 65, "١", "1/..", "../1", "latest", None, 1, 1.5, ["1"], "1+" + "a" * 70),
    ],
)
def test_no_version(text: Any) -> None:
    """Only the normal form is a version: it names directories and wheels."""
    with pytest.raises(ValueError, match=r"^is not a version such as 1\.2\.3$"):
        parse_version(text)
