"""Voice on the socket: announcements from the server, and what the microphone hears to the server (contract, section 4)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from agent.links.speaker.messages import CLOSING, END, OPENING, START
from agent.links.speaker.parts import Voice

log = logging.getLogger(__name__)

FRAME_BYTES = 512
"""1,024 samples, 64 ms."""
MOST_UNSENT = 500
"""Frames of the microphone that wait for a slow connection: half a minute."""


class Announcements:
    """Sessions that the server opens and closes by texts; `speaker` is in whose name they are played."""

    def __init__(self, voice: Voice, speaker: object, *, priority: int = 0) -> None:
        self._voice = voice
        self._speaker = speaker
        self._priority = priority
        self._is_open = False
        self._has_sounded = False

    def connect(self) -> None:
        """The server is there and may speak at any moment."""
        self._voice.attach(self._speaker)

    def disconnect(self) -> None:
        """It is gone; nothing more of it is heard."""
        self.stop()
        self._voice.detach(self._speaker)

    def text(self, word: str) -> None:
        """Takes a text that may open or close a session. An opening one begins a new session if the old one has sounded."""
        if word in OPENING and (not self._is_open or self._has_sounded):
            self.end()
            self._is_open, self._has_sounded = True, False
            self._voice.begin(self._speaker, priority=self._priority)
        elif word in CLOSING:
            self.end()

    def frame(self, data: bytes) -> None:
        """Plays a frame; outside a session it is dropped."""
        if self._is_open and data:
            self._has_sounded = True
            self._voice.frame(self._speaker, data)

    def end(self) -> None:
        """Closes the session; what has come is played to its end."""
        if self._is_open:
            self._is_open = False
            self._voice.end(self._speaker)

    def stop(self) -> None:
        """Closes the session; nothing more of it is heard. Also what a session that has just been closed still has to play."""
        self._is_open = False
        self._voice.stop(self._speaker)


class PushToTalk:
    """What the microphone hears while the button is held, as frames for the server in `unsent`. See `parts.Uplink`.

    `announcements` of the server stop when somebody speaks.
    """

    def __init__(self, announcements: Announcements, wake: Callable[[], None]) -> None:
        self.unsent: deque[str | bytes] = deque()
        self._announcements = announcements
        self._wake = wake
        self._connected = False
        self._speaks = False
        self._rest = bytearray()

    def connect(self) -> None:
        """There is somebody to speak to."""
        self._connected = True
        self.unsent.clear()

    def disconnect(self) -> None:
        """There is not; what was begun is not taken up again."""
        self._connected = self._speaks = False
        self.unsent.clear()

    def start(self) -> None:
        """The button is pressed."""
        self._announcements.stop()
        if not self._connected:
            log.info("nobody to speak to: the server is not connected")
            return
        self._speaks = True
        self._rest.clear()
        self._say(START)

    def frame(self, data: bytes) -> None:
        """More of what is heard: IMA ADPCM in pieces of any length."""
        if not self._speaks:
            return
        self._rest += data
        while len(self._rest) >= FRAME_BYTES:
            if len(self.unsent) < MOST_UNSENT:
                self._say(bytes(self._rest[:FRAME_BYTES]))
            del self._rest[:FRAME_BYTES]

    def end(self) -> None:
        """The button is released; the last frame is filled up with zero bytes."""
        if not self._speaks:
            return
        self._speaks = False
        if self._rest:
            self._say(bytes(self._rest.ljust(FRAME_BYTES, b"\0")))
        self._say(END)

    def _say(self, frame: str | bytes) -> None:
        self.unsent.append(frame)
        self._wake()
