"""The layer of the environment variables."""

from __future__ import annotations

from agent.settings import SignageLink, SpeakerLink
from tests.settings.conftest import SIGNAGE, Faults, Load


def test_every_type_of_value(load: Load) -> None:
    """Numbers, switches, lists and tables are written as text."""
    settings = load(
        SIGNAGE + "[screens.front]\n[screens.rear]\n",
        {
            "SIGNAGE_AGENT_MEDIA__PARALLEL": "5",
            "SIGNAGE_AGENT_MEDIA__QUOTA": "1GiB",
            "SIGNAGE_AGENT_PLAYBACK__IMAGE_S": "2.5",
            "SIGNAGE_AGENT_SCREENS__FRONT__OUTPUT": "x11",
            "SIGNAGE_AGENT_SCREENS__FRONT__ROTATE": "180",
            "SIGNAGE_AGENT_SCREENS__REAR__SOUND": "yes",
            "SIGNAGE_AGENT_HARDWARE__REBOOT_COMMAND": "sudo -n reboot",
            "SIGNAGE_AGENT_UPDATE__TRUSTED_KEYS": '["ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]',
            "SIGNAGE_AGENT_LOG__LEVEL": "DEBUG",
            "SIGNAGE_AGENT_LINK_MAIN__PRIORITY": "12",
            "SIGNAGE_AGENT_LINK_MAIN__SCREENSHOTS": "60",
            "SIGNAGE_AGENT_LINK_MAIN__SIDE__FRONT": "front",
            "SIGNAGE_AGENT_LINK_MAIN__SIDE__BACK": "rear",
            "SIGNAGE_AGENT_CHANNEL_FD": "7",
            "SIGNAGE_AGENTS": "somebody else's",
        },
    )
    assert (settings.media.parallel, settings.media.quota, settings.playback.image_s) == (5, 1_073_741_824, 2.5)
    assert (settings.screens["front"].output, settings.screens["front"].rotate) == ("x11", 180)
    assert settings.screens["rear"].sound is True
    assert settings.hardware.reboot_command == ["sudo", "-n", "reboot"]
    assert len(settings.update.trusted_keys) == 1
    assert settings.log.level == "debug"
    link = settings.links[0]
    assert isinstance(link, SignageLink)
    assert (link.priority, link.screenshots, link.sides) == (12, 60.0, {"front": "front", "back": "rear"})


def test_links_and_screens_with_dashes_and_dots(load: Load) -> None:
    """A name becomes upper case with underscores; the longest name that fits is meant."""
    text = '[screens.shop-window]\n[[links]]\nkind = "speaker"\nname = "a"\nurl = "h:1"\n'
    text += '[[links]]\nkind = "speaker"\nname = "a.b-c"\nurl = "h:1"\n'
    settings = load(
        text,
        {
            "SIGNAGE_AGENT_LINK_A__TOKEN": "one",
            "SIGNAGE_AGENT_LINK_A_B_C__TOKEN": "two",
            "SIGNAGE_AGENT_LINK_A_B_C__REQUIRE_SHA256": "false",
            "SIGNAGE_AGENT_SCREENS__SHOP_WINDOW__MODE": "1280x720",
        },
    )
    first, second = settings.links
    assert isinstance(first, SpeakerLink)
    assert isinstance(second, SpeakerLink)
    assert [link.token and link.token.get_secret_value() for link in (first, second)] == ["one", "two"]
    assert [link.require_sha256 for link in (first, second)] == [True, False]
    assert settings.screens["shop-window"].mode == "1280x720"


def test_a_box_without_a_file(load: Load) -> None:
    """KIND makes a link and OUTPUT makes a screen, so that a container needs no file."""
    settings = load(
        "",
        {
            "SIGNAGE_AGENT_LINK_SHOP__KIND": "signage",
            "SIGNAGE_AGENT_LINK_SHOP__URL": "https://s",
            "SIGNAGE_AGENT_LINK_SHOP__USERNAME": "u",
            "SIGNAGE_AGENT_LINK_SHOP__PASSWORD": "p",
            "SIGNAGE_AGENT_LINK_SHOP__SCREEN": "rear",
            "SIGNAGE_AGENT_SCREENS__REAR__OUTPUT": "wayland",
        },
    )
    assert [(link.name, link.kind, link.screen) for link in settings.links] == [("shop", "signage", "rear")]
    assert list(settings.screens) == ["rear"]


def test_unknown_variables_are_faults(faults: Faults) -> None:
    """A misspelt variable does not go unnoticed."""
    assert faults(
        SIGNAGE,
        {
            "SIGNAGE_AGENT_LOG__LEVLE": "debug",
            "SIGNAGE_AGENT_LOG": "debug",
            "SIGNAGE_AGENT_": "x",
            "SIGNAGE_AGENT_LOGS__LEVEL": "debug",
            "SIGNAGE_AGENT_LINK_MIAN__URL": "https://x",
            "SIGNAGE_AGENT_LINK_MAIN__COLOUR": "hush",
            "SIGNAGE_AGENT_SCREENS__REAR__ROTATE": "90",
        },
    ) == [
        "SIGNAGE_AGENT_: unknown variable",
        "SIGNAGE_AGENT_LINK_MAIN__COLOUR: unknown variable",
        "SIGNAGE_AGENT_LINK_MIAN__URL: unknown variable: no link is called so; there are: main",
        "SIGNAGE_AGENT_LOG: unknown variable",
        "SIGNAGE_AGENT_LOGS__LEVEL: unknown variable",
        "SIGNAGE_AGENT_LOG__LEVLE: unknown variable",
        "SIGNAGE_AGENT_SCREENS__REAR__ROTATE: unknown variable: no screen is called so; there are: front",
    ]


def test_wrong_values_are_reported_by_variable(faults: Faults) -> None:
    """The place of a fault is the variable that holds the wrong value."""
    assert faults(
        SIGNAGE,
        {
            "SIGNAGE_AGENT_MEDIA__PARALLEL": "many",
            "SIGNAGE_AGENT_SCREENS__FRONT__ROTATE": "45",
            "SIGNAGE_AGENT_SCREENS__FRONT__SOUND": "loud",
            "SIGNAGE_AGENT_LINK_MAIN__URL": "ftp://u:hush@x",
            "SIGNAGE_AGENT_LINK_MAIN__SCREEN": "rear",
            "SIGNAGE_AGENT_HARDWARE__REBOOT_COMMAND": "[1, 2",
        },
    ) == [
        "SIGNAGE_AGENT_LINK_MAIN__SCREEN: there is no screen 'rear'; there are: front",
        "SIGNAGE_AGENT_MEDIA__PARALLEL: must be a whole number, not 'many'",
        "SIGNAGE_AGENT_SCREENS__FRONT__ROTATE: must be one of 0, 90, 180, 270, not 45",
        "SIGNAGE_AGENT_SCREENS__FRONT__SOUND: must be true or false, not 'loud'",
        "SIGNAGE_AGENT_HARDWARE__REBOOT_COMMAND: must be a list in [ ], not '[1, 2'",
        "SIGNAGE_AGENT_LINK_MAIN__URL: must begin with http://, https://, ws://, wss://",
    ]


def test_names_that_the_environment_cannot_tell_apart(faults: Faults) -> None:
    """Two links whose names differ in punctuation only cannot be addressed."""
    text = '[[links]]\nkind = "speaker"\nname = "a-b"\nurl = "h:1"\n[[links]]\nkind = "speaker"\nname = "a.b"\nurl = "h:1"\n'
    assert faults(text, {"SIGNAGE_AGENT_LINK_A_B__TOKEN": "hush"}) == [
        "SIGNAGE_AGENT_LINK_A_B__TOKEN: names two links: their names differ in case or punctuation only"
    ]
