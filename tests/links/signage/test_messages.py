"""What the server may say, in every form (signage contract, sections 3 to 5), and how reports look on the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.links.signage import messages
from agent.links.signage.messages import (
    CleanupOldPlaylists,
    HideTextOverlay,
    Next,
    Pause,
    Play,
    PlaylistStatus,
    PlayMedia,
    Previous,
    ReadyPlaylists,
    ReloadPlaylist,
    SetBrightness,
    SetVolume,
    ShowTextOverlay,
    SwitchPlaylist,
    TextOverlay,
    UnknownMessageError,
    parse,
    to_colour,
    to_id,
)
from agent.screen.messages import Ticker

EXAMPLES = Path(__file__).parents[2] / "examples" / "signage"


def taken(**body: Any) -> messages.AnyAction | None:
    return parse(json.dumps(body))


def overlay(**fields: Any) -> TextOverlay:
    """The overlay of a message with these fields."""
    action = taken(action="show_text_overlay", text_overlay={"text": "Hello", **fields})
    assert isinstance(action, ShowTextOverlay)
    return action.text_overlay


# The examples of the source document

EXPECTED = {
    "flow_reload_1_reload_playlist": ReloadPlaylist(action="reload_playlist"),
    "hide_text_overlay": HideTextOverlay(action="hide_text_overlay"),
    "next": Next(action="next"),
    "pause": Pause(action="pause"),
    "play": Play(action="play"),
    "play_media": PlayMedia(action="play_media", media_id=1005, media_index=3),
    "previous": Previous(action="previous"),
    "reload_playlist": ReloadPlaylist(action="reload_playlist"),
    "set_brightness": SetBrightness(action="set_brightness", brightness=75),
    "set_volume": SetVolume(action="set_volume", volume=60),
    "show_text_overlay": ShowTextOverlay(
        action="show_text_overlay",
        text_overlay=TextOverlay(
            text="Special Promotion Today!",
            position="bottom",
            animation="scroll",
            speed=50.0,
            font_size=24,
            background_color="#000000",
            text_color="#FFFFFF",
        ),
    ),
    "switch_playlist": SwitchPlaylist(action="switch_playlist", playlist_id=102),
}


@pytest.mark.parametrize("path", sorted((EXAMPLES / "server").glob("*.json")), ids=lambda path: path.stem)
def test_the_documents_commands_are_taken_in(path: Path) -> None:
    """Every JSON example of a command has the meaning the document gives it."""
    assert parse(path.read_text()) == EXPECTED[path.stem]


def test_every_command_example_is_expected() -> None:
    """No example is forgotten here."""
    assert {path.stem for path in (EXAMPLES / "server").glob("*.json")} == EXPECTED.keys()


@pytest.mark.parametrize("path", sorted((EXAMPLES / "device").glob("*.json")), ids=lambda path: path.stem)
def test_the_documents_reports_are_produced(path: Path) -> None:
    """Every JSON example of a report comes out field for field, with nothing more and nothing less."""
    example = json.loads(path.read_text())
    arguments = {key: value for key, value in example.items() if key != "type"}
    report = ReadyPlaylists(**arguments) if example["type"] == "ready_playlists" else PlaylistStatus(**arguments)
    assert json.loads(report.text()) == example
    assert list(json.loads(report.text())) == list(example)


def test_a_report_with_what_no_encoder_takes() -> None:
    """A lone surrogate in a name, as a server's JSON may hold, does not stop the reports."""
    report = PlaylistStatus(playlist_id=1, status="partial", total_items=1, downloaded_items=0, missing_files=["a\ud800b"])
    report.text().encode()


# Where arguments stand and how they are written


@pytest.mark.parametrize(
    "body",
    [
        {"action": "switch_playlist", "playlist_id": 102},
        {"action": "switch_playlist", "playlistId": 102},
        {"action": "switch_playlist", "playlist_id": "102"},
        {"action": "switch_playlist", "playlist_id": 102.0},
        {"action": "switch_playlist", "params": {"playlist_id": 102}},
        {"action": "switch_playlist", "params": {"playlistId": "102"}},
        {"action": "switch_playlist", "playlist_id": None, "params": {"playlist_id": 102}},
        {"action": "switch_playlist", "playlist_id": 102, "params": None},
        {"action": "switch_playlist", "playlist_id": 102, "params": []},
        {"action": "switch_playlist", "playlist_id": 102, "unknown": {"a": [1]}, "type": "command"},
    ],
)
def test_places_and_spellings(body: dict[str, Any]) -> None:
    """Top level or `params`, snake_case or camelCase, numbers or numeric strings, beside unknown keys."""
    assert parse(json.dumps(body)) == SwitchPlaylist(action="switch_playlist", playlist_id=102)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"action": "play_media", "mediaId": "1005", "mediaIndex": "3"}, (1005, 3, None)),
        ({"action": "play_media", "params": {"mediaIndex": 0, "playlistId": 7}}, (None, 0, 7)),
        ({"action": "play_media", "media_index": "2.0"}, (None, 2, None)),
        ({"action": "play_media", "media_index": -1}, (None, -1, None)),
        ({"action": "play_media", "media_id": "intro"}, ("intro", None, None)),
        ({"action": "play_media"}, (None, None, None)),
    ],
)
def test_play_media(body: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """All three arguments are optional."""
    action = parse(json.dumps(body))
    assert isinstance(action, PlayMedia)
    assert (action.media_id, action.media_index, action.playlist_id) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(102, 102), ("102", 102), ("spring", "spring"), (None, None), ("", None), (True, None), ([], None), ({}, None), (1.5, None)],
)
@pytest.mark.parametrize("key", ["new_solution_id", "newSolutionId"])
def test_reload_with_a_playlist_to_switch_to(key: str, value: Any, expected: Any) -> None:
    """`new_solution_id` in `params`; one that makes no sense leaves a plain reload."""
    assert taken(action="reload_playlist", params={key: value}) == ReloadPlaylist(
        action="reload_playlist", new_solution_id=expected
    )


@pytest.mark.parametrize("key", ["playlistIdsToKeep", "playlist_ids_to_keep"])
def test_cleanup(key: str) -> None:
    """The list may hold numbers and numeric strings."""
    action = taken(action="cleanup_old_playlists", params={key: [1, "2", "x"]})
    assert action == CleanupOldPlaylists(action="cleanup_old_playlists", playlist_ids_to_keep=[1, 2, "x"])


@pytest.mark.parametrize("value", [None, [], {}, "1,2", 1, [None], [1, []], [True]])
def test_cleanup_that_would_keep_nothing(value: Any) -> None:
    """A missing, empty or unreadable list is refused."""
    with pytest.raises(UnknownMessageError, match="playlist_ids_to_keep"):
        taken(action="cleanup_old_playlists", playlistIdsToKeep=value)
    with pytest.raises(UnknownMessageError, match="playlist_ids_to_keep"):
        taken(action="cleanup_old_playlists")


@pytest.mark.parametrize(
    ("said", "percent"),
    [
        (0, 0),
        (100, 100),
        (75, 75),
        ("60", 60),
        (" 60 ", 60),
        (60.4, 60),
        ("60.6", 61),
        (-5, 0),
        (101, 100),
        (1e300, 100),
        ("-1", 0),
        (10**30, 100),
    ],
)
def test_percents_are_clamped(said: Any, percent: int) -> None:
    """0-100, also from numeric strings."""
    assert taken(action="set_volume", volume=said) == SetVolume(action="set_volume", volume=percent)
    assert taken(action="set_brightness", params={"brightness": said}) == SetBrightness(
        action="set_brightness", brightness=percent
    )


@pytest.mark.parametrize("said", [None, "", "loud", "75%", True, False, [], [50], {}, "nan", "inf"])
def test_percents_that_are_none(said: Any) -> None:
    """Missing or not a number: ignored."""
    for body in ({"action": "set_volume", "volume": said}, {"action": "set_brightness", "brightness": said}):
        with pytest.raises(UnknownMessageError, match=r"volume|brightness"):
            parse(json.dumps(body))
    with pytest.raises(UnknownMessageError):
        taken(action="set_volume")


@pytest.mark.parametrize("frame", ['{"action": "set_volume", "volume": NaN}', '{"action": "set_volume", "volume": 1e999}'])
def test_percents_that_are_not_finite(frame: str) -> None:
    """Neither are these numbers."""
    with pytest.raises(UnknownMessageError):
        parse(frame)


# Garbage


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b'{"action": "play"}', "binary frame of 18 bytes"),
        (b"", "binary frame of 0 bytes"),
        ("", "invalid JSON"),
        ("{", "invalid JSON"),
        ("play", "invalid JSON"),
        ('{"action": "play"} x', "invalid JSON"),
        ("[" * 100_000, "invalid JSON"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "invalid JSON"),
        ("9" * 10_000, "invalid JSON"),
        ("null", "not an object"),
        ("[]", "not an object"),
        ('["play"]', "not an object"),
        ("5", "not an object"),
        ('"play"', "not an object"),
        ("{}", "no action"),
        ('{"command": "play"}', "no action"),
        ('{"type": 5}', "no action"),
        ('{"action": null}', "action"),
        ('{"action": 5}', "action"),
        ('{"action": []}', "action"),
        ('{"action": {"play": 1}}', "action"),
        ('{"action": ""}', "action"),
        ('{"action": "PLAY"}', "action 'PLAY'"),
        ('{"action": "self_destruct"}', "action 'self_destruct'"),
        ('{"action": "switch_playlist"}', "playlist_id"),
        ('{"action": "switch_playlist", "playlist_id": null}', "playlist_id"),
        ('{"action": "switch_playlist", "playlist_id": true}', "playlist_id"),
        ('{"action": "switch_playlist", "playlist_id": {}}', "playlist_id"),
        ('{"action": "switch_playlist", "playlist_id": 1.5}', "playlist_id"),
        ('{"action": "switch_playlist", "playlist_id": NaN}', "playlist_id"),
        ('{"action": "play_media", "media_index": "first"}', "media_index"),
        ('{"action": "play_media", "media_index": 1.5}', "media_index"),
        ('{"action": "play_media", "media_id": []}', "media_id"),
        ('{"action": "show_text_overlay"}', "text_overlay"),
        ('{"action": "show_text_overlay", "text_overlay": null}', "text_overlay"),
        ('{"action": "show_text_overlay", "text_overlay": "Hello"}', "text_overlay"),
        ('{"action": "show_text_overlay", "text_overlay": {}}', "text"),
        ('{"action": "show_text_overlay", "text_overlay": {"text": null}}', "text"),
        ('{"action": "show_text_overlay", "text_overlay": {"text": ""}}', "text"),
        ('{"action": "show_text_overlay", "text_overlay": {"text": " \\n "}}', "text"),
        ('{"action": "show_text_overlay", "text_overlay": {"text": ["a"]}}', "text"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_garbage(frame: str | bytes, words: str) -> None:
    """Every frame that is no message is refused with a short sentence that says why."""
    with pytest.raises(UnknownMessageError, match=words) as caught:
        parse(frame)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("action", ["x" * 100_000, "a\nb\x1b[31m", "\ud800"])
def test_what_is_said_of_garbage_is_short_and_on_one_line(action: str) -> None:
    """An action of 100 kB, with line breaks or escapes, does not fill or forge the log."""
    with pytest.raises(UnknownMessageError) as caught:
        taken(action=action)
    assert len(str(caught.value)) < 1_000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "body",
    [{"type": "connection_established"}, {"type": "connection_established", "message": "hi"}, {"type": "pong", "data": [1]}],
)
def test_a_greeting_is_normal(body: dict[str, Any]) -> None:
    """It means nothing."""
    assert parse(json.dumps(body)) is None


# Text overlays


def test_overlay_defaults() -> None:
    """Bottom, scrolling, 50 px/s, 24 px, white on black."""
    assert overlay().ticker() == Ticker(
        text="Hello",
        position="bottom",
        motion="scroll",
        speed_px_s=50.0,
        font_size_px=24.0,
        background="#FF000000",
        color="#FFFFFFFF",
        canvas=None,
    )


@pytest.mark.parametrize("position", ["top", "bottom", "left", "right", "TOP", "Left", " right "])
@pytest.mark.parametrize("animation", ["scroll", "static", "STATIC", "Scroll"])
def test_overlay_words_in_any_case(position: str, animation: str) -> None:
    """Enum values are case-insensitive."""
    shown = overlay(position=position, animation=animation)
    assert (shown.position, shown.animation) == (position.strip().lower(), animation.lower())


@pytest.mark.parametrize("value", ["middle", "", None, 5, [], {}, True])
def test_unknown_overlay_words_fall_back(value: Any) -> None:
    """Each on its own."""
    assert overlay(position=value, animation="static").position == "bottom"
    assert overlay(animation=value, position="top").animation == "scroll"
    assert overlay(animation=value, position="top").position == "top"


@pytest.mark.parametrize(
    ("value", "speed"),
    [(120, 120), ("80", 80), (0.5, 0.5), (0, 50), (-5, 50), (1e9, 50), ("fast", 50), (None, 50), (True, 50), ([], 50)],
)
def test_overlay_speed(value: Any, speed: float) -> None:
    """Zero, negative or absurd: the default."""
    assert overlay(speed=value).speed == speed


@pytest.mark.parametrize(
    ("value", "size"), [(48, 48), ("48", 48), (0, 24), (-1, 24), (1e9, 24), ("big", 24), (None, 24), (True, 24), ({}, 24)]
)
def test_overlay_font_size(value: Any, size: float) -> None:
    """The same for the size."""
    assert overlay(font_size=value).font_size == size
    assert overlay(fontSize=value).font_size == size


@pytest.mark.parametrize(
    ("value", "colour"),
    [
        ("#123", "#FF112233"),
        ("123", "#FF112233"),
        ("#12AB9f", "#FF12AB9F"),
        ("12ab9f", "#FF12AB9F"),
        ("#8012AB9F", "#8012AB9F"),
        ("8012ab9f", "#8012AB9F"),
        (" #fff ", "#FFFFFFFF"),
        ("red", "#FF010203"),
        ("#12", "#FF010203"),
        ("#12345", "#FF010203"),
        ("#GGGGGG", "#FF010203"),
        ("##123456", "#FF010203"),
        ("", "#FF010203"),
        (None, "#FF010203"),
        (0xFFFFFF, "#FF010203"),
        ([], "#FF010203"),
        ("#１２３", "#FF010203"),
    ],
)
def test_colours(value: Any, colour: str) -> None:
    """#RGB, #RRGGBB, #AARRGGBB, with or without #; anything else is the default."""
    assert to_colour(value, "#FF010203") == colour


def test_each_colour_falls_back_on_its_own() -> None:
    """One wrong colour does not spoil the other."""
    shown = overlay(background_color="nonsense", text_color="#0F0")
    assert (shown.background_color, shown.text_color) == ("#FF000000", "#FF00FF00")
    shown = overlay(background_color="#8000FF00", text_color=5)
    assert (shown.background_color, shown.text_color) == ("#8000FF00", "#FFFFFFFF")


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029", "\t"])
def test_overlay_text_is_one_line(newline: str) -> None:
    """Newlines of every kind become spaces."""
    assert overlay(text=f"one{newline}two").text.split() == ["one", "two"]
    assert overlay(text=f"one{newline}two").text.replace("  ", " ") == "one two"


@pytest.mark.parametrize(
    "text", ["{\\b1} \\N", "\\{}", "Привет, мир", "مرحبا", "שלום", "🎉👩‍👩‍👧", "日本語", "a" * 2000, "<b>&amp;</b>"]
)
def test_overlay_text_stays_as_it_is(text: str) -> None:
    """Braces, backslashes, alphabets and 2,000 characters are text."""
    assert overlay(text=text).text == text


def test_overlay_text_that_no_encoder_takes() -> None:
    """A lone surrogate does not stop what carries the text to the screen."""
    overlay(text="a\ud800b\0c").text.encode()
    assert "\0" not in overlay(text="a\0b").text


def test_overlay_arguments_in_other_places() -> None:
    """Inside `params`, in camelCase down to its fields."""
    action = taken(
        action="show_text_overlay", params={"textOverlay": {"text": "Hi", "backgroundColor": "#111", "fontSize": "30"}}
    )
    assert isinstance(action, ShowTextOverlay)
    assert action.text_overlay == TextOverlay(text="Hi", background_color="#111111", font_size=30)


def test_an_overlay_survives_the_disk() -> None:
    """What is kept reads back as the same."""
    shown = overlay(position="left", animation="static", speed=7, font_size=99, background_color="#80123456", text_color="#abc")
    assert TextOverlay.model_validate(json.loads(json.dumps(shown.model_dump()))) == shown


# Ids


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), ("5", 5), (" 5 ", 5), ("-5", -5), (5.0, 5), ("a", "a"), ("5a", "5a"), (0, 0), ("٥", "٥"), ("--5", "--5")],
)
def test_ids(value: Any, expected: Any) -> None:
    """A numeric string is the same id as the number; other strings stand for themselves."""
    assert to_id(value) == expected


@pytest.mark.parametrize("value", [None, True, "", 5.5, float("nan"), float("inf"), [], {}])
def test_what_is_no_id(value: Any) -> None:
    """Nothing else is an id."""
    with pytest.raises(ValueError, match="not an id"):
        to_id(value)
