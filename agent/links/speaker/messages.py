"""The speaker protocol's texts, both directions (speaker contract, sections 1, 2 and 4)."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

OPENING = frozenset({"AUDIO_START", "SPEAK_START", "SPEAKING"})
"""Texts from the server that open a session: what comes in binary is its voice."""
CLOSING = frozenset({"TTS_END", "SPEAK_END", "DONE", "IDLE"})
"""Texts from the server that close it."""
OTA_COMPLETE = "OTA_COMPLETE"
START, END = "START", "END"
"""Texts to the server around what the microphone hears."""
LONGEST_NAME = 64
LONGEST_TEXT = 128 * 1024
"""Characters; what is longer is no command."""
LONGEST_INTEGER = 300
"""Digits; longer ones are as good as infinite."""

_VERSION = re.compile(r"[\x21-\x7e]{1,64}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")

Form = Literal[1, 2, 3]
"""Of a firmware image on its way here."""
RefusalStatus = Literal["invalid_param", "invalid_command", "not_supported", "error", "device_busy"]


class NotACommandError(ValueError):
    """The text is no command, and is answered by nothing. The text says why, without quoting it: it may hold a password."""


class RefusedCommandError(Exception):
    """The command gets a refusal for an answer."""

    def __init__(self, status: RefusalStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


# From the server


def _to_percent(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or not 0 <= value <= 100:
        raise ValueError("must be an integer from 0 to 100")
    return int(value)


def _to_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_NAME:
        raise ValueError(f"must be a text of 1 to {LONGEST_NAME} characters, not all of them blank")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character") from None
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("must not hold control characters")
    return value


def _to_version(value: object) -> str | None:
    """What is no version is none: it is only said back."""
    return value if isinstance(value, str) and _VERSION.fullmatch(value) else None


def _to_size(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value <= 0:
        return None
    return int(value)


def _to_digest(value: object) -> str | None:
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else None


Percent = Annotated[int, BeforeValidator(_to_percent)]
Name = Annotated[str, BeforeValidator(_to_name)]


class Command(BaseModel):
    """A command; keys that are not known mean nothing."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class RequestStatus(Command):
    """How are you?"""

    cmd: Literal["request_status"]


class SetVolume(Command):
    """0 to 100."""

    cmd: Literal["set_volume"]
    volume: Percent


class SetBrightness(Command):
    """0 to 100."""

    cmd: Literal["set_brightness"]
    brightness: Percent


class SetDeviceName(Command):
    """What the box is called."""

    cmd: Literal["set_device_name"]
    device_name: Name


class Reboot(Command):
    """Restart of the machine."""

    cmd: Literal["reboot"]


class RequestOta(Command):
    """A new version is offered; `form` is which of the three in the field this is (speaker contract, section 3).

    Forms 2 and 3: `size` in bytes and `sha256` of the image; what is wrong with them is said in `fault`.
    """

    cmd: Literal["request_ota"]
    form: Form
    version: Annotated[str | None, BeforeValidator(_to_version)] = None
    size: Annotated[int | None, BeforeValidator(_to_size)] = None
    sha256: Annotated[str | None, BeforeValidator(_to_digest)] = None
    fault: str = ""


class SetWifi(Command):
    """Not for this way. Neither name nor password is looked at."""

    cmd: Literal["set_wifi"]


class SetWsUrl(Command):
    """Not for this way."""

    cmd: Literal["set_ws_url"]


PlainCommand = RequestStatus | SetVolume | SetBrightness | SetDeviceName | Reboot | SetWifi | SetWsUrl
AnyCommand = Annotated[PlainCommand | RequestOta, Field(discriminator="cmd")]
_COMMANDS: TypeAdapter[AnyCommand] = TypeAdapter(AnyCommand)


def parse(text: str) -> AnyCommand:
    """The command in a text from the server.

    Raises RefusedCommandError for a command that is unknown or has a bad value, NotACommandError for anything else.
    """
    body = _object(text)
    if not isinstance(body.get("cmd"), str):
        raise NotACommandError("an object without a cmd that is a text")
    body["form"] = form = _form(body)
    body["fault"] = _fault(body) if form > 1 else ""
    try:
        return _COMMANDS.validate_python(body)
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=False)[0]
        if finding["type"].startswith("union_tag"):
            raise RefusedCommandError("invalid_command", f"Unknown command: {ascii(body['cmd'][:64])[1:-1]}") from None
        key = finding["loc"][-1]
        what = "is missing" if finding["type"] == "missing" else str(finding.get("ctx", {}).get("error", finding["msg"]))
        raise RefusedCommandError("invalid_param", f"{key} {what}") from None


def _object(text: str) -> dict[str, Any]:
    if len(text) > LONGEST_TEXT:
        raise NotACommandError(f"a text of more than {LONGEST_TEXT} characters")
    if not text.lstrip().startswith("{"):
        raise NotACommandError("a text that is no object")
    try:
        body = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise NotACommandError(f"invalid JSON: {type(error).__name__}") from None
    assert isinstance(body, dict)
    return body


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_INTEGER else float(digits)


def _form(body: dict[str, Any]) -> Form:
    if "chunk_size" in body or "total_chunks" in body:
        return 3
    return 2 if "size" in body or "sha256" in body else 1


def _fault(body: dict[str, Any]) -> str:
    if _to_size(body.get("size")) is None:
        return "size must be the number of bytes of the image, more than 0"
    digest = body.get("sha256")
    return "" if digest in (None, "") or _to_digest(digest) else "sha256 must be the image's SHA-256, 64 hexadecimal digits"


# To the server


class Said(BaseModel):
    """A text to the server; its keys are in the order of the source document."""

    model_config = ConfigDict(frozen=True)

    def text(self) -> str:
        """As it goes over the wire."""
        return self.model_dump_json()


class DeviceHandshake(Said):
    """The first text of every connection."""

    cmd: Literal["device_handshake"] = "device_handshake"
    device_id: str
    firmware_version: str
    device_name: str
    battery_percent: int
    connectivity_state: Literal["ONLINE"] = "ONLINE"


class StatusAnswer(Said):
    """Answers request_status."""

    status: Literal["ok"] = "ok"
    device_id: str
    device_name: str
    battery_percent: int
    connectivity_state: Literal["ONLINE"] = "ONLINE"
    firmware_version: str
    volume: int
    brightness: int
    uptime_sec: int


class VolumeAnswer(Said):
    """Answers set_volume."""

    status: Literal["ok"] = "ok"
    volume: int
    device_id: str


class BrightnessAnswer(Said):
    """Answers set_brightness."""

    status: Literal["ok"] = "ok"
    brightness: int
    device_id: str


class NameAnswer(Said):
    """Answers set_device_name."""

    status: Literal["ok"] = "ok"
    device_name: str
    device_id: str


class RebootAnswer(Said):
    """Answers reboot, half a second before it."""

    status: Literal["ok"] = "ok"
    message: Literal["Rebooting..."] = "Rebooting..."
    device_id: str


class Refusal(Said):
    """Answers what is not carried out."""

    status: RefusalStatus
    message: str
    device_id: str


class Sparse(Said):
    """A key without a value is left out."""

    def text(self) -> str:
        """See `Said`."""
        return self.model_dump_json(exclude_none=True)


class OtaAnswer(Sparse):
    """Answers request_ota of form 1, which the source document has."""

    status: Literal["ok"] = "ok"
    device_id: str
    version: str | None = None


class UpdateFirmware(Sparse):
    """Follows OtaAnswer: some servers send the image only when they are asked for it."""

    action: Literal["update_firmware"] = "update_firmware"
    version: str | None = None


class OtaReady(Sparse):
    """Answers request_ota of forms 2 and 3."""

    status: Literal["ok"] = "ok"
    message: Literal["Ready to receive firmware"] = "Ready to receive firmware"
    size: int
    sha256: str | None
    version: str | None
    device_id: str


class OtaDone(Said):
    """The new version is installed and about to start."""

    status: Literal["ok"] = "ok"
    message: Literal["Update installed, restarting into it"] = "Update installed, restarting into it"
    version: str
    device_id: str


class OtaAck(Said):
    """Chunk `ota_ack` of a firmware image is written."""

    ota_ack: int


class OtaNack(Said):
    """Chunk `ota_nack` of a firmware image was not taken."""

    ota_nack: int
