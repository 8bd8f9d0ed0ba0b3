"""Typed JSON lines between the daemon and its workers."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from agent.screen import messages as screen
from agent.system.wire import MAX_LINE_BYTES, Done, Ping, WireError, decode, encode


@dataclass(frozen=True, slots=True)
class Spot:
    """Something inside a message."""

    x: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Everything:
    """One field of each type that messages use."""

    number: int
    real: float
    text: str
    flag: bool
    kind: Literal["image", "video"]
    pair: tuple[int, int] | None
    many: tuple[float, ...]
    spot: Spot | None = None
    spots: tuple[Spot, ...] = ()


SAMPLE = Everything(-3, 2.5, 'brace { " \\ \n \u2028 Ж 😀 ', flag=True, kind="video", pair=(1, 2), many=(0.5, 3.0), spot=Spot(1))
SHOT = screen.Shot(
    7, "/media/ä", "video", "title", 1.5, (0.0, 0.25, 0.5, 1.0), "slide", 0.5, 1.0, pixelated=True, loop=True
)  # fmt: skip
MESSAGES = [
    Ping(),
    Done(),
    Done("why not"),
    SAMPLE,
    dataclasses.replace(SAMPLE, pair=None, many=(), spot=None, spots=(Spot(1, "a"), Spot(2))),
    screen.Scene(),
    screen.Scene(
        shot=SHOT,
        program="feed",
        upcoming=screen.Shot(8, "/b", "image"),
        paused=True,
        closing=True,
        background="#112233",
        ticker=screen.Ticker("text", "left", "static", 20.0, 30.0, "#80FF0000", "#FF00FF00", (1920, 1080)),
        dim_percent=12.5,
        volume_percent=30.0,
        muted=True,
        mark=True,
        strip=screen.Strip((screen.StripLine("film", "50 %", 0.5, "1 min left"), screen.StripLine("b", alarm=True)), 3),
    ),
    screen.Screenshot("/run/x.png"),
    screen.Probe("/run/film.mp4", "video"),
    screen.Ready(1920, 1080, "gpu"),
    screen.Started(7, 12.5, "v4l2m2m"),
    screen.Started(7),
    screen.Ended(7),
    screen.Failed(7, "no decoder"),
    screen.Progress(7, 3.25),
    screen.Down("no display"),
    screen.Notice("warning", "slow"),
]
EXPECTED = (Everything, *screen.TO_WORKER, *screen.FROM_WORKER)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("request_id", [None, 0, 17])
def test_every_message_arrives_as_it_was_sent(message: Any, request_id: int | None) -> None:
    """One line out, the same message and id in, whatever letters it holds."""
    line = encode(message, request_id=request_id)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line, EXPECTED) == (message, request_id)


def test_every_message_of_the_screen_is_tried() -> None:
    """A new message of the screen worker belongs into the list above."""
    assert {type(message) for message in MESSAGES} >= {*screen.TO_WORKER, *screen.FROM_WORKER}


def good() -> dict[str, Any]:
    """The sample as it stands on the wire."""
    body: dict[str, Any] = json.loads(encode(SAMPLE))
    return body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", "3"), ("number", 3.0), ("number", True), ("number", None), ("number", []),
        ("real", "2.5"), ("real", True), ("real", None), pytest.param("real", 10**400, id="real-huge"),
        ("text", 5), ("text", None), ("text", ["a"]),
        ("flag", 1), ("flag", "true"), ("flag", None),
        ("kind", "audio"), ("kind", 1), ("kind", None), ("kind", ["image"]), ("kind", {}),
        ("pair", [1]), ("pair", [1, 2, 3]), ("pair", [1, "2"]), ("pair", "12"), ("pair", {"0": 1}),
        ("many", 0.5), ("many", [0.5, None]), ("many", None),
        ("spot", 1), ("spot", {}), ("spot", {"x": "1"}), ("spot", {"x": 1, "y": 2}), ("spot", [1]),
        ("spots", [{"x": 1}, 2]), ("spots", {"x": 1}),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    """Each kind of wrong value is refused with the place where it stands."""
    with pytest.raises(WireError, match=rf"^Everything\.{field}"):
        decode(json.dumps(good() | {field: value}).encode(), EXPECTED)


def test_whole_numbers_do_for_reals() -> None:
    """JSON writers drop the .0 of a float."""
    [message, _] = decode(json.dumps(good() | {"real": 2, "many": [1, 2]}).encode(), EXPECTED)
    assert message.real == 2.0
    assert all(type(number) is float for number in (message.real, *message.many))


@pytest.mark.parametrize("field", ["number", "real", "text", "flag", "kind", "pair", "many"])
def test_a_missing_field_is_named(field: str) -> None:
    """What has no default must be there."""
    body = good()
    del body[field]
    with pytest.raises(WireError, match=rf"^Everything\.{field}: missing"):
        decode(json.dumps(body).encode(), EXPECTED)


def test_a_field_with_a_default_may_be_missing() -> None:
    """A sender may leave out what has a default."""
    body = good()
    del body["spot"], body["spots"]
    assert decode(json.dumps(body).encode(), EXPECTED)[0] == dataclasses.replace(SAMPLE, spot=None)


def test_an_unknown_field_is_named() -> None:
    """A misspelt field does not pass in silence."""
    with pytest.raises(WireError, match=r"^Everything\.extra: unknown field"):
        decode(json.dumps(good() | {"extra": 1}).encode(), EXPECTED)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"nonsense\n", b"[]\n", b"null\n", b"3\n", b'"Ping"\n', b"{}\n", b'{"type":null}\n', b'{"type":[]}\n',
        b'{"type":"Nobody"}\n', b'{"type":"Ping","id":"1"}\n', b'{"type":"Ping","id":1.5}\n', b'{"type":"Ping","id":true}\n',
        b'{"type":"Ping"', b'\xff\xfe{"type"', b"\x00\n", b'{"a":' * 3000, b"[" * 200_000,
        b'{"type":"Ping","id":' + b"9" * 9000 + b"}",
    ],
)  # fmt: skip
def test_garbage_is_refused(line: bytes) -> None:
    """Whatever comes, the only exception is WireError."""
    with pytest.raises(WireError):
        decode(line, EXPECTED)


def test_only_expected_types_are_taken_in() -> None:
    """A message of the other direction is an unknown one."""
    with pytest.raises(WireError, match="Scene"):
        decode(encode(screen.Scene()), screen.FROM_WORKER)


def test_a_line_that_is_too_long_is_not_sent() -> None:
    """The limit is one MiB, line end included; a message exactly that long passes."""
    spare = MAX_LINE_BYTES - len(encode(Done("")))
    assert len(encode(Done("x" * spare))) == MAX_LINE_BYTES
    with pytest.raises(WireError, match="too long"):
        encode(Done("x" * (spare + 1)))
    with pytest.raises(WireError, match="too long"):
        encode(Done("Ж" * (spare // 2 + 1)))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_that_json_lacks(number: float) -> None:
    """NaN and infinity are refused where they are sent, not where they arrive."""
    with pytest.raises(ValueError, match="JSON"):
        encode(screen.Progress(1, number))
