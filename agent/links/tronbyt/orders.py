"""What a server says, by whatever way it came, and what is done about it (tronbyt contract, section 2)."""

from __future__ import annotations

import asyncio
import logging

from agent.hardware.reboot import RebootError
from agent.links.tronbyt import messages
from agent.links.tronbyt.brightness import BrightnessScale, Scale
from agent.links.tronbyt.messages import NotAMessageError, ServerMessage
from agent.links.tronbyt.parts import Box
from agent.links.tronbyt.rotation import Rotation
from agent.system.logs import excerpt
from agent.system.state import StateError

log = logging.getLogger(__name__)

FIRST_DWELL_S = 10.0
"""Until the server says how long an image stays."""
NOTED = 200
"""So many different remarks are made as warnings."""
LONGEST_REMARK = 400


class Orders:
    """Carries out what one server says. `host` is where it is: the scale of its brightness is remembered with that."""

    def __init__(
        self, link: str, device: Box, rotation: Rotation, *, host: str, brightness_scale: Scale, allow_reboot: bool
    ) -> None:
        self.dwell_s = FIRST_DWELL_S
        """How long the next image stays."""
        self._link = link
        self._device = device
        self._rotation = rotation
        self._host = host
        self._setting: Scale = brightness_scale
        self._scale = BrightnessScale(brightness_scale)
        self._allow_reboot = allow_reboot
        self._byte_seen = asyncio.Event()
        self._reboot_due = asyncio.Event()
        self._noted: set[str] = set()

    async def restore(self) -> None:
        """Takes up what an earlier run has found out."""
        known = await self._device.state.get(self._state_key)
        self._scale = BrightnessScale(self._setting, byte_seen=known == self._remembered)

    async def image(self, data: bytes) -> None:
        """An image has come; an empty one is none."""
        if data:
            await self._rotation.take(data, self.dwell_s)
        else:
            log.debug("empty image ignored link=%s", self._link)

    def text(self, text: str) -> None:
        """A text has come."""
        try:
            message = messages.parse(text)
        except NotAMessageError as fault:
            self._note("text ignored", str(fault))
        else:
            self.settings(message)
            if message.immediate:
                self._rotation.immediate()

    def settings(self, message: ServerMessage) -> None:
        """Does all of it but `immediate`, which means an image that has come before."""
        if message.dwell_secs is not None:
            self.dwell_s = message.dwell_secs
        if message.brightness is not None:
            self._brightness(message.brightness)
        if message.status == "error":
            self._note("the server reports an error, the picture stays", message.message or "without words")
        if message.reboot:
            self._reboot()
        if message.ignored:
            self._note("not for this device, ignored", ", ".join(sorted(message.ignored)))

    # Brightness

    def _brightness(self, value: float) -> None:
        before = self._scale.byte_seen
        percent = self._scale.percent(value)
        log.debug("brightness link=%s value=%g percent=%.1f", self._link, value, percent)
        self._rotation.dim(100 - percent)
        if self._setting == "auto" and self._scale.byte_seen and not before:
            log.info("brightness is 0 to 255 on this link from now on, a value above 100 came link=%s", self._link)
            self._byte_seen.set()

    async def remember_forever(self) -> None:
        """Writes down what was found out about the brightness."""
        while True:
            await self._byte_seen.wait()
            self._byte_seen.clear()
            try:
                await self._device.state.put(self._state_key, self._remembered)
            except StateError as error:
                log.warning("the scale of the brightness is not remembered link=%s error=%s", self._link, error)

    @property
    def _state_key(self) -> str:
        return f"tronbyt.{self._link}.brightness_scale"

    @property
    def _remembered(self) -> dict[str, str]:
        return {"scale": "byte", "host": self._host}

    # Restart

    def _reboot(self) -> None:
        if self._allow_reboot:
            self._reboot_due.set()
        else:
            self._note("restart refused", "allow_reboot is not set in the configuration")

    async def reboot_forever(self) -> None:
        """One restart for all that were asked for until it begins."""
        while True:
            await self._reboot_due.wait()
            log.warning("restarts the machine: the server asked for it link=%s", self._link)
            try:
                await self._device.reboot.request()
            except RebootError as error:
                log.warning("the machine does not restart link=%s reason=%s", self._link, error)
            except Exception:
                log.exception("the machine does not restart link=%s", self._link)
            self._reboot_due.clear()

    def _note(self, what: str, words: str) -> None:
        """A line in the log: a warning the first time."""
        text = excerpt(" ".join(words.split()), LONGEST_REMARK)
        is_news = f"{what} {text}" not in self._noted and len(self._noted) < NOTED
        log.log(logging.WARNING if is_news else logging.DEBUG, "%s link=%s reason=%r", what, self._link, text)
        if is_news:
            self._noted.add(f"{what} {text}")
