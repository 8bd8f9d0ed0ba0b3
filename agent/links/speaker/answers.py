"""What is done about a command, and the answer to it (speaker contract, section 2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from agent import __version__
from agent.links.speaker import messages
from agent.links.speaker.messages import (
    BrightnessAnswer,
    NameAnswer,
    PlainCommand,
    RebootAnswer,
    Refusal,
    RefusalStatus,
    RefusedCommandError,
    Said,
    StatusAnswer,
    VolumeAnswer,
)
from agent.links.speaker.parts import Box
from agent.system.state import StateError

log = logging.getLogger(__name__)

REFUSALS_KEPT = 1_000
"""So many different refusals are said as warnings."""
NOT_STORED = "It is in force until the next start, but could not be stored: "
"""What an answer to set_volume or set_brightness begins with when the disk takes nothing."""
REBOOT_ASKED_S = 5.0
"""After the platform has had nothing against a restart it is not asked again for so long: an answer may take its time."""
NO_WIFI = "WiFi config not supported over WebSocket. Use BLE."
NO_WS_URL = "The server's address is not changed over WebSocket. It is set in the device's configuration."


class Answers:
    """Carries out commands, one after the other; each has exactly one answer.

    `started_s`: at most so long does a status wait for volume and brightness to be known after the start.
    """

    def __init__(self, link: str, device: Box, device_id: str, *, started_s: float = 5.0) -> None:
        self._link = link
        self._device = device
        self._device_id = device_id
        self._started_s = started_s
        self._noted: set[str] = set()
        self._reboot_asked_at = float("-inf")

    async def answer(self, command: PlainCommand | RefusedCommandError) -> Said:
        """Carries out the command; what it sets is on disk when this returns. A failure is an answer, too."""
        try:
            if isinstance(command, RefusedCommandError):
                self._note(command)
                return self._refusal(command.status, command.message)
            return await self._carry_out(command)
        except StateError as error:
            log.error("%s link=%s", error, self._link)  # noqa: TRY400 - no traceback for a full disk
            in_force = isinstance(command, messages.SetVolume | messages.SetBrightness)
            return self._refusal("error", f"{NOT_STORED if in_force else 'It could not be stored: '}{error}")
        except Exception:
            log.exception("command failed link=%s", self._link)
            return self._refusal("error", "Internal error")

    async def _carry_out(self, command: PlainCommand) -> Said:
        log.debug("command link=%s cmd=%s", self._link, command.cmd)
        device, device_id = self._device, self._device_id
        match command:
            case messages.RequestStatus():
                return await self._status()
            case messages.SetVolume(volume=percent):
                await device.volume.set(percent)
                return VolumeAnswer(volume=percent, device_id=device_id)
            case messages.SetBrightness(brightness=percent):
                await device.brightness.set(percent)
                return BrightnessAnswer(brightness=percent, device_id=device_id)
            case messages.SetDeviceName(device_name=name):
                await device.name.set(name)
                return NameAnswer(device_name=name, device_id=device_id)
            case messages.Reboot():
                reason = await self._reboot_refusal()
                if reason:
                    log.warning("restart refused link=%s reason=%s", self._link, reason)
                    return self._refusal("error", reason)
                return RebootAnswer(device_id=device_id)
            case messages.SetWifi():
                return self._refusal("not_supported", NO_WIFI)
            case messages.SetWsUrl():
                return self._refusal("not_supported", NO_WS_URL)

    async def _reboot_refusal(self) -> str:
        loop = asyncio.get_running_loop()
        if loop.time() - self._reboot_asked_at < REBOOT_ASKED_S:
            return ""
        reason = await self._device.reboot.refusal()
        if not reason:
            self._reboot_asked_at = loop.time()
        return reason

    async def _status(self) -> StatusAnswer:
        device = self._device
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._started_s):
                await device.volume.started()
                await device.brightness.started()
        return StatusAnswer(
            device_id=self._device_id,
            device_name=device.name.value,
            battery_percent=await device.power.battery_percent(),
            firmware_version=__version__,
            volume=device.volume.percent,
            brightness=device.brightness.percent,
            uptime_sec=int(device.power.uptime_s()),
        )

    def _note(self, refused: RefusedCommandError) -> None:
        """A line in the log: each refusal is said once."""
        is_news = refused.message not in self._noted and len(self._noted) < REFUSALS_KEPT
        level = logging.WARNING if is_news else logging.DEBUG
        log.log(level, "command refused link=%s status=%s message=%s", self._link, refused.status, refused.message)
        if is_news:
            self._noted.add(refused.message)

    def _refusal(self, status: RefusalStatus, message: str) -> Refusal:
        return Refusal(status=status, message=message, device_id=self._device_id)
