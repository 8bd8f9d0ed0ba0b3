"""A configuration on disk, and what `load_settings` makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.settings import Settings, SettingsError, load_settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

SIGNAGE = """
[[links]]
kind = "signage"
name = "main"
url = "https://signage.example"
username = "lobby"
password = "hush"
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a text as agent.toml, with no environment but the one given."""

    def load_text(
        text: str = "", environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
    ) -> Settings:
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return load_settings(path, overrides or {}, environ=environ or {})

    return load_text


@pytest.fixture
def faults(load: Load, tmp_path: Path) -> Faults:
    """The faults of a configuration, the file's directory left out."""

    def load_text(
        text: str = "", environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
    ) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            load(text, environ, overrides)
        assert "hush" not in str(caught.value), "a fault shows a secret"
        return [fault.replace(f"{tmp_path}/", "") for fault in caught.value.faults]

    return load_text
