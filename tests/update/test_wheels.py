"""A look into wheels."""

from __future__ import annotations

import io
import random
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.update.manifest import BundledFile, BundleError
from agent.update.wheels import look, unpacked_bytes
from tests.update.bundles import installed_wheel, tiny_agent, zip_of

NAME = "signage_agent-9.0.0-py3-none-any.whl"


def _look(wheel: bytes, unpacked: int | None = None, before: bytes = b"what comes before", after: bytes = b"and after") -> None:
    """Looks at a wheel in the middle of a file."""
    if unpacked is None:
        unpacked = unpacked_bytes(io.BytesIO(wheel))
    look(io.BytesIO(before + wheel + after), len(before), BundledFile(NAME, len(wheel), "", unpacked))


def _refusal(wheel: bytes, unpacked: int | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        _look(wheel, unpacked)
    assert len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()
    return str(caught.value)


def _member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    return member


def _named(name: bytes) -> bytes:
    """A zip file with a member of just these bytes as its name, in both places where it stands."""
    return zip_of([("@" * len(name), b"data")]).replace(b"@" * len(name), name)


@pytest.mark.parametrize("package", ["pydantic", "aiohttp", "cffi", "pytest"])
def test_real_wheels(tmp_path: Path, package: str) -> None:
    """Wheels with compiled code and with hundreds of files are looked through."""
    wheel = installed_wheel(tmp_path, package).read_bytes()
    _look(wheel)
    assert _refusal(wheel, unpacked=1).endswith("bytes when unpacked; the manifest says 1")


def test_directories_and_modes(tmp_path: Path) -> None:
    """Directories, plain files and programs may be in a wheel."""
    _look(tiny_agent(tmp_path).read_bytes())
    _look(zip_of([(_member("a/", stat.S_IFDIR | 0o755), b""), (_member("a/b", stat.S_IFREG | 0o755), b"x"), ("a/c", b"y" * 9)]))


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"../x",
            b"a/../../x",
            b"/etc/passwd",
            b"..",
            b".",
            b"a/..",
            b"a//b",
            b"./x",
            b"//x",
            b"/",
            b"a/./b",
            b"..\\x",
            b"a\\b",
        ),
        *(b"C:x", b"C:/x", b"a\nb", b"a\x1bb", b"x\0/../../y", b"a\x7f", b"x" * 501),
    ],
)
def test_names_that_lead_outside(name: bytes) -> None:
    """No member may lie anywhere but in the place the wheel is unpacked to."""
    assert "which would lie outside" in _refusal(_named(name), unpacked=4)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices(kind: int) -> None:
    """Nothing but files and directories."""
    assert _refusal(zip_of([(_member("x", kind | 0o777), b"/etc/passwd")])) == f'{NAME} holds "x", which is a link or a device'


def test_the_same_name_twice() -> None:
    """What is looked at is what is unpacked."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        wheel = zip_of([("x", b"one"), ("x", b"two")])
    assert _refusal(wheel) == f'{NAME} holds "x" twice'
    assert _refusal(zip_of([("x", b"one"), ("x/", b"")])) == f'{NAME} holds "x/" twice'


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(compression: int) -> None:
    """They may want any amount of memory, and no wheel has them."""
    assert "compressed in a way" in _refusal(zip_of([("x", b"x" * 1000)], compression))


def test_encrypted() -> None:
    """Nobody knows a password here."""
    wheel = bytearray(zip_of([("x", b"data")]))
    wheel[6] |= 1
    wheel[wheel.rindex(b"PK\1\2") + 8] |= 1
    assert "which is encrypted" in _refusal(bytes(wheel))


def test_bomb_that_says_so() -> None:
    """A wheel that is longer when unpacked than the manifest says is not unpacked at all."""
    bomb = zip_of([("x", bytes(20_000_000))])
    assert len(bomb) < 30_000
    assert _refusal(bomb, unpacked=1000) == f"{NAME} is 20000000 bytes when unpacked; the manifest says 1000"


@pytest.mark.parametrize("said", [0, 1, 1000, 19_999_999, 20_000_001])
def test_bomb_that_lies(said: int) -> None:
    """A length that is not the real one is found out, with little memory."""
    bomb = bytearray(zip_of([("x", bytes(20_000_000))]))
    struct.pack_into("<L", bomb, 22, said)
    struct.pack_into("<L", bomb, bomb.rindex(b"PK\1\2") + 24, said)
    tracemalloc.start()
    try:
        assert _refusal(bytes(bomb), unpacked=said)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_members_on_top_of_each_other() -> None:
    """Many members that share their data count each for itself."""
    wheel = bytearray(zip_of([("x", bytes(1_000_000))]))
    begin, end = wheel.rindex(b"PK\1\2"), wheel.rindex(b"PK\5\6")
    entry, rest = bytes(wheel[begin:end]), wheel[end:]
    struct.pack_into("<2HL", rest, 8, 1000, 1000, len(entry) * 1000)
    contents = b"".join(entry[:46] + bytes([97 + number % 26]) + entry[47:] for number in range(1000))
    wheel[begin:] = contents + rest
    assert _refusal(bytes(wheel), unpacked=1_000_000)


def test_too_many_members() -> None:
    """A wheel of a hundred thousand files fills a disk with nothing."""
    assert _refusal(zip_of((f"{number}", b"") for number in range(10_001))) == f"{NAME} has 10001 members; 10000 are allowed"
    wheel = bytearray(zip_of((f"{number}", b"") for number in range(10_001)))
    struct.pack_into("<2H", wheel, len(wheel) - 14, 1, 1)
    assert _refusal(bytes(wheel)) == f"{NAME} has 10001 members; 10000 are allowed"


def test_huge_list_of_contents() -> None:
    """The list of contents is not read before its length is known."""
    members: Iterable[tuple[zipfile.ZipInfo | str, bytes]] = [(_commented(number), b"") for number in range(40)]
    assert "has 40 members" in _refusal(zip_of(members))


def _commented(number: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(str(number))
    member.comment = b"c" * 65_000
    return member


def test_only_plain_zip_files() -> None:
    """What could be read in two ways is refused: something before, behind, a comment, 64-bit records."""
    wheel = zip_of([("x", b"data")])
    commented = wheel[:-2] + b"\4\0talk"
    locator = wheel[:-22] + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + wheel[-22:]
    inside = bytearray(locator)
    struct.pack_into("<L", inside, len(inside) - 10, wheel.rindex(b"PK\5\6") - wheel.rindex(b"PK\1\2") + 20)
    for other in (b"#!/bin/sh\n" + wheel, wheel + b"\n", commented, locator, bytes(inside), wheel[:-1], b"x" * 100):
        assert _refusal(other, unpacked=4) == f"{NAME} is not a plain zip file"
    assert _refusal(b"short", unpacked=4) == f"{NAME} is not a zip file"


def test_random_damage() -> None:
    """Two thousand damaged wheels: refused or sound all the same, and nothing else ever."""
    wheel = zip_of([("agent/a.py", b"x = 1\n" * 30), ("agent/", b""), (_member("agent/b", 0o100755), bytes(300))])
    chance = random.Random(5)
    refused = 0
    for _ in range(2000):
        data = bytearray(wheel)
        for _ in range(chance.choice((1, 1, 2, 5))):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        try:
            _look(bytes(data), unpacked=480)
        except BundleError:
            refused += 1
    assert refused > 1000
