"""Links as the settings describe them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

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
