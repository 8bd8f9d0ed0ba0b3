"""What the server may say, in every form, and how our texts look on the wire (tronbyt contract, sections 1 and 2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError

from agent.links.tronbyt.messages import (
    ClientInfo,
    Displaying,
    Hello,
    NotAMessageError,
    Queued,
    Said,
    ServerMessage,
    parse,
    parse_headers,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "tronbyt"
MEANT = {
    "dwell": ServerMessage(dwell_secs=10),
    "brightness": ServerMessage(brightness=128),
    "immediate": ServerMessage(immediate=True),
    "error": ServerMessage(status="error", message="Error fetching image: 500"),
}
SAID: dict[str, Said] = {"queued": Queued(queued=123), "displaying": Displaying(displaying=123)}


# The examples of the source document


@pytest.mark.parametrize("path", sorted((EXAMPLES / "server").iterdir()), ids=lambda path: path.stem)
def test_examples_of_the_server(path: Path) -> None:
    """Each is taken in as what it says."""
    assert parse(path.read_text()) == MEANT[path.stem]


@pytest.mark.parametrize("name", sorted(SAID))
def test_examples_of_the_device(name: str) -> None:
    """Each is produced, field for field."""
    assert json.loads(SAID[name].text()) == json.loads((EXAMPLES / "device" / f"{name}.json").read_text())


def test_the_alternative_example_of_the_device() -> None:
    """Servers take either format of `displaying`; ours is the first, and every example file is accounted for."""
    alternative = json.loads((EXAMPLES / "device" / "displaying_alternative.json").read_text())
    assert json.loads(Displaying(displaying=alternative["counter"]).text()) == {alternative["status"]: alternative["counter"]}
    assert {path.stem for path in (EXAMPLES / "device").iterdir()} == {*SAID, "displaying_alternative"}


# To the server


def test_who_we_are() -> None:
    """Strings are strings, ints are ints, in this order and nothing else."""
    text = Hello(client_info=ClientInfo(firmware_version="1.2.3", mac="b8:27:eb:00:00:01")).text()
    assert text == (
        '{"client_info":{"firmware_version":"1.2.3","firmware_type":"signage-agent","protocol_version":1,'
        '"mac":"b8:27:eb:00:00:01"}}'
    )


@pytest.mark.parametrize("number", ["1", 1.0, True, None])
def test_numbers_are_ints(number: Any) -> None:
    """Nothing else gets on the wire: a server would close the connection."""
    with pytest.raises(ValidationError):
        Queued(queued=number)
    with pytest.raises(ValidationError):
        Displaying(displaying=number)


# From the server


@pytest.mark.parametrize(
    ("text", "dwell_s"),
    [
        ("10", 10),
        ("1", 1),
        ("0", 1),
        ("-5", 1),
        ("3600", 3600),
        ("3601", 3600),
        ("9" * 200, 3600),
        ("2.5", 2.5),
        ("15.0", 15),
        ("1e300", 3600),
        ("1e999", None),
        ("-1e999", None),
        ("NaN", None),
        ("Infinity", None),
        ("9" * 1000, None),
        ('"10"', None),
        ("true", None),
        ("null", None),
        ("[10]", None),
        ('{"a": 1}', None),
    ],
)
def test_dwell(text: str, dwell_s: float | None) -> None:
    """Clamped to 1 to 3600 s; a wrong type is as good as nothing, and named among what was ignored."""
    message = parse(f'{{"dwell_secs": {text}}}')
    assert message.dwell_secs == dwell_s
    assert message.ignored == (() if dwell_s is not None else ("dwell_secs",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("100", 100),
        ("255", 255),
        ("50.5", 50.5),
        ("256", None),
        ("-1", None),
        ("1e999", None),
        ("NaN", None),
        ('"50"', None),
        ("false", None),
        ("null", None),
        ("[]", None),
    ],
)
def test_brightness(text: str, value: float | None) -> None:
    """0 to 255, whatever that means; anything else is ignored."""
    assert parse(f'{{"brightness": {text}}}').brightness == value


@pytest.mark.parametrize("text", ["false", "1", '"true"', "null", "[true]"])
def test_only_true_is_true(text: str) -> None:
    """For showing at once as for restarting."""
    assert not parse(f'{{"immediate": {text}}}').immediate
    assert not parse(f'{{"reboot": {text}}}').reboot


def test_several_keys_in_one_object() -> None:
    """Each counts by itself; what is wrong or unknown takes nothing from the others."""
    text = '{"dwell_secs": "x", "brightness": 40, "immediate": true, "ota_url": "http://x", "swap_colors": NaN}\n'
    message = parse(text)
    assert (message.dwell_secs, message.brightness, message.immediate, message.reboot) == (None, 40, True, False)
    assert message.ignored == ("ota_url", "swap_colors", "dwell_secs")


def test_a_surrounding_of_white_space() -> None:
    """A trailing newline is common."""
    assert parse('\r\n {"dwell_secs": 7}\n').dwell_secs == 7


@pytest.mark.parametrize(
    ("status", "message", "wanted"),
    [('"error"', '"a\\nb  c"', ("error", "a b c")), ('"error"', "17", ("error", "")), ("[]", '"x"', ("", "x"))],
)
def test_errors(status: str, message: str, wanted: tuple[str, str]) -> None:
    """Words become one line; what are no words is left out."""
    found = parse(f'{{"status": {status}, "message": {message}}}')
    assert (found.status, found.message) == wanted


def test_long_errors() -> None:
    """Only a part is kept."""
    assert len(parse(json.dumps({"status": "error", "message": "x" * 10_000})).message) == 4_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "hello",
        "[]",
        '["dwell_secs"]',
        "5",
        "null",
        '"x"',
        "{",
        '{"dwell_secs": 5',
        '{"dwell_secs": 5}}',
        '{"dwell_secs": 5}\0',
        '{"dwell_secs": "\0"}',
        "{'dwell_secs': 5}",
        "NaN",
        "1e999",
        "[" * 20_000,
        '{"a":' * 20_000,
        '{"dwell_secs": 5, "x": "' + "x" * 70_000 + '"}',
        json.dumps({f"k{n}": n for n in range(200)}),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_no_message(text: str) -> None:
    """Arrays, numbers, halves, invalid JSON and what is too large: one kind of error, which does not quote."""
    with pytest.raises(NotAMessageError) as fault:
        parse(text)
    assert "xxxx" not in str(fault.value)


# Polling


def test_headers() -> None:
    """The same as by socket, in whatever case."""
    headers = CIMultiDict({"tronbyt-dwell-secs": "15", "TRONBYT-BRIGHTNESS": " 80 ", "Tronbyt-Immediate": "1"})
    assert parse_headers(headers) == ServerMessage(dwell_secs=15, brightness=80, immediate=True)


@pytest.mark.parametrize("text", ["", "x", "1e5", "NaN", "5 6", "0x10", "9" * 100, "٣", "-1000000000000000"])
def test_headers_that_say_nothing(text: str) -> None:
    """Are ignored, one by one."""
    headers = {"Tronbyt-Dwell-Secs": text, "Tronbyt-Brightness": "7", "Tronbyt-Immediate": text}
    assert parse_headers(headers) == ServerMessage(brightness=7)
