"""Firmware over the socket, refused: servers ignore a refusal and send all the same (speaker contract, section 3). Pure."""

from __future__ import annotations

import struct

from agent.links.speaker.messages import OtaNack

HEADER = struct.Struct("<III")
"""Of a chunk in form 3: its number, its length, its checksum."""
REFUSAL = "Updates over this connection are not supported by this version. Nothing was changed; use signage-agent update."


class RefusedFirmware:
    """The frames of an image that was refused, told from the frames of a voice.

    `quiet_s`: so long without a frame ends an image that has no end marker (form 1), and lets a voice begin before the end
    marker of the others, which a server that honours the refusal never sends. `lost_s`: so long without a frame ends any.
    `now` is in seconds of a monotonic clock.
    """

    def __init__(self, *, quiet_s: float = 5.0, lost_s: float = 60.0) -> None:
        self._quiet_s = quiet_s
        self._lost_s = lost_s
        self._form = 0
        self._last_at = 0.0
        self._flows = False

    def begin(self, form: int, now: float) -> None:
        """A request was refused; what comes in binary from here on is its image."""
        self._form = form
        self._last_at = now
        self._flows = False

    def end(self) -> None:
        """The image is over: OTA_COMPLETE, or the connection is lost."""
        self._form = 0

    def text(self) -> None:
        """Some text has come; the bare image of form 1 is over then."""
        if self._form == 1:
            self.end()

    def is_swallowing(self, now: float) -> bool:
        """Whether a binary frame that comes now is part of the image."""
        if self._form and now - self._last_at > (self._quiet_s if self._form == 1 else self._lost_s):
            self.end()
        return self._form != 0

    def gives_way(self, now: float) -> bool:
        """Whether a text that opens a voice session ends the image: no frame of it flows."""
        return not self.is_swallowing(now) or not self._flows or now - self._last_at > self._quiet_s

    def frame(self, data: bytes, now: float) -> OtaNack | None:
        """Swallows a frame; what the server is told. Without an answer it would wait 3 times 5 s for each chunk of form 3."""
        self._last_at = now
        self._flows = True
        if self._form != 3:
            return None
        return OtaNack(ota_nack=HEADER.unpack_from(data)[0] if len(data) >= HEADER.size else 0)
