"""Loading: the whole file, and which source counts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent.settings import ConversionLink, Settings, SettingsError, SignageLink, TronbytLink, load_settings
from agent.settings.links import LINK_KINDS, BaseLink
from agent.settings.tables import Screen
from tests.settings.conftest import SIGNAGE, Load

TEMPLATE = Path(__file__).parents[2] / "config/agent.toml"
REQUIRED = {"kind", "url", "username", "password"}


def _uncommented() -> str:
    """The template with the "#" in front of every setting taken away."""
    return re.sub(r"^#(?=[a-z0-9_]+ = |\[)", "", TEMPLATE.read_text(), flags=re.MULTILINE)


def test_template_as_it_is_gives_the_defaults() -> None:
    """The file that is installed changes nothing before somebody edits it."""
    assert load_settings(TEMPLATE, environ={}) == Settings()


def test_template_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    """Every value that config/agent.toml shows is the model's default."""
    path = tmp_path / "agent.toml"
    path.write_text(_uncommented())
    settings = load_settings(path, environ={})
    assert settings.model_copy(update={"links": []}) == Settings()
    assert [link.kind for link in settings.links] == list(LINK_KINDS)
    for link in settings.links:
        given = {key: getattr(link, key) for key in REQUIRED & set(type(link).model_fields)}
        bare = Settings(links=[{key: value for key, value in given.items() if value}]).links[0]  # type: ignore[list-item]
        assert link == bare


def test_template_has_every_key() -> None:
    """Every key of the models stands in config/agent.toml, and nothing else does."""
    tables = tomllib.loads(_uncommented())
    links = {link["kind"]: set(link) for link in tables.pop("links")}
    common = set(BaseLink.model_fields) | {"kind"}
    assert common <= links["signage"], "the keys of every link are shown with the first one"
    for kind, model in LINK_KINDS.items():
        assert links[kind] | common == set(model.model_fields)
    assert set(tables["screens"]) == {"front"}
    assert set(tables.pop("screens")["front"]) == set(Screen.model_fields)
    assert set(tables) | {"screens", "links"} == set(Settings.model_fields)
    for name, table in tables.items():
        assert set(table) == set(type(getattr(Settings(), name)).model_fields), name


def test_no_file_gives_the_defaults() -> None:
    """Without a file the defaults hold."""
    settings = load_settings(None, environ={})
    assert settings == Settings()
    assert settings.media.quota == 8_000_000_000
    assert settings.control.socket == Path("/run/signage-agent/control.sock")
    assert settings.first_screen == "front"


def test_links_and_their_defaults(load: Load) -> None:
    """Name, priority and screen of a link have defaults that depend on the rest."""
    settings = load(
        '[screens.window]\noutput = "x11"\n[screens.rear]\n'
        '[[links]]\nkind = "tronbyt"\nurl = "wss://t/1/ws?key=7"\nkey = "hush"\n'
        '[[links]]\nkind = "conversion"\nurl = "http://films"\nscreen = "rear"\n' + SIGNAGE
    )
    first, second, third = settings.links
    assert isinstance(first, TronbytLink)
    assert (first.name, first.priority, first.screen, first.spread_s, first.hold_s) == ("tronbyt", 20, "window", 5.0, 0.0)
    assert first.key is not None
    assert first.key.get_secret_value() == "hush"
    assert isinstance(second, ConversionLink)
    assert (second.priority, second.screen, second.token) == (50, "rear", None)
    assert isinstance(third, SignageLink)
    assert third.sides == {"front": "window"}
    assert "hush" not in repr(settings)
    assert "?key=7" not in repr(settings)


def test_only_the_first_screen_sounds_unless_said(load: Load) -> None:
    """Sound comes from one place."""
    settings = load('[screens.b]\n[screens.a]\n[screens.c]\nsound = true\nwindow = "640x480"')
    assert {name: screen.sound for name, screen in settings.screens.items()} == {"b": True, "a": False, "c": True}
    assert settings.screens["c"].window_size == (640, 480)
    assert settings.screens["a"].window_size is None


def test_sides_of_several_screens(load: Load) -> None:
    """One signage link drives several screens."""
    settings = load("[screens.front]\n[screens.rear]\n" + SIGNAGE + 'side = { front = "front", back = "rear" }\n')
    assert isinstance(settings.links[0], SignageLink)
    assert settings.links[0].sides == {"front": "front", "back": "rear"}


def test_speaker_takes_a_bare_host_and_port(load: Load) -> None:
    """The speaker's own document gives addresses without a scheme."""
    assert load('[[links]]\nkind = "speaker"\nurl = "192.168.1.9:8765"').links[0].url == "192.168.1.9:8765"


def test_precedence(load: Load, tmp_path: Path) -> None:
    """Command line over environment over credentials over the file, key by key."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "main.password").write_text("of the credentials\n")
    (credentials / "main.username").write_text("of the credentials\n")
    environ = {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "SIGNAGE_AGENT_LINK_MAIN__PASSWORD": "of the environment",
        "SIGNAGE_AGENT_LOG__LEVEL": "warning",
        "SIGNAGE_AGENT_PLAYBACK__IMAGE_S": "7",
    }
    text = SIGNAGE + '[log]\nlevel = "debug"\n[playback]\nimage_s = 5\n[media]\nparallel = 2\n'
    settings = load(text, environ, {"log.level": "error"})
    assert settings.log.level == "error"
    assert settings.playback.image_s == 7.0
    assert settings.media.parallel == 2
    assert isinstance(settings.links[0], SignageLink)
    assert settings.links[0].username == "of the credentials"
    assert settings.links[0].password.get_secret_value() == "of the environment"
    assert settings.links[0].url == "https://signage.example"


def test_overrides_nested_dotted_and_links(load: Load) -> None:
    """The command line's keys may be nested or dotted; a link is addressed by its name or added."""
    overrides: dict[str, Any] = {
        "device": {"serial": "X1"},
        "screens.front.rotate": "90",
        "links.main.url": "https://other",
        "links": [{"kind": "tronbyt", "url": "wss://t/1/ws"}],
        "links.films.kind": "conversion",
        "links.films.url": "https://films",
    }
    settings = load(SIGNAGE, overrides=overrides)
    assert settings.device.serial == "X1"
    assert settings.screens["front"].rotate == 90
    assert [(link.name, link.url) for link in settings.links] == [
        ("main", "https://other"),
        ("tronbyt", "wss://t/1/ws"),
        ("films", "https://films"),
    ]


def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path) -> None:
    """Not there, a directory, not text: each says so with its name."""
    missing, binary = tmp_path / "missing.toml", tmp_path / "binary.toml"
    binary.write_bytes(b'[log]\nlevel = "\xff"\n')
    for path, text in (
        (missing, f"{missing}: cannot be read: No such file or directory"),
        (tmp_path, f"{tmp_path}: cannot be read: Is a directory"),
        (binary, f"{binary}:2: not UTF-8 text"),
    ):
        with pytest.raises(SettingsError) as caught:
            load_settings(path, environ={})
        assert caught.value.faults == [text]


def test_a_byte_order_mark_and_windows_line_ends_are_harmless(tmp_path: Path) -> None:
    """The file may come from any editor."""
    path = tmp_path / "agent.toml"
    path.write_bytes(b'\xef\xbb\xbf[log]\r\nlevel = "debug"\r\n')
    assert load_settings(path, environ={}).log.level == "debug"


def test_direct_construction_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Settings()` is for tests and defaults: what surrounds the process does not count."""
    monkeypatch.setenv("LOG", '{"level": "debug"}')
    monkeypatch.setenv("SIGNAGE_AGENT_LOG__LEVEL", "debug")
    assert Settings().log.level == "info"
