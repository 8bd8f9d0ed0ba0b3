"""Images over the socket: which binary frames are theirs, and what is done about each (speaker contract, section 3). Pure."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from agent.links.speaker.messages import Form, OtaAck, OtaNack
from agent.update.manifest import BundleError

CHUNK_HEADER = struct.Struct("<III")
"""Of a chunk in form 3: its number, the length of its data, their CRC-32."""

NO_BUNDLE = "What came is no update bundle of this agent."
TOO_MUCH = "More bytes came than were announced."


class State(Enum):
    """What binary frames are: nobody's, hoped for (form 1), an image's, or those of an image that is not wanted."""

    IDLE = 1
    AWAITING = 2
    RECEIVING = 3
    REFUSING = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a binary frame: `data` are to be written, then `answer` is to be sent.

    `ours`: whether it belongs to an image at all. `ends`: with these data the image of form 1 is whole. `fault`: the image cannot
    become what was announced any more, for this reason.
    """

    ours: bool = True
    data: bytes = b""
    answer: OtaAck | OtaNack | None = None
    ends: bool = False
    fault: str = ""


Expiry = Literal["", "fetch", "foreign", "lost", "over"]
"""Nothing; form 1 asked for a version and nothing came; what came was something else; an image broke off; a refused one ended."""

_VOICE = Verdict(ours=False)
_SWALLOW = Verdict()


class Firmware:
    """Tells the frames of an image from those of a voice, and the frames of a good image from those of a bad one.

    `quiet_s`: so long form 1 waits for its image; so long without a frame ends an image that has no end marker, and lets a voice
    begin before the end marker of a refused one, which a server that honours the refusal never sends. `lost_s`: so long without a
    frame ends any. `now` is in seconds of a monotonic clock.
    """

    def __init__(self, *, quiet_s: float = 5.0, lost_s: float = 60.0) -> None:
        self._quiet_s = quiet_s
        self._lost_s = lost_s
        self._state = State.IDLE
        self._form: Form = 1
        self._size: int | None = None
        """Of the whole image; None: not known yet."""
        self._received = 0
        self._expected = 0
        """The number of the next chunk."""
        self._head = b""
        """The beginning of a bundle, until it says how long it is."""
        self._is_foreign = False
        """Frames of something else have come where a bundle was hoped for."""
        self._is_voice = False
        """A voice began where a bundle was hoped for; none comes any more."""
        self._flows = False
        self._last_at = 0.0

    @property
    def takes(self) -> bool:
        """Whether an accepted image is on its way."""
        return self._state in (State.AWAITING, State.RECEIVING)

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes taken, and of how many."""
        return self._received, self._size

    @property
    def form(self) -> Form:
        """Of the newest image."""
        return self._form

    def accept(self, form: Form, size: int | None, now: float) -> None:
        """An image of this form is to come; of form 2 and 3 with so many bytes."""
        self._begin(State.AWAITING if form == 1 else State.RECEIVING, form, now)
        self._size = size

    def refuse(self, form: Form, now: float) -> None:
        """A request was refused; what comes in binary from here on is its image all the same."""
        self._begin(State.REFUSING, form, now)

    def fail(self) -> None:
        """The accepted image is not wanted any more; its further frames are swallowed."""
        if self.takes:
            self._state = State.REFUSING

    def end(self) -> None:
        """No image is on its way: the connection is lost."""
        self._state = State.IDLE
        self._is_voice = False

    def frame(self, data: bytes, now: float) -> Verdict:
        """Takes a binary frame in."""
        if self.deadline is not None and now > self.deadline and not self.takes:
            self.end()
        if self._state is State.IDLE or self._is_voice:
            return _VOICE
        self._last_at = now
        self._flows = True
        if self._state is State.REFUSING:
            return self._refused(data)
        if self._form == 3:
            return self._chunk(data)
        return self._bare(data) if self._form == 2 else self._unannounced(data)

    def touch(self, now: float) -> None:
        """The last frame is dealt with: the time that took is not the server's silence."""
        if self._flows:
            self._last_at = now

    def complete(self) -> str | None:
        """OTA_COMPLETE: what is wrong, "" for an image with all its bytes; None when no accepted image was on its way."""
        state = self._state
        if state is State.AWAITING:
            return NO_BUNDLE if self.text() == "foreign" else None
        self.end()
        if state is not State.RECEIVING:
            return None
        return "" if self._received == self._size else f"The image is incomplete: {self._received} of {self._size} bytes came."

    def text(self) -> Expiry:
        """Some text has come: frames that are no bundle, where one was hoped for, are over then."""
        if self._form != 1 or self._state not in (State.AWAITING, State.REFUSING):
            return ""
        return self._over()

    def voice(self, now: float) -> bool:
        """Whether a text that opens a voice session is heeded, which no image that flows allows. Frames are the voice's then."""
        if self._state is State.AWAITING:
            self._is_voice = not self._is_foreign
            return self._is_voice
        if self._state is State.RECEIVING:
            return False
        heeded = self._state is State.IDLE or not self._flows or now - self._last_at > self._quiet_s
        if heeded:
            self.end()
        return heeded

    @property
    def deadline(self) -> float | None:
        """When it is time to `expire`."""
        if self._state is State.IDLE:
            return None
        short = self._state is State.AWAITING or (self._state is State.REFUSING and self._form == 1)
        return self._last_at + (self._quiet_s if short else self._lost_s)

    def expire(self, now: float) -> Expiry:
        """What it means that nothing has come until now."""
        if self.deadline is None or now < self.deadline:
            return ""
        if self._state is State.AWAITING and not self._is_foreign:
            self.end()
            return "fetch"
        if self._state is State.RECEIVING:
            self.end()
            return "lost"
        return self._over()

    def _begin(self, state: State, form: Form, now: float) -> None:
        self._state = state
        self._form = form
        self._size = None
        self._received = self._expected = 0
        self._head = b""
        self._is_foreign = self._is_voice = self._flows = False
        self._last_at = now

    def _over(self) -> Expiry:
        """Frames that were swallowed are over."""
        if self._state is State.AWAITING and not self._is_foreign:
            return ""
        outcome: Expiry = "foreign" if self._state is State.AWAITING else "over"
        self.end()
        return outcome

    def _refused(self, data: bytes) -> Verdict:
        """Without an answer a server would wait 3 times 5 s for each chunk of form 3."""
        if self._form != 3:
            return _SWALLOW
        return _nack(CHUNK_HEADER.unpack_from(data)[0] if len(data) >= CHUNK_HEADER.size else self._expected)

    def _bare(self, data: bytes) -> Verdict:
        assert self._size is not None
        if self._received + len(data) > self._size:
            self.fail()
            return Verdict(fault=TOO_MUCH)
        self._received += len(data)
        return Verdict(data=data)

    def _chunk(self, frame: bytes) -> Verdict:
        assert self._size is not None
        if len(frame) < CHUNK_HEADER.size:
            return _nack(self._expected)
        seq, length, crc = CHUNK_HEADER.unpack_from(frame)
        data = frame[CHUNK_HEADER.size :]
        if length != len(data) or crc != zlib.crc32(data) or seq > self._expected:
            return _nack(seq)
        if seq == self._expected:
            if self._received + length > self._size:
                return _nack(seq)
            self._expected += 1
            self._received += length
            return Verdict(data=data, answer=OtaAck(ota_ack=seq))
        return Verdict(answer=OtaAck(ota_ack=seq))

    def _unannounced(self, data: bytes) -> Verdict:
        """Form 1: a bundle says in its beginning how long it is; anything else is not ours to take, nor a voice."""
        from agent.update.bundle import HEADER_BYTES, MAGIC, stated_length  # noqa: PLC0415 - memory, until a bundle comes

        if self._state is State.AWAITING:
            data = self._head + data
            if not MAGIC.startswith(data[: len(MAGIC)]):
                self._head, self._is_foreign = b"", True
                return _SWALLOW
            self._head = data if len(data) < HEADER_BYTES else b""
            if self._head or not data:
                return _SWALLOW
            try:
                self._size = stated_length(data[:HEADER_BYTES])
            except BundleError as error:
                self._state = State.REFUSING
                return Verdict(fault=str(error))
            self._state = State.RECEIVING
        return self._collect(data)

    def _collect(self, data: bytes) -> Verdict:
        """What comes behind the stated end fills the last frame up, and is nothing."""
        assert self._size is not None
        data = data[: self._size - self._received]
        self._received += len(data)
        if self._received < self._size:
            return Verdict(data=data)
        self._state = State.REFUSING
        return Verdict(data=data, ends=True)


def _nack(seq: int) -> Verdict:
    return Verdict(answer=OtaNack(ota_nack=seq))
