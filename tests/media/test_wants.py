"""agent.media.wants"""

from __future__ import annotations

import dataclasses

import pytest

from agent.media import FetchError, Timers, Want
from agent.media.wants import amount, digest_of, key_of, part_name, plain_url


def test_default_timers() -> None:
    """The times of the store on a device."""
    assert dataclasses.asdict(Timers()) == {
        "response_s": 30.0,
        "stall_s": 30.0,
        "slow_window_s": 60.0,
        "slow_bytes_s": 1024.0,
        "tries": 5,
        "mismatch_tries": 3,
        "retry_first_s": 1.0,
        "retry_last_s": 60.0,
        "progress_s": 0.2,
        "part_age_s": 604800.0,
        "verify_after_s": 120.0,
        "verify_round_s": 86400.0,
        "verify_bytes_s": 1048576.0,
        "upkeep_s": 600.0,
    }


@pytest.mark.parametrize(
    ("checksum", "digest"),
    [
        ("", None),
        ("  ", None),
        ("D41D8CD98F00B204E9800998ECF8427E", "md5:d41d8cd98f00b204e9800998ecf8427e"),
        ("AB" * 32, "sha256:" + "ab" * 32),
    ],
)
def test_digest(checksum: str, digest: str | None) -> None:
    """32 hex digits are MD5, 64 are SHA-256, in any case; none is none."""
    assert digest_of(Want("http://h/a", "a", None, checksum)) == digest


@pytest.mark.parametrize("checksum", ["da39a3ee5e6b4b0d3255bfef95601890afd80709", "x" * 32, "../../etc/passwd", "é" * 64])
def test_other_checksums_are_refused(checksum: str) -> None:
    """What is neither MD5 nor SHA-256 can never be verified."""
    with pytest.raises(FetchError, match="neither an MD5 nor a SHA-256") as caught:
        key_of(Want("http://h/a", "a", None, checksum))
    assert caught.value.cause == "checksum"


def test_names_never_become_paths() -> None:
    """Whatever a server calls a file, its part is named after digest or address."""
    for name in ("../../etc/passwd", "/etc/passwd", "a\x00b", "x" * 5000):
        assert "/" not in part_name(Want(f"http://h/{name}", name))
        assert len(part_name(Want(f"http://h/{name}", name))) < 100


def test_unknown_sizes_are_none() -> None:
    """Zero and negative sizes say nothing."""
    assert [Want("u", "n", size).expected_bytes for size in (None, 0, -1, 5 << 30)] == [None, None, None, 5 << 30]


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://user:secret@host:8443/a/b.mp4?token=secret#secret", "https://host:8443/a/b.mp4"),
        ("/media/a.mp4?token=secret", "(incomplete address)"),
        ("http://[::1/secret", "(unreadable address)"),
    ],
)
def test_plain_url_has_no_secrets(url: str, plain: str) -> None:
    """User, password, query and fragment stay out of logs."""
    assert plain_url(url) == plain


@pytest.mark.parametrize(
    ("url", "where", "signed"),
    [
        ("https://user:secret@host:8443/a/b.mp4?token=secret", "https://host:8443/a/b.mp4", "https://host:8443"),
        ("https://host", "https://host", "https://host"),
        ("/a/b.mp4", "(incomplete address)", "(incomplete address)"),
        ("http://[::1/secret", "(unreadable address)", "(unreadable address)"),
    ],
)
def test_of_a_signed_address_the_host_is_named(url: str, where: str, signed: str) -> None:
    """What it grants may stand in its path."""
    assert (Want(url, "n").where, Want(url, "n", signed=True).where) == (where, signed)


def test_amount() -> None:
    """Sizes read well."""
    assert [amount(size) for size in (12, 1_500, 12_340_000, 8e9)] == ["12 bytes", "1.5 kB", "12.3 MB", "8.0 GB"]
