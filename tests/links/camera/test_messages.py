"""What the camera server may say, in every form, and how our messages look on the wire (camera contract, sections 1 and 2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from agent.camera import messages as camera
from agent.links.camera import messages
from agent.links.camera.messages import (
    OUTGOING,
    Candidate,
    HeartbeatAck,
    Hello,
    HelloAck,
    HelloPayload,
    ServerError,
    SignalIce,
    SignalOffer,
    UnknownMessageError,
    WatchEnded,
    WatchRequest,
    parse,
    timestamp,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "camera"
SESSION = "550e8400-e29b-41d4-a716-446655440000"


def taken(kind: str, payload: Any = None, **envelope: Any) -> messages.AnyIncoming:
    return parse(json.dumps({"type": kind, "ts": "2025-01-01T12:36:00.000Z", **envelope, "payload": payload}))


# The examples of the source document

MEANING: dict[str, Any] = {
    "hello_ack": HelloAck(type="hello_ack"),
    "heartbeat_ack": HeartbeatAck(type="heartbeat_ack"),
    "watch_request": (
        SESSION,
        [
            camera.IceServer(("stun:stun.l.google.com:19302",)),
            camera.IceServer(
                ("turn:turn.example.com:3478?transport=udp", "turn:turn.example.com:3478?transport=tcp"),
                "1735740000:device_550e8400",
                "a1b2c3d4e5f6...",
            ),
        ],
    ),
    "signal_offer": (SESSION, "v=0\r\no=- 123456789 2 IN IP4 127.0.0.1\r\n..."),
    "signal_ice": (
        SESSION,
        Candidate(candidate="candidate:1 1 UDP 2130706431 192.168.1.100 54321 typ host", sdp_mid="0", sdp_mline_index=0),
    ),
    "signal_ice_end": (SESSION, None),
    "watch_ended": (SESSION, "viewer_disconnected"),
    "generic_error": "Descriptive error message",
}


def meaning(message: messages.AnyIncoming) -> Any:
    match message:
        case WatchRequest(payload=payload):
            return (payload.session_id, [server.named() for server in payload.ice_servers])
        case SignalOffer(payload=payload):
            return (payload.session_id, payload.sdp)
        case SignalIce(payload=payload):
            return (payload.session_id, payload.candidate)
        case WatchEnded(payload=payload):
            return (payload.session_id, payload.reason)
        case ServerError(payload=payload):
            return payload.message
    return message


@pytest.mark.parametrize("path", sorted((EXAMPLES / "server").glob("*.json")), ids=lambda path: path.stem)
def test_the_documents_messages_are_taken_in(path: Path) -> None:
    """Every JSON example of a message to the device has the meaning the document gives it."""
    assert meaning(parse(path.read_text())) == MEANING[path.stem]


def test_every_example_is_expected() -> None:
    """No example is forgotten here."""
    assert {path.stem for path in (EXAMPLES / "server").glob("*.json")} == MEANING.keys()


@pytest.mark.parametrize("path", sorted((EXAMPLES / "device").glob("*.json")), ids=lambda path: path.stem)
def test_the_documents_messages_are_produced(path: Path) -> None:
    """Every JSON example of a message from the device comes out field for field, in the document's order."""
    example = json.loads(path.read_text())
    said = json.loads(OUTGOING.validate_python(example).text())
    assert said == example
    assert list(said) == list(example)


# The envelope


def test_our_time_is_utc_with_milliseconds() -> None:
    """ISO 8601, three digits of fraction, Z; whatever the zone it is given in."""
    moment = datetime(2025, 1, 1, 13, 34, 56, 789_400, tzinfo=timezone(timedelta(hours=1)))
    assert timestamp(moment) == "2025-01-01T12:34:56.789Z"
    assert timestamp(datetime(2025, 1, 1, tzinfo=UTC)) == "2025-01-01T00:00:00.000Z"
    said = json.loads(Hello(payload=HelloPayload(device_id="x")).text())
    assert abs(datetime.fromisoformat(said["ts"]) - datetime.now(UTC)) < timedelta(seconds=5)
    assert len(said["ts"]) == len("2025-01-01T12:34:56.789Z")


@pytest.mark.parametrize(
    "ts",
    ["2025-01-01T12:36:00", "2025-01-01T12:36:00Z", "2025-01-01T12:36:00.123456+00:00", "2025-01-01T12:36:00.1", "now", 5, None],
)
def test_the_servers_time_may_be_anything(ts: Any) -> None:
    """Without zone, without fraction, or no time at all."""
    assert taken("heartbeat_ack", {}, ts=ts) == HeartbeatAck(type="heartbeat_ack")


@pytest.mark.parametrize("body", [{}, {"payload": None}, {"payload": {}}, {"payload": {"new": 1}, "more": 2}, {"payload": "x"}])
def test_what_needs_no_payload_takes_any(body: dict[str, Any]) -> None:
    """Acknowledgements mean the same with a payload, without, and with unknown keys."""
    assert parse(json.dumps({"type": "hello_ack", **body})) == HelloAck(type="hello_ack")


@pytest.mark.parametrize(
    ("request_id", "kept"), [("req-1", "req-1"), (7, 7), (None, None), (True, None), ([1], None), ("x" * 300, None)]
)
def test_request_ids(request_id: Any, kept: Any) -> None:
    """Kept as they are, to be given back."""
    assert taken("watch_ended", {"session_id": "s"}, request_id=request_id).request_id == kept


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (b"\x00", "binary frame of 1 bytes"),
        ("", "invalid JSON"),
        ("[" * 100_000, "invalid JSON"),
        ("[1]", "not an object"),
        ("null", "not an object"),
        ("{}", "unknown|Unable"),
        ('{"type": 5}', "unknown"),
        ('{"type": "surprise", "payload": {}}', "'surprise': unknown"),
        ('{"type": "watch_request"}', "payload"),
        ('{"type": "watch_request", "payload": []}', "payload"),
        ('{"type": "watch_request", "payload": {}}', "session_id"),
        ('{"type": "watch_request", "payload": {"session_id": ""}}', "session_id"),
        ('{"type": "watch_request", "payload": {"session_id": null}}', "session_id"),
        ('{"type": "watch_request", "payload": {"session_id": {"a": 1}}}', "session_id"),
        ('{"type": "watch_request", "payload": {"session_id": true}}', "session_id"),
        ('{"type": "watch_request", "payload": {"session_id": "two\\nlines"}}', "session_id"),
        ('{"type": "watch_request", "payload": {"session_id": "\\ud800"}}', "session_id"),
        ('{"type": "signal_offer", "payload": {"sdp": {"type": "offer", "sdp": "v=0"}}}', "session_id"),
        ('{"type": "signal_ice", "payload": {"session_id": "s"}}', "candidate"),
        ('{"type": "signal_ice", "payload": {"session_id": "s", "candidate": 5}}', "candidate"),
        ('{"type": "watch_ended", "payload": {"reason": "timeout"}}', "session_id"),
    ],
)
def test_malformed_messages(frame: str | bytes, fault: str) -> None:
    """Refused with words that say what is wrong and show nothing of the content."""
    with pytest.raises(UnknownMessageError, match=fault):
        parse(frame)


# Payloads


@pytest.mark.parametrize("session_id", ["s", 5, "ünïcode 🎥", "a" * 200])
def test_session_ids_come_back_as_they_were(session_id: Any) -> None:
    """Numbers stay numbers."""
    message = taken("watch_request", {"session_id": session_id, "user_id": 123})
    assert isinstance(message, WatchRequest)
    assert message.payload.session_id == session_id
    assert type(message.payload.session_id) is type(session_id)


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        (None, []),
        ([], []),
        ("stun:a", []),
        ([{"urls": "stun:a"}], [("stun:a",)]),
        ({"urls": "stun:a"}, [("stun:a",)]),
        ([{"url": "stun:a"}], [("stun:a",)]),
        ([{"urls": ["stun:a", 5, None, "turn:b"]}], [("stun:a", "turn:b")]),
        ([None, 5, "stun:x", {}, {"urls": None}, {"urls": []}, {"urls": [""]}, {"urls": "turns:c"}], [("turns:c",)]),
    ],
)
def test_ice_servers(given: Any, urls: list[Any]) -> None:
    """A string or a list; what makes no sense is left out, the rest is used."""
    message = taken("watch_request", {"session_id": "s", "ice_servers": given})
    assert isinstance(message, WatchRequest)
    assert [server.urls for server in message.payload.ice_servers] == urls


def test_credentials_do_not_show() -> None:
    """Neither in a message printed for a log nor in an error."""
    server = {"urls": "turn:a", "username": "u", "credential": "top-secret"}
    message = taken("watch_request", {"session_id": "s", "ice_servers": [server]})
    assert "top-secret" not in repr(message)
    with pytest.raises(UnknownMessageError) as error:
        taken("watch_request", {"ice_servers": [server]})
    assert "top-secret" not in str(error.value)
    wrong = taken("watch_request", {"session_id": "s", "ice_servers": [{"urls": "turn:a", "username": 5, "credential": [1]}]})
    assert isinstance(wrong, WatchRequest)
    assert wrong.payload.ice_servers[0].named() == camera.IceServer(("turn:a",))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({}, Candidate()),
        ({"candidate": ""}, Candidate()),
        ({"candidate": None, "sdpMid": None}, Candidate()),
        ("", Candidate()),
        ("candidate:1", Candidate(candidate="candidate:1")),
        ({"candidate": "candidate:1", "sdpMid": "0"}, Candidate(candidate="candidate:1", sdp_mid="0")),
        ({"candidate": "candidate:1", "sdpMLineIndex": 0}, Candidate(candidate="candidate:1", sdp_mline_index=0)),
        ({"candidate": "c", "sdpMid": 0, "sdpMLineIndex": "1"}, Candidate(candidate="c", sdp_mid="0", sdp_mline_index=1)),
        ({"candidate": "nonsense \ud800", "sdpMLineIndex": -1}, Candidate(candidate="nonsense ?")),
        ({"candidate": "c", "sdpMid": [], "sdpMLineIndex": 1.5, "usernameFragment": "x"}, Candidate(candidate="c")),
    ],
)  # fmt: skip
def test_candidates(given: Any, expected: Candidate | None) -> None:
    """With either place, with none, empty, or nonsense."""
    message = taken("signal_ice", {"session_id": "s", "candidate": given})
    assert isinstance(message, SignalIce)
    assert message.payload.candidate == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "offer", "sdp": "v=0"}, "v=0"),
        ({"sdp": "v=0"}, "v=0"),
        ("v=0", "v=0"),
        ({"type": "answer", "sdp": "v=0"}, ""),
        ({"type": "offer"}, ""),
        ({"type": "offer", "sdp": 5}, ""),
        ({"type": "offer", "sdp": "x" * 300_000}, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_offers(given: Any, expected: str) -> None:
    """What cannot be an offer is an empty one, so that its session is refused with a message."""
    message = taken("signal_offer", {"session_id": "s", "sdp": given})
    assert isinstance(message, SignalOffer)
    assert message.payload.sdp == expected


@pytest.mark.parametrize("payload", [None, {}, {"message": 5}, {"message": None, "session_id": []}, {"message": "x" * 9_999}])
def test_errors_of_any_form(payload: Any) -> None:
    """Never malformed: they are only logged."""
    message = taken("error", payload)
    assert isinstance(message, ServerError)
    assert len(message.payload.message) <= 500
