"""Links as the settings describe them."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.device import Device
from agent.links import registry
from agent.settings import load_settings

LINK = '[[links]]\nkind = "signage"\nname = "main"\nurl = "https://signage.example"\nusername = "lobby"\npassword = "hushed"\n'


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_is_no_use(tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """The link works with the system's authorities, and says so."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    path = tmp_path / "agent.toml"
    path.write_text(LINK + f'ca_file = "{file}"\n')
    context, fault = registry._tls(load_settings(path, environ={}).links[0])
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert fault.startswith(f"ca_file {file} cannot be used, only the system's authorities count: ")
    assert f"{fault} link=main" in caplog.text


def test_no_ca_file(tmp_path: Path) -> None:
    """The usual case."""
    path = tmp_path / "agent.toml"
    path.write_text(LINK)
    assert registry._tls(load_settings(path, environ={}).links[0])[1] == ""


async def test_a_speaker_link_gets_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also whether an update may come without its digest."""
    made: list[dict[str, Any]] = []

    def note(*_: Any, **options: Any) -> SimpleNamespace:
        made.append(options)
        return SimpleNamespace()

    monkeypatch.setattr("agent.links.speaker.link.SpeakerLink", note)
    device = cast("Device", SimpleNamespace(identity=SimpleNamespace(device_id="A1B2C3D4E5F6")))
    path = tmp_path / "agent.toml"
    for line, wanted in (("", True), ("require_sha256 = false\n", False)):
        path.write_text(f'[[links]]\nkind = "speaker"\nurl = "ws://speaker.example"\n{line}')
        registry.make_link(load_settings(path, environ={}).links[0], device)
        assert made[-1]["require_sha256"] is wanted
        assert made[-1]["device_id"] == "A1B2C3D4E5F6"
