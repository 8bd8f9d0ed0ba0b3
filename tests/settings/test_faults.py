"""Faults in the file: one line each, with its place, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.settings import SettingsError, load_settings
from tests.settings.conftest import SIGNAGE, Faults, Load


def _cases() -> Iterator[tuple[str, str]]:
    """The blocks of faults.txt: a configuration, and the line that says what is wrong with it."""
    for block in Path(__file__).with_name("faults.txt").read_text().split("\n\n")[1:]:
        text, _, fault = block.rpartition("\n=> ")
        yield text, fault.strip()


@pytest.mark.parametrize(("text", "fault"), list(_cases()))
def test_one_fault_one_line(faults: Faults, text: str, fault: str) -> None:
    """Each fault is one line that says where and what, and never a secret."""
    assert faults(text) == [fault]


def test_all_faults_at_once(faults: Faults) -> None:
    """An installer corrects a file once, not once for each fault; what is wrong between values is said besides."""
    found = faults(
        "[log]\nlevel = 1\n[screens.front]\nrotate = 1\n" + SIGNAGE + "screen = 'rear'\npasword = 'hush'\n",
        {"SIGNAGE_AGENT_X": "1"},
        {"audio.duck_db": "loud"},
    )
    assert [fault.split(": ")[0] for fault in found] == [
        "SIGNAGE_AGENT_X",
        "agent.toml:12",
        "agent.toml:2",
        "agent.toml:4",
        "command line",
        "agent.toml:13",
    ]
    assert "command line: audio.duck_db: must be a number, not 'loud'" in found


def test_unknown_link_on_the_command_line(faults: Faults) -> None:
    """A link that does not exist is named, with those that do."""
    assert faults(SIGNAGE, overrides={"links.mian.url": "https://x"}) == [
        "command line: links.mian.url: no link is called so; there are: main"
    ]


def _connectors(root: Path, *names: str) -> str:
    for name in names:
        (root / "class/drm" / name).mkdir(parents=True)
    return f"[hardware]\nsysfs = '{root}'\n[screens.a]\noutput = 'drm:HDMI-A-1'\n[screens.b]\noutput = 'drm:HDMI-A-2'\n"


def test_two_screens_on_one_card(faults: Faults, tmp_path: Path) -> None:
    """A graphics card has one master; the way out is named."""
    expected = (
        "agent.toml:6: screens.b.output: screen 'a' drives the same graphics card, which can have one master only; run a kiosk "
        "Wayland compositor (cage, labwc) or X11 and say output = 'wayland' or 'x11' for both"
    )
    assert faults(_connectors(tmp_path / "sys", "card1-HDMI-A-1", "card1-HDMI-A-2")) == [expected]
    assert faults(_connectors(tmp_path / "empty")) == [expected]


def test_two_screens_on_two_cards(load: Load, tmp_path: Path) -> None:
    """Two cards may have two masters."""
    assert list(load(_connectors(tmp_path / "sys", "card0-HDMI-A-1", "card1-HDMI-A-2")).screens) == ["a", "b"]


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    """What `check` looks into: a ca_file that is missing, or holds no certificate; the agent itself starts all the same."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("-----BEGIN CERTIFICATE-----\nno\n")
    path = tmp_path / "agent.toml"
    for file, fault in (
        (tmp_path / "none.pem", "cannot be read: No such file or directory"),
        (wrong, "holds no certificate in PEM form"),
    ):
        path.write_text(SIGNAGE + f"ca_file = '{file}'\n")
        assert load_settings(path, environ={}).links[0].ca_file == file
        with pytest.raises(SettingsError) as caught:
            load_settings(path, environ={}, check_files=True)
        assert caught.value.faults == [f"{path}:8: links.main.ca_file: {file} {fault}"]
    path.write_text(SIGNAGE + "ca_file = ''\n")
    load_settings(path, environ={}, check_files=True)
