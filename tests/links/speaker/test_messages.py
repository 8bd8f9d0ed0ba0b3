"""What the server may say, in every form, and how our texts look on the wire (speaker contract, sections 1 to 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.links.speaker import messages
from agent.links.speaker.messages import (
    BrightnessAnswer,
    DeviceHandshake,
    NameAnswer,
    NotACommandError,
    OtaAck,
    OtaAnswer,
    OtaDone,
    OtaNack,
    OtaReady,
    RebootAnswer,
    Refusal,
    RefusedCommandError,
    Said,
    StatusAnswer,
    UpdateFirmware,
    VolumeAnswer,
    parse,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "speaker"
DEVICE_ID = "A1B2C3D4E5F6"
COMMANDS = {
    "request_status": messages.RequestStatus(cmd="request_status"),
    "set_volume": messages.SetVolume(cmd="set_volume", volume=75),
    "set_brightness": messages.SetBrightness(cmd="set_brightness", brightness=50),
    "set_device_name": messages.SetDeviceName(cmd="set_device_name", device_name="Living Room Speaker"),
    "reboot": messages.Reboot(cmd="reboot"),
    "request_ota": messages.RequestOta(cmd="request_ota", form=1),
    "request_ota_version": messages.RequestOta(cmd="request_ota", form=1, version="1.0.2"),
    "set_wifi": messages.SetWifi(cmd="set_wifi"),
}
SAID: dict[str, Said] = {
    "device_handshake": DeviceHandshake(
        device_id=DEVICE_ID, firmware_version="1.0.1", device_name="PTalk", battery_percent=85
    ),
    "status": StatusAnswer(
        device_id=DEVICE_ID, device_name="PTalk", battery_percent=85, firmware_version="1.0.1", volume=60, brightness=100,
        uptime_sec=3600,
    ),
    "volume": VolumeAnswer(volume=75, device_id=DEVICE_ID),
    "brightness": BrightnessAnswer(brightness=50, device_id=DEVICE_ID),
    "device_name": NameAnswer(device_name="Living Room Speaker", device_id=DEVICE_ID),
    "reboot": RebootAnswer(device_id=DEVICE_ID),
    "request_ota_version": OtaAnswer(device_id=DEVICE_ID, version="1.0.2"),
    "set_wifi": Refusal(
        status="not_supported", message="WiFi config not supported over WebSocket. Use BLE.", device_id=DEVICE_ID
    ),
}  # fmt: skip


def refusal(text: str) -> tuple[str, str]:
    """Status and message."""
    with pytest.raises(RefusedCommandError) as refused:
        parse(text)
    return refused.value.status, refused.value.message


# The examples of the source document


@pytest.mark.parametrize("path", sorted((EXAMPLES / "server").iterdir()), ids=lambda path: path.stem)
def test_examples_of_the_server(path: Path) -> None:
    """Each is taken in as what it says."""
    assert parse(path.read_text()) == COMMANDS[path.stem]


@pytest.mark.parametrize("path", sorted((EXAMPLES / "device").iterdir()), ids=lambda path: path.stem)
def test_examples_of_the_device(path: Path) -> None:
    """Each is produced, key for key in the same order."""
    example, said = json.loads(path.read_text()), json.loads(SAID[path.stem].text())
    assert said == example
    assert list(said) == list(example)
    assert [type(value) for value in said.values()] == [type(value) for value in example.values()]


def test_what_is_said_during_an_update() -> None:
    """As in section 3, in this order; a version that is not known is left out."""
    said: list[tuple[Said, dict[str, Any]]] = [
        (OtaAnswer(device_id="x"), {"status": "ok", "device_id": "x"}),
        (UpdateFirmware(), {"action": "update_firmware"}),
        (UpdateFirmware(version="1"), {"action": "update_firmware", "version": "1"}),
        (
            OtaReady(size=5, sha256="ab", version="1", device_id="x"),
            {
                "status": "ok", "message": "Ready to receive firmware", "size": 5, "sha256": "ab", "version": "1",
                "device_id": "x",
            },
        ),
        (
            OtaReady(size=5, sha256=None, version=None, device_id="x"),
            {"status": "ok", "message": "Ready to receive firmware", "size": 5, "device_id": "x"},
        ),
        (
            OtaDone(version="1", device_id="x"),
            {"status": "ok", "message": "Update installed, restarting into it", "version": "1", "device_id": "x"},
        ),
        (OtaAck(ota_ack=7), {"ota_ack": 7}),
        (OtaNack(ota_nack=7), {"ota_nack": 7}),
    ]  # fmt: skip
    for message, wanted in said:
        assert list(json.loads(message.text()).items()) == list(wanted.items())


# Values


@pytest.mark.parametrize("value", ["0", "100", "75", "75.0", "7.5e1", "-0", "-0.0", "1E2"])
@pytest.mark.parametrize("name", ["volume", "brightness"])
def test_good_percents(name: str, value: str) -> None:
    """Every way JSON can write an integer."""
    command = parse(f'{{"cmd": "set_{name}", "{name}": {value}}}')
    taken = getattr(command, name)
    assert taken == float(value)
    assert type(taken) is int


@pytest.mark.parametrize(
    "value",
    [
        "150", "-5", "256", "300", '"75"', "true", "false", "null", "75.5", "1e400", "-1e400", "[]", "{}", "[75]", '""', "101",
        "-1", "100.0000001", "NaN", "Infinity", "9" * 5000, "-" + "9" * 5000, "9" * 400, "4294967371",
    ],
    ids=lambda value: value[:12],
)  # fmt: skip
@pytest.mark.parametrize("name", ["volume", "brightness"])
def test_bad_percents(name: str, value: str) -> None:
    """Refused, with what is asked for."""
    status, message = refusal(f'{{"cmd": "set_{name}", "{name}": {value}}}')
    assert (status, message) == ("invalid_param", f"{name} must be an integer from 0 to 100")


@pytest.mark.parametrize("name", ["volume", "brightness", "device_name"])
def test_missing_values(name: str) -> None:
    """Refused."""
    assert refusal(f'{{"cmd": "set_{name}"}}') == ("invalid_param", f"{name} is missing")


@pytest.mark.parametrize("name", ["K", "Küche 🔊 مطبخ", " padded ", "x" * 64, "🔊" * 64, 'quote " and \\', "a\u2028b"])
def test_good_names(name: str) -> None:
    """Come out as they went in."""
    command = parse(json.dumps({"cmd": "set_device_name", "device_name": name}))
    assert isinstance(command, messages.SetDeviceName)
    assert command.device_name == name
    assert json.loads(NameAnswer(device_name=name, device_id="x").text())["device_name"] == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\t\n\u3000",
        5,
        0,
        True,
        None,
        [],
        ["a"],
        {},
        "x" * 65,
        "🔊" * 65,
        "half \ud83d",
        "a\nb",
        "a\0",
        "\x1b[31mred",
        "a\x9b",
    ],
    ids=repr,
)
def test_bad_names(name: Any) -> None:
    """Empty, blank, no text, over 64 characters, no text that UTF-8 knows, with control characters."""
    status, message = refusal(json.dumps({"cmd": "set_device_name", "device_name": name}))
    assert status == "invalid_param"
    assert message.startswith("device_name ")


@pytest.mark.parametrize(
    "cmd", ["", "surprise", "SET_VOLUME", "set_volume ", "device_handshake", "x" * 100_000, "\ud800", "a\nb"]
)
def test_unknown_commands(cmd: str) -> None:
    """Refused, with a message that is short and can be sent."""
    status, message = refusal(json.dumps({"cmd": cmd}))
    assert status == "invalid_command"
    assert message.startswith("Unknown command: ")
    assert len(message) < 800
    assert message.isprintable()
    Refusal(status="invalid_command", message=message, device_id="x").text().encode()


def test_a_huge_text_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 128 KB: no command, and not read as JSON."""
    text = json.dumps({"cmd": "request_status", "rest": "x" * 128 * 1024})
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(NotACommandError):
        parse(text)


def test_unknown_keys_mean_nothing() -> None:
    """Also one called as something of ours."""
    assert parse('{"cmd": "set_volume", "volume": 5, "form": 7, "extra": [1]}') == messages.SetVolume(cmd="set_volume", volume=5)
    assert parse('{"cmd": "request_ota", "form": 3}') == messages.RequestOta(cmd="request_ota", form=1)


@pytest.mark.parametrize(
    ("keys", "form"),
    [
        ({}, 1), ({"version": "1.0"}, 1), ({"version": None}, 1),
        ({"size": 5, "sha256": "ab"}, 2), ({"size": 5}, 2), ({"sha256": "ab", "version": "1"}, 2), ({"size": -1}, 2),
        ({"size": 5, "sha256": "ab", "chunk_size": 2048, "total_chunks": 9}, 3), ({"chunk_size": "x"}, 3),
        ({"total_chunks": 1}, 3),
    ],
)  # fmt: skip
def test_forms_of_an_update(keys: dict[str, Any], form: Any) -> None:
    """The keys tell them apart, whatever their values."""
    command = parse(json.dumps({"cmd": "request_ota", **keys}))
    assert isinstance(command, messages.RequestOta)
    assert command.form == form


@pytest.mark.parametrize("digest", ["ab" * 32, "AB" * 32, "aB" * 32, None, "", ...])
@pytest.mark.parametrize("size", ["5", "5.0", "5e6", "9" * 300])
def test_a_good_offer(size: str, digest: Any) -> None:
    """Every way JSON can write a whole number; a digest in any case, or none."""
    sha256 = "" if digest is ... else f', "sha256": {json.dumps(digest)}'
    command = parse(f'{{"cmd": "request_ota", "size": {size}{sha256}}}')
    assert isinstance(command, messages.RequestOta)
    assert (command.size, command.sha256) == (
        int(float(size)) if len(size) < 300 else int(size),
        digest if digest != "" and digest is not ... else None,
    )
    assert command.fault == ""


@pytest.mark.parametrize(
    "size", ["0", "-1", "0.5", "1e400", "-1e400", "NaN", '"5"', "true", "null", "[]", "{}", "-" + "9" * 500, "9" * 5000]
)
@pytest.mark.parametrize("rest", ["", ', "chunk_size": 2048, "total_chunks": 3'])
def test_bad_sizes(size: str, rest: str) -> None:
    """Said in words; the form is known all the same, since the frames will come."""
    command = parse(f'{{"cmd": "request_ota", "size": {size}, "sha256": "{"ab" * 32}"{rest}}}')
    assert isinstance(command, messages.RequestOta)
    assert command.size is None
    assert command.fault == "size must be the number of bytes of the image, more than 0"


@pytest.mark.parametrize("digest", ["ab", "ab" * 33, "zz" * 32, 5, True, [], {}, "ab" * 31 + "é", "\ud800" * 64, "ab" * 50_000])
def test_bad_digests(digest: Any) -> None:
    """Nothing could ever agree with them."""
    command = parse(json.dumps({"cmd": "request_ota", "size": 5, "sha256": digest}))
    assert isinstance(command, messages.RequestOta)
    assert command.fault.startswith("sha256 must be")


@pytest.mark.parametrize("version", ["", " ", 5, None, [], "x" * 65, "1.0\n", "\ud800", "é"])
def test_a_version_that_is_none(version: Any) -> None:
    """Is as good as no version: it would only be said back."""
    command = parse(json.dumps({"cmd": "request_ota", "version": version}))
    assert isinstance(command, messages.RequestOta)
    assert command.version is None


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "{", "}", "[]", "{}", "null", "5", '"text"', "NaN", "😀", "00", '{"cmd": null}', '{"cmd": 5}',
        '{"cmd": ["reboot"]}', '{"cmd": {"cmd": "reboot"}}', '{"CMD": "reboot"}', '{"cmd": "reboot"', '{"cmd": "reboot"} extra',
        "x" * 100_000, "[" * 100_000,
        '{"a":' * 100_000, '{"cmd":' + "[" * 100_000, '[{"cmd": "reboot"}]', "\ufeff{}", "{'cmd': 'reboot'}",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_no_commands(text: str) -> None:
    """Garbage of every kind is told from commands."""
    with pytest.raises(NotACommandError):
        parse(text)


def test_faults_do_not_quote() -> None:
    """A password in a broken command reaches no message."""
    for text in ('{"cmd": "set_wifi", "password": "hunter2-hunter2"', '{"cmd": 5, "password": "hunter2-hunter2"}'):
        with pytest.raises(NotACommandError) as fault:
            parse(text)
        assert "hunter2" not in str(fault.value)
    assert "hunter2" not in repr(parse('{"cmd": "set_wifi", "ssid": "hunter2", "password": "hunter2"}'))
