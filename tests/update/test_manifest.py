"""What a bundle says about itself."""

from __future__ import annotations

from typing import Any

import pytest

from agent.update.manifest import BundledFile, BundleError, Manifest, encode_json, encode_manifest, parse_manifest
from tests.update.hostile import HOSTILE_FIELDS, HOSTILE_FILE_FIELDS

AGENT = BundledFile("signage_agent-0.4.0-py3-none-any.whl", 1000, "ab" * 32, 3000)
MANIFEST = Manifest("0.4.0", "0.2.0", False, "aarch64", "3.11", True, ("libmpv2",), (AGENT,))


def _content() -> dict[str, Any]:
    return {
        "format": 1,
        "version": "0.4.0",
        "minimum_version": "0.2.0",
        "downgrade": False,
        "architecture": "aarch64",
        "python": "3.11",
        "camera": True,
        "packages": ["libmpv2"],
        "files": [{"name": AGENT.name, "size": 1000, "sha256": "ab" * 32, "unpacked": 3000}],
    }


def _refusal(content: Any) -> str:
    """Why the manifest is refused, in one short line."""
    with pytest.raises(BundleError) as caught:
        parse_manifest(content if isinstance(content, bytes) else encode_json(content))
    assert len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_there_and_back() -> None:
    """A manifest survives being written."""
    assert encode_manifest(MANIFEST) == encode_json(_content())
    assert parse_manifest(encode_manifest(MANIFEST)) == MANIFEST


def test_a_later_version_may_add_keys() -> None:
    """What is not known here is ignored."""
    content = _content()
    content["rollout_percent"] = 10
    content["files"][0]["tags"] = ["py3-none-any"]
    assert parse_manifest(encode_json(content)) == MANIFEST


@pytest.mark.parametrize(("field", "values"), HOSTILE_FIELDS)
def test_hostile_fields(field: str, values: list[Any]) -> None:
    """Every field has a type and a rule."""
    for value in values:
        assert _refusal({**_content(), field: value})
    content = _content()
    del content[field]
    assert _refusal(content)


@pytest.mark.parametrize(("field", "values"), HOSTILE_FILE_FIELDS)
def test_hostile_fields_of_files(field: str, values: list[Any]) -> None:
    """The same for files; whether size and digest are right is seen where the file is read."""
    possible: dict[str, list[Any]] = {"size": [1], "unpacked": [1], "sha256": ["0" * 64]}
    for value in values:
        content = _content()
        content["files"][0][field] = value
        if type(value) is bool or value not in possible.get(field, []):
            assert _refusal(content)
    content = _content()
    del content["files"][0][field]
    assert _refusal(content)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 100_000, b"1" * 10_000, '{"a":"ü"}'.encode(), b"NaN", b'{"a":Infinity}'],
    ids=lambda data: repr(data[:10]),
)
def test_not_json(data: bytes) -> None:
    """Anything else than JSON is refused, however deep it goes."""
    assert _refusal(data) == "the manifest is not JSON"


def test_not_an_object() -> None:
    """JSON of another kind is refused."""
    for data in (b"null", b"1", b'"x"', b"[]"):
        assert _refusal(data) == "the manifest is not a JSON object"


@pytest.mark.parametrize(
    ("old", "new"), [(b":", b": "), (b'{"arch', b'{ "arch'), (b'"camera"', b'"camera":false,"camera"'), (b"0.4", b"\\u0030.4")]
)
def test_one_form_only(old: bytes, new: bytes) -> None:
    """A key twice, spaces, another spelling: nobody reads another manifest out of the same bytes."""
    refusal = _refusal(encode_json(_content()).replace(old, new, 1))
    assert refusal == "the manifest is not in its canonical form: sorted keys, each once, no spaces"


def test_a_package_twice() -> None:
    """One wheel per package, however its name is written."""
    content = _content()
    other = {"name": "Signage.Agent-0.4.0-1-py3-none-any.whl", "size": 1, "sha256": "ab" * 32, "unpacked": 1}
    content["files"].append(other)
    assert _refusal(content) == f"signage-agent is in the bundle twice: {AGENT.name} and {other['name']}"


def test_the_agent_itself() -> None:
    """A bundle holds the agent, in the version it says."""
    content = _content()
    content["files"][0]["name"] = "aiohttp-3.0-py3-none-any.whl"
    assert _refusal(content) == "the agent itself is not in the bundle"
    content = _content()
    content["version"] = "0.5.0"
    assert _refusal(content) == f"the agent in the bundle is {AGENT.name}, but the manifest's version is 0.5.0"


def test_unpacked_too_large() -> None:
    """The files together have a limit, too."""
    content = _content()
    content["files"] = [{**content["files"][0], "unpacked": 2**30}]
    content["files"] += [{**content["files"][0], "name": f"{name}-1-py3-none-any.whl"} for name in ("a", "b")]
    assert _refusal(content) == "the files are more than 2147483648 bytes when unpacked"


def test_an_error_is_one_short_line() -> None:
    """Whatever a bundle holds, the text about it fits into a log line."""
    error = BundleError("a\nb\x1b[31m\u2028" + "x" * 1000)
    assert str(error).startswith("a?b?[31m?xxx")
    assert len(str(error)) == 300
