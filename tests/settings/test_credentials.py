"""Secrets from systemd's credentials and from files that keys name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.settings import SignageLink
from tests.settings.conftest import SIGNAGE, Faults, Load

BARE = SIGNAGE.replace('password = "hush"\n', "")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A credentials directory as systemd makes it."""
    path = tmp_path / "credentials"
    path.mkdir()
    return path


def _password(load: Load, text: str, environ: dict[str, str]) -> str:
    link = load(text, environ).links[0]
    assert isinstance(link, SignageLink)
    return link.password.get_secret_value()


@pytest.mark.parametrize("name", ["main.password", "secrets_main.password"])
def test_credential(load: Load, directory: Path, name: str) -> None:
    """A file is found under its own name and under the one that a directory credential gives it."""
    (directory / name).write_text("of the credentials\n")
    assert _password(load, BARE, {"CREDENTIALS_DIRECTORY": str(directory)}) == "of the credentials"


def test_credential_beats_the_file(load: Load, directory: Path) -> None:
    """systemd credentials count more than TOML, also where TOML names a file that is not there."""
    (directory / "secrets_main.password").write_text("of the credentials")
    environ = {"CREDENTIALS_DIRECTORY": str(directory)}
    assert _password(load, SIGNAGE, environ) == "of the credentials"
    assert _password(load, BARE + 'password_file = "/nowhere"\n', environ) == "of the credentials"


def test_leftovers_do_no_harm(load: Load, directory: Path) -> None:
    """Secrets of a link that was taken out, and files that are none, do not keep the box from starting."""
    for name in ("secrets_gone.password", "README", ".hidden", "secrets_"):
        (directory / name).write_text("x")
    assert _password(load, SIGNAGE, {"CREDENTIALS_DIRECTORY": str(directory)}) == "hush"


def test_faulty_credentials(faults: Faults, directory: Path) -> None:
    """An unknown key of a known link, a file that is not text, an empty one."""
    (directory / "secrets_main.pasword").write_text("hush")
    (directory / "secrets_main.password").write_bytes(b"\xff")
    (directory / "main.username").write_text("\n")
    assert faults(BARE, {"CREDENTIALS_DIRECTORY": str(directory)}) == [
        f"credential secrets_main.password: {directory.relative_to(directory.parent)}/secrets_main.password is not UTF-8 text",
        "credential secrets_main.pasword: unknown key 'pasword'",
        f"credential main.username: {directory.relative_to(directory.parent)}/main.username is empty",
    ]


def test_no_credentials_directory(faults: Faults, tmp_path: Path) -> None:
    """A directory that systemd promised and that is not there is said."""
    assert faults(SIGNAGE, {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}) == [
        "none: credentials cannot be read: No such file or directory"
    ]


def test_password_file(load: Load, tmp_path: Path) -> None:
    """A key may name a file; relative paths begin where the configuration is; the line end is no part of the secret."""
    (tmp_path / "pw").write_text(" with spaces \r\n")
    assert _password(load, BARE + 'password_file = "pw"\n', {}) == " with spaces "
    assert _password(load, SIGNAGE, {"SIGNAGE_AGENT_LINK_MAIN__PASSWORD_FILE": str(tmp_path / "pw")}) == " with spaces "


def test_faulty_password_files(faults: Faults, tmp_path: Path) -> None:
    """Not there, empty, given twice, of the wrong type, for a key that the kind does not have."""
    (tmp_path / "empty").touch()
    (tmp_path / "some").write_text("hush")
    assert faults(BARE + 'password_file = "none"\n') == [
        "agent.toml:7: links.main.password_file: none cannot be read: No such file or directory"
    ]
    assert faults(BARE + 'password_file = "empty"\n') == ["agent.toml:7: links.main.password_file: empty is empty"]
    assert faults(SIGNAGE + 'password_file = "some"\n') == [
        "agent.toml:8: links.main.password_file: say password or password_file, not both"
    ]
    assert faults(BARE + "password_file = 3\n") == ["agent.toml:7: links.main.password_file: must be a path in quotes"]
    [fault] = faults(SIGNAGE + 'token_file = "some"\n')
    assert fault.startswith("agent.toml:8: links.main.token_file: unknown key")
    assert faults(BARE, {"SIGNAGE_AGENT_LINK_MAIN__PASSWORD_FILE": "/nowhere"}) == [
        "SIGNAGE_AGENT_LINK_MAIN__PASSWORD_FILE: /nowhere cannot be read: No such file or directory"
    ]


def test_a_missing_secret_names_the_ways(faults: Faults) -> None:
    """Whoever forgot the password is told where it can go; an empty one is missing, too."""
    words = (
        "links.main.password: missing; set it here, in a file named by password_file, as the credential main.password "
        "or as SIGNAGE_AGENT_LINK_MAIN__PASSWORD"
    )
    assert faults(BARE) == [f"agent.toml:2: {words}"]
    assert faults(BARE + 'password = ""\n') == [f"agent.toml:7: {words}"]
